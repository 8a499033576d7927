"""Checkpoints in and out, against the library that made them."""

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file, save_file

from attn.models import DecoderConfig
from experiments.errors import InputError
from experiments.weights import export, load

VOCABULARY = 50
TOKENS = np.random.RandomState(0).randint(3, VOCABULARY, (2, 12))
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0,
    "high_freq_factor": 4.0, "original_max_position_embeddings": 16,
}  # fmt: skip
SIZES = {
    "vocab_size": VOCABULARY, "hidden_size": 16, "intermediate_size": 40, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64,
}  # fmt: skip
DECODERS = {
    "GPT2": {"vocab_size": VOCABULARY, "n_positions": 32, "n_embd": 16, "n_layer": 2, "n_head": 2},
    "Llama": {**SIZES, "rope_parameters": LLAMA3},
    "Mistral": {**SIZES, "sliding_window": 4, "head_dim": 6},
    "Qwen3": {**SIZES, "head_dim": 8, "tie_word_embeddings": True},
}
BERTS = ("MaskedLM", "SequenceClassification", "TokenClassification", "QuestionAnswering")


@pytest.fixture(scope="session")
def torch():
    pytest.importorskip("transformers", reason="needs the extra `weights-test`")
    return pytest.importorskip("torch", reason="needs the extra `weights-test`")


def make(torch, name, sizes, folder, head):
    """A random model of theirs, saved; every parameter moved, so that none is at a constant."""
    import transformers

    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**sizes)
    model = getattr(transformers, name + head)(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    return model


def decoder_of(torch, name, folder):
    head = "LMHeadModel" if name == "GPT2" else "ForCausalLM"
    return make(torch, name, DECODERS[name], folder, head)


@pytest.mark.parametrize("name", DECODERS)
def test_decoders_give_their_logits_and_go_back_bit_by_bit(name, torch, tmp_path):
    theirs = decoder_of(torch, name, tmp_path / "in")
    found = load(tmp_path / "in")
    want = theirs(torch.tensor(TOKENS)).logits.detach().numpy()
    got = jax.jit(lambda tokens: found.model()(tokens))(jnp.asarray(TOKENS))
    np.testing.assert_allclose(got, want, atol=1e-4)

    export(found.model(), found.config, (VOCABULARY, VOCABULARY), tmp_path / "out")
    there, back = (load_file(tmp_path / k / "model.safetensors") for k in ("in", "out"))
    assert there.keys() == back.keys()
    for key, tensor in there.items():
        np.testing.assert_array_equal(back[key], tensor, err_msg=key)
    again = type(theirs).from_pretrained(tmp_path / "out").eval()
    np.testing.assert_array_equal(again(torch.tensor(TOKENS)).logits.detach().numpy(), want)
    assert load(tmp_path / "out").config == found.config


@pytest.mark.parametrize("head", BERTS)
def test_bert_gives_its_logits_and_goes_back_bit_by_bit(head, torch, tmp_path):
    sizes = {**SIZES, "num_attention_heads": 2, "intermediate_size": 32}
    theirs = make(torch, "Bert", sizes, tmp_path / "in", f"For{head}")
    found = load(tmp_path / "in")
    tokens, segments = TOKENS.copy(), (np.arange(12) > 6)[None].repeat(2, 0).astype(np.int32)
    tokens[1, 9:] = 0
    given = {"input_ids": tokens, "token_type_ids": segments, "attention_mask": tokens != 0}
    said = theirs(**{k: torch.tensor(v) for k, v in given.items()})
    model = found.model()
    states = model.read(jnp.asarray(tokens), None, jnp.asarray(segments))
    real = tokens != 0
    if head == "SequenceClassification":
        got, want, real = model.label(model.pooled(states, jnp.asarray(real))), said.logits, ...
    elif head == "QuestionAnswering":
        got, want = model.label(states), torch.stack([said.start_logits, said.end_logits], -1)
    else:
        got, want = model.label(states), said.logits
    np.testing.assert_allclose(np.asarray(got)[real], want.detach().numpy()[real], atol=1e-4)

    vocabularies = found.source_vocabulary, found.target_vocabulary
    export(model, found.config, vocabularies, tmp_path / "out")
    there, back = (load_file(tmp_path / k / "model.safetensors") for k in ("in", "out"))
    assert there.keys() == back.keys()
    for key, tensor in there.items():
        np.testing.assert_array_equal(back[key], tensor, err_msg=key)


@pytest.fixture
def gpt2(tmp_path):
    """A checkpoint of a model of ours: no other library is needed."""
    config = DecoderConfig(
        width=8, heads=2, activation="gelu_tanh", positions="learned", scale_embedding=False
    )
    model = config.build(VOCABULARY, VOCABULARY, nnx.Rngs(0))
    export(model, config, (VOCABULARY, VOCABULARY), tmp_path / "made")
    return model, tmp_path / "made"


def test_an_export_is_read_back_without_any_other_library(gpt2):
    model, folder = gpt2
    mine, theirs = (jax.tree.leaves(nnx.state(m)) for m in (model, load(folder).model()))
    for a, b in zip(mine, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


def test_parts_and_bare_names_are_read(gpt2):
    model, folder = gpt2
    tensors = load_file(folder / "model.safetensors")
    bare = {name.removeprefix("transformer."): x for name, x in tensors.items()}
    names = sorted(bare)
    (folder / "model.safetensors").unlink()
    for k, part in enumerate((names[::2], names[1::2])):
        save_file({name: bare[name] for name in part}, folder / f"part{k}.safetensors")
    places = {name: f"part{k % 2}.safetensors" for k, name in enumerate(names)}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    found = jax.tree.leaves(load(folder).params)
    for a, b in zip(jax.tree.leaves(nnx.state(model)), found, strict=True):
        np.testing.assert_array_equal(a, b)


def edit(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def drop(folder, name, more=None):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    tensors.pop(name, None)
    save_file({**tensors, **(more or {})}, path)


BAD = {
    "no tensor": (lambda f: drop(f, "transformer.h.1.ln_1.weight"), "missing: blocks.1.residuals"),
    "a tensor more": (
        lambda f: drop(f, "", {"transformer.h.7.x": np.ones(3, np.float32)}),
        r"unexpected: transformer\.h\.7\.x",
    ),
    "another shape": (
        lambda f: drop(f, "", {"transformer.wpe.weight": np.ones((9, 8), np.float32)}),
        r"wpe.weight: got shape \[9, 8\]; expected \[512, 8\]",
    ),
    "another model": (lambda f: edit(f, model_type="t5"), "model_type is 't5'; expected one of"),
    "a setting": (lambda f: edit(f, scale_attn_weights=False), "scale_attn_weights is False"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "model.safetensors is missing"),
    "damaged": (lambda f: (f / "model.safetensors").write_bytes(b"x" * 40), "is damaged"),
    "no config": (lambda f: (f / "config.json").unlink(), "config.json is missing"),
    "a size that is not there": (lambda f: edit(f, n_head=3), "num_heads: got 3"),
}


@pytest.mark.parametrize(("spoil", "said"), BAD.values(), ids=BAD)
def test_what_cannot_be_read_is_named(spoil, said, gpt2):
    spoil(gpt2[1])
    with pytest.raises(InputError, match=said):
        load(gpt2[1])


def test_what_their_architectures_cannot_say_is_refused(gpt2, tmp_path):
    model, folder = gpt2
    config = load(folder).config
    with pytest.raises(InputError, match="is not empty"):
        export(model, config, (VOCABULARY, VOCABULARY), folder)
    for changed, said in (
        (replace(config, sinks=True), "sinks is True for False"),
        (replace(config, positions="alibi"), "positions is 'alibi' for 'learned'"),
    ):
        with pytest.raises(InputError, match=said):
            export(model, changed, (VOCABULARY, VOCABULARY), tmp_path / "new")
    with pytest.raises(InputError, match="expected one for source and target"):
        export(model, config, (9, 10), tmp_path / "new")
    assert not (tmp_path / "new").exists()
