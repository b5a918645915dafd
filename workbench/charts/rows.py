"""Horizontal bars, one a row: the room for their names on the left and for the texts beside them."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import altair as alt

from workbench.charts import theme
from workbench.charts.frames import DIGITS

HEIGHT, LINE = 34, 14  #: px of a row, and of a further line of its name
NAME = 28  #: characters a line of a name
GAP = 6  #: px between a bar and its text


def name(label: str) -> str:
    """`label` in lines short enough to stand beside the bars."""
    return "\n".join(textwrap.wrap(label, NAME)) or label


class Rows:
    """The vertical axis of rows, top to bottom, of names as `name` returns them, and the horizontal axis below their bars."""

    def __init__(self, names: Sequence[str]):
        lines = [line.split("\n") for line in names]
        self.width = theme.WIDTH - 22 - max(pixels(line) for row in lines for line in row)  #: px of the plot
        self.height = len(names) * (HEIGHT + LINE * max(0, max(map(len, lines)) - 2))
        shift = alt.ExprRef(f"-{LINE / 2} * (length(split(datum.label, '\\n')) - 1)")  # centres a name of several lines
        texts: Any = {"labelExpr": "split(datum.label, '\\n')", "labelOffset": shift, "labelLineHeight": LINE}
        axis = alt.Axis(**texts, labelPadding=8, labelLimit=0, ticks=False, title=None)
        self.y = alt.Y("row:N", sort=list(names), axis=axis).scale(paddingInner=0.28, paddingOuter=0.14)

    def look(self, unit: str, points: Sequence[tuple[float, float, float]], **more: Any) -> dict[str, Any]:
        """Scale and axis in which every point (x, left, right) has its room: x in the unit of the axis, the room on either side in px.

        With k pixels a unit, points i and j fit if k (x_i - x_j) + right_i + left_j <= width: the tightest pair sets k. The axis is a line
        with few marks, so that nothing runs through the texts.
        """
        fits = [
            max(self.width - right - left, self.width / 4) / (high - low)
            for high, _, right in points
            for low, left, _ in points
            if high > low
        ]
        k = min(fits, default=self.width)
        ends = min(x - left / k for x, left, _ in points), max(x + right / k for x, _, right in points)
        scale = alt.Scale(domain=[float(f"{end:.{DIGITS}g}") for end in ends], nice=False, **more)
        return {"scale": scale, "axis": alt.Axis(title=unit, tickCount=6, grid=False, domain=True)}


def room(text: str) -> float:
    """Pixels that `text` takes beside a bar."""
    return GAP + pixels(text) + 2


def pixels(text: str) -> float:
    """Width of `text` [px] in the theme's font, estimated from three kinds of letters."""
    widths = (0.28 if c in " .,:;'|!()[]/ijlftI" else 0.72 if c.isupper() or c in "mw%" else 0.56 for c in text)
    return theme.TEXT_SIZE * sum(widths)
