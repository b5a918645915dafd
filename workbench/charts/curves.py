"""Curves over a position: lines with bands and points, fans of what may come, areas of shares; their axes, and labels that keep apart."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import polars as pl

from workbench.charts import theme
from workbench.charts.frames import DIGITS, figure, numbers, once, present
from workbench.checks import takes
from workbench.errors import InputError

HEIGHT, LABEL = 320, 15  #: px of a plot, and of a label's line


class Axis:
    """Scale and marks of one axis: decades on a logarithmic one, written in full where they have few zeros."""

    def __init__(self, values: Sequence[pl.Series], log: bool = False, pad: float = 0.0):
        self.log = log
        low, high = (self._in(float(x)) for x in (min(v.min() for v in values), max(v.max() for v in values)))  # type: ignore[type-var, arg-type]
        room = pad * (high - low) or (0.5 if high == low else 0.0)
        self.low, self.high = low - room, high + room
        domain = [self._out(end) for end in (self.low, self.high)]
        decades = range(math.ceil(self.low - 1e-9), math.floor(self.high + 1e-9) + 1)
        if log and len(decades) > 2:
            step, short = math.ceil(len(decades) / 9), decades[0] >= -4 and decades[-1] <= 6
            axis = alt.Axis(values=[10.0**d for d in decades if d % step == 0], format=",~r" if short else "~e", grid=True)
        else:
            whole: dict[str, Any] = {"tickMinStep": 1} if self.low >= 1990 and self.high <= 2100 else {}  # years
            axis = alt.Axis(**whole, tickCount=6, format="~g" if log else "~f" if max(map(abs, domain)) < 1e5 else ".3~s", grid=True)
        scale = alt.Scale(type="log", domain=domain, nice=False) if log else alt.Scale(domain=domain, nice=False, zero=False)
        self.look: dict[str, Any] = {"scale": scale, "axis": axis, "stack": None}  # JupyterLab's Vega-Lite would stack areas sideways

    def apart(self, values: Sequence[float], lines: int = 1) -> list[float]:
        """Positions near `values` that keep the labels there, of so many lines, from covering each other."""
        gap = lines * LABEL / HEIGHT * (self.high - self.low)
        order = sorted(range(len(values)), key=values.__getitem__)
        places = [self._in(values[i]) for i in order]
        for _ in range(200):
            for k in range(len(places) - 1):
                short = gap - (places[k + 1] - places[k])
                if short > 1e-9 * gap:
                    places[k] -= short / 2
                    places[k + 1] += short / 2
        found = dict(zip(order, places, strict=True))
        return [self._out(found[i]) for i in range(len(values))]

    def _in(self, value: float) -> float:
        return math.log10(value) if self.log else value

    def _out(self, place: float) -> float:
        return float(f"{10.0**place if self.log else place:.{DIGITS}g}")


def checked(frame: pl.DataFrame, names: Sequence[str], series: str, logs: Mapping[str, bool]) -> pl.DataFrame:
    """The columns `names`, finite and above 0 where `logs` says so, and `series`; dates as years with their fraction."""
    present(frame, *names, series)
    dates = [name for name in dict.fromkeys(names) if frame[name].dtype in (pl.Date, pl.Datetime)]
    length = pl.when(pl.col(dates).dt.is_leap_year()).then(366).otherwise(365)
    frame = frame.with_columns(pl.col(dates).dt.year() + (pl.col(dates).dt.ordinal_day() - 1) / length) if dates else frame
    kinds = (pl.Series.is_finite, "cannot be put on an axis"), (lambda v: v > 0, "cannot be put on a logarithmic axis")
    found = (numbers(frame, name, *kinds[logs.get(name, False)]).round_sig_figs(DIGITS) for name in dict.fromkeys(names))
    return frame.select(*found, pl.col(series).cast(pl.String))


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
    at = alt.Tooltip(f"{x}:Q", title=x_unit, format=".3g")
    tooltip = [alt.Tooltip(f"{series}:N"), at, alt.Tooltip(f"{y}:Q", title=y_unit, format=".4g")]
    base = alt.Chart(data).encode(x=xs, color=color)
    layers = [base.mark_line(strokeWidth=2).encode(y=ys)]
    if low is not None and high is not None:
        layers.insert(0, base.mark_area(opacity=0.18).encode(y=alt.Y(f"{low}:Q", title=y_unit, **up.look), y2=alt.Y2(f"{high}:Q")))
    for frame in marks:
        layers.append(alt.Chart(frame).mark_point(filled=True, size=60, opacity=1).encode(x=xs, y=ys, color=color, tooltip=tooltip))
    layers.append(theme.hovered(base, y=ys, tooltip=tooltip))
    ends = data.group_by(series, maintain_order=True).agg(pl.all().sort_by(x).last())
    said = "; ".join(f"{row[series]} {row[y]:.3g} at {row[x]:.3g}" for row in ends.iter_rows(named=True))
    named = alt.Chart(ends.with_columns(pl.Series(y, up.apart(ends[y].to_list())), theme.inks(names, "lines")))
    layers.append(named.mark_text(align="left", dx=7).encode(x=xs, y=ys, color=theme.INK_OF_ROW, text=alt.Text(f"{series}:N")))
    chart = alt.LayerChart(layer=layers, width=theme.WIDTH - 74 - max(map(theme.pixels, names)), height=HEIGHT)
    return theme.finish(chart, title, subtitle, f"Lines of {y_unit} over {x_unit}: {said}.")


SHADE = 0.17  #: opacity of a band; those inside it lie on top and add theirs


@takes()
def fan(
    frame: pl.DataFrame, *, x: str, x_unit: str, y_unit: str, title: str, subtitle: str, series: str | None = None,
    observed: pl.DataFrame | None = None, observed_as: str = "observed", y_log: bool = False,
) -> alt.LayerChart:  # fmt: skip
    """Fan chart: one median and its bands a series, the narrowest darkest; series are named at their right end.

    What all pictures take is in the package's help; the subtitle goes on to say what the shades hold.

    Parameters
    ----------
    frame : polars.DataFrame
        One row per place, series and band in the columns of `uncertainty.Bands.frame`: level (the share that a band holds), low and high
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
    layers = [band.mark_area(opacity=SHADE).encode(y=low, y2=alt.Y2("high:Q")) for band in bands]
    layers.append(bands[0].mark_line(strokeWidth=2).encode(y=median))
    layers.append(theme.hovered(bands[0], y=median, tooltip=tips))
    for f in seen:
        points = alt.Chart(f).mark_point(filled=True, size=46, opacity=1, stroke="white", strokeWidth=0.8)
        layers.append(points.encode(x=xs, y=value, color=color, tooltip=[*place, alt.Tooltip("value:Q", format=".4~g")]))
    ends = data.filter(pl.col("level") == levels[0]).group_by(series, maintain_order=True).agg(pl.all().sort_by(x).last())
    told = ((r[series], *(figure(r[c]) for c in ("median", "low", "high")), r[x]) for r in ends.iter_rows(named=True))
    said = "; ".join(f"{f'{name} ' if name else ''}{middle} ({least} to {most}) at {at:.6g}" for name, middle, least, most, at in told)
    wrapped = [theme.name(n) for n in ends[series]]
    heights = up.apart(ends["median"].to_list(), max(n.count("\n") + 1 for n in wrapped))
    text = alt.Chart(ends.with_columns(pl.Series("median", heights), pl.Series("label", wrapped), theme.inks(names, "fans")))
    text = text.mark_text(align="left", baseline="middle", dx=7, lineBreak="\n", lineHeight=14)
    layers.append(text.encode(x=xs, y=median, color=theme.INK_OF_ROW, text=alt.Text("label:N")))
    width = theme.WIDTH - 74 - max(theme.pixels(part) for n in wrapped for part in n.split("\n"))
    held = " and ".join(", ".join(f"{100 * share:g}" for share in reversed(levels)).rsplit(", ", 1))
    shown = f"Line: median; shades hold {held} % of the futures{f'; points: {observed_as}' if seen else ''}."
    said = f"Fan chart of {y_unit} over {x_unit}; at its end, with the band of {100 * levels[0]:g} %: {said}."
    return theme.finish(alt.LayerChart(layer=layers, width=width, height=HEIGHT), title, f"{subtitle.rstrip('.')}. {shown}", said)


def shares(frame: pl.DataFrame, *, x: str, part: str, value: str, x_unit: str, y_unit: str, title: str, subtitle: str) -> alt.LayerChart:
    """Stacked areas of shares over time, in the order of the frame: the probability that each constraint binds, by quarter.

    Parameters
    ----------
    frame : polars.DataFrame
        One row per place and part; each part at each place. The rest of what all pictures take is in the package's help.
    x, part, value : str
        Columns of the position, of the name of the part, and of its share, 0 to 1. Shares at a place add up to 1, or the rest is white.

    Examples
    --------
    >>> frame = pl.DataFrame({"year": [2027, 2028], "limit": ["power", "power"], "share": [0.3, 0.5]})
    >>> words = {"x_unit": "year", "y_unit": "share of futures", "title": "Power binds", "subtitle": "A guess"}
    >>> shares(frame, x="year", part="limit", value="share", **words).description
    'Power binds. Areas of share of futures over year, from first to last: power 30 % to 50 %.'
    """
    data = checked(frame, [x, value], part, {})
    parts = data[part].unique(maintain_order=True).to_list()
    columns = max(1, int(theme.WIDTH // (max(map(theme.pixels, parts)) + 34)))  # with the square and the gap beside it
    color = theme.color(part, parts, "parts", title=None, sort=parts, legend=alt.Legend(columns=columns, labelLimit=0))
    for at in data.filter(~pl.col(value).is_between(0, 1)).iter_rows(named=True):
        raise InputError(f"{at[part]} at {x} = {at[x]}: {at[value]} is no share from 0 to 1")
    once(data, part, x)
    places = data[x].n_unique()
    for given in data.group_by(part, maintain_order=True).len().filter(pl.col("len") < places).iter_rows(named=True):
        raise InputError(f"{given[part]}: a share at {given['len']} of {places} places; expected one at each")
    for at in data.group_by(x, maintain_order=True).agg(pl.col(value).sum()).filter(pl.col(value) > 1 + 1e-4).iter_rows(named=True):
        raise InputError(f"shares at {x} = {at[x]} add up to {at[value]:.6g}: expected at most 1")
    data = data.sort(x, pl.col(part).cast(pl.Enum(parts)), maintain_order=True)
    end = pl.col(value).cum_sum().over(x)
    data = data.with_columns(end=end.round_sig_figs(DIGITS), start=(end - pl.col(value)).clip(0).round_sig_figs(DIGITS))

    one = theme.chosen(part)
    areas = alt.Chart(data, name="parts").mark_area(stroke="white", strokeWidth=0.8).add_params(one["pick"])
    xs = alt.X(f"{x}:Q", title=x_unit, **Axis([data[x]]).look)
    ys = alt.Y("start:Q", title=y_unit, scale=alt.Scale(domain=[0, 1], nice=False), axis=alt.Axis(format=".0%", tickCount=5))
    place = alt.Tooltip(f"{x}:Q", title=x_unit, format=".6~g")
    tooltip = [alt.Tooltip(f"{part}:N"), place, alt.Tooltip(f"{value}:Q", format=".1%")]
    areas = areas.encode(x=xs, y=ys, y2=alt.Y2("end:Q"), color=color, opacity=one["opacity"], tooltip=tooltip)
    ends = data.group_by(part, maintain_order=True).agg(pl.col(value).first().alias("first"), pl.col(value).last())
    said = "; ".join(f"{row[part]} {100 * row['first']:.3g} % to {100 * row[value]:.3g} %" for row in ends.iter_rows(named=True))
    chart = alt.LayerChart(layer=[areas], width=theme.WIDTH - 74, height=HEIGHT)
    return theme.finish(chart, title, subtitle, f"Areas of {y_unit} over {x_unit}, from first to last: {said}.")
