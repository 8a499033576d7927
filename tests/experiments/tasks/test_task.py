import gzip
from dataclasses import replace

import numpy as np
import pytest

from attn.models.protocol import BOS, EOS
from experiments.config import TaskConfig
from experiments.data import pronunciation, verses
from experiments.data.tokenizers import UNK, SentencePiece, Symbols
from experiments.errors import InputError
from experiments.tasks import load

WORDS = [a + b + c for a in "bcdfgh" for b in ("at", "enter", "ing") for c in ("", "s", "ed")]


@pytest.fixture
def spelling(tmp_path, monkeypatch):
    """A small dictionary, and the configuration that reads it."""
    lines = "".join(f"{word} {' '.join(word.upper())}\n" for word in WORDS)
    (tmp_path / "words.gz").write_bytes(gzip.compress(lines.encode()))
    monkeypatch.setattr(pronunciation, "DICTIONARY", tmp_path / "words.gz")
    return TaskConfig(data_dir=str(tmp_path / "data"))


@pytest.fixture
def small_verses(tmp_path, monkeypatch):
    """Verses of 1 to 8 words, and the configuration that reads them."""
    lines = "".join(
        f"Gen.{chapter}.{verse}\t{' '.join(['the light'] * verse)}\t{'la luz ' * verse}{chapter}\n"
        for chapter in range(1, 40)
        for verse in range(1, 5)
    )
    (tmp_path / "verses.gz").write_bytes(gzip.compress(lines.encode()))
    monkeypatch.setattr(verses, "VERSES", tmp_path / "verses.gz")
    return TaskConfig(name="verses", data_dir=str(tmp_path / "data"), vocabulary=32)


def test_pronunciation(spelling):
    task = load(spelling)
    assert task.name == "pronunciation"
    assert task.metrics == ("phoneme_error_rate", "word_error_rate")
    assert isinstance(task.source, Symbols)
    assert sum(len(split) for split in task.splits.values()) == len(WORDS)
    train = task.splits["train"]
    for number in range(len(train)):
        source, target = train.source[number], train.target[number]
        assert source[-1] == EOS
        assert (target[0], target[-1]) == (BOS, EOS)
        assert task.source.decode(source) == train.sources[number]
        assert task.target.decode(target) == train.targets[number]
        assert train.lengths[number].tolist() == [len(source), len(target)]


def test_the_other_direction(spelling):
    task, other = load(spelling), load(replace(spelling, reverse=True))
    assert other.splits["test"].sources == task.splits["test"].targets
    assert other.splits["test"].targets == task.splits["test"].sources
    assert other.target.decode(other.splits["test"].target[0]) == task.splits["test"].sources[0]
    assert other.metrics == ("word_error_rate", "chrf")


def test_verses(small_verses):
    task = load(small_verses)
    assert task.metrics == ("bleu", "chrf")
    assert task.source is task.target
    assert isinstance(task.source, SentencePiece)
    validation = task.splits["validation"]
    for number in range(len(validation)):
        assert task.target.decode(validation.target[number]) == validation.targets[number]


def test_an_instruction_is_read_before_every_source(small_verses):
    plain, told = load(small_verses), load(replace(small_verses, instruction=" into Spanish: "))
    test = told.splits["test"]
    assert test.sources == plain.splits["test"].sources
    for number, text in enumerate(test.sources):
        assert told.source.decode(test.source[number]) == f"into Spanish: {text}"
        assert told.read(text) == test.source[number][:-1].tolist()
        assert told.target.decode(test.target[number]) == test.targets[number]
    with pytest.raises(InputError, match="no character"):
        told.read("漢字")


def test_max_words_and_limit(small_verses):
    task = load(replace(small_verses, max_words=4, limit=5))
    assert all(len(s.split()) <= 4 for split in task.splits.values() for s in split.sources)
    assert len(task.splits["train"]) == 5
    assert len(task.splits["test"]) > 5
    assert load(small_verses).splits["test"].lengths.max() > task.splits["test"].lengths.max()


def test_train_length_caps_the_training_split_alone(small_verses):
    whole, capped = load(small_verses), load(replace(small_verses, train_length=8))
    before, after = whole.splits["train"], capped.splits["train"]
    kept = [row for row in range(len(before)) if len(before.source[row]) - 1 <= 8]
    assert 0 < len(kept) < len(before)
    assert after.source.lengths.max() == 9  # with EOS
    assert after.sources == [before.sources[row] for row in kept]
    assert after.targets == [before.targets[row] for row in kept]
    for number, row in enumerate(kept):
        assert after.source[number].tolist() == before.source[row].tolist()
        assert after.target[number].tolist() == before.target[row].tolist()
    for split in ("validation", "test"):
        assert np.array_equal(capped.splits[split].source.tokens, whole.splits[split].source.tokens)
    assert whole.splits["test"].source.lengths.max() > 9


def test_the_folder_keeps_the_tokenizer(small_verses, tmp_path):
    run = tmp_path / "run"
    first = load(small_verses, run)
    assert [path.name for path in run.rglob("*") if path.is_file()] == [SentencePiece.FILE]
    # Other training data, the same folder: the tokenizer that the run was trained with is used.
    again = load(replace(small_verses, limit=3, vocabulary=20), run)
    assert again.source.size == first.source.size
    assert again.source is again.target
    assert np.array_equal(again.splits["test"].source.tokens, first.splits["test"].source.tokens)


def test_the_folder_keeps_both_sides(spelling, tmp_path):
    first = load(spelling, tmp_path / "run")
    again = load(replace(spelling, limit=1), tmp_path / "run")
    assert (again.source.size, again.target.size) == (first.source.size, first.target.size)
    assert again.source.encode("bat") == first.source.encode("bat")


def test_reading_what_a_user_types(spelling, small_verses):
    task = load(spelling)
    assert task.read(" Bat ") == task.source.encode("bat")
    assert task.read("b?t").count(UNK) == 1
    for text in ("", "  ", "123"):
        with pytest.raises(InputError, match="no character that the source vocabulary knows"):
            task.read(text)
    with pytest.raises(InputError, match="no character"):
        load(small_verses).read("漢字")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_words": 0}, "max_words is 0; expected at least 1"),
        ({"max_words": 1}, "max_words 1: no pair"),
        ({"limit": 0}, "limit is 0"),
        ({"train_length": 0}, "train_length is 0; expected at least 1"),
        ({"train_length": 1}, "train_length is 1; the shortest .* has 4 tokens"),
        ({"length": 9}, "length is 9; verses has none: expected 16"),
        ({"vocabulary": 5000}, "vocabulary 5000"),
        ({"name": "verse"}, "did you mean verses"),
        ({"instruction": " "}, "instruction is ' '; expected words"),
    ],
)
def test_configurations_that_cannot_be(small_verses, change, message):
    with pytest.raises(InputError, match=message):
        load(replace(small_verses, **change))
