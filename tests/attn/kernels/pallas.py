"""What the Pallas backends share.

Interpreted kernels take long to compile: the first few calls stand for the rest, which wait for
`make test-slow`.
"""

import numpy as np
import pytest

from tests.attn.cases import EACH_PIECE, Case
from tests.attn.kernels.base import PADDED, BackendTests
from tests.marks import param

FIRST = (
    Case(score="Additive", key_width=5),
    Case(mods=("SoftCap",)),
    Case(mods=("Bias",)),
    Case(mask=("Causal",)),
    Case(mask=("Lengths",)),
    Case(weighting="Dropout"),
)
"""A score by features, a mod without and one with an array, masks by index and by row, draws."""


class PallasTests(BackendTests):
    """Inherited by the test class of each backend that is interpreted on a CPU."""

    float64 = False
    forward_mode = False
    second_order = False
    stretch = 7

    @pytest.mark.parametrize(
        "case", [param(each, quick=each in FIRST, id=str(each)) for each in EACH_PIECE]
    )
    def test_each_piece_is_its_definition(self, case):
        self.check_definition(case)

    @pytest.mark.parametrize(
        ("score", "hole"), [param(*each, quick=each == ("Concat", np.nan)) for each in PADDED]
    )
    def test_padding_may_hold_anything(self, score, hole):
        super().test_padding_may_hold_anything(score, hole)
