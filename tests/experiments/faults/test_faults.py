"""Small runs survive every fault, and one that does not is told."""

import json
import random
import shutil

import pytest

from experiments.cli import main
from experiments.faults import command, runs
from experiments.faults.ground import Ground
from experiments.faults.lost import Lost, Tally, expect
from experiments.faults.outcome import outcome


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """The command's short form: its folder, and whether it ended well."""
    folder = tmp_path_factory.mktemp("faults")
    code = 0
    try:
        main(["faults", "--short", "--folder", str(folder)])
    except SystemExit as ended:
        code = ended.code
    return folder, code


def test_every_fault_is_survived_in_the_same_bits(short):
    folder, code = short
    told = json.loads((folder / "faults.json").read_text())
    found = {each["fault"]: each for each in told["faults"]}
    assert list(found) == [
        "SIGTERM", "kill -9", "checkpoint file truncated", "checkpoint file bit flipped",
        "checkpoint file missing", "disk full", "configuration changed", "launched twice",
    ]  # fmt: skip
    for each in found.values():
        assert each["times"] == each["survived"] > 0, each
        assert each["same"] == each["ended"] >= 1, each
    assert found["kill -9"]["times"] == 4
    assert told["command"] == "python -m experiments faults --seed 0 --short"
    assert code == 0


def test_another_end_is_told(short):
    """What says that bits are equal can also say that they are not."""
    whole = short[0] / "undisturbed"
    expected, tally = outcome(whole), Tally("none")
    runs.expect_end(whole, expected, tally)
    assert (tally.same, tally.ended) == (1, 1)
    name = next(iter(expected["state"]))
    other = expected["state"] | {name: expected["state"][name][:-1] + b"?"}
    with pytest.raises(Lost, match="undisturbed ended in another state"):
        runs.expect_end(whole, expected | {"state": other}, tally)
    assert (tally.same, tally.ended) == (1, 2)


def test_a_checkpoint_that_is_wrong_but_sound_is_told(short):
    """A run that goes on from other parameters than its own does not pass."""
    folder = short[0] / "swapped"
    before, newest = runs.unfinished(short[0] / "undisturbed", folder)[-2:]
    shutil.rmtree(folder / "checkpoints" / str(newest))
    shutil.copytree(folder / "checkpoints" / str(before), folder / "checkpoints" / str(newest))
    with pytest.raises(Lost, match="swapped ended in another"):
        runs.expect_end(folder, outcome(short[0] / "undisturbed"), Tally("none"))


def test_trials_are_counted():
    tally = Tally("none")
    for number in range(3):
        with tally.trial():
            expect(number != 1, "the second was lost")
    assert (tally.times, tally.survived, tally.notes) == (3, 2, ["the second was lost"])


def test_what_is_not_survived_ends_with_1(tmp_path, monkeypatch, capsys):
    def unlucky(ground: Ground) -> Tally:
        assert isinstance(ground.chance, random.Random)
        return Tally("bad luck", times=2, survived=1, notes=["[lost]"])

    monkeypatch.setattr(runs, "undisturbed", lambda folder: {})
    monkeypatch.setattr(command, "_FAULTS", (unlucky,))
    with pytest.raises(SystemExit) as ended:
        main(["faults", "--folder", str(tmp_path / "new"), "--seed", "3"])
    assert ended.value.code == 1
    said = capsys.readouterr().out
    assert "bad luck" in said
    assert "[lost]" in said
    assert json.loads((tmp_path / "new" / "faults.json").read_text())["faults"][0]["survived"] == 1


@pytest.mark.parametrize(
    ("flags", "said"),
    [(["--kills", "0"], "kills is 0"), ([], "holds files; expected a new or empty one")],
)
def test_bad_input(tmp_path, flags, said, capsys):
    (tmp_path / "letter.txt").write_text("dear")
    assert main(["faults", "--folder", str(tmp_path), *flags]) == 2
    assert said in capsys.readouterr().err
