"""The families, on small data of their own."""

import gzip
from dataclasses import replace

import numpy as np
import pytest

from attn.models.protocol import BOS, EOS, PAD
from experiments.config import TaskConfig
from experiments.configs import TASKS
from experiments.data import lookup, probes, pronunciation, verses
from experiments.data.batches import Ordered
from experiments.data.sst import LABELS
from experiments.data.tokenizers import MASK, Positions, SentencePiece, Symbols
from experiments.errors import InputError
from experiments.evaluation.metrics import METRICS
from experiments.reports import results
from experiments.tasks import load
from experiments.tasks.registry import FAMILIES, family_of

TEXT = "".join(f"line {n} of a play,\n\nsaid twice:  so.\n" for n in range(40))


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Small files of all sets; a function makes configurations that read them."""
    chapters = [f"Gen.{c}.{v}\tthe light of day {v}\tla luz\n" for c in range(40) for v in (1, 2)]
    words = [a + b + c for a in "bcdfgh" for b in ("at", "enter", "ing") for c in ("", "s", "ed")]
    spoken = [f"{word} {' '.join(word.upper())}\n" for word in words]
    for name, lines in (
        ("verses", chapters),
        ("words", spoken),
        ("input.txt", [TEXT]),
        *((f"stsa.fine.{stem}", REVIEWS) for stem in ("train", "dev", "test")),
    ):
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress("".join(lines).encode()))
    monkeypatch.setattr(verses, "VERSES", tmp_path / "verses.gz")
    monkeypatch.setattr(pronunciation, "DICTIONARY", tmp_path / "words.gz")
    for builder in (lookup.Lookup, probes.Probe):
        monkeypatch.setattr(builder, "SIZES", {"train": 60, "validation": 10, "test": 20})

    def config(name, **settings):
        where = {"data_dir": str(tmp_path / "data"), "manual_dir": str(tmp_path)}
        return TaskConfig(name, **({"vocabulary": 40} | where | settings))

    return config


REVIEWS = [f"{n % 5} a film of {n} tears and joy .\n" for n in range(20)]


@pytest.mark.parametrize("unit", ["character", "subword"])
@pytest.mark.parametrize("context", [2, 7, 5000])
def test_chunks_make_up_the_text(files, unit, context):
    task = load(files("shakespeare", unit=unit, context=context))
    assert isinstance(task.target, Symbols if unit == "character" else SentencePiece)
    assert task.source is task.target
    assert (task.kind, task.metrics, task.searched) == ("text", ("bits_per_character",), False)
    texts = []
    for split in ("train", "validation", "test"):
        examples = task.splits[split]
        lengths = examples.target.lengths - 1
        assert lengths.min() >= 1
        assert (lengths[:-1] == context).all()  # one text a split: its last chunk may be shorter
        assert lengths[-1] <= context
        assert set(examples.sources) == {""}
        for number, chunk in enumerate(examples.targets):
            assert examples.source[number].tolist() == [EOS]
            row = examples.target[number]
            assert row[0] == BOS
            assert EOS not in row  # a cut is no end
            if split == "train":
                assert task.target.decode(row) == chunk
        texts.append("".join(examples.targets))
    assert "".join(texts) == TEXT


def test_no_chunk_crosses_a_chapter(files):
    task = load(files("verses-english", context=30))
    chapter = "the light of day 1\nthe light of day 2\n"
    assert task.splits["test"].targets[:4] == [chapter[:30], chapter[30:]] * 2


def test_a_language_model_is_given_no_source(files):
    task = load(files("shakespeare"))
    assert task.read(" ") == []
    with pytest.raises(InputError, match="the text is 'line'; shakespeare has no source"):
        task.read("line")


def test_masked_verses(files):
    task = load(files("verses-masked"))
    assert (task.kind, task.searched) == ("tokens", False)
    mask = task.source.tokens(range(task.source.size)).index(MASK)
    examples = task.splits["train"]
    assert examples.sources == examples.targets
    assert all(text.startswith("the light") for text in examples.sources)
    hidden = 0
    for batch in Ordered(examples, 16, []):
        for source, target, index in zip(batch.source, batch.target, batch.index, strict=True):
            if index < 0:
                continue
            tokens = examples.source[int(index)]
            wanted = target[1 : len(tokens)]
            assert target[0] == BOS
            assert not target[len(tokens) :].any()
            assert ((wanted == PAD) | (wanted == tokens[:-1])).all()
            assert (wanted[source[: len(tokens) - 1] == mask] != PAD).all()
            hidden += (source == mask).sum()
    total = (examples.source.lengths - 1).sum()
    assert hidden / total == pytest.approx(0.15 * 0.8, abs=0.05)


@pytest.mark.parametrize("classes", [2, 5])
def test_sentiment(files, classes):
    task = load(files("sst", classes=classes))
    assert (task.kind, task.metrics) == ("class", ("accuracy",))
    assert task.target.size == 4 + classes
    pairs = {
        (source, target)
        for examples in task.splits.values()
        for source, target in zip(examples.sources, examples.targets, strict=True)
    }
    fine = [LABELS[int(line[0])] for line in REVIEWS]
    wanted = [label if classes == 5 else label.removeprefix("very-") for label in fine]
    assert pairs == {
        (line[2:].strip(), label)
        for line, label in zip(REVIEWS, wanted, strict=True)
        if classes == 5 or label != "neutral"
    }
    assert (task.splits["test"].target.lengths == 3).all()


def test_an_instruction_before_a_sentence(files):
    task = load(files("sst", instruction="judge:"))
    test = task.splits["test"]
    assert task.source.decode(test.source[0]) == f"judge: {test.sources[0]}"


def test_silent_letters_have_a_label_each(files):
    task = load(files("silent-letters"))
    assert (task.kind, task.metrics[0]) == ("tokens", "silent_f1")
    assert task.target.size == 6
    for examples in task.splits.values():
        assert np.array_equal(examples.target.lengths, examples.source.lengths + 1)


def test_lookup_points_into_its_source(files):
    task = load(files("lookup"))
    assert (task.kind, task.metrics) == ("span", ("exact_match", "span_f1"))
    assert isinstance(task.target, Positions)
    assert task.target.size == 3 + lookup.LONGEST
    examples = task.splits["test"]
    for number, text in enumerate(examples.sources):
        _, first, last, _ = examples.target[number].tolist()
        said = task.source.decode(examples.source[number][first - 3 : last - 2])
        words = text.split()
        assert said == " ".join(words[first - 3 : last - 2])
        assert said.startswith("the ") or said in lookup.PEOPLE
        assert last - 3 < len(words)
        assert task.read(text) == examples.source[number][:-1].tolist()
        target = examples.targets[number]
        assert task.shown(text, target) == f"{said} ({target})"
    assert task.shown("who ?", "1") == "1"
    assert load(files("silent-letters")).shown("ab", "sounded silent") == "sounded silent"


@pytest.mark.parametrize(
    ("name", "settings", "longest", "sizes"),
    [
        ("copy", {"length": 5, "symbols": 9}, [6, 7], (13, 13)),
        ("reverse", {"length": 5, "symbols": 9}, [6, 7], (13, 13)),
        ("permutation", {"length": 6, "block": 4}, [7, 8], (20, 20)),
        ("recall", {"symbols": 7, "pairs": 3}, [8, 3], (18, 11)),
        ("recall", {"symbols": 7, "pairs": 3, "relations": 2}, [21, 3], (20, 11)),
        ("order", {"length": 20}, [21, 3], (10, 8)),
    ],
)
def test_generated_tasks_have_the_settings_asked_for(files, name, settings, longest, sizes):
    task = load(files(name, **settings))
    labelled = name in ("recall", "order")
    assert task.kind == ("class" if labelled else "sequence")
    assert task.metrics == (("accuracy",) if labelled else ("label_accuracy", "exact_match"))
    assert (task.source.size, task.target.size) == sizes
    assert (task.source is task.target) == (not labelled)
    assert [len(task.splits[s]) for s in ("train", "validation", "test")] == [60, 10, 20]
    train = task.splits["train"]
    assert train.lengths.max(axis=0).tolist() == longest
    for number, (source, target) in enumerate(zip(train.sources, train.targets, strict=True)):
        assert task.source.decode(train.source[number]) == source
        assert task.target.decode(train.target[number]) == target


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("shakespeare", {"manual_dir": "/nowhere"}, r"shakespeare: .*Fetch it by hand"),
        ("shakespeare", {"context": 1}, "context is 1; expected at least 2"),
        ("shakespeare", {"limit": 3}, "limit is 3; .*expected None"),
        ("verses-english", {"max_words": 3}, "max_words is 3; .*expected None"),
        ("sst", {"classes": 3}, "classes is 3; expected 2 or 5"),
        ("sst", {"manual_dir": "/nowhere"}, r"sst: .*Fetch it by hand"),
        ("sst", {"max_words": 1}, "max_words 1: no pair"),
        ("lookup", {"limit": 0}, "limit is 0; expected at least 1"),
        ("shakespeare", {"train_length": 3}, "train_length is 3; .*expected None"),
        ("copy", {"length": 0}, "length is 0; expected at least 1"),
        ("copy", {"block": 2}, "block is 2; copy has none: expected 1"),
        ("permutation", {"block": 0}, "block is 0; expected at least 1"),
        ("permutation", {"pairs": 2}, "pairs is 2; permutation has none: expected 8"),
        ("recall", {"pairs": 17}, "pairs is 17; .*expected at most 16"),
        ("recall", {"length": 4}, "length is 4; recall has none: expected 16"),
        ("copy", {"relations": 2}, "relations is 2; copy has none: expected 1"),
        ("order", {"symbols": 5}, "symbols is 5; order has none: expected 16"),
        *(
            (name, {"instruction": "do it:"}, f"instruction is 'do it:'; {name} has no source of")
            for name in ("pronunciation", "silent-letters", "lookup", "shakespeare")
        ),
        *(
            (name, {"reverse": True}, f"reverse is True; {name} has one direction")
            for name in ("sst", "silent-letters", "lookup", "shakespeare", "verses-masked", "copy")
        ),
    ],
)
def test_configurations_that_cannot_be(files, monkeypatch, name, settings, message):
    monkeypatch.setattr("requests.head", lambda *_, **__: (_ for _ in ()).throw(OSError("none")))
    with pytest.raises(InputError, match=f"(?s){message}"):
        load(files(name, **settings))


def test_text_that_is_empty(files):
    config = files("shakespeare")
    with pytest.raises(InputError, match="shakespeare's test split is empty"):
        family_of(config.name).pairs(config, "test", ([""], [""]))


@pytest.mark.parametrize("name", TASKS)
def test_named_tasks_are_known_and_their_metrics_shown(name):
    config = TASKS[name]().task
    assert config.name in FAMILIES
    family_of(config.name).check(config)
    for metric in family_of(config.name).metrics(config):
        assert metric in METRICS
        assert metric in results.METRICS


def test_other_names_are_translations(files):
    assert family_of("wmt14_translate/de-en").kind == "sequence"
    with pytest.raises(InputError, match="unknown task 'sst2'; did you mean sst"):
        load(replace(files("sst"), name="sst2"))
