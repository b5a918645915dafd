"""All runs of a sweep: as points in small multiples, one panel per parameter, or as a heat map over two."""

import math
import textwrap
from collections.abc import Mapping
from typing import Any

import altair as alt
import numpy as np
import polars as pl

from workbench.charts import theme
from workbench.charts.frames import DIGITS, LABELS, Varied, figure, named, sample, short, with_value
from workbench.errors import InputError

PANELS, POINTS, MANY = 9, 500, 100  #: panels of a picture, points of a panel, and how many points call for small ones
PANEL, GAP, AXIS = 150, 26, 92  #: px of a panel's height, between panels, and of the vertical axis
NAME = 30  #: characters per line below a panel
#: Of a run, in an expression of Vega: whether it is among those that the parameter ``shown`` names, all if it names none.
SHOWN = "!length(shown) || indexof(shown, datum.row) >= 0"
CELLS = 60  #: levels of an axis that a picture tells apart
WRITTEN = 12  #: columns of cells that have room for their number
HEIGHT = 22, 40, 380  #: px of a row at least and at most, and of all rows
SHADES = ["#F0F6FA", "#B9D7EA", "#6BAED6", "#2171B5", "#08306B"]  #: one hue from light to dark: also on grey printers
NONE = "#F3E4DC"  #: of a cell whose runs gave no value
ON_LIGHT = "#222B35"  #: letters on a light cell, which pages leave dark by night


def multiples(
    frame: pl.DataFrame, *, axes: Mapping[str, str], value: str, unit: str, row: str, title: str, subtitle: str
) -> alt.ConcatChart:
    """Small multiples: a point per run, with the median and the middle four fifths of neighbours; runs without a value at the foot.

    A rectangle drawn in one panel highlights its runs in all. `frame` has a row per run, named by column `row`; `axes` says by column of
    a parameter (numbers or texts, at most nine) what its axis shows, `unit` what the numbers of column `value` are, missing where a run
    gave none. Of more than 500 rows a sample of points is drawn, which the subtitle says; medians are those of all rows.
    """
    if not 1 <= len(axes) <= PANELS:
        raise InputError(f"{len(axes)} panels: expected 1 to {PANELS}")
    good = with_value(frame, row, value)
    result = Varied.of(good, value, unit)
    drawn = sample(frame[value], POINTS)
    if len(drawn) < frame.height:
        subtitle = f"{subtitle} {len(drawn):,} of {frame.height:,} runs are drawn; medians and bands are those of all."
    columns = {f"axis {i}": Varied.of(frame, name, label) for i, (name, label) in enumerate(axes.items())}
    values = frame[value].cast(pl.Float64).round_sig_figs(DIGITS).alias("value")
    parameters = [column.plain.alias(field) for field, column in columns.items()]
    points = pl.DataFrame([frame[row].cast(pl.String).alias("row"), values, *parameters])[drawn]

    across = 2 if len(columns) == 4 else min(3, len(columns))
    width = round((theme.WIDTH - 14 - AXIS - (across - 1) * GAP) / across)
    height = PANEL if across > 1 else 2 * PANEL
    outer = alt.Axis(title=textwrap.wrap(unit, NAME), labelExpr=LABELS, tickCount=5)
    inner = alt.Axis(labels=False, ticks=False, title=None, tickCount=5)
    panels = []
    for i, (field, column) in enumerate(columns.items()):
        x, y = column.x(field, textwrap.wrap(column.label, NAME)), {"scale": result.scale(0.08), "axis": inner if i % across else outer}
        layers = [*_middle(column, values, field, x, y), *_runs(points.height, column, x, unit, y, height)]
        layers[-1].name = f"points_{i}"
        panels.append(alt.LayerChart(layer=layers, width=width, height=height))
    select = alt.IntervalSelectionConfig(type="interval", resolve="global")
    brush = alt.TopLevelSelectionParameter(name="brush", select=select, views=[f"points_{i}" for i in range(len(panels))])
    shown = alt.VariableParameter(name="shown", value=[])
    chart = alt.ConcatChart(concat=panels, columns=across, spacing=GAP, data=points, params=[brush, shown])
    missing = f"; {n:,} without a value" if (n := frame.height - good.height) else ""
    ends = f"{good.height:,} runs from {figure(result.low)} to {figure(result.high)}{missing}"
    return theme.finish(chart, title, subtitle, f"Small multiples of {unit} against {', '.join(axes.values())}: {ends}.")


def _runs(n: int, column: Varied, x: alt.X, unit: str, y: dict[str, Any], height: int) -> list[alt.Chart]:
    """Ticks of the runs without a value at the foot, and the points of the others."""
    at = alt.Tooltip(f"{x.shorthand[:-2]}:{'Q' if column.numeric else 'N'}", title=column.label)
    tooltip = [alt.Tooltip("row:N", title="run"), at, alt.Tooltip("value:Q", title=unit, format=".4g")]
    feet = alt.Chart().mark_tick(orient="vertical", thickness=2, size=9, color=theme.VERMILLION).transform_filter("!isValid(datum.value)")
    dots = alt.Chart().mark_circle(size=16 if n > MANY else 30, color=theme.BLUE).transform_filter("isValid(datum.value)")
    forward = {"test": {"and": [{"param": "brush"}, SHOWN]}, "value": 0.35 if n > MANY else 0.6}
    return [
        feet.encode(x=x, y=alt.value(height - 5), tooltip=tooltip[:2]),
        dots.encode(x=x, y=alt.Y("value:Q", **y), opacity={"condition": forward, "value": 0.05}, tooltip=tooltip),
    ]


def _middle(column: Varied, values: pl.Series, field: str, x: alt.X, y: dict[str, Any]) -> list[alt.Chart]:
    """Median and middle four fifths of each group of neighbours; nothing where every group is a single run."""
    of_good = Varied(column.label, column.values.filter(values.is_not_null()))
    grouped = pl.DataFrame({field: of_good.plain, "group": of_good.groups(), "y": values.drop_nulls()}).group_by("group")
    place = pl.col(field).median().round_sig_figs(DIGITS) if column.numeric else pl.col(field).first()
    quantiles = (("low", 0.1), ("middle", 0.5), ("high", 0.9))
    ends = (pl.col("y").quantile(q, "linear").round_sig_figs(DIGITS).alias(name) for name, q in quantiles)
    found = grouped.agg(place, pl.len().alias("n"), *ends).sort("group")
    if found["n"].max() == 1:
        return []
    chart, middle = alt.Chart(found.drop("group", "n")).encode(x=x), alt.Y("middle:Q", **y)
    if not column.numeric:
        return [chart.mark_tick(thickness=3, size=24, color=theme.INK).encode(y=middle)]
    band = chart.mark_area(color=theme.BLUE, opacity=0.13).encode(y=alt.Y("low:Q", **y), y2=alt.Y2("high:Q"))
    return [band, chart.mark_line(color=theme.INK, strokeWidth=1.8).encode(y=middle)]


def heatmap(
    frame: pl.DataFrame, *, x: str, y: str, value: str, x_unit: str, y_unit: str, unit: str, title: str, subtitle: str
) -> alt.LayerChart:
    """Heat map: one cell a pair of levels, dark where the value is high, with its number where there is room.

    `frame` has a row per run; runs of the same cell are averaged, and a cell whose runs have no value is marked. `x` and `y` are columns of
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
    low, high = result.low, result.high if result.high > result.low else result.low + 1
    middle = math.sqrt(low * high) if result.log else (low + high) / 2

    scale = alt.Scale(round=True, padding=0)
    xs = alt.X("x:O", sort=names_x, title=x_unit, axis=_axis(names_x, 45), scale=scale)
    down = names_y[::-1] if columns[1].numeric else names_y
    ys = alt.Y("y:O", sort=down, title=y_unit, axis=_axis(names_y, 18, 0), scale=scale)
    shades: Any = {"type": "log" if result.log else "linear", "domain": [low, high], "range": SHADES}
    size: Any = {"gradientLength": 200, "gradientThickness": 10, "tickCount": 3, "titleLimit": 0}
    legend = alt.Legend(title=unit, labelExpr=f"format(datum.value, '.3~{'s' if high >= 1e5 else 'r'}')", **size)
    color = alt.Color("value:Q", title=None, legend=legend).scale(**shades, nice=False)
    tooltip = [alt.Tooltip(field, title=title) for field, title in (("x:N", x_unit), ("y:N", y_unit), ("text:N", unit), ("runs:Q", "runs"))]
    hover = alt.selection_point(name="hover", fields=["x", "y"], on="pointerover", clear="pointerout", empty=False)
    base = alt.Chart(data).encode(x=xs, y=ys, tooltip=tooltip)
    stroke = alt.condition(hover, alt.value(theme.VERMILLION), alt.value("white"))
    wide = alt.condition(hover, alt.value(2), alt.value(1 if written else 0))
    valued = base.transform_filter("datum.value !== null").mark_rect().encode(color=color, stroke=stroke, strokeWidth=wide)
    layers = [base.transform_filter("datum.value === null").mark_rect(color=NONE), valued.properties(name="cells").add_params(hover)]
    if written:
        dark = f"datum.value === null ? '{theme.VERMILLION}' : datum.value > {middle:.6g} ? 'white' : '{ON_LIGHT}'"
        layers.append(base.transform_calculate(ink=dark).mark_text().encode(text=alt.Text("text:N"), color=alt.Color("ink:N", scale=None)))
    best = data.filter(pl.col("value").is_not_null()).sort("value")
    ends = (f"{figure(cell['value'])} at {cell['x']} and {cell['y']}" for cell in (best.row(i, named=True) for i in (0, -1)))
    missing = f"; {n} cells without a value" if (n := data["value"].null_count()) else ""
    width = theme.WIDTH - 22 - min(max(map(theme.pixels, names_y)) + 40, 200)
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
        scaled = column.values.log() if column.log else column.values
        places = ((scaled - scaled.min()) / (scaled.max() - scaled.min())).round_sig_figs(DIGITS)  # type: ignore[operator]
        codes = (places * CELLS).floor().clip(0, CELLS - 1).cast(pl.Int64)
        ends = (np.geomspace if column.log else np.linspace)(column.low, column.high, 2 * CELLS + 1)
        names = named(ends[1::2].tolist())
    return codes.replace_strict(range(len(names)), names, return_dtype=pl.String), names


def _axis(names: list[str], room: int, angle: int | None = None) -> alt.Axis:
    """Labels of cells, as many as have room."""
    every = -(-len(names) * room // (HEIGHT[2] if angle == 0 else theme.WIDTH - 100))
    if angle is None:
        angle = 0 if max(map(theme.pixels, names)) < (theme.WIDTH - 100) / max(1, len(names[::every])) else -40
    return alt.Axis(values=names[::every], labelAngle=angle, grid=False, ticks=False, labelLimit=160)
