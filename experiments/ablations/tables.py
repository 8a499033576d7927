"""The tables of one suite, as rows of cells that a page and Markdown can show."""

from collections.abc import Mapping, Sequence

from experiments.ablations import wording
from experiments.ablations.papers import Published
from experiments.ablations.results import AT, Quantity, Results
from experiments.reports.tables import Cell, Table

_COLUMNS = 8
"""Quantities stand in columns up to so many; more of them stand in rows."""


def contrasts_table(results: Results) -> Table:
    """What the claim says, piece by piece, and what became of it."""
    heads = (
        Cell("contrast", "falsified if"),
        Cell("value", "95% interval"),
        Cell("expected above", "by what matters"),
        Cell("p"),
        Cell("p, Holm"),
        Cell("outcome"),
    )
    rows = []
    for contrast in results.contrasts:
        value, _, bounds = wording.estimate(contrast.value, contrast.interval).partition(" ")
        rows.append(
            (
                Cell(contrast.name, f"Falsified if {contrast.falsifier}"),
                Cell(value, bounds),
                Cell(f"{contrast.threshold:g}", f"by {contrast.matters:g}"),
                Cell(wording.probability(contrast.p)),
                Cell(wording.probability(contrast.p_holm)),
                Cell(wording.outcome(contrast)),
            )
        )
    return Table(heads, tuple(rows))


def variants_table(results: Results) -> Table:
    """What each variant is and cost."""
    rows = tuple(
        (
            Cell(variant.name, wording.named(variant.labels)),
            Cell(f"{variant.parameters:,}"),
            Cell(", ".join(map(str, variant.seeds))),
            Cell(wording.minutes(variant.train_seconds)),
        )
        for variant in results.variants
    )
    heads = (Cell("variant"), Cell("parameters"), Cell("seeds"), Cell("training", "minutes"))
    return Table(heads, rows)


def quantity_tables(results: Results) -> list[tuple[str, Table]]:
    """Variants by quantities: those without a condition in one table, then a table for each that
    has conditions; with a caption each."""
    names = list(dict.fromkeys(name for v in results.variants for name in v.quantities))
    plain = [name for name in names if AT not in name]
    bases = list(dict.fromkeys(name.partition(AT)[0] for name in names if AT in name))
    tables = [("Over all items", _grid(results, {name: name for name in plain}))] if plain else []
    for base in bases:
        columns = {n: n.partition(AT)[2] for n in names if n.startswith(base + AT)}
        tables.append((base, _grid(results, columns)))
    return tables


def published_table(published: Sequence[Published]) -> Table:
    """The papers' own numbers, with where they stand and how we know them."""
    rows = tuple(
        (
            Cell(f"{item.paper.authors} ({item.paper.year})", _place(item)),
            Cell(item.what, item.setting),
            Cell(item.unit),
            Cell("\n".join(f"{label}: {value:g}" for label, value in item.values.items())),
            Cell(wording.PROVENANCE[item.provenance]),
        )
        for item in published
    )
    heads = ("paper", "compared", "unit", "numbers", "known")
    return Table(tuple(map(Cell, heads)), rows)


def failures_table(results: Results) -> Table:
    """The runs that gave no scores."""
    rows = tuple(
        (Cell(failure.variant), Cell(str(failure.seed)), Cell(failure.error))
        for failure in results.failed
    )
    return Table((Cell("variant"), Cell("seed"), Cell("error")), rows)


def _place(item: Published) -> str:
    return f"{item.paper.title}, {item.where}" if item.where else item.paper.title


def _grid(results: Results, names: Mapping[str, str]) -> Table:
    """Scores of all variants in the quantities, which are headed as told."""
    scores = [[_cell(v.quantities.get(name)) for name in names] for v in results.variants]
    variants = [Cell(variant.name) for variant in results.variants]
    quantities = [Cell(heading) for heading in names.values()]
    if len(names) <= _COLUMNS:
        rows = [(variant, *row) for variant, row in zip(variants, scores, strict=True)]
        return Table((Cell("variant"), *quantities), tuple(rows))
    turned = zip(quantities, *scores, strict=True)
    return Table((Cell("quantity"), *variants), tuple(turned))


def _cell(quantity: Quantity | None) -> Cell:
    return Cell(wording.ABSENT) if quantity is None else Cell(*wording.score(quantity))
