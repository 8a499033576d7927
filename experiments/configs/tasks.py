"""What each task is trained with: every model of a comparison gets the same."""

from collections.abc import Callable

from experiments.config import Config, OptimizerConfig, SearchConfig, TaskConfig, TrainConfig


def pronunciation() -> Config:
    """Spelling to phonemes, from CMUdict."""
    return Config(
        task=TaskConfig("pronunciation", buckets=5),
        parameters=530_000,
        optimizer=OptimizerConfig(learning_rate=3e-3, warmup_steps=200),
        train=TrainConfig(batch_size=128, examples=160_000, evaluate_every=400, save_every=400),
        search=SearchConfig(beam=1, max_length=32),
    )


def verses() -> Config:
    """English to Spanish, verses."""
    return Config(
        task=TaskConfig("verses", vocabulary=4000, buckets=8),
        parameters=1_500_000,
        optimizer=OptimizerConfig(learning_rate=5e-3, warmup_steps=200),
        train=TrainConfig(batch_size=32, examples=90_000, evaluate_every=1000, save_every=1000),
        search=SearchConfig(beam=4, max_length=96, batch_size=64),
    )


def multi30k() -> Config:
    """English to German, captions of pictures."""
    return translation("multi30k")


def tatoeba() -> Config:
    """German to English, short sentences."""
    return translation("tatoeba")


def translation(name: str) -> Config:
    """Any TFDS translation set, with settings for a first look."""
    return Config(
        task=TaskConfig(name, vocabulary=8000, buckets=8),
        parameters=5_000_000,
        optimizer=OptimizerConfig(learning_rate=1e-3, warmup_steps=1000),
        train=TrainConfig(batch_size=128, examples=1_000_000, label_smoothing=0.1),
        search=SearchConfig(beam=4, max_length=128, batch_size=64),
    )


TASKS: dict[str, Callable[[], Config]] = {
    "pronunciation": pronunciation,
    "verses": verses,
    "multi30k": multi30k,
    "tatoeba": tatoeba,
}
