"""What goes into a picture: columns checked, numbers rounded to what an eye can read."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from workbench.errors import InputError
from workbench.units import significant

#: Digits that a picture keeps: more than an eye can read, few enough to be the same on every machine.
DIGITS = 6


def present(frame: pl.DataFrame, *names: str) -> None:
    """Raise `InputError` for a column that the frame lacks, or a frame without rows."""
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
