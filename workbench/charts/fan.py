"""A fan: what may come, as a median and nested bands over time, and what was observed."""

from __future__ import annotations

import altair as alt
import polars as pl

from workbench.charts import theme
from workbench.charts.axes import HEIGHT, Axis, checked
from workbench.charts.frames import figure, once
from workbench.charts.rows import name, pixels
from workbench.errors import InputError

SHADE = 0.17  #: opacity of a band; those inside it lie on top and add theirs


def fan(
    frame: pl.DataFrame, *, x: str, x_unit: str, y_unit: str, title: str, subtitle: str, series: str | None = None,
    observed: pl.DataFrame | None = None, observed_as: str = "observed", y_log: bool = False,
) -> alt.LayerChart:  # fmt: skip
    """Fan chart: one median and its bands a series, the narrowest darkest; series are named at their right end.

    Parameters
    ----------
    frame : polars.DataFrame
        One row a place, series and band in the columns of `uncertainty.Bands.frame`: level (the share that a band holds), low and high
        (its ends), and median, the same in every band of a place.
    x : str
        Column of the position: a number, such as a year with its fraction, or a date.
    x_unit, y_unit : str
        What the axes show, with unit.
    title, subtitle : str
        The finding; its source. The subtitle goes on to say what the shades hold.
    series : str, optional
        Column of the name of what is forecast; at most four, because more fans hide each other.
    observed : polars.DataFrame, optional
        What came, in the columns `x`, value and, where given, `series`: drawn as points.
    observed_as : str
        What the points are, as the subtitle says it.
    y_log : bool
        Whether the vertical axis is logarithmic.

    Raises
    ------
    InputError
        For a column that is missing, numbers that cannot stand on the axes, ends that cross, a band given twice, or too many series.

    Examples
    --------
    >>> frame = pl.DataFrame({"year": [2027, 2028], "level": [0.8, 0.8], "low": [8, 10], "median": [12, 20], "high": [18, 40]})
    >>> fan(frame, x="year", x_unit="year", y_unit="GW", title="Power doubles", subtitle="A guess").description
    'Power doubles. Fan chart of GW over year; at its end, with the band of 80 %: 20 (10 to 40) at 2028.'
    """
    one = pl.lit("").alias("series")
    if series is None:
        series, frame = "series", frame.with_columns(one)
        observed = None if observed is None else observed.with_columns(one)
    logs = dict.fromkeys(("low", "median", "high", "value"), y_log)
    data = checked(frame, [x, "level", "low", "median", "high"], series, logs)
    seen = None if observed is None else checked(observed, [x, "value"], series, logs)
    names = data[series].unique(maintain_order=True).to_list()
    if len(names) > 4:
        raise InputError(f"{len(names)} series: a picture shows at most 4 fans")
    once(data, series, x, "level")
    for at in data.filter(~((pl.col("low") <= pl.col("median")) & (pl.col("median") <= pl.col("high")))).iter_rows(named=True):
        raise InputError(f"at {x} = {at[x]}: low {at['low']}, median {at['median']}, high {at['high']} do not rise")
    if seen is not None and (unknown := set(seen[series]) - set(names)):
        raise InputError(f"observed names {sorted(unknown)[0]!r}, which is no series of the fan: {', '.join(names)}")

    across = Axis([data[x]] if seen is None else [data[x], seen[x]], False, 0.0)
    up = Axis([data["low"], data["high"], *([] if seen is None else [seen["value"]])], y_log, 0.04)
    xs = alt.X(f"{x}:Q", title=x_unit, scale=across.scale, axis=across.axis)
    color = theme.color(series, names, "fans", legend=None)

    def height(column: str) -> alt.Y:
        return alt.Y(f"{column}:Q", title=y_unit, scale=up.scale, axis=up.axis)

    base = alt.Chart(data).encode(x=xs, color=color)
    levels = sorted(data["level"].unique().to_list(), reverse=True)
    shades = [
        base.transform_filter(f"datum['level'] === {share}").mark_area(opacity=SHADE).encode(y=height("low"), y2="high:Q")
        for share in levels
    ]
    tips = [alt.Tooltip(f"{series}:N"), alt.Tooltip(f"{x}:Q", title=x_unit, format=".6~g")]
    tips += [alt.Tooltip(f"{column}:Q", format=".4~g") for column in ("low", "median", "high")]
    line = base.transform_filter(f"datum['level'] === {levels[0]}").mark_line(strokeWidth=2).encode(y=height("median"), tooltip=tips)
    layers: list[alt.Chart] = [*shades, line]
    if seen is not None:
        points = alt.Chart(seen).mark_point(filled=True, size=46, opacity=1, stroke="white", strokeWidth=0.8)
        layers.append(points.encode(x=xs, y=height("value"), color=color, tooltip=[*tips[:2], alt.Tooltip("value:Q", format=".4~g")]))
    ends = data.filter(pl.col("level") == levels[0]).group_by(series, maintain_order=True).agg(pl.all().sort_by(x).last())
    said = "; ".join(
        f"{f'{row[series]} ' if row[series] else ''}{figure(row['median'])} ({figure(row['low'])} to {figure(row['high'])}) at {row[x]:.6g}"
        for row in ends.iter_rows(named=True)
    )
    wrapped = [name(n) for n in ends[series]]
    lines = max(n.count("\n") + 1 for n in wrapped)
    named = ends.with_columns(pl.Series("median", up.apart(ends["median"].to_list(), lines)), pl.Series("label", wrapped))
    text = alt.Chart(named).mark_text(align="left", baseline="middle", dx=7, lineBreak="\n", lineHeight=14)
    layers.append(text.encode(x=xs, y=height("median"), color=color, text="label:N"))
    width = theme.WIDTH - 74 - max(pixels(part) for n in wrapped for part in n.split("\n"))
    chart = alt.LayerChart(layer=layers, width=width, height=HEIGHT)
    held = _listed([f"{100 * share:g}" for share in reversed(levels)])
    shown = f"Line: median; shades hold {held} % of the futures{'' if seen is None else f'; points: {observed_as}'}."
    description = f"{title}. Fan chart of {y_unit} over {x_unit}; at its end, with the band of {100 * levels[0]:g} %: {said}."
    return theme.finish(chart, title=title, subtitle=f"{subtitle.rstrip('.')}. {shown}", description=description)


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
