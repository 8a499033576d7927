"""One suite for people: a self-contained page, and the same in Markdown."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from experiments.ablations import tables, wording
from experiments.ablations.figures import Plot, paint
from experiments.ablations.markdown import escape, from_table
from experiments.ablations.papers import Published
from experiments.ablations.results import Results, read
from experiments.errors import InputError
from experiments.reports import theme
from experiments.reports.pages import environment
from experiments.training.folder import write_text

_WIDE, _NARROW = 1160, 400
"""The picture is drawn for a desk and for a phone; widths in CSS pixels."""


@dataclass(frozen=True)
class Presentation:
    """What a suite's page shows beside its results."""

    figure: Callable[[Results], Sequence[Plot]]
    published: Sequence[Published]
    effect: str
    """What the papers found, in a line."""


def write_pages(folder: Path, presentation: Presentation) -> Path:
    """Writes `report.html` and `summary.md` from the folder's `results.json`.

    Both are made before the first is written, and each file is whole or as it was before.

    Returns:
        The path of `report.html`.

    Raises:
        InputError: the results are not what they should be, or a page cannot be written.
    """
    results = read(folder / "results.json")
    page, markdown = render(results, presentation), summarize(results, presentation)
    write_text(folder / "summary.md", markdown)
    write_text(folder / "report.html", page)
    return folder / "report.html"


def render(results: Results, presentation: Presentation) -> str:
    """The page as text. A picture that lacks a variant, for its runs failed, is left out with the
    reason."""
    pictures, undrawn = _pictures(results, presentation)
    return (
        environment()
        .get_template("ablation.html")
        .render(
            light=theme.variables(theme.LIGHT),
            dark=theme.variables(theme.DARK),
            sans=theme.SANS,
            results=results,
            title=wording.sentence(results.claim),
            summary=wording.summary(results),
            effect=presentation.effect,
            pictures=pictures,
            undrawn=undrawn,
            contrasts=tables.contrasts_table(results),
            variants=tables.variants_table(results),
            quantities=tables.quantity_tables(results),
            published=tables.published_table(presentation.published),
            failures=tables.failures_table(results),
            minutes=wording.minutes(results.seconds),
            hardware="; ".join(f"{name}: {value}" for name, value in results.hardware.items()),
            versions=wording.named(results.versions),
        )
    )


def summarize(results: Results, presentation: Presentation) -> str:
    """The suite in Markdown: claim, verdict, tables, and how to make it again."""
    parts = [
        f"# {results.suite}: {results.verdict}",
        f"{escape(wording.sentence(results.claim))}. {escape(wording.summary(results))}",
        f"The papers: {escape(presentation.effect)}.",
        "## Contrasts",
        from_table(tables.contrasts_table(results)),
        "## Scores",
    ]
    for caption, table in tables.quantity_tables(results):
        parts += [f"{escape(caption)}:", from_table(table)]
    parts += ["## Variants", from_table(tables.variants_table(results))]
    if presentation.published:
        published = tables.published_table(presentation.published)
        parts += ["## Published", from_table(published)]
    if results.failed:
        parts += ["## Failed runs", from_table(tables.failures_table(results))]
    parts += [
        "## How to make it again",
        f"```\n{results.command}\n```",
        f"{wording.minutes(results.seconds)} minutes on {escape(wording.machine(results.hardware))}"
        f", {results.date}; code {escape(results.code)}; "
        f"{escape(wording.named(results.versions))}.",
    ]
    return "\n\n".join(parts) + "\n"


def _pictures(results: Results, presentation: Presentation) -> tuple[dict[str, Markup], str]:
    """The picture at each width, by the width's name; or none and why."""
    try:
        plots = presentation.figure(results)
        figures = {"wide": paint(plots, _WIDE), "narrow": paint(plots, _NARROW)}
    except InputError as error:
        return {}, str(error)
    text = f"{results.suite}: {'; '.join(plot.title for plot in plots)}. The numbers are below."
    return {name: Markup(theme.to_svg(it, name, text)) for name, it in figures.items()}, ""
