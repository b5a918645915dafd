"""Lines with bands over a logarithmic or linear axis: a curve, its uncertainty, and points on it."""

from __future__ import annotations

import altair as alt
import polars as pl

from workbench.charts import theme
from workbench.charts.axes import HEIGHT, Axis, checked
from workbench.charts.rows import pixels


def lines(
    frame: pl.DataFrame, *, x: str, y: str, series: str, x_unit: str, y_unit: str, title: str, subtitle: str, low: str | None = None,
    high: str | None = None, x_log: bool = True, y_log: bool = False, points: pl.DataFrame | None = None,
) -> alt.LayerChart:  # fmt: skip
    """One line a series, named at its right end, with a band where `low` and `high` are given.

    What all pictures take is in the package's help.

    Parameters
    ----------
    x, y, series : str
        Columns of the position, the value and the name of the line.
    low, high : str, optional
        Columns of the ends of the band.
    x_log, y_log : bool
        Whether the axes are logarithmic.
    points : polars.DataFrame, optional
        Marks in the columns `x`, `y` and `series`, as optima on their curves.

    Examples
    --------
    >>> frame = pl.DataFrame({"bytes": [1e3, 1e6, 1e9], "busbw": [0.1, 40, 450], "chip": ["H100"] * 3})
    >>> words = {"x_unit": "message (bytes)", "y_unit": "bus bandwidth (GB/s)", "title": "Large messages", "subtitle": "A guess"}
    >>> lines(frame, x="bytes", y="busbw", series="chip", **words).description
    'Large messages. Lines of bus bandwidth (GB/s) over message (bytes): H100 450 at 1e+09.'
    """
    heights, logs = [y, *(c for c in (low, high) if c is not None)], {x: x_log, y: y_log}
    data = checked(frame, [x, *heights], series, logs)
    names = data[series].unique(maintain_order=True).to_list()
    color = theme.color(series, names, "lines", legend=None)
    marks = [] if points is None else [checked(points, [x, y], series, logs)]
    up = Axis([*(data[c] for c in heights), *(m[y] for m in marks)], y_log, 0.04)
    xs = alt.X(f"{x}:Q", title=x_unit, **Axis([f[x] for f in (data, *marks)], x_log).look)
    ys = alt.Y(f"{y}:Q", title=y_unit, **up.look)
    tooltip = [
        alt.Tooltip(f"{series}:N"),
        alt.Tooltip(f"{x}:Q", title=x_unit, format=".3g"),
        alt.Tooltip(f"{y}:Q", title=y_unit, format=".4g"),
    ]
    base = alt.Chart(data).encode(x=xs, color=color)
    layers = [base.mark_line(strokeWidth=2).encode(y=ys)]
    if low is not None and high is not None:
        layers.insert(0, base.mark_area(opacity=0.18).encode(y=alt.Y(f"{low}:Q", title=y_unit, **up.look), y2=f"{high}:Q"))
    for frame in marks:
        layers.append(alt.Chart(frame).mark_point(filled=True, size=60, opacity=1).encode(x=xs, y=ys, color=color, tooltip=tooltip))
    layers.append(theme.hovered(base, y=ys, tooltip=tooltip))
    ends = data.group_by(series, maintain_order=True).agg(pl.all().sort_by(x).last())
    said = "; ".join(f"{row[series]} {row[y]:.3g} at {row[x]:.3g}" for row in ends.iter_rows(named=True))
    named = alt.Chart(ends.with_columns(pl.Series(y, up.apart(ends[y].to_list())), theme.inks(names, "lines")))
    layers.append(named.mark_text(align="left", dx=7).encode(x=xs, y=ys, color=theme.INK_OF_ROW, text=f"{series}:N"))
    chart = alt.LayerChart(layer=layers, width=theme.WIDTH - 74 - max(map(pixels, names)), height=HEIGHT)
    return theme.finish(chart, title, subtitle, f"Lines of {y_unit} over {x_unit}: {said}.")
