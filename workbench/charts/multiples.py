"""Small multiples: one result against each parameter in a panel of its own."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import altair as alt
import polars as pl

from workbench.charts import theme
from workbench.charts.frames import DIGITS, figure
from workbench.charts.varied import LABELS, SHOWN, Varied, sample, scale, with_value
from workbench.errors import InputError

PANELS, POINTS, MANY = 9, 500, 100  #: panels of a picture, points of a panel, and how many points call for small ones
HEIGHT, GAP, AXIS = 150, 26, 92  #: px of a panel, between panels, and of the vertical axis
NAME = 30  #: characters a line below a panel


def multiples(
    frame: pl.DataFrame, *, axes: Mapping[str, str], value: str, unit: str, row: str, title: str, subtitle: str
) -> alt.ConcatChart:
    """Small multiples: a point a run, with the median and the middle four fifths of neighbours; runs without a value at the foot.

    A rectangle drawn in one panel brings its runs forward in all.

    Parameters
    ----------
    frame : polars.DataFrame
        One row a run. Of more than 500 rows a sample of points is drawn, which the subtitle says; medians are those of all rows.
    axes : mapping of str to str
        Column of a parameter (numbers or texts): what its axis shows, with unit; at most nine.
    value : str
        Column of the result, a number, missing where a run gave none.
    unit : str
        What the vertical axis shows, with unit.
    row : str
        Column that names the rows.
    title, subtitle : str
        The finding; its source.

    Raises
    ------
    InputError
        For a column that is missing, numbers that are not finite, no panel or too many, or no row with a value.

    Examples
    --------
    >>> frame = pl.DataFrame({"run": ["a", "b", "c"], "price": [2.0, 3.0, 4.0], "cost": [1.1, 1.6, 2.1]})
    >>> words = {"unit": "USD per M tokens", "title": "Cost follows price", "subtitle": "A guess"}
    >>> multiples(frame, axes={"price": "USD per chip-hour"}, value="cost", row="run", **words).description
    'Cost follows price. Small multiples of USD per M tokens against USD per chip-hour: 3 runs from 1.1 to 2.1.'
    """
    if not 1 <= len(axes) <= PANELS:
        raise InputError(f"{len(axes)} panels: expected 1 to {PANELS}")
    good = with_value(frame, row, value)
    result = Varied.of(good, value, unit)
    drawn = sample(frame[value], POINTS)
    if len(drawn) < frame.height:
        subtitle = f"{subtitle} {len(drawn):,} of {frame.height:,} runs are drawn; medians and bands are those of all."
    fields = {f"axis {i}": name for i, name in enumerate(axes)}
    columns = {field: Varied.of(frame, name, axes[name]) for field, name in fields.items()}
    values = pl.Series("value", frame[value].cast(pl.Float64).round_sig_figs(DIGITS))
    names = pl.Series("row", frame[row].cast(pl.String))
    points = pl.DataFrame([names, values, *(column.plain.alias(field) for field, column in columns.items())])
    points = points[drawn]

    across = 2 if len(columns) == 4 else min(3, len(columns))
    width = round((theme.WIDTH - 14 - AXIS - (across - 1) * GAP) / across)
    height = HEIGHT if across > 1 else 2 * HEIGHT

    panels = []
    for i, (field, column) in enumerate(columns.items()):
        axis = alt.Axis(title=textwrap.wrap(unit, NAME), labelExpr=LABELS, tickCount=5)
        if i % across:
            axis = alt.Axis(labels=False, ticks=False, title=None, tickCount=5)
        y = {"scale": scale(result.values, result.log, 0.08), "axis": axis}
        layers = [*_middle(column, values, field, y), *_runs(points.height, column, field, unit, y, height)]
        layers[-1].name = f"points_{i}"
        panels.append(alt.LayerChart(layer=layers, width=width, height=height))
    brush = alt.TopLevelSelectionParameter(
        name="brush",
        select=alt.IntervalSelectionConfig(type="interval", resolve="global"),
        views=[f"points_{i}" for i in range(len(panels))],
    )
    shown = alt.VariableParameter(name="shown", value=[])
    chart = alt.ConcatChart(concat=panels, columns=across, spacing=GAP, data=points, params=[brush, shown])
    missing = frame.height - good.height
    description = (
        f"{title}. Small multiples of {unit} against {', '.join(axes.values())}: {good.height:,} runs from {figure(result.low)} "
        f"to {figure(result.high)}{f'; {missing:,} without a value' if missing else ''}."
    )
    return theme.finish(chart, title=title, subtitle=subtitle, description=description)


def _x(column: Varied, field: str) -> alt.X:
    return column.x(field, textwrap.wrap(column.label, NAME))


def _runs(n: int, column: Varied, field: str, unit: str, y: dict[str, Any], height: int) -> list[alt.Chart]:
    """Ticks of the runs without a value at the foot, and the points of the others."""
    x = _x(column, field)
    tooltip = [
        alt.Tooltip("row:N", title="run"),
        alt.Tooltip(f"{field}:{'Q' if column.numeric else 'N'}", title=column.label),
        alt.Tooltip("value:Q", title=unit, format=".4g"),
    ]
    feet = alt.Chart().mark_tick(orient="vertical", thickness=2, size=9, color=theme.VERMILLION).transform_filter("!isValid(datum.value)")
    dots = alt.Chart().mark_circle(size=16 if n > MANY else 30, color=theme.BLUE).transform_filter("isValid(datum.value)")
    forward = {"test": {"and": [{"param": "brush"}, SHOWN]}, "value": 0.35 if n > MANY else 0.6}
    return [
        feet.encode(x=x, y=alt.value(height - 5), tooltip=tooltip[:2]),
        dots.encode(x=x, y=alt.Y("value:Q", **y), opacity={"condition": forward, "value": 0.05}, tooltip=tooltip),
    ]


def _middle(column: Varied, values: pl.Series, field: str, y: dict[str, Any]) -> list[alt.Chart]:
    """Median and middle four fifths of each group of neighbours; nothing where every group is a single run."""
    of_good = Varied(column.label, column.values.filter(values.is_not_null()))
    grouped = (
        pl.DataFrame({field: of_good.plain, "group": of_good.groups(), "y": values.drop_nulls()})
        .group_by("group")
        .agg(
            (pl.col(field).median().round_sig_figs(DIGITS) if column.numeric else pl.col(field).first()),
            pl.len().alias("n"),
            *(
                pl.col("y").quantile(q, "linear").round_sig_figs(DIGITS).alias(name)
                for name, q in (("low", 0.1), ("middle", 0.5), ("high", 0.9))
            ),
        )
        .sort("group")
    )
    if grouped["n"].max() == 1:
        return []
    chart = alt.Chart(grouped.drop("group", "n")).encode(x=_x(column, field))
    middle = alt.Y("middle:Q", **y)
    if not column.numeric:
        return [chart.mark_tick(thickness=3, size=24, color=theme.INK).encode(y=middle)]
    band = chart.mark_area(color=theme.BLUE, opacity=0.13).encode(y=alt.Y("low:Q", **y), y2="high:Q")
    return [band, chart.mark_line(color=theme.INK, strokeWidth=1.8).encode(y=middle)]
