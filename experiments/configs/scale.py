"""Runs of the size of the papers': what `aot` plans for, and pods train.

Batches are of full sequences, as a plan needs them; on data with shorter ones a step takes less.
"""

from collections.abc import Callable
from dataclasses import dataclass

from attn.models import DecoderConfig, TransformerConfig
from experiments.config import Config, OptimizerConfig, SearchConfig, TaskConfig, TrainConfig


@dataclass(frozen=True)
class Scale:
    """A run, and the shapes of its batches."""

    config: Config
    source: int
    """Tokens of a source; 1 is none."""
    target: int
    """Tokens predicted in a row."""
    vocabulary: int
    """One for source and target."""


def transformer_base() -> Scale:
    """Vaswani 2017, base: table 3; section 5.1's batch of 25,000 source and target tokens."""
    return _wmt14(512, 2048, 8, dropout=0.1, steps=100_000)


def transformer_big() -> Scale:
    """Vaswani 2017, big: table 3, 300,000 steps."""
    return _wmt14(1024, 4096, 16, dropout=0.3, steps=300_000)


def decoder_1b() -> Scale:
    """1.1 billion parameters, grouped queries (Ainslie 2023), 4,096 tokens; FSDP over 16.

    A step in two halves: logits of all of it are more than a v5e holds.
    """
    return _decoder(
        2048, 16, 32, 8, 8192, vocabulary=32_000, context=4096, batch=256, fsdp=16, accumulate=2
    )


def decoder_8b() -> Scale:
    """8.0 billion in the shape of Llama 3 8B (Dubey 2024), 8,192 tokens; FSDP over 64."""
    return _decoder(4096, 32, 32, 8, 14336, vocabulary=128_256, context=8192, batch=256, fsdp=64)


def ring_128k() -> Scale:
    """The 1.1 billion on texts of 131,072 tokens: each over 16 chips, attention in a ring."""
    return _decoder(
        2048, 16, 32, 8, 8192, vocabulary=32_000, context=131_072, batch=16, fsdp=16, sequence=16
    )


SCALES: dict[str, Callable[[], Scale]] = {
    "transformer-base": transformer_base,
    "transformer-big": transformer_big,
    "decoder-1b": decoder_1b,
    "decoder-8b": decoder_8b,
    "ring-128k": ring_128k,
}
"""By name."""


def _wmt14(width: int, hidden: int, heads: int, dropout: float, steps: int) -> Scale:
    rows, length = 256, 98  # 25,088 tokens a side
    model = TransformerConfig(
        width=width,
        layers=6,
        heads=heads,
        feed_forward=hidden / width,
        norm="post",
        tied="all",
        dropout=dropout,
        dtype="bfloat16",
    )
    config = Config(
        task=TaskConfig("wmt14_translate/de-en", reverse=True, vocabulary=37_000),
        model=model,
        # Equation 3: d^-0.5 · warmup^-0.5 is its peak.
        optimizer=OptimizerConfig(
            learning_rate=(width * 4000) ** -0.5, warmup_steps=4000, schedule="inverse_sqrt"
        ),
        train=TrainConfig(
            batch_size=rows, examples=rows * steps, label_smoothing=0.1, parallel="jit"
        ),
        search=SearchConfig(beam=4, length_penalty=0.6, max_length=256),
    )
    return Scale(config, length, length, 37_000)


def _decoder(
    width: int,
    layers: int,
    heads: int,
    kv_heads: int,
    hidden: int,
    *,
    vocabulary: int,
    context: int,
    batch: int,
    fsdp: int,
    sequence: int = 1,
    accumulate: int = 1,
) -> Scale:
    model = DecoderConfig(
        width=width,
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        feed_forward=hidden / width,
        activation="swiglu",
        normalization="rms",
        positions="rope",
        rope_base=500_000.0,
        bias=False,
        tied=False,
        scale_embedding=False,
        dropout=0.0,
        dtype="bfloat16",
        remat="full",
    )
    config = Config(
        task=TaskConfig("shakespeare", unit="subword", vocabulary=vocabulary, context=context),
        model=model,
        optimizer=OptimizerConfig(learning_rate=3e-4, warmup_steps=2000, b2=0.95, eps=1e-8),
        train=TrainConfig(
            batch_size=batch,
            examples=batch * 100_000,
            parallel="jit",
            fsdp=fsdp,
            sequence=sequence,
            accumulate=accumulate,
        ),
    )
    return Scale(config, 1, context - 1, vocabulary)  # with what stands for the empty source
