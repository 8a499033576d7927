"""Calls of the op, drawn by hypothesis: few words say a whole call, so that failures read well."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st

import attn


@dataclass(frozen=True)
class Case:
    """Sizes and names of pieces; `build` fills them with numbers drawn from `seed`."""

    batch: int = 2
    query: int = 3
    key: int = 5
    head: int = 4
    key_head: int = 2
    width: int = 8
    key_width: int = 8
    value_width: int = 3
    score: str = "Dot"
    mods: tuple[str, ...] = ()
    mask: tuple[str, ...] = ()
    joined: str = "&"
    weighting: str | None = None
    seed: int = 0


def tilt(s, b, n, i, j, params):
    return s * params["gain"] + params["tilt"] * (j - i) * (1 + n) + 0.1 * b


def build(case: Case, dtype=np.float64) -> tuple:
    """Arguments (query, key, value, score, mods, mask, weighting) with NumPy arrays of `dtype`."""
    rng = np.random.default_rng(case.seed)
    B, T, S, N, K = case.batch, case.query, case.key, case.head, case.key_head
    D, Dk = case.width, case.key_width if case.score in PROJECTS else case.width

    def normal(*shape, scale=1.0):
        return (scale * rng.normal(size=shape)).astype(dtype)

    def some(*shape):
        """The same with some of the axes 1."""
        return tuple(1 if rng.random() < 0.3 else size for size in shape)

    scores = {
        "Dot": lambda: attn.Dot(),
        "DotScale": lambda: attn.Dot(np.asarray(0.3, dtype)),
        "Additive": lambda: attn.Additive(normal(N, D, scale=3 * D**-0.5)),
        "General": lambda: attn.General(normal(N, D, Dk, scale=D**-0.5)),
        "Concat": lambda: attn.Concat(
            normal(N, D, 6, scale=D**-0.5), normal(K, Dk, 6, scale=Dk**-0.5), normal(N, 6)
        ),
        "Location": lambda: attn.Location(normal(N, D, S + 2, scale=D**-0.5)),
    }
    mods = {
        "SoftCap": lambda: attn.SoftCap(1.5),
        "Bias": lambda: attn.Bias(normal(*some(B, N, T, S))),
        "ALiBi": lambda: attn.ALiBi(abs(normal(N, scale=2 / max(T, S)))),
        "RelativeBias": lambda: attn.RelativeBias(
            normal(8, N), bidirectional=bool(rng.random() < 0.5), max_distance=6
        ),
        "Mod": lambda: attn.Mod(tilt, {"gain": normal(), "tilt": normal(scale=1 / max(T, S))}),
    }
    masks = {
        "Causal": lambda: attn.Causal(int(rng.integers(-1, 3))),
        "Window": lambda: attn.Window(*[None if rng.random() < 0.3 else 2 for _ in "lr"]),
        "Prefix": lambda: attn.Prefix(rng.integers(0, S + 1, B).astype(np.int32)),
        "Lengths": lambda: attn.Lengths(
            rng.integers(0, T + 1, B).astype(np.int32) if rng.random() < 0.5 else None,
            rng.integers(0, S + 1, B).astype(np.int32) if rng.random() < 0.8 else None,
        ),
        "Segments": lambda: attn.Segments(
            np.sort(rng.integers(0, 3, (B, T))).astype(np.int32),
            np.sort(rng.integers(0, 3, (B, S))).astype(np.int32),
        ),
        "Local": lambda: attn.Local((S * rng.random(some(B, N, T))).astype(dtype), 1),
        "Dense": lambda: attn.Dense(rng.random(some(B, N, T, S)) < 0.6),
    }
    weightings = {
        None: lambda: None,
        "Dropout": lambda: attn.Dropout(0.3, jax.random.key(case.seed)),
        "Gaussian": lambda: attn.Gaussian(
            (S * rng.random(some(B, N, T))).astype(dtype), np.asarray(1.7, dtype)
        ),
    }
    mask = None
    for name in case.mask:
        one = masks[name]()
        if mask is None:
            mask = one
        else:
            mask = mask & one if case.joined == "&" else mask | one
    return (
        normal(B, T, N, D),
        normal(B, S, K, Dk),
        normal(B, S, K, case.value_width),
        scores[case.score](),
        tuple(mods[name]() for name in case.mods),
        mask,
        weightings[case.weighting](),
    )


PROJECTS = ("General", "Concat", "Location")
SCORES = ("Dot", "DotScale", "Additive", *PROJECTS)
MODS = ("SoftCap", "Bias", "ALiBi", "RelativeBias", "Mod")
MASKS = ("Causal", "Window", "Prefix", "Lengths", "Segments", "Local", "Dense")
WEIGHTINGS = ("Dropout", "Gaussian")

EACH_PIECE = (
    *(Case(score=name, key_width=5) for name in SCORES),
    *(Case(mods=(name,)) for name in MODS),
    *(Case(mask=(name,)) for name in MASKS),
    *(Case(weighting=name) for name in WEIGHTINGS),
)


@st.composite
def cases(draw) -> Case:
    """Any call: grouped heads, odd lengths, one token, up to two mods and masks."""
    key_head = draw(st.integers(1, 3))
    names = {
        "mods": draw(st.lists(st.sampled_from(MODS), max_size=2)),
        "mask": draw(st.lists(st.sampled_from(MASKS), max_size=2)),
    }
    return Case(
        batch=draw(st.integers(1, 3)),
        query=draw(st.integers(1, 9)),
        key=draw(st.integers(1, 11)),
        head=key_head * draw(st.integers(1, 3)),
        key_head=key_head,
        width=draw(st.sampled_from((1, 2, 7, 8, 40, 72, 80, 96, 256))),
        key_width=draw(st.sampled_from((1, 5, 16))),
        value_width=draw(st.sampled_from((1, 4, 9, 80))),
        score=draw(st.sampled_from(SCORES)),
        joined=draw(st.sampled_from("&|")),
        weighting=draw(st.sampled_from((None, *WEIGHTINGS))),
        seed=draw(st.integers(0, 2**16)),
        **{name: tuple(drawn) for name, drawn in names.items()},
    )


def split(args: tuple) -> tuple[list, object]:
    """The float arrays of a call, and a function that puts others in their place."""
    leaves, structure = jax.tree.flatten(args)
    floats = [k for k, x in enumerate(leaves) if jnp.issubdtype(x.dtype, jnp.floating)]

    def join(new):
        whole = list(leaves)
        for k, x in zip(floats, new, strict=True):
            whole[k] = x
        return jax.tree.unflatten(structure, whole)

    return [leaves[k] for k in floats], join
