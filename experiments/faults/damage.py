"""Checkpoints whose files are cut short, changed or gone."""

from collections.abc import Callable
from pathlib import Path

from experiments.faults import runs
from experiments.faults.ground import Ground
from experiments.faults.lost import Tally, expect
from experiments.training import folder as files


def truncate(path: Path) -> None:
    """Leaves the first half of a file."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    """Changes one bit in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


DAMAGES: dict[str, Callable[[Path], None]] = {
    "truncated": truncate,
    "bit flipped": flip,
    "missing": Path.unlink,
}


def files_of(folder: Path, step: int) -> list[Path]:
    """The files of a checkpoint."""
    return sorted(path for path in (folder / str(step)).rglob("*") if path.is_file())


def damaged(ground: Ground) -> list[Tally]:
    """Damages the newest checkpoint of a run that died: the one before is used, with a warning.

    The largest file holds the parameters. Of the others some are not needed: there the run may go
    on from the newest one, but never to another end.
    """
    return [_damaged(ground, kind) for kind in DAMAGES]


def _damaged(ground: Ground, kind: str) -> Tally:
    tally = Tally(f"checkpoint file {kind}")
    for number in range(1 if ground.short else 4):
        folder = ground.folder / f"{kind.replace(' ', '-')}-{number}"
        before, newest = runs.unfinished(ground.whole, folder)[-2:]
        kept = folder / files.CHECKPOINTS
        found = sorted(files_of(kept, newest), key=lambda path: path.stat().st_size)
        path = (
            found[-1]
            if number == 0
            else ground.chance.choice([p for p in found if p.stat().st_size])
        )
        with tally.trial():
            DAMAGES[kind](path)
            words = runs.expect_end(folder, ground.expected, tally)
            if number == 0:
                warned = f"checkpoint {kept.absolute() / str(newest)} is damaged" in words
                expect(warned, "no warning names the checkpoint")
                expect(f"goes on from step {before}" in words, f"not from step {before}")
    return tally
