"""What a sweep varied, as axes of a picture: numbers on a linear or logarithmic axis, or levels of anything else."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import altair as alt
import numpy as np
import polars as pl

from workbench.charts.frames import DIGITS, present
from workbench.errors import InputError
from workbench.units import human, significant

LEVELS = 12  #: values up to which numbers are groups of their own
GROUP, GROUPS = 8, 10  #: runs a group needs at least, and the most groups
DECADES = 1.5  #: span from which numbers may be spread by ratio
#: Labels of an axis: as many digits as needed, and prefixes for what is large.
LABELS = "abs(datum.value) >= 1e5 ? format(datum.value, '.3~s') : format(datum.value, ',.5~r')"


@dataclass(frozen=True)
class Varied:
    """A column as an axis.

    Parameters
    ----------
    label : str
        What the axis shows, with unit.
    values : polars.Series
        Numbers, or texts. A missing value is the level ``None``.
    """

    label: str
    values: pl.Series

    @classmethod
    def of(cls, frame: pl.DataFrame, column: str, label: str) -> Varied:
        """The column of that name. Raises `InputError` where the frame has none, or one whose numbers are not finite."""
        present(frame, column)
        values = frame[column]
        if values.dtype.is_numeric() and not values.null_count():
            values = values.cast(pl.Float64)
            if not values.is_finite().all():
                row = int((~values.is_finite()).arg_true()[0])
                raise InputError(f"column {column!r}, row {row}: {values[row]} is no finite number")
            return cls(label, values.round_sig_figs(DIGITS))
        texts = pl.Series(named(values), dtype=pl.String) if values.dtype.is_numeric() else values.cast(pl.String)
        texts, order = texts.fill_null("None"), values.arg_sort() if values.dtype.is_numeric() else pl.arange(len(values), eager=True)
        return cls(label, texts.cast(pl.Enum(texts.gather(order).unique(maintain_order=True))))

    @property
    def numeric(self) -> bool:
        return self.values.dtype.is_numeric()

    @cached_property
    def levels(self) -> list[str]:
        """Texts of the distinct values, in order."""
        if self.numeric:
            return named(self.values.unique().sort())  # type: ignore[return-value]
        return list(self.values.dtype.categories)  # type: ignore[attr-defined]

    @cached_property
    def count(self) -> int:
        """How many distinct values there are."""
        return self.values.n_unique() if self.numeric else len(self.levels)

    @cached_property
    def log(self) -> bool:
        """Whether the numbers are spread by ratio: their logarithms lie more evenly than they do."""
        if not self.numeric or (low := self.low) <= 0 or self.high < low * 10**DECADES:
            return False
        middle = float(self.values.unique().median())  # type: ignore[arg-type]
        return abs(math.log(middle / low) / math.log(self.high / low) - 0.5) < abs((middle - low) / (self.high - low) - 0.5)

    @property
    def low(self) -> float:
        return float(self.values.min())  # type: ignore[arg-type]

    @property
    def high(self) -> float:
        return float(self.values.max())  # type: ignore[arg-type]

    @property
    def plain(self) -> pl.Series:
        """Numbers, or texts as a picture holds them."""
        return self.values if self.numeric else self.values.cast(pl.String)

    @cached_property
    def codes(self) -> pl.Series:
        """Number of each row's level."""
        return self.values.rank("dense").cast(pl.Int64) - 1 if self.numeric else self.values.to_physical().cast(pl.Int64)

    def places(self) -> pl.Series:
        """Where each row stands on the axis, from 0 to 1."""
        if not self.numeric:
            return ((self.codes + 0.5) / len(self.levels)).round_sig_figs(DIGITS)
        scaled = self.values.log() if self.log else self.values
        low, span = scaled.min(), scaled.max() - scaled.min()  # type: ignore[operator]
        return ((scaled - low) / span).round_sig_figs(DIGITS) if span else pl.repeat(0.5, len(scaled), eager=True)

    def marks(self) -> list[tuple[float, str]]:
        """Places on the axis and what stands there: every level, or the ends and the middle of numbers."""
        if not self.numeric:
            return [(round((i + 0.5) / len(self.levels), DIGITS), level) for i, level in enumerate(self.levels)]
        if self.low == self.high:
            return [(0.5, short(self.low))]
        ends = [self.low, math.sqrt(self.low * self.high) if self.log else (self.low + self.high) / 2, self.high]
        return [(place, short(value)) for place, value in zip((0.0, 0.5, 1.0), ends, strict=True)]

    def groups(self) -> pl.Series:
        """Number of each row's group, in order: a level each, or as many equal shares of the rows as have enough of them."""
        if not self.numeric or self.count <= LEVELS:
            return self.codes
        n = min(GROUPS, max(2, len(self.values) // GROUP))
        return ((self.values.rank("average") - 0.5) * n / len(self.values)).floor().cast(pl.Int64).clip(0, n - 1)

    def x(self, field: str, title: str | list[str]) -> alt.X:
        """The horizontal axis."""
        if not self.numeric:
            flat = len(self.levels) <= 3 and max(len(word) for level in self.levels for word in level.split()) <= 10
            axis = alt.Axis(labelAngle=0 if flat else -35, labelLimit=110, grid=False, ticks=False)
            if flat:
                axis.labelExpr = "split(datum.label, ' ')"
            return alt.X(f"{field}:O", title=title, sort=self.levels, axis=axis)
        axis = alt.Axis(tickCount=4, labelExpr=LABELS, grid=False, domain=True, labelOverlap=True)
        return alt.X(f"{field}:Q", title=title, axis=axis, scale=scale(self.values, self.log))


def scale(values: pl.Series, log: bool, pad: float = 0.03) -> alt.Scale:
    """The scale that holds `values` with a little room."""
    low, high = float(values.min()), float(values.max())  # type: ignore[arg-type]
    if log:
        room = (high / low) ** pad
        return alt.Scale(type="log", domain=[float(f"{low / room:.{DIGITS}g}"), float(f"{high * room:.{DIGITS}g}")], nice=False)
    extra = pad * (high - low) or 0.5 * abs(high) or 0.5
    return alt.Scale(domain=[float(f"{low - extra:.{DIGITS}g}"), float(f"{high + extra:.{DIGITS}g}")], nice=False, zero=False)


def short(value: float, digits: int = 3) -> str:
    """A number as a label: ``15.6 T``, ``4,610``, ``0.08``."""
    return human(value, digits=digits) if abs(value) >= 1e5 else significant(value, digits)


def named(values: Iterable[float | None]) -> list[str | None]:
    """Each value as a label, with as many digits as tell different values apart."""
    given = list(values)
    different = {v for v in given if v is not None}
    digits = next((d for d in (4, 6, 9, 12) if len({short(v, d) for v in different}) == len(different)), 17)
    return [None if v is None else short(v, digits) for v in given]


def sample(values: pl.Series, most: int) -> list[int]:
    """Numbers of at most `most` rows, those of the lowest and the highest value among them.

    The same ones for any values of that length but for the last two, so that pictures of several results share their data.
    """
    n = len(values)
    if n <= most:
        return list(range(n))
    order = np.random.default_rng(0).permutation(n).tolist()
    first = sorted(order[: most - 2])
    ends = [i for i in (values.arg_min(), values.arg_max()) if i is not None and i not in first]
    return [*first, *dict.fromkeys([*ends, *order[most - 2 :]])][:most]


def with_value(frame: pl.DataFrame, *names: str) -> pl.DataFrame:
    """The rows that have a value in the last of the columns. Raises `InputError` for a column that is missing, or no such row."""
    present(frame, *names)
    value = names[-1]
    if (good := frame.filter(pl.col(value).is_not_null())).is_empty():
        raise InputError(f"no row has a value in column {value!r}: there is nothing to draw")
    return good
