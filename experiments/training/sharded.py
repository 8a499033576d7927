"""A pure function on a mesh of devices with axes for rows, parameters, heads and sequences.

The compiler divides the program (`jit` and `NamedSharding`): "data" cuts batches, "fsdp" batches
and what is stored of the state, "tensor" heads and hidden units, "sequence" long texts, around
which attention goes in a ring (`attn.mesh`). The numbers are those of one device but for rounding.
"""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec, use_abstract_mesh

from attn.mesh import ROWS
from attn.typing import PyTree
from experiments.config import Config, TrainConfig
from experiments.data.batches import Batch
from experiments.errors import InputError
from experiments.training.parallel import Machine, RowWise
from experiments.training.rules import RECURRENT, TABLES, Rule, cut
from experiments.training.step import TrainState, TrainStep

AXES = ("data", "fsdp", "tensor", "sequence")


@dataclass(frozen=True)
class Sharded(Machine):
    """Devices in a mesh."""

    sizes: tuple[int, int, int, int] = (1, 1, 1, 1)
    """Devices along each of `AXES`."""
    rules: tuple[Rule, ...] = RECURRENT

    axis = None

    @cached_property
    def mesh(self) -> Mesh:
        """All hosts' devices; neighbours along the last axes are near each other."""
        return Mesh(np.array(self.devices).reshape(self.sizes), AXES)

    @property
    def parts(self) -> int:
        """That a batch's rows are cut into."""
        return self.sizes[0] * self.sizes[1]

    def spread(self, step: TrainStep) -> TrainStep:
        """The step on all devices at once; the state's memory is used for the next state."""

        def on_mesh(state: TrainState, batch: Batch) -> PyTree:
            with use_abstract_mesh(self.mesh.abstract_mesh):
                state, metrics = step(state, batch)
            return jax.lax.with_sharding_constraint(state, self.shardings(state)), metrics

        return jax.jit(on_mesh, donate_argnums=(0,))

    def by_rows(self, function: RowWise, *static: Any) -> Callable[[PyTree, Batch], PyTree]:
        """As `Machine.by_rows`, of all rows at once; every host gets the results of all."""
        return partial(_on_mesh, self.mesh, function, static)

    def shardings(self, tree: PyTree) -> PyTree:
        """How a tree of arrays or shapes lies on the mesh, by the rules."""
        sizes = dict(zip(AXES, self.sizes, strict=True))

        def of(path: tuple, leaf: Any) -> NamedSharding:
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            return NamedSharding(self.mesh, cut(name, leaf.shape, self.rules, sizes))

        return jax.tree_util.tree_map_with_path(of, tree)

    @property
    def rows(self) -> NamedSharding:
        """How batches lie on the mesh."""
        return NamedSharding(self.mesh, PartitionSpec(ROWS))

    def begin(self, start: Callable[[], TrainState]) -> TrainState:
        """The first state, made where it is to lie: no device ever holds all of it."""
        return jax.jit(start, out_shardings=self.shardings(jax.eval_shape(start)))()

    def place(self, tree: PyTree) -> PyTree:
        """Host arrays, each device's part on it; what lies there already stays."""

        def put(leaf: Any, sharding: NamedSharding) -> jax.Array:
            if isinstance(leaf, jax.Array) and leaf.sharding.is_equivalent_to(sharding, leaf.ndim):
                return leaf
            whole = np.asarray(leaf)
            return jax.make_array_from_callback(whole.shape, sharding, lambda part: whole[part])

        return jax.tree.map(put, tree, self.shardings(tree))

    @property
    def evaluating(self) -> Machine:
        """All hosts' devices: none need hold all of a state."""
        return self

    def evaluated(self, tree: PyTree) -> PyTree:
        """A placed tree as it lies."""
        return tree

    def host(self, tree: PyTree) -> PyTree:
        """A placed tree, whole, in this host's memory."""
        if jax.process_count() == 1:
            return jax.device_get(tree)
        return multihost_utils.process_allgather(tree, tiled=True)

    def place_batch(self, batch: Batch) -> Batch:
        """This host's rows of a batch, cut over its devices."""
        with jax.transfer_guard_host_to_device("allow"):  # this transfer is meant
            return jax.tree.map(
                lambda rows: jax.make_array_from_process_local_data(self.rows, rows), batch
            )


@partial(jax.jit, static_argnums=(0, 1, 2))
def _on_mesh(
    mesh: Mesh, function: RowWise, static: tuple[Any, ...], params: PyTree, batch: Batch
) -> PyTree:
    with use_abstract_mesh(mesh.abstract_mesh):
        found = function(*static, params, batch)
    return jax.lax.with_sharding_constraint(found, NamedSharding(mesh, PartitionSpec()))


def machine_of(config: Config, devices: Sequence[jax.Device] | None = None) -> Machine:
    """The machine that a configuration asks for.

    Args:
        config: `train.parallel` and the sizes of the mesh's axes.
        devices: of all hosts (None: all there are).

    Raises:
        InputError: the mesh's axes do not divide the devices, or `pmap` is to have a mesh.
    """
    train = config.train
    machine = Machine.of(train.parallel, devices)
    sizes = train.fsdp, train.tensor, train.sequence
    _check(train, len(machine.devices))
    if max(sizes) == 1:
        return machine
    data = len(machine.devices) // (sizes[0] * sizes[1] * sizes[2])
    rules = TABLES.get(config.model.name, RECURRENT)
    fields = {field.name: getattr(machine, field.name) for field in dataclasses.fields(machine)}
    return Sharded(**fields, sizes=(data, *sizes), rules=rules)


def mesh_of(config: Config) -> Machine | None:
    """The mesh that a run was trained on, if it was on one that the devices here can make."""
    train = config.train
    product = train.fsdp * train.tensor * train.sequence
    if product == 1 or len(jax.devices()) % product:
        return None
    return machine_of(config)


def _check(train: TrainConfig, devices: int) -> None:
    product = 1
    for name in ("fsdp", "tensor", "sequence"):
        size = getattr(train, name)
        if size < 1:
            raise InputError(f"train.{name} is {size}; expected at least 1")
        if size > 1 and train.parallel == "pmap":
            raise InputError(
                f"train.{name} is {size} with train.parallel pmap, which cuts batches alone; "
                "expected train.parallel jit"
            )
        product *= size
    if devices % product:
        raise InputError(
            f"train.fsdp · train.tensor · train.sequence is {product}, which {devices} device(s) "
            "are not a multiple of; expected a divisor of the devices"
        )
