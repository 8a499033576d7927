"""Colours and type that figures and pages share, and SVG that follows the reader's colour scheme.

A figure is drawn once, in the light colours. Inside a page every colour becomes a CSS variable of
the same role, so that the one drawing is right on light and on dark paper.
"""

import io
import warnings
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

LIGHT = {
    "paper": "#ffffff",
    "ink": "#1c2024",
    "muted": "#5f6870",
    "rule": "#dfe3e6",
    "heat": "#0a4a8c",
    "series-0": "#1a76d2",
    "series-1": "#cc4810",
    "series-2": "#006b50",
    "series-3": "#8e3090",
    "series-4": "#463c00",
    "series-5": "#5d6b78",
    "series-6": "#b8124e",
}
"""By role. The first five series are told apart with any of the common colour blindnesses, markers
and dashes tell more than five apart, and text in each is readable on the paper."""

DARK = LIGHT | {
    "paper": "#15181b",
    "ink": "#e8eaec",
    "muted": "#9aa4ad",
    "rule": "#33393f",
    "series-0": "#4aa3f5",
    "series-1": "#e8703a",
    "series-2": "#3fd9a8",
    "series-3": "#f2a0d4",
    "series-4": "#f9e04a",
    "series-5": "#a3b1bf",
    "series-6": "#ff7f9f",
}
"""The same roles on dark paper. Heat stays: it lives in bitmaps, which a CSS filter inverts."""

SANS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
MARKERS = "osD^vPX"
SERIES = 7
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.5)))

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "attn",
    "text.parse_math": False,
    "font.size": 12,
    "text.color": LIGHT["ink"],
    "axes.edgecolor": LIGHT["rule"],
    "axes.labelcolor": LIGHT["muted"],
    "axes.titlecolor": LIGHT["ink"],
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 12,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": LIGHT["rule"],
    "grid.linewidth": 0.8,
    "xtick.color": LIGHT["muted"],
    "ytick.color": LIGHT["muted"],
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "lines.linewidth": 2.2,
    "lines.markersize": 6,
    "savefig.transparent": True,
}


def series(position: int) -> dict[str, Any]:
    """Colour, marker and dashes of the model at a position; no two of the first 21 are alike."""
    return {
        "color": LIGHT[f"series-{position % SERIES}"],
        "marker": MARKERS[position % len(MARKERS)],
        "linestyle": DASHES[position // SERIES % len(DASHES)],
    }


def draw(width: float | int, height: float | int, paint: Callable[[Figure], None]) -> Figure:
    """A figure of so many CSS pixels, painted in the house style.

    The style must hold while the figure is painted and while it is saved: use with `to_svg`,
    `save_svg` or `save_png`.
    """
    with matplotlib.rc_context(_STYLE):
        # One point of matplotlib's SVG is one user unit, hence one CSS pixel.
        figure = Figure(figsize=(width / 72, height / 72), dpi=72)
        FigureCanvasAgg(figure)
        paint(figure)
    return figure


def to_svg(figure: Figure, name: str, description: str) -> str:
    """The figure as an SVG element for a page that defines the variables of `variables()`.

    Args:
        figure: from `draw`.
        name: unique in the page; the SVG's ids start with it.
        description: read out to those who don't see the figure.
    """
    root = _tree(figure)
    width, height = (float(root.attrib[side].removesuffix("pt")) for side in ("width", "height"))
    for element in root.iter():
        for attribute, value in element.attrib.items():
            if attribute == "id":
                element.set(attribute, f"{name}-{value}")
            elif attribute == "href":
                element.set(attribute, value.replace("#", f"#{name}-", 1))
            elif attribute in ("style", "clip-path"):
                element.set(attribute, _themed(value.replace("url(#", f"url(#{name}-")))
    root.attrib = {
        "viewBox": f"0 0 {width:g} {height:g}",
        "role": "img",
        "aria-label": description,
        "style": f"width: {width:g}px",
    }
    return ElementTree.tostring(root, encoding="unicode")


def save_svg(figure: Figure, path: Path, description: str) -> None:
    """The figure as an SVG file that stands alone and follows the reader's colour scheme."""
    root = ElementTree.fromstring(to_svg(figure, "figure", description))
    root.set("xmlns", "http://www.w3.org/2000/svg")
    style = ElementTree.Element("style")
    style.text = (
        f":root {{{variables(LIGHT)}}} text {{font-family: {SANS}}} "
        f"@media (prefers-color-scheme: dark) {{:root {{{variables(DARK)}}}}}"
    )
    paper = {"width": "100%", "height": "100%", "rx": "6", "fill": "var(--paper)"}
    root[:0] = [style, ElementTree.Element("rect", paper)]
    path.write_text(ElementTree.tostring(root, encoding="unicode"), encoding="utf-8")


def save_png(figure: Figure, path: Path) -> None:
    """The figure as a PNG on light paper, two image pixels to a CSS pixel."""
    with matplotlib.rc_context(_STYLE), _no_glyph_warnings():
        figure.savefig(path, dpi=144, facecolor=LIGHT["paper"], transparent=False)


def variables(colours: dict[str, str]) -> str:
    """The colours as CSS custom properties."""
    return " ".join(f"--{role}: {colour};" for role, colour in colours.items())


def _tree(figure: Figure) -> ElementTree.Element:
    """Matplotlib's SVG without namespaces, metadata and style sheet; its texts are left texts."""
    stream = io.StringIO()
    with matplotlib.rc_context(_STYLE), _no_glyph_warnings():
        figure.savefig(stream, format="svg", metadata={"Date": None})
    root = ElementTree.fromstring(stream.getvalue())
    for parent in list(root.iter()):
        parent.tag = _plain(parent.tag)
        parent.attrib = {_plain(name): value for name, value in parent.attrib.items()}
        for child in list(parent):
            if _plain(child.tag) in ("metadata", "style"):
                parent.remove(child)
    return root


def _plain(name: str) -> str:
    """A name of XML without its namespace."""
    return name.rpartition("}")[2]


def _themed(style: str) -> str:
    """A style whose colours are roles, and whose font is that of the page."""
    for role, colour in LIGHT.items():
        style = style.replace(colour, f"var(--{role})")
    kept = (rule for rule in style.split("; ") if not rule.startswith("font-family"))
    return "; ".join(kept)


def _no_glyph_warnings() -> warnings.catch_warnings:
    """Matplotlib measures text in its own font and warns where that lacks a letter. The reader's
    browser draws the text, with fonts of its own."""
    return warnings.catch_warnings(action="ignore", category=UserWarning)
