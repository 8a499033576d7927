"""One self-contained page from a comparison's folder: no script, nothing fetched."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from experiments.errors import InputError
from experiments.reports import figures, headline, tables, theme
from experiments.reports.evidence import Evidence, read_evidence
from experiments.reports.heads_page import write_heads
from experiments.reports.maps import attention_map, labels, lay_out, shared_items
from experiments.reports.outputs import examples
from experiments.reports.pages import environment
from experiments.reports.results import Metric
from experiments.reports.summary import Summary, summarize

REPORT = "report.html"
_MAPS, _EXAMPLES = 6, 8
"""Test items shown at most, with attention maps and with outputs."""
_WIDTH, _GAP = 1160, 24
"""Of the page's text and between figures that stand beside each other, in CSS pixels."""


@dataclass(frozen=True)
class Picture:
    """A figure of the page: its SVG, and what it is called."""

    svg: Markup
    label: str
    series: int | None = None
    """The model's position, for its colour."""
    note: str = ""


@dataclass(frozen=True)
class MapRow:
    """Attention maps of one test item."""

    source: str
    columns: int
    pictures: list[Picture]


@dataclass(frozen=True)
class HeadsLink:
    """A page that shows what every head of a run looks at."""

    name: str
    address: str
    sentence: str


def write_report(folder: Path) -> Path:
    """Writes `folder/report.html` from what is in the folder and nothing else.

    A run that kept the maps of its heads gets a `heads.html` beside them, and the report a link.

    Args:
        folder: of a comparison (`results.json` and run folders) or of a single run.

    Returns:
        The page's path.

    Raises:
        InputError: the folder is neither, a file in it is not what it should be, or the page
            cannot be written.
    """
    evidence = read_evidence(folder)
    found = {place: write_heads(place) for place in evidence.places.values()}
    heads = [
        HeadsLink(place.name, page.path.relative_to(folder).as_posix(), page.sentence)
        for place, page in found.items()
        if page is not None
    ]
    text = render(evidence, heads)
    path = folder / REPORT
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error})") from error
    return path


def render(evidence: Evidence, heads: Sequence[HeadsLink] = ()) -> str:
    """The page as text, with links to pages of heads."""
    results, unit = evidence.results, evidence.length_unit
    summaries, metrics = summarize(results), results.metrics
    different, shared = tables.differences(evidence, summaries)
    several_seeds = any(len(summary.runs) > 1 for summary in summaries)
    outputs = {
        summary.model: files.outputs
        for summary in summaries
        if (files := evidence.files[summary.model, summary.runs[0].seed]).outputs
    }
    written = {
        model: items for model, items in outputs.items() if any(item.hypothesis for item in items)
    }
    template = environment().get_template("report.html")
    return template.render(
        heads=heads,
        light=theme.variables(theme.LIGHT),
        dark=theme.variables(theme.DARK),
        sans=theme.SANS,
        results=results,
        unit=unit,
        several_seeds=several_seeds,
        seeds=sorted({run.seed for run in results.runs}),
        title=headline.title(results, unit),
        sentences=headline.sentences(results, unit),
        position={summary.model: n for n, summary in enumerate(summaries)},
        results_table=tables.results_table(summaries, metrics),
        seeds_table=tables.seeds_table(summaries, metrics) if several_seeds else None,
        length_tables=[
            (metric.heading, tables.length_table(summaries, metric, unit)) for metric in metrics
        ],
        lengths=_length_pictures(summaries, metrics, unit),
        curves=_curve_pictures(evidence, summaries),
        paired=_paired_picture(evidence, metrics[0]),
        paired_table=tables.paired_table(results.paired),
        maps=_map_pictures(evidence, summaries),
        unmapped=[s.model for s in summaries if s.attends is False],
        examples=examples(written, _EXAMPLES),
        undecoded=bool(outputs) and not written,
        different=different,
        absent=tables.ABSENT,
        shared=shared,
        costs=tables.costs_table(results.runs),
        signatures=_signatures(evidence),
        decodings=list(dict.fromkeys(run.decoding for run in results.runs)),
        free=[metric.label for metric in metrics if not metric.forced],
        forced=[metric.label for metric in metrics if metric.forced],
        missing=evidence.missing,
    )


def _length_pictures(
    summaries: tuple[Summary, ...], metrics: Sequence[Metric], unit: str
) -> list[Picture]:
    """The main metric large, the others small; nothing where sources have no lengths apart."""
    if len(summaries[0].by_length) < 2:
        return []
    pictures = []
    # Perplexity is left to the tables: its picture is that of the NLL, stretched.
    for n, metric in enumerate(m for m in metrics if m.name != "perplexity"):
        width, height = (_WIDTH, 440) if n == 0 else ((_WIDTH - _GAP) // 2, 310)
        figure = figures.score_by_length(summaries, metric, unit, width, height)
        said = "; ".join(
            f"{s.model} " + ", ".join(metric.write(b.test[metric.name].value) for b in s.by_length)
            for s in summaries
        )
        text = f"{metric.label} by source length, from short to long. {said}"
        pictures.append(Picture(_svg(figure, f"length-{metric.name}", text), metric.label))
    return pictures


def _curve_pictures(evidence: Evidence, summaries: tuple[Summary, ...]) -> list[Picture]:
    """Losses against examples and against seconds; nothing where no run left its losses."""
    curves = {}
    for summary in summaries:
        files = [evidence.files[run.model, run.seed] for run in summary.runs]
        curves[summary.model] = [(f.train or (), f.validation or ()) for f in files]
    if not any(train or validation for seeds in curves.values() for train, validation in seeds):
        return []
    pictures = []
    for against in ("examples", "seconds"):
        figure = figures.training_curves(curves, against, (_WIDTH - _GAP) // 2, 360)
        text = f"Validation and training loss of each model against {against}"
        pictures.append(Picture(_svg(figure, f"curves-{against}", text), against))
    return pictures


def _paired_picture(evidence: Evidence, metric: Metric) -> Picture | None:
    pairs = [pair for pair in evidence.results.paired if pair.metric == metric.name]
    if not pairs:
        return None
    figure = figures.paired_differences(pairs, metric, 820)
    text = f"Paired differences in {metric.label} with 95% intervals; the numbers are in the table"
    return Picture(_svg(figure, "paired", text), metric.label)


def _map_pictures(evidence: Evidence, summaries: tuple[Summary, ...]) -> list[MapRow]:
    """For each item the map of every model that has one."""
    maps = {
        summary.model: alignments
        for summary in summaries
        if (alignments := evidence.files[summary.model, summary.runs[0].seed].alignments)
    }
    position = {summary.model: n for n, summary in enumerate(summaries)}
    rows = []
    for row, source in enumerate(shared_items(maps, _MAPS)):
        firsts = {
            model: next((item for item in alignments if item.source == source), None)
            for model, alignments in maps.items()
        }
        found = {model: item for model, item in firsts.items() if item is not None}
        layout = lay_out(list(found.values()), _WIDTH, _GAP)
        pictures = []
        for model, item in found.items():
            text = f"Attention of {model}: each of {' '.join(item.target)} over {' '.join(source)}"
            figure = attention_map(item, layout.cell, layout.left)
            svg = _svg(figure, f"map-{row}-{position[model]}", text)
            pictures.append(Picture(svg, model, position[model], item.shown))
        rows.append(MapRow(_as_text(source, evidence), layout.columns, pictures))
    return rows


def _as_text(tokens: Sequence[str], evidence: Evidence) -> str:
    """The test item's source that the tokens were cut from; the tokens themselves where the
    outputs hold no such item."""
    joined = "".join(tokens).replace("▁", "")
    outputs = next((files.outputs for files in evidence.files.values() if files.outputs), ())
    found = []
    for output in outputs:
        text = output.source.replace(" ", "")
        # What may follow is a special token such as "</s>".
        if joined.startswith(text) and joined[len(text) : len(text) + 1] in ("", "<"):
            found.append(output.source)
    return max(found, key=len, default=" ".join(labels(tokens)))


def _signatures(evidence: Evidence) -> Mapping[str, str]:
    """sacreBLEU's signatures; the same for all runs of a comparison."""
    found: dict[str, Any] = {}
    for files in evidence.files.values():
        found |= files.signatures
    return found


def _svg(figure: Any, name: str, description: str) -> Markup:
    return Markup(theme.to_svg(figure, name, description))
