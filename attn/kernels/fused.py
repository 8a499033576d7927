"""What the fused kernels of all machines share: the form of a call, and its derivative.

A machine brings `attended` and `gradients` on a flat list of arrays that all run along the op's
axes. Around them one `custom_vjp` keeps the output and the log-sum-exp of each query, and has the
rest computed again. It is first order and reverse mode only.
"""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from attn.blocks import as_varied
from attn.errors import Unsupported
from attn.kernels.call import Call
from attn.kernels.hoisting import hoisted
from attn.pieces import Leaf, Sizes, map_leaves
from attn.typing import Array, Float


@dataclass(frozen=True)
class Slot:
    """One array of a call: its name, axes and shape."""

    name: str
    axes: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: Any

    def along(self, *axes: str) -> bool:
        """Whether it differs along any of the axes."""
        sized = zip(self.axes, self.shape, strict=True)
        return any(axis in axes and size > 1 for axis, size in sized)

    def size(self, axis: str) -> int:
        """Of one of the axes; 1 where it has no such."""
        return dict(zip(self.axes, self.shape, strict=True)).get(axis, 1)


@dataclass(frozen=True)
class Plan:
    """A call without its arrays. The first three slots are query, key and value."""

    slots: tuple[Slot, ...]
    sizes_: tuple[tuple[str, int], ...]
    structure: Any
    constants: tuple[Any, ...]
    """Leaves that are plain numbers; None in the place of an array."""

    @property
    def sizes(self) -> Sizes:
        """The op's axes."""
        return dict(self.sizes_)

    @property
    def precise(self) -> bool:
        """Whether it makes a difference how the log-sum-exp was rounded."""
        return self.slots[0].dtype == jnp.float32

    @property
    def value_width(self) -> int:
        """Columns of the output."""
        return self.slots[2].shape[-1]

    @property
    def group(self) -> int:
        """Query heads to a key head."""
        return self.sizes["head"] // self.sizes["key_head"]

    def fill(self, values: Sequence[Any]) -> Call:
        """The call, with something in place of each array."""
        fresh = iter(values)
        leaves = [next(fresh) if held is None else held for held in self.constants]
        return jax.tree.unflatten(self.structure, leaves)

    def slots_of(self, field: str) -> list[int]:
        """The numbers of the slots of one field of the call."""
        numbered = self.fill([_Number(k) for k in range(len(self.slots))])
        held = jax.tree.leaves(getattr(numbered, field))
        return [int(x) for x in held if isinstance(x, _Number)]


class _Number(int):
    """A slot's: a leaf of its own kind, to be told from constants."""


Attended = tuple[Array, Array, Array | None]


@runtime_checkable
class Machine(Protocol):
    """What a backend brings. Hashable: two equal ones do the same."""

    def attended(self, plan: Plan, arrays: Sequence[Array]) -> Attended:
        """Output [B, T, N, E] in the query's dtype and, in float32, log-sum-exp [B, T, N] and what
        rounding took from it; that may be None where the plan is not precise."""
        ...

    def gradients(self, plan: Plan, arrays: Sequence[Array], known: "Known") -> list[Array | None]:
        """Gradients of the arrays that `known.wanted` marks.

        Those of query, key and value have their shapes, but for a batch of the key that may be the
        whole. Others have axes [B, N, T, S], or [B, N, T, S, W] where the array runs along the
        width; where the array has size 1 or no axis, they may have size 1 or be still to be summed.
        """
        ...


@dataclass(frozen=True)
class Sought:
    """Whose gradients one kernel is to find."""

    operands: tuple[int, ...]
    """Slots of query, key and value."""
    score: tuple[int, ...]
    """Slots of the score's arrays."""
    pieces: tuple[int, ...]
    """Slots of arrays of mods and weighting."""

    @property
    def slots(self) -> tuple[int, ...]:
        """All of them."""
        return *self.operands, *self.score, *self.pieces


def sought(plan: Plan, wanted: Sequence[bool]) -> tuple[Sought, Sought, list[Sought]]:
    """The wanted gradients by how they add up: along queries, along keys, or at each pair.

    The first has the query and arrays that run along the queries or along neither; the second key,
    value and arrays that run along the keys; then comes one for each array that runs along both.
    """
    numbers = plan.slots_of("score")

    def those(fits: Callable[[Slot], bool], operands: tuple[int, ...]) -> Sought:
        marked = [k for k, mark in enumerate(wanted) if mark and k > 2 and fits(plan.slots[k])]
        return Sought(
            tuple(k for k in operands if wanted[k]),
            tuple(k for k in marked if k in numbers),
            tuple(k for k in marked if k not in numbers),
        )

    def pair(slot: Slot) -> bool:
        return slot.along("query") and slot.along("key")

    pairs = those(pair, ())
    return (
        those(lambda slot: not slot.along("key"), (0,)),
        those(lambda slot: slot.along("key") and not pair(slot), (1, 2)),
        [Sought((), (k,), ()) for k in pairs.score] + [Sought((), (), (k,)) for k in pairs.pieces],
    )


@dataclass(frozen=True)
class Known:
    """What the backward pass is given."""

    wanted: tuple[bool, ...]
    """Which of the arrays' gradients are asked for."""
    of_output: Float[Array, "B T N E"]
    lse: Float[Array, "B T N"]
    delta: Float[Array, "B T N"]
    """d_output · output − d_lse."""


def attend(machine: Machine, call: Call) -> tuple[Float[Array, "B T N E"], Float[Array, "B T N"]]:
    """Output, in the query's dtype, and log-sum-exp."""
    plan, arrays = planned(call)
    return _attend(machine, plan, as_varied(arrays, arrays))


def planned(call: Call) -> tuple[Plan, tuple[Array, ...]]:
    """The call taken apart.

    Raises:
        Unsupported: a piece cannot be run in a kernel.
    """
    sizes, sums = call.sizes, call.sums
    call = dataclasses.replace(
        call,
        score=_widened(call.score, sums),
        mods=hoisted(_widened(call.mods, sums), sizes, sums),
        mask=hoisted(call.mask, sizes, jnp.bool_),
        weighting=hoisted(_widened(call.weighting, sums), sizes, sums),
    )
    tagged = map_leaves(_Tagged, call)
    leaves, structure = jax.tree.flatten(tagged, is_leaf=lambda x: isinstance(x, _Tagged))
    constants: list[Any] = []
    slots: list[Slot] = []
    arrays: list[Array] = []
    for x in leaves:
        if isinstance(x, _Tagged) and not isinstance(x.array, int | float):
            constants.append(None)
            array = jnp.asarray(x.array)
            slots.append(Slot(x.name, x.declared.axes, array.shape, array.dtype))
            arrays.append(array)
        elif isinstance(x, _Tagged):
            constants.append(x.array)
        else:
            raise Unsupported("the score holds an array that it does not declare")
    plan = Plan(tuple(slots), tuple(sizes.items()), structure, tuple(constants))
    return plan, tuple(arrays)


def _widened(tree: Any, dtype: Any) -> Any:
    """Pieces whose arrays are no narrower than their gradients' sums; those of all pairs stay."""

    def wide(x: Any) -> Any:
        tagged = isinstance(x, _Tagged)
        array, axes = (x.array, x.declared.axes) if tagged else (x, ())
        if isinstance(array, int | float) or ("query" in axes and "key" in axes):
            return array
        return array.astype(dtype) if jnp.issubdtype(array.dtype, jnp.floating) else array

    return jax.tree.map(wide, map_leaves(_Tagged, tree), is_leaf=lambda x: isinstance(x, _Tagged))


@dataclass(frozen=True)
class _Tagged:
    name: str
    array: Any
    declared: Leaf


def shaped(shape: tuple[int, ...], dtype: Any, operands: Sequence[Array]) -> Any:
    """What a kernel makes of operands, for `pallas_call`: in `shard_map` it varies as they do."""
    varied = as_varied(jnp.zeros(()), operands)
    kind = jax.typeof(varied).manual_axis_type
    return jax.ShapeDtypeStruct(shape, dtype, manual_axis_type=kind)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _attend(machine: Machine, plan: Plan, arrays: tuple[Array, ...]) -> tuple[Array, Array]:
    output, lse, _ = _attended(machine, plan, arrays)
    return output, lse


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _attended(machine: Machine, plan: Plan, arrays: tuple[Array, ...]) -> Attended:
    return machine.attended(plan, arrays)


@jax.tree_util.register_static
@dataclass(frozen=True)
class _Wanted:
    """Static through the residuals."""

    marks: tuple[bool, ...]


def _attend_forward(machine: Machine, plan: Plan, arrays: Any) -> Any:
    values = tuple(x.value for x in arrays)
    steps = plan.slots_of("mask")  # a mask is a step: no gradient
    marks = tuple(
        bool(x.perturbed) and jnp.issubdtype(x.value.dtype, jnp.floating) and k not in steps
        for k, x in enumerate(arrays)
    )
    output, lse, low = _attended(machine, plan, values)
    return (output, lse), (values, output, lse, low, _Wanted(marks))


def _attend_backward(machine: Machine, plan: Plan, kept: Any, cotangents: Any) -> Any:
    values, output, lse, low, wanted = kept
    of_output, of_lse = (
        jnp.zeros(like.shape, like.dtype) if isinstance(x, SymbolicZero) else x
        for x, like in zip(cotangents, (output, lse), strict=True)
    )
    wide = lse.dtype
    delta = jnp.sum(of_output.astype(wide) * output.astype(wide), axis=-1)
    delta = delta - jnp.where(lse == -jnp.inf, 0.0, of_lse)
    if plan.precise:
        mended = jnp.exp(-low)  # all that follows is linear in these two: see `tiles.pull`
        of_output, delta = of_output * mended[..., None], delta * mended
    found = _gradients(machine, plan, wanted.marks, (values, of_output, lse, delta))
    return (found,)


_attend.defvjp(_attend_forward, _attend_backward, symbolic_zeros=True)


@partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2))
def _gradients(machine: Machine, plan: Plan, wanted: tuple[bool, ...], operands: Any) -> Any:
    values, of_output, lse, delta = operands
    found = machine.gradients(plan, values, Known(wanted, of_output, lse, delta))
    return tuple(
        None if gradient is None else _fitted(gradient, slot, plan)
        for gradient, slot in zip(found, plan.slots, strict=True)
    )


def _refuse(*_: Any) -> Any:
    raise Unsupported(
        "backend: fused kernels have first derivatives only; xla and reference have all"
    )


_attended.defjvp(_refuse)
_gradients.defjvp(_refuse)


def _fitted(gradient: Array, slot: Slot, plan: Plan) -> Array:
    """A gradient with the shape and dtype of its array."""
    axes = slot.axes
    if "rows" not in axes and "columns" not in axes:
        axes = ("batch", "head", "query", "key", "query_width")[: gradient.ndim]
        if "key_head" in slot.axes:
            batch, _, *rest = gradient.shape
            gradient = gradient.reshape(batch, -1, plan.group, *rest).sum(axis=2)
            axes = ("batch", "key_head", *axes[2:])
    kept = {axis for axis, size in zip(slot.axes, slot.shape, strict=True) if size > 1}
    over = tuple(k for k, axis in enumerate(axes) if axis not in kept)
    gradient = jnp.sum(gradient, axis=over, keepdims=True)
    order = [axes.index(axis) for axis in slot.axes if axis in axes]
    rest = [k for k in range(len(axes)) if k not in order]
    return gradient.transpose(*order, *rest).reshape(slot.shape).astype(slot.dtype)
