from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from experiments.ablations.figures import Plot, Series, paint
from experiments.errors import InputError
from experiments.reports import theme

NAMES = ("dot", "additive", "concat, with a learned map of both sides", "no attention")


def _lines(n: int = 6, **changes) -> Plot:
    """Curves that end close together, with long names."""
    series = [
        Series(f"variant {k}, whose name goes on for long", [1, 2, 4], [1, 2, 3 + k / 100])
        for k in range(n)
    ]
    return replace(Plot("A title that needs several lines on a phone", "x", "y", series), **changes)


def _points() -> Plot:
    ours = Series("ours", range(4), [1, 2, 3, 4], [0, 1, 2, 3], [2, 3, 4, 5])
    paper = Series("a paper, on data of its own, as it was published", [0, 1], [2, 2], paper=True)
    return Plot("Scores", "function", "NLL", [ours, paper], x_ticks=NAMES, kind="points")


def _paper() -> Plot:
    return Plot("The paper", "x", "BLEU", [Series("RNN", [1, 2], [3, 4], paper=True)])


def _texts(figure: Figure) -> list[Bbox]:
    """Where the texts that the figure shows are, without the arrows of some."""
    figure.draw_without_rendering()
    texts = [*figure.texts, *(text for legend in figure.legends for text in legend.get_texts())]
    for axes in figure.axes:
        texts += axes.texts
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            ticks = axis.get_major_ticks()
            texts += [axis.label, *(t.label1 for t in ticks if low <= t.get_loc() <= high)]
    return [Text.get_window_extent(text) for text in texts if text.get_text()]


@pytest.mark.parametrize("width", [400, 1160])
@pytest.mark.parametrize(
    "plots",
    [
        [_lines(), _paper()],
        [_lines(12, x_log=True, y_log=True)],
        [_lines(2, x_ticks=[f"a condition called {n}" for n in range(5)]), _points()],
        [_points()],
    ],
)
def test_texts_neither_overlap_nor_leave_the_picture(plots: list[Plot], width: int) -> None:
    figure = paint(plots, width)
    boxes = _texts(figure)
    right, top = figure.get_size_inches() * 72
    assert right == pytest.approx(width)
    for box in boxes:
        assert box.x0 >= -1
        assert box.x1 <= right + 1
        assert box.y0 >= -1
        assert box.y1 <= top + 1
    # Boxes of a font reach above and below its letters.
    letters = [Bbox.from_extents(b.x0, b.y0 + 2.5, b.x1, b.y1 - 2.5) for b in boxes]
    assert not [pair for pair in combinations(letters, 2) if pair[0].overlaps(pair[1])]


def test_panels_stand_beside_each_other_where_there_is_room() -> None:
    wide = [axes.get_position() for axes in paint([_lines(), _paper()], 1160).axes]
    narrow = [axes.get_position() for axes in paint([_lines(), _paper()], 400).axes]
    assert wide[0].x1 < wide[1].x0
    assert narrow[0].y0 > narrow[1].y1


def test_panels_that_do_not_fit_in_one_row_are_shared_among_rows() -> None:
    places = [axes.get_position() for axes in paint([_lines()] * 3 + [_paper()], 1160).axes]
    assert places[0].x1 < places[1].x0
    assert places[2].x1 < places[3].x0
    assert places[0].y0 == places[1].y0 > places[2].y1 == places[3].y1


def test_the_papers_numbers_are_grey_open_and_dashed() -> None:
    ours = Series("ours", [1, 2], [1, 2], [0.5, 1.5], [1.5, 2.5])
    figure = paint(Plot("t", "x", "y", [ours, Series("p", [1, 2], [2, 3], paper=True)]), 600)
    first, second = figure.axes[0].get_lines()
    assert first.get_color() == theme.series(0)["color"]
    assert second.get_color() == theme.LIGHT["muted"]
    assert second.get_markerfacecolor() == theme.LIGHT["paper"]
    assert second.get_linestyle() == "--"
    assert len(figure.axes[0].collections) == 1  # the band of ours


def test_a_label_has_one_colour_in_all_panels() -> None:
    one, other = (Series(name, [1, 2], [1, 2]) for name in ("one", "other"))
    figure = paint([Plot("t", "x", "y", [one, other]), Plot("u", "x", "y", [other])], 1000)
    left, right = (axes.get_lines()[-1].get_color() for axes in figure.axes)
    assert left == right == theme.series(1)["color"]


def test_points_show_their_intervals() -> None:
    axes = paint(_points(), 700).axes[0]
    (bars,) = axes.collections
    assert [list(segment[:, 0]) for segment in bars.get_segments()] == [
        [0, 2], [1, 3], [2, 4], [3, 5]
    ]  # fmt: skip
    assert [label.get_text().replace("\n", " ") for label in axes.get_yticklabels()] == [*NAMES]


def test_numbers_of_a_logarithmic_axis_are_those_measured() -> None:
    widths = [16, 32, 64, 128, 256, 512, 1024]
    plot = Plot("t", "d_k", "loss", [Series("dot", widths, range(1, 8))], x_log=True)
    ticks = paint(plot, 800).axes[0].get_xticklabels()
    assert [tick.get_text() for tick in ticks] == ["16", "32", "64", "128", "256", "512", "1024"]


def test_pictures_can_be_saved(tmp_path: Path) -> None:
    theme.save_png(paint(_points(), 400), tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    svg = theme.to_svg(paint([_lines(), _paper()], 800), "a", "two panels")
    assert "var(--series-0)" in svg
    assert "whose name" in svg


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Series("a", [1, 2], [1]), r"y of 'a' has 1 values, x 2; expected the same"),
        (lambda: Series("a", [], []), r"x of 'a' has 0 values"),
        (lambda: Series("a", [1], [1], low=[0]), r"low and high of 'a': one is None"),
        (lambda: Plot("t", "x", "y", []), r"series of 't' is empty"),
        (lambda: _lines(kind="points"), r"x_ticks of .* is None; expected a name for each point"),
        (lambda: _lines(x_ticks=["a"]), r"x of 'variant 0.* is \[1, 2, 4\]; expected 0 to 0"),
        (lambda: _lines(x_ticks=[*"abcde"], x_log=True), r"x_log of .* is True; expected False"),
        (
            lambda: Plot("t", "x", "y", [Series("a", [1], [0])], y_log=True),
            r"y of 'a' is not above 0, on a log axis",
        ),
        (lambda: paint([], 800), r"plots is empty; expected at least one"),
    ],
)
def test_what_cannot_be_drawn_is_refused(make, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()
