"""The Transformer's layers (Vaswani et al. 2017, section 3), and what has been changed in them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from attn.decode import Cache
from attn.masks import Lengths, Mask
from attn.mesh import along_sequence
from attn.mods import ScoreMod
from attn.nn.multi_head import HeadScore, MultiHeadAttention
from attn.nn.noise import Noise
from attn.positions import Rope, Scaling
from attn.typing import Array, ArrayLike, Float, Int

Activation = Literal["relu", "gelu", "gelu_tanh", "swiglu"]

_ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": jax.nn.relu,
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "gelu_tanh": jax.nn.gelu,
    "swiglu": jax.nn.silu,
}

_KEPT: dict[str, Callable[..., bool] | None] = {
    "products": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
    "full": None,
}
"""By `LayerConfig.remat`: what `jax.checkpoint` keeps of a layer beside its input."""


@dataclass(frozen=True)
class LayerConfig:
    """What a Transformer's layers are made of: every choice is a field of the model's config."""

    width: int = 128
    layers: int = 2
    """Of every stack."""
    heads: int = 4
    kv_heads: int | None = None
    """Heads of keys and values (None: `heads`); 1 is multi-query attention."""
    head_width: int | None = None
    """Width of a head's queries and keys (None: `width` / `heads`)."""
    feed_forward: float | int = 4
    """Units of the feed-forward layers, as a multiple of `width`."""
    activation: Activation = "relu"
    """Between the feed-forward's two maps; swiglu gates them (Shazeer 2020)."""
    norm: Literal["pre", "post"] = "pre"
    """Normalise what a sub-layer reads, or its sum with what it read (the paper's)."""
    normalization: Literal["layer", "rms"] = "layer"
    norm_eps: float = 1e-6
    positions: Literal["none", "sinusoidal", "learned", "rope", "alibi", "t5"] = "sinusoidal"
    """On the embeddings (sinusoidal, learned), on queries and keys (rope) or on scores (alibi, t5's
    relative biases, one table for all layers of a stack)."""
    max_length: int = 512
    """Longest sequence that learned positions know."""
    rope_base: float = 10000.0
    rope_fraction: float = 1.0
    """Of a head's columns that rope turns."""
    rope_halves: bool = False
    """Turn column c with column c + D/2, as Llama's checkpoints have it."""
    rope_scaling: Scaling = "none"
    """How rope reads texts longer than those of training: see `attn.positions.Rope`."""
    rope_factor: float = 1.0
    trained_length: int = 2048
    """Tokens that rope's scaling starts from."""
    qk_norm: bool = False
    """Normalise queries and keys, head by head."""
    score: HeadScore = "dot"
    """How well a key answers a query: the scaled dot product, the same unscaled, or Bahdanau's
    additive score. Rope's angles mean a distance to the first two alone."""
    softcap: float | None = None
    """Bound scores to within plus and minus this, smoothly."""
    window: int | None = None
    """Tokens that self-attention sees on either side, its own counted (None: all)."""
    sinks: bool = False
    """A learned logit a head that takes weight to nothing, in self-attention."""
    bias: bool = True
    """Of all linear maps but the output layer."""
    initialization: Literal["xavier", "lecun"] = "xavier"
    """Of these maps' kernels: uniform by the mean of inputs and outputs (Glorot 2010), or normal
    with variance 1 / inputs. By the latter queries and keys start with unit variance at any head
    width, as section 3.2.1 assumes where it argues for the scale."""
    scale_embedding: bool = True
    """Multiply embeddings by the root of `width` (section 3.4)."""
    dropout: float = 0.1
    """On every sub-layer's output and on the sums of embeddings and positions (section 5.4)."""
    attention_dropout: float = 0.0
    """On attention weights."""
    backend: str = "auto"
    """That computes attention: a name of `attn.kernels.BACKENDS`."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of the computation; parameters are float32."""
    remat: Literal["none", "products", "full"] = "none"
    """What a layer computes again in the backward pass instead of keeping it: nothing, all but
    products with parameters, or all (Chen 2016)."""

    def kinds(self) -> dict[str, Any]:
        """What every linear map is built with."""
        xavier = self.initialization == "xavier"
        init = nnx.initializers.xavier_uniform() if xavier else nnx.initializers.lecun_normal()
        return {"use_bias": self.bias, "kernel_init": init, "dtype": jnp.dtype(self.dtype)}

    def rope(self) -> Rope | None:
        """How self-attention turns queries and keys."""
        if self.positions != "rope":
            return None
        fields = (self.rope_base, self.rope_fraction, self.rope_halves, self.rope_scaling)
        return Rope(*fields, self.rope_factor, self.trained_length)

    def normalizer(self, rngs: nnx.Rngs) -> nnx.Module:
        """A layer's normalisation."""
        kind = nnx.LayerNorm if self.normalization == "layer" else nnx.RMSNorm
        return kind(self.width, epsilon=self.norm_eps, dtype=jnp.dtype(self.dtype), rngs=rngs)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Source:
    """Keys and values of a source, projected once for all target steps."""

    key: ArrayLike
    """[B, S, K, D]."""
    value: ArrayLike
    """[B, S, K, E]."""
    lengths: ArrayLike
    """[B], int32."""


class FeedForward(nnx.Module):
    """Section 3.3: two linear maps, the first one's output activated or gated."""

    def __init__(self, config: LayerConfig, *, rngs: nnx.Rngs):
        hidden, kinds = round(config.feed_forward * config.width), config.kinds()
        self.activation = config.activation
        self.inner = nnx.Linear(config.width, hidden, rngs=rngs, **kinds)
        self.gate: Any = nnx.data(None)
        if config.activation == "swiglu":
            self.gate = nnx.Linear(config.width, hidden, rngs=rngs, **kinds)
        self.outer = nnx.Linear(hidden, config.width, rngs=rngs, **kinds)

    def __call__(self, xs: Float[Array, "B T H"]) -> Float[Array, "B T H"]:
        """The same map at every position."""
        activate = _ACTIVATIONS[self.activation]
        if self.gate is None:
            return self.outer(activate(self.inner(xs)))
        return self.outer(activate(self.gate(xs)) * self.inner(xs))


class Residual(nnx.Module):
    """norm "pre": x + dropout(f(norm(x))); "post", the paper's: norm(x + dropout(f(x)))."""

    def __init__(self, config: LayerConfig, *, rngs: nnx.Rngs):
        self.place, self.dropout = config.norm, config.dropout
        self.norm = config.normalizer(rngs)

    def before(self, xs: Float[Array, "B T H"]) -> Float[Array, "B T H"]:
        """What the sub-layer reads."""
        return self.norm(xs) if self.place == "pre" else xs

    def after(
        self, xs: Float[Array, "B T H"], out: Float[Array, "B T H"], noise: Noise | None
    ) -> Float[Array, "B T H"]:
        """The sum of the input and the sub-layer's output."""
        total = xs + (out if noise is None else noise.drop(out, self.dropout))
        return total if self.place == "pre" else self.norm(total)


class Block(nnx.Module):
    """Self-attention, attention to a source if there is one, feed-forward, each a residual.

    Args:
        config: what it is made of.
        cross: whether it attends to a source.
    """

    def __init__(self, config: LayerConfig, *, cross: bool = False, rngs: nnx.Rngs):
        queries = None if config.head_width is None else config.head_width * config.heads
        sizes = (config.heads, config.width, queries, config.width, config.kv_heads)
        kinds: dict[str, Any] = {
            "dropout_rate": config.attention_dropout,
            "normalize_qk": "rms"
            if config.qk_norm and config.normalization == "rms"
            else config.qk_norm,
            "score": config.score,
            "softcap": config.softcap,
            "backend": config.backend,
            "rngs": rngs,
            **config.kinds(),
        }
        self.attention = MultiHeadAttention(
            *sizes, rope=config.rope(), window=config.window, sinks=config.sinks, **kinds
        )
        self.cross: Any = MultiHeadAttention(*sizes, **kinds) if cross else nnx.data(None)
        self.remat = config.remat
        self.feed_forward = FeedForward(config, rngs=rngs)
        self.residuals = nnx.List([Residual(config, rngs=rngs) for _ in range(2 + cross)])

    def __call__(
        self,
        xs: Float[Array, "B T H"],
        *,
        mask: Mask | None = None,
        mods: Sequence[ScoreMod] = (),
        source: Source | None = None,
        noise: Noise | None = None,
    ) -> Float[Array, "B T H"]:
        """One layer over all positions."""

        def whole(xs: Array, mask: Any, mods: Any, source: Any, noise: Any) -> Array:
            def attend(inner: Array) -> tuple[Array, None]:
                out = self.attention(inner, mask=mask, mods=mods, noise=noise and noise.at(3))
                return out, None

            return self._through(along_sequence(xs), attend, source, noise)[0]

        if self.remat != "none":
            whole = jax.checkpoint(whole, policy=_KEPT[self.remat])
        return whole(xs, mask, tuple(mods), source, noise)

    def prefill(
        self,
        xs: Float[Array, "B t H"],
        cache: Cache,
        *,
        mask: Mask,
        mods: Sequence[ScoreMod] = (),
        count: Int[Array, "B"] | None = None,
    ) -> tuple[Float[Array, "B t H"], Cache]:
        """One layer over a prompt; the empty cache is filled with it."""

        def attend(inner: Array) -> tuple[Array, Cache]:
            return self.attention.prefill(inner, cache, mask=mask, mods=mods, count=count)

        return self._through(xs, attend, None, None)[:2]

    def extend(
        self,
        xs: Float[Array, "B t H"],
        cache: Cache,
        *,
        mods: Sequence[ScoreMod] = (),
        source: Source | None = None,
        count: Int[Array, "B"] | None = None,
    ) -> tuple[Float[Array, "B t H"], Cache]:
        """One layer over the next positions; the cache gains them."""

        def attend(inner: Array) -> tuple[Array, Cache]:
            return self.attention.extend(inner, cache, mods=mods, count=count)

        return self._through(xs, attend, source, None)[:2]

    def maps(
        self,
        xs: Float[Array, "B T H"],
        *,
        mask: Mask | None = None,
        mods: Sequence[ScoreMod] = (),
        source: Source | None = None,
    ) -> tuple[Float[Array, "B T H"], Float[Array, "B N T T"], Float[Array, "B N T S"] | None]:
        """`__call__`, and the weights of self-attention and of attention to the source."""

        def attend(inner: Array) -> tuple[Array, Array]:
            return self.attention(inner, mask=mask, mods=mods, return_weights=True)

        return self._through(xs, attend, source, None, look=True)

    def _through(
        self,
        xs: Array,
        attend: Callable[[Array], tuple[Array, Any]],
        source: Source | None,
        noise: Noise | None,
        look: bool = False,
    ) -> tuple[Array, Any, Any]:
        """The sub-layers in turn; what self-attention gave beside its output; cross weights."""
        first, *cross, last = self.residuals
        out, beside = attend(first.before(xs))
        xs = first.after(xs, out, noise and noise.at(0))
        weights = None
        if source is not None:
            out, weights = self._crossed(cross[0].before(xs), source, noise and noise.at(4), look)
            xs = cross[0].after(xs, out, noise and noise.at(1))
        out = self.feed_forward(last.before(xs))
        return last.after(xs, out, noise and noise.at(2)), beside, weights

    def _crossed(
        self, inner: Array, source: Source, noise: Noise | None, look: bool
    ) -> tuple[Array, Array | None]:
        found = self.cross.attend(
            self.cross.ask(inner),
            source.key,
            source.value,
            mask=Lengths(key=source.lengths),
            noise=noise,
            return_weights=look,
        )
        return found if look else (found, None)
