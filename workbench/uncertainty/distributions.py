"""Distributions written as one thinks of them: by their 5 % and 95 % points, or their ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike

from workbench.arrays import Array
from workbench.checks import SHARE, Rule, check_fields, takes
from workbench.errors import InputError

if TYPE_CHECKING:
    from scipy.interpolate import PPoly

Z95 = 1.6448536269514722  #: 95 % point of the standard normal
FAR = 8.0  #: normal score beyond which a quantile is inverted on its own
ONE, NO_LESS, ABOVE = Rule(one=True), Rule(least=0, one=True), Rule(above=0, one=True)


@runtime_checkable
class Distribution(Protocol):
    """Anything with a quantile function of arrays in (0, 1)."""

    def quantile(self, p: ArrayLike) -> Array: ...


def _expected(given: Any, order: str, holds: Callable[[], bool]) -> None:
    """Raise `InputError` where a distribution is given by what is no number, or in another order."""
    check_fields(given, **dict.fromkeys((f.name for f in fields(given)), ONE))
    if not holds():
        raise InputError(f"{given}: expected {order}")


@dataclass(frozen=True)
class Normal:
    """Given by its 5 % and 95 % points.

    Examples
    --------
    >>> Normal(-1, 3).quantile([0.05, 0.5, 0.95]).round(6).tolist()
    [-1.0, 1.0, 3.0]
    """

    p5: float
    p95: float

    def __post_init__(self) -> None:
        _expected(self, "p5 <= p95", lambda: self.p5 <= self.p95)

    @takes(p=SHARE)
    def quantile(self, p: ArrayLike) -> Array:
        from scipy.special import ndtri

        return np.asarray((self.p5 + self.p95) / 2 + (self.p95 - self.p5) / 2 / Z95 * ndtri(np.asarray(p, dtype=float)))


@dataclass(frozen=True)
class Lognormal:
    """Positive, given by its 5 % and 95 % points.

    Examples
    --------
    >>> Lognormal(2, 8).quantile([0.05, 0.5, 0.95]).round(6).tolist()
    [2.0, 4.0, 8.0]
    """

    p5: float
    p95: float

    def __post_init__(self) -> None:
        _expected(self, "0 < p5 <= p95", lambda: 0 < self.p5 <= self.p95)

    def quantile(self, p: ArrayLike) -> Array:
        return np.exp(Normal(float(np.log(self.p5)), float(np.log(self.p95))).quantile(p))


class _Bounded:
    """Between `low` and `high`: the beta distribution of a shape, or all alike."""

    low: float
    high: float
    shape: tuple[float, float] | None = None  #: the two parameters of the beta distribution

    @takes(p=SHARE)
    def quantile(self, p: ArrayLike) -> Array:
        share = np.asarray(p, dtype=float)
        return self.low + (self.high - self.low) * (_beta_quantile(*self.shape, share) if self.shape else share)


@dataclass(frozen=True)
class Uniform(_Bounded):
    """Any value from `low` to `high` alike.

    Examples
    --------
    >>> Uniform(2, 6).quantile([0, 0.5, 1]).tolist()
    [2.0, 4.0, 6.0]
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        _expected(self, "low <= high", lambda: self.low <= self.high)


@dataclass(frozen=True)
class Beta(_Bounded):
    """Between `low` and `high`, given by its 5 % and 95 % points there: for shares.

    Examples
    --------
    >>> Beta(0.1, 0.6).quantile([0.05, 0.5, 0.95]).round(3).tolist()
    [0.1, 0.311, 0.6]
    """

    p5: float
    p95: float
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        _expected(self, "low < p5 < p95 < high", lambda: self.low < self.p5 < self.p95 < self.high)
        _ = self.shape

    @property
    def shape(self) -> tuple[float, float]:  # type: ignore[override]
        width = self.high - self.low
        return _beta_shape((self.p5 - self.low) / width, (self.p95 - self.low) / width)


@dataclass(frozen=True)
class Pert(_Bounded):
    """Bounded beta given by its lowest, most likely and highest value (PERT, weight 4 on the mode).

    Examples
    --------
    >>> Pert(1, 2, 6).quantile([0, 0.5, 1]).round(3).tolist()
    [1.0, 2.383, 6.0]
    """

    low: float
    mode: float
    high: float

    def __post_init__(self) -> None:
        _expected(self, "low <= mode <= high", lambda: self.low <= self.mode <= self.high)

    @property
    def shape(self) -> tuple[float, float]:  # type: ignore[override]
        a = 1 + 4 * (self.mode - self.low) / (self.high - self.low) if self.high > self.low else 1.0
        return a, 6 - a


def _beta_quantile(a: float, b: float, p: Array) -> Array:
    """Quantiles of the beta distribution to 1e-9 of themselves, many times as fast as inverting each."""
    from scipy.special import betaincinv, expit, ndtri

    if min(a, b) < 0.06 or (min(a, b) < 0.3 and max(a, b) > 100):  # log-odds leave the range of doubles, or bend too much
        return np.asarray(betaincinv(a, b, p))
    with np.errstate(invalid="ignore"):
        score = np.asarray(ndtri(p))
        far = ~(np.abs(score) < FAR)
        x = np.asarray(expit(_beta_logits(a, b)(np.where(far, 0.0, score))))
    return np.where(far, betaincinv(a, b, p), x) if far.any() else x


@lru_cache(maxsize=256)
def _beta_logits(a: float, b: float) -> PPoly:
    """Log-odds of the quantile over the normal score of its probability: nearly straight, so that few knots hold it."""
    from scipy.interpolate import PPoly, make_interp_spline
    from scipy.special import betaincinv, logit, ndtr

    knots = np.linspace(-FAR, FAR, 401)
    low, high = knots[knots <= 0], knots[knots > 0]  # the upper half from the mirrored distribution, which keeps the digits of 1 - x
    odds = np.concatenate([logit(betaincinv(a, b, ndtr(low))), -logit(betaincinv(b, a, ndtr(-high)))])
    return PPoly.from_spline(make_interp_spline(knots, odds, k=7))


@lru_cache(maxsize=256)
def _beta_shape(p5: float, p95: float) -> tuple[float, float]:
    """Parameters of the beta distribution on (0, 1) with these points; there is one for any two (van Dorp, Mazzuchi 2000)."""
    from scipy.optimize import root
    from scipy.special import betaincinv, expit, logit

    def miss(at: Array) -> Array:
        mean, total = expit(at[0]), np.exp(np.clip(at[1], -7, 25))
        found = np.asarray(betaincinv(mean * total, (1 - mean) * total, [0.05, 0.95]))
        return np.asarray(logit(np.clip(found, 1e-300, 1 - 1e-16)) - target)

    target = logit([p5, p95])
    mean, deviation = (p5 + p95) / 2, (p95 - p5) / 2 / Z95
    for start in (mean * (1 - mean) / deviation**2 - 1, 2.0, 0.7, 20.0, 400.0):
        found = root(miss, [logit(mean), np.log(max(start, 0.3))], method="hybr")
        if found.success and np.abs(found.fun).max() < 1e-8:
            a, total = expit(found.x[0]), np.exp(found.x[1])
            return float(a * total), float((1 - a) * total)
    raise InputError(f"Beta: no shape has its 5 % point at {p5:g} and its 95 % point at {p95:g} of the interval; take a narrower band")
