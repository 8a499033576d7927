import json
from pathlib import Path

import pytest

from experiments.ablations.results import read, validate
from experiments.errors import InputError
from tests.experiments.ablations.fabricate import LENGTHS, fabricate


def test_what_a_suite_writes_is_read(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text(json.dumps(fabricate()))
    results = read(path)
    variant = results.variant("attention")
    assert variant.quantity("nll").value == 0.4
    assert variant.quantity("nll").by_seed == pytest.approx((0.39, 0.4, 0.41))
    assert list(variant.conditions("nll")) == list(LENGTHS)
    assert variant.conditions("nll")["6-8"] is variant.quantity("nll @ 6-8")
    assert variant.conditions("bleu") == {}
    assert results.contrasts[1].value is None
    assert results.failed[0].seed == 2


def test_what_is_not_there_is_named() -> None:
    results = validate(fabricate())
    with pytest.raises(InputError, match=r"variant is 'x'; expected one of attention, fixed"):
        results.variant("x")
    with pytest.raises(InputError, match=r"variant 'attention' is 'bleu'; expected one of nll"):
        results.variant("attention").quantity("bleu")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["suite"], 3, r"results\.suite is 3; expected text"),
        (["verdict"], "true", r"results\.verdict is 'true'; expected one of reproduced, not"),
        (["variants"], [], r"results\.variants is empty"),
        (["contrasts"], [], r"results\.contrasts is empty"),
        (["seeds"], [], r"results\.seeds is empty"),
        (["variants", 1, "name"], "attention", r"variants\[1\]\.name is 'attention'; expected it"),
        (["variants", 0, "seeds", 1], 0.5, r"variants\[0\]\.seeds\[1\] is 0\.5; expected a whole"),
        (
            ["variants", 0, "quantities", "nll", "value"],
            float("nan"),
            r"variants\[0\]\.quantities\['nll'\]\.value is nan; expected a number",
        ),
        (["contrasts", 0, "outcome"], "good", r"contrasts\[0\]\.outcome is 'good'; expected one"),
        (["contrasts", 0, "p"], None, r"contrasts\[0\]\.p is null; expected so only where"),
        (["contrasts", 0, "interval"], [1, 0], r"contrasts\[0\]\.interval is \[1, 0\]"),
        (["failed", 0], "oh", r"failed\[0\] is 'oh'; expected an object"),
    ],
)
def test_a_wrong_field_is_named(path: list, value: object, message: str) -> None:
    changed = fabricate()
    place = changed
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(InputError, match=message):
        validate(changed)


@pytest.mark.parametrize("path", [["mode"], ["variants", 1, "labels"], ["contrasts", 1, "p"]])
def test_a_missing_field_is_named(path: list) -> None:
    changed = fabricate()
    place = changed
    for step in path[:-1]:
        place = place[step]
    del place[path[-1]]
    with pytest.raises(InputError, match=rf"{path[-1]} is missing; expected"):
        validate(changed)


def test_the_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text(json.dumps(fabricate() | {"date": None}))
    with pytest.raises(InputError, match=r"results\.json: results\.date is None; expected text"):
        read(path)
