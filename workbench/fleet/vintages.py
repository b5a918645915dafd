"""Vintages: how long a chip earns its keep, what it is worth as newer ones come, and when a power cap throws it out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.checks import FINITE, NOT_NEGATIVE, POSITIVE, SHARE, Rule, number, takes
from workbench.errors import InputError
from workbench.fleet.finance import LIFE

Array = NDArray[np.float64]

#: Ages considered [years]: the longest, and the step between them, no less than an hour.
LONGEST = Rule(most=LIFE.most, one=True, unit="years")
STEP = Rule(least=1e-4, one=True, unit="years")
#: What makes a rent; declines are negative where prices or power rise.
MARKET = dict.fromkeys(("new_cost", "running", "new_running"), NOT_NEGATIVE) | {
    "price_decline": FINITE,
    "energy_decline": FINITE,
    "scarcity": Rule(least=-1.0, why="a rent is no less than nothing"),
}


@dataclass(frozen=True)
class Replacement:
    """Best age to replace a chip and what choosing it costs; arrays broadcast over the arguments of `replacement`."""

    age: Array  #: cheapest age [years]; the longest considered where no replacement pays
    cost: Array  #: present value of holding the capacity for ever at that age, over the price of the first chip
    ages: Array  #: ages considered [years], shape (k,)
    costs: Array  #: present value at each of them, shape (..., k)

    def penalty(self, age: float) -> Array:
        """Present value of replacing at `age` [years] over that at the best age, less 1. Raises `InputError` beyond the ages considered."""
        if not self.ages[0] - 1e-9 <= Rule(one=True)("age", age) <= self.ages[-1] + 1e-9:
            raise InputError(f"age = {age}: ages from {self.ages[0]:.3g} to {self.ages[-1]:.3g} years were considered")
        return self.costs[..., np.abs(self.ages - age).argmin()] / self.cost - 1


@takes(
    **dict.fromkeys(("price_decline", "energy_decline", "running", "resale_decline", "switching", "repairs"), NOT_NEGATIVE),
    rate=Rule(above=0.0, most=10.0),
    resale=SHARE,
    repair_growth=FINITE,
    longest=LONGEST,
    step=STEP,
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
        Decline a year, continuous (.32 for 27 % a year), of price and power of the same work; 0 or more.
    running : array_like
        Cost of power a year over the price of the chip: electricity, and what a watt of capacity is worth where power is scarce.
    rate : array_like
        Discount rate a year, continuous (``log1p`` of the rate that `annuity` takes), above 0 and at most 10.
    resale : array_like
        Value of a chip on the day after purchase over its price.
    resale_decline : array_like
        Decline a year of that value.
    switching : array_like
        Cost of replacing over the price: without it, frictionless resale would make the best age nothing.
    repairs, repair_growth : array_like
        Repairs in the first year over the price, and their growth a year, negative where they fall.
    longest, step : float
        Ages considered [years], at most 1,000 and no closer than an hour.

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
    given = (price_decline, energy_decline, running, resale_decline, switching, repairs, rate, resale, repair_growth)
    g, e, run, d, sw, rep, r, s0, grow = (np.asarray(value)[..., None] for value in given)
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


@takes(additions=Rule(least=0.0, last="periods"), failure_rate=NOT_NEGATIVE, life=LIFE, step=Rule(above=0.0, one=True))
def stock(additions: ArrayLike, *, failure_rate: ArrayLike, life: ArrayLike, step: float = 1.0) -> Array:
    """Chips of each vintage that stand at each period.

    additions[v] e^(-failure_rate (t - v)) for 0 <= t - v < life, else 0

    Parameters
    ----------
    additions : array_like, shape (..., periods)
        Chips that arrive at the start of each period.
    failure_rate : array_like
        Share lost a year, 0 or more; broadcast against the leading axes.
    life : array_like
        Age at which a vintage is retired [years], above 0 and at most 1,000; broadcast against the leading axes.
    step : float
        Length of a period [years].

    Returns
    -------
    ndarray, shape (..., vintages, periods)
    """
    added, lost = np.asarray(additions), np.asarray(failure_rate)
    periods = np.arange(added.shape[-1])
    age = (periods[None, :] - periods[:, None]) * step
    stands = (age >= 0) & (age < np.asarray(life)[..., None, None] - 1e-9)
    return added[..., :, None] * np.where(stands, np.exp(-lost[..., None, None] * np.maximum(age, 0)), 0.0)


@takes(age=NOT_NEGATIVE, **MARKET)
def rent(
    age: ArrayLike,
    *,
    new_cost: ArrayLike,
    price_decline: ArrayLike,
    running: ArrayLike,
    new_running: ArrayLike,
    energy_decline: ArrayLike = 0.0,
    scarcity: ArrayLike = 0.0,
) -> Array:
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
        Decline a year, continuous, of capital and of power of the same work; negative where they rise.
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
    return np.maximum(running, _parity(*map(np.asarray, (age, new_cost, price_decline, new_running, energy_decline, scarcity))))


def _parity(age: Array, new_cost: Array, price_decline: Array, new_running: Array, energy_decline: Array, scarcity: Array) -> Array:
    """What the work of a chip costs on the newest one when it is `age` old, and what scarcity adds [USD a year]."""
    apart = number("new_cost - new_running", new_cost - new_running, least=0, why="owning and running a chip costs at least running it")
    return (apart * np.exp(-price_decline * age) + new_running * np.exp(-energy_decline * age)) * (1 + scarcity)


def _ages(step: float, longest: float) -> Array:
    """0, step, ... longest [years]."""
    number("longest", longest, least=step, why="at least one step of age")
    return np.arange(0.0, longest + step / 2, step)


@takes(**MARKET, shadow=NOT_NEGATIVE, longest=LONGEST, step=STEP)
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
) -> Array:
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
    market = (np.asarray(x)[..., None] for x in (new_cost, price_decline, new_running, energy_decline, scarcity))
    loses = _parity(ages, *market) < np.add(running, shadow)[..., None]
    return np.where(loses.any(axis=-1), ages[loses.argmax(axis=-1)], np.inf)


@takes(observed=NOT_NEGATIVE, parity=POSITIVE)
def scarcity_of(observed: ArrayLike, parity: ArrayLike) -> Array:
    """Share by which an observed rent exceeds the rent of cost parity: above 0 in a shortage, below in a glut."""
    return np.divide(observed, parity) - 1


@takes(price=NOT_NEGATIVE, age=FINITE, growth_log10=NOT_NEGATIVE)
def worth(price: ArrayLike, age: ArrayLike, growth_log10: ArrayLike) -> Array:
    """Price at which a chip of an age is as good a buy as a new one: price 10^(-growth age), never more than new.

    Parameters
    ----------
    price : array_like
        When it was new [USD].
    age : array_like
        [years]; before its release (negative) it is worth its price.
    growth_log10 : array_like
        Growth of performance a dollar, orders of magnitude a year, 0 or more.

    References
    ----------
    .. [1] Cottier et al. (2024), "The rising costs of training frontier AI models", section 2.2, arXiv:2405.21015.
    """
    return np.multiply(price, 10 ** (-np.asarray(growth_log10) * np.maximum(age, 0.0)))


@takes(price=NOT_NEGATIVE, age=NOT_NEGATIVE, book_life=LIFE)
def book_value(price: ArrayLike, age: ArrayLike, book_life: ArrayLike) -> Array:
    """What accounts say a chip is worth: straight-line depreciation over its book life, which is not its economic life.

    price max(1 - age / book_life, 0) [USD]; against `worth` it shows what a balance sheet hides.
    """
    return np.multiply(price, np.maximum(1 - np.divide(age, book_life), 0.0))


@takes(value_of_work=FINITE, energy=FINITE, power=NOT_NEGATIVE, shadow_price=NOT_NEGATIVE)
def runs(value_of_work: ArrayLike, energy: ArrayLike, power: ArrayLike, shadow_price: ArrayLike = 0.0) -> NDArray[np.bool_]:
    """Whether a chip should run in an hour: its work is worth more than its energy and the power it takes from others.

    value > energy + shadow_price power, all of the same hour; `shadow_price` [USD/W] comes from `allocate`.
    """
    return np.asarray(np.greater(value_of_work, energy + np.multiply(shadow_price, power)))
