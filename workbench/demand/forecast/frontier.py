"""The frontier of training compute: records as a compound Poisson process of releases."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.arrays import Arrays
from workbench.checks import LENGTH, NOT_NEGATIVE, WHOLE, Rule, takes
from workbench.errors import InputError
from workbench.uncertainty.sobol import Net

Array = NDArray[np.float64]

#: What is believed of records before they are seen: one a year, each double the last [log10]; for how many years and records it counts.
PER_YEAR, JUMP, YEARS, JUMPS = 1.0, np.log10(2.0), 1.0, 2.0


@dataclass(frozen=True, repr=False)
class Records(Arrays):
    """Releases that had more compute than all before."""

    times: Array  #: decimal years
    levels: Array  #: log10 of the value
    since: float  #: first release watched, decimal year
    until: float  #: time to which the watch lasted, decimal year

    @property
    def jumps(self) -> Array:
        """Height of each record over the last [log10]; the first release is none."""
        return np.diff(self.levels)


@takes(times=Rule(apart=True), values=Rule(above=0, apart=True), until=Rule(one=True))
def records(times: ArrayLike, values: ArrayLike, until: float) -> Records:
    """Records among the values of releases, one or more of them before `until`; times are decimal years, in any order."""
    t, v = np.asarray(times, dtype=float), np.asarray(values, dtype=float)
    order = np.lexsort((v, t))
    t, y = t[order], np.log10(v[order])
    t, y = t[t <= until], y[t <= until]
    if not t.size:
        raise InputError(f"until = {until:g}: no release before it")
    best = np.maximum.accumulate(y)
    new = np.r_[True, best[1:] > best[:-1]]
    return Records(t[new], y[new], float(t[0]), until)


@takes(years=NOT_NEGATIVE, n=LENGTH, seed=WHOLE)
def record_ahead(past: Records, years: ArrayLike, *, n: int = 4096, seed: int = 0) -> Array:
    """Level of the record after `years` more [log10], shape (..., n): the last level plus the jumps of a Poisson number of records.

    Jumps are exponential in log10; rate and mean jump are uncertain (gamma and inverse gamma posteriors). The number is 0 with its own
    probability, so that the forecast has an atom at the standing record.
    """
    from scipy.stats import gamma, invgamma, poisson

    h = np.asarray(years, dtype=float)
    u = Net(4, n, seed, 1).uniforms(0, 4)
    seen, span = past.jumps.size, past.until - past.since
    rate = gamma.ppf(u[0], PER_YEAR * YEARS + seen) / (YEARS + span)
    mean = invgamma.ppf(u[1], JUMPS + seen) * ((JUMPS - 1) * JUMP + past.jumps.sum())
    number = poisson.ppf(u[2], rate * h[..., None])
    rise = gamma.ppf(u[3], np.maximum(number, 1.0)) * mean
    return np.asarray(past.levels[-1] + np.where(number > 0, rise, 0.0))
