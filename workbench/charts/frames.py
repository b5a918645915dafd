"""What goes into a picture: columns checked, numbers rounded to what an eye can read."""

from __future__ import annotations

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


def columns(frame: pl.DataFrame, *, texts: dict[str, str], numbers: dict[str, str]) -> pl.DataFrame:
    """The named columns of `frame` under the names that a picture gives them.

    Parameters
    ----------
    frame : polars.DataFrame
        At least one row.
    texts, numbers : dict
        Column of the result: column of `frame`. The first text column names the rows and has no value twice.

    Raises
    ------
    InputError
        For a column that is missing, numbers that are not finite, a name that is missing or repeated, or no rows.
    """
    present(frame, *texts.values(), *numbers.values())
    for name in numbers.values():
        column = frame[name]
        if not column.dtype.is_numeric():
            raise InputError(f"column {name!r} holds {column.dtype}: expected numbers")
        for row, value in enumerate(column.cast(pl.Float64).is_finite().fill_null(False)):
            if not value:
                raise InputError(f"column {name!r}, row {row}: {column[row]} is no finite number")
    names = frame[next(iter(texts.values()))]
    if names.null_count():
        raise InputError(f"column {names.name!r}: a row has no name")
    if names.is_duplicated().any():
        raise InputError(f"column {names.name!r}: {names.filter(names.is_duplicated())[0]!r} names more than one row")
    return frame.select(
        *(pl.col(name).cast(pl.String).fill_null("").alias(alias) for alias, name in texts.items()),
        *(pl.col(name).cast(pl.Float64).round_sig_figs(DIGITS).alias(alias) for alias, name in numbers.items()),
    )


def figure(value: float) -> str:
    """`value` as a label of a picture: three digits, with a real minus sign."""
    return significant(value).replace("-", "\N{MINUS SIGN}")
