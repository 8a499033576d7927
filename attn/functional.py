"""The op: `attention`, and two other doors to it."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from attn.errors import Unsupported
from attn.kernels import Call, choose, reference
from attn.masks import Causal, Dense, Lengths, Mask, Places, Window, cleared, joined, seen
from attn.mods import Bias, ScoreMod
from attn.pieces import checked
from attn.scores import Dot, Score
from attn.sharding import unsharded
from attn.typing import Array, ArrayLike, Float
from attn.weightings import Weighting

Precision = str | jax.lax.Precision | jax.lax.DotAlgorithmPreset | None

_FLOATS = ("float16", "bfloat16", "float32", "float64")


def attention(
    query: ArrayLike,
    key: ArrayLike,
    value: ArrayLike,
    *,
    score: Score = Dot(),  # noqa: B008 (immutable)
    mods: Sequence[ScoreMod] = (),
    mask: Mask | None = None,
    weighting: Weighting | None = None,
    query_positions: ArrayLike | None = None,
    key_positions: ArrayLike | None = None,
    backend: str = "auto",
    return_lse: bool = False,
    precision: Precision = None,
) -> Any:
    """Attention with any score: o_i = Σ_j weighting(softmax_j(mods(score(q_i, k_j)))) · v_j.

    Scores, softmax and sums are in float32 (float64 for float64 operands). A query that may look at
    nothing gets 0, gradients 0 and log-sum-exp −inf. Keys and values that no query may look at may
    hold anything, NaN too.

    Args:
        query: [B, T, N, D], or [T, N, D]. float16, bfloat16, float32 or float64, as key and value.
        key: [B, S, K, D'], or [S, K, D']. N must be a multiple of K: query head n attends to key
            head n // (N / K).
        value: [B, S, K, E], or [S, K, E].
        score: a piece of `attn.scores`.
        mods: pieces of `attn.mods`, done to the scores in this order.
        mask: a piece of `attn.masks`, or several joined by `&` and `|`.
        weighting: a piece of `attn.weightings`.
        query_positions: [B, T] or [T] integers, the indices that pieces see of the queries: of a
            part of a sequence, say. None counts from 0. Arrays that run along the queries (a dense
            bias) are those of these queries.
        key_positions: [B, S] or [S], likewise of the keys.
        backend: a name of `attn.kernels.BACKENDS`, or "auto", the first that can do the call.
        return_lse: also return the log-sum-exp of each query's scores, differentiable.
        precision: of the matrix products, as in `jax.lax.dot`; None leaves JAX's default.

    Returns:
        [B, T, N, E] ([T, N, E]) in the query's dtype. With `return_lse` also [B, T, N] ([T, N]), in
        float32 or better.

    Raises:
        ValueError: a shape or a value does not fit.
        TypeError: a dtype or a type does not fit.
        Unsupported: the backend does not exist or cannot do the call.
    """
    query, key, value = jnp.asarray(query), jnp.asarray(key), jnp.asarray(value)
    _check_operands(query=query, key=key, value=value)
    batched = query.ndim == 4
    places = Places(query_positions, key_positions)

    def attend(*described: Any) -> tuple[Array, Array]:
        call = _describe(precision, *described)
        output, lse = choose(call, backend).forward(call)
        return (output, lse) if batched else (output[0], lse[0])

    described = query, key, value, score, mods, mask, weighting, places
    output, lse = unsharded(attend, described, query, range(query.ndim - 1))
    return (output, lse) if return_lse else output


def attention_weights(
    query: ArrayLike,
    key: ArrayLike,
    *,
    score: Score = Dot(),  # noqa: B008 (immutable)
    mods: Sequence[ScoreMod] = (),
    mask: Mask | None = None,
    weighting: Weighting | None = None,
    query_positions: ArrayLike | None = None,
    key_positions: ArrayLike | None = None,
    precision: Precision = None,
) -> Float[Array, "*B N T S"]:
    """The weights that `attention` sums the values with, to be looked at.

    Takes memory for all of them. Args and errors are those of `attention`.

    Returns:
        [B, N, T, S] ([N, T, S] without batch) in float32, or float64 for float64 operands.
    """
    query, key = jnp.asarray(query), jnp.asarray(key)
    _check_operands(query=query, key=key)
    places = Places(query_positions, key_positions)

    def weigh(*described: Any) -> Array:
        weights = reference.weights(_describe(precision, *described))
        return weights if query.ndim == 4 else weights[0]

    described = query, key, None, score, mods, mask, weighting, places
    return unsharded(weigh, described, query, (0, 2, 1) if query.ndim == 4 else (1, 0))


def dot_product_attention(
    query: ArrayLike,
    key: ArrayLike,
    value: ArrayLike,
    bias: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    *,
    scale: ArrayLike | None = None,
    is_causal: bool = False,
    query_seq_lengths: ArrayLike | None = None,
    key_value_seq_lengths: ArrayLike | None = None,
    local_window_size: int | tuple[int, int] | None = None,
    implementation: str | None = None,
    return_residual: bool = False,
) -> Any:
    """`jax.nn.dot_product_attention`, argument by argument.

    It differs where JAX's is unsound or narrower:

    - a query that may look at nothing gets 0 and log-sum-exp −inf, not the mean of the values;
    - padding may hold NaN;
    - the residual (log-sum-exp) is in float32 or better, and gradients reach it;
    - probabilities stay in float32 before they meet the values;
    - value may have a width of its own.

    Args:
        query: [B, T, N, D] or [T, N, D].
        key: [B, S, K, D] or [S, K, D], N being a multiple of K.
        value: [B, S, K, E] or [S, K, E].
        bias: added to the scaled scores; broadcasts to [B, N, T, S].
        mask: boolean, true where a pair takes part; broadcasts to [B, N, T, S].
        scale: of the scores; None is 1/√D.
        is_causal: query i sees keys j ≤ i.
        query_seq_lengths: [B] integers; queries from there on get 0.
        key_value_seq_lengths: [B] integers; keys from there on are not seen.
        local_window_size: keys to the left and right of a query's index that it sees; one number
            is for both.
        implementation: None lets attn choose; "xla" is plain XLA operations, as in JAX.
        return_residual: also return the log-sum-exp, [B, T, N] or [T, N].

    Raises:
        Unsupported: `implementation` is "cudnn".
    """
    backends = {None: "auto", "xla": "xla"}
    if implementation not in backends:
        raise Unsupported(
            f'implementation: got "{implementation}"; expected None or "xla" '
            "(cuDNN's kernel is jax.nn.dot_product_attention's)"
        )
    if isinstance(local_window_size, int):
        local_window_size = (local_window_size, local_window_size)
    masks: list[Mask] = []
    if mask is not None:
        masks.append(Dense(mask))
    if is_causal:
        masks.append(Causal())
    if local_window_size is not None:
        masks.append(Window(*local_window_size))
    if query_seq_lengths is not None or key_value_seq_lengths is not None:
        masks.append(Lengths(query_seq_lengths, key_value_seq_lengths))
    return attention(
        query,
        key,
        value,
        score=Dot(scale),
        mods=() if bias is None else (Bias(bias),),
        mask=joined(masks),
        backend=backends[implementation],
        return_lse=return_residual,
    )


def _describe(
    precision: Precision,
    query: Array,
    key: Array,
    value: Array | None,
    score: Score,
    mods: Sequence[ScoreMod],
    mask: Mask | None,
    weighting: Weighting | None,
    places: Places,
) -> Call:
    """The call in its one form: rank 4, pieces checked, dense projections done."""
    name = _precision_name(precision)
    _check_pieces(score, mods, mask, weighting)
    if query.ndim == 3:
        query, key = query[None], key[None]
        value = None if value is None else value[None]
    call = Call(query, key, value, score, (), None, None, precision=name)
    sizes = call.sizes
    mask = checked("mask", mask, sizes)
    score = checked("score", score, sizes)
    ordered = checked("mods", tuple(mods), sizes)
    weighting = checked("weighting", weighting, sizes)
    places = checked("positions", places, sizes)
    if score.projects and mask is not None:
        queries, keys = seen(mask, sizes, places)
        query, key = cleared(query, queries), cleared(key, keys)
    with call.products():
        score, query, key = score.prepare(query, key)
    if value is not None and key.shape[2] != value.shape[2]:
        value = jnp.repeat(value, key.shape[2] // value.shape[2], axis=2)
    return Call(query, key, value, score, ordered, mask, weighting, places, name)


def _check_operands(**operands: Array) -> None:
    query, key = operands["query"], operands["key"]
    for name, x in operands.items():
        if x.dtype.name not in _FLOATS:
            raise TypeError(f"{name}: got dtype {x.dtype}; expected one of {', '.join(_FLOATS)}")
        if x.dtype != query.dtype:
            raise TypeError(f"{name}: got dtype {x.dtype}; expected the query's, {query.dtype}")
        if x.ndim not in (3, 4) or x.ndim != query.ndim:
            raise ValueError(
                f"{name}: got shape {x.shape}; expected [batch, length, heads, width] or, for all "
                "operands, [length, heads, width]"
            )
        if 0 in x.shape[-2:]:
            raise ValueError(f"{name}: got shape {x.shape}; expected at least one head and column")
        if x.ndim == 4 and x.shape[0] != query.shape[0]:
            raise ValueError(
                f"{name}: got batch {x.shape[0]}; expected the query's, {query.shape[0]}"
            )
    if query.shape[-2] % key.shape[-2]:
        raise ValueError(
            f"key: got {key.shape[-2]} heads; expected a divisor of the query's {query.shape[-2]}"
        )
    value = operands.get("value", key)
    for axis, what in ((-3, "length"), (-2, "heads")):
        if value.shape[axis] != key.shape[axis]:
            raise ValueError(
                f"value: got {what} {value.shape[axis]}; expected the key's, {key.shape[axis]}"
            )


def _check_pieces(score: Any, mods: Any, mask: Any, weighting: Any) -> None:
    if not isinstance(score, Score):
        raise TypeError(f"score: got {score!r}; expected a piece of attn.scores")
    if not isinstance(mods, list | tuple):
        raise TypeError(f"mods: got {mods!r}; expected a tuple of pieces of attn.mods")
    for mod in mods:
        if not isinstance(mod, ScoreMod):
            raise TypeError(f"mods: got {mod!r}; expected a piece of attn.mods")
    if mask is not None and not isinstance(mask, Mask):
        raise TypeError(
            f"mask: got {type(mask).__name__}; expected a piece of attn.masks (an array goes into "
            "Dense, several masks are joined by & and |)"
        )
    if weighting is not None and not isinstance(weighting, Weighting):
        raise TypeError(f"weighting: got {weighting!r}; expected a piece of attn.weightings")


def _precision_name(precision: Precision) -> str | None:
    """What `jax.default_matmul_precision` calls it."""
    name: str | None
    if isinstance(precision, jax.lax.Precision):
        name = precision.name.lower()
    elif isinstance(precision, jax.lax.DotAlgorithmPreset):
        name = precision.name
    else:
        name = precision
    try:
        with jax.default_matmul_precision(name):
            return name
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"precision: got {precision!r}; expected a jax.lax.Precision, a "
            'jax.lax.DotAlgorithmPreset, or a name of either, as "highest"'
        ) from error
