"""Reading a TPU kernel's schedule, as libtpu dumps it: which bundles run, and how often."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

DELAY = 4
"""Bundles after a branch instruction that run whether it jumps or not."""


FILL = 2
"""Turns of a grid's loop in which its pipeline fills or drains: they skip its body."""

Kind = Literal["kernel", "loop", "body", "branch"]
"""A body is a branch that all turns of a grid's loop run, but those that fill and drain."""


@dataclass(frozen=True)
class Block:
    """Part of a schedule, all of which runs equally often."""

    kind: Kind
    label: str
    """The number of the region that a jump past it, or back to it, is to."""
    bundles: int
    """Its own, without those of inner blocks; each takes a cycle."""
    busy: Mapping[str, int]
    """Slots that its own bundles use, by unit: "MXU", "EUP", "VSTORE:SPILL"."""
    inner: tuple["Block", ...] = ()
    trips: int = 1
    """How often a loop turns."""

    def cycles(self, shares: Mapping[str, float] | None = None) -> float:
        """Of one visit. `shares` has, by label, how often a branch runs: always, by default."""
        shares = shares or {}
        inner = (
            self.turns(block) * shares.get(block.label, 1.0) * block.cycles(shares)
            for block in self.inner
        )
        return self.trips * self.bundles + sum(inner, 0.0)

    def used(self, unit: str) -> int:
        """Slots of a unit used in a visit that runs every branch."""
        inner = sum(self.turns(block) * block.used(unit) for block in self.inner)
        return self.trips * self.busy.get(unit, 0) + inner

    def turns(self, block: "Block") -> int:
        """How often a visit comes to an inner block."""
        return self.trips - FILL if block.kind == "body" else self.trips

    def branches(self) -> Iterator["Block"]:
        """Those that have no branches within."""
        for block in self.inner:
            within = list(block.branches())
            if block.kind == "branch" and not within:
                yield block
            yield from within


@dataclass(frozen=True)
class Kernel:
    """A kernel's schedule: what a step of its grid costs. Waiting for memory is not in it."""

    name: str
    root: Block
    capacity: Mapping[str, int]
    """Slots of a bundle, by unit."""

    @property
    def grid(self) -> Block:
        """The loop over the grid; the whole kernel where there is none."""
        loops = [block for block in self.root.inner if block.kind == "loop"]
        return max(loops, key=Block.cycles, default=self.root)

    @property
    def steps(self) -> int:
        """Of the grid."""
        return min(self.grid.turns(block) for block in (self.grid, *self.grid.inner))

    @property
    def heavy(self) -> Block | None:
        """The branch that does the work, where a step may skip it: the most part of a step."""
        largest = max(self.grid.branches(), key=Block.cycles, default=None)
        if largest is None or 2 * largest.cycles() < self.grid.cycles() / self.steps:
            return None
        return largest

    @property
    def taken(self) -> float:
        """Cycles of a step that does the work, without the branches that few steps run."""
        return self.step(heavy=1.0, rare=0.0)

    @property
    def skipped(self) -> float:
        """Cycles of a step that skips the work. As `taken`, where none can."""
        return self.step(heavy=0.0, rare=0.0)

    @property
    def rare(self) -> float:
        """Cycles of the other branches: of the start and the end of a row of blocks, mostly."""
        return self.step(heavy=0.0, rare=1.0) - self.skipped

    def step(self, heavy: float, rare: float) -> float:
        """Cycles of the average step, by the share of steps that run the branches.

        What it takes to fill and drain the pipeline is shared among the steps.
        """
        shares = dict.fromkeys((block.label for block in self.grid.branches()), float(rare))
        if self.heavy is not None:
            shares[self.heavy.label] = heavy
        return self.grid.cycles(shares) / self.steps

    def cycles(self, heavy: float = 1.0, rare: float = 1.0) -> float:
        """Of the whole kernel.

        Args:
            heavy: share of the steps that do the work.
            rare: share of the steps that run the other branches: 1 / (blocks in a row).
        """
        outside = self.root.bundles if self.grid is not self.root else 0
        return outside + self.steps * self.step(heavy, rare)

    def use(self, unit: str) -> float:
        """Share of a unit's slots that the work uses."""
        work = self.heavy or self.grid
        return work.used(unit) / (work.cycles() * self.capacity[unit])


def parse_schedule(name: str, bundles: str, utilization: str, trips: Sequence[int] = ()) -> Kernel:
    """The kernel of a `*-final_bundles.txt` and its `*-final_hlo-static-per-bundle-utilization`.

    Args:
        name: of the kernel.
        bundles: the one file's text.
        utilization: the other's.
        trips: for each loop whose bound is known at run time alone, in the schedule's order, how
            often it turns.

    Raises:
        ValueError: there are more such loops.
    """
    lines = _lines(bundles)
    units, capacity, rows = _utilization(utilization)
    spans = sorted(_spans(lines, list(trips)), key=lambda span: (span.start, -span.end))
    whole = _Span(0, len(lines), "kernel", "")
    root = _nest(whole, spans, lambda at: dict(zip(units, rows[at], strict=True)))
    return Kernel(name, root, dict(zip(units, capacity, strict=True)))


@dataclass(frozen=True)
class _Span:
    start: int
    end: int
    kind: Kind
    label: str
    trips: int = 1


def _lines(text: str) -> list[str]:
    """One a bundle; comments may go over several lines."""
    found: list[str] = []
    for line in text.splitlines():
        if re.match(r" *(0x[0-9a-f]+|0) +(\w\w)? *: ", line):
            found.append(line)
        elif found:
            found[-1] += line
    return found


def _utilization(text: str) -> tuple[list[str], list[int], list[list[int]]]:
    """Units, their slots a bundle, and the slots that each bundle uses."""
    _, units, capacity, _, *rows = text.splitlines()
    numbers = [[int(word) for word in row.split()] for row in (capacity, *rows) if row.strip()]
    return units.split(", "), numbers[0], numbers[1:]


def _spans(lines: Sequence[str], trips: list[int]) -> Iterator[_Span]:
    """Loops and branches: what each jump instruction goes back to, or past."""
    starts = {
        region: at
        for at, line in enumerate(lines)
        for region in re.findall(r"Start(?:/End empty)? region (\d+)", line)
    }
    text = "\n".join(lines)
    loops: list[tuple[int, int, str, str]] = []
    for at, line in enumerate(lines):
        for predicate, region in re.findall(
            r"sbr\.rel(?: \(!?(%\w+)\))? target = \$region(\d+)", line
        ):
            after = at + 1 + DELAY
            if starts[region] > at:
                kind: Kind = "body" if _skips_fill(text, predicate) else "branch"
                yield _Span(min(after, starts[region]), starts[region], kind, region)
            else:
                loops.append((starts[region], after, region, predicate))
    for start, end, region, predicate in sorted(loops):
        turns = _trips(text, predicate)
        if turns is None and not trips:
            raise ValueError(f"loop {region} has a bound known at run time alone; pass its trips")
        yield _Span(start, end, "loop", region, trips.pop(0) if turns is None else turns)


def _definition(text: str, name: str) -> str:
    """What comes after "name = "; nothing for a jump without a predicate, whose name is ""."""
    found = re.search(re.escape(name) + r" = ([^;}]*)", text) if name else None
    return found[1] if found else ""


def _skips_fill(text: str, predicate: str) -> bool:
    """Whether a jump is taken in the first and last turn: unless index >= 1 and index < last."""
    both = re.match(r"pnand (%\w+), (%\w+)", _definition(text, predicate))
    tests = [_definition(text, name) for name in both.groups()] if both else []
    found = [re.match(r"scmp\.(ge|lt)\.s32\.totalorder (%\w+), (\d+)", test) for test in tests]
    match found:
        case [re.Match() as low, re.Match() as high]:
            return (low[1], low[3], high[1]) == ("ge", "1", "lt") and low[2] == high[2]
    return False


def _trips(text: str, predicate: str) -> int | None:
    """From "p = scmp.ge next, bound", "next = sadd step, index", "index = sphi first, next".

    Where the index was spilled its first value cannot be followed; it is taken for 0.
    """
    test = re.match(r"scmp\.ge\.s32\.totalorder (%\w+), (\d+) ", _definition(text, predicate))
    if test is None:
        return None
    step = re.match(r"sadd\.s32 (\d+), (%\w+)", _definition(text, test[1]))
    first = re.match(r"sphi (%\w+)", _definition(text, step[2])) if step else None
    start = re.match(r"smov (?:\([^)]*\), )?(\d+)", _definition(text, first[1])) if first else None
    turns = int(test[2]) - (int(start[1]) if start else 0)
    return -(-turns // (int(step[1]) if step else 1))


def _nest(span: _Span, spans: Sequence[_Span], busy: Callable[[int], dict[str, int]]) -> Block:
    """The block of a span; `spans` are in order, outer before inner."""
    inner: list[Block] = []
    own: list[int] = []
    at = span.start
    within = [s for s in spans if s is not span and span.start <= s.start and s.end <= span.end]
    for each in within:
        if each.start >= at:
            own += range(at, each.start)
            inner.append(_nest(each, within[within.index(each) :], busy))
            at = each.end
    own += range(at, span.end)
    total: dict[str, int] = {}
    for bundle in own:
        for unit, used in busy(bundle).items():
            total[unit] = total.get(unit, 0) + used
    return Block(span.kind, span.label, len(own), total, tuple(inner), span.trips)
