"""RESULTS.md: what became of every suite, and the short table for the README."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from experiments.ablations import wording
from experiments.ablations.markdown import escape, from_table, table
from experiments.ablations.results import Results, read
from experiments.ablations.tables import contrasts_table
from experiments.errors import InputError
from experiments.training.folder import write_text


def write_results(folder: Path, out: Path, effects: Mapping[str, str]) -> None:
    """Writes RESULTS.md, whole or not at all.

    Args:
        folder: of `SUITE-BUDGET.json` files, and of no other JSON.
        out: the file to be written.
        effects: what each suite's papers found, in a line; suites come in this order.

    Raises:
        InputError: there are no results, a file is not what it should be or says another suite or
            budget than its name, a suite has no effect, or `out` cannot be written.
    """
    paths = sorted(folder.glob("*.json"))
    if not paths:
        raise InputError(f"{folder} holds no results; expected SUITE-BUDGET.json files")
    found = []
    for path in paths:
        results = read(path)
        expected = f"{results.suite}-{results.budget}.json"
        if path.name != expected:
            raise InputError(f"{path} is named otherwise than what it holds; expected {expected}")
        found.append(results)
    write_text(out, render(found, effects))


def render(results: Sequence[Results], effects: Mapping[str, str]) -> str:
    """RESULTS.md as text: a table of all suites, then each with its contrasts.

    Raises:
        InputError: a suite has no effect.
    """
    ordered = _ordered(results, effects)
    heads = (
        "suite", "claim", "the papers", "ours [95% interval]", "verdict", "command", "minutes",
        "hardware", "versions", "date", "code",
    )  # fmt: skip
    rows = [_row(result, effects[result.suite]) for result in ordered]
    parts = [
        "# Results",
        "Each suite puts a claim to the test. Ours is the value of the deciding contrast, above "
        "its threshold where the claim is so. Intervals are of a bootstrap over seeds and items "
        "together. Our data and models are small: compare direction and ratio with the papers, "
        "never absolute scores.",
        _with_links(table(heads, rows), ordered),
        *(_section(result) for result in ordered),
    ]
    return "\n\n".join(parts) + "\n"


def readme_table(results: Sequence[Results], effects: Mapping[str, str]) -> str:
    """The verdicts alone, for the README; suites in the order of `effects`.

    Raises:
        InputError: a suite has no effect.
    """
    rows = [
        (_label(result), wording.sentence(result.claim), result.verdict, _ours(result))
        for result in _ordered(results, effects)
    ]
    return table(("suite", "claim", "verdict", "ours [95% interval]"), rows)


def _ordered(results: Sequence[Results], effects: Mapping[str, str]) -> list[Results]:
    order = list(effects)
    for result in results:
        if result.suite not in effects:
            raise InputError(f"effects has no {result.suite!r}; expected a line for each suite")
    return sorted(results, key=lambda result: (order.index(result.suite), result.budget))


def _row(results: Results, effect: str) -> tuple[str, ...]:
    versions = {
        name: results.versions[name] for name in ("python", "jax") if name in results.versions
    }
    return (
        _label(results),
        wording.sentence(results.claim),
        effect,
        _ours(results),
        results.verdict,
        f"`{results.command}`",
        wording.minutes(results.seconds),
        wording.machine(results.hardware),
        wording.named(versions),
        results.date,
        results.code,
    )


def _ours(results: Results) -> str:
    deciding = results.contrasts[0]
    return f"{deciding.name}: {wording.estimate(deciding.value, deciding.interval)}"


def _label(results: Results) -> str:
    return f"{results.suite} ({results.budget})"


def _with_links(text: str, results: Sequence[Results]) -> str:
    """The table whose suites lead to their sections."""
    for result in results:
        label = _label(result)
        link = f"[{label}](#{result.suite}-{result.budget})"
        text = text.replace(f"\n| {label} |", f"\n| {link} |", 1)
    return text


def _section(results: Results) -> str:
    parts = [
        f"## {_label(results)}",
        f"{escape(wording.sentence(results.claim))}: **{results.verdict}**. "
        f"{escape(wording.summary(results))}",
        from_table(contrasts_table(results)),
    ]
    if results.failed:
        runs = ", ".join(f"{failure.variant} (seed {failure.seed})" for failure in results.failed)
        parts.append(f"Failed: {escape(runs)}.")
    return "\n\n".join(parts)
