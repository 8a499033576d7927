"""Tables in Markdown."""

from collections.abc import Sequence

from experiments.reports.tables import Cell, Table


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in GitHub's Markdown; what would break it is escaped."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(
        "| " + " | ".join(cell if n == 1 else escape(cell) for cell in line) + " |"
        for n, line in enumerate(lines)
    )


def from_table(cells: Table) -> str:
    """A table of a page, each cell's note behind its text."""
    return table(
        [_flat(column) for column in cells.columns],
        [[_flat(cell) for cell in row] for row in cells.rows],
    )


def escape(text: str) -> str:
    """Text as one cell: pipes, angle brackets and line breaks lose their meaning."""
    for sign, safe in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "\\|"), ("\n", " ")):
        text = text.replace(sign, safe)
    return text.strip()


def _flat(cell: Cell) -> str:
    """A cell in one line: an interval follows its value, other notes stand in brackets."""
    text, note = (part.strip().replace("\n", "; ") for part in (cell.text, cell.note))
    if note and not note.startswith("["):
        note = f"({note})"
    return f"{text} {note}".strip()
