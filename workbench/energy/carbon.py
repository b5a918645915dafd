"""Carbon whose accounting is part of its type: what grids emit on average, at the margin, on paper, and what making things emitted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.arrays import broadcast
from workbench.checks import NOT_NEGATIVE, POSITIVE, Rule, number, takes
from workbench.errors import InputError

#: How carbon is counted: average mix of the grid, the plant that answers one more watt, after contracts, or making of the equipment.
Account = Literal["location", "marginal", "market", "embodied"]


@dataclass(frozen=True)
class Carbon:
    """Kilograms of CO2 equivalent under one account; adding two accounts is refused, because their sum means nothing."""

    account: Account
    kg: NDArray[np.float64]
    __array_ufunc__ = None  # an array times carbon is carbon, not an array of carbons

    def __post_init__(self) -> None:
        if self.account not in get_args(Account):
            raise InputError(f"account = {self.account!r}: expected one of {', '.join(get_args(Account))}")
        object.__setattr__(self, "kg", number(f"kg of {self.account} carbon", self.kg))

    def __add__(self, other: Carbon) -> Carbon:
        if not isinstance(other, Carbon):
            return NotImplemented
        if other.account != self.account:
            raise InputError(f"{self.account}-based and {other.account} carbon do not add up: report them side by side")
        broadcast(kg=self.kg, other=other.kg)
        return Carbon(self.account, self.kg + other.kg)

    def __radd__(self, other: int) -> Carbon:
        return self if isinstance(other, int) and other == 0 else NotImplemented  # so that sum() works

    def __sub__(self, other: Carbon) -> Carbon:
        return self + -1.0 * other if isinstance(other, Carbon) else NotImplemented

    def __mul__(self, factor: ArrayLike) -> Carbon:
        if isinstance(factor, Carbon):
            return NotImplemented
        broadcast(kg=self.kg, factor=(by := number("factor", factor)))
        return Carbon(self.account, self.kg * by)

    __rmul__ = __mul__

    def __truediv__(self, divisor: ArrayLike) -> Carbon:
        if not (by := number("divisor", divisor)).all():
            raise InputError("divisor = 0: expected another number than 0")
        return self * (1 / by)

    def sum(self) -> Carbon:
        """All entries together."""
        return Carbon(self.account, np.asarray(self.kg.sum()))


@takes(energy=NOT_NEGATIVE, carbon_intensity=NOT_NEGATIVE)
def grid_carbon(energy: ArrayLike, carbon_intensity: ArrayLike, account: Account = "location") -> Carbon:
    """Carbon of `energy` [J] at `carbon_intensity` [kg/J] under one account.

    Raises
    ------
    InputError
        For a negative amount, and for ``embodied``, which no grid has.

    References
    ----------
    .. [1] GHG Protocol (2015), Scope 2 Guidance: location-based and market-based method.
    """
    if account == "embodied":
        raise InputError("account = 'embodied': a grid has none; see embodied_carbon")
    return Carbon(account, np.multiply(energy, carbon_intensity))


@takes(kg=NOT_NEGATIVE, seconds=NOT_NEGATIVE, life=POSITIVE, share_used=Rule(above=0.0, most=1.0))
def embodied_carbon(kg: ArrayLike, seconds: ArrayLike, *, life: ArrayLike, share_used: ArrayLike = 1.0) -> Carbon:
    """Share of the carbon of making a machine that falls on `seconds` of its use.

    kg * seconds / (life * share_used): what stands idle is borne by what works.

    Parameters
    ----------
    kg : array_like
        Carbon of making the machine.
    seconds : array_like
        Time in use.
    life : array_like
        Whole life [s], above 0.
    share_used : array_like
        Share of its life in which it works, above 0 and at most 1.

    References
    ----------
    .. [1] Luccioni, Viguier, Ligozat (2022), "Estimating the Carbon Footprint of BLOOM", section 3.2, arXiv:2211.02001.
    """
    return Carbon("embodied", np.multiply(kg, seconds) / np.multiply(life, share_used))
