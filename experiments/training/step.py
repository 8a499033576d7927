"""The training step: a pure function of the state and a batch.

It knows one thing of the machine, the name of the axis that batches are cut along. Losses are sums
over real tokens, summed over devices and then divided by the summed count, so that a device whose
rows are short weighs as little as it should.
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax import lax

from attn.models.protocol import PAD
from attn.nn.noise import Noise
from attn.typing import Array, ArrayLike, Bool, Float, Int, PyTree
from experiments.config import Config
from experiments.data.batches import Batch
from experiments.training import optimizer as optimizers

AXIS = "data"

ENCODER, DECODER = 0, 1


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TrainState:
    """All that training carries from step to step."""

    step: ArrayLike
    """Steps taken, int32."""
    params: PyTree
    optimizer: PyTree
    average: PyTree
    """Exponential moving average of the parameters; None where the config asks for none."""
    seed: ArrayLike
    """Of dropout, uint32: in the state, so that runs of several seeds are one program."""

    @property
    def evaluated(self) -> PyTree:
        """The parameters to evaluate: the average where there is one."""
        return self.params if self.average is None else self.average


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Metrics:
    """What a step tells, summed over all devices: scalars."""

    loss: ArrayLike
    """Label-smoothed cross-entropy, nats, summed over the batch's target tokens; float32."""
    tokens: ArrayLike
    """Target tokens predicted, `EOS` counted; int32."""
    examples: ArrayLike
    """Rows that are not filler; int32."""
    gradient_norm: ArrayLike
    """Of the mean loss, before clipping; float32."""
    learning_rate: ArrayLike
    """Of this step; float32."""
    finite: ArrayLike
    """Whether loss, gradients and the new parameters are all finite; bool."""


TrainStep = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]


def initialise(params: PyTree, config: Config, steps: int) -> TrainState:
    """The state before the first of `steps` steps."""
    optimizer = optimizers.make(config.optimizer, steps)
    average = None if config.optimizer.ema is None else jax.tree.map(jnp.copy, params)
    seed = jnp.asarray(config.train.seed, jnp.uint32)
    return TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params), average, seed)


def make_train_step(
    graphdef: nnx.GraphDef, config: Config, steps: int, axis: str | None = AXIS
) -> TrainStep:
    """The step function of a model.

    Args:
        graphdef: of a model that answers `attn.models.protocol.Seq2Seq`.
        config: optimizer, accumulation, label smoothing.
        steps: of the whole run, for the learning rate.
        axis: bound where the step runs, to sum over its devices; None where a batch is the whole
            one, whoever divides the work.

    Returns:
        (state, batch) → (state, metrics). The batch is a device's part of it, its rows a multiple
        of `config.train.accumulate`; state and metrics are the same on all devices.
    """
    optimizer = optimizers.make(config.optimizer, steps)
    learning_rate = optimizers.schedule(config.optimizer, steps)
    smoothing, ema = config.train.label_smoothing, config.optimizer.ema

    def summed_loss(params: PyTree, batch: Batch, key: Array) -> tuple[Array, Array]:
        model = nnx.merge(graphdef, params, copy=True)
        noise = Noise(key, batch.index)
        memory = model.encode(batch.source, noise.at(ENCODER))
        logits = model.decode(memory, batch.target[:, :-1], noise.at(DECODER))
        labels = batch.target[:, 1:]
        return cross_entropy(logits, labels, smoothing), (labels != PAD).sum(dtype=jnp.int32)

    def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(jax.random.key(state.seed), state.step)
        differentiate = jax.value_and_grad(summed_loss, has_aux=True)
        sums = _accumulated(
            lambda part: differentiate(state.params, part, key), batch, config.train.accumulate
        )
        examples = (batch.index >= 0).sum(dtype=jnp.int32)
        if axis is not None:
            sums, examples = lax.psum((sums, examples), axis)
        (loss, tokens), gradients = sums

        count = jnp.maximum(tokens, 1).astype(jnp.float32)
        gradients = jax.tree.map(lambda g: g / count, gradients)
        norm = optax.tree.norm(gradients)
        updates, moments = optimizer.update(gradients, state.optimizer, state.params)
        params = optax.apply_updates(state.params, updates)
        average = None if ema is None else optax.incremental_update(params, state.average, 1 - ema)

        metrics = Metrics(
            loss=loss,
            tokens=tokens,
            examples=examples,
            gradient_norm=norm,
            learning_rate=jnp.asarray(learning_rate(state.step), jnp.float32),
            finite=_finite((loss, norm, params)),
        )
        return TrainState(state.step + 1, params, moments, average, state.seed), metrics

    return train_step


def cross_entropy(
    logits: Float[Array, "B T V"], labels: Int[Array, "B T"], smoothing: float = 0.0
) -> Float[Array, ""]:
    """Label-smoothed cross-entropy in nats, summed over the labels that are not `PAD`.

    The label is worth 1 - ε and ε is spread evenly over the whole vocabulary (Szegedy et al. 2016,
    section 7).

    Args:
        logits: float32.
        labels: token ids; `PAD` counts nothing.
        smoothing: ε.
    """
    chosen = jnp.take_along_axis(logits, labels[..., None], axis=-1)[..., 0]
    loss = jax.nn.logsumexp(logits, axis=-1) - (1 - smoothing) * chosen
    if smoothing:
        loss = loss - smoothing * logits.mean(axis=-1)
    return jnp.where(labels != PAD, loss, 0.0).sum()


def _finite(tree: PyTree) -> Bool[Array, ""]:
    """Whether every number of a tree is."""
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]).all()


def _accumulated(function: Callable[[Batch], PyTree], batch: Batch, parts: int) -> PyTree:
    """The sum of `function` over `parts` equal parts of the batch, one after another."""
    if parts == 1:
        return function(batch)
    cut = jax.tree.map(lambda x: x.reshape(parts, -1, *x.shape[1:]), batch)
    first = jax.tree.map(lambda x: x[0], cut)
    zero = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(function, first))

    def add(total: PyTree, part: Batch) -> tuple[PyTree, None]:
        return jax.tree.map(jnp.add, total, function(part)), None

    return lax.scan(add, zero, cut)[0]
