"""How sure a fit is: the law refitted to thousands of resamples of its points, all in one batch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.arrays import Arrays
from workbench.checks import Rule, one_of, takes
from workbench.scaling import newton
from workbench.scaling.fit import DELTA, checked, fit, law_of
from workbench.scaling.laws import FIVE, AdditiveLaw

Array = NDArray[np.float64]


@dataclass(frozen=True, repr=False)
class Bootstrap(Arrays):
    """Refitted parameters, one entry a resample."""

    E: Array  #: irreducible loss [nats per token]
    A: Array  #: of parameters [nats per token]
    B: Array  #: of tokens [nats per token]
    alpha: Array  #: exponent of parameters
    beta: Array  #: exponent of tokens
    objective: Array  #: sum of Huber losses
    converged: float  #: share of resamples whose refit converged
    compute_low: float  #: range of 6ND of the points [FLOP]
    compute_high: float  #: [FLOP]

    def standard_errors(self) -> dict[str, float]:
        """Standard deviation of each parameter over the resamples."""
        return {name: float(np.std(getattr(self, name))) for name in FIVE}

    @takes(level=Rule(above=0, below=1, one=True))
    def interval(self, name: str, level: float = 0.95) -> tuple[float, float]:
        """Percentile interval of a parameter."""
        one_of("name", name, FIVE)
        low, high = np.quantile(getattr(self, name), [(1 - level) / 2, (1 + level) / 2])
        return float(low), float(high)

    def law(self) -> AdditiveLaw:
        """The laws of all resamples as one law with arrays for parameters: whatever is asked of it is answered as often."""
        return law_of(self, "bootstrap", f"{self.E.size} bootstrap refits")


@takes(n=Rule(least=1, whole=True, one=True), seed=Rule(least=0, most=2**32 - 1, whole=True, one=True))
def bootstrap(params: ArrayLike, tokens: ArrayLike, loss: ArrayLike, n: int = 4000, seed: int = 42, delta: float = DELTA) -> Bootstrap:
    """Refit the Huber law to `n` resamples of the points, drawn with replacement.

    A resample is a vector of weights on the same points, so that all refits are one batched Newton iteration.

    Parameters
    ----------
    params, tokens, loss : array_like, shape (points,)
    n : int
        Resamples.
    seed : int
        The default draws the resamples of Besiroglu et al., so that their standard errors come out.
    delta : float
        Huber's threshold.

    References
    ----------
    .. [1] Efron, Tibshirani (1993), "An Introduction to the Bootstrap". .. [2] Besiroglu et al. (2024), section 3.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> n, d = 10 ** rng.uniform((8, 10), (10, 12), (60, 2)).T
    >>> loss = (1.7 + 400 / n**0.34 + 1500 / d**0.33) * np.exp(0.002 * rng.standard_normal(60))
    >>> refits = bootstrap(n, d, loss, n=100)
    >>> low, high = refits.interval("alpha")
    >>> low < 0.34 < high
    True
    """
    n_params, n_tokens, losses = checked(params, tokens, loss)
    best = fit(n_params, n_tokens, losses, delta=delta)
    points = newton.centred(n_params, n_tokens, losses)
    start = np.array(
        [np.log(best.A) - best.alpha * points.x_mean, np.log(best.B) - best.beta * points.y_mean, np.log(best.E), best.alpha, best.beta]
    )
    drawn = np.random.RandomState(seed).randint(0, losses.size, (n, losses.size))  # the generator of the published study
    weights = np.bincount((drawn + losses.size * np.arange(n)[:, None]).ravel(), minlength=n * losses.size).reshape(n, -1).astype(float)
    theta, objective, converged = newton.minimise(points, weights, start, delta)
    found = points.constants(theta)
    return Bootstrap(
        **found, objective=objective, converged=float(converged.mean()), compute_low=best.compute_low, compute_high=best.compute_high
    )
