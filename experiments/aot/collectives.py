"""What devices tell each other in a compiled program, and how many bytes that is."""

import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import jax

from experiments.chips import computations

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")


@dataclass(frozen=True, order=True)
class Collective:
    """All of a program's exchanges of one kind among groups of one size."""

    kind: str
    """Of `KINDS`."""
    group: int
    """Devices that take part in one; 2 in a permutation."""
    count: int
    """In a run of the program."""
    bytes: int
    """That each device sends in a run, by the ring algorithm: with n devices and an operand of b
    bytes on each, 2b(n−1)/n to reduce, b(n−1)/n to reduce and scatter or to exchange all with all,
    b(n−1) to gather, b to pass on."""


def collectives(compiled: jax.stages.Compiled) -> list[Collective]:
    """A compiled program's exchanges, those in loops as often as the loops turn.

    Raises:
        ValueError: one stands in a loop whose turns the compiler does not know.
    """
    text = compiled.as_text()
    assert text is not None
    counts: Counter[tuple[str, int]] = Counter()
    sent: Counter[tuple[str, int]] = Counter()
    for kind, group, size, times in _found(text):
        counts[kind, group] += times
        sent[kind, group] += times * size
    return sorted(Collective(*key, counts[key], sent[key]) for key in counts)


def sent_bytes(found: list[Collective], kind: str | None = None) -> int:
    """By each device, in exchanges of one kind (None: of all)."""
    return sum(one.bytes for one in found if kind in (None, one.kind))


_INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%?([\w.-]+) = (.*)$")
_CALLED = re.compile(r"(?:calls|to_apply|body|branch_computations)=\{?%?([\w.-]+(?:, %?[\w.-]+)*)")
_TURNS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
_BELOW = re.compile(r" compare\(%([\w.-]+), %([\w.-]+)\), direction=LT")
_EXCHANGE = re.compile(rf"\b({'|'.join(KINDS)})(?:-start)?\(([^)]*)\)")
_ARRAY = re.compile(r"\b(pred|[a-z]+\d+\w*)\[([\d,]*)\]")


def _found(text: str) -> Iterator[tuple[str, int, int, int]]:
    """Kind, group, bytes that a device sends, and times, of each exchange of a module."""
    bodies = {name: lines for name, _, lines in computations(text)}
    entry = next(name for name, header, _ in computations(text) if header.startswith("ENTRY"))
    partitions = re.search(r"num_partitions=(\d+)", text)
    replicas = re.search(r"replica_count=(\d+)", text)
    devices = int((partitions or replicas or [0, 1])[1])

    def walk(name: str, times: int) -> Iterator[tuple[str, int, int, int]]:
        types = {}
        for line in bodies[name]:
            matched = _INSTRUCTION.match(line)
            if matched is None:
                continue
            types[matched[1]] = matched[2]
            exchange = _EXCHANGE.search(matched[2])
            if exchange is not None:
                kind, operands = exchange[1], re.findall(r"%([\w.-]+)", exchange[2])
                # A TPU's fusion of a sum and of what each device keeps of it.
                if kind == "all-reduce" and name.startswith("all-reduce-scatter"):
                    kind = "reduce-scatter"
                size = sum(_bytes(types[operand]) for operand in operands)
                group = 2 if kind == "collective-permute" else _group(line, devices)
                if group > 1:
                    yield kind, group, _sent(kind, group, size), times
            # A TPU starts a gather, goes on with it beside products, and ends it: one exchange.
            if matched[1].startswith("async-collective-done"):
                continue
            inside = [called for called in _inside(line, bodies) if not _goes_on(called)]
            turns = _turns(line, types, bodies) if " while(" in line else 1
            for called in inside:
                found = walk(called, times * (turns or 1))
                yield from found if turns is not None else _refuse(found, called)

    yield from walk(entry, 1)


def _goes_on(called: str) -> bool:
    return called.startswith("async_collective_fusion")


def _inside(line: str, bodies: dict[str, list[str]]) -> Iterator[str]:
    for names in _CALLED.findall(line):
        yield from (name for name in re.findall(r"[\w.-]+", names) if name in bodies)


def _turns(line: str, before: dict[str, str], bodies: dict[str, list[str]]) -> int | None:
    """How often a loop turns: what the compiler says, or from its condition where that is JAX's for
    a scan, whose counter goes up by one as long as it is below a constant; None for others.

    Args:
        line: the loop.
        before: instructions of the same function, by name.
        bodies: all functions.
    """
    if told := _TURNS.search(line):
        return int(told[1])
    condition = re.search(r"condition=%?([\w.-]+)", line)
    given = re.search(r" while\(%([\w.-]+)\)", line)
    if condition is None or given is None:
        return None
    test = bodies[condition[1]]
    inside = {m[1]: m[2] for m in map(_INSTRUCTION.match, test) if m is not None}
    compared = _BELOW.search(next(line for line in test if line.lstrip().startswith("ROOT")))
    if compared is None:
        return None
    place = re.search(r"get-tuple-element\(.*\), index=(\d+)", inside[compared[1]])
    elements = re.search(r" tuple\((.*?)\)", before[given[1]])
    last = _constant(compared[2], inside)
    if place is None or elements is None or last is None:
        return None
    first = _constant(re.findall(r"%([\w.-]+)", elements[1])[int(place[1])], before)
    return None if first is None else last - first


def _constant(name: str, known: dict[str, str]) -> int | None:
    """The whole number that an instruction is, if it is one or a copy of one."""
    while copied := re.search(r" copy\(%([\w.-]+)\)", known.get(name, "")):
        name = copied[1]
    found = re.search(r" constant\((-?\d+)\)", known.get(name, ""))
    return int(found[1]) if found else None


def _refuse(found: Iterator, loop: str) -> Iterator:
    for _ in found:
        raise ValueError(f"{loop}: exchanges in a loop of a number of turns that is not known")
    yield from ()


def _group(line: str, devices: int) -> int:
    """Devices in each of an exchange's groups.

    Raises:
        ValueError: the groups are written in a way that is not known.
    """
    groups = line.partition("replica_groups=")[2]
    if not groups or groups.startswith("{}"):
        return devices
    if listed := re.match(r"\{\{([\d,]*)\}", groups):
        return len(listed[1].split(","))
    if iota := re.match(r"\[(\d+),(\d+)\]", groups):
        return int(iota[2])
    # By axes of a mesh, or a part of one: mesh['a'=2,'b'=4], device_ids=([8]) {'a','b':(2)2}.
    if named := re.match(r"mesh\[([^\]]*)\](?:, device_ids=[^{]*)? \{([^}]*)\}", groups):
        sizes = dict(re.findall(r"'([^']*)'=(\d+)", named[1]))
        axes = re.findall(r"'([^']*)'(?::\(\d+\)(\d+))?", named[2])
        return math.prod(int(part or sizes[axis]) for axis, part in axes)
    raise ValueError(f"replica_groups: got {groups[:80]}; expected groups, a shape or a mesh")


def _sent(kind: str, group: int, size: int) -> int:
    shares = {
        "all-reduce": 2 * (group - 1) / group,
        "reduce-scatter": (group - 1) / group,
        "all-to-all": (group - 1) / group,
        "all-gather": group - 1,
        "collective-permute": 1,
    }
    return round(size * shares[kind])


def _bytes(result: str) -> int:
    """Of the arrays that an instruction makes; of several, all."""
    typed = re.split(r"\s[\w-]+\(", result, maxsplit=1)[0]
    total = 0
    for dtype, dims in _ARRAY.findall(typed):
        bits = 8 if dtype == "pred" else int(re.sub(r"^\D+(\d+).*", r"\1", dtype))
        total += math.prod(int(n) for n in dims.split(",") if n) * bits // 8
    return total
