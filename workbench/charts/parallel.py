"""Parallel coordinates: many parameters side by side, one line a run, coloured by its result."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

import altair as alt
import polars as pl

from workbench.charts import theme
from workbench.charts.frames import figure
from workbench.charts.varied import LOW_TO_HIGH, SHOWN, Varied, sample, with_value
from workbench.errors import InputError

HEIGHT, LINES, AXES = 300, 300, 9  #: px; runs and axes that a picture tells apart
NAME, LINE = 15, 15  #: characters a line of an axis' name, and its px


def parallel(frame: pl.DataFrame, *, axes: Mapping[str, str], value: str, unit: str, row: str, title: str, subtitle: str) -> alt.LayerChart:
    """Parallel coordinates: one line a row over the axes, the value last; pointing at a line brings it forward.

    Parameters
    ----------
    frame : polars.DataFrame
        One row a run; rows without a value are left out. Of more than 300 rows a sample is drawn, which the subtitle says.
    axes : mapping of str to str
        Column of a parameter (numbers or texts): what its axis shows, with unit; at most eight.
    value : str
        Column of the result, a number.
    unit : str
        What the last axis shows, with unit.
    row : str
        Column that names the rows.
    title, subtitle : str
        The finding; its source.

    Raises
    ------
    InputError
        For a column that is missing, numbers that are not finite, no axis or too many, or no row with a value.

    Examples
    --------
    >>> frame = pl.DataFrame({"run": ["a", "b", "c"], "price": [2.0, 3.0, 4.0], "cost": [1.1, 1.6, 2.1]})
    >>> words = {"unit": "USD per M tokens", "title": "Cost follows price", "subtitle": "A guess"}
    >>> parallel(frame, axes={"price": "USD per chip-hour"}, value="cost", row="run", **words).description
    'Cost follows price. Parallel coordinates of 3 runs; USD per chip-hour: 2 to 4; USD per M tokens: 1.1 to 2.1; lowest 1.1, highest 2.1.'
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
    wide = (
        base.mark_line(strokeWidth=9, opacity=0).properties(name="met").add_params(hover)
    )  # what the pointer meets: a thin line is hard to hit

    rules = pl.DataFrame({"axis": fields, "low": [0.0] * len(fields), "high": [1.0] * len(fields)})
    rule = alt.Chart(rules).mark_rule(color=theme.INK).encode(x=x, y=alt.Y("low:Q", axis=None), y2="high:Q")
    marks = pl.DataFrame(
        [
            {"axis": f, "place": p, "text": textwrap.shorten(t, 18, placeholder="…")}
            for f, c in zip(fields, columns, strict=True)
            for p, t in _thinned(c)
        ]
    )
    halo = alt.Chart(marks).mark_text(align="left", dx=6, stroke="white", strokeWidth=4, strokeJoin="round").encode(x=x, y=y, text="text:N")
    texts = halo.mark_text(align="left", dx=6)
    names = pl.DataFrame(
        [
            {"axis": field, "name": line, "place": round(1 + (12 + LINE * (len(lines) - 1 - k)) / HEIGHT, 4)}
            for field, lines in zip(fields, (textwrap.wrap(c.label, NAME) for c in columns), strict=True)
            for k, line in enumerate(lines)
        ]
    )
    heads = alt.Chart(names).mark_text(baseline="bottom", color=theme.MUTED)
    heads = heads.encode(x=x, y=y, text="name:N")
    chart = alt.LayerChart(layer=[lines, wide, rule, halo, texts, heads], width=theme.WIDTH - 12, height=HEIGHT).add_params(shown)
    description = f"{title}. Parallel coordinates of {frame.height:,} runs; {said}; lowest {figure(last.low)}, highest {figure(last.high)}."
    return theme.finish(chart, title=title, subtitle=subtitle, description=description)


def _thinned(column: Varied) -> list[tuple[float, str]]:
    """Marks of an axis, as many as have room."""
    marks = column.marks()
    return marks[:: -(-len(marks) * 14 // HEIGHT)]
