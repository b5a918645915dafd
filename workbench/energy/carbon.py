"""Carbon whose accounting is part of its type: what grids emit on average, at the margin, on paper, and what making things emitted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from workbench.arrays import Array, Arrays, broadcast
from workbench.checks import LIFE_YEARS, NOT_NEGATIVE, Rule, number, one_of, takes
from workbench.errors import InputError
from workbench.units import YEAR

#: How carbon is counted: average mix of the grid, the plant that answers one more watt, after contracts, or making of the equipment.
Account = Literal["location", "marginal", "market", "embodied"]
INTENSITY = Rule(least=0.0, most=5000.0, unit="g/kWh")  #: of a kilowatt-hour; the dirtiest grids emit about 1,000 g


@dataclass(frozen=True, repr=False)
class Carbon(Arrays):
    """Kilograms of CO2 equivalent under one account; adding two accounts is refused, because their sum means nothing."""

    account: Account  #: location, market, marginal or embodied
    kg: Array  #: of CO2 equivalent [kg]

    def __post_init__(self) -> None:
        one_of("account", self.account, get_args(Account))
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


@takes(kg=NOT_NEGATIVE, seconds=NOT_NEGATIVE, life_years=LIFE_YEARS, share_used=Rule(above=0.0, most=1.0))
def embodied_carbon(kg: ArrayLike, seconds: ArrayLike, *, life_years: ArrayLike, share_used: ArrayLike = 1.0) -> Carbon:
    """Embodied carbon of a machine that is attributed to `seconds` of its use.

    kg seconds / (life share_used): idle time is charged to the time in use.
    Source: Luccioni, Viguier, Ligozat (2022), "Estimating the Carbon Footprint of BLOOM", section 3.2, arXiv:2211.02001.

    Parameters
    ----------
    kg, seconds : array_like
        Carbon of making the machine [kg]; time in use [s].
    life_years, share_used : array_like
        Whole life, above 0 and at most 100; share of it in which the machine works, above 0 and at most 1.

    Examples
    --------
    >>> embodied_carbon(1500, 90 * 86400, life_years=5, share_used=0.8)
    Carbon(account='embodied', kg=92.4025)
    """
    return Carbon("embodied", np.multiply(kg, seconds) / np.multiply(np.multiply(life_years, YEAR), share_used))
