"""Clearing: the price at which classes of demand, each with its elasticity, contracts and floor, use what stands."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.arrays import Arrays, broadcast
from workbench.checks import NOT_NEGATIVE, POSITIVE, Rule, takes
from workbench.errors import InputError

#: Logarithms of prices over the reference stay inside: a floor of 0 and a ceiling of infinity are these.
FAR = 700.0
Array = NDArray[np.float64]
#: Arguments with classes on the first axis.
CLASSED = {
    "demand": Rule(least=0, apart=True),
    "elasticity": Rule(least=0, apart=True, why="demand falls as the price rises"),
    "contracted": Rule(least=0, most=1, apart=True),
    "floor": Rule(least=0, apart=True),
}


@dataclass(frozen=True, repr=False)
class Clearing(Arrays):
    """Price and quantities where demand meets supply; classes on the first axis of `served`, the rest broadcast."""

    price: NDArray[np.float64]  #: [USD a unit and hour, as the reference]; inf where demand that no price moves exceeds supply
    served: NDArray[np.float64]  #: compute each class uses, shape (classes, ...), in the unit of supply
    unserved: NDArray[np.float64]  #: wanted at the ceiling and not there, in the same
    idle: NDArray[np.float64]  #: there and not wanted at the floors, in the same


@takes(price=POSITIVE, reference_price=POSITIVE, **CLASSED)
def demand_at(
    price: ArrayLike,
    demand: ArrayLike,
    elasticity: ArrayLike,
    *,
    reference_price: ArrayLike,
    contracted: ArrayLike = 0.0,
    floor: ArrayLike = 0.0,
) -> NDArray[np.float64]:
    """Compute that each class asks for at a price.

    D_k(p) = D_k (max(p, floor_k) / p_ref)^(-eps_k (1 - contracted_k)): what is under contract does not answer to the spot price.

    Parameters
    ----------
    price : array_like
        [USD a unit and hour]; no axis for classes.
    demand, elasticity, reference_price, contracted, floor : array_like
        As `clear`.

    Returns
    -------
    ndarray, shape (classes, ...)

    Examples
    --------
    >>> demand_at(4.0, [8.0, 8.0], [1.0, 0.5], reference_price=2.0).round(2)
    array([4.  , 5.66])
    """
    d, e, f, _ = _classes(demand, elasticity, contracted, floor, price=price, reference_price=reference_price)
    x = np.log(np.asarray(price, dtype=float) / np.asarray(reference_price, dtype=float))
    return np.asarray(np.exp(_log_demand(x, d, e, f)))


@takes(supply=POSITIVE, reference_price=POSITIVE, ceiling=Rule(above=0, infinite=True), **CLASSED)
def clear(
    demand: ArrayLike,
    supply: ArrayLike,
    elasticity: ArrayLike,
    *,
    reference_price: ArrayLike,
    contracted: ArrayLike = 0.0,
    floor: ArrayLike = 0.0,
    ceiling: ArrayLike = np.inf,
) -> Clearing:
    """Price that clears  sum_k D_k(p) = supply,  by Newton's method on ln p inside a bracket, all cases at once.

    ln of the summed demand is nearly straight in ln p, so that three to five steps reach rounding; one class without bounds is
    p = p_ref (D / S)^(1 / eps). Where demand at the floors falls short of supply the lowest floor is the price and the rest is idle; where
    demand at the ceiling exceeds it, the ceiling is the price and the rest goes unserved.

    Parameters
    ----------
    demand : array_like, shape (classes, ...)
        Compute that each class wants at the reference price, 0 or more.
    supply : array_like
        Compute that stands, above 0; no axis for classes.
    elasticity : array_like
        Of each class, by how many per cent demand falls when the price rises by one: 0 or more. A vector is one a class.
    reference_price : array_like
        [USD a unit and hour], above 0; no axis for classes.
    contracted : array_like
        Share of each class that is bound by contract, 0 to 1: the spot elasticity is elasticity (1 - contracted).
    floor : array_like
        Price below which a class is not served and wants no more, by class [USD a unit and hour]; the same for all, the marginal cost of
        operation leaves capacity idle.
    ceiling : array_like
        Highest price that anyone pays [USD a unit and hour]; at least every floor; no axis for classes.

    Raises
    ------
    InputError
        For negative demand or elasticity, supply or reference that is not positive, shares outside 0 to 1, a ceiling below a floor.

    Examples
    --------
    Three units are wanted at 2 USD, two stand: the class that answers more to the price gives up more.

    >>> cleared = clear([1.0, 2.0], 2.0, [0.5, 1.0], reference_price=2.0)
    >>> round(float(cleared.price), 2), cleared.served.round(2).tolist()
    (3.28, [0.78, 1.22])
    """
    s, top, reference = (np.asarray(x, dtype=float) for x in (supply, ceiling, reference_price))
    d, e, f, shape = _classes(demand, elasticity, contracted, floor, supply=s, ceiling=top, reference_price=reference)
    high = np.minimum(np.full(shape, FAR), np.log(top / reference))
    low = np.broadcast_to(f.min(axis=0), high.shape)
    if not np.all(f <= high):
        raise InputError(f"ceiling = {ceiling}: expected at least the floor, {floor}")
    s = np.broadcast_to(s, high.shape)
    x = _root(d, e, f, np.log(s), low, high)
    at_floor, at_top = x <= low, x >= high
    with np.errstate(over="ignore"):
        served = np.exp(_log_demand(x, d, e, f))
        total = served.sum(axis=0)
    if np.isinf(total).any():
        raise InputError("demand, elasticity: what is wanted at the ceiling is more than a number holds")
    unserved = np.where(at_top, np.maximum(total - s, 0.0), 0.0)
    idle = np.where(at_floor, np.maximum(s - total, 0.0), 0.0)
    lowest = np.broadcast_to(np.asarray(floor, dtype=float).min(axis=0) if np.ndim(floor) else np.asarray(floor, dtype=float), x.shape)
    price = np.where(at_top, top, np.where(at_floor, lowest, reference * np.exp(x)))
    ration = np.where(total > s, s / np.where(total > 0, total, 1.0), 1.0)
    return Clearing(price, served * ration, unserved, idle)


def root_step(
    x: NDArray[np.float64], log_demand: NDArray[np.float64], elasticity: NDArray[np.float64], log_supply: NDArray[np.float64]
) -> NDArray[np.float64]:
    """One Newton step on x = ln(p / p_ref) towards  ln sum_k exp(d_k - eps_k x) = s,  without bounds.

    The left side falls with the mean elasticity of the classes, weighted by what they use, and is convex: from the left of the root no step
    passes it, from the right the first lands on its left. What is left is about the square of the step.

    Parameters
    ----------
    x, log_supply : ndarray
    log_demand, elasticity : ndarray, shape (classes, ...)
        Some class must have demand and answer to price.
    """
    used = elasticity * x
    np.subtract(log_demand, used, out=used)
    np.exp(used, out=used)
    total = np.add.reduce(used, axis=0)
    used *= elasticity
    slope = np.add.reduce(used, axis=0)
    gap = np.log(total)
    gap -= log_supply
    gap *= total
    gap /= slope
    gap += x
    return gap


@takes(value_per_decade=NOT_NEGATIVE, price=POSITIVE)
def log_law_compute(value_per_decade: ArrayLike, price: ArrayLike) -> NDArray[np.float64]:
    """Compute that a buyer wants for whom intelligence is the logarithm of compute: its elasticity is exactly -1, its spend constant.

    Value v0 + k log10 C against cost p C is largest where k / (C ln 10) = p, so C = k / (p ln 10).

    Parameters
    ----------
    value_per_decade : array_like
        Worth of ten times the compute [USD].
    price : array_like
        Of a unit of compute [USD], above 0.

    Examples
    --------
    >>> print(f"{log_law_compute(100e9, [2.35, 23.5])[0]:.3g}")
    1.85e+10
    """
    return np.asarray(value_per_decade, dtype=float) / (np.asarray(price, dtype=float) * np.log(10))


@takes(elasticity=POSITIVE)
def value_exponent(elasticity: ArrayLike) -> NDArray[np.float64]:
    """Exponent a of a value that grows as compute^a under which demand has this elasticity: a = 1 - 1 / eps.

    From the first-order condition a C^(a - 1) ~ p, eps = 1 / (1 - a). Nothing (eps = 1) is the logarithm; the measured 1.11 is a = 0.10.

    Parameters
    ----------
    elasticity : array_like
        By how many per cent demand falls when the price rises by one, above 0.

    Examples
    --------
    >>> value_exponent([1.0, 1.11]).round(2)
    array([0. , 0.1])
    """
    return 1 - 1 / np.asarray(elasticity, dtype=float)


@dataclass(frozen=True, repr=False)
class Jevons(Arrays):
    """What efficiency does to the compute asked for; arrays over the elasticities given."""

    factor: NDArray[np.float64]  #: compute after over before, at the same price of compute
    elasticity: NDArray[np.float64]

    def probability(self) -> float:
        """Share of the futures in which efficiency adds to the compute asked for."""
        return float(np.mean(self.factor > 1))


@takes(efficiency=POSITIVE, elasticity=NOT_NEGATIVE)
def jevons(efficiency: ArrayLike, elasticity: ArrayLike) -> Jevons:
    """Compute asked for when a task takes `efficiency` times less of it: tasks grow as A^eps, compute as A^(eps - 1).

    Parameters
    ----------
    efficiency : array_like
        Work a unit of compute does, after over before, above 0.
    elasticity : array_like
        Of tasks in their price, 0 or more.

    Examples
    --------
    >>> jevons(10.0, [0.6, 1.11]).factor.round(2)
    array([0.4 , 1.29])
    """
    a, e = np.broadcast_arrays(np.asarray(efficiency, dtype=float), np.asarray(elasticity, dtype=float))
    return Jevons(a ** (e - 1), e)


def _classes(
    demand: ArrayLike, elasticity: ArrayLike, contracted: ArrayLike, floor: ArrayLike, *, reference_price: ArrayLike, **others: ArrayLike
) -> tuple[Array, Array, Array, tuple[int, ...]]:
    """ln demand, spot elasticity and ln of floor over reference, each (classes, ...), and the shape that all have but for classes."""
    given = {"demand": demand, "elasticity": elasticity, "contracted": contracted, "floor": floor}
    classes = np.shape(demand)[0] if np.ndim(demand) else 0
    if not classes:
        raise InputError("demand: expected classes on the first axis")
    others["reference_price"] = reference = np.asarray(reference_price, dtype=float)
    axes = max([*map(np.ndim, others.values()), *(np.ndim(x) - 1 for x in given.values())])
    d, e, bound, low = (_by_class(x, classes, axes, name) for name, x in given.items())
    shape = broadcast(demand=d[0], elasticity=e[0], contracted=bound[0], floor=low[0], **others)
    with np.errstate(divide="ignore"):
        return np.log(d), e * (1 - bound), np.maximum(np.log(low / reference), -FAR), shape


def _by_class(value: ArrayLike, classes: int, axes: int, name: str) -> NDArray[np.float64]:
    """`value` with classes first and `axes` more behind, as arrays broadcast: a vector is one a class."""
    v = np.asarray(value, dtype=float)
    if v.ndim and v.shape[0] not in (1, classes):
        raise InputError(f"{name}: expected {classes} classes on the first axis, found shape {v.shape}")
    return v.reshape((v.shape[:1] or (1,)) + (1,) * (axes - max(v.ndim - 1, 0)) + v.shape[1:])


def _log_demand(x: NDArray[np.float64], d: NDArray[np.float64], e: NDArray[np.float64], f: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(d - e * np.maximum(x, f))


def _root(
    d: NDArray[np.float64], e: NDArray[np.float64], f: NDArray[np.float64], s: NDArray[np.float64],
    low: NDArray[np.float64], high: NDArray[np.float64],
) -> NDArray[np.float64]:  # fmt: skip
    """x in [low, high] at which ln of summed demand is s; the end where it is not reached.

    The slope is at hand: scipy's `elementwise.find_root`, which does without, takes 3.7 times as long for 40,000 prices of three classes.
    """

    def gap(x: NDArray[np.float64]) -> tuple[Array, Array]:
        """ln demand - ln supply, and its slope."""
        each = _log_demand(x, d, e, f)
        most = np.maximum(each.max(axis=0), -1e300)  # no class wants anything: exp(-inf) is 0
        each = np.exp(each - most)
        total = each.sum(axis=0)
        with np.errstate(divide="ignore"):
            return np.log(total) + most - s, -(each * e * (x >= f)).sum(axis=0) / np.maximum(total, 1e-300)

    a, b = low.copy(), high.copy()
    rounding = 4e-16 * np.maximum(np.abs(s), 1.0)
    at_low, at_high = gap(a)[0], gap(b)[0]
    start = np.clip(0.0, a, b)
    any_price = (np.abs(at_low) <= rounding) & (np.abs(at_high) <= rounding)  # the reference, then
    done = (at_low <= rounding) | (at_high >= -rounding)
    x = np.where(any_price | ~done, start, np.where(at_high >= -rounding, b, a))
    for _ in range(200):
        if done.all():
            return x
        value, slope = gap(x)
        a, b = np.where(~done & (value > 0), x, a), np.where(~done & (value <= 0), x, b)
        with np.errstate(divide="ignore", invalid="ignore"):
            moved = x - value / slope
        inside = (moved > a) & (moved < b)  # false for nan
        close = np.abs(value) <= rounding
        done |= close
        moved = np.where(done, x, np.where(inside, moved, (a + b) / 2))
        done |= np.abs(moved - x) <= 1e-16 * np.maximum(np.abs(x), 1.0)
        x = moved
    return x
