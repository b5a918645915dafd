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

    What all pictures take is in the package's help; the subtitle goes on to say what the shades hold.

    Parameters
    ----------
    frame : polars.DataFrame
        One row a place, series and band in the columns of `uncertainty.Bands.frame`: level (the share that a band holds), low and high
        (its ends, which must not cross), and median, the same in every band of a place.
    x : str
        Column of the position.
    series : str, optional
        Column of the name of what is forecast; at most four, because more fans hide each other.
    observed : polars.DataFrame, optional
        What came, in the columns `x`, value and, where given, `series`: drawn as points.
    observed_as : str
        What the points are, as the subtitle says it.
    y_log : bool
        Whether the vertical axis is logarithmic.

    Examples
    --------
    >>> frame = pl.DataFrame({"year": [2027, 2028], "level": [0.8, 0.8], "low": [8, 10], "median": [12, 20], "high": [18, 40]})
    >>> fan(frame, x="year", x_unit="year", y_unit="GW", title="Power doubles", subtitle="A guess").description
    'Power doubles. Fan chart of GW over year; at its end, with the band of 80 %: 20 (10 to 40) at 2028.'
    """
    seen = [] if observed is None else [observed]
    if series is None:
        series = "series"
        frame, *seen = (f.with_columns(pl.lit("").alias(series)) for f in (frame, *seen))
    logs = dict.fromkeys(("low", "median", "high", "value"), y_log)
    data = checked(frame, [x, "level", "low", "median", "high"], series, logs)
    seen = [checked(f, [x, "value"], series, logs) for f in seen]
    names = data[series].unique(maintain_order=True).to_list()
    if len(names) > 4:
        raise InputError(f"{len(names)} series: a picture shows at most 4 fans")
    once(data, series, x, "level")
    for at in data.filter(~((pl.col("low") <= pl.col("median")) & (pl.col("median") <= pl.col("high")))).iter_rows(named=True):
        raise InputError(f"at {x} = {at[x]}: low {at['low']}, median {at['median']}, high {at['high']} do not rise")
    for unknown in sorted({n for f in seen for n in f[series]}.difference(names)):
        raise InputError(f"observed names {unknown!r}, which is no series of the fan: {', '.join(names)}")

    up = Axis([data["low"], data["high"], *(f["value"] for f in seen)], y_log, 0.04)
    xs = alt.X(f"{x}:Q", title=x_unit, **Axis([f[x] for f in (data, *seen)]).look)
    low, median, value = (alt.Y(f"{column}:Q", title=y_unit, **up.look) for column in ("low", "median", "value"))
    color = theme.color(series, names, "fans", legend=None)
    levels = sorted(data["level"].unique().to_list(), reverse=True)
    bands = [alt.Chart(data).encode(x=xs, color=color).transform_filter(f"datum['level'] === {share}") for share in levels]
    place = [alt.Tooltip(f"{series}:N"), alt.Tooltip(f"{x}:Q", title=x_unit, format=".6~g")]
    tips = place + [alt.Tooltip(f"{column}:Q", format=".4~g") for column in ("low", "median", "high")]
    layers = [band.mark_area(opacity=SHADE).encode(y=low, y2="high:Q") for band in bands]
    layers.append(bands[0].mark_line(strokeWidth=2).encode(y=median))
    layers.append(theme.hovered(bands[0], y=median, tooltip=tips))
    for f in seen:
        points = alt.Chart(f).mark_point(filled=True, size=46, opacity=1, stroke="white", strokeWidth=0.8)
        layers.append(points.encode(x=xs, y=value, color=color, tooltip=[*place, alt.Tooltip("value:Q", format=".4~g")]))
    ends = data.filter(pl.col("level") == levels[0]).group_by(series, maintain_order=True).agg(pl.all().sort_by(x).last())
    said = "; ".join(
        f"{f'{row[series]} ' if row[series] else ''}{figure(row['median'])} ({figure(row['low'])} to {figure(row['high'])}) at {row[x]:.6g}"
        for row in ends.iter_rows(named=True)
    )
    wrapped = [name(n) for n in ends[series]]
    heights = up.apart(ends["median"].to_list(), max(n.count("\n") + 1 for n in wrapped))
    text = alt.Chart(ends.with_columns(pl.Series("median", heights), pl.Series("label", wrapped), theme.inks(names, "fans")))
    text = text.mark_text(align="left", baseline="middle", dx=7, lineBreak="\n", lineHeight=14)
    layers.append(text.encode(x=xs, y=median, color=theme.INK_OF_ROW, text="label:N"))
    width = theme.WIDTH - 74 - max(pixels(part) for n in wrapped for part in n.split("\n"))
    held = " and ".join(", ".join(f"{100 * share:g}" for share in reversed(levels)).rsplit(", ", 1))
    shown = f"Line: median; shades hold {held} % of the futures{f'; points: {observed_as}' if seen else ''}."
    said = f"Fan chart of {y_unit} over {x_unit}; at its end, with the band of {100 * levels[0]:g} %: {said}."
    return theme.finish(alt.LayerChart(layer=layers, width=width, height=HEIGHT), title, f"{subtitle.rstrip('.')}. {shown}", said)
