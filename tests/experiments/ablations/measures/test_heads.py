"""Heads silenced on their way out, against heads that have nothing to say."""

from dataclasses import replace

import numpy as np
import pytest

from attn.models import DecoderConfig, TransformerConfig
from experiments.ablations.measures import head_importance, likelihoods
from experiments.ablations.measures.heads import ATTENTIONS
from experiments.ablations.measures.lane import map_named
from experiments.errors import InputError
from tests.experiments.ablations.measures.lanes import lane_of
from tests.experiments.evaluation.toy import task

CONFIG = TransformerConfig(width=8, heads=3, head_width=4, layers=2)


def test_a_head_is_silent_as_if_its_values_were_zero():
    lane = lane_of(CONFIG, task({"train": 5, "validation": 5, "test": 12}))
    found = head_importance(lane)
    sites = [(k, n, h) for k in ATTENTIONS for n in range(2) for h in range(3)]
    names = {f"{what} {k} {n}.{h}" for what in ("without", "only") for k, n, h in sites}
    assert set(found) == names | {"nll"}
    whole = likelihoods(lane)["nll"].statistics
    np.testing.assert_array_equal(found["nll"].statistics, whole)

    for kind, layer, head in (("encoder", 0, 1), ("decoder", 1, 0), ("cross", 1, 2)):
        values = ATTENTIONS[kind].format(layer) + ".value."
        for what, silent in (("without", [head]), ("only", [h for h in range(3) if h != head])):

            def hushed(name, x, values=values, silent=silent):
                return x.at[..., silent, :].set(0) if name.startswith(values) else x

            mute = replace(lane, params=map_named(hushed, lane.params))
            want = likelihoods(mute)["nll"].statistics
            np.testing.assert_allclose(
                found[f"{what} {kind} {layer}.{head}"].statistics, want, rtol=1e-5
            )
            assert np.abs(want - whole).max() > 1e-4


def test_other_models_are_refused():
    lane = lane_of(DecoderConfig(width=8, heads=2), task({"train": 2, "validation": 2, "test": 2}))
    with pytest.raises(InputError, match="model is decoder; expected transformer"):
        head_importance(lane)
