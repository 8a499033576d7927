import json
from pathlib import Path

import pytest

from experiments.ablations import wording
from experiments.ablations.results import validate
from experiments.ablations.table import readme_table, render, write_results
from experiments.errors import InputError
from tests.experiments.ablations.fabricate import fabricate

EFFECTS = {"score_function": "6.1 | 6.4", "length_bottleneck": "26.75 against 17.82 BLEU"}


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.replace("\\|", "¦").strip("|").split("|")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two suites, one of them at two budgets."""
    folder = tmp_path / "ablations"
    folder.mkdir()
    for suite, budget in (
        ("length_bottleneck", "gpu"),
        ("length_bottleneck", "cpu"),
        ("score_function", "cpu"),
    ):
        results = fabricate() | {"suite": suite, "budget": budget}
        (folder / f"{suite}-{budget}.json").write_text(json.dumps(results))
    return folder


def test_a_row_a_suite_in_the_order_of_the_effects(folder: Path, tmp_path: Path) -> None:
    write_results(folder, tmp_path / "RESULTS.md", EFFECTS)
    text = (tmp_path / "RESULTS.md").read_text()
    lines = text.split("\n\n")[2].splitlines()
    heads, _, *rows = map(_cells, lines)
    assert [row[0] for row in rows] == [
        "[score_function (cpu)](#score_function-cpu)",
        "[length_bottleneck (cpu)](#length_bottleneck-cpu)",
        "[length_bottleneck (gpu)](#length_bottleneck-gpu)",
    ]
    assert all(len(row) == len(heads) for row in rows)
    assert dict(zip(heads, rows[0], strict=True)) == {
        "suite": "[score_function (cpu)](#score_function-cpu)",
        "claim": "A fixed vector decays with length, attention does not",
        "the papers": "6.1 ¦ 6.4",
        "ours [95% interval]": "decay with a fixed vector: 0.314 [0.114, 0.514]",
        "verdict": "inconclusive",
        "command": "`python -m experiments ablate length_bottleneck --budget cpu`",
        "minutes": "5.2",
        "hardware": "Abacus, 2 cores",
        "versions": "python 3.0, jax 0.0.0",
        "date": "2000-01-01",
        "code": "0123456789ab",
    }
    assert text.count("\n## ") == 3
    assert text.count("– missing") == 3
    assert "Failed: attention (seed 2)." in text


def test_the_order_of_the_results_does_not_matter() -> None:
    results = [validate(fabricate() | {"budget": budget}) for budget in ("cpu", "gpu")]
    assert render(results, EFFECTS) == render(results[::-1], EFFECTS)


def test_the_readme_gets_the_verdicts() -> None:
    heads, _, row = map(_cells, readme_table([validate(fabricate())], EFFECTS).splitlines())
    assert heads == ["suite", "claim", "verdict", "ours [95% interval]"]
    assert row == [
        "length_bottleneck (cpu)",
        "A fixed vector decays with length, attention does not",
        "inconclusive",
        "decay with a fixed vector: 0.314 [0.114, 0.514]",
    ]


def test_what_does_not_fit_is_refused(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "RESULTS.md"
    with pytest.raises(InputError, match=r"effects has no 'score_function'; expected a line"):
        write_results(folder, out, {"length_bottleneck": ""})
    (folder / "score_function-cpu.json").rename(folder / "other.json")
    with pytest.raises(InputError, match=r"other\.json is named .* expected score_function-cpu"):
        write_results(folder, out, EFFECTS)
    with pytest.raises(InputError, match="holds no results; expected SUITE-BUDGET"):
        write_results(tmp_path, out, EFFECTS)
    assert not out.exists()


def test_numbers_have_three_digits_of_the_largest() -> None:
    assert wording.numbers(0.3, -0.1, 0.5) == ["0.300", "−0.100", "0.500"]
    assert wording.numbers(12_345.6, 3) == ["12,346", "3"]
    assert wording.numbers(0.0, 0.0) == ["0", "0"]
    assert wording.numbers(-2e-7, 1e-8) == ["−2.00e−07", "1.00e−08"]


def test_small_things_are_written_plainly() -> None:
    assert wording.minutes(312.1) == "5.2"
    assert wording.minutes(6000) == "100"
    assert [wording.probability(p) for p in (None, 0.0, 0.04)] == ["–", "< 0.001", "0.040"]
    gpu = {"processor": "X", "cores": "16", "devices": "1 × H100"}
    assert wording.machine(gpu) == "X, 16 cores; 1 × H100"
    assert wording.machine({"hardware": "an abacus"}) == "an abacus"
