"""Heat map: a result over a grid of two parameters."""

from __future__ import annotations

import math
from typing import Any

import altair as alt
import numpy as np
import polars as pl

from workbench.charts import theme
from workbench.charts.frames import DIGITS, figure
from workbench.charts.rows import pixels
from workbench.charts.varied import Varied, named, short, with_value
from workbench.errors import InputError

CELLS = 60  #: levels of an axis that a picture tells apart
WRITTEN = 12  #: columns of cells that have room for their number
HEIGHT = 22, 40, 380  #: px of a row at least and at most, and of all rows
SHADES = ["#F0F6FA", "#B9D7EA", "#6BAED6", "#2171B5", "#08306B"]  #: one hue from light to dark: also on grey printers
NONE = "#F3E4DC"  #: of a cell whose runs gave no value
ON_LIGHT = "#222B35"  #: letters on a light cell, which pages leave dark by night


def heatmap(
    frame: pl.DataFrame, *, x: str, y: str, value: str, x_unit: str, y_unit: str, unit: str, title: str, subtitle: str
) -> alt.LayerChart:
    """Heat map: one cell a pair of levels, dark where the value is high, with its number where there is room.

    `frame` has a row a run; runs of the same cell are averaged, and a cell whose runs have no value is marked. `x` and `y` are columns of
    parameters, numbers or texts (more than 60 different numbers are put into 60 bins, which the subtitle says, as many texts refused),
    `value` a number; the units are what axes and colours show.
    """
    result = Varied.of(with_value(frame, x, y, value), value, unit)
    columns = [Varied.of(frame, name, label) for name, label in ((x, x_unit), (y, y_unit))]
    (across, names_x), (up, names_y) = (_levels(column) for column in columns)
    if any(c.count > CELLS for c in columns):
        subtitle = f"{subtitle} Numbers in bins, the mean of each is shown."
    cells = pl.DataFrame({"x": across, "y": up, "value": frame[value].cast(pl.Float64)}).group_by("x", "y", maintain_order=True)
    data = cells.agg(pl.col("value").mean().round_sig_figs(DIGITS), pl.len().alias("runs")).with_columns(
        text=pl.col("value").map_elements(short, return_dtype=pl.String).fill_null("\N{MULTIPLICATION X}")
    )
    written = len(names_x) <= WRITTEN and len(names_y) <= HEIGHT[2] // HEIGHT[0]
    low, high = result.shades["domain"]
    middle = math.sqrt(low * high) if result.log else (low + high) / 2

    scale = alt.Scale(round=True, padding=0)
    xs = alt.X("x:O", sort=names_x, title=x_unit, axis=_axis(names_x, 45), scale=scale)
    down = names_y[::-1] if columns[1].numeric else names_y
    ys = alt.Y("y:O", sort=down, title=y_unit, axis=_axis(names_y, 18, 0), scale=scale)
    size: Any = {"gradientLength": 200, "gradientThickness": 10, "tickCount": 3, "titleLimit": 0}
    legend = alt.Legend(title=unit, labelExpr=f"format(datum.value, '.3~{'s' if high >= 1e5 else 'r'}')", **size)
    color = alt.Color("value:Q", title=None, legend=legend).scale(alt.Scale(**result.shades, range=SHADES, nice=False))
    tooltip = [alt.Tooltip(field, title=title) for field, title in (("x:N", x_unit), ("y:N", y_unit), ("text:N", unit), ("runs:Q", "runs"))]
    hover = alt.selection_point(name="hover", fields=["x", "y"], on="pointerover", clear="pointerout", empty=False)
    base = alt.Chart(data).encode(x=xs, y=ys, tooltip=tooltip)
    valued = (
        base.transform_filter("datum.value !== null")
        .mark_rect()
        .encode(
            color=color,
            stroke=alt.condition(hover, alt.value(theme.VERMILLION), alt.value("white")),
            strokeWidth=alt.condition(hover, alt.value(2), alt.value(1 if written else 0)),
        )
    )
    layers = [base.transform_filter("datum.value === null").mark_rect(color=NONE), valued.properties(name="cells").add_params(hover)]
    if written:
        dark = f"datum.value === null ? '{theme.VERMILLION}' : datum.value > {middle:.6g} ? 'white' : '{ON_LIGHT}'"
        layers.append(base.transform_calculate(ink=dark).mark_text().encode(text="text:N", color=alt.Color("ink:N", scale=None)))
    best = data.filter(pl.col("value").is_not_null()).sort("value")
    ends = (f"{figure(cell['value'])} at {cell['x']} and {cell['y']}" for cell in (best.row(i, named=True) for i in (0, -1)))
    missing = f"; {n} cells without a value" if (n := data["value"].null_count()) else ""
    width = theme.WIDTH - 22 - min(max(map(pixels, names_y)) + 40, 200)
    height = min(HEIGHT[2], len(names_y) * HEIGHT[1]) if written else HEIGHT[2]
    chart = alt.LayerChart(layer=layers, width=width, height=height).resolve_scale(color="independent")
    said = f"Heat map of {unit} over {x_unit} and {y_unit}: lowest {', highest '.join(ends)}{missing}."
    return theme.finish(chart, title, subtitle, said)


def _levels(column: Varied) -> tuple[pl.Series, list[str]]:
    """The level of each row, and all levels in order: those of the column, or bins of its numbers."""
    codes, names = column.codes, column.levels
    if column.count > CELLS:
        if not column.numeric:
            raise InputError(f"{column.label}: {column.count} different texts: a picture tells {CELLS} apart")
        codes = (column.places() * CELLS).floor().clip(0, CELLS - 1).cast(pl.Int64)
        ends = (np.geomspace if column.log else np.linspace)(column.low, column.high, 2 * CELLS + 1)
        names = named(ends[1::2].tolist())
    return codes.replace_strict(range(len(names)), names, return_dtype=pl.String), names


def _axis(names: list[str], room: int, angle: int | None = None) -> alt.Axis:
    """Labels of cells, as many as have room."""
    every = -(-len(names) * room // (HEIGHT[2] if angle == 0 else theme.WIDTH - 100))
    if angle is None:
        angle = 0 if max(map(pixels, names)) < (theme.WIDTH - 100) / max(1, len(names[::every])) else -40
    return alt.Axis(values=names[::every], labelAngle=angle, grid=False, ticks=False, labelLimit=160)
