"""Every run of a sweep: as points in small multiples, one panel a parameter, and as lines over parallel axes."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import altair as alt
import polars as pl

from workbench.charts import theme
from workbench.charts.frames import DIGITS, figure
from workbench.charts.varied import LABELS, Varied, sample, with_value
from workbench.errors import InputError

PANELS, POINTS, MANY = 9, 500, 100  #: panels of a picture, points of a panel, and how many points call for small ones
PANEL, GAP, AXIS = 150, 26, 92  #: px of a panel's height, between panels, and of the vertical axis
HEIGHT, LINES, AXES = 300, 300, 9  #: of parallel axes: px; runs and axes that a picture tells apart
NAME, SHORT, LINE = 30, 15, 15  #: characters a line below a panel, and above a parallel axis; px of such a line
#: Of a run, in an expression of Vega: whether it is among those that the parameter ``shown`` names, all if it names none.
SHOWN = "!length(shown) || indexof(shown, datum.row) >= 0"
#: Colours from low to high that no kind of colour blindness confuses, and that are seen on white.
LOW_TO_HIGH = [theme.BLUE, "#A9A9A9", theme.VERMILLION]


def multiples(
    frame: pl.DataFrame, *, axes: Mapping[str, str], value: str, unit: str, row: str, title: str, subtitle: str
) -> alt.ConcatChart:
    """Small multiples: a point a run, with the median and the middle four fifths of neighbours; runs without a value at the foot.

    A rectangle drawn in one panel brings its runs forward in all. `frame` has a row a run, named by column `row`; `axes` says by column of
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
    tooltip = [
        alt.Tooltip("row:N", title="run"),
        alt.Tooltip(f"{x.shorthand[:-2]}:{'Q' if column.numeric else 'N'}", title=column.label),
        alt.Tooltip("value:Q", title=unit, format=".4g"),
    ]
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
    band = chart.mark_area(color=theme.BLUE, opacity=0.13).encode(y=alt.Y("low:Q", **y), y2="high:Q")
    return [band, chart.mark_line(color=theme.INK, strokeWidth=1.8).encode(y=middle)]


def parallel(frame: pl.DataFrame, *, axes: Mapping[str, str], value: str, unit: str, row: str, title: str, subtitle: str) -> alt.LayerChart:
    """Parallel coordinates: one line a row over the axes, the value last; pointing at a line brings it forward.

    Arguments and refusals as of `multiples`; at most eight axes, and the value on one of its own. Rows without a value are left out; of
    more than 300 rows a sample is drawn, which the subtitle says.
    """
    if not 1 <= len(axes) < AXES:
        raise InputError(f"{len(axes)} axes: expected 1 to {AXES - 1} beside the value")
    frame = with_value(frame, row, value)
    drawn = sample(frame[value], LINES)
    if len(drawn) < frame.height:
        subtitle = f"{subtitle} {len(drawn):,} of {frame.height:,} runs are drawn, the lowest and the highest among them."
    columns = {f"axis {i}": Varied.of(frame, name, label) for i, (name, label) in enumerate([*axes.items(), (value, unit)])}
    fields, last = list(columns), columns[f"axis {len(axes)}"]
    places = [column.places().round(4).alias(field) for field, column in columns.items()]
    told = {f"shown {i}": column for i, column in enumerate(columns.values()) if column is not last}
    texts = [column.plain.alias(field) for field, column in told.items()]
    data = pl.DataFrame([frame[row].cast(pl.String).alias("row"), last.values.alias("value"), *places, *texts])[drawn]

    x = alt.X("axis:O", sort=fields, axis=None, scale=alt.Scale(type="point", padding=0.35))
    y = alt.Y("place:Q", axis=None, scale=alt.Scale(domain=[0, 1], nice=False))
    hover = alt.selection_point(name="hover", fields=["row"], on="pointerover", clear="pointerout", empty=True)
    color = alt.Color("value:Q", legend=None).scale(**last.shades, range=LOW_TO_HIGH)
    tooltip = [alt.Tooltip("row:N", title="run"), alt.Tooltip("value:Q", title=unit, format=".4g")]
    tooltip += [alt.Tooltip(f"{field}:N", title=column.label) for field, column in told.items()]
    base = alt.Chart(data).transform_fold([*fields], as_=["axis", "place"]).encode(x=x, y=y, detail="row:N", tooltip=tooltip)
    strength = round(min(0.75, max(0.25, 12 / data.height**0.7)), 2)
    lines = base.mark_line(strokeJoin="round").encode(
        color=color,
        opacity={"condition": {"test": {"and": [{"param": "hover"}, SHOWN]}, "value": strength}, "value": 0.04},
        strokeWidth=alt.condition({"param": "hover", "empty": False}, alt.value(3), alt.value(1.4)),
    )
    # what the pointer meets: a thin line is hard to hit
    wide = base.mark_line(strokeWidth=9, opacity=0).properties(name="met").add_params(hover)

    ends = alt.Chart(pl.DataFrame({"axis": fields}).with_columns(low=0.0, high=1.0))
    rule = ends.mark_rule(color=theme.INK).encode(x=x, y=alt.Y("low:Q", axis=None), y2="high:Q")
    marks = [
        {"axis": field, "place": place, "text": textwrap.shorten(text, 18, placeholder="…")}
        for field, marked in ((field, column.marks()) for field, column in columns.items())
        for place, text in marked[:: -(-len(marked) * 14 // HEIGHT)]  # as many as have room
    ]
    halo = alt.Chart(pl.DataFrame(marks)).mark_text(align="left", dx=6, stroke="white", strokeWidth=4, strokeJoin="round")
    halo = halo.encode(x=x, y=y, text="text:N")
    names = [
        {"axis": field, "name": line, "place": round(1 + (12 + LINE * k) / HEIGHT, 4)}
        for field, column in columns.items()
        for k, line in reversed([*enumerate(textwrap.wrap(column.label, SHORT)[::-1])])
    ]
    heads = alt.Chart(pl.DataFrame(names)).mark_text(baseline="bottom", color=theme.MUTED).encode(x=x, y=y, text="name:N")
    layers = [lines, wide, rule, halo, halo.mark_text(align="left", dx=6), heads]
    chart = alt.LayerChart(layer=layers, width=theme.WIDTH - 12, height=HEIGHT).add_params(alt.param(name="shown", value=[]))
    said = "; ".join(f"{c.label}: {c.marks()[0][1]} to {c.marks()[-1][1]}" for c in columns.values())
    said = f"Parallel coordinates of {frame.height:,} runs; {said}; lowest {figure(last.low)}, highest {figure(last.high)}."
    return theme.finish(chart, title, subtitle, said)
