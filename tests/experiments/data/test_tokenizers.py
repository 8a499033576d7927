import pytest
from hypothesis import given
from hypothesis import strategies as st

from attn.models.protocol import BOS, EOS, PAD
from experiments.data.tokenizers import MASK, UNK, Positions, SentencePiece, Symbols, load
from experiments.errors import InputError

SENTENCES = [
    f"{who} {what} {how}."
    for who in ("The old man", "A small dog", "Our neighbour", "El río", "La niña")
    for what in ("runs", "was seen", "jumped over it", "canta", "está en la casa")
    for how in ("slowly", "at night", "without a word", "con alegría", "otra vez")
]


@given(st.text("abcxyz", max_size=20))
def test_characters_come_back(text):
    letters = Symbols.of(["xyz", "cab"], "character")
    assert letters.decode(letters.encode(text)) == text
    assert letters.size == 10


def test_words_come_back():
    sounds = Symbols.of(["K AE T", "T AH"], "word")
    assert sounds.decode([BOS, *sounds.encode("AH K  T"), EOS, PAD]) == "AH K T"
    assert sounds.tokens([BOS, *sounds.encode("AH K"), EOS, PAD, UNK]) == [
        "<s>", "AH", "K", "</s>", "<pad>", "<unk>",
    ]  # fmt: skip


def test_other_case_and_unknown_symbols():
    letters = Symbols.of(["abB"], "character")
    assert letters.encode("A") == letters.encode("a")
    assert letters.encode("B") != letters.encode("b")
    assert letters.encode("?") == [UNK]


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_subwords(kind):
    pieces = SentencePiece.train(SENTENCES, 50, kind)
    assert pieces.size == 50
    ids = pieces.encode(SENTENCES[0])
    assert not {PAD, BOS, EOS, UNK} & set(ids)
    assert pieces.decode([BOS, *ids, EOS, PAD, PAD]) == SENTENCES[0]
    assert pieces.tokens([PAD, BOS, EOS, UNK]) == ["<pad>", "<s>", "</s>", "<unk>"]
    assert "".join(pieces.tokens(ids)).replace("▁", " ").strip() == SENTENCES[0]
    assert UNK in pieces.encode("漢")


LINES = [f"{sentence}\n" for sentence in SENTENCES]


@given(st.lists(st.sampled_from([*LINES, "\n", "  at  night ", "x 漢 y"]), max_size=6))
def test_exact_subwords_make_up_the_text(parts):
    text = "".join(parts)
    assert "".join(EXACT.surfaces(text)) == text
    assert len(EXACT.surfaces(text)) == len(EXACT.encode(text))
    if "漢" not in text:
        assert EXACT.decode(EXACT.encode(text)) == text


EXACT = SentencePiece.train(LINES, 60, "bpe", exact=True)


def test_symbols_make_up_the_text():
    assert Symbols("ab", "character").surfaces("aB\n") == ["a", "B", "\n"]
    assert Symbols(["K", "AE"], "word").surfaces("K  AE T") == ["K", "AE", "T"]


def test_nothing_is_written_as_the_mask():
    pieces = SentencePiece.train(SENTENCES, 60, "bpe", mask=True)
    assert pieces.tokens(range(6))[4] == MASK
    assert pieces.size == 60
    assert 4 not in pieces.encode(f"The old {MASK} runs slowly.")
    assert MASK not in SentencePiece.train(SENTENCES, 60, "bpe").tokens(range(60))


def test_positions():
    places = Positions(12)
    assert places.size == 15
    assert places.encode("0 11") == [3, 14]
    assert places.decode([BOS, 3, 14, EOS, PAD]) == "0 11"
    assert places.tokens([PAD, BOS, EOS, 3]) == ["<pad>", "<s>", "</s>", "0"]
    for text in ("12", "-1", "0 x"):
        with pytest.raises(ValueError, match=r"0 to 11|invalid literal"):
            places.encode(text)


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_training_again_gives_the_same_file(kind, tmp_path):
    for name in ("one", "other"):
        SentencePiece.train(SENTENCES, 50, kind).save(tmp_path / name)
    one, other = ((tmp_path / n / SentencePiece.FILE).read_bytes() for n in ("one", "other"))
    assert one == other


@pytest.mark.parametrize(
    "tokenizer",
    [
        Symbols.of(["héllo"], "character"),
        Symbols.of(["K AE"], "word"),
        SentencePiece.train(SENTENCES, 50, "bpe"),
        EXACT,
    ],
)
def test_saved_and_loaded(tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    again = load(tmp_path)
    assert again.size == tokenizer.size
    for text in ("héllo", "K AE", SENTENCES[3]):
        assert again.encode(text) == tokenizer.encode(text)
        assert again.decode(again.encode(text)) == tokenizer.decode(tokenizer.encode(text))


def test_positions_saved_and_loaded(tmp_path):
    Positions(7).save(tmp_path)
    again = load(tmp_path)
    assert isinstance(again, Positions)
    assert again.count == 7


def test_more_subwords_than_the_texts_give():
    with pytest.raises(InputError, match="vocabulary 4000"):
        SentencePiece.train(SENTENCES, 4000, "bpe")


@pytest.mark.parametrize("name", [Symbols.FILE, Positions.FILE, SentencePiece.FILE])
def test_damaged_files(name, tmp_path):
    (tmp_path / name).write_bytes(b"{half")
    with pytest.raises(InputError, match="damaged"):
        load(tmp_path)


def test_no_tokenizer(tmp_path):
    with pytest.raises(InputError, match="holds no tokenizer"):
        load(tmp_path)
