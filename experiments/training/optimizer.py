"""The one optimizer of all models: clip, Adam(W), a learning rate that warms up and decays."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from experiments.config import OptimizerConfig
from experiments.errors import InputError


def schedule(config: OptimizerConfig, steps: int) -> optax.Schedule:
    """The learning rate of each step, counted from 0.

    The warm-up is a straight line whose first step is already above zero and whose last, number
    `warmup_steps - 1`, is at the peak. `cosine` and `linear` then fall to zero at step `steps`,
    the first that is not taken; `inverse_sqrt` falls as 1 / sqrt(step) (Vaswani et al. 2017,
    equation 3). A run shorter than its warm-up ends on the way up.

    Args:
        config: the peak, the warm-up and the decay.
        steps: of the whole run.
    """
    check(config)
    peak, warmup = config.learning_rate, config.warmup_steps
    decay = {
        "constant": optax.constant_schedule(peak),
        "inverse_sqrt": _inverse_sqrt(peak, max(warmup, 1)),
        "cosine": optax.cosine_decay_schedule(peak, max(steps - warmup, 1)),
        "linear": optax.linear_schedule(peak, 0.0, max(steps - warmup, 1)),
    }[config.schedule]
    if warmup == 0:
        return decay
    rise = optax.linear_schedule(peak / warmup, peak, max(warmup - 1, 1))
    return optax.join_schedules([rise, decay], [warmup])


def make(config: OptimizerConfig, steps: int) -> optax.GradientTransformation:
    """Clips gradients to a global norm, then Adam, decoupled weight decay, the learning rate.

    Args:
        config: every number of it.
        steps: of the whole run, for the schedule.
    """
    adam = optax.adamw(
        schedule(config, steps),
        b1=config.b1,
        b2=config.b2,
        eps=config.eps,
        weight_decay=config.weight_decay,
        mask=decayed,
    )
    if config.clip_norm == 0:
        return adam
    return optax.chain(optax.clip_by_global_norm(config.clip_norm), adam)


def decayed(params: Any) -> Any:
    """Which parameters weight decay reaches: matrices, and neither biases nor vectors."""

    def is_matrix(path: Any, leaf: Any) -> bool:
        return leaf.ndim >= 2 and "bias" not in jax.tree_util.keystr(path)

    return jax.tree_util.tree_map_with_path(is_matrix, params)


def _inverse_sqrt(peak: float, warmup: int) -> optax.Schedule:
    # Optax asks each part of a joined schedule about every step, those before its time too.
    return lambda step: peak * jnp.sqrt(warmup / (warmup + jnp.maximum(step, 0)))


def check(config: OptimizerConfig) -> None:
    """Refuses numbers that no optimizer can work with.

    Raises:
        InputError: it names the field, its value and what was expected.
    """
    bounds = {
        "learning_rate": (config.learning_rate > 0, "more than 0"),
        "warmup_steps": (config.warmup_steps >= 0, "0 or more"),
        "b1": (0 <= config.b1 < 1, "at least 0 and less than 1"),
        "b2": (0 <= config.b2 < 1, "at least 0 and less than 1"),
        "eps": (config.eps > 0, "more than 0"),
        "weight_decay": (config.weight_decay >= 0, "0 or more"),
        "clip_norm": (config.clip_norm >= 0, "0 (never) or more"),
        "ema": (config.ema is None or 0 < config.ema < 1, "none, or between 0 and 1"),
    }
    for name, (good, expected) in bounds.items():
        if not good:
            raise InputError(f"optimizer.{name} is {getattr(config, name)}; expected {expected}")
