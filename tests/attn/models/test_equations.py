"""Every model against straight NumPy in float64, written from its paper, one sentence at a time."""

from dataclasses import replace
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from attn.models import (
    LSTMNConfig,
    LuongConfig,
    RNNSearchConfig,
    Seq2SeqConfig,
    TransformerConfig,
)
from tests.marks import param

SOURCE = [[5, 4, 6, 7, 2, 0, 0], [3, 8, 2, 0, 0, 0, 0], [4, 4, 5, 6, 7, 8, 2]]
TARGET = [[1, 4, 5, 6], [1, 3, 7, 2], [1, 8, 8, 3]]
VOCABULARIES = 9, 10


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def numpy_params(model):
    """Parameters in float64, reached by attribute and index as in the model."""
    state = nnx.state(model, nnx.Param)

    def walk(node):
        if hasattr(node, "items"):
            return {str(k): walk(v) for k, v in node.items()}
        return np.asarray(node[...] if hasattr(node, "get_value") else node, np.float64)

    return walk(nnx.to_pure_dict(state))


def jitter(model, scale):
    """Moves every parameter off its start, so that no term of an equation is zero."""
    graphdef, state = nnx.split(model)
    rng = np.random.default_rng(0)
    state = jax.tree.map(lambda p: p + scale * rng.normal(size=p.shape).astype("f"), state)
    return nnx.merge(graphdef, state)


def run(model):
    """Logits and, where there are any, weights of all rows."""
    graphdef, params = nnx.split(model)

    @jax.jit
    def compute(params, source, target):
        model = nnx.merge(graphdef, params, copy=True)
        memory = model.encode(source)
        weights = model.weights(memory, target) if model.attends else None
        return model.decode(memory, target), weights

    return compute(params, jnp.array(SOURCE), jnp.array(TARGET))


def check(model, oracle):
    """Logits and weights of each row alone equal the oracle's for the sentence without padding."""
    logits, weights = run(model)
    p = numpy_params(model)
    for row in range(len(SOURCE)):
        tokens = [t for t in SOURCE[row] if t]
        want_logits, want_weights = oracle(p, tokens, TARGET[row])
        np.testing.assert_allclose(logits[row], want_logits, rtol=2e-4, atol=2e-5)
        if weights is not None:
            got = np.asarray(weights[row])
            np.testing.assert_allclose(got[..., : len(tokens)], want_weights, atol=2e-5)
            assert not got[..., len(tokens) :].any()


def lstm(p, x, c, h):
    """Equations of Graves 2013 without peepholes, gates in the order i, f, g, o."""
    n = h.shape[-1]
    a = x @ p["input"]["kernel"] + p["input"]["bias"] + h @ p["recurrent"]
    i, f, g, o = (a[k * n : k * n + n] for k in range(4))
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return c, sigmoid(o) * np.tanh(c)


def run_lstm(stack, tokens, carries):
    outputs = []
    for token in tokens:
        x = stack["embed"]["embedding"][token]
        for depth in range(len(carries)):
            carries[depth] = lstm(stack["layers"][str(depth)], x, *carries[depth])
            x = carries[depth][1]
        outputs.append(x)
    return np.array(outputs), carries


@pytest.mark.parametrize("context", ["initial", "every_step"])
@pytest.mark.parametrize("reverse", [True, False])
def test_seq2seq(context, reverse):
    config = Seq2SeqConfig(width=6, layers=2, reverse=reverse, context=context)
    model = jitter(config.build(*VOCABULARIES, nnx.Rngs(0)), 0.3)

    def oracle(p, source, target):
        read = [*source[-2::-1], source[-1]] if reverse else source
        zero = [(np.zeros(6), np.zeros(6)) for _ in range(2)]
        _, carries = run_lstm(p["encoder"], read, zero)
        vector, logits = carries[-1][1], []
        first, second = (p["decoder"]["layers"][k] for k in "01")
        for token in target:
            x = p["decoder"]["embed"]["embedding"][token]
            layer = first
            if context == "every_step":  # the input is [x; vector]
                kernel = np.concatenate([first["input"]["kernel"], p["context"]["kernel"]])
                layer = {**first, "input": {"kernel": kernel, "bias": first["input"]["bias"]}}
                x = np.concatenate([x, vector])
            carries[0] = lstm(layer, x, *carries[0])
            carries[1] = lstm(second, carries[0][1], *carries[1])
            logits.append(carries[1][1] @ p["readout"]["kernel"] + p["readout"]["bias"])
        return np.array(logits), None

    check(model, oracle)


def gru(x, s, recurrent_zr, recurrent_candidate):
    """Bahdanau et al. 2014, appendix A.1.1; `x` holds the inputs of z, r and the candidate."""
    n = len(s)
    z = sigmoid(x[:n] + s @ recurrent_zr[:, :n])
    r = sigmoid(x[n : 2 * n] + s @ recurrent_zr[:, n:])
    candidate = np.tanh(x[2 * n :] + (r * s) @ recurrent_candidate)
    return (1 - z) * s + z * candidate


@pytest.mark.parametrize("readout_state", ["previous", "current"])
def test_rnnsearch(readout_state):
    config = RNNSearchConfig(width=6, embedding=5, alignment=7, maxout=3)
    config = replace(config, readout_state=readout_state)
    model = jitter(config.build(*VOCABULARIES, nnx.Rngs(0)), 0.3)

    def encode(p, layer, tokens):
        states, s = [], np.zeros(6)
        for token in tokens:
            x = p["source_embed"]["embedding"][token] @ layer["input"]["kernel"]
            s = gru(x + layer["input"]["bias"], s, layer["gates"], layer["candidate"])
            states.append(s)
        return states

    def oracle(p, source, target):
        forward = encode(p, p["encoder"]["forward"], source)
        backward = encode(p, p["encoder"]["backward"], source[::-1])[::-1]
        h = np.concatenate([forward, backward], axis=1)
        s = np.tanh(backward[0] @ p["first"]["kernel"] + p["first"]["bias"])
        attention, logits, weights = p["attention"], [], []
        for token in target:
            query, keys = s @ attention["query"]["kernel"], h @ attention["key"]["kernel"]
            a = softmax(np.tanh(query + keys) @ attention["v"][0])
            c, y = a @ h, p["target_embed"]["embedding"][token]
            x = y @ p["input"]["kernel"] + p["input"]["bias"] + c @ p["context"]
            new = gru(x, s, p["gates"], p["candidate"])
            state = s if readout_state == "previous" else new
            t = state @ p["readout_state"]["kernel"] + p["readout_state"]["bias"]
            t = t + y @ p["readout_word"]["kernel"] + c @ p["readout_context"]["kernel"]
            t = np.array([max(t[2 * k], t[2 * k + 1]) for k in range(3)])
            logits.append(t @ p["output"]["kernel"] + p["output"]["bias"])
            weights.append(a)
            s = new
        return np.array(logits), np.array(weights)[None, None]

    check(model, oracle)


def test_rnnsearch_starts_as_the_paper_says():
    model = RNNSearchConfig(width=32).build(*VOCABULARIES, nnx.Rngs(0))
    _, weights = run(model)
    for row, tokens in enumerate(SOURCE):
        length = sum(t > 0 for t in tokens)
        np.testing.assert_array_equal(weights[row, 0, 0, :, :length], np.float32(1) / length)
    p = numpy_params(model)
    for matrix in (p["gates"][:, :32], p["gates"][:, 32:], p["candidate"]):
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(32), atol=1e-5)
    assert not p["attention"]["v"].any()
    assert abs(p["attention"]["key"]["kernel"].std() / 0.001 - 1) < 0.1
    assert abs(p["context"].std() / 0.01 - 1) < 0.1
    assert not p["input"]["bias"].any()


LUONG = [
    *((score, None, None) for score in ("dot", "general", "concat", "location")),
    *((score, "monotonic", None) for score in ("dot", "general", "concat")),
    *((score, "predictive", None) for score in ("dot", "general", "concat")),
    ("general", "predictive", 0.7),
]


@pytest.mark.parametrize(
    ("score", "local", "sigma", "input_feeding"),
    [
        param(*each, feeding, quick=feeding or each[0] == "dot")
        for each, feeding in product(LUONG, (True, False))
    ],
)
def test_luong(score, local, sigma, input_feeding):
    config = LuongConfig(score=score, width=6, layers=2, input_feeding=input_feeding)
    config = replace(config, local=local, window=1, sigma=sigma)
    model = jitter(config.build(*VOCABULARIES, nnx.Rngs(0)), 0.3)

    def align(attention, top, states):
        if score == "dot":
            return states @ top
        if score == "general":
            return states @ attention["key"]["kernel"] @ top
        if score == "location":
            return (attention["position"] @ top)[: len(states)]
        joined = np.concatenate([attention["query"], attention["key"]["kernel"]])
        pairs = np.array([np.concatenate([top, state]) for state in states])
        return np.tanh(pairs @ joined) @ attention["v"][0]

    def look(attention, top, states, t):
        """Equations 7 to 10 with D = 1; places count from 0."""
        scores, length = align(attention, top, states), len(states)
        if local is None:
            return softmax(scores)
        p = min(t, length - 1)
        if local == "predictive":
            hidden = np.tanh(top @ attention["focus"])
            p = length * sigmoid(attention["v_focus"] @ hidden)
        places = np.arange(length)
        a = softmax(np.where(abs(places - p) <= 1, scores, -np.inf))
        if local == "predictive":
            a = a * np.exp(-((places - p) ** 2) / (2 * (sigma or 1 / 2) ** 2))
        return a

    def oracle(p, source, target):
        read = [*source[-2::-1], source[-1]]
        zero = [(np.zeros(6), np.zeros(6)) for _ in range(2)]
        states, carries = run_lstm(p["encoder"], read, zero)
        states = np.array([*states[-2::-1], states[-1]])  # read backwards, looked at forwards
        first, second = (p["decoder"]["layers"][k] for k in "01")
        fed, logits, weights = np.zeros(6), [], []
        for t, token in enumerate(target):
            x, layer = p["decoder"]["embed"]["embedding"][token], first
            if input_feeding:  # the input is [x; attentional state]
                kernel = np.concatenate([first["input"]["kernel"], p["feed"]])
                layer = {**first, "input": {"kernel": kernel, "bias": first["input"]["bias"]}}
                x = np.concatenate([x, fed])
            carries[0] = lstm(layer, x, *carries[0])
            carries[1] = lstm(second, carries[0][1], *carries[1])
            top = carries[1][1]
            a = look(p.get("attention"), top, states, t)
            fed = np.tanh(np.concatenate([a @ states, top]) @ p["combine"]["kernel"])
            logits.append(fed @ p["readout"]["kernel"] + p["readout"]["bias"])
            weights.append(a)
        return np.array(logits), np.array(weights)[None, None]

    check(model, oracle)


class Tapes:
    """An LSTMN's memory, one sentence: hidden and cell states of the steps that it keeps."""

    def __init__(self, kept, first=()):
        self.kept, self.pairs = kept, list(first)
        self.recalled, self.read = np.zeros(6), np.zeros(6)


def lstmn(p, x, tapes, source=None):
    """Equations 4 to 9, or 4 to 6 and 11 to 16 with a source's tapes; its weights come back too."""
    n, projected, weights = 6, x @ p["input"]["kernel"] + p["input"]["bias"], None
    gates, query, more = np.split(projected, [4 * n, 5 * n])
    hidden, cell = np.zeros(n), np.zeros(n)
    if tapes.pairs:
        query = query + tapes.recalled @ p["recall"]
        a = np.array([p["v"][0] @ np.tanh(h @ p["key"] + query) for h, _ in tapes.pairs])
        hidden, cell = (
            sum(s * state for s, state in zip(softmax(a), states, strict=True))
            for states in zip(*tapes.pairs, strict=True)
        )
    i, f, o, g = (gates + hidden @ p["recurrent"]).reshape(4, n)[[0, 1, 3, 2]]
    c = sigmoid(f) * cell + sigmoid(i) * np.tanh(g)
    if source is not None:
        query = more[:n] + tapes.read @ p["source_query"]
        b = [p["u"][0] @ np.tanh(h @ p["source_key"]["kernel"] + query) for h, _ in source]
        weights = softmax(np.array(b))
        tapes.read, alpha = (weights @ np.array(states) for states in zip(*source, strict=True))
        c = c + sigmoid(more[n:] + tapes.read @ p["transfer"]) * alpha
    h = sigmoid(o) * np.tanh(c)
    tapes.recalled = hidden
    tapes.pairs = [*tapes.pairs, (h, c)][-(tapes.kept or 99) :]
    return h, c, weights


@pytest.mark.parametrize("tape", [None, 2])
@pytest.mark.parametrize("fusion", ["shallow", "deep"])
def test_lstmn(fusion, tape):
    config = LSTMNConfig(width=6, layers=2, fusion=fusion, tape=tape)
    model = jitter(config.build(*VOCABULARIES, nnx.Rngs(0)), 0.3)

    def oracle(p, source, target):
        tapes, seen = [Tapes(tape), Tapes(tape)], [[], []]
        for token in source:
            x = p["encoder"]["embed"]["embedding"][token]
            for depth in range(2):
                x, c, _ = lstmn(p["encoder"]["layers"][str(depth)], x, tapes[depth])
                seen[depth].append((x, c))
        first = [() if fusion == "deep" else each[-1:] for each in seen]
        tapes, logits, weights = [Tapes(tape, each) for each in first], [], []
        states = np.array([h for h, _ in seen[1]])
        for token in target:
            x, looks = p["decoder"]["embed"]["embedding"][token], []
            for depth in range(2):
                layer, given = p["decoder"]["layers"][str(depth)], seen[depth]
                given = given if fusion == "deep" else None
                x, _, look = lstmn(layer, x, tapes[depth], given)
                looks.append(look)
            if fusion == "shallow":
                a = p["attention"]
                hidden = states @ a["key"]["kernel"] + x @ a["query"]["kernel"]
                looks = [softmax(np.tanh(hidden) @ a["v"][0])]
                x = np.tanh(np.concatenate([looks[0] @ states, x]) @ p["combine"]["kernel"])
            logits.append(x @ p["readout"]["kernel"] + p["readout"]["bias"])
            weights.append(looks)
        return np.array(logits), np.array(weights).swapaxes(0, 1)[:, None]

    check(model, oracle)


def norm(p, x):
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
    return x * p["scale"] + p["bias"]


def affine(p, x):
    return x @ p["kernel"] + p["bias"]


def multi_head(p, xs, memory, causal, heads):
    """Section 3.2: returns the output and the weights of each head."""
    q, k, v = (
        [affine({k: x[..., h, :] for k, x in p[name].items()}, side) for h in range(heads)]
        for name, side in (("query", xs), ("key", memory), ("value", memory))
    )
    out, weights = [], []
    for h in range(heads):
        scores = q[h] @ k[h].T / np.sqrt(q[h].shape[1])
        if causal:
            scores = np.where(np.tril(np.ones_like(scores)) > 0, scores, -np.inf)
        weights.append(softmax(scores))
        out.append(weights[-1] @ v[h])
    return sum(out[h] @ p["out"]["kernel"][h] for h in range(heads)) + p["out"]["bias"], np.array(
        weights
    )


def feed_forward(p, x):
    return affine(p["outer"], np.maximum(affine(p["inner"], x), 0))


def encodings(config, p, length):
    if config.positions == "learned":
        return p["positions"][:length]
    table = np.zeros((length, config.width))
    for pos in range(length):
        for i in range(config.width // 2):
            angle = pos / 10000 ** (2 * i / config.width)
            table[pos, 2 * i], table[pos, 2 * i + 1] = np.sin(angle), np.cos(angle)
    return table


ONCE = {("pre", "sinusoidal", "none"), ("post", "learned", "target"), ("post", "sinusoidal", "all")}
"""Every choice once."""


@pytest.mark.parametrize(
    ("placement", "positions", "tied"),
    [
        param(*each, quick=each in ONCE)
        for each in product(("pre", "post"), ("sinusoidal", "learned"), ("none", "target", "all"))
    ],
)
def test_transformer(placement, positions, tied):
    config = TransformerConfig(width=8, layers=2, heads=2, feed_forward=2, norm=placement)
    config = replace(config, positions=positions, tied=tied, max_length=8)
    vocabularies = (10, 10) if tied == "all" else VOCABULARIES
    model = jitter(config.build(*vocabularies, nnx.Rngs(0)), 0.2)

    def residual(p, x, f):
        return x + f(norm(p["norm"], x)) if placement == "pre" else norm(p["norm"], x + f(x))

    def embed(p, tokens):
        scaled = np.array([p["table"][t] for t in tokens]) * np.sqrt(config.width)
        return scaled + encodings(config, p, len(tokens))

    def oracle(p, source, target):
        x = embed(p["target_embed" if tied == "all" else "source_embed"], source)
        for layer in (p["encoder"][k] for k in "01"):
            attend, feed = (layer["residuals"][k] for k in "01")
            x = residual(attend, x, lambda y: multi_head(layer["attention"], y, y, False, 2)[0])  # noqa: B023
            x = residual(feed, x, lambda y: feed_forward(layer["feed_forward"], y))  # noqa: B023
        memory = norm(p["encoder_norm"], x) if placement == "pre" else x
        x, weights = embed(p["target_embed"], target), []
        for layer in (p["decoder"][k] for k in "01"):
            attend, cross, feed = (layer["residuals"][k] for k in "012")

            def look(y):
                out, seen = multi_head(layer["cross"], y, memory, False, 2)  # noqa: B023
                weights.append(seen)
                return out

            x = residual(attend, x, lambda y: multi_head(layer["attention"], y, y, True, 2)[0])  # noqa: B023
            x = residual(cross, x, look)
            x = residual(feed, x, lambda y: feed_forward(layer["feed_forward"], y))  # noqa: B023
        x = norm(p["decoder_norm"], x) if placement == "pre" else x
        out = affine(p["output"], x) if tied == "none" else x @ p["target_embed"]["table"].T
        return out, np.array(weights)

    check(model, oracle)
