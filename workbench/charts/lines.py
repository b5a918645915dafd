"""Lines with bands over a logarithmic or linear axis: a curve, its uncertainty, and points on it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import altair as alt
import polars as pl

from workbench.charts import theme
from workbench.charts.frames import DIGITS
from workbench.charts.rows import pixels
from workbench.errors import InputError

HEIGHT, LABEL = 320, 15  #: px of a plot, and of a label's line


def lines(
    frame: pl.DataFrame,
    *,
    x: str,
    y: str,
    series: str,
    x_unit: str,
    y_unit: str,
    title: str,
    subtitle: str,
    low: str | None = None,
    high: str | None = None,
    x_log: bool = True,
    y_log: bool = False,
    points: pl.DataFrame | None = None,
) -> alt.LayerChart:
    """One line a series, named at its right end, with a band where `low` and `high` are given.

    Parameters
    ----------
    frame : polars.DataFrame
        One row a point of a line.
    x, y, series : str
        Columns of the position, the value and the name of the line; at most eight lines.
    x_unit, y_unit : str
        What the axes show, with unit.
    title, subtitle : str
        The finding; its source.
    low, high : str, optional
        Columns of the ends of the band.
    x_log, y_log : bool
        Whether the axes are logarithmic.
    points : polars.DataFrame, optional
        Marks in the columns `x`, `y` and `series`, as optima on their curves.

    Raises
    ------
    InputError
        For a column that is missing, numbers that are not finite, not positive on a logarithmic axis, or too many lines.
    """
    numbers = [x, y, *(c for c in (low, high) if c is not None)]
    data = _checked(frame, numbers, series, {x: x_log, y: y_log})
    names = data[series].unique(maintain_order=True).to_list()
    if len(names) > len(theme.PALETTE):
        raise InputError(f"{len(names)} lines: a picture tells {len(theme.PALETTE)} apart")
    marks = None if points is None else _checked(points, [x, y], series, {x: x_log, y: y_log})
    tops = [data[c] for c in numbers[1:]] + ([] if marks is None else [marks[y]])
    across = _Axis([data[x]] if marks is None else [data[x], marks[x]], x_log, 0.0)
    up = _Axis(tops, y_log, 0.04)
    xs = alt.X(f"{x}:Q", title=x_unit, scale=across.scale, axis=across.axis)
    ys = alt.Y(f"{y}:Q", title=y_unit, scale=up.scale, axis=up.axis)
    color = alt.Color(f"{series}:N", legend=None).scale(domain=names, range=theme.PALETTE[: len(names)])
    base = alt.Chart(data).encode(x=xs, color=color)
    layers: list[alt.Chart] = []
    if low is not None and high is not None:
        layers.append(base.mark_area(opacity=0.18).encode(y=alt.Y(f"{low}:Q", scale=up.scale, axis=up.axis, title=y_unit), y2=f"{high}:Q"))
    tooltip = [
        alt.Tooltip(f"{series}:N"),
        alt.Tooltip(f"{x}:Q", title=x_unit, format=".3g"),
        alt.Tooltip(f"{y}:Q", title=y_unit, format=".4g"),
    ]
    layers.append(base.mark_line(strokeWidth=2).encode(y=ys, tooltip=tooltip))
    if marks is not None:
        layers.append(alt.Chart(marks).mark_point(filled=True, size=60, opacity=1).encode(x=xs, y=ys, color=color, tooltip=tooltip))
    ends = data.group_by(series, maintain_order=True).agg(pl.all().sort_by(x).last())
    said = "; ".join(f"{row[series]} {row[y]:.3g} at {row[x]:.3g}" for row in ends.iter_rows(named=True))
    named = ends.with_columns(pl.Series(y, up.apart(ends[y].to_list())))
    layers.append(alt.Chart(named).mark_text(align="left", dx=7).encode(x=xs, y=ys, color=color, text=f"{series}:N"))
    width = theme.WIDTH - 74 - max(pixels(name) for name in names)
    chart = alt.LayerChart(layer=layers, width=width, height=HEIGHT)
    return theme.finish(chart, title=title, subtitle=subtitle, description=f"{title}. Lines of {y_unit} over {x_unit}: {said}.")


class _Axis:
    """Scale and marks of one axis: decades on a logarithmic one."""

    def __init__(self, values: Sequence[pl.Series], log: bool, pad: float):
        self.log = log
        low, high = min(float(v.min()) for v in values), max(float(v.max()) for v in values)  # type: ignore[arg-type]
        self.low, self.high = self._in(low), self._in(high)
        room = pad * (self.high - self.low) or (0.5 if self.high == self.low else 0.0)
        self.low, self.high = self.low - room, self.high + room
        domain = [float(f"{self._out(end):.{DIGITS}g}") for end in (self.low, self.high)]
        self.scale = alt.Scale(type="log" if log else "linear", domain=domain, nice=False, zero=False)
        decades = range(math.ceil(self.low - 1e-9), math.floor(self.high + 1e-9) + 1)
        step = max(1, math.ceil(len(decades) / 9))
        if log and len(decades) > 2:
            self.axis = alt.Axis(values=[10.0**d for d in decades if d % step == 0], format="~e", grid=True)
        else:
            self.axis = alt.Axis(tickCount=6, format="~g" if log else "~f" if max(map(abs, domain)) < 1e5 else ".3~s", grid=True)

    def apart(self, values: list[float]) -> list[float]:
        """Positions near `values` that keep the labels there from covering each other."""
        gap = LABEL / HEIGHT * (self.high - self.low)
        order = sorted(range(len(values)), key=lambda i: values[i])
        places = [self._in(values[i]) for i in order]
        for _ in range(200):
            for k in range(len(places) - 1):
                short = gap - (places[k + 1] - places[k])
                if short > 1e-9 * gap:
                    places[k] -= short / 2
                    places[k + 1] += short / 2
        found = dict(zip(order, places, strict=True))
        return [float(f"{self._out(found[i]):.{DIGITS}g}") for i in range(len(values))]

    def _in(self, value: float) -> float:
        return math.log10(value) if self.log else value

    def _out(self, place: float) -> float:
        return 10.0**place if self.log else place


def _checked(frame: pl.DataFrame, numbers: Sequence[str], series: str, logs: dict[str, bool]) -> pl.DataFrame:
    for name in (*numbers, series):
        if name not in frame.columns:
            raise InputError(f"the frame has no column {name!r}; it has {', '.join(frame.columns) or 'none'}")
    if frame.is_empty():
        raise InputError("the frame has no rows: there is nothing to draw")
    for name in numbers:
        for row, value in enumerate(frame[name].cast(pl.Float64)):
            if value is None or not math.isfinite(value) or (logs.get(name) and value <= 0):
                raise InputError(f"column {name!r}, row {row}: {value} cannot stand on {'a logarithmic' if logs.get(name) else 'an'} axis")
    return frame.select(
        *(pl.col(n).cast(pl.Float64).round_sig_figs(DIGITS) for n in dict.fromkeys(numbers)), pl.col(series).cast(pl.String)
    )
