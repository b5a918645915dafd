"""The frontier of training compute: records as a compound Poisson process of releases, and the population around the trend."""

from __future__ import annotations

from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.checks import LENGTH, NOT_NEGATIVE, WHOLE, Rule, check_fields, takes
from workbench.errors import InputError
from workbench.uncertainty.sobol import Net

Array = NDArray[np.float64]


@dataclass(frozen=True)
class RecordPrior:
    """What is believed of records before they are seen: about one a year, each about double the last."""

    records_per_year: float = 1.0
    jump: float = np.log10(2.0)  #: mean height of a record over the last [log10]
    years: float = 1.0  #: that the rate counts for
    jumps: float = 2.0  #: that the height counts for

    def __post_init__(self) -> None:
        one = Rule(above=0, one=True)
        check_fields(self, records_per_year=one, jump=one, years=one, jumps=Rule(above=1, one=True))


@dataclass(frozen=True)
class Records:
    """Releases that had more compute than all before."""

    times: Array  #: decimal years
    levels: Array  #: log10 of the value
    since: float  #: first release watched
    until: float  #: time to which the watch lasted

    @property
    def jumps(self) -> Array:
        """Height of each record over the last [log10]; the first release is none."""
        return np.diff(self.levels)


@takes(times=Rule(apart=True), values=Rule(above=0, apart=True), until=Rule(one=True))
def records(times: ArrayLike, values: ArrayLike, *, until: float | None = None) -> Records:
    """Records among releases before `until`.

    Parameters
    ----------
    times : array_like, shape (releases,)
        Decimal years, in any order.
    values : array_like, shape (releases,)
        Above 0.
    until : float, optional
        Decimal year; None: the last release.

    Raises
    ------
    InputError
        For values that are not positive, or no release before `until`.
    """
    t, v = np.asarray(times, dtype=float), np.asarray(values, dtype=float)
    if t.ndim != 1 or t.shape != v.shape or not t.size:
        raise InputError(f"times of shape {t.shape}, values of shape {v.shape}: expected (releases,) of both, one or more")
    end = float(t.max()) if until is None else until
    order = np.lexsort((v, t))
    t, y = t[order], np.log10(v[order])
    t, y = t[t <= end], y[t <= end]
    if not t.size:
        raise InputError(f"until = {end:g}: no release before it")
    best = np.maximum.accumulate(y)
    new = np.r_[True, best[1:] > best[:-1]]
    return Records(t[new], y[new], float(t[0]), end)


@takes(years=NOT_NEGATIVE, n=LENGTH, seed=WHOLE)
def record_ahead(past: Records, years: ArrayLike, prior: RecordPrior | None = None, *, n: int = 4096, seed: int = 0) -> Array:
    """Level of the record after `years` more: last level plus the jumps of a Poisson number of records, each exponential in log10.

    Rate and mean jump are uncertain (gamma and inverse gamma posteriors); the number is 0 with its own probability, so that the forecast
    has an atom at the standing record.

    Parameters
    ----------
    past : Records
    years : array_like, shape (...)
        0 or more.
    prior : RecordPrior, optional
    n : int
        Samples, a power of two.

    Returns
    -------
    ndarray, shape (..., n)
        log10 of the record.
    """
    from scipy.stats import gamma, invgamma, poisson

    prior, h = prior or RecordPrior(), np.asarray(years, dtype=float)
    u = Net(4, n, seed, 1).uniforms(0, 4)
    seen, span = past.jumps.size, past.until - past.since
    per_year, jump, years_known, jumps_known = map(float, astuple(prior))
    rate = gamma.ppf(u[0], per_year * years_known + seen) / (years_known + span)
    mean = invgamma.ppf(u[1], jumps_known + seen) * ((jumps_known - 1) * jump + past.jumps.sum())
    number = poisson.ppf(u[2], rate * h[..., None])
    rise = gamma.ppf(u[3], np.maximum(number, 1.0)) * mean
    return np.asarray(past.levels[-1] + np.where(number > 0, rise, 0.0))
