"""Load over time: the day of a service's users, and the noise of requests on it."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.checks import FINITE, NOT_NEGATIVE, POSITIVE, SHARE, Rule, number, takes


@takes(hours=Rule(last="time"), mean=NOT_NEGATIVE, swing=SHARE, peak_hour=FINITE, weekend=NOT_NEGATIVE)
def diurnal(
    hours: ArrayLike, *, mean: ArrayLike, swing: ArrayLike, peak_hour: ArrayLike = 14.0, weekend: ArrayLike = 0.8
) -> NDArray[np.float64]:
    """Load of a service that follows its users' day: mean (1 + swing cos(2 pi (h - peak) / 24)), times `weekend` on two days of seven.

    Parameters
    ----------
    hours : array_like, shape (time,)
        Hours since Monday midnight.
    mean, swing, peak_hour, weekend : array_like
        Mean load of a weekday, amplitude over the mean (0 to 1), hour of the peak, level of weekends; broadcast on leading axes.

    Examples
    --------
    >>> diurnal([2.0, 14.0, 134.0], mean=45.0, swing=0.5)
    array([22.5, 67.5, 54. ])
    """
    h, (m, a, p, w) = np.asarray(hours), (np.asarray(value)[..., None] for value in (mean, swing, peak_hour, weekend))
    day = 1 + a * np.cos(2 * np.pi * (h - p) / 24)
    return m * day * np.where(h % 168 >= 120, w, 1.0)


@takes(load=NOT_NEGATIVE, step=POSITIVE, service=POSITIVE)
def bursty(load: ArrayLike, *, step: ArrayLike, service: ArrayLike, seed: int = 0) -> NDArray[np.float64]:
    """A load with the noise of requests on it: Poisson arrivals of jobs of `service` chip-seconds each, in steps of `step` seconds.

    Examples
    --------
    >>> bursty([45.0, 45.0], step=60.0, service=20.0, seed=7).round(1)
    array([46.3, 48.3])
    """
    number("seed", seed, least=0, whole=True, one=True)
    expected = number("load * step / service", np.multiply(load, step) / service, most=1e18, why="requests a step")
    return np.asarray(np.random.default_rng(int(seed)).poisson(expected) * np.divide(service, step), dtype=float)
