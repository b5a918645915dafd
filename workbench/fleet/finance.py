"""Money over time."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.errors import InputError


def annuity(capital: ArrayLike, rate: ArrayLike, years: ArrayLike) -> NDArray[np.float64]:
    """Equal yearly payment, at the end of each year, that repays `capital` with interest.

    capital * rate / (1 - (1 + rate)^-years), and capital / years at no interest

    Parameters
    ----------
    capital : array_like
        [USD]
    rate : array_like
        Interest a year, above -1: .0675 for 6.75 %.
    years : array_like
        Life, above 0.

    Returns
    -------
    ndarray
        [USD a year], broadcast.

    Raises
    ------
    InputError
        For a life that is not positive or a rate of -1 or less.

    References
    ----------
    .. [1] Brealey, Myers, Allen, "Principles of Corporate Finance", section 2.2 (annuity factor).
    """
    life, interest = np.asarray(years, dtype=float), np.asarray(rate, dtype=float)
    if not np.all((life > 0) & np.isfinite(life)):
        raise InputError(f"years = {years}: expected a life above 0")
    if not np.all(interest > -1):
        raise InputError(f"rate = {rate}: expected more than -1 (-100 %)")
    # expm1 and log1p keep all digits where the rate is small (the plain formula loses half of them at 1e-8); at rest the series holds
    free = np.abs(interest) < 1e-12
    some = np.where(free, 1.0, interest)
    factor = np.where(free, (1 + interest * (life + 1) / 2) / life, some / -np.expm1(-life * np.log1p(some)))
    return np.asarray(capital, dtype=float) * factor
