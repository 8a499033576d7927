"""What several suites train on: small tasks for two cores, translation for a GPU."""

from dataclasses import replace
from typing import Any

from experiments.config import Config, OptimizerConfig, SearchConfig, TaskConfig, TrainConfig

GPU_MODEL: dict[str, Any] = {"model.width": 256, "model.dropout": 0.3}
PAPER_MODEL: dict[str, Any] = {"model.width": 512, "model.dropout": 0.1}
"""Sizes of all models at a budget; those with a number of parameters to match settle the rest."""
PAPER_TRANSFORMER = PAPER_MODEL | {"model.layers": 6, "model.feed_forward": 4}
"""The base model (Vaswani et al. 2017, table 3)."""


def pronunciation() -> Config:
    """Spelling to phonemes: a real transduction that small models learn in a minute."""
    return Config(
        task=TaskConfig("pronunciation", buckets=2),
        parameters=120_000,
        optimizer=OptimizerConfig(learning_rate=5e-3, warmup_steps=50),
        train=TrainConfig(batch_size=32, examples=64_000),
        search=SearchConfig(max_length=24, batch_size=500, items=2000),
    )


def pronunciation_by_transformers() -> Config:
    """The same with what Transformers of this size learn best at."""
    base = pronunciation()
    return replace(
        base,
        parameters=None,
        optimizer=replace(base.optimizer, learning_rate=3e-3),
        train=replace(base.train, examples=38_400),
    )


def verses_text() -> Config:
    """The English verses by letter, in chunks of 64."""
    return Config(
        task=TaskConfig("verses-english", unit="character", context=64, buckets=1),
        optimizer=OptimizerConfig(learning_rate=3e-3, warmup_steps=50),
        train=TrainConfig(batch_size=32, examples=9_600),
        search=SearchConfig(batch_size=64, items=500),
    )


def on_gpu(parameters: int | None = 8_000_000, examples: int = 600_000) -> dict[str, Any]:
    """German to English captions, reversed Multi30k: ten minutes of an H100."""
    return {
        "task": TaskConfig("multi30k", reverse=True, vocabulary=8000, buckets=6),
        "parameters": parameters,
        "optimizer": OptimizerConfig(learning_rate=1e-3, warmup_steps=400),
        "train": TrainConfig(batch_size=256, examples=examples, label_smoothing=0.1),
        "search": SearchConfig(beam=4, max_length=64, batch_size=256),
    }


def wmt14(pair: str = "de-en", parameters: int | None = 65_000_000) -> dict[str, Any]:
    """Translation from English on WMT14, at the papers' size."""
    return {
        "task": TaskConfig(
            f"wmt14_translate/{pair}", reverse=True, subwords="bpe", vocabulary=32_000, buckets=12
        ),
        "parameters": parameters,
        "optimizer": OptimizerConfig(
            learning_rate=7e-4, warmup_steps=4000, schedule="inverse_sqrt"
        ),
        "train": TrainConfig(batch_size=1024, examples=100_000_000, label_smoothing=0.1),
        "search": SearchConfig(beam=4, max_length=200, batch_size=256),
    }
