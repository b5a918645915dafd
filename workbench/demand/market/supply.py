"""Supply: what packaging, memory, fabs and capital let ship, what power lets run, how long it lasts and when it no longer pays."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.arrays import broadcast
from workbench.checks import LENGTH, NOT_NEGATIVE, POSITIVE, PUE, SHARE, Rule, takes
from workbench.errors import InputError
from workbench.units import HOUR

#: What may bind shipments, in the order of `limits`; `BINDING` names the codes of the binding constraint.
LIMITS = ("chips", "HBM", "packaging", "capital")
BINDING = ("demand", *LIMITS, "power")
SERIES = Rule(least=0, apart=True)
STAGES = 3  #: stages of the delay in which power is energised


@takes(age=NOT_NEGATIVE, mean_life=Rule(above=0, infinite=True), shape=Rule(least=0.01))
def survival(age: ArrayLike, mean_life: ArrayLike, shape: ArrayLike = 4.0) -> NDArray[np.float64]:
    """Share of a vintage that has not failed: Weibull,  exp(-(Gamma(1 + 1 / shape) age / mean_life)^shape).

    Parameters
    ----------
    age, mean_life : array_like
        In the same unit of time; 0 or more, and above 0, infinite where nothing fails.
    shape : array_like
        0.01 or more; 1 is a constant rate of failure, 4 wear.
    """
    from scipy.special import gamma

    a, m, k = (np.asarray(x, dtype=float) for x in (age, mean_life, shape))
    return np.asarray(np.exp(-((a / m * gamma(1 + 1 / k)) ** k)))


@takes(wafers=NOT_NEGATIVE, packages_per_wafer=NOT_NEGATIVE, packaging_yield=SHARE)
def packaging_limited(wafers: ArrayLike, packages_per_wafer: ArrayLike, packaging_yield: ArrayLike = 1.0) -> NDArray[np.float64]:
    """Accelerators that CoWoS (or any interposer) wafers package: wafers x packages a wafer x yield.

    Parameters
    ----------
    wafers, packages_per_wafer : array_like
        0 or more.
    packaging_yield : array_like
        Share of good packages, 0 to 1.
    """
    w, p, y = (np.asarray(x, dtype=float) for x in (wafers, packages_per_wafer, packaging_yield))
    return np.asarray(w * p * y)


@takes(hbm=NOT_NEGATIVE, hbm_per_package=Rule(above=0, apart=True), worth=NOT_NEGATIVE)
def memory_limited(hbm: ArrayLike, hbm_per_package: ArrayLike, worth: ArrayLike = 1.0) -> NDArray[np.float64]:
    """Accelerators that the HBM of several generations (last axis) feeds: sum of worth x bytes / bytes a package.

    Parameters
    ----------
    hbm : array_like, shape (..., generations)
        Memory of each generation in whatever unit `hbm_per_package` has.
    hbm_per_package : array_like
        Of the accelerator counted in, above 0; no axis for generations.
    worth : array_like
        Accelerators counted in that a package's worth of each generation stands for (2 where newer memory comes with twice the compute).
    """
    fed = np.atleast_1d(np.asarray(hbm, dtype=float) * np.asarray(worth, dtype=float)).sum(axis=-1)
    broadcast(hbm=fed, hbm_per_package=hbm_per_package)
    return np.asarray(fed / np.asarray(hbm_per_package, dtype=float))


@takes(shares=SHARE, relative=NOT_NEGATIVE)
def mixed_capacity(shares: ArrayLike, relative: ArrayLike) -> NDArray[np.float64]:
    """Capacity of a fleet of kinds (last axis) over what it would be of the reference kind alone: sum of share x relative capacity."""
    s, r = np.asarray(shares, dtype=float), np.asarray(relative, dtype=float)
    if not (s.ndim and np.allclose(s.sum(axis=-1), 1)):
        raise InputError(f"shares = {shares}: expected shares on the last axis that add up to 1")
    return np.asarray((s * r).sum(axis=-1))


@takes(power=NOT_NEGATIVE, draw=POSITIVE, pue=PUE)
def power_limited(power: ArrayLike, draw: ArrayLike, pue: ArrayLike = 1.0) -> NDArray[np.float64]:
    """Units that power at the meter runs: power / (draw x PUE); `draw` at the level of IT, in the unit of `power`."""
    g, w, p = (np.asarray(x, dtype=float) for x in (power, draw, pue))
    return np.asarray(g / (w * p))


@takes(wanted=NOT_NEGATIVE, limits=Rule(least=0, infinite=True, apart=True))
def shipments(wanted: ArrayLike, limits: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.int8]]:
    """What ships, the least of what is wanted and of the limits, and the code in `BINDING` of what bound it.

    Parameters
    ----------
    wanted : array_like
        Units, 0 or more; no axis for limits.
    limits : array_like, shape (limits, ...)
        In the order of `LIMITS`, 0 or more; infinite where there is none.

    Returns
    -------
    (shipped, binding) : ndarrays
        Where two are equal, the first binds, demand before all.
    """
    asked, most = np.asarray(wanted, dtype=float), np.asarray(limits, dtype=float)
    if not (most.ndim and 1 <= len(most) <= len(LIMITS)):
        raise InputError(f"limits of shape {most.shape}: expected up to {len(LIMITS)} on the first axis, {', '.join(LIMITS)}")
    most = most.reshape(len(most), *(1,) * (asked.ndim - most.ndim + 1), *most.shape[1:])
    return tightest(np.broadcast_to(asked, broadcast(wanted=asked, limits=most[0])), most)


def tightest(wanted: NDArray[np.float64], limits: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int8]]:
    """`shipments` of arrays that are known to be right."""
    shipped, binding = wanted.copy(), np.zeros(wanted.shape, dtype=np.int8)
    for code, limit in enumerate(limits, start=1):
        binding += (limit < shipped).view(np.int8) * (np.int8(code) - binding)  # products of small integers are faster than masks
        np.minimum(shipped, limit, out=shipped)
    return shipped, binding


def delay_step(stages: NDArray[np.float64], inflow: NDArray[np.float64], rate: NDArray[np.float64]) -> NDArray[np.float64]:
    """One period of a chain of stages, changed in place: each passes the share `rate` on; returns what leaves the last.

    Parameters
    ----------
    stages : ndarray, shape (stages, ...)
    inflow : ndarray
        Enters the first stage after it has passed on.
    rate : ndarray
        Stages over the mean delay in periods, at most 1.
    """
    passed = stages * rate
    stages -= passed
    stages[0] += inflow
    stages[1:] += passed[:-1]
    return np.asarray(passed[-1])


@takes(requests=SERIES, mean_delay=Rule(above=0, apart=True), cancelled=Rule(least=0, most=1, apart=True), stages=LENGTH)
def energised(requests: ArrayLike, mean_delay: ArrayLike, *, cancelled: ArrayLike = 0.0, stages: int = STAGES) -> NDArray[np.float64]:
    """Power that comes on in each period from requests through an Erlang delay, less what is cancelled.

    Parameters
    ----------
    requests : array_like, shape (periods, ...)
        Power asked for, 0 or more.
    mean_delay : array_like
        Mean of the delay [periods], at least as many as stages; no axis for periods.
    cancelled : array_like
        Share of requests that never comes, 0 to 1; no axis for periods.
    stages : int
        Of the Erlang distribution; its coefficient of variation is stages^-1/2.

    Returns
    -------
    ndarray, shape (periods, ...)
    """
    delay = np.asarray(mean_delay, dtype=float)
    if not np.all(delay >= stages):
        raise InputError(f"mean_delay = {mean_delay}: expected at least {stages} periods, one a stage")
    asked = _by_period("requests", requests, mean_delay=delay, cancelled=cancelled)
    on = asked * (1 - np.asarray(cancelled, dtype=float))
    state, rate = np.zeros((stages, *on.shape[1:])), np.broadcast_to(stages / delay, on.shape[1:])
    for t in range(len(on)):
        on[t] = delay_step(state, on[t], rate)
    return on


@takes(additions=SERIES, mean_life=Rule(above=0, infinite=True), shape=Rule(least=0.01))
def installed(additions: ArrayLike, mean_life: ArrayLike, shape: ArrayLike = 4.0) -> NDArray[np.float64]:
    """Units of all vintages that stand in each period:  sum_v additions_v survival(t - v).

    Parameters
    ----------
    additions : array_like, shape (periods, ...)
        0 or more.
    mean_life, shape : array_like
        As `survival` [periods]; no axis for periods.

    Returns
    -------
    ndarray, shape (periods, ...)
    """
    added = _by_period("additions", additions, mean_life=mean_life, shape=shape)
    ages = np.arange(len(added), dtype=float).reshape(-1, *(1,) * (added.ndim - 1))
    stands, units = survival(ages, mean_life, shape), np.empty(added.shape)
    for t in range(len(units)):
        units[t] = (added[: t + 1] * stands[t::-1]).sum(axis=0)
    return units


def _by_period(name: str, value: ArrayLike, **others: ArrayLike) -> NDArray[np.float64]:
    """A series with periods on the first axis, broadcast to others that have no such axis."""
    series = np.asarray(value, dtype=float)
    if not series.ndim:
        raise InputError(f"{name}: expected periods on the first axis")
    case = np.empty(series.shape[1:])
    shape = broadcast(**{name: case}, **others)
    return np.broadcast_to(series.reshape(len(series), *(1,) * (len(shape) - case.ndim), *case.shape), (len(series), *shape))


@takes(draw=NOT_NEGATIVE, pue=PUE, energy_price=NOT_NEGATIVE, space_cost=NOT_NEGATIVE)
def keeping_cost(draw: ArrayLike, pue: ArrayLike, energy_price: ArrayLike, space_cost: ArrayLike = 0.0) -> NDArray[np.float64]:
    """Rent under which a vintage is retired, an hour: its power and the space it takes,  draw x PUE x energy price + draw x space cost.

    Parameters
    ----------
    draw : array_like
        IT power of what the rent is paid for [W].
    pue : array_like
        At least 1.
    energy_price : array_like
        [USD/J]
    space_cost : array_like
        Of a watt of IT power and second: building, power and cooling that others could use [USD/J].

    Returns
    -------
    ndarray
        [USD/h]; without space cost it is the marginal cost of operation, under which capacity idles.
    """
    w, p, e, s = (np.asarray(x, dtype=float) for x in (draw, pue, energy_price, space_cost))
    return np.asarray(w * (p * e + s) * HOUR)
