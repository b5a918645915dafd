"""Pooling: what one fungible fleet needs where several partitioned ones would each keep a reserve of their own; load over time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.arrays import Array, Arrays, broadcast
from workbench.checks import FINITE, NOT_NEGATIVE, POSITIVE, SHARE, STEP, WHOLE, Rule, number, takes
from workbench.errors import InputError
from workbench.fleet.finance import USED
from workbench.units import HOUR


@takes(servers=POSITIVE, load=NOT_NEGATIVE)
def erlang_c(servers: ArrayLike, load: ArrayLike) -> Array:
    """Probability that a request waits: Poisson arrivals, exponential service, `servers` servers, no abandonment.

    From Erlang B for real numbers of servers, 1 / B = load * integral of e^(-load t) (1 + t)^servers dt, in logarithms, so that thousands
    of servers neither overflow nor loop (Jagerman, 1974, Bell System Technical Journal 53(3)):  C = B / (1 - (1 - B) load / servers). It
    is 1 where the load (arrival rate times service time) is at or above the servers.
    """
    from scipy.special import gammaincc, gammaln

    n, a = np.broadcast_arrays(servers, load)
    some = np.maximum(a, 1e-300)
    # B = a^n e^-a / (Gamma(n + 1) Q(n + 1, a)), with Q the regularised upper incomplete gamma function
    log_b = n * np.log(some) - some - gammaln(n + 1) - np.log(np.maximum(gammaincc(n + 1, some), 1e-300))
    b = np.exp(np.minimum(log_b, 0.0))
    waits = b / np.maximum(1 - (1 - b) * a / n, 1e-300)
    return np.where(a == 0, 0.0, np.where(a >= n, 1.0, np.minimum(waits, 1.0)))


@takes(load=Rule(least=0.0, below=1e12), wait_probability=USED)
def servers_needed(load: ArrayLike, wait_probability: ArrayLike) -> NDArray[np.int64]:
    """Fewest servers with which a request of a `load` [erlang] waits at most with `wait_probability`, above 0; array_like, broadcast.

    At 1 the fewest are those with which the queue does not grow for ever. By bisection of whole numbers over all cases at once.

    Examples
    --------
    >>> servers_needed([8, 80, 800], 0.01)
    array([ 16, 103, 869])
    """
    a, p = np.broadcast_arrays(load, wait_probability)
    low = np.floor(a).astype(np.int64)  # waits always
    high = (np.ceil(a) + 10 * np.sqrt(a + 1) * np.sqrt(np.maximum(-np.log(p), 1.0)) + 10).astype(np.int64)
    while np.any(wide := high - low > 1):
        middle = (low + high) // 2
        good = erlang_c(np.maximum(middle, 1), a) <= p
        low, high = np.where(wide & ~good, middle, low), np.where(wide & good, middle, high)
    return np.where(a == 0, 0, high)


@dataclass(frozen=True, repr=False)
class Reserve(Arrays):
    """Capacity of partitioned fleets and of one fungible fleet for the same uncertain demands; arrays broadcast."""

    partitioned: Array  #: in the unit of the demands
    pooled: Array  #: in the unit of the demands

    @property
    def saved(self) -> Array:
        """Share of the partitioned capacity that pooling saves; 0 where there is none."""
        apart, together = np.broadcast_arrays(self.partitioned, self.pooled)
        return 1 - np.divide(together, apart, out=np.ones(apart.shape), where=apart > 0)


@takes(
    mean=NOT_NEGATIVE, deviation=NOT_NEGATIVE, correlation=Rule(least=-1.0, most=1.0, apart=True),
    critical_ratio=Rule(least=0.5, below=1.0, apart=True, why="below one half the reserve would be negative"),
)  # fmt: skip
def newsvendor(mean: ArrayLike, deviation: ArrayLike, correlation: ArrayLike, *, critical_ratio: ArrayLike) -> Reserve:
    """Capacity for normally distributed demands at which one more chip is worth its cost: partitioned, and pooled.

    partitioned = sum of mean_i + z s_i; pooled = sum of mean_i + z sqrt((1 - rho) sum s_i^2 + rho (sum s_i)^2); z the normal quantile of
    the critical ratio, which is (value - cost) / value of a unit of capacity

    Parameters
    ----------
    mean, deviation : array_like, shape (..., tenants)
    correlation, critical_ratio : array_like
        One coefficient between all pairs, refused where it is so negative that not all pairs can have it; .5 to below 1.

    Examples
    --------
    >>> newsvendor([100, 100], [30, 30], 0.5, critical_ratio=0.99)
    Reserve(partitioned=339.581, pooled=320.881)
    """
    from scipy.special import ndtri

    m, s = np.broadcast_arrays(mean, deviation)
    if 0 in (m.ndim, *m.shape[-1:]):
        raise InputError("mean, deviation: expected tenants on the last axis, one or more")
    broadcast(**{"mean without its tenants": m[..., 0], "correlation": correlation, "critical_ratio": critical_ratio})
    rho, tenants = np.asarray(correlation), s.shape[-1]
    lowest = float(np.min(1 + (tenants - 1) * rho, initial=0.0))
    if lowest < -1e-9:
        raise InputError(f"correlation = {correlation}: not a correlation of {tenants} demands (smallest eigenvalue {lowest:.3g})")
    z, demand, spread = ndtri(critical_ratio), m.sum(axis=-1), s.sum(axis=-1)
    pooled = demand + z * np.sqrt(np.maximum((1 - rho) * (s * s).sum(axis=-1) + rho * spread**2, 0.0))
    return Reserve(np.asarray((demand + z * spread) * np.ones_like(pooled)), np.asarray(pooled))


@takes(
    hours=Rule(least=-1e6, most=1e6, last="time", unit="h"), mean=NOT_NEGATIVE, weekend=NOT_NEGATIVE, swing=SHARE, peak_hour=FINITE,
    service=Rule(above=0.0, one=True), seed=WHOLE,
)  # fmt: skip
def diurnal(
    hours: ArrayLike, *, mean: ArrayLike, swing: ArrayLike, peak_hour: ArrayLike = 14.0, weekend: ArrayLike = 0.8,
    service: float | None = None, seed: int = 0,
) -> Array:  # fmt: skip
    """Load of a service that follows its users' day: mean (1 + swing cos(2 pi (h - peak) / 24)), times `weekend` on two days of seven.

    Parameters
    ----------
    hours : array_like, shape (time,)
        Hours since Monday midnight.
    mean, swing, peak_hour, weekend : array_like
        Mean load of a weekday, amplitude over the mean (0 to 1), hour of the peak, level of weekends; broadcast on leading axes.
    service : float, optional
        Chip-seconds of a request: the load then has the noise of Poisson arrivals, in the even steps of `hours`.

    Examples
    --------
    >>> diurnal([2.0, 14.0, 134.0], mean=45.0, swing=0.5)
    array([22.5, 67.5, 54. ])
    >>> diurnal([2.0, 3.0, 4.0], mean=45.0, swing=0.5, service=20.0, seed=7).round(1)
    array([22.6, 23.6, 25.3])
    """
    h, (m, a, p, w) = np.asarray(hours), (np.asarray(value)[..., None] for value in (mean, swing, peak_hour, weekend))
    load = m * (1 + a * np.cos(2 * np.pi * (h - p) / 24)) * np.where(h % 168 >= 120, w, 1.0)
    if service is None:
        return load
    steps = np.diff(h)
    if not (steps.size and steps[0] > 0 and np.allclose(steps, steps[0])):
        raise InputError("hours: requests arrive in even steps of time; expected two or more hours, the same time apart")
    step = float(steps[0]) * HOUR
    expected = number("load * step / service", load * step / service, most=1e18, why="requests per step")
    return np.asarray(np.random.default_rng(seed).poisson(expected) * (service / step), dtype=float)


@dataclass(frozen=True, repr=False)
class Backfill(Arrays):
    """A fleet that gives what inference leaves to preemptible work; arrays over the leading axes of the load."""

    served: Array  #: share of inference demand met when it came
    inference: Array  #: share of the capacity that inference uses
    training: Array  #: share that preemptible work keeps, net of switching and penalty
    by_class: Array  #: the same of each class of it (..., classes)
    lost: Array  #: share that is on its way from one side to the other
    preemptions: Array  #: chip-switches from training to inference per hour, over the capacity
    aside: Array  #: chips that training can't have, set aside or on their way, in each step but the first span (..., steps)

    @property
    def utilisation(self) -> Array:
        """Share of the capacity that does useful work."""
        return self.inference + self.training


@takes(
    load=Rule(least=0.0, last="steps"), capacity=POSITIVE, **dict.fromkeys(("step", "reaction"), STEP),
    switch=Rule(least=0.0, one=True), penalty=SHARE, least=Rule(least=0.0, last="classes"),
    most=Rule(least=0.0, infinite=True, last="classes"),
)  # fmt: skip
def backfill(
    load: ArrayLike, capacity: ArrayLike, *, step: float, reaction: float, switch: float, penalty: ArrayLike = 0.0,
    least: ArrayLike = (0.0,), most: ArrayLike = (np.inf,), partitioned: bool = False,
) -> Backfill:  # fmt: skip
    """Utilisation of a fleet where training uses the chips that inference leaves idle.

    Every `reaction` seconds the scheduler sets aside for inference the most chips that it wanted in the last such span; a chip that
    changes over works for neither for `switch` seconds (checkpoint, reload of weights, resharding). The first span only sets the start.
    If `partitioned`, training never gives way and inference keeps chips for its peak, as if that were known beforehand.

    Parameters
    ----------
    load : array_like, shape (..., steps)
        Inference demand in chips; `capacity` [chips] broadcasts against its leading axes.
    step, reaction, switch : float
        Length of a step; reaction time of the scheduler, in whole steps, at most half the load; time lost when a chip changes
        from one to the other [s].
    penalty : array_like
        Share of training throughput lost because a chip must suit both kinds of work, 0 to 1.
    least, most : array_like, shape (..., classes)
        Chips that each class of preemptible work keeps whatever inference wants, and to which it grows where there is room; the first class
        comes first. In a plan they are `least`, `demand` and `value` of its work.
    partitioned : bool
        Whether inference keeps chips for its peak all the time.

    Examples
    --------
    >>> load = [10, 10, 30, 30, 10, 10, 10, 10]
    >>> backfill(load, 100.0, step=60.0, reaction=120.0, switch=30.0)
    Backfill(served=0.6, inference=0.1, training=0.816667, by_class=[0.816667], lost=0.0333333, preemptions=2, aside=10 to 30 (6,))
    """
    demand, c, less = map(np.asarray, (load, capacity, penalty))
    width, steps = round(reaction / step), demand.shape[-1]
    if not (1 <= width <= steps // 2 and abs(width * step - reaction) < 1e-6 * step):
        raise InputError(f"reaction = {reaction} s: expected whole steps of {step} s and at most half of the load's {step * steps:g} s")
    floor, room = np.broadcast_arrays(least, most)
    if np.any(floor > room) or np.any(floor.sum(axis=-1) > c):
        raise InputError(f"least = {least}: expected at most `most`, and together at most the capacity")
    shape = np.broadcast_shapes(demand.shape[:-1], c.shape, less.shape, floor.shape[:-1])
    cap, c = np.broadcast_to(c - floor.sum(axis=-1), shape)[..., None], np.broadcast_to(c, shape)  # cap: what inference may have
    demand, whole = np.broadcast_to(demand, (*shape, steps)), steps // width * width
    asked = demand[..., :whole].reshape(*shape, whole // width, width).max(axis=-1)[..., :-1]
    wanted = demand.max(axis=-1, keepdims=True) if partitioned else np.repeat(asked, width, axis=-1)
    kept = np.broadcast_to(np.minimum(wanted, cap), (*shape, whole - width))
    demand = demand[..., width:whole]
    change = np.diff(kept, axis=-1, prepend=kept[..., :1])
    arriving, leaving = np.maximum(change, 0.0), np.maximum(-change, 0.0)
    waiting = np.minimum(_within(arriving, switch / step), kept)  # on their way to inference
    gone = np.minimum(_within(leaving, switch / step), cap - kept)  # on their way to training
    met = np.minimum(demand, kept - waiting)
    total = demand.sum(axis=-1)
    grown = np.cumsum(room - floor, axis=-1)  # beyond its least each class grows in what those before it leave
    free = np.minimum((cap - kept - gone)[..., None, :], grown[..., None]).mean(axis=-1)
    by_class = (floor + np.diff(free, axis=-1, prepend=0.0)) / c[..., None] * (1 - less)[..., None]
    return Backfill(
        aside=kept + gone, by_class=by_class, served=np.divide(met.sum(axis=-1), total, out=np.ones(shape), where=total > 0),
        inference=met.mean(axis=-1) / c, training=by_class.sum(axis=-1), lost=(waiting + gone).mean(axis=-1) / c,
        preemptions=arriving.sum(axis=-1) / (demand.shape[-1] * step / HOUR) / c,
    )  # fmt: skip


def _within(events: Array, steps: float) -> Array:
    """Sum of the events of the last `steps` steps, whole or not, along the last axis."""
    total = np.concatenate([np.zeros((*events.shape[:-1], 1)), np.cumsum(events, axis=-1)], axis=-1)
    now = np.arange(1, events.shape[-1] + 1)
    past = np.clip(now - steps, 0.0, None)
    whole = past.astype(int)
    before = total[..., whole] + (past - whole) * (total[..., np.minimum(whole + 1, events.shape[-1])] - total[..., whole])
    return np.maximum(total[..., 1:] - before, 0.0)
