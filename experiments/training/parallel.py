"""A pure function on many devices: under `pmap`, or under `jit` over a mesh.

Both bind the axis that the function names, keep one copy of the state on each device and cut
batches by rows, so both give the same numbers.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, ClassVar, Literal

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from attn.typing import PyTree
from experiments.data.batches import Batch
from experiments.errors import InputError
from experiments.training.step import AXIS, TrainState, TrainStep

Parallel = Literal["pmap", "jit"]
RowWise = Callable[..., PyTree]
"""From parameters and a batch, after what is static, to arrays with the batch's rows in front."""


@dataclass(frozen=True)
class Machine:
    """Devices, and the way onto them.

    Under `pmap` arrays belong to this host's devices and batches have an axis for the devices in
    front; under `jit` arrays belong to all hosts' devices.
    """

    parallel: Parallel
    devices: tuple[jax.Device, ...]
    """Of all hosts, those of one host side by side."""

    axis: ClassVar[str | None] = AXIS
    """That the step sums over; None where the compiler does."""

    @classmethod
    def of(cls, parallel: Parallel, devices: Sequence[jax.Device] | None = None) -> "Machine":
        """The given devices of all hosts, or (None) all there are."""
        chosen = jax.devices() if devices is None else devices
        return cls(parallel, tuple(sorted(chosen, key=lambda d: (d.process_index, d.id))))

    @cached_property
    def mesh(self) -> Mesh:
        """The devices that arrays of this host's making lie on."""
        local = jax.process_index()
        here = [d for d in self.devices if self.parallel == "jit" or d.process_index == local]
        return Mesh(np.array(here), (AXIS,))

    def spread(self, step: TrainStep) -> TrainStep:
        """The step on all devices at once; the state's memory is used for the next state.

        Args:
            step: pure; takes a state that is the same on all devices and a device's rows of a
                batch; what it returns is the same on all devices.

        Returns:
            The step for a placed state and a placed batch.
        """
        if self.parallel == "pmap":
            # None is "no axis of devices": one copy on each device, never a stack of them.
            return jax.pmap(
                step,
                axis_name=AXIS,
                in_axes=(None, 0),
                out_axes=None,
                devices=self.devices,
                donate_argnums=(0,),
            )
        sharded = jax.shard_map(
            step,
            mesh=self.mesh,
            in_specs=(PartitionSpec(), PartitionSpec(AXIS)),
            out_specs=PartitionSpec(),
            check_vma=False,  # the step sums over the axis itself, as under pmap
        )
        return jax.jit(sharded, donate_argnums=(0,))

    def by_rows(self, function: RowWise, *static: Any) -> Callable[[PyTree, Batch], PyTree]:
        """`function(*static, params, batch)` on all devices at once, for what has one result a row.

        Args:
            function: pure; takes a device's rows of a batch. What is compiled for it is kept as
                long as it is the same object, with equal `static`.

        Returns:
            The function of placed parameters and a placed batch; this host can read its results.
        """
        return partial(_by_rows, self.mesh, function, static)

    @property
    def share(self) -> tuple[int, int]:
        """This host's number among those whose devices arrays lie on, and how many they are."""
        hosts = sorted({device.process_index for device in self.mesh.devices.flat})
        return hosts.index(jax.process_index()), len(hosts)

    @property
    def parts(self) -> int:
        """That a batch's rows are cut into."""
        return len(self.devices)

    def begin(self, start: Callable[[], TrainState]) -> TrainState:
        """The first state, placed."""
        return self.place(jax.device_get(start()))

    def shardings(self, tree: PyTree) -> PyTree:
        """How a tree of arrays or shapes lies on the mesh: a copy on each device."""
        return jax.tree.map(lambda _: NamedSharding(self.mesh, PartitionSpec()), tree)

    @property
    def rows(self) -> NamedSharding:
        """How batches lie on the mesh."""
        return NamedSharding(self.mesh, PartitionSpec(AXIS))

    def place(self, tree: PyTree) -> PyTree:
        """Host arrays, a copy on each device."""
        return jax.device_put(tree, NamedSharding(self.mesh, PartitionSpec()))

    @property
    def evaluating(self) -> "Machine":
        """What evaluates this machine's states: each host's devices by themselves."""
        return Machine.of("jit", jax.local_devices())

    def evaluated(self, tree: PyTree) -> PyTree:
        """A placed tree as `evaluating` takes it: arrays of this host alone."""
        if jax.process_count() == 1:
            return tree
        return jax.tree.map(lambda array: array.addressable_data(0), tree)

    def host(self, tree: PyTree) -> PyTree:
        """A placed tree in this host's memory."""
        return jax.device_get(tree)

    def place_batch(self, batch: Batch) -> Batch:
        """This host's rows of a batch, cut over its devices."""
        sharding = self.rows

        def cut(rows: np.ndarray) -> jax.Array:
            if self.parallel == "pmap":
                stacked = rows.reshape(len(sharding.device_set), -1, *rows.shape[1:])
                return jax.device_put(stacked, sharding)
            with jax.transfer_guard_host_to_device("allow"):  # this transfer is meant
                return jax.make_array_from_process_local_data(sharding, rows)

        return jax.tree.map(cut, batch)

    def compile(self, step: TrainStep, state: TrainState, batches: Iterable[Batch]) -> None:
        """Compiles a `spread` step for batches of several shapes, two at a time.

        JAX keeps what it compiles: the first call with such a batch finds it.

        Args:
            step: as `spread` returned it.
            state: placed; nothing is computed with it.
            batches: this host's rows of one of each shape, such as `Batches.blanks`.
        """
        lowered = [
            step.lower(state, self.place_batch(batch))  # type: ignore[attr-defined]
            for batch in batches
        ]
        # Hosts must compile in the same order as each other.
        with ThreadPoolExecutor(2 if jax.process_count() == 1 else 1) as pool:
            for done in [pool.submit(one.compile) for one in lowered]:
                done.result()

    def check_divides(self, batch_size: int, accumulate: int) -> None:
        """Refuses a batch that the devices, and the parts of each, don't divide.

        Raises:
            InputError: it names the numbers.
        """
        if accumulate < 1:
            raise InputError(f"train.accumulate is {accumulate}; expected at least 1")
        parts = self.parts * accumulate
        if batch_size < 1 or batch_size % parts:
            nearest = max(1, round(batch_size / parts)) * parts
            raise InputError(
                f"train.batch_size is {batch_size}, which {self.parts} device(s) times "
                f"train.accumulate {accumulate} don't divide; expected a multiple of {parts}, "
                f"such as {nearest}"
            )


@partial(jax.jit, static_argnums=(0, 1, 2))
def _by_rows(
    mesh: Mesh, function: RowWise, static: tuple[Any, ...], params: PyTree, batch: Batch
) -> PyTree:
    """Each device by itself: a compiler that divided the rows could not look into a kernel."""
    cut = PartitionSpec(AXIS)
    each = jax.shard_map(
        partial(function, *static),
        mesh=mesh,
        in_specs=(PartitionSpec(), cut),
        out_specs=cut,
        check_vma=False,  # nothing is summed over the axis
    )
    return each(params, batch)
