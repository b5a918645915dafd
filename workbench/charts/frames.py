"""What goes into a picture: columns checked, numbers rounded to what an eye can read, and what a sweep varied as axes or levels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import altair as alt
import numpy as np
import polars as pl

from workbench.errors import InputError
from workbench.units import human, significant

DIGITS = 6  #: digits that a picture keeps: more than an eye can read, few enough to be the same on every machine
LEVELS = 12  #: values up to which numbers are groups of their own
GROUP, GROUPS = 8, 10  #: runs a group needs at least, and the most groups
DECADES = 1.5  #: span from which numbers may be spread by ratio
#: Labels of an axis: as many digits as needed, and prefixes for what is large.
LABELS = "abs(datum.value) >= 1e5 ? format(datum.value, '.3~s') : format(datum.value, ',.5~r')"


def present(frame: pl.DataFrame, *names: str) -> None:
    """Raise `InputError` for what is no frame, a column that it lacks, or one without rows."""
    if not isinstance(frame, pl.DataFrame):
        raise InputError(f"frame = {frame!r:.80}: expected a polars DataFrame")
    for name in names:
        if name not in frame.columns:
            raise InputError(f"the frame has no column {name!r}; it has {', '.join(frame.columns) or 'none'}")
    if frame.is_empty():
        raise InputError("the frame has no rows: there is nothing to draw")


def once(frame: pl.DataFrame, *names: str) -> None:
    """Raise `InputError` for a row that has the same of all of `names` as another."""
    if (twice := frame.select(names).is_duplicated()).any():
        raise InputError(f"{frame.filter(twice).select(names).row(0)} is given twice")


def numbers(
    frame: pl.DataFrame, name: str, fits: Callable[[pl.Series], pl.Series] = pl.Series.is_finite, what: str = "is no finite number"
) -> pl.Series:
    """Column `name` as numbers. Raises `InputError` for other things, and for the first that is not finite or does not fit."""
    if not frame[name].dtype.is_numeric():
        raise InputError(f"column {name!r} holds {frame[name].dtype}: expected numbers")
    values = frame[name].cast(pl.Float64)
    good = (values.is_finite() & fits(values)).fill_null(False)
    if not good.all():
        row = int((~good).arg_true()[0])
        raise InputError(f"column {name!r}, row {row}: {values[row]} {what}")
    return values


def columns(frame: pl.DataFrame, *, texts: dict[str, str], values: dict[str, str]) -> pl.DataFrame:
    """The named columns of `frame` under the names that a picture gives them.

    `texts` and `values` say for a column of the result that of the frame; the first text names the rows. Raises `InputError` for a column
    that is missing, numbers that are not finite, a name that is missing or repeated, or no rows.
    """
    present(frame, *texts.values(), *values.values())
    rounded = [numbers(frame, name).round_sig_figs(DIGITS).alias(alias) for alias, name in values.items()]
    names = frame[next(iter(texts.values()))]
    if names.null_count():
        raise InputError(f"column {names.name!r}: a row has no name")
    if names.is_duplicated().any():
        raise InputError(f"column {names.name!r}: {names.filter(names.is_duplicated())[0]!r} names more than one row")
    return frame.select(*(pl.col(name).cast(pl.String).fill_null("").alias(alias) for alias, name in texts.items()), *rounded)


def figure(value: float) -> str:
    """`value` as a label of a picture: three digits, with a real minus sign."""
    return significant(value).replace("-", "\N{MINUS SIGN}")


@dataclass(frozen=True)
class Varied:
    """A column as an axis: numbers, or texts, of which a missing value is the level ``None``."""

    label: str  #: what the axis shows, with unit
    values: pl.Series

    @classmethod
    def of(cls, frame: pl.DataFrame, column: str, label: str) -> Varied:
        """The column of that name. Raises `InputError` where the frame has none, or one whose numbers are not finite."""
        present(frame, column)
        values = frame[column]
        if values.dtype.is_numeric() and not values.null_count():
            return cls(label, numbers(frame, column).round_sig_figs(DIGITS))
        order = values.arg_sort() if values.dtype.is_numeric() else pl.arange(len(values), eager=True)
        texts = pl.Series(named(values), dtype=pl.String) if values.dtype.is_numeric() else values.cast(pl.String).fill_null("None")
        return cls(label, texts.cast(pl.Enum(texts.gather(order).unique(maintain_order=True))))

    @property
    def numeric(self) -> bool:
        return self.values.dtype.is_numeric()

    @cached_property
    def levels(self) -> list[str]:
        """Texts of the distinct values, in order."""
        return named(self.values.unique().sort()) if self.numeric else list(self.values.dtype.categories)  # type: ignore[attr-defined]

    @property
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

    @property
    def codes(self) -> pl.Series:
        """Number of each row's level."""
        return self.values.rank("dense").cast(pl.Int64) - 1 if self.numeric else self.values.to_physical().cast(pl.Int64)

    def groups(self) -> pl.Series:
        """Number of each row's group, in order: a level each, or as many equal shares of the rows as have enough of them."""
        if not self.numeric or self.count <= LEVELS:
            return self.codes
        n = min(GROUPS, max(2, len(self.values) // GROUP))
        return ((self.values.rank("average") - 0.5) * n / len(self.values)).floor().cast(pl.Int64).clip(0, n - 1)

    def x(self, field: str, title: list[str]) -> alt.X:
        """The horizontal axis."""
        if self.numeric:
            axis = alt.Axis(tickCount=4, labelExpr=LABELS, grid=False, domain=True, labelOverlap=True)
            return alt.X(f"{field}:Q", title=title, axis=axis, scale=self.scale(0.03))
        flat = len(self.levels) <= 3 and max(len(word) for level in self.levels for word in level.split()) <= 10
        look: dict[str, Any] = {"labelAngle": 0, "labelExpr": "split(datum.label, ' ')"} if flat else {"labelAngle": -35}
        return alt.X(f"{field}:O", title=title, sort=self.levels, axis=alt.Axis(**look, labelLimit=110, grid=False, ticks=False))

    def scale(self, pad: float) -> alt.Scale:
        """The scale that holds the numbers with a little room."""
        low, high, more = self.low, self.high, {"type": "log"} if self.log else {"zero": False}
        room = (high / low) ** pad if self.log else pad * (high - low) or 0.5 * abs(high) or 0.5
        ends = (low / room, high * room) if self.log else (low - room, high + room)
        return alt.Scale(domain=[float(f"{end:.{DIGITS}g}") for end in ends], nice=False, **more)


def short(value: float, digits: int = 3) -> str:
    """A number as a label: ``15.6 T``, ``4,610``, ``0.08``."""
    return human(value, digits=digits) if abs(value) >= 1e5 else significant(value, digits)


def named(values: Iterable[float | None]) -> list[str]:
    """Each value as a label, with as many digits as tell different values apart; a missing one is None."""
    given = list(values)
    different = {v for v in given if v is not None}
    digits = next((d for d in (4, 6, 9, 12) if len({short(v, d) for v in different}) == len(different)), 17)
    return ["None" if v is None else short(v, digits) for v in given]


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
    if (good := frame.drop_nulls(names[-1])).is_empty():
        raise InputError(f"no row has a value in column {names[-1]!r}: there is nothing to draw")
    return good
