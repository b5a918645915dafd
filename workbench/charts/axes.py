"""Axes of positions and values: scales, marks, labels that keep apart, columns that can stand on them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import altair as alt
import polars as pl

from workbench.charts.frames import DIGITS, present
from workbench.errors import InputError

HEIGHT, LABEL = 320, 15  #: px of a plot, and of a label's line


class Axis:
    """Scale and marks of one axis: decades on a logarithmic one, written in full where they have few zeros."""

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
        short = len(decades) > 0 and decades[0] >= -4 and decades[-1] <= 6
        if log and len(decades) > 2:
            self.axis = alt.Axis(values=[10.0**d for d in decades if d % step == 0], format=",~r" if short else "~e", grid=True)
        else:
            self.axis = alt.Axis(tickCount=6, format="~g" if log else "~f" if max(map(abs, domain)) < 1e5 else ".3~s", grid=True)

    def apart(self, values: list[float], lines: int = 1) -> list[float]:
        """Positions near `values` that keep the labels there, of so many lines, from covering each other."""
        gap = lines * LABEL / HEIGHT * (self.high - self.low)
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


def checked(frame: pl.DataFrame, numbers: Sequence[str], series: str, logs: Mapping[str, bool]) -> pl.DataFrame:
    """The columns `numbers`, finite and above 0 where `logs` says so, and `series`; dates as years with their fraction."""
    present(frame, *numbers, series)
    frame = frame.with_columns(years(name) for name in dict.fromkeys(numbers) if frame[name].dtype in (pl.Date, pl.Datetime))
    for name in numbers:
        for row, value in enumerate(frame[name].cast(pl.Float64)):
            if value is None or not math.isfinite(value) or (logs.get(name) and value <= 0):
                raise InputError(f"column {name!r}, row {row}: {value} cannot stand on {'a logarithmic' if logs.get(name) else 'an'} axis")
    return frame.select(
        *(pl.col(n).cast(pl.Float64).round_sig_figs(DIGITS) for n in dict.fromkeys(numbers)), pl.col(series).cast(pl.String)
    )


def years(date: str) -> pl.Expr:
    """The column `date` as years with their fraction: 1 July 2026 is 2026.496."""
    return (
        pl.col(date).dt.year() + (pl.col(date).dt.ordinal_day() - 1) / pl.when(pl.col(date).dt.is_leap_year()).then(366).otherwise(365)
    ).alias(date)
