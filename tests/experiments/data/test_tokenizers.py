import pytest
from hypothesis import given
from hypothesis import strategies as st

from attn.models.protocol import BOS, EOS, PAD
from experiments.data.tokenizers import UNK, SentencePiece, Symbols, load
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
    ],
)
def test_saved_and_loaded(tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    again = load(tmp_path)
    assert again.size == tokenizer.size
    for text in ("héllo", "K AE", SENTENCES[3]):
        assert again.encode(text) == tokenizer.encode(text)
        assert again.decode(again.encode(text)) == tokenizer.decode(tokenizer.encode(text))


def test_more_subwords_than_the_texts_give():
    with pytest.raises(InputError, match="vocabulary 4000"):
        SentencePiece.train(SENTENCES, 4000, "bpe")


@pytest.mark.parametrize("name", [Symbols.FILE, SentencePiece.FILE])
def test_damaged_files(name, tmp_path):
    (tmp_path / name).write_bytes(b"{half")
    with pytest.raises(InputError, match="damaged"):
        load(tmp_path)


def test_no_tokenizer(tmp_path):
    with pytest.raises(InputError, match="holds no tokenizer"):
        load(tmp_path)
