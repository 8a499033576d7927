"""The op twice over, neither time by the library: NumPy loops, and plain batched `jnp`.

`attend_loops` is the definition in float64, a query at a time. `attend_plain` is what one would
write without the library, in the operands' dtype: the yardstick for rounding errors. A piece is
defined once, on indices: numbers and a row of keys for the loops, whole grids for plain `jnp`.
"""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

import attn
from attn.hashing import counter_uniform
from attn.masks import And, Or


def full(xp, array, *shape):
    array = xp.asarray(array)
    return xp.broadcast_to(array.reshape((1,) * (len(shape) - array.ndim) + array.shape), shape)


def t5_bucket(distance, buckets, bidirectional, max_distance):
    """Mesh TensorFlow's `_relative_position_bucket`, in NumPy."""
    n, ret = -np.asarray(distance), 0
    if bidirectional:
        buckets //= 2
        ret = (n < 0) * buckets
        n = np.abs(n)
    else:
        n = np.maximum(n, 0)
    exact = buckets // 2
    ratio = np.log(n / exact + np.finfo(np.float32).eps) / math.log(max_distance / exact)
    large = np.minimum(exact + (ratio * (buckets - exact)).astype(np.int32), buckets - 1)
    return ret + np.where(n < exact, n, large)


def modified(xp, mod, s, at, sizes):
    b, n, i, j = at
    B, N, T, S = sizes
    match mod:
        case attn.SoftCap():
            return mod.cap * xp.tanh(s / mod.cap)
        case attn.Bias():
            return s + full(xp, mod.array, B, N, T, S)[b, n, i, j]
        case attn.ALiBi():
            return s - full(xp, mod.slopes, N)[n] * abs(i - j)
        case attn.RelativeBias():
            buckets = np.shape(mod.table)[0]
            bucket = t5_bucket(j - i, buckets, mod.bidirectional, mod.max_distance)
            return s + full(xp, mod.table, buckets, N)[bucket, n]
        case attn.Mod():
            return mod.f(s, b, n, i, j, mod.params)


def allowed(xp, mask, at, sizes):
    b, n, i, j = at
    B, N, T, S = sizes
    match mask:
        case None:
            return True
        case And():
            return allowed(xp, mask.left, at, sizes) & allowed(xp, mask.right, at, sizes)
        case Or():
            return allowed(xp, mask.left, at, sizes) | allowed(xp, mask.right, at, sizes)
        case attn.Causal():
            return j <= i + mask.offset
        case attn.Window():
            left = (j + 0 * i >= 0) if mask.left is None else j >= i - mask.left
            return left if mask.right is None else left & (j <= i + mask.right)
        case attn.Prefix():
            return (j < full(xp, mask.lengths, B)[b]) | (j <= i)
        case attn.Lengths():
            rows = (T if mask.query is None else full(xp, mask.query, B)[b]) > i
            return rows & (j < (S if mask.key is None else full(xp, mask.key, B)[b]))
        case attn.Segments():
            return full(xp, mask.query, B, T)[b, i] == full(xp, mask.key, B, S)[b, j]
        case attn.Local():
            return abs(j - full(xp, mask.center, B, N, T)[b, n, i]) <= mask.radius
        case attn.Dense():
            return full(xp, mask.array, B, N, T, S)[b, n, i, j]


def reweighted(xp, weighting, p, at, sizes):
    b, n, i, j = at
    B, N, T, _ = sizes
    match weighting:
        case None:
            return p
        case Factor():
            return p * xp.asarray(weighting.array)[b, n, i, j]
        case attn.Gaussian():
            center = full(xp, weighting.center, B, N, T)[b, n, i]
            return p * xp.exp(-((j - center) ** 2) / (2 * weighting.sigma**2))


@dataclass(frozen=True)
class Factor:
    """Dropout with its draws done: what the weights are multiplied by, [B, N, T, S]."""

    array: np.ndarray


def drawn(weighting, sizes):
    if not isinstance(weighting, attn.Dropout):
        return weighting
    with jax.ensure_compile_time_eval():
        indices = [jnp.asarray(x, jnp.int32) for x in np.ogrid[tuple(map(slice, sizes))]]
        uniform = np.asarray(counter_uniform(weighting.key, *indices))
    return Factor((uniform >= weighting.rate) / (1 - weighting.rate))


def score_row(score, q, keys, n, h):
    """Scores of query vector `q` of head `n` against all `keys` of key head `h`."""
    match score:
        case attn.Dot():
            return (1 / math.sqrt(len(q)) if score.scale is None else score.scale) * (keys @ q)
        case attn.Additive():
            return np.tanh(q + keys) @ score.v[n]
        case attn.General():
            return keys @ (q @ score.w[n])
        case attn.Concat():
            return np.tanh(q @ score.w_query[n] + keys @ score.w_key[h]) @ score.v[n]
        case attn.Location():
            return (q @ score.w[n])[: len(keys)]


def attend_loops(query, key, value, score, mods, mask, weighting):
    """Output [B, T, N, E] and log-sum-exp [B, T, N], float64."""
    (B, T, N, _), (_, S, K, E) = query.shape, value.shape
    sizes, j = (B, N, T, S), np.arange(S)
    weighting = drawn(weighting, sizes)
    output, lse = np.zeros((B, T, N, E)), np.full((B, T, N), -np.inf)
    for b, i, n in np.ndindex(B, T, N):
        h, at = n // (N // K), (b, n, i, j)
        s = score_row(score, query[b, i, n], key[b, :, h], n, h)
        for mod in mods:
            s = modified(np, mod, s, at, sizes)
        seen = np.broadcast_to(allowed(np, mask, at, sizes), S) & (s > -np.inf)
        if not seen.any():
            continue
        top = s[seen].max()
        lse[b, i, n] = top + np.log(np.exp(s[seen] - top).sum())
        p = np.where(seen, np.exp(np.where(seen, s, 0.0) - lse[b, i, n]), 0.0)
        p = reweighted(np, weighting, p, at, sizes)
        output[b, i, n] = p[seen] @ value[b, seen, h]
    return output, lse


def plain_scores(score, query, key):
    """[B, N, T, S] in float32 or better; query [B, T, N, D], key [B, S, N, D'], heads repeated."""
    exact = jnp.promote_types(query.dtype, jnp.float32)

    def product(equation, x, y):
        return jnp.einsum(equation, x.astype(exact), y.astype(exact))

    def project(x, w):
        return jnp.einsum("blnd,nda->blna", x, w)

    def additive(q, k, v):
        return product("btsna,na->bnts", jnp.tanh(q[:, :, None] + k[:, None]), v)

    heads = query.shape[2]
    match score:
        case attn.Dot():
            scale = query.shape[-1] ** -0.5 if score.scale is None else score.scale
            return product("btnd,bsnd->bnts", query, key) * scale
        case attn.Additive():
            return additive(query, key, score.v)
        case attn.General():
            return product("btnd,bsnd->bnts", project(query, score.w), key)
        case attn.Concat():
            w_key = jnp.repeat(score.w_key, heads // score.w_key.shape[0], axis=0)
            return additive(project(query, score.w_query), project(key, w_key), score.v)
        case attn.Location():
            return product("btnd,nds->bnts", query, score.w[:, :, : key.shape[1]])


def attend_plain(query, key, value, score, mods, mask, weighting):
    """As `attend_loops`, in the operands' dtype."""
    (B, T, N, _), (_, S, K, _) = query.shape, value.shape
    key, value = jnp.repeat(key, N // K, axis=2), jnp.repeat(value, N // K, axis=2)
    sizes, at = (B, N, T, S), jnp.ogrid[:B, :N, :T, :S]
    at = [jnp.broadcast_to(index, sizes) for index in at]
    weighting = drawn(weighting, sizes)
    s = plain_scores(score, query, key)
    for mod in mods:
        if isinstance(mod, attn.RelativeBias):  # NumPy's buckets need indices that are no tracers
            table = full(jnp, mod.table, mod.table.shape[0], N)
            distance = np.arange(S)[None, :] - np.arange(T)[:, None]
            options = (mod.table.shape[0], mod.bidirectional, mod.max_distance)
            s = s + jnp.moveaxis(table[t5_bucket(distance, *options)], -1, 0)
        else:
            s = modified(jnp, mod, s, at, sizes)
    seen = jnp.broadcast_to(allowed(jnp, mask, at, sizes), sizes)
    some = seen.any(axis=-1, keepdims=True)
    s = jnp.where(seen | ~some, s, -jnp.inf)
    p = reweighted(jnp, weighting, jnp.where(some, jax.nn.softmax(s, axis=-1), 0.0), at, sizes)
    lse = jnp.where(some, jax.nn.logsumexp(s, axis=-1, keepdims=True), -jnp.inf)
    output = jnp.einsum("bnts,bsne->btne", p.astype(value.dtype), value)
    return output, jnp.moveaxis(lse[..., 0], 1, 2)
