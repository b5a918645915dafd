"""Axes of positions and values: scales, marks, labels that keep apart, columns that can be drawn on them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import polars as pl

from workbench.charts.frames import DIGITS, numbers, present

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
        self.look: dict[str, Any] = {"scale": scale, "axis": axis}

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
    positive = "cannot stand on a logarithmic axis", lambda v: v > 0
    found = []
    for name in dict.fromkeys(names):
        what, fits = positive if logs.get(name) else ("cannot stand on an axis", pl.Series.is_finite)
        found.append(numbers(frame, name, fits, what).round_sig_figs(DIGITS))
    return frame.select(*found, pl.col(series).cast(pl.String))
