"""What a Transformer's layers are built with."""

import jax
import numpy as np
import pytest
from flax import nnx

from attn.nn.transformer import Block, LayerConfig


@pytest.mark.parametrize("head_width", [16, 512])
def test_lecun_gives_queries_of_unit_variance_at_any_head_width(head_width):
    config = LayerConfig(width=64, heads=2, head_width=head_width, initialization="lecun")
    layer = Block(config, rngs=nnx.Rngs(0)).attention
    xs = jax.random.normal(jax.random.key(0), (1, 200, 64))
    for projected in (layer.ask(xs), *layer.project(xs)):
        assert float(projected.std()) == pytest.approx(1.0, abs=0.06)


def test_a_block_hands_its_score_to_both_attentions():
    blocks = {
        score: Block(LayerConfig(width=8, heads=2, score=score), cross=True, rngs=nnx.Rngs(0))
        for score in ("dot", "unscaled", "additive")
    }
    for layer in (blocks["additive"].attention, blocks["additive"].cross):
        assert layer.v.shape == (2, 4)
    assert blocks["unscaled"].cross.scale == 1.0
    same = [nnx.state(blocks[score], nnx.Param) for score in ("dot", "unscaled")]
    jax.tree.map(np.testing.assert_array_equal, *same)
