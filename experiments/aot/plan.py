"""A whole training step, compiled for machines that are not here, and what it will take of them."""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.experimental.topologies import get_topology_desc

from attn.nn.transformer import LayerConfig
from attn.typing import PyTree
from experiments.aot.collectives import Collective, collectives, sent_bytes
from experiments.aot.flops import product_flops
from experiments.aot.sheets import SHEETS
from experiments.chips import CHIPS, Chip, device, exceeding
from experiments.config import Config
from experiments.configs.scale import Scale
from experiments.data.batches import Batch
from experiments.errors import InputError
from experiments.training.sharded import machine_of
from experiments.training.step import TrainState, initialise, make_train_step

DAY = 24 * 60 * 60

_OPTIONS: dict[str, dict[str, str | bool]] = {
    "tpu": {"xla_jf_spmd_threshold_for_windowed_einsum_mib": "1000000"}
}
"""Gathers stay gathers instead of becoming loops around each product: as many bytes, but they can
be counted, and compiling takes a fraction of the time."""


@dataclass(frozen=True)
class Plan:
    """What one step will take, on each chip where nothing else is said."""

    chip: str
    topology: str
    chips: int
    mesh: dict[str, int]
    parameters: int
    arguments: int
    """Bytes of parameters, moments and the batch."""
    temporaries: int
    """Bytes that the step sets aside on its way."""
    memory: int
    """Bytes that there are."""
    exchanges: list[Collective] | None
    """None where the compiler gives up for memory: there is no program then to read them from."""
    model_flops: int
    """Of the model, over all chips: three times its forward pass, all pairs of queries and keys
    counted (Chowdhery 2022, appendix B)."""
    step_flops: int
    """Likewise, with what is computed again."""
    tokens: int
    """Predicted in a step, over all chips."""
    steps: int
    """Of the whole run."""
    compute_seconds: float
    """At the sheet's peak."""
    memory_seconds: float
    """To read parameters and moments and write them again."""
    network_seconds: float | None
    """At the sheet's rate, all links busy; None where `exchanges` is."""

    @property
    def needed(self) -> int:
        """Bytes in all."""
        return self.arguments + self.temporaries

    @property
    def fits(self) -> bool:
        """Whether there is memory enough."""
        return self.needed <= self.memory

    @property
    def sent(self) -> int | None:
        """Bytes that a device sends in a step."""
        return None if self.exchanges is None else sent_bytes(self.exchanges)

    @property
    def peak_seconds(self) -> float:
        """Of a step's model FLOPs at the sheet's peak."""
        return self.model_flops / (self.chips * SHEETS[self.chip].flops)

    @property
    def seconds(self) -> float:
        """Of a step at the least, if everything overlaps: the roofline."""
        return self._times[self.bound]

    @property
    def bound(self) -> str:
        """What that is the time of."""
        return max(self._times, key=lambda name: self._times[name])

    @property
    def _times(self) -> dict[str, float]:
        """Those that are known."""
        named = {"compute": self.compute_seconds, "memory": self.memory_seconds}
        return named if self.network_seconds is None else named | {"network": self.network_seconds}

    @property
    def utilisation(self) -> float:
        """Model FLOPs a second as a share of the peak, at the most."""
        return self.peak_seconds / self.seconds

    @property
    def tokens_per_day(self) -> float:
        """At the most."""
        return self.tokens * DAY / self.seconds

    @property
    def hours(self) -> float:
        """Of the whole run, at the least."""
        return self.steps * self.seconds / 3600

    def as_json(self) -> dict:
        """Every figure, the derived ones too."""
        derived = ("needed", "fits", "sent", "seconds", "bound", "utilisation", "tokens_per_day")
        own = {name: getattr(self, name) for name in (*derived, "hours")}
        return {**dataclasses.asdict(self), **own}


def plan(scale: Scale, chip: str, topology: str) -> Plan:
    """Compiles the step, for all of a topology's chips.

    Args:
        scale: the run and its batches.
        chip: of `CHIPS`.
        topology: such as "16x16" (v5e, v6e), "4x4x4" (v4, v5p, tpu7x) or a number of GPUs.

    Raises:
        InputError: there is no such topology, or the run cannot be divided over it.
    """
    config, devices = scale.config, topology_devices(CHIPS[chip], topology)
    machine = machine_of(config, devices)
    machine.check_divides(config.train.batch_size, config.train.accumulate)
    steps = -(-config.train.examples // config.train.batch_size)

    def build() -> nnx.Module:
        return config.model.build(scale.vocabulary, scale.vocabulary, nnx.Rngs(0))

    def begin() -> TrainState:
        return initialise(nnx.split(build())[1], config, steps)

    graphdef, params = nnx.split(nnx.eval_shape(build))
    step = machine.spread(make_train_step(graphdef, config, steps, machine.axis))
    shapes = jax.eval_shape(begin)
    state = jax.tree.map(_there, shapes, machine.shardings(shapes))
    batch = jax.tree.map(lambda x: _there(x, machine.rows), _batch(scale))
    traced = step.trace(state, batch)  # type: ignore[attr-defined]
    lowered = traced.lower(lowering_platforms=(CHIPS[chip].platform,))
    held, way, exchanges = _compiled(lowered, (state, batch), CHIPS[chip].platform)
    forward = product_flops(_forward(config, scale), params, _batch(scale))
    again = getattr(config.model, "remat", "none") == "full"
    sheet, count = SHEETS[chip], len(devices)
    chips = count // sheet.devices
    sent = None if exchanges is None else sent_bytes(exchanges)
    return Plan(
        chip=chip,
        topology=topology,
        chips=chips,
        mesh=dict(machine.mesh.shape),
        parameters=sum(leaf.size for leaf in jax.tree.leaves(params)),
        arguments=held,
        temporaries=way,
        memory=CHIPS[chip].memory,
        exchanges=exchanges,
        model_flops=3 * forward,
        step_flops=(4 if again else 3) * forward,
        tokens=config.train.batch_size * scale.target,
        steps=steps,
        compute_seconds=(4 if again else 3) * forward / (chips * sheet.flops),
        memory_seconds=2 * held * sheet.devices / sheet.bandwidth,
        network_seconds=None if sent is None else sent * sheet.devices / sheet.network,
    )


def _compiled(
    lowered: jax.stages.Lowered, given: PyTree, platform: str
) -> tuple[int, int, list[Collective] | None]:
    """Bytes of arguments and of temporaries on a device, and what devices send each other."""
    try:
        compiled = lowered.compile(_OPTIONS.get(platform))
    except jax.errors.JaxRuntimeError as error:
        held = sum(
            math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize
            for x in jax.tree.leaves(given)
        )
        return held, exceeding(str(error)), None
    used = compiled.memory_analysis()
    assert used is not None
    return used.argument_size_in_bytes, used.temp_size_in_bytes, collectives(compiled)


def topology_devices(chip: Chip, topology: str) -> list[jax.Device]:
    """The devices of a pod or of a number of GPUs, eight to a host.

    Raises:
        InputError: the compiler knows no such topology.
    """
    device(chip)  # sets up what the plug-ins ask for
    try:
        count = math.prod(int(n) for n in topology.split("x"))
        if chip.platform == "tpu":
            # By default a host has four chips, and there are no fewer.
            host = {"chips_per_host_bounds": (1, 1, 1)} if count == 1 else {}
            return list(get_topology_desc(f"{chip.name}:{topology}", "tpu", **host).devices)
        shape = f"{-(-count // 8)}x{min(count, 8)}x1"
        return list(
            get_topology_desc("", "cuda", topology=shape, target_config=chip.topology).devices
        )
    except Exception as error:  # what a plug-in raises is up to it
        reason = str(error).strip().partition("\n")[0]
        raise InputError(
            f"topology is {topology} of {chip.name}; expected one that there is, such as 4x4 "
            f"(v5e, v6e), 2x2x2 (v4, v5p, tpu7x) or 8 (h100): {reason}"
        ) from error


def resized(scale: Scale, **train: int) -> Scale:
    """The run with other settings of training."""
    config = replace(scale.config, train=replace(scale.config.train, **train))  # type: ignore[arg-type]
    return replace(scale, config=config)


def _there(leaf: Any, sharding: jax.sharding.Sharding) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def _batch(scale: Scale) -> Batch:
    rows = scale.config.train.batch_size

    def tokens(*shape: int) -> np.ndarray:
        return np.broadcast_to(np.zeros((), np.int32), shape)  # no memory, however large

    return Batch(tokens(rows, scale.source), tokens(rows, scale.target + 1), tokens(rows))


def _forward(config: Config, scale: Scale) -> Callable[[PyTree, Batch], jax.Array]:
    """The forward pass with attention in plain products, whose count is the model's."""
    assert isinstance(config.model, LayerConfig)
    plain = replace(config.model, backend="reference", remat="none")
    graphdef = nnx.split(
        nnx.eval_shape(lambda: plain.build(scale.vocabulary, scale.vocabulary, nnx.Rngs(0)))
    )[0]

    def forward(params: PyTree, batch: Batch) -> jax.Array:
        model: Any = nnx.merge(graphdef, params, copy=True)
        return model.decode(model.encode(batch.source), batch.target[:, :-1])

    return forward
