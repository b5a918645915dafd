"""Vintages: how long a chip earns its keep, what it is worth as newer ones come, and when a power cap throws it out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.checks import number, share
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
    amounts = {
        "price_decline": price_decline, "energy_decline": energy_decline, "running": running, "resale_decline": resale_decline,
        "switching": switching, "repairs": repairs,
    }  # fmt: skip
    g, e, run, d, sw, rep = (number(name, value, least=0)[..., None] for name, value in amounts.items())
    r, s0, grow = (
        number("rate", rate, above=0)[..., None],
        share("resale", resale)[..., None],
        number("repair_growth", repair_growth)[..., None],
    )
    if np.any((sw == 0) & (s0 >= 1)):
        raise InputError("switching = 0 with resale = 1: replacing all the time would be free; give a cost of switching")
    ages = _ages(step, longest)[1:]
    power = np.expm1(-r * ages) / -r
    apart = grow - r
    level = np.abs(apart) < 1e-9
    repaired = rep * np.where(level, ages, np.expm1(apart * ages) / np.where(level, 1.0, apart))
    cycle = 1 + sw - s0 * np.exp(-(d + r) * ages) + repaired
    costs = cycle / -np.expm1(-(r + g) * ages) + run * power / -np.expm1(-(r + e) * ages)
    best = costs.argmin(axis=-1)
    return Replacement(ages[best], np.take_along_axis(costs, best[..., None], axis=-1)[..., 0], ages, costs)


def stock(additions: ArrayLike, *, failure_rate: ArrayLike, life: ArrayLike, step: float = 1.0) -> NDArray[np.float64]:
    """Chips of each vintage that stand at each period.

    additions[v] e^(-failure_rate (t - v)) for 0 <= t - v < life, else 0

    Parameters
    ----------
    additions : array_like, shape (..., periods)
        Chips that arrive at the start of each period.
    failure_rate : array_like
        Share lost a year, 0 or more; broadcast against the leading axes.
    life : array_like
        Age at which a vintage is retired [years], above 0; broadcast against the leading axes.
    step : float
        Length of a period [years].

    Returns
    -------
    ndarray, shape (..., vintages, periods)
    """
    added, lost = number("additions", additions, least=0), number("failure_rate", failure_rate, least=0)
    if added.ndim == 0:
        raise InputError("additions: expected an array whose last axis is the periods")
    periods = np.arange(added.shape[-1])
    age = (periods[None, :] - periods[:, None]) * float(number("step", step, above=0))
    stands = (age >= 0) & (age < number("life", life, above=0)[..., None, None] - 1e-9)
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
    years, on = number("age", age, least=0), number("running", running, least=0)
    return np.maximum(on, _parity(years, new_cost, price_decline, new_running, energy_decline, scarcity))


def _parity(
    years: NDArray[np.float64],
    new_cost: ArrayLike,
    price_decline: ArrayLike,
    new_running: ArrayLike,
    energy_decline: ArrayLike,
    scarcity: ArrayLike,
) -> NDArray[np.float64]:
    """What the work of a chip costs on the newest one when it is `years` old, and what scarcity adds [USD a year]."""
    own, whole = number("new_running", new_running, least=0), number("new_cost", new_cost, least=0)
    number("new_cost - new_running", whole - own, least=0, why="owning and running a chip costs at least running it")
    g, e = number("price_decline", price_decline), number("energy_decline", energy_decline)
    short = number("scarcity", scarcity, least=-1, why="a rent is no less than nothing")
    return ((whole - own) * np.exp(-g * years) + own * np.exp(-e * years)) * (1 + short)


def _ages(step: float, longest: float) -> NDArray[np.float64]:
    """0, step, ... longest [years]."""
    number("longest", longest, least=float(number("step", step, above=0)), why="at least one step of age")
    return np.arange(0.0, longest + step / 2, step)


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
    ages = _ages(step, longest)
    new, g, own, e, short = (
        np.asarray(x, dtype=float)[..., None] for x in (new_cost, price_decline, new_running, energy_decline, scarcity)
    )
    on, other = number("running", running, least=0)[..., None], number("shadow", shadow, least=0)[..., None]
    loses = _parity(ages, new, g, own, e, short) < on + other
    return np.where(loses.any(axis=-1), ages[loses.argmax(axis=-1)], np.inf)


def scarcity_of(observed: ArrayLike, parity: ArrayLike) -> NDArray[np.float64]:
    """Share by which an observed rent exceeds the rent of cost parity: above 0 in a shortage, below in a glut."""
    return number("observed", observed, least=0) / number("parity", parity, above=0) - 1


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
    years = np.maximum(number("age", age), 0.0)
    return number("price", price, least=0) * 10 ** (-number("growth_log10", growth_log10) * years)


def book_value(price: ArrayLike, age: ArrayLike, book_life: ArrayLike) -> NDArray[np.float64]:
    """What accounts say a chip is worth: straight-line depreciation over its book life, which is not its economic life.

    price max(1 - age / book_life, 0) [USD]; against `worth` it shows what a balance sheet hides.
    """
    left = 1 - number("age", age, least=0) / number("book_life", book_life, above=0)
    return number("price", price, least=0) * np.maximum(left, 0.0)


def runs(value_of_work: ArrayLike, energy: ArrayLike, power: ArrayLike, shadow_price: ArrayLike = 0.0) -> NDArray[np.bool_]:
    """Whether a chip should run in an hour: its work is worth more than its energy and the power it takes from others.

    value > energy + shadow_price power, all of the same hour; `shadow_price` [USD/W] comes from `allocate`.
    """
    cost = number("energy", energy) + number("shadow_price", shadow_price, least=0) * number("power", power, least=0)
    return np.asarray(number("value_of_work", value_of_work) > cost)
