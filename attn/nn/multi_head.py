"""Attention with several heads, each on its own projections."""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn.dtypes import promote_dtype

from attn import decode
from attn.decode import Cache
from attn.functional import attention_weights
from attn.masks import Dense, Mask, Window, joined
from attn.mesh import mesh_attention
from attn.mods import ScoreMod, SoftCap
from attn.nn.noise import Noise
from attn.positions import Rope
from attn.scores import Additive, Dot, Score
from attn.typing import Array, ArrayLike, Float, Int
from attn.weightings import Dropout

HeadScore = Literal["dot", "unscaled", "additive"]


class MultiHeadAttention(nnx.Module):
    """Vaswani et al. 2017, section 3.2.2, with what has been added to it since.

    Parameters have the names and shapes of `flax.nnx.MultiHeadAttention`, so that layer's state can
    be put into this one (`nnx.update`). Biases of relative position are shared between layers in
    the papers, so they are handed to a call: `layer(xs, mods=(ALiBi(alibi_slopes(8)),))`.

    Args:
        num_heads: query heads N.
        in_features: width of inputs.
        qkv_features: width of all query heads together, N · D (None: `in_features`).
        out_features: width of the output (None: `in_features`).
        num_kv_heads: heads K of keys and values, a divisor of N (None: N). 1 is multi-query
            attention (Shazeer 2019), between 1 and N grouped-query attention (Ainslie 2023).
        in_kv_features: width of what is attended to (None: `in_features`).
        value_features: width of N value heads together, N · E (None: `qkv_features`).
        dropout_rate: of weights, where a call brings noise.
        use_bias: of all four projections.
        normalize_qk: normalise each head's queries and keys before they meet: True by LayerNorm
            without bias (Dehghani 2023), "rms" by RMSNorm.
        score: how well a key answers a query. "dot" is q·k / √D, "unscaled" q·k (Luong 2015),
            "additive" v·tanh(q + k) (Bahdanau 2014) with a vector v [N, D] that is learned. It
            starts as N(0, 1/D): scores vary by about as much at every width.
        rope: turns queries and keys by position.
        softcap: scores s become cap · tanh(s / cap) (Gemma 2).
        window: tokens on either side that a query sees, its own counted; None is all.
        sinks: a learned logit a head joins every softmax and takes weight to nothing (Xiao 2023;
            gpt-oss).
        dtype: of the computation (None: what inputs and parameters promote to).
        param_dtype: of parameters.
        precision: of all matrix products.
        kernel_init: of the kernels.
        out_kernel_init: of the output's (None: `kernel_init`).
        bias_init: of the biases.
        backend: as in `attn.attention`.

    Raises:
        ValueError: heads do not divide a width or each other, a window below 1, or no such score.
    """

    def __init__(
        self,
        num_heads: int,
        in_features: int,
        qkv_features: int | None = None,
        out_features: int | None = None,
        num_kv_heads: int | None = None,
        in_kv_features: int | None = None,
        *,
        value_features: int | None = None,
        dropout_rate: float = 0.0,
        use_bias: bool = True,
        normalize_qk: bool | Literal["rms"] = False,
        score: HeadScore = "dot",
        rope: Rope | None = None,
        softcap: float | None = None,
        window: int | None = None,
        sinks: bool = False,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        precision: Any = None,
        kernel_init: Any = nnx.initializers.xavier_uniform(),  # noqa: B008 (immutable)
        out_kernel_init: Any = None,
        bias_init: Any = nnx.initializers.zeros_init(),  # noqa: B008 (immutable)
        backend: str = "auto",
        rngs: nnx.Rngs,
    ):
        qkv_features = qkv_features or in_features
        value_features = value_features or qkv_features
        self.heads, self.kv_heads = num_heads, num_kv_heads or num_heads
        for name, size, whole in (
            ("num_kv_heads", self.kv_heads, num_heads),
            ("num_heads", num_heads, qkv_features),
            ("num_heads", num_heads, value_features),
        ):
            if size < 1 or whole % size:
                raise ValueError(f"{name}: got {size}; expected a divisor of {whole}")
        if window is not None and window < 1:
            raise ValueError(f"window: got {window}; expected at least 1")
        if score not in get_args(HeadScore):
            known = ", ".join(get_args(HeadScore))
            raise ValueError(f"score: got {score!r}; expected one of {known}")
        self.key_width, self.value_width = qkv_features // num_heads, value_features // num_heads
        self.rope, self.softcap, self.window = rope, softcap, window
        self.dropout_rate, self.backend, self.precision = dropout_rate, backend, precision
        kinds: dict[str, Any] = {
            "use_bias": use_bias,
            "dtype": dtype,
            "param_dtype": param_dtype,
            "precision": precision,
            "bias_init": bias_init,
            "rngs": rngs,
        }

        def heads(inputs: int, count: int, width: int) -> nnx.LinearGeneral:
            return nnx.LinearGeneral(inputs, (count, width), kernel_init=kernel_init, **kinds)

        self.query = heads(in_features, num_heads, self.key_width)
        self.key = heads(in_kv_features or in_features, self.kv_heads, self.key_width)
        self.value = heads(in_kv_features or in_features, self.kv_heads, self.value_width)
        self.query_ln, self.key_ln = (
            _normalizer(normalize_qk, self.key_width, dtype, param_dtype, rngs) for _ in range(2)
        )
        self.out = nnx.LinearGeneral(
            (num_heads, self.value_width),
            out_features or in_features,
            axis=(-2, -1),
            kernel_init=out_kernel_init or kernel_init,
            **kinds,
        )
        self.sinks = nnx.Param(jnp.zeros(num_heads, param_dtype)) if sinks else nnx.data(None)
        self.scale = 1.0 if score == "unscaled" else None
        self.v: Any = nnx.data(None)
        if score == "additive":
            init = nnx.initializers.normal(self.key_width**-0.5)
            self.v = nnx.Param(init(rngs.params(), (num_heads, self.key_width), param_dtype))

    def __call__(
        self,
        inputs_q: Float[Array, "B T H"],
        inputs_k: Float[Array, "B S M"] | None = None,
        inputs_v: Float[Array, "B S M"] | None = None,
        *,
        mask: Mask | ArrayLike | None = None,
        mods: Sequence[ScoreMod] = (),
        positions: Int[Array, "#B T"] | None = None,
        noise: Noise | None = None,
        return_weights: bool = False,
    ) -> Any:
        """What each of `inputs_q` sees of the others.

        Args:
            inputs_q: asks.
            inputs_k: is asked (None: `inputs_q`, self-attention).
            inputs_v: is answered with (None: `inputs_k`).
            mask: a piece of `attn.masks`, or booleans that broadcast to [B, N, T, S].
            mods: done to scores, after the layer's softcap.
            positions: of self-attention's tokens, for `rope` (None: 0 … T−1).
            noise: drops weights.
            return_weights: also return [B, N, T, S] float32, which takes memory for all of them.

        Returns:
            [B, T, out_features], with `return_weights` also the weights.

        Raises:
            ValueError: positions are given where one attends to others.
        """
        if inputs_k is not None and (positions is not None or self.rope is not None):
            raise ValueError(
                "inputs_k: got another sequence; expected none, as positions (rope) have a meaning "
                "within one sequence alone"
            )
        if inputs_k is None and inputs_v is None:
            query, key, value = self._all_of(inputs_q, positions)
        else:
            query = self.ask(inputs_q, positions)
            memory = inputs_q if inputs_k is None else inputs_k
            key, value = self.project(memory, inputs_v, positions)
        return self.attend(
            query, key, value, mask=mask, mods=mods, noise=noise, return_weights=return_weights
        )

    def ask(
        self, inputs: Float[Array, "B T H"], positions: Int[Array, "#B T"] | None = None
    ) -> Float[Array, "B T N D"]:
        """The queries of inputs."""
        return self._placed(self.query(inputs), self.query_ln, positions)

    def project(
        self,
        memory: Float[Array, "B S M"],
        values: Float[Array, "B S M"] | None = None,
        positions: Int[Array, "#B S"] | None = None,
    ) -> tuple[Float[Array, "B S K D"], Float[Array, "B S K E"]]:
        """Keys and values of what is looked at: once, where it is looked at many times."""
        key = self._placed(self.key(memory), self.key_ln, positions)
        return key, self.value(memory if values is None else values)

    def attend(
        self,
        query: Float[Array, "B T N D"],
        key: Float[Array, "B S K D"],
        value: Float[Array, "B S K E"],
        *,
        mask: Mask | ArrayLike | None = None,
        mods: Sequence[ScoreMod] = (),
        noise: Noise | None = None,
        return_weights: bool = False,
    ) -> Any:
        """The output for queries of `ask` and keys and values of `project`."""
        near = None if self.window is None else Window(self.window - 1, self.window - 1)
        pieces: dict[str, Any] = {
            "score": self._score(),
            "mask": joined([_as_mask(mask), near]),
            "mods": self._mods(mods),
            "weighting": self._dropout(noise),
            "precision": self.precision,
        }
        output, lse = mesh_attention(query, key, value, **pieces, backend=self.backend)
        share = self._share(lse)
        output = self._merged(output, share)
        if not return_weights:
            return output
        weights = attention_weights(query, key, **pieces)
        return output, weights if share is None else weights * share.swapaxes(1, 2)[..., None]

    def create_cache(self, rows: int, capacity: int, dtype: Any = None) -> Cache:
        """An empty cache for `extend`; with a window, a ring of at most `window` + 63 places."""
        if self.window is not None:
            capacity = max(min(capacity, self.window + AT_ONCE - 1), self.window)
        return Cache.create(
            rows,
            capacity,
            self.kv_heads,
            self.key_width,
            self.value_width,
            window=self.window,
            dtype=dtype or self.query.dtype or self.query.param_dtype,
        )

    def prefill(
        self,
        inputs: Float[Array, "B t H"],
        cache: Cache,
        *,
        mask: Mask,
        mods: Sequence[ScoreMod] = (),
        count: Int[Array, "B"] | None = None,
    ) -> tuple[Float[Array, "B t out"], Cache]:
        """A prompt's outputs, and the empty cache filled with it.

        Args:
            inputs: of the prompt's tokens, padded behind.
            cache: of `create_cache`, empty.
            mask: among the prompt's tokens: causal, or all of a prefix.
            mods: done to scores.
            count: real tokens of each row (None: all).
        """
        query, key, value = self._all_of(inputs, None)
        output = self.attend(query, key, value, mask=mask, mods=mods)
        return output, cache.append(key, value, count, answered=True)

    def extend(
        self,
        inputs: Float[Array, "B t H"],
        cache: Cache,
        *,
        mods: Sequence[ScoreMod] = (),
        count: Int[Array, "B"] | None = None,
    ) -> tuple[Float[Array, "B t out"], Cache]:
        """Outputs of the next tokens, each seeing itself and those before; the cache with them."""
        positions = cache.length[:, None] + jnp.arange(inputs.shape[1], dtype=jnp.int32)
        query, key, value = self._all_of(inputs, positions)
        cache = cache.append(key, value, count)
        output, lse = decode.attend(
            query,
            cache,
            positions=positions,
            score=self._score(),
            mods=self._mods(mods),
            backend=self.backend,
            return_lse=True,
            precision=self.precision,
        )
        return self._merged(output, self._share(lse)), cache

    def _all_of(
        self, inputs: Float[Array, "B T H"], positions: Int[Array, "#B T"] | None
    ) -> tuple[Array, Array, Array]:
        """Queries, keys and values of the same tokens by one product: a tenth less time for many
        tokens than by three, and no more for few (`python -m experiments bench layers`)."""
        layers = self.query, self.key, self.value
        joined = [
            jnp.concatenate([x.reshape(*x.shape[:-2], -1) for x in each], axis=-1)
            for each in zip(*(_arrays(layer) for layer in layers), strict=True)
        ]
        xs, kernel, *bias = promote_dtype((inputs, *joined), dtype=self.query.dtype)
        joint = jnp.matmul(xs, kernel, precision=self.precision)
        joint = joint + bias[0] if bias else joint
        sizes = self.heads * self.key_width, self.kv_heads * self.key_width
        parts = jnp.split(joint, (sizes[0], sizes[0] + sizes[1]), axis=-1)
        counts = self.heads, self.kv_heads, self.kv_heads
        query, key, value = (
            part.reshape(*part.shape[:-1], count, -1)
            for part, count in zip(parts, counts, strict=True)
        )
        query = self._placed(query, self.query_ln, positions)
        return query, self._placed(key, self.key_ln, positions), value

    def _placed(self, x: Array, norm: Any, positions: Array | None) -> Array:
        x = x if norm is None else norm(x)
        return x if self.rope is None else self.rope(x, positions)

    def _score(self) -> Score:
        return Dot(self.scale) if self.v is None else Additive(self.v[...])

    def _mods(self, mods: Sequence[ScoreMod]) -> tuple[ScoreMod, ...]:
        return tuple(mods) if self.softcap is None else (SoftCap(self.softcap), *mods)

    def _dropout(self, noise: Noise | None) -> Dropout | None:
        if noise is None or self.dropout_rate == 0:
            return None
        return Dropout(self.dropout_rate, noise.key, noise.index)

    def _share(self, lse: Float[Array, "B T N"]) -> Float[Array, "B T N"] | None:
        """What a sink leaves to the keys: exp(lse) / (exp(lse) + exp(sink))."""
        if self.sinks is None:
            return None
        return jax.nn.sigmoid(lse - self.sinks[...].astype(lse.dtype))

    def _merged(self, output: Float[Array, "B T N E"], share: Array | None) -> Array:
        """The heads' outputs as one."""
        if share is not None:
            output = (output * share[..., None]).astype(output.dtype)
        return self.out(output)


AT_ONCE = 64
"""Tokens that a ring takes at once."""


def _arrays(layer: nnx.LinearGeneral) -> list[Array]:
    return [layer.kernel[...]] + ([] if layer.bias is None else [layer.bias[...]])


def _as_mask(mask: Any) -> Mask | None:
    return mask if mask is None or isinstance(mask, Mask) else Dense(mask)


def _normalizer(kind: Any, width: int, dtype: Any, param_dtype: Any, rngs: nnx.Rngs) -> Any:
    if kind is False:
        return nnx.data(None)
    kinds: dict[str, Any] = {"dtype": dtype, "param_dtype": param_dtype, "rngs": rngs}
    if kind == "rms":
        return nnx.RMSNorm(width, **kinds)
    return nnx.LayerNorm(width, use_bias=False, **kinds)
