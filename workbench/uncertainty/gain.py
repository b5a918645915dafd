"""How much less error Sobol points leave than plain Monte Carlo with as many samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.arrays import Arrays
from workbench.checks import FINITE, WHOLE, takes
from workbench.errors import InputError
from workbench.uncertainty.copula import Pairs
from workbench.uncertainty.sampling import Input, dimensions, draw, evaluated
from workbench.uncertainty.sobol import SIZE, Net
from workbench.uncertainty.summaries import REPLICATES

Array = NDArray[np.float64]


@dataclass(frozen=True, repr=False)
class Gain(Arrays):
    """Root mean square errors of a mean over many randomisations, in the unit of the model's result and its shape without the samples."""

    monte_carlo: Array  #: error by plain Monte Carlo
    sobol: Array  #: error by Sobol points
    truth: Array  #: the mean itself

    @property
    def ratio(self) -> Array:
        """Error of plain Monte Carlo over that of Sobol points."""
        return self.monte_carlo / self.sobol


class _Random:
    """Pseudo-random points in place of a net."""

    def __init__(self, size: int, seed: int):
        self.size, self.seed = size, seed

    def uniforms(self, first: int, stop: int) -> Array:
        return np.random.default_rng([self.seed, first]).random((stop - first, self.size))

    def normals(self, first: int, stop: int) -> Array:
        return np.random.default_rng([self.seed, first]).standard_normal((stop - first, self.size))


@takes(n=SIZE, seed=WHOLE, replicates=REPLICATES, truth=FINITE)
def qmc_gain(
    model: Callable[..., ArrayLike],
    inputs: Mapping[str, Input],
    n: int = 4096,
    replicates: int = 64,
    seed: int = 0,
    *,
    plain: Callable[..., ArrayLike] | None = None,
    correlation: Pairs | ArrayLike | None = None,
    truth: ArrayLike | None = None,
) -> Gain:
    """Errors of the mean of `model` by Sobol points and by plain Monte Carlo, both with `n` samples, over `replicates` randomisations.

    Parameters
    ----------
    model : callable
        Takes the names of `inputs` as keyword arrays; samples on the last axis of its result.
    inputs : mapping of name to Distribution, Path or number
    n : int
        Samples of one estimate, a power of two.
    replicates : int
        Randomisations of either, two or more; the ratio of two errors is known to about 1 / sqrt(replicates).
    seed : int
    plain : callable, optional
        What plain Monte Carlo averages in place of `model`: the indicator that a smoothed model has the mean of.
    correlation : optional
        As `sample`.
    truth : array_like, optional
        The exact mean; where not given, that of eight more randomisations of 16 n Sobol points.

    Raises
    ------
    InputError
        For fewer than two replicates, results of `plain` and `model` of unlike shape, a mean that Sobol points find without error.

    Examples
    --------
    >>> from workbench.uncertainty import Normal
    >>> bool(qmc_gain(lambda a, b: a + b, {"a": Normal(-1, 1), "b": Normal(0, 3)}, n=256).ratio > 10)
    True
    """
    d = dimensions(inputs)

    def means(function: Callable[..., ArrayLike], points: Net | _Random, sets: int) -> Array:
        result = evaluated(function, draw(inputs, points, correlation))
        return np.asarray(result.reshape(*result.shape[:-1], sets, -1).mean(axis=-1))

    by_sobol = means(model, Net(d, n, seed, replicates), replicates)
    by_chance = means(plain or model, _Random(n * replicates, seed), replicates)
    if by_sobol.shape != by_chance.shape:
        raise InputError(f"model gives results of shape {by_sobol.shape[:-1]}, plain of {by_chance.shape[:-1]}: expected the same")
    exact = means(model, Net(d, 16 * n, seed + 1, 8), 8).mean(axis=-1) if truth is None else np.asarray(truth, dtype=float)
    errors = [np.asarray(np.sqrt(np.mean((x - exact[..., None]) ** 2, axis=-1))) for x in (by_chance, by_sobol)]
    if not np.all(errors[1] > 0):
        raise InputError("Sobol points find this mean without error: there is no ratio to give")
    return Gain(errors[0], errors[1], exact)
