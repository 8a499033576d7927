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
            turns = _TURNS.search(line) if " while(" in line else None
            for called in inside:
                found = walk(called, times * (int(turns[1]) if turns else 1))
                if " while(" in line and turns is None:
                    found = _refuse(found, called)
                yield from found

    yield from walk(entry, 1)


def _goes_on(called: str) -> bool:
    return called.startswith("async_collective_fusion")


def _inside(line: str, bodies: dict[str, list[str]]) -> Iterator[str]:
    for names in _CALLED.findall(line):
        yield from (name for name in re.findall(r"[\w.-]+", names) if name in bodies)


def _refuse(found: Iterator, loop: str) -> Iterator:
    for _ in found:
        raise ValueError(f"{loop}: exchanges in a loop of a number of turns that is not known")
    yield from ()


def _group(line: str, devices: int) -> int:
    """Devices in each of an exchange's groups."""
    listed = re.search(r"replica_groups=\{\{([\d,]*)\}", line)
    if listed:
        return len(listed[1].split(","))
    iota = re.search(r"replica_groups=\[(\d+),(\d+)\]", line)
    return int(iota[2]) if iota else devices


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
