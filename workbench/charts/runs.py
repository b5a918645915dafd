"""Every run of a sweep: as points in small multiples, one panel a parameter, and as lines over parallel axes."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import altair as alt
import polars as pl

from workbench.charts import theme
from workbench.charts.frames import DIGITS, figure
from workbench.charts.varied import LABELS, Varied, sample, scale, with_value
from workbench.errors import InputError

PANELS, POINTS, MANY = 9, 500, 100  #: panels of a picture, points of a panel, and how many points call for small ones
PANEL, GAP, AXIS = 150, 26, 92  #: px of a panel's height, between panels, and of the vertical axis
HEIGHT, LINES, AXES = 300, 300, 9  #: of parallel axes: px; runs and axes that a picture tells apart
NAME, SHORT, LINE = 30, 15, 15  #: characters a line below a panel, and above a parallel axis; px of such a line
#: Of a run, in an expression of Vega: whether it is among those that the parameter ``shown`` names, all if it names none.
SHOWN = "!length(shown) || indexof(shown, datum.row) >= 0"
#: Colours from low to high that no kind of colour blindness confuses, and that stand on white.
LOW_TO_HIGH = [theme.BLUE, "#A9A9A9", theme.VERMILLION]


def multiples(
    frame: pl.DataFrame, *, axes: Mapping[str, str], value: str, unit: str, row: str, title: str, subtitle: str
) -> alt.ConcatChart:
    """Small multiples: a point a run, with the median and the middle four fifths of neighbours; runs without a value at the foot.

    A rectangle drawn in one panel brings its runs forward in all. `frame` has a row a run, named by column `row`; `axes` says by column of
    a parameter (numbers or texts, at most nine) what its axis shows, `unit` what the numbers of column `value` are, missing where a run
    gave none. Of more than 500 rows a sample of points is drawn, which the subtitle says; medians are those of all rows.

    Raises
    ------
    InputError
        For a column that is missing, numbers that are not finite, no panel or too many, or no row with a value.
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
    height = PANEL if across > 1 else 2 * PANEL

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


def parallel(frame: pl.DataFrame, *, axes: Mapping[str, str], value: str, unit: str, row: str, title: str, subtitle: str) -> alt.LayerChart:
    """Parallel coordinates: one line a row over the axes, the value last; pointing at a line brings it forward.

    Arguments and refusals as of `multiples`; at most eight axes, and the value on one of its own. Rows without a value are left out; of
    more than 300 rows a sample is drawn, which the subtitle says.
    """
    if not 1 <= len(axes) < AXES:
        raise InputError(f"{len(axes)} axes: expected 1 to {AXES - 1} beside the value")
    frame = with_value(frame, row, value)
    drawn = sample(frame[value], LINES)
    columns = [Varied.of(frame, name, label) for name, label in [*axes.items(), (value, unit)]]

    fields = [f"axis {i}" for i in range(len(columns))]
    data = pl.DataFrame(
        [
            frame[row].cast(pl.String).alias("row"),
            columns[-1].values.alias("value"),
            *(column.places().round(4).alias(field) for field, column in zip(fields, columns, strict=True)),
            *(column.plain.alias(f"shown {i}") for i, column in enumerate(columns[:-1])),
        ]
    )
    said = "; ".join(f"{c.label}: {c.marks()[0][1]} to {c.marks()[-1][1]}" for c in columns)
    data = data[drawn]
    if data.height < frame.height:
        subtitle = f"{subtitle} {data.height:,} of {frame.height:,} runs are drawn, the lowest and the highest among them."

    x = alt.X("axis:O", sort=fields, axis=None, scale=alt.Scale(type="point", padding=0.35))
    y = alt.Y("place:Q", axis=None, scale=alt.Scale(domain=[0, 1], nice=False))
    hover = alt.selection_point(name="hover", fields=["row"], on="pointerover", clear="pointerout", empty=True)
    shown = alt.param(name="shown", value=[])
    last = columns[-1]
    color = alt.Color("value:Q", legend=None).scale(
        type="log" if last.log else "linear",
        domain=[last.low, last.high] if last.low < last.high else [last.low, last.low + 1],
        range=LOW_TO_HIGH,
    )
    tooltip = [alt.Tooltip("row:N", title="run"), alt.Tooltip("value:Q", title=unit, format=".4g")]
    tooltip += [alt.Tooltip(f"shown {i}:N", title=column.label) for i, column in enumerate(columns[:-1])]
    base = alt.Chart(data).transform_fold([*fields], as_=["axis", "place"]).encode(x=x, y=y, detail="row:N", tooltip=tooltip)
    strength = round(min(0.75, max(0.25, 12 / data.height**0.7)), 2)
    lines = base.mark_line(strokeJoin="round").encode(
        color=color,
        opacity={"condition": {"test": {"and": [{"param": "hover"}, SHOWN]}, "value": strength}, "value": 0.04},
        strokeWidth=alt.condition({"param": "hover", "empty": False}, alt.value(3), alt.value(1.4)),
    )
    # what the pointer meets: a thin line is hard to hit
    wide = base.mark_line(strokeWidth=9, opacity=0).properties(name="met").add_params(hover)

    rules = pl.DataFrame({"axis": fields, "low": [0.0] * len(fields), "high": [1.0] * len(fields)})
    rule = alt.Chart(rules).mark_rule(color=theme.INK).encode(x=x, y=alt.Y("low:Q", axis=None), y2="high:Q")
    marks = pl.DataFrame(
        [
            {"axis": f, "place": p, "text": textwrap.shorten(t, 18, placeholder="…")}
            for f, c in zip(fields, columns, strict=True)
            for p, t in c.marks()[:: -(-len(c.marks()) * 14 // HEIGHT)]  # as many as have room
        ]
    )
    halo = alt.Chart(marks).mark_text(align="left", dx=6, stroke="white", strokeWidth=4, strokeJoin="round").encode(x=x, y=y, text="text:N")
    texts = halo.mark_text(align="left", dx=6)
    names = pl.DataFrame(
        [
            {"axis": field, "name": line, "place": round(1 + (12 + LINE * (len(lines) - 1 - k)) / HEIGHT, 4)}
            for field, lines in zip(fields, (textwrap.wrap(c.label, SHORT) for c in columns), strict=True)
            for k, line in enumerate(lines)
        ]
    )
    heads = alt.Chart(names).mark_text(baseline="bottom", color=theme.MUTED).encode(x=x, y=y, text="name:N")
    chart = alt.LayerChart(layer=[lines, wide, rule, halo, texts, heads], width=theme.WIDTH - 12, height=HEIGHT).add_params(shown)
    description = f"{title}. Parallel coordinates of {frame.height:,} runs; {said}; lowest {figure(last.low)}, highest {figure(last.high)}."
    return theme.finish(chart, title=title, subtitle=subtitle, description=description)
