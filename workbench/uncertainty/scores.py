"""Scores of forecasts: CRPS of samples, quantiles and closed forms, coverage with its own uncertainty, PIT.

Samples and quantile levels stand on the last axis; all else broadcasts. A score has the unit of what is forecast, and lower is better.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.arrays import broadcast
from workbench.checks import FINITE, POSITIVE, SHARE, Rule, takes
from workbench.errors import InputError
from workbench.uncertainty.sobol import SEED

Array = NDArray[np.float64]


def crps(samples: ArrayLike, observed: ArrayLike, *, fair: bool = False) -> Array:
    """Continuous ranked probability score of forecasts given as samples.

    CRPS = mean |x_i - y| - 1/2 mean |x_i - x_j|; the second mean from sorted samples, sum of (2 i - m - 1) x_(i) / m^2 for half of it

    Parameters
    ----------
    samples : array_like, shape (..., m)
        Samples of the forecast, equally likely.
    observed : array_like, shape (...)
        What came.
    fair : bool
        Divide the second term by m (m - 1) instead of m^2: the expected score of the distribution that few samples came from.

    Returns
    -------
    ndarray, shape (...)
        In the unit of `observed`; of log10 values, in decades.

    Raises
    ------
    InputError
        For values that are not finite, or fewer than two samples with `fair`.

    References
    ----------
    .. [1] Gneiting, Raftery (2007), JASA 102, equation 21; Jordan, Krueger, Lerch (2019), J. Stat. Software 90(12), equation 7.
    .. [2] Ferro (2014), Q. J. R. Meteorol. Soc. 140, the fair score.
    """
    x, y = _forecasts(samples, observed)
    m = x.shape[-1]
    if fair and m < 2:
        raise InputError(f"samples: {m} on the last axis; a fair score needs two or more")
    rank = 2 * np.arange(1, m + 1) - m - 1.0
    spread = (np.sort(x, axis=-1) * rank).sum(axis=-1) / (m * (m - 1 if fair else m))
    return np.asarray(np.abs(x - y[..., None]).mean(axis=-1) - spread)


@takes(levels=Rule(above=0, below=1))
def crps_quantiles(quantiles: ArrayLike, levels: ArrayLike, observed: ArrayLike) -> Array:
    """CRPS of forecasts given as quantiles: twice the pinball loss, each level standing for the probabilities nearest to it.

    CRPS = 2 integral of pinball_p dp ~ 2 sum of w_k pinball(q_k, p_k, y), w_k from midpoint to midpoint of the levels, 0 and 1 at the ends

    Parameters
    ----------
    quantiles : array_like, shape (..., k)
        Not falling along the last axis.
    levels : array_like, shape (k,)
        Their probabilities, rising.
    observed : array_like, shape (...)

    Returns
    -------
    ndarray, shape (...)
        In the unit of `observed`; tails beyond the outermost levels count as if they ended there, so take many levels.

    Raises
    ------
    InputError
        For levels that do not rise within (0, 1), or quantiles that cross.

    References
    ----------
    .. [1] Gneiting, Ranjan (2011), J. Bus. Econ. Stat. 29(3), equation 12.
    """
    (q, y), p = _forecasts(quantiles, observed, "quantiles"), np.asarray(levels)
    if not (p.ndim == 1 and p.size and np.all(np.diff(p) > 0)):
        raise InputError(f"levels = {levels}: expected probabilities that rise within (0, 1)")
    if q.shape[-1] != p.size:
        raise InputError(f"quantiles: {q.shape[-1]} on the last axis for {p.size} levels")
    if np.any(np.diff(q, axis=-1) < 0):
        raise InputError("quantiles: expected values that do not fall along the last axis (quantiles cross)")
    weight = np.diff(np.concatenate([[0.0], (p[1:] + p[:-1]) / 2, [1.0]]))
    return np.asarray(2 * (weight * pinball(q, p, y[..., None])).sum(axis=-1))


@takes(quantile=FINITE, level=SHARE, observed=FINITE)
def pinball(quantile: ArrayLike, level: ArrayLike, observed: ArrayLike) -> Array:
    """Loss of a quantile forecast: level (y - q) above it, (1 - level) (q - y) below it; arrays broadcast."""
    excess = np.asarray(observed, dtype=float) - np.asarray(quantile, dtype=float)
    p = np.asarray(level, dtype=float)
    return np.maximum(p * excess, (p - 1) * excess)


@takes(mean=FINITE, deviation=POSITIVE, observed=FINITE)
def crps_normal(mean: ArrayLike, deviation: ArrayLike, observed: ArrayLike) -> Array:
    """CRPS of normal forecasts: s [z (2 Phi(z) - 1) + 2 phi(z) - 1 / sqrt(pi)], z = (y - mean) / s.

    References
    ----------
    .. [1] Gneiting, Raftery, Westveld, Goldman (2005), Mon. Weather Rev. 133, equation 5.
    """
    from scipy.special import ndtr

    s = np.asarray(deviation, dtype=float)
    z = (np.asarray(observed, dtype=float) - np.asarray(mean, dtype=float)) / s
    return np.asarray(s * (z * (2 * ndtr(z) - 1) + np.exp(-(z**2) / 2) * np.sqrt(2 / np.pi) - 1 / np.sqrt(np.pi)))


@takes(location=FINITE, scale=POSITIVE, freedom=Rule(above=1, why="the score of heavier tails is infinite"), observed=FINITE)
def crps_student(location: ArrayLike, scale: ArrayLike, freedom: ArrayLike, observed: ArrayLike) -> Array:
    """CRPS of Student t forecasts with `freedom` degrees, more than 1.

    s [z (2 F(z) - 1) + 2 f(z) (v + z^2) / (v - 1) - 2 sqrt(v) / (v - 1) B(1/2, v - 1/2) / B(1/2, v/2)^2], z = (y - location) / s

    References
    ----------
    .. [1] Jordan, Krueger, Lerch (2019), J. Stat. Software 90(12), appendix A.
    """
    from scipy.special import betaln, stdtr

    s, v = np.asarray(scale, dtype=float), np.asarray(freedom, dtype=float)
    z = (np.asarray(observed, dtype=float) - np.asarray(location, dtype=float)) / s
    density = np.exp(-(v + 1) / 2 * np.log1p(z**2 / v) - betaln(0.5, v / 2)) / np.sqrt(v)
    ends = 2 * np.sqrt(v) / (v - 1) * np.exp(betaln(0.5, v - 0.5) - 2 * betaln(0.5, v / 2))
    return np.asarray(s * (z * (2 * stdtr(v, z) - 1) + 2 * density * (v + z**2) / (v - 1) - ends))


@dataclass(frozen=True)
class Coverage:
    """Share of outcomes inside a band, and the 90 % interval of the true share that so many outcomes allow (Clopper, Pearson 1934)."""

    share: float
    n: int
    low: float
    high: float

    @takes(least=Rule(least=0, most=1, one=True), most=Rule(least=0, most=1, one=True))
    def says(self, least: float, most: float) -> bool | None:
        """Whether the true share lies within `least` to `most`: True or False where the interval decides, None where n is too small."""
        if least <= self.low and self.high <= most:
            return True
        return False if self.high < least or self.low > most else None


@takes(low=FINITE, high=FINITE, observed=FINITE)
def coverage(low: ArrayLike, high: ArrayLike, observed: ArrayLike) -> Coverage:
    """How many of `observed` fell within `low` to `high`, ends included; arrays broadcast and all count alike.

    Outcomes of overlapping horizons depend on each other, so that the interval is then too narrow.
    """
    from scipy.special import betaincinv

    a, b, y = np.broadcast_arrays(low, high, observed)
    if np.any(a > b):
        raise InputError(f"low = {a[a > b][0]} lies above high = {b[a > b][0]}")
    n, hits = y.size, int(((a <= y) & (y <= b)).sum())
    if not n:
        raise InputError("observed: no outcome to count")
    return Coverage(
        share=hits / n,
        n=n,
        low=float(betaincinv(hits, n - hits + 1, 0.05)) if hits else 0.0,
        high=float(betaincinv(hits + 1, n - hits, 0.95)) if hits < n else 1.0,
    )


@takes(seed=SEED)
def pit(samples: ArrayLike, observed: ArrayLike, *, seed: int = 0) -> Array:
    """Probability integral transform: the rank of what came among the samples, at a random place within its step and within ties.

    u = (number below + V (number equal + 1)) / (m + 1), V uniform; for a right forecast u is uniform on (0, 1), for counts too

    Parameters
    ----------
    samples : array_like, shape (..., m)
    observed : array_like, shape (...)
    seed : int
        Of the random places.

    Returns
    -------
    ndarray, shape (...)
        Heaped at both ends: forecasts too narrow; in the middle: too wide; at one end: biased.

    References
    ----------
    .. [1] Czado, Gneiting, Held (2009), Biometrics 65, section 2; Gneiting, Katzfuss (2014), Annu. Rev. Stat. Appl. 1, section 3.
    """
    x, y = _forecasts(samples, observed)
    below, equal = (x < y[..., None]).sum(axis=-1), (x == y[..., None]).sum(axis=-1)
    return (below + np.random.default_rng(seed).random(below.shape) * (equal + 1)) / (x.shape[-1] + 1)


def _forecasts(samples: ArrayLike, observed: ArrayLike, name: str = "samples") -> tuple[Array, Array]:
    """Forecasts with one or more values each on the last axis, and what came of each."""
    x, y = np.asarray(FINITE(name, samples)), np.asarray(FINITE("observed", observed))
    if not (x.ndim and x.shape[-1]):
        raise InputError(f"{name}: expected one or more on the last axis")
    broadcast(**{name: x[..., 0]}, observed=y)
    return x, y
