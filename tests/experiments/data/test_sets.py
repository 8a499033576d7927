"""The builders, on small files of their formats, and on the real ones where they are at hand."""

import gzip
import multiprocessing
import os
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path

import pytest
import requests
import tensorflow_datasets as tfds
from tensorflow_datasets.testing import mocking

from experiments.data import pronunciation, sets, tatoeba, verses
from experiments.data.pairs import read_lines, split_of
from experiments.data.sets import make_builder, read_set
from experiments.errors import InputError

WORDS = [a + b + c for a in "bcdfgh" for b in ("at", "enter", "ing") for c in ("", "s", "ed")]


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*arguments, **named):
        raise requests.ConnectionError("no network in tests")

    monkeypatch.setattr(requests, "head", refuse)
    monkeypatch.delenv("ATTN_DATA", raising=False)


def pack(path, text):
    path.write_bytes(gzip.compress(text.encode()))
    return path


@pytest.fixture
def small_dictionary(tmp_path, monkeypatch):
    lines = [f"{word} {' '.join(word.upper())} AH0" for word in WORDS]
    lines += ["bat(2) B AA1 T", "it's IH1 T S", "a AH0", "house HH AW1 S # noun"]
    monkeypatch.setattr(
        pronunciation, "DICTIONARY", pack(tmp_path / "small.gz", "\n".join(lines) + "\n")
    )
    return tmp_path


def write_multi30k(folder):
    for stem, count in (("train", 6), ("val", 2), ("test_2016_flickr", 3)):
        for side in ("en", "de"):
            lines = [f"{stem} {side} caption {n}" for n in range(count)]
            pack(folder / f"{stem}.{side}.gz", "\n".join(lines) + "\n")


def write_tatoeba(folder, lines):
    with zipfile.ZipFile(folder / tatoeba.ARCHIVE, "w") as archive:
        archive.writestr(tatoeba.MEMBER, "\n".join(lines) + "\n")


def test_pronunciation_keeps_words_and_first_pronunciations(small_dictionary):
    splits = read_set("pronunciation", small_dictionary / "data")
    pairs = dict(pair for texts in splits.values() for pair in zip(*texts, strict=True))
    assert set(pairs) == {*WORDS, "house"}
    assert pairs["bat"] == "B A T AH"
    assert pairs["house"] == "HH AW S"
    groups = [{word[:6] for word in sources} for sources, _ in splits.values()]
    assert sum(map(len, groups)) == len(set().union(*groups))


def test_pronunciation_embedded():
    rows = list(pronunciation.read_dictionary(pronunciation.DICTIONARY))
    counts = Counter(split for split, _, _ in rows)
    assert counts == {"train": 106055, "validation": 5673, "test": 5737}
    phonemes = {phoneme for _, _, target in rows for phoneme in target.split()}
    assert len(phonemes) == 39
    assert phonemes >= {"AH", "ZH"}
    assert all(word.isalpha() and 2 <= len(word) <= 20 for _, word, _ in rows)


def test_verses_embedded(tmp_path):
    splits = read_set("verses", tmp_path)
    assert {name: len(sources) for name, (sources, _) in splits.items()} == {
        "train": 23728,
        "validation": 3003,
        "test": 3116,
    }
    sources, targets = splits["train"]
    place = sources.index("God said, “Let there be light,” and there was light.")
    assert targets[place] == "Y dijo Dios: Sea la luz: y fué la luz."


def test_verses_of_a_chapter_are_on_one_side():
    chapters = {}
    for line, (split, _, _) in zip(
        read_lines(verses.VERSES), verses.read_verses(verses.VERSES), strict=True
    ):
        chapters.setdefault(line.split("\t")[0].rpartition(".")[0], set()).add(split)
    assert all(len(splits) == 1 for splits in chapters.values())


@pytest.mark.parametrize("inside", [".", "multi30k"])
def test_multi30k(tmp_path, inside):
    folder = tmp_path / "files" / inside
    folder.mkdir(parents=True)
    write_multi30k(folder)
    splits = read_set("multi30k", tmp_path / "data", tmp_path / "files")
    assert {name: len(sources) for name, (sources, _) in splits.items()} == {
        "train": 6,
        "validation": 2,
        "test": 3,
    }
    assert set(zip(*splits["validation"], strict=True)) == {
        (f"val en caption {n}", f"val de caption {n}") for n in range(2)
    }


def test_tatoeba_keeps_translations_of_one_sentence_together(tmp_path):
    lines = [f"Sentence {n}.\tSatz {n}." for n in range(150)]
    lines += [f"Other {n}.\tSatz {n}." for n in range(150)] + ["Other 1.\tNoch ein Satz.\tCC-BY"]
    write_tatoeba(tmp_path, lines)
    splits = read_set("tatoeba", tmp_path / "data", tmp_path)
    assert sum(len(sources) for sources, _ in splits.values()) == 301
    for side in (0, 1):
        texts = [set(texts[side]) for texts in splits.values()]
        assert sum(map(len, texts)) == len(set().union(*texts))
    assert ("Noch ein Satz.", "Other 1.") in {
        p for t in splits.values() for p in zip(*t, strict=True)
    }


def write_sst(folder):
    for stem, count in (("train", 12), ("dev", 4), ("test", 6)):
        lines = "".join(f"{n % 5} {stem} sentence {n} .\n" for n in range(count))
        pack(folder / f"stsa.fine.{stem}.gz", lines)


def test_sst(tmp_path):
    (tmp_path / "files" / "sst").mkdir(parents=True)
    write_sst(tmp_path / "files" / "sst")
    splits = read_set("sst", tmp_path / "data", tmp_path / "files")
    assert {name: len(sources) for name, (sources, _) in splits.items()} == {
        "train": 12,
        "validation": 4,
        "test": 6,
    }
    assert set(zip(*splits["validation"], strict=True)) == {
        ("dev sentence 0 .", "very-negative"),
        ("dev sentence 1 .", "negative"),
        ("dev sentence 2 .", "neutral"),
        ("dev sentence 3 .", "positive"),
    }


@pytest.mark.parametrize("inside", [".", "tiny_shakespeare"])
@pytest.mark.parametrize("packed", [True, False])
def test_shakespeare(tmp_path, inside, packed):
    folder = tmp_path / "files" / inside
    folder.mkdir(parents=True)
    text = "".join(f"line {n}\n\n" for n in range(50))
    if packed:
        pack(folder / "input.txt.gz", text)
    else:
        (folder / "input.txt").write_text(text)
    splits = read_set("shakespeare", tmp_path / "data", tmp_path / "files")
    assert all(sources == [""] for sources, _ in splits.values())
    parts = [targets for _, targets in splits.values()]
    assert "".join(part for (part,) in parts) == text
    assert [part.count("\n") for (part,) in parts] == [90, 5, 5]


def test_running_text_too_short_for_three_splits(tmp_path):
    pack(tmp_path / "input.txt.gz", "one\ntwo\n")
    with pytest.raises(InputError, match="no pairs for the validation split"):
        read_set("shakespeare", tmp_path / "data", tmp_path)


def test_chapters_of_english_verses(tmp_path, monkeypatch):
    lines = [f"Gen.{c}.{v}\tverse {v} of {c}\tverso\n" for c in range(1, 40) for v in (1, 2, 5)]
    monkeypatch.setattr(verses, "VERSES", pack(tmp_path / "verses.gz", "".join(lines)))
    texts = read_set("verses-english", tmp_path / "data")
    pairs = read_set("verses", tmp_path / "data")
    assert sorted(text for _, texts in texts.values() for text in texts) == sorted(
        "".join(f"verse {v} of {c}\n" for v in (1, 2, 5)) for c in range(1, 40)
    )
    for split, (_, chapters) in texts.items():
        assert sorted("".join(chapters).splitlines()) == sorted(pairs[split][0])


def test_silent_letters(tmp_path, monkeypatch):
    words = [f"{word} {' '.join(word.upper())}" for word in WORDS]
    words += [f"{word}e {' '.join(word.upper())}" for word in WORDS] + ["zz T R IH P L"]
    dictionary = pack(tmp_path / "words.gz", "\n".join(words) + "\n")
    monkeypatch.setattr(pronunciation, "DICTIONARY", dictionary)
    splits = read_set("silent-letters", tmp_path / "data")
    found = dict(pair for texts in splits.values() for pair in zip(*texts, strict=True))
    assert len(found) == 2 * len(WORDS)  # without "zz", of five phonemes
    assert found["bat"] == "sounded sounded sounded"
    assert found["bate"] == "sounded sounded sounded silent"
    assert all(len(labels.split()) == len(word) for word, labels in found.items())


def test_clusters_do_not_depend_on_the_order_of_lines():
    pairs = [("a", "x"), ("b", "x"), ("b", "y"), ("c", "z"), ("x", "c")]
    names = dict(zip(pairs, tatoeba.clusters(pairs), strict=True))
    again = dict(zip(pairs[::-1], tatoeba.clusters(pairs[::-1]), strict=True))
    assert names == again
    assert names["a", "x"] == names["b", "y"]
    assert len(set(names.values())) == 3


@pytest.mark.parametrize(
    ("name", "licence", "place"),
    [
        ("multi30k", "non-commercial", "multi30k/dataset"),
        ("tatoeba", "CC BY 2.0", "deu-eng.zip"),
        ("shakespeare", "public domain", "tinyshakespeare/input.txt"),
        ("sst", "without a stated licence", "stsa.fine.train"),
    ],
)
def test_no_files_and_no_network(tmp_path, name, licence, place):
    with pytest.raises(InputError) as error:
        read_set(name, tmp_path / "data", tmp_path / "nothing")
    message = str(error.value)
    assert licence in message
    assert place in message
    assert "$ATTN_DATA" in message
    assert not list(tmp_path.glob("data/**/*.array_record*"))


def test_the_folder_that_lacks_the_files_is_named(tmp_path):
    (tmp_path / "other.txt").write_text("x")
    with pytest.raises(InputError, match=f"neither {tmp_path} nor"):
        read_set("multi30k", tmp_path / "data", tmp_path)


def test_malformed_lines_are_named(tmp_path):
    bad = pack(tmp_path / "bad.gz", "cat K AE1 T\ndog 123\n")
    with pytest.raises(InputError, match=r"bad\.gz, line 2: .*'dog 123'"):
        list(pronunciation.read_dictionary(bad))
    bad = pack(tmp_path / "bad.tsv.gz", "Gen.1.1\tIn\tEn\nGen.1.2\tAnd\n")
    with pytest.raises(InputError, match=r"bad\.tsv\.gz, line 2: expected"):
        list(verses.read_verses(bad))
    write_tatoeba(tmp_path, ["Hi.\tHallo!", "Run!"])
    with pytest.raises(InputError, match=r"deu\.txt, line 2: expected"):
        tatoeba.read_archive(tmp_path / tatoeba.ARCHIVE)
    write_sst(tmp_path)
    for line in ("5 too good .", "1 ", "no label"):
        pack(tmp_path / "stsa.fine.dev.gz", f"0 bad .\n{line}\n")
        with pytest.raises(InputError, match=r"stsa\.fine\.dev\.gz, line 2: expected a label 0"):
            read_set("sst", tmp_path / "data", tmp_path)
    write_multi30k(tmp_path)
    pack(tmp_path / "val.de.gz", "ein\n\n")
    with pytest.raises(InputError, match=r"val\.de\.gz, line 2: expected a caption"):
        read_set("multi30k", tmp_path / "data", tmp_path)
    pack(tmp_path / "val.de.gz", "ein\n")
    with pytest.raises(InputError, match=r"has 2 lines but .* has 1"):
        read_set("multi30k", tmp_path / "data", tmp_path)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match=r"cannot read .*missing"):
        read_lines(tmp_path / "missing")
    for name, data, message in (
        ("empty", b"", "is empty"),
        ("empty.gz", gzip.compress(b""), "is empty"),
        ("cut.gz", gzip.compress(b"word\n" * 99)[:-9], "is damaged"),
        ("latin", "a\nb\xe9\n".encode("latin-1"), "line 2: not UTF-8"),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match=message):
            read_lines(tmp_path / name)
    (tmp_path / tatoeba.ARCHIVE).write_bytes(b"no zip file")
    with pytest.raises(InputError, match=r"cannot read deu\.txt"):
        tatoeba.read_archive(tmp_path / tatoeba.ARCHIVE)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pronounciation", "did you mean pronunciation"),
        ("wmt14_translat/de-en", "did you mean wmt14_translate"),
        ("qqq", "known: pronunciation, verses, multi30k, tatoeba"),
        ("wmt14_translate/xx-en", "xx-en not found"),
        ("mnist", "no set of text pairs"),
    ],
)
def test_unknown_names(tmp_path, name, message):
    with pytest.raises(InputError, match=message):
        read_set(name, tmp_path)


@pytest.fixture
def mock_data(monkeypatch):
    """TFDS's mock data, whose reading of many records at once is mended.

    It forgets the `self` of its own function, and gives text where TFDS gives bytes.
    """
    get_items = mocking._getitems

    def mended(record_keys, generator):
        records = get_items(None, record_keys, generator)
        return [{key: text.encode() for key, text in record.items()} for record in records]

    monkeypatch.setattr(mocking, "_getitems", mended)
    with tfds.testing.mock_data(num_examples=12):
        yield


@pytest.mark.parametrize("name", ["wmt14_translate/de-en", "ted_hrlr_translate/pt_to_en"])
def test_translation_sets_of_tfds(mock_data, tmp_path, name):
    splits = read_set(name, tmp_path)
    assert list(splits) == ["train", "validation", "test"]
    for sources, targets in splits.values():
        assert len(sources) == len(targets) == 12
        assert all(isinstance(text, str) for text in sources + targets)
    languages = tuple(name.partition("/")[2].replace("_to_", "-").split("-"))
    assert make_builder(name, tmp_path).info.supervised_keys == languages


def test_a_set_without_the_splits(small_dictionary):
    class Unsplit(pronunciation.Pronunciation):
        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples([("a", "AH")])}

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sets.BUILDERS, "unsplit", Unsplit)
        with pytest.raises(InputError, match=r"no validation split; .*it has train"):
            read_set("unsplit", small_dictionary / "data")


def test_data_that_lacks_a_split(tmp_path, monkeypatch):
    monkeypatch.setattr(pronunciation, "DICTIONARY", pack(tmp_path / "one.gz", "cat K AE1 T\n"))
    with pytest.raises(InputError, match=r"no pairs for the .* split"):
        read_set("pronunciation", tmp_path / "data")


def test_a_folder_that_cannot_be_written(small_dictionary):
    (small_dictionary / "file").write_text("in the way")
    with pytest.raises(InputError, match=r"cannot prepare pronunciation in .*file"):
        read_set("pronunciation", small_dictionary / "file")


def _prepare_with(folder, queue):
    pronunciation.DICTIONARY = folder / "small.gz"
    queue.put(read_set("pronunciation", folder / "data"))


def test_processes_prepare_the_same_set_at_once(small_dictionary):
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    processes = [
        context.Process(target=_prepare_with, args=(small_dictionary, queue)) for _ in range(2)
    ]
    for process in processes:
        process.start()
    one, other = (queue.get(timeout=100) for _ in processes)
    for process in processes:
        process.join()
    assert one == other
    assert not list(small_dictionary.glob("data/**/*incomplete*"))


def test_half_prepared_data_is_not_read(small_dictionary, monkeypatch):
    def stop(self, pairs):
        yield 0, {"spelling": "cat", "phonemes": "K AE T"}
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pronunciation.Pronunciation, "_generate_examples", stop)
        with pytest.raises(KeyboardInterrupt):
            read_set("pronunciation", small_dictionary / "data")
    splits = read_set("pronunciation", small_dictionary / "data")
    assert sum(len(sources) for sources, _ in splits.values()) == len(WORDS) + 1


def test_damaged_data_is_named(small_dictionary):
    read_set("pronunciation", small_dictionary / "data")
    for file in small_dictionary.glob("data/**/*.array_record*"):
        file.write_bytes(b"")
    with pytest.raises(InputError, match="damaged; delete"):
        read_set("pronunciation", small_dictionary / "data")


def test_tensorflow_is_never_imported(small_dictionary):
    code = (
        "import sys; from pathlib import Path; from experiments.data import pronunciation, sets\n"
        f"folder = Path({str(small_dictionary)!r})\n"
        "pronunciation.DICTIONARY = folder / 'small.gz'\n"
        "sets.read_set('pronunciation', folder / 'data')\n"
        "sets.make_builder('wmt14_translate/de-en', folder)\n"
        "print('tensorflow' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"  # and nothing of TFDS's on standard output


def test_hash_splits_are_what_they_were():
    assert [split_of(f"group {n}", 0.8, 0.1) for n in range(8)] == ["train"] * 6 + [
        "validation"
    ] * 2
    many = [split_of(str(n), 0.8, 0.1) for n in range(10_000)]
    assert 0.78 < many.count("train") / 10_000 < 0.82
    assert 0.09 < many.count("test") / 10_000 < 0.11


ATTN_DATA = os.environ.get("ATTN_DATA")


@pytest.mark.slow
@pytest.mark.skipif(ATTN_DATA is None, reason="$ATTN_DATA does not name the official files")
@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("multi30k", [29000, 1014, 1000]),
        ("tatoeba", [152867, 8398, 8548]),
        ("sst", [8544, 1101, 2210]),
    ],
)
def test_official_files(tmp_path, name, counts):
    splits = read_set(name, tmp_path, Path(ATTN_DATA))
    assert [len(sources) for sources, _ in splits.values()] == counts


@pytest.mark.slow
@pytest.mark.skipif(ATTN_DATA is None, reason="$ATTN_DATA does not name the official files")
def test_official_shakespeare(tmp_path):
    splits = read_set("shakespeare", tmp_path, Path(ATTN_DATA))
    assert sum(len(text) for _, (text,) in splits.values()) == 1_115_394
