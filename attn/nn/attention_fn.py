"""A door for Flax's own layers: what `attention_fn` of their multi-head attention takes."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from attn.errors import Unsupported
from attn.functional import attention
from attn.masks import Causal, Dense, Mask, joined
from attn.mods import Bias, ScoreMod
from attn.scores import Dot, Score
from attn.typing import Array, ArrayLike
from attn.weightings import Dropout


def attention_fn(
    *,
    score: Score = Dot(),  # noqa: B008 (immutable)
    mods: Sequence[ScoreMod] = (),
    mask: Mask | None = None,
    backend: str = "auto",
) -> Callable[..., Array]:
    """`attn.attention` as Flax's layers call it.

    Plugs into `flax.nnx.MultiHeadAttention(attention_fn=...)` and
    `flax.linen.MultiHeadDotProductAttention(attention_fn=...)`::

        nnx.MultiHeadAttention(
            8, 512, decode=False, rngs=rngs, attention_fn=attention_fn(mask=Window(64, 0))
        )

    Args:
        score: as in `attn.attention`.
        mods: done to the scores before the layer's own bias.
        mask: what may be looked at, beside the layer's own mask.
        backend: as in `attn.attention`.

    Returns:
        A function with the parameters of `flax.nnx.dot_product_attention` and of `flax.linen`'s.
        The softmax is in float32 whatever `force_fp32_for_softmax` says. It raises
        `attn.Unsupported` where a layer asks for what would not be done: dropout that batch and
        heads share (`broadcast_dropout`), weights to be kept (`module`, for which there is
        `attn.attention_weights`), products of one's own (`..._einsum`).
    """
    own_mods, own_mask = tuple(mods), mask

    def attend(
        query: ArrayLike,
        key: ArrayLike,
        value: ArrayLike,
        bias: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        broadcast_dropout: bool = True,
        dropout_rng: ArrayLike | None = None,
        dropout_rate: float = 0.0,
        deterministic: bool = False,
        dtype: Any = None,
        precision: Any = None,
        module: Any = None,
        is_causal: bool = False,
        force_fp32_for_softmax: bool = False,
        qk_attn_weights_einsum: Any = None,
        attn_weights_value_einsum: Any = None,
    ) -> Array:
        drops = dropout_rate > 0.0 and not deterministic
        _refuse(
            broadcast_dropout=drops and broadcast_dropout,
            module=module is not None,
            qk_attn_weights_einsum=qk_attn_weights_einsum is not None,
            attn_weights_value_einsum=attn_weights_value_einsum is not None,
        )
        if drops and dropout_rng is None:
            raise ValueError("dropout_rng: got None; expected a key, as dropout_rate is above 0")
        common = dtype or jnp.result_type(query, key, value)
        batch = query.shape[:-3]
        operands = [_one_batch(jnp.asarray(x, common), batch) for x in (query, key, value)]
        allowed = [own_mask, Causal() if is_causal else None]
        if mask is not None:
            allowed.append(Dense(_one_batch(jnp.asarray(mask, bool), batch)))
        output = attention(
            *operands,
            score=score,
            mods=own_mods if bias is None else (*own_mods, Bias(_one_batch(bias, batch))),
            mask=joined(allowed),
            weighting=Dropout(dropout_rate, _typed(dropout_rng)) if drops else None,
            backend=backend,
            precision=precision,
        )
        return output.reshape(*batch, *output.shape[-3:])

    return attend


def _refuse(**asked: bool) -> None:
    for name, given in asked.items():
        if given:
            hint = "; pass broadcast_dropout=False" if name == "broadcast_dropout" else ""
            raise Unsupported(f"{name}: attn.attention has none, so it cannot be honoured{hint}")


def _one_batch(x: Any, batch: tuple[int, ...]) -> Array:
    """Batch axes as one, in front of the last three; no axis is left for no batch."""
    x = jnp.asarray(x)
    if len(batch) < 2:
        return x
    x = x.reshape((1,) * (len(batch) + 3 - x.ndim) + x.shape)
    return jnp.broadcast_to(x, (*batch, *x.shape[-3:])).reshape(math.prod(batch), *x.shape[-3:])


def _typed(key: Any) -> Array:
    return key if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else jax.random.wrap_key_data(key)
