"""Vintages: how long a chip earns its keep, what it is worth as newer ones come, and when a power cap throws it out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.errors import InputError


@dataclass(frozen=True)
class Replacement:
    """Best age to replace a chip and what choosing it costs; arrays broadcast over the arguments of `replacement`."""

    age: NDArray[np.float64]  #: cheapest age [years]; the longest considered where no replacement pays
    cost: NDArray[np.float64]  #: present value of holding the capacity for ever at that age, over the price of the first chip
    ages: NDArray[np.float64]  #: ages considered [years], shape (k,)
    costs: NDArray[np.float64]  #: present value at each of them, shape (..., k)

    def penalty(self, age: float) -> NDArray[np.float64]:
        """Present value of replacing at `age` [years] over that at the best age, less 1. Raises `InputError` beyond the ages considered."""
        if not self.ages[0] - 1e-9 <= age <= self.ages[-1] + 1e-9:
            raise InputError(f"age = {age}: ages from {self.ages[0]:.3g} to {self.ages[-1]:.3g} years were considered")
        return self.costs[..., np.abs(self.ages - age).argmin()] / self.cost - 1


def replacement(
    *,
    price_decline: ArrayLike,
    energy_decline: ArrayLike,
    running: ArrayLike,
    rate: ArrayLike,
    resale: ArrayLike = 0.0,
    resale_decline: ArrayLike = 0.35,
    switching: ArrayLike = 0.1,
    repairs: ArrayLike = 0.0,
    repair_growth: ArrayLike = 0.3,
    longest: float = 15.0,
    step: float = 1 / 12,
) -> Replacement:
    """Age at which a chip should make room for a newer one, where price and energy of its work keep falling.

    A chain of equal cycles of length T holds constant capacity for ever; over the price of today's chip its present value is
    [1 + switching - resale e^-(decline + rate) T + repairs(T)] / (1 - e^-(rate + g) T) + running (1 - e^-rT) / r / (1 - e^-(r + e) T), with
    g, e the yearly decline of price and of power of the same work. All ages are evaluated at once and the cheapest is taken.

    Parameters
    ----------
    price_decline, energy_decline : array_like
        Decline a year, continuous (.32 for 27 % a year), of price and power of the same work.
    running : array_like
        Cost of power a year over the price of the chip: electricity, and what a watt of capacity is worth where power is scarce.
    rate : array_like
        Discount rate a year, continuous, above 0.
    resale : array_like
        Value of a chip on the day after purchase over its price.
    resale_decline : array_like
        Decline a year of that value.
    switching : array_like
        Cost of replacing over the price: without it, frictionless resale would make the best age nothing.
    repairs, repair_growth : array_like
        Repairs in the first year over the price, and their growth a year.
    longest, step : float
        Ages considered [years].

    Returns
    -------
    Replacement

    Raises
    ------
    InputError
        For a rate that is not positive, negative declines, prices or costs, or free switching with resale at the full price.

    References
    ----------
    .. [1] Bellman (1955), "Equipment replacement policy", J. SIAM 3(3).
    .. [2] Sethi, Chand (1979), "Planning horizon procedures for machine replacement models", Management Science 25(2).
    """
    g, e, run, r, s0, d, sw, rep, grow = (
        np.asarray(x, dtype=float)[..., None]
        for x in (price_decline, energy_decline, running, rate, resale, resale_decline, switching, repairs, repair_growth)
    )
    if not np.all(r > 0):
        raise InputError(f"rate = {rate}: expected more than 0")
    for name, value in (("price_decline", g), ("energy_decline", e), ("running", run), ("resale", s0), ("switching", sw), ("repairs", rep)):
        if not np.all(value >= 0):
            raise InputError(f"{name} = {value[..., 0]}: expected 0 or more")
    if np.any((sw == 0) & (s0 >= 1)):
        raise InputError("switching = 0 with resale = 1: replacing all the time would be free; give a cost of switching")
    if not (np.all(np.isfinite(grow)) and 0 < step <= longest):
        raise InputError(f"repair_growth = {repair_growth}, step = {step}, longest = {longest}: expected finite, and 0 < step <= longest")
    ages = np.arange(step, longest + step / 2, step)
    power = np.expm1(-r * ages) / -r
    apart = grow - r
    level = np.abs(apart) < 1e-9
    repaired = rep * np.where(level, ages, np.expm1(apart * ages) / np.where(level, 1.0, apart))
    cycle = 1 + sw - s0 * np.exp(-(d + r) * ages) + repaired
    costs = cycle / -np.expm1(-(r + g) * ages) + run * power / -np.expm1(-(r + e) * ages)
    best = costs.argmin(axis=-1)
    return Replacement(ages[best], np.take_along_axis(costs, best[..., None], axis=-1)[..., 0], ages, costs)


def stock(additions: ArrayLike, *, failure_rate: ArrayLike, life: float, step: float = 1.0) -> NDArray[np.float64]:
    """Chips of each vintage that stand at each period.

    additions[v] e^(-failure_rate (t - v)) for 0 <= t - v < life, else 0

    Parameters
    ----------
    additions : array_like, shape (..., periods)
        Chips that arrive at the start of each period.
    failure_rate : array_like
        Share lost a year, 0 or more; broadcast against the leading axes.
    life : float
        Age at which a vintage is retired [years], above 0.
    step : float
        Length of a period [years].

    Returns
    -------
    ndarray, shape (..., vintages, periods)
    """
    added, lost = np.asarray(additions, dtype=float), np.asarray(failure_rate, dtype=float)
    if not life > 0:
        raise InputError(f"life = {life}: expected more than 0 years")
    if not (np.all(added >= 0) and np.all(lost >= 0)):
        raise InputError("additions and failure_rate: expected 0 or more")
    periods = np.arange(added.shape[-1])
    age = (periods[None, :] - periods[:, None]) * step
    stands = (age >= 0) & (age < life - 1e-9)
    return added[..., :, None] * np.where(stands, np.exp(-lost[..., None, None] * np.maximum(age, 0)), 0.0)


def rent(
    age: ArrayLike,
    *,
    new_cost: ArrayLike,
    price_decline: ArrayLike,
    running: ArrayLike,
    new_running: ArrayLike,
    energy_decline: ArrayLike = 0.0,
    scarcity: ArrayLike = 0.0,
) -> NDArray[np.float64]:
    """Rent that a chip of an age commands a year, its power included: what the same work costs on the newest chip, and what scarcity adds.

    max(running, [(new_cost - new_running) e^-g age + new_running e^-e age] (1 + scarcity)): a buyer pays no more than the full cost of the
    same work on new capacity, unless work waits; a chip whose rent does not pay its own running is switched off (`retirement_age`).

    Parameters
    ----------
    age : array_like
        Years since the chip was the newest.
    new_cost : array_like
        Cost of owning and running the newest chip when this one was new [USD a year for the work of one chip].
    price_decline, energy_decline : array_like
        Decline a year of capital and of power of the same work.
    running, new_running : array_like
        Power cost of this chip, and of the newest one at the start, for the same work [USD a year].
    scarcity : array_like
        Excess of demand over what stands, as a share of the cost; negative in a glut.

    Returns
    -------
    ndarray
        [USD a year]; never below `running`, under which the chip is switched off.

    References
    ----------
    .. [1] Hulten, Wykoff (1981), "The measurement of economic depreciation": rents of vintages in equilibrium.
    """
    years = np.asarray(age, dtype=float)
    if not np.all(years >= 0):
        raise InputError(f"age = {age}: expected 0 or more years")
    on = np.asarray(running, dtype=float)
    own = np.asarray(new_running, dtype=float)
    parity = (np.asarray(new_cost, dtype=float) - own) * np.exp(-np.asarray(price_decline) * years) + own * np.exp(
        -np.asarray(energy_decline) * years
    )
    return np.maximum(on, parity * (1 + np.asarray(scarcity, dtype=float)))


def retirement_age(
    *,
    new_cost: ArrayLike,
    price_decline: ArrayLike,
    running: ArrayLike,
    new_running: ArrayLike,
    energy_decline: ArrayLike = 0.0,
    scarcity: ArrayLike = 0.0,
    shadow: ArrayLike = 0.0,
    longest: float = 30.0,
    step: float = 1 / 12,
) -> NDArray[np.float64]:
    """Age at which a chip's rent no longer pays for running it and for the power it takes from others: when it is switched off.

    The first age with  parity(age) (1 + scarcity) < running + shadow; unlike `replacement` it owes nothing to what the chip once cost.

    Parameters
    ----------
    new_cost, price_decline, running, new_running, energy_decline, scarcity : array_like
        As `rent`.
    shadow : array_like
        What the chip's power is worth to others a year [USD]: the shadow price of a watt, from `allocate`, times its watts.
    longest, step : float
        Ages considered [years].

    Returns
    -------
    ndarray
        [years]; inf where it outlasts `longest`.
    """
    ages = np.arange(0.0, longest + step / 2, step)
    new, g, on, own, e, short, other = (
        np.asarray(x, dtype=float)[..., None] for x in (new_cost, price_decline, running, new_running, energy_decline, scarcity, shadow)
    )
    paid = ((new - own) * np.exp(-g * ages) + own * np.exp(-e * ages)) * (1 + short)
    loses = paid < on + other
    return np.where(loses.any(axis=-1), ages[loses.argmax(axis=-1)], np.inf)


def scarcity_of(observed: ArrayLike, parity: ArrayLike) -> NDArray[np.float64]:
    """Share by which an observed rent exceeds the rent of cost parity: above 0 in a shortage, below in a glut."""
    fair = np.asarray(parity, dtype=float)
    if not np.all(fair > 0):
        raise InputError(f"parity = {parity}: expected rents above 0")
    return np.asarray(observed, dtype=float) / fair - 1


def worth(price: ArrayLike, age: ArrayLike, growth_log10: ArrayLike) -> NDArray[np.float64]:
    """Price at which a chip of an age is as good a buy as a new one: price 10^(-growth age), never more than new.

    Parameters
    ----------
    price : array_like
        When it was new [USD].
    age : array_like
        [years]; before its release (negative) it is worth its price.
    growth_log10 : array_like
        Growth of performance a dollar, orders of magnitude a year.

    References
    ----------
    .. [1] Cottier et al. (2024), "The rising costs of training frontier AI models", section 2.2, arXiv:2405.21015.
    """
    return np.asarray(price, dtype=float) * 10 ** (-np.asarray(growth_log10, dtype=float) * np.maximum(np.asarray(age, dtype=float), 0.0))


def book_value(price: ArrayLike, age: ArrayLike, book_life: ArrayLike) -> NDArray[np.float64]:
    """What accounts say a chip is worth: straight-line depreciation over its book life, which is not its economic life.

    price max(1 - age / book_life, 0) [USD]; against `worth` it shows what a balance sheet hides.
    """
    life = np.asarray(book_life, dtype=float)
    if not np.all(life > 0):
        raise InputError(f"book_life = {book_life}: expected more than 0 years")
    return np.asarray(price, dtype=float) * np.clip(1 - np.asarray(age, dtype=float) / life, 0.0, 1.0)


def runs(value_of_work: ArrayLike, energy: ArrayLike, power: ArrayLike, shadow_price: ArrayLike = 0.0) -> NDArray[np.bool_]:
    """Whether a chip should run in an hour: its work is worth more than its energy and the power it takes from others.

    value > energy + shadow_price power, all of the same hour; `shadow_price` [USD/W] comes from `allocate`.
    """
    return np.asarray(value_of_work) > np.asarray(energy) + np.asarray(shadow_price) * np.asarray(power)
