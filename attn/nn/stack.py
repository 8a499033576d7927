"""Recurrent layers on top of one another, over embedded tokens."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from attn.nn.cells import Project, Recurrent
from attn.nn.noise import Noise, drop
from attn.nn.recurrent import Carry, Linear, Weights, product
from attn.nn.words import Words
from attn.typing import Array, ArrayLike, Bool, Float, Int

Carries = tuple[Carry, ...]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Layers:
    """What the layers of a stack are in a loop that runs all of them, beside their matrices."""

    biases: tuple[ArrayLike, ...]
    """[gates] each."""
    constants: tuple[Any, ...]
    noise: Noise | None
    dropout: float = field(metadata={"static": True})
    kinds: tuple[type[Recurrent], ...] = field(metadata={"static": True})

    def update(
        self,
        linear: Linear,
        carries: Carries,
        gates: Float[Array, "B gates"],
        step: Int[Array, "*_"],
    ) -> Carries:
        """One step of every layer; `gates` are the first layer's, without its own state."""
        noise = self.noise and self.noise.at(step)
        moved: list[Carry] = []
        for depth, (kind, carry) in enumerate(zip(self.kinds, carries, strict=True)):

            def own(name: str, a: Array, depth: int = depth) -> Array:
                return linear(f"{depth}.{name}", a)

            if depth > 0:
                below = self.hidden(moved)
                below = below if noise is None else noise.at(depth).drop(below, self.dropout)
                gates = own("input", below) + self.biases[depth]
            moved.append(kind.update(own, self.constants[depth], carry, gates))
        return tuple(moved)

    def hidden(self, carries: Any) -> Float[Array, "B n"]:
        """The hidden state of the last layer that has a carry."""
        return self.kinds[len(carries) - 1].hidden(carries[-1])


class Stack(nnx.Module):
    """Layers over embedded tokens, dropout on the way in and between, never along time.

    Args:
        make: a layer (`Recurrent` or `Bidirectional`) that reads inputs of a width.
        layers: how many.
        vocabulary: size of it.
        embedding: width of the embeddings.
        dropout: rate.
        init: initializer of the embeddings.
        dtype: of the computation; parameters are float32.
    """

    def __init__(
        self,
        make: Callable[[int], Any],
        layers: int,
        vocabulary: int,
        embedding: int,
        *,
        dropout: float,
        init: Any,
        dtype: Any = jnp.float32,
        rngs: nnx.Rngs,
    ):
        self.dropout = dropout
        self.embed = nnx.Embed(vocabulary, embedding, embedding_init=init, dtype=dtype, rngs=rngs)
        made: list[Any] = []
        for _ in range(layers):
            made.append(make(made[-1].outputs if made else embedding))
        self.layers = nnx.List(made)

    def __call__(
        self,
        tokens: Int[Array, "B T"],
        carries: Carries,
        noise: Noise | None,
        real: Bool[Array, "B T"] | None = None,
        extra: Float[Array, "B gates"] | None = None,
    ) -> tuple[Carries, Float[Array, "T B n"]]:
        """Reads tokens layer by layer; `extra` joins the first layer's gates.

        Returns the last carry of each layer and the top layer's hidden states. Steps that are not
        `real` leave a row's carries as they were.
        """
        time = None if real is None else real.T
        last: list[Carry] = []
        xs: Any = tokens
        for depth, layer in enumerate(self.layers):
            project = self.project(depth, xs, noise)
            if depth == 0 and extra is not None:
                gates = project(layer.input) + extra
                carry, xs = layer.run(gates, carries[0], time)
            else:
                carry, xs = layer.read(project, carries[depth], time)
            last.append(carry)
        return tuple(last), xs

    def project(self, depth: int, below: Any, noise: Noise | None) -> Project:
        """What a layer reads, on its way through a matrix.

        Args:
            depth: of the layer.
            below: tokens [B, T] for the first, [T, B, n] of the layer below for the others.
            noise: of dropout.
        """
        if depth == 0:
            return Words(self.embed, below.T, noise, self.dropout).through
        dropped = drop(below, self.dropout, noise, depth)
        return lambda linear: linear(dropped)

    def step(
        self,
        token: Int[Array, "B"],
        carries: Carries,
        extra: Float[Array, "B gates"] | None = None,
        memories: tuple[Any, ...] | None = None,
    ) -> tuple[Carries, Float[Array, "B n"]]:
        """One token of each row through every layer; also returns the top's hidden state."""
        gates, layers = self.gates(token), self.loop(None, memories)
        gates = gates if extra is None else gates + extra
        carries = layers.update(product(self.weights()), carries, gates, jnp.int32(0))
        return carries, layers.hidden(carries)

    def gates(self, token: Int[Array, "B"]) -> Float[Array, "B gates"]:
        """What the first layer's gates get from one token of each row."""
        return self.layers[0].input(self.embed(token))

    def loop(self, noise: Noise | None, memories: tuple[Any, ...] | None = None) -> Layers:
        """For a loop that runs all layers; `memories` are what else each of them reads."""
        layers, given = list(self.layers), memories or (None,) * len(self.layers)
        constants = tuple(layer.constants(m) for layer, m in zip(layers, given, strict=True))
        biases = tuple(layer.bias() for layer in layers)
        return Layers(biases, constants, noise, self.dropout, tuple(type(x) for x in layers))

    def weights(self) -> Weights:
        """The matrices of such a loop."""
        found: Weights = {}
        for depth, layer in enumerate(self.layers):
            found |= {f"{depth}.{name}": w for name, w in layer.weights().items()}
            if depth > 0:
                found[f"{depth}.input"] = layer.input.kernel[...]
        return found

    def start(self, rows: int, capacity: int = 0) -> Carries:
        """Zero carries, with room for `capacity` steps."""
        return tuple(layer.start(rows, capacity) for layer in self.layers)
