"""Vintages: how long a chip earns its keep, and what it is worth as newer ones come."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench import catalogue
from workbench.arrays import Arrays
from workbench.catalogue import Chip
from workbench.checks import FINITE, NOT_NEGATIVE, SHARE, Rule, takes
from workbench.energy import server_power
from workbench.energy.server import all_in_ratio
from workbench.errors import InputError
from workbench.fleet.finance import annuity
from workbench.fleet.ownership import server_capital
from workbench.units import KWH, YEAR

Array = NDArray[np.float64]

AGES = np.arange(1.0, 181.0) / 12  #: considered [years]


@dataclass(frozen=True, repr=False)
class Replacement(Arrays):
    """Best age to replace a chip and what choosing it costs; arrays broadcast over the arguments of `replacement`."""

    age: Array  #: cheapest age [years]; the longest considered where no replacement pays
    cost: Array  #: present value of holding the capacity for ever at that age, over the price of the first chip
    costs: Array  #: present value at each of the `AGES`, shape (..., k)


@takes(
    **dict.fromkeys(("price_decline", "energy_decline", "running", "resale_decline", "switching"), NOT_NEGATIVE),
    rate=Rule(above=0.0, most=10.0),
    resale=SHARE,
)
def replacement(
    *,
    price_decline: ArrayLike,
    energy_decline: ArrayLike,
    running: ArrayLike,
    rate: ArrayLike,
    resale: ArrayLike = 0.0,
    resale_decline: ArrayLike = 0.35,
    switching: ArrayLike = 0.1,
) -> Replacement:
    """Age at which a chip should make room for a newer one, where price and energy of its work keep falling.

    A chain of equal cycles of length T holds constant capacity for ever; over the price of today's chip its present value is
    [1 + switching - resale e^-(decline + r) T] / (1 - e^-(r + g) T) + running (1 - e^-rT) / r / (1 - e^-(r + e) T), with
    r = log(1 + rate) and g, e the yearly decline of price and of power of the same work. All ages are evaluated at once.

    Parameters
    ----------
    price_decline, energy_decline : array_like
        Decline a year, continuous (.32 for 27 % a year), of price and power of the same work; 0 or more.
    running : array_like
        Cost of power a year over the price of the chip: electricity, and what a watt of capacity is worth where power is scarce.
    rate : array_like
        Discount rate a year, as `annuity` takes it, above 0 and at most 10.
    resale : array_like
        Value of a chip on the day after purchase over its price.
    resale_decline : array_like
        Decline a year of that value.
    switching : array_like
        Cost of replacing over the price: without it, frictionless resale would make the best age nothing.

    Raises
    ------
    InputError
        For free switching with resale at the full price.

    References
    ----------
    .. [1] Bellman (1955), "Equipment replacement policy", J. SIAM 3(3).
    .. [2] Sethi, Chand (1979), "Planning horizon procedures for machine replacement models", Management Science 25(2).

    Examples
    --------
    >>> replacement(price_decline=0.32, energy_decline=0.3, running=[0.08, 0.5], rate=0.07).age.round(1)
    array([6.6, 3.2])
    """
    given = (price_decline, energy_decline, running, resale_decline, switching, np.log1p(rate), resale)
    g, e, run, d, sw, r, s0 = (np.asarray(value)[..., None] for value in given)
    if np.any((sw == 0) & (s0 >= 1)):
        raise InputError("switching = 0 with resale = 1: replacing all the time would be free; give a cost of switching")
    power = np.expm1(-r * AGES) / -r
    cycle = 1 + sw - s0 * np.exp(-(d + r) * AGES)
    costs = cycle / -np.expm1(-(r + g) * AGES) + run * power / -np.expm1(-(r + e) * AGES)
    best = costs.argmin(axis=-1)
    return Replacement(AGES[best], np.take_along_axis(costs, best[..., None], axis=-1)[..., 0], costs)


@takes(wacc=Rule(above=0.0, most=10.0), watt_usd_per_year=NOT_NEGATIVE, energy_decline=NOT_NEGATIVE, resale=SHARE)
def chip_refresh(
    chip: str | Chip,
    *,
    wacc: ArrayLike | None = None,
    watt_usd_per_year: ArrayLike = 0.0,
    energy_decline: ArrayLike = 0.3,
    resale: ArrayLike = 0.0,
) -> Replacement:
    """When a chip should make room for a newer one, at published prices and where power may be scarce.

    Its price is that of its server and network; the price of the same work falls as Epoch AI counts it; a watt costs its electricity, its
    facility, and what others would pay for it.

    Parameters
    ----------
    chip : str or Chip
    wacc : array_like, optional
        Discount rate a year, above 0; that of a hyperscaler if not given.
    watt_usd_per_year : array_like
        What a watt at the meter is worth to others: the shadow price of power, from `allocate`.
    energy_decline, resale : array_like
        As `replacement` takes them.

    Examples
    --------
    >>> chip_refresh("H100", watt_usd_per_year=[0.0, 10.0]).age.round(1)
    array([6.6, 3.2])
    """
    chip, constant = catalogue.chip(chip), lambda name: catalogue.cost(name).value
    rate = constant("wacc_hyperscaler") if wacc is None else wacc
    drawn = server_power(chip, ratio=all_in_ratio(chip).value).average * constant("pue_microsoft")
    facility = annuity(constant("facility_capex_usd_per_w"), rate, constant("facility_life_years"))
    watt = constant("electricity_us_industrial_2025_usd_per_kwh") / KWH * YEAR + facility
    return replacement(
        price_decline=price_decline(),
        energy_decline=energy_decline,
        running=drawn * np.add(watt, watt_usd_per_year) / server_capital(chip),
        rate=rate,
        resale=resale,
    )


def price_decline() -> float:
    """Decline a year, continuous, of the price of the same work, as Epoch AI counts it."""
    return float(catalogue.cost("price_performance_growth_log10_per_year").value * np.log(10))


@takes(price=NOT_NEGATIVE, age_years=FINITE, growth_log10=NOT_NEGATIVE)
def residual_value(price: ArrayLike, age_years: ArrayLike, growth_log10: ArrayLike) -> Array:
    """Price at which a chip of an age is as good a buy as a new one: price 10^(-growth age), never more than new [USD].

    Before its release (a negative age) it is worth its price; `growth_log10` is that of performance a dollar, orders of magnitude a year.

    References
    ----------
    .. [1] Cottier et al. (2024), "The rising costs of training frontier AI models", section 2.2, arXiv:2405.21015.
    """
    return np.multiply(price, 10 ** (-np.asarray(growth_log10) * np.maximum(age_years, 0.0)))
