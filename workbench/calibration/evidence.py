"""What was measured near by, and the interval of a prediction that rests on it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import polars as pl

from workbench import catalogue
from workbench.calibration.pool import Fit
from workbench.errors import InputError


@lru_cache(maxsize=4096)
def measured(fit: Fit, level: str, *names: str) -> int:
    """Rows of a fit whose node at `level` begins with these names: of a chip, in any precision."""
    start = "|".join(names)
    return sum(rows for (at, key), rows in fit.rows.items() if at == level and (key == start or key.startswith(f"{start}|")))


def half_width(table: str, near: Sequence[str], missing: Sequence[str] = ()) -> float:
    """Half width of the 80 % interval of the logarithm of what is predicted, as rows that were left out showed it.

    `table` holds errors by case. Of the cases `near`, the first that it has counts; each of the `missing`, what was not measured, may widen
    the interval.
    """
    widths = catalogue.made_of(table, _widths)
    known = [case for case in near if case in widths][:1]
    if not known:
        raise InputError(f"{table}: no case {' or '.join(map(repr, near))}; it has {', '.join(widths)}")
    return max(widths[case] for case in (*known, *missing))


def _widths(errors: pl.DataFrame) -> dict[str, float]:
    return dict(zip(errors["case"].to_list(), errors["half_width"].to_list(), strict=True))
