"""Supply: what packaging, memory, fabs and capital let ship, what power lets run, how long it lasts and when it no longer pays."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.errors import InputError

#: What may bind shipments, in the order of `limits`; `BINDING` names the codes of the binding constraint.
LIMITS = ("chips", "HBM", "packaging", "capital")
BINDING = ("demand", *LIMITS, "power")
STAGES = 3  #: stages of the delay in which power is energised


def survival(age: ArrayLike, mean_life: ArrayLike, shape: float = 4.0) -> NDArray[np.float64]:
    """Share of a vintage that has not failed: Weibull,  exp(-(Gamma(1 + 1 / shape) age / mean_life)^shape).

    Parameters
    ----------
    age, mean_life : array_like
        In the same unit of time; 0 or more, and above 0.
    shape : float
        Above 0; 1 is a constant rate of failure, 4 wear.
    """
    from scipy.special import gamma

    a, m = np.asarray(age, dtype=float), np.asarray(mean_life, dtype=float)
    if not (np.all(a >= 0) and np.all(m > 0) and shape > 0):
        raise InputError(f"age = {age}, mean_life = {mean_life}, shape = {shape}: expected 0 or more, more than 0, and more than 0")
    return np.asarray(np.exp(a**shape * -((gamma(1 + 1 / shape) / m) ** shape)))


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
    if not (np.all(w >= 0) and np.all(p >= 0)):
        raise InputError(f"wafers = {wafers}, packages_per_wafer = {packages_per_wafer}: expected 0 or more")
    if not np.all((y >= 0) & (y <= 1)):
        raise InputError(f"packaging_yield = {packaging_yield}: expected a share from 0 to 1")
    return np.asarray(w * p * y)


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
    g, each, w = np.atleast_1d(np.asarray(hbm, dtype=float)), np.asarray(hbm_per_package, dtype=float), np.asarray(worth, dtype=float)
    if not (np.all(g >= 0) and np.all(w >= 0) and np.all(each > 0)):
        raise InputError(
            f"hbm = {hbm}, worth = {worth}, hbm_per_package = {hbm_per_package}: expected 0 or more, and more than 0 a package"
        )
    return np.asarray((g * w).sum(axis=-1) / each)


def mixed_capacity(shares: ArrayLike, relative: ArrayLike) -> NDArray[np.float64]:
    """Capacity of a fleet of kinds (last axis) over what it would be of the reference kind alone: sum of share x relative capacity."""
    s, r = np.asarray(shares, dtype=float), np.asarray(relative, dtype=float)
    if not np.all((s >= 0) & (s <= 1)) or not np.allclose(s.sum(axis=-1), 1):
        raise InputError(f"shares = {shares}: expected shares from 0 to 1 that add up to 1")
    return np.asarray((s * r).sum(axis=-1))


def power_limited(power: ArrayLike, draw: ArrayLike, pue: ArrayLike = 1.0) -> NDArray[np.float64]:
    """Units that power at the meter runs: power / (draw x PUE); `draw` at the level of IT, in the unit of `power`."""
    g, w, p = (np.asarray(x, dtype=float) for x in (power, draw, pue))
    if not (np.all(g >= 0) and np.all(w > 0) and np.all(p >= 1)):
        raise InputError(f"power = {power}, draw = {draw}, pue = {pue}: expected 0 or more, more than 0, and at least 1")
    return np.asarray(g / (w * p))


def shipments(wanted: ArrayLike, limits: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.int8]]:
    """What ships, the least of what is wanted and of the limits, and the code in `BINDING` of what bound it.

    Parameters
    ----------
    wanted : array_like
        Units, 0 or more.
    limits : array_like, shape (limits, ...)
        In the order of `LIMITS`, 0 or more; infinite where there is none.

    Returns
    -------
    (shipped, binding) : ndarrays
        Where two are equal, the first binds, demand before all.
    """
    asked, most = np.asarray(wanted, dtype=float), np.asarray(limits, dtype=float)
    if not (asked.min() >= 0 and most.min() >= 0):
        raise InputError("wanted, limits: expected 0 or more units")
    return tightest(np.broadcast_to(asked, np.broadcast_shapes(asked.shape, most.shape[1:])), most)


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


def energised(requests: ArrayLike, mean_delay: ArrayLike, *, cancelled: ArrayLike = 0.0, stages: int = STAGES) -> NDArray[np.float64]:
    """Power that comes on in each period from requests through an Erlang delay, less what is cancelled.

    Parameters
    ----------
    requests : array_like, shape (periods, ...)
        Power asked for, 0 or more.
    mean_delay : array_like
        Mean of the delay [periods], at least as many as stages.
    cancelled : array_like
        Share of requests that never comes, 0 to 1.
    stages : int
        Of the Erlang distribution; its coefficient of variation is stages^-1/2.

    Returns
    -------
    ndarray, shape (periods, ...)
    """
    asked, delay, lost = (np.asarray(x, dtype=float) for x in (requests, mean_delay, cancelled))
    if not (np.all(asked >= 0) and asked.ndim):
        raise InputError("requests: expected 0 or more, with periods on the first axis")
    if not (stages >= 1 and np.all(delay >= stages)):
        raise InputError(f"mean_delay = {mean_delay}: expected at least {stages} periods, one a stage")
    if not np.all((lost >= 0) & (lost <= 1)):
        raise InputError(f"cancelled = {cancelled}: expected a share from 0 to 1")
    kept = asked * (1 - lost)
    shape = np.broadcast_shapes(kept.shape[1:], delay.shape)
    state, rate = np.zeros((stages, *shape)), np.broadcast_to(stages / delay, shape)
    return np.stack([delay_step(state, np.broadcast_to(k, shape), rate) for k in kept])


def installed(additions: ArrayLike, mean_life: ArrayLike, shape: float = 4.0) -> NDArray[np.float64]:
    """Units of all vintages that stand in each period:  sum_v additions_v survival(t - v).

    Parameters
    ----------
    additions : array_like, shape (periods, ...)
        0 or more.
    mean_life : array_like
        [periods]

    Returns
    -------
    ndarray, shape (periods, ...)
    """
    added = np.asarray(additions, dtype=float)
    if not (np.all(added >= 0) and added.ndim):
        raise InputError("additions: expected 0 or more, with periods on the first axis")
    life = np.asarray(mean_life, dtype=float)
    ages = np.arange(len(added)).reshape(-1, *(1,) * max(added.ndim - 1, life.ndim))
    stands = survival(ages, life, shape)
    return np.stack([(added[: t + 1] * stands[t::-1]).sum(axis=0) for t in range(len(added))])


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
    from workbench.units import HOUR

    w, p, e, s = (np.asarray(x, dtype=float) for x in (draw, pue, energy_price, space_cost))
    if not (np.all(w >= 0) and np.all(p >= 1) and np.all(e >= 0) and np.all(s >= 0)):
        raise InputError(f"draw = {draw}, pue = {pue}, energy_price, space_cost: expected 0 or more, and a PUE of at least 1")
    return np.asarray(w * (p * e + s) * HOUR)
