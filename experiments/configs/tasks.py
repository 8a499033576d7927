"""What each task is trained with: every model of a comparison gets the same."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from experiments.config import Config, OptimizerConfig, SearchConfig, TaskConfig, TrainConfig
from experiments.data.probes import PROBES


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


def verses_as_lm() -> Config:
    """English to Spanish, verses, an instruction before each: source and target make one text.

    $ python -m experiments train verses-as-lm-prefix-lm

    4 1/2 minutes on two cores; 9.5 BLEU [8.7, 10.4], beam 4.
    """
    as_pairs, instruction = verses(), "translate English to Spanish:"
    return replace(
        as_pairs,
        task=replace(as_pairs.task, instruction=instruction, max_words=16, buckets=4),
        train=replace(as_pairs.train, examples=45_000),
    )


def multi30k() -> Config:
    """English to German, captions of pictures."""
    return translation("multi30k")


def tatoeba() -> Config:
    """German to English, short sentences."""
    return translation("tatoeba")


def shakespeare() -> Config:
    """Language modelling, plays by character.

    $ python -m experiments train shakespeare-gpt --task.manual-dir FOLDER

    4 minutes on two cores; 2.62 bits a character [2.59, 2.65].
    """
    return Config(
        task=TaskConfig("shakespeare", unit="character", context=64, buckets=1),
        parameters=500_000,
        optimizer=OptimizerConfig(learning_rate=3e-3, warmup_steps=100),
        train=TrainConfig(batch_size=64, examples=100_000, evaluate_every=400, save_every=400),
        search=SearchConfig(batch_size=64),
    )


def verses_english() -> Config:
    """Language modelling, the English verses by subword.

    $ python -m experiments train verses-english-gpt

    3 minutes on two cores; 1.81 bits a character [1.79, 1.82].
    """
    return Config(
        task=TaskConfig("verses-english", unit="subword", vocabulary=2000, context=128, buckets=4),
        parameters=1_000_000,
        optimizer=OptimizerConfig(learning_rate=2e-3, warmup_steps=50),
        train=TrainConfig(batch_size=32, examples=15_000, evaluate_every=150, save_every=150),
        search=SearchConfig(batch_size=32),
    )


def verses_masked() -> Config:
    """Masked language modelling, the English verses.

    $ python -m experiments train verses-masked-encoder

    3 1/2 minutes on two cores; 17.4% of the hidden tokens right [16.8, 18.0]: verses so few teach
    frequent words, and little of how they hang together.
    """
    return Config(
        task=TaskConfig("verses-masked", vocabulary=4000, buckets=6),
        parameters=1_000_000,
        optimizer=OptimizerConfig(learning_rate=2e-3, warmup_steps=100),
        train=TrainConfig(batch_size=64, examples=50_000, evaluate_every=200, save_every=200),
        search=SearchConfig(batch_size=64),
    )


def sst() -> Config:
    """Sentences of film reviews, positive or negative.

    $ python -m experiments train sst-encoder --task.manual-dir FOLDER

    1 minute on two cores; accuracy 76.0% [74.0, 77.8].
    """
    return Config(
        task=TaskConfig("sst", vocabulary=4000, buckets=4),
        parameters=500_000,
        optimizer=OptimizerConfig(learning_rate=1e-3, warmup_steps=100),
        train=TrainConfig(batch_size=64, examples=35_000, evaluate_every=50, save_every=50),
        search=SearchConfig(max_length=4),
    )


def silent_letters() -> Config:
    """Which letters of a word are silent.

    $ python -m experiments train silent-letters-encoder

    3/4 of a minute on two cores; F1 of silent letters 89.7 [89.1, 90.3], all of a
    word's letters right 80.5% [79.4, 81.4].
    """
    return Config(
        task=TaskConfig("silent-letters", buckets=4),
        parameters=300_000,
        optimizer=OptimizerConfig(learning_rate=3e-3, warmup_steps=100),
        train=TrainConfig(batch_size=128, examples=100_000, evaluate_every=200, save_every=200),
        search=SearchConfig(max_length=24),
    )


def lookup() -> Config:
    """Where in a passage the answer to a question is.

    $ python -m experiments train lookup-encoder-rope

    4 1/2 minutes on two cores; both ends right 54.7% [52.5, 56.9], span F1 57.6 [55.5, 59.8]. With
    sinusoidal positions it stays far below: what is asked is how far apart words stand.
    """
    return Config(
        task=TaskConfig("lookup", buckets=3),
        parameters=320_000,
        optimizer=OptimizerConfig(learning_rate=2e-3, warmup_steps=100),
        train=TrainConfig(batch_size=32, examples=130_000, evaluate_every=800, save_every=800),
        search=SearchConfig(max_length=4),
    )


def probe(name: str) -> Config:
    """A generated task, whose best loss is known: copy, reverse, permutation, recall or order.

    $ python -m experiments train copy-luong-dot
    """
    varied = name in ("copy", "reverse")
    labelled = name in ("recall", "order")
    return Config(
        task=TaskConfig(name, buckets=2 if varied else 1),
        parameters=59_350,  # every model has a width within 5% of it, for each of the tasks
        optimizer=OptimizerConfig(learning_rate=2e-3, warmup_steps=50),
        train=TrainConfig(batch_size=64, examples=20_000, evaluate_every=100, save_every=100),
        search=SearchConfig(max_length=4 if labelled else 64),
    )


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
    "verses-as-lm": verses_as_lm,
    "shakespeare": shakespeare,
    "verses-english": verses_english,
    "verses-masked": verses_masked,
    "sst": sst,
    "silent-letters": silent_letters,
    "lookup": lookup,
    **{name: partial(probe, name) for name in PROBES},
}
