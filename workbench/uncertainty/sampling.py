"""Futures: joint samples of numbers and paths by scrambled Sobol points, and models evaluated on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from workbench.arrays import Array, short
from workbench.checks import LENGTH, Rule, check_fields, numeric, takes
from workbench.errors import InputError, UnknownName
from workbench.uncertainty.distributions import ABOVE, NO_LESS, ONE, Distribution
from workbench.uncertainty.sobol import Net

Pairs = Mapping[tuple[str, str], float]
SLACK = 1e-8  #: by which an eigenvalue of correlations may fall below 0 through rounding


@dataclass(frozen=True)
class Path:
    """Autoregressive path of first order: x_t = rho x_{t-1} + sigma e_t, x_0 = 0 known, t = 1 to `steps`; rho = 1 is a random walk.

    The innovations e are the steps of a Brownian motion that is built by bridging, the end first and then midpoints, so that the first
    Sobol dimensions carry most of the variance of the path and of its running sum. A spread that is itself uncertain multiplies a path of
    sigma 1. [Moskowitz, Caflisch (1996), "Smoothness and dimension reduction in quasi-Monte Carlo methods"; Glasserman (2003), 5.5]

    Examples
    --------
    >>> x = sample({"demand": Path(8, rho=0.9, sigma=0.1)}, n=256)["demand"]
    >>> x.shape, float(x[0].std().round(2))
    ((8, 256), 0.1)
    """

    steps: int
    rho: float = 1.0
    sigma: float = 1.0  #: standard deviation of an innovation

    def __post_init__(self) -> None:
        check_fields(self, steps=LENGTH, rho=Rule(least=-1, most=1, one=True), sigma=NO_LESS)

    @classmethod
    @takes(rate=NO_LESS, volatility=NO_LESS, step=ABOVE)
    def reverting(cls, steps: int, *, rate: float, volatility: float, step: float) -> Path:
        """Ornstein-Uhlenbeck process dx = -rate x dt + volatility dW, seen every `step`: exact, whatever the step.

        rho = e^(-rate step), sigma^2 = volatility^2 (1 - rho^2) / (2 rate)
        """
        variance = step if rate == 0 else -np.expm1(-2 * rate * step) / (2 * rate)
        return cls(steps, float(np.exp(-rate * step)), float(volatility * np.sqrt(variance)))

    @property
    def weights(self) -> Array:
        """Matrix from standard normals to the path, shape (steps, steps); its columns are in the order of the bridge."""
        lag = np.subtract.outer(np.arange(self.steps), np.arange(self.steps))
        response = np.where(lag >= 0, self.sigma * float(self.rho) ** np.maximum(lag, 0), 0.0)  # of x_t to e_s
        return np.asarray(response @ np.diff(_bridge(self.steps), axis=0, prepend=0.0))


Input = Distribution | Path | float


@takes()
def sample(
    inputs: Mapping[str, Input], n: int = 4096, seed: int = 0, *, correlation: Pairs | None = None, replicates: int = 1
) -> dict[str, Array]:
    """Joint samples of `inputs` by scrambled Sobol points, joined by a Gaussian copula.

    By name, of shape (replicates n,), of a path (steps, replicates n), replicates one after the other. The same seed gives the same points
    to the same inputs: scenarios share their random numbers. Inputs appended to `inputs`, and more points or replicates, leave the samples
    of the others as they are; an input that is fixed to a number keeps its place. Raises `InputError` for n that is no power of two, an
    unknown name, correlations outside [-1, 1], that contradict each other, of a number with a path, or of paths of unequal steps.

    Parameters
    ----------
    inputs : mapping of name to Distribution, Path or number
        Those that matter most first: the first Sobol dimensions are the best.
    n : int
        Points a replicate, a power of two.
    seed : int
        Of the scrambling, 0 or more.
    correlation : mapping of (name, name) to number, optional
        Of the normal scores of two distributions (a rank correlation r_s is 2 sin(pi r_s / 6)), or of the innovations of two paths of
        equally many steps at the same time.
    replicates : int
        Independent randomisations, for standard errors.

    Examples
    --------
    >>> from workbench.uncertainty import Lognormal, Pert
    >>> x = sample({"price": Lognormal(2, 8), "life": Pert(3, 5, 7)}, n=1024, correlation={("price", "life"): 0.5})
    >>> x["price"].shape, float(np.median(x["price"]).round(1))
    ((1024,), 4.0)
    """
    from scipy.special import ndtr

    widths = {name: d.steps if isinstance(d, Path) else 1 for name, d in inputs.items()}
    points = Net(max(1, sum(widths.values())), n, seed, replicates)
    first = dict(zip(widths, np.cumsum([0, *widths.values()]).tolist(), strict=False))
    mixed = {} if correlation is None else _correlated(inputs, first, points, correlation)
    draws = {}
    for name, d in inputs.items():
        start, stop = first[name], first[name] + widths[name]
        if isinstance(d, Path):
            draws[name] = d.weights @ (mixed[name] if name in mixed else points.normals(start, stop))
        elif isinstance(d, int | float | np.number) and not isinstance(d, bool):
            draws[name] = np.full(points.size, ONE(name, d))
        elif not isinstance(d, Distribution):
            raise InputError(f"{name} = {d!r}: expected a distribution, a path or a number")
        else:
            draws[name] = d.quantile(ndtr(mixed[name][0]) if name in mixed else points.uniforms(start, stop)[0])
    return draws


def evaluated(model: Callable[..., ArrayLike], draws: Mapping[str, Array]) -> Array:
    """Result of `model` on `draws`, checked: finite, samples on the last axis. Raises `InputError` with the inputs that led to it."""
    n = next(iter(draws.values())).shape[-1]
    result = numbers_of("the model's result", model(**draws))
    if result.shape[-1:] in ((), (1,)):  # nothing in it depends on the draws
        result = np.broadcast_to(result, (*result.shape[:-1], n))
    if result.shape[-1] != n:
        raise InputError(f"the model gives an array of shape {result.shape} for {n} samples: expected them on the last axis")
    bad = ~np.isfinite(result)
    if bad.any():
        at = tuple(int(i) for i in np.argwhere(bad)[0])
        given = ", ".join(f"{name} = {short(x[..., at[-1]])}" for name, x in draws.items())
        cases = int(bad.reshape(-1, n).any(axis=0).sum())
        raise InputError(f"the model gives {result[at]} in {cases} of {n} samples, as in number {at[-1]}: {given}")
    return result


def numbers_of(name: str, values: ArrayLike) -> Array:
    """`values` as numbers: of an array of truth values what is true counts 1, so that its mean is a probability."""
    if isinstance(values, np.ndarray) and values.dtype == bool and not isinstance(values, np.ma.MaskedArray):
        return values.astype(float)
    return numeric(name, values)


def correlation_matrix(names: Sequence[str], correlation: Pairs) -> Array:
    """`correlation` of the normal scores as a matrix in the order of `names`; pairs that are not named are independent.

    Raises `UnknownName` for a pair that names no input, `InputError` for a number outside [-1, 1], a pair that is none or is given twice,
    and correlations that no joint distribution has.
    """
    place = {name: i for i, name in enumerate(names)}
    matrix, seen = np.eye(len(place)), set()
    for pair, value in correlation.items():
        if not (isinstance(pair, tuple) and len(pair) == 2 and pair[0] != pair[1]):
            raise InputError(f"correlation names {pair!r}: expected a pair of two inputs")
        for name in pair:
            if name not in place:
                raise UnknownName("input in correlation", name, place)
        if frozenset(pair) in seen:
            raise InputError(f"correlation of {pair[0]!r} and {pair[1]!r} is given twice")
        seen.add(frozenset(pair))
        i, j = place[pair[0]], place[pair[1]]
        matrix[i, j] = matrix[j, i] = Rule(least=-1, most=1, one=True)(f"correlation of {pair[0]!r} and {pair[1]!r}", value)
    if (smallest := float(np.linalg.eigvalsh(matrix).min(initial=0.0))) < -SLACK:
        what = f"the matrix of {len(names)} inputs is not positive semi-definite, smallest eigenvalue {smallest:.4g}"
        raise InputError(f"the correlations contradict each other: {what}")
    return matrix


def _correlated(inputs: Mapping[str, Input], first: Mapping[str, int], points: Net, correlation: Pairs) -> dict[str, Array]:
    """Standard normals of the inputs that depend on others, shape (steps, samples) each."""
    names = list(inputs)
    matrix = correlation_matrix(names, correlation)
    steps = [d.steps if isinstance(d, Path) else 0 for d in inputs.values()]
    for i, j in np.argwhere(np.triu(matrix, 1)):
        one, other = names[i], names[j]
        if not (steps[i] and steps[j]) and steps[i] != steps[j]:
            raise InputError(f"correlation of {one!r} and {other!r}: a number has none with a path; expected two numbers or two paths")
        if steps[i] != steps[j]:
            raise InputError(f"correlation of the paths {one!r} and {other!r}: {steps[i]} and {steps[j]} steps, expected equally many")
    # L L' = matrix, lower triangular, of a matrix that may be singular: the first inputs stay as they are when others follow
    value, vector = np.linalg.eigh(matrix)
    upper = np.asarray(np.linalg.qr((vector * np.sqrt(np.maximum(value, 0.0))).T, mode="r"))
    lower = upper.T * np.where(np.diag(upper) < 0, -1.0, 1.0)
    joined = np.flatnonzero(np.count_nonzero(matrix, axis=1) > 1)
    normals = {j: points.normals(first[names[j]], first[names[j]] + max(1, steps[j])) for j in joined}
    return {names[i]: sum(lower[i, j] * normals[j] for j in joined if j <= i and abs(lower[i, j]) > 1e-15) for i in joined}


@lru_cache(maxsize=16)
def _bridge(steps: int) -> Array:
    """Brownian motion at 1 to `steps` from standard normals: its Cholesky factor, times taken in the order end, middle, quarters ..."""
    order, gaps = [steps - 1], [(-1, steps - 1)]
    for low, high in gaps:  # grows as it is read: breadth first
        if high - low > 1:
            middle = (low + high) // 2
            order.append(middle)
            gaps += [(low, middle), (middle, high)]
    time = np.arange(1.0, steps + 1)[order]
    motion = np.empty((steps, steps))
    motion[order] = np.linalg.cholesky(np.minimum.outer(time, time))
    return motion
