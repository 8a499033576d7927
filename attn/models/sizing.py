"""Parameter counts, and models sized to a budget for matched comparisons."""

from dataclasses import replace
from functools import cache
from math import isqrt, lcm, prod

import jax
from flax import nnx

from attn.models.decoder import DecoderConfig
from attn.models.encoder import EncoderConfig
from attn.models.lstmn import LSTMNConfig
from attn.models.luong import LuongConfig
from attn.models.recurrent import RecurrentLMConfig, RecurrentReaderConfig
from attn.models.rnnsearch import RNNSearchConfig
from attn.models.seq2seq import Seq2SeqConfig
from attn.models.transformer import TransformerConfig
from attn.nn.transformer import LayerConfig

ModelConfig = (
    Seq2SeqConfig
    | RNNSearchConfig
    | LuongConfig
    | LSTMNConfig
    | RecurrentLMConfig
    | RecurrentReaderConfig
    | TransformerConfig
    | DecoderConfig
    | EncoderConfig
)


def count_parameters(config: ModelConfig, source_vocabulary: int, target_vocabulary: int) -> int:
    """Numbers that the model learns; nothing is allocated to count them."""
    build = lambda: config.build(source_vocabulary, target_vocabulary, nnx.Rngs(0))  # noqa: E731
    params = nnx.state(nnx.eval_shape(build), nnx.Param)
    return sum(prod(leaf.shape) for leaf in jax.tree.leaves(params))


def fit(
    config: ModelConfig,
    parameters: int,
    source_vocabulary: int,
    target_vocabulary: int,
    tolerance: float = 0.05,
) -> ModelConfig:
    """The same model at the width whose parameter count comes nearest to a budget.

    Args:
        config: what else the model is made of.
        parameters: the budget.
        source_vocabulary: size of the source's vocabulary.
        target_vocabulary: size of the target's vocabulary.
        tolerance: largest accepted deviation, as a share of the budget.

    Raises:
        ValueError: no width comes within the tolerance.
    """
    # Sinusoidal positions and maxout (half of `width`) take units in pairs, rope the heads' units.
    unit = 2 if isinstance(config, RNNSearchConfig) else 1
    if isinstance(config, LayerConfig):
        unit = 2 * config.heads if config.positions == "rope" else lcm(2, config.heads)

    @cache
    def count(units: int) -> int:
        sized = replace(config, width=unit * units)
        return count_parameters(sized, source_vocabulary, target_vocabulary)

    low, high = 1, 8
    while count(high) < parameters:
        low, high = high, 4 * high
    while high - low > 1:
        # Matrices rule, so the root of the count is nearly a line: few models are counted.
        below, wanted, above = (isqrt(n) for n in (count(low), parameters, count(high)))
        guess = low + (high - low) * (wanted - below) // max(above - below, 1)
        middle = min(max(guess, low + 1), high - 1)
        low, high = (middle, high) if count(middle) < parameters else (low, middle)
    units = min((low, high), key=lambda u: abs(count(u) - parameters))
    found = count(units)
    if abs(found - parameters) > tolerance * parameters:
        raise ValueError(
            f"parameters: no width of {config.name} comes within {tolerance:.0%} of "
            f"{parameters:,}; "
            f"the nearest, {unit * units}, has {found:,}"
        )
    return replace(config, width=unit * units)
