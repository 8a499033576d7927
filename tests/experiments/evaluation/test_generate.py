"""Prompts to texts, against what the model says when it is handed the whole text at once."""

import itertools
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from attn.models import DecoderConfig, TransformerConfig
from attn.models.protocol import BOS, EOS
from experiments.data.tokenizers import SentencePiece
from experiments.errors import InputError
from experiments.evaluation.generate import Generator, _Pieces
from experiments.evaluation.sampling import Sampling
from tests.experiments.evaluation.toy import HistoryModule, task
from tests.experiments.evaluation.toy_language import LETTERS, RecurrentModel, text_task

TEXT = text_task()
SIZE = TEXT.target.size
MODEL = RecurrentModel(SIZE)
GREEDY = Sampling(temperature=0.0)


def generator(max_tokens=12, sampling=GREEDY, model=MODEL, task=TEXT):
    return Generator(*nnx.split(model), task, max_tokens, sampling)


def log_p(ids: list[int], source: tuple[int, ...] = (EOS,)) -> np.ndarray:
    """[len(ids) + 1, V]: of the token after `BOS` and after each of the ids."""
    return MODEL.expects([*source, BOS, *ids])[len(source) :]


def greedy(ids: list[int], count: int, source: tuple[int, ...] = (EOS,)) -> list[int]:
    written: list[int] = []
    while len(written) < count:
        token = 2 + int(log_p([*ids, *written], source)[-1][2:].argmax())
        if token == EOS:
            break
        written.append(token)
    return written


@pytest.mark.parametrize(
    "prompt", ["", "a", "had a bad ca", "abcdefghabcdefg", "abcdefghabcdefghabc"]
)
def test_greedy_writes_what_the_whole_sequence_makes_likeliest(prompt):
    """Prompts of every kind of length: none, short, just filling the padding, beyond it."""
    expected = TEXT.target.decode(greedy(TEXT.target.encode(prompt), 12))
    assert "".join(generator().stream(prompt)) == expected
    assert generator().echo(prompt) == prompt


def test_on_other_tasks_the_prompt_is_the_source():
    source = (*TEXT.source.encode("bad"), EOS)
    found = generator(task=text_task("sequence"))
    assert "".join(found.stream("bad")) == TEXT.target.decode(greedy([], 12, source))
    assert found.echo("bad") == ""


def test_a_text_ends_with_its_eos():
    """Among the starts of texts are some that end early and some that do not."""
    lengths = {first: len(greedy(TEXT.target.encode(first), 30)) for first in LETTERS}
    assert min(lengths.values()) < 30
    writer = generator(max_tokens=30)
    for first, length in lengths.items():
        pieces = list(writer.stream(first))
        assert len([piece for piece in pieces if piece]) == length


def test_a_text_goes_on_where_there_are_no_ends():
    endless = generator(max_tokens=30, sampling=replace(GREEDY, ends=False))
    for first in LETTERS:
        assert len([piece for piece in endless.stream(first) if piece]) == 30


def test_samples_are_those_of_the_seed_and_the_first_is_the_streamed_one():
    one, other = (generator(sampling=Sampling(temperature=1.5, seed=seed)) for seed in (0, 1))
    texts = one.samples("bad ", 6)
    assert texts == one.samples("bad ", 6)
    assert texts[0] == "".join(one.stream("bad "))
    assert texts[:2] == one.samples("bad ", 2)
    assert len(set(texts)) > 3
    assert texts != other.samples("bad ", 6)


def test_a_wide_search_finds_the_likeliest_text():
    """Every text of at most two letters, `EOS` counted, is tried."""
    prompt = TEXT.target.encode("cab")
    scores = {}
    for length in range(3):
        for ids in itertools.product(range(4, SIZE), repeat=length):
            rows = log_p([*prompt, *ids])[len(prompt) :]
            scores[ids] = sum(row[i] for row, i in zip(rows, [*ids, EOS], strict=True))
    best = sorted(scores, key=lambda ids: -scores[ids])[:3]
    found = generator(max_tokens=2).best("cab", beam=SIZE**2, number=3)
    assert found == [TEXT.target.decode(ids) for ids in best]


def test_a_search_with_one_place_is_greedy():
    for prompt in ("a", "ha"):
        expected = greedy(TEXT.target.encode(prompt), 30)
        if len(expected) < 30:  # else the search is made to end
            found = generator(max_tokens=30).best(prompt, beam=1)
            assert found == [TEXT.target.decode(expected)]


@pytest.mark.parametrize("kind", ["text", "sequence"])
def test_a_transformer_goes_on_from_its_caches(kind):
    """What is drawn greedily is the likeliest when the whole text is read at once."""
    toy = text_task(kind)
    model = DecoderConfig(width=16, layers=2, heads=2).build(SIZE, SIZE, nnx.Rngs(3))
    for prompt in ("bad", "abcdefghabcdefghab"):
        ids = toy.target.encode(prompt)
        written = "".join(generator(6, GREEDY, model, toy).stream(prompt))
        source, before = ([EOS], ids) if kind == "text" else ([*ids, EOS], [])
        target = toy.target.encode(written) if "<unk>" not in written else None
        if target is None:
            continue
        read = jnp.array([[BOS, *before, *target]])
        logits = np.asarray(model.decode(model.encode(jnp.array([source])), read))[0, len(before) :]
        best = logits[:, 2:].argmax(axis=-1) + 2
        assert best[: len(target)].tolist() == target
        assert len(target) == 6 or best[len(target)] == EOS


def test_any_model_of_the_protocol_can_be_drawn_from():
    """Caches are donated from step to step, and the source's stay."""
    toy = task()
    config = TransformerConfig(width=8, layers=1, heads=2)
    transformer = config.build(toy.source.size, toy.target.size, nnx.Rngs(0))
    for model in (HistoryModule(vocabulary=8, seed=7), transformer):
        found = generator(model=model, task=toy, sampling=Sampling(seed=2))
        assert found.samples("abc", 2)[0] == "".join(found.stream("abc"))


def test_bad_input_is_named():
    with pytest.raises(InputError, match="max_tokens is 0; expected at least 1"):
        generator(max_tokens=0)
    with pytest.raises(InputError, match="number is 0; expected at least 1"):
        generator().samples("a", 0)
    with pytest.raises(InputError, match="beam is 0; expected at least 1"):
        generator().best("a", beam=0)
    with pytest.raises(InputError, match="number is 3; expected 1 to beam = 2"):
        generator().best("a", beam=2, number=3)
    with pytest.raises(InputError, match="the prompt 'xyz!' has no character"):
        generator().echo("xyz!")
    with pytest.raises(InputError, match="max_tokens 40 are too long: 57 tokens are more than 50"):
        next(generator(40, model=RecurrentModel(SIZE, longest=50)).stream("a"))


class Bytes:
    """UTF-8 bytes after the special tokens: a character may take several tokens."""

    def encode(self, text: str) -> list[int]:
        return [4 + byte for byte in text.encode()]

    def decode(self, ids) -> str:
        return bytes(i - 4 for i in ids).decode(errors="replace")

    def tokens(self, ids) -> list[str]:
        return [f"{i - 4:02x}" for i in ids]

    def surfaces(self, text: str) -> list[str]:
        raise NotImplementedError

    def save(self, folder) -> None:
        raise NotImplementedError

    size = 260


def test_a_character_is_printed_once_it_is_whole():
    tokenizer = Bytes()
    pieces = _Pieces(tokenizer, tokenizer.encode("né"))
    assert [pieces.add(i) for i in tokenizer.encode("aé€")] == ["a", "", "é", "", "", "€"]
    assert pieces.rest() == ""
    pieces.add(tokenizer.encode("é")[0])
    assert pieces.rest() == "\ufffd"


def test_subwords_are_spaced_as_in_the_whole_text():
    texts = ["the cat sat on the mat", "a cat and a bat sat", "the bat ate the cat"] * 5
    tokenizer = SentencePiece.train(texts, 24, "bpe")
    ids = tokenizer.encode("the cat sat on a mat")
    for cut in range(len(ids)):
        pieces = _Pieces(tokenizer, ids[:cut])
        written = [pieces.add(i) for i in ids[cut:]]
        assert tokenizer.decode(ids[:cut]) + "".join(written) == "the cat sat on a mat"
        assert pieces.rest() == ""
