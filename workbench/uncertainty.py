"""Uncertainty: distributions written as one thinks of them, quasi-random samples, bands and one-at-a-time sensitivities.

A sample is a dict of arrays; a model that takes arrays turns it into as many futures with one call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.errors import InputError


class Distribution(Protocol):
    """Anything with a quantile function of arrays in (0, 1)."""

    def quantile(self, p: NDArray[np.float64]) -> NDArray[np.float64]: ...


@dataclass(frozen=True)
class Lognormal:
    """Positive, given by its 5 % and 95 % points."""

    p5: float
    p95: float

    def __post_init__(self) -> None:
        if not 0 < self.p5 <= self.p95:
            raise InputError(f"Lognormal(p5={self.p5}, p95={self.p95}): expected 0 < p5 <= p95")

    def quantile(self, p: NDArray[np.float64]) -> NDArray[np.float64]:
        from scipy.special import ndtri

        low, high = np.log(self.p5), np.log(self.p95)
        return np.exp((low + high) / 2 + (high - low) / 2 * ndtri(p) / ndtri(0.95))


@dataclass(frozen=True)
class Pert:
    """Bounded beta given by its lowest, most likely and highest value (PERT, weight 4 on the mode)."""

    low: float
    mode: float
    high: float

    def __post_init__(self) -> None:
        if not self.low <= self.mode <= self.high:
            raise InputError(f"Pert(low={self.low}, mode={self.mode}, high={self.high}): expected low <= mode <= high")

    def quantile(self, p: NDArray[np.float64]) -> NDArray[np.float64]:
        from scipy.special import betaincinv

        width = self.high - self.low
        if width == 0:
            return np.full_like(p, self.low)
        a = 1 + 4 * (self.mode - self.low) / width
        return self.low + width * np.asarray(betaincinv(a, 6 - a, p))


def sample(distributions: Mapping[str, Distribution], n: int = 4096, seed: int = 0) -> dict[str, NDArray[np.float64]]:
    """`n` joint samples of independent distributions by scrambled Sobol points.

    Parameters
    ----------
    distributions : mapping of name to distribution
    n : int
        Samples; a power of two keeps the points balanced.
    seed : int
        Seed of the scrambling.

    Returns
    -------
    dict of name to array, shape (n,)
    """
    from scipy.stats import qmc

    if n < 1 or n & (n - 1):
        raise InputError(f"n = {n}: expected a power of two")
    if not distributions:
        return {}
    points = qmc.Sobol(len(distributions), rng=np.random.default_rng(seed)).random(n)
    inside = np.clip(points, 1e-12, 1 - 1e-12)
    return {name: d.quantile(inside[:, i]) for i, (name, d) in enumerate(distributions.items())}


def band(values: ArrayLike, level: float = 0.8) -> tuple[float, float]:
    """Ends of the central interval that holds the share `level` of `values`."""
    if not 0 < level < 1:
        raise InputError(f"level = {level}: expected a share between 0 and 1")
    low, high = np.quantile(np.asarray(values, dtype=float), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def one_at_a_time(
    model: Callable[..., NDArray[np.float64]], base: Mapping[str, float], ranges: Mapping[str, tuple[float, float]]
) -> dict[str, tuple[float, float]]:
    """Result of `model` with each argument in turn at the low and the high end of its range, the others at `base`.

    All cases are one call: every argument becomes an array of 2k entries.

    Parameters
    ----------
    model : callable
        Takes the names of `base` as keyword arrays and returns an array of the same length.
    base : mapping of name to number
    ranges : mapping of name to (low, high)
        Arguments to move; each must be in `base`.

    Returns
    -------
    dict of name to (result at low, result at high)

    Raises
    ------
    InputError
        For a range of an argument that `base` lacks.
    """
    for name in ranges:
        if name not in base:
            raise InputError(f"ranges names {name!r}, which is not an argument in base: {', '.join(base)}")
    moved = {name: np.full(2 * len(ranges), value, dtype=float) for name, value in base.items()}
    for i, (name, ends) in enumerate(ranges.items()):
        moved[name][2 * i : 2 * i + 2] = ends
    result = np.broadcast_to(model(**moved), (2 * len(ranges),))
    return {name: (float(result[2 * i]), float(result[2 * i + 1])) for i, name in enumerate(ranges)}
