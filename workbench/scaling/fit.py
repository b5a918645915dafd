"""Fits of L(N, D) = E + A / N^alpha + B / D^beta to training runs, and to thousands of resamples of them in one batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from workbench.arrays import Array, Arrays
from workbench.checks import Rule, numeric, one_of, takes
from workbench.errors import InputError
from workbench.scaling import newton
from workbench.scaling.laws import FIVE, AdditiveLaw

DELTA = 1e-3  #: Huber's threshold in the logarithm of loss (Hoffmann et al. 2022, appendix D.2)
NOISES = ("huber", "lad", "squared")
FEWEST = 8
GRID = np.linspace(0.05, 1.2, 24)  #: exponents of the start: a grid on which E, A and B are linear


class FitError(InputError):
    """Points that do not determine what is asked of them."""


@dataclass(frozen=True, repr=False)
class Fitted(Arrays):
    """The law of one fit, or of as many as its arrays have entries."""

    E: Any  #: irreducible loss [nats per token]
    A: Any  #: of parameters [nats per token]
    B: Any  #: of tokens [nats per token]
    alpha: Any  #: exponent of parameters
    beta: Any  #: exponent of tokens
    objective: Any  #: sum of huber, |log residual| or squared residual of loss
    compute_low: float  #: range of 6ND of the points [FLOP]
    compute_high: float  #: [FLOP]

    def law(self) -> AdditiveLaw:
        """As a law, with the range of compute of the points; of many fits, whatever is asked of it is answered as often."""
        name = type(self).__name__.lower()
        return AdditiveLaw(name, source=str(self), **{n: getattr(self, n) for n in (*FIVE, "compute_low", "compute_high")})


@dataclass(frozen=True, repr=False)
class Fit(Fitted):
    """A fitted law, with what it was fitted to."""

    noise: str
    n: int  #: points


@dataclass(frozen=True, repr=False)
class Bootstrap(Fitted):
    """Refitted parameters, one entry a resample."""

    converged: float  #: share of resamples whose refit converged

    def standard_errors(self) -> dict[str, float]:
        """Standard deviation of each parameter over the resamples."""
        return {name: float(np.std(getattr(self, name))) for name in FIVE}

    @takes(level=Rule(above=0, below=1, one=True))
    def interval(self, name: str, level: float = 0.95) -> tuple[float, float]:
        """Percentile interval of a parameter."""
        one_of("name", name, FIVE)
        low, high = np.quantile(getattr(self, name), [(1 - level) / 2, (1 + level) / 2])
        return float(low), float(high)


def chinchilla_points(path: str) -> pl.DataFrame:
    """Points of figure 4 of Hoffmann et al. (2022) as extracted by Besiroglu et al. (2024): params, tokens, loss.

    `path` is that of the CSV, as ``catalogue.external("chinchilla-points")`` returns it. Tokens are FLOP / (6 params); the five largest
    losses are dropped, as the authors of the extraction do, which leaves 240 of 245. Raises `FitError` for a column that is missing.

    Examples
    --------
    >>> from tempfile import NamedTemporaryFile
    >>> with NamedTemporaryFile("w", suffix=".csv") as file:
    ...     rows = [f"1e9,{flop},{loss}" for flop, loss in zip((6e18, 6e19, 6e20, 6e21, 6e22, 6e23), (9, 8, 7, 6, 5, 2))]
    ...     _ = file.write("\\n".join(["Model Size,Training FLOP,loss", *rows]))
    ...     file.flush()
    ...     chinchilla_points(file.name).row(0)
    (1000000000.0, 100000000000000.0, 2)
    """
    raw = pl.read_csv(path)
    if missing := {"Model Size", "Training FLOP", "loss"} - set(raw.columns):
        raise FitError(f"{path}: no column {', '.join(sorted(missing))}")
    points = raw.select(params="Model Size", tokens=pl.col("Training FLOP") / (6 * pl.col("Model Size")), loss="loss")
    return points.filter(pl.col("loss") < pl.col("loss").sort().get(-5))


@takes(delta=Rule(above=0, one=True))
def fit(params: ArrayLike, tokens: ArrayLike, loss: ArrayLike, noise: str = "huber", delta: float = DELTA) -> Fit:
    """Fit the law to `params`, `tokens` and `loss` [nats per token] of n training runs, shape (n,), from a variable projection start.

    The `noise` is ``huber``: sum of Huber losses of log residuals with threshold `delta`, the objective of Hoffmann et al.; ``lad``: sum of
    absolute log residuals; ``squared``: sum of squared residuals of loss itself. Raises `FitError` for fewer than 8 points, values that
    are not positive and finite, a single size or a single number of tokens. [Hoffmann et al. (2022), appendix D.2; Besiroglu et al. (2024),
    arXiv:2404.10102; Golub, Pereyra (1973), "The differentiation of pseudo-inverses"]

    Examples
    --------
    >>> from workbench.scaling import law
    >>> truth, n, d = law("hoffmann_2022"), np.repeat([1e8, 1e9, 1e10], 3), np.tile([1e10, 1e11, 1e12], 3)
    >>> found = fit(n, d, truth.loss(n, d))
    >>> round(found.alpha, 3), round(found.beta, 3)
    (0.339, 0.285)
    """
    if noise not in NOISES:
        raise FitError(f"noise = {noise!r}: expected one of {', '.join(NOISES)}")
    points, compute = checked(params, tokens, loss)
    start, one = projected(points), np.ones((1, points.x.size))
    if noise == "huber":
        theta, objective, _ = newton.minimise(points, one, start, delta)
    elif noise == "lad":
        theta, objective = _least_absolute(points, one, start)
    else:
        theta, objective = _least_squares(points, start)
    found = {name: float(value) for name, value in points.constants(theta[0]).items()}
    return Fit(**found, **compute, objective=float(objective[0]), noise=noise, n=points.x.size)


@takes(n=Rule(least=1, whole=True, one=True), seed=Rule(least=0, most=2**32 - 1, whole=True, one=True), delta=Rule(above=0, one=True))
def bootstrap(params: ArrayLike, tokens: ArrayLike, loss: ArrayLike, n: int = 4000, seed: int = 42, delta: float = DELTA) -> Bootstrap:
    """Refit the Huber law to `n` resamples of the points, drawn with replacement. Points, `delta` and refusals are those of `fit`.

    A resample is a vector of weights on the same points, so that all refits are one batched Newton iteration. The default `seed` draws the
    resamples of Besiroglu et al., so that their standard errors come out. [Efron, Tibshirani (1993), "An Introduction to the Bootstrap";
    Besiroglu et al. (2024), section 3]

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
    points, compute = checked(params, tokens, loss)
    size = points.x.size
    best, _, _ = newton.minimise(points, np.ones((1, size)), projected(points), delta)
    drawn = np.random.RandomState(seed).randint(0, size, (n, size))  # the generator of the published study
    weights = np.bincount((drawn + size * np.arange(n)[:, None]).ravel(), minlength=n * size).reshape(n, -1).astype(float)
    theta, objective, converged = newton.minimise(points, weights, best, delta)
    found: dict[str, Any] = {**points.constants(theta), **compute}
    return Bootstrap(**found, objective=objective, converged=float(converged.mean()))


def checked(params: ArrayLike, tokens: ArrayLike, loss: ArrayLike) -> tuple[newton.Points, dict[str, float]]:
    """The points, if they can determine a law, and the range of their compute. Raises `FitError`."""
    given = {name: numeric(name, x).ravel() for name, x in (("params", params), ("tokens", tokens), ("loss", loss))}
    n, d, losses = given.values()
    if not n.size == d.size == losses.size:
        raise FitError(f"params, tokens and loss have {n.size}, {d.size} and {losses.size} values: expected as many of each")
    for name, values in given.items():
        for i in np.flatnonzero(~(np.isfinite(values) & (values > 0))):
            raise FitError(f"{name}[{i}] = {values[i]}: expected a positive number")
    if n.size < FEWEST:
        raise FitError(f"{n.size} points: five parameters need at least {FEWEST}")
    for name, values, without in (
        ("params", n, "alpha cannot be identified; add runs of another size"),
        ("tokens", d, "beta cannot be identified; add runs of another size"),
        ("compute", n * d, "alpha and beta cannot be told apart; add runs at another budget"),
    ):
        if np.ptp(np.log(values)) < 1e-6:
            raise FitError(f"all points have the same {name}: {without}")
    compute = 6 * n * d
    return newton.centred(n, d, losses), {"compute_low": float(compute.min()), "compute_high": float(compute.max())}


def projected(points: newton.Points) -> Array:
    """Start of a fit: over a grid of exponents the best E, A, B by weighted linear least squares, and the best of those, as theta."""
    losses = np.exp(points.log_loss)
    w = losses**-2  # relative residuals
    x, y = np.exp(-GRID[:, None] * points.x), np.exp(-GRID[:, None] * points.y)
    gram, right = np.empty((GRID.size, GRID.size, 3, 3)), np.empty((GRID.size, GRID.size, 3))
    gram[..., 0, 0] = w.sum()
    gram[..., 0, 1] = gram[..., 1, 0] = (x @ w)[:, None]
    gram[..., 0, 2] = gram[..., 2, 0] = (y @ w)[None, :]
    gram[..., 1, 1] = ((x * x) @ w)[:, None]
    gram[..., 2, 2] = ((y * y) @ w)[None, :]
    gram[..., 1, 2] = gram[..., 2, 1] = (x * w) @ y.T
    wl = w * losses
    right[..., 0], right[..., 1], right[..., 2] = wl.sum(), (x @ wl)[:, None], (y @ wl)[None, :]
    linear = np.linalg.solve(gram + 1e-12 * gram[..., :1, :1] * np.eye(3), right[..., None])[..., 0]
    explained = np.einsum("ijk,ijk->ij", right, linear)
    explained[(linear <= 0).any(axis=2)] = -np.inf
    i, j = np.unravel_index(np.argmax(explained), explained.shape)
    if not np.isfinite(explained[i, j]):  # loss does not fall with size or data: begin with equal shares
        third = np.log(losses.mean() / 3)
        return np.array([third, third, third, 0.3, 0.3])
    e, a, b = np.log(linear[i, j])
    return np.array([a, b, e, GRID[i], GRID[j]])


def _least_absolute(points: newton.Points, weights: Array, start: Array) -> tuple[Array, Array]:
    """Least absolute deviations as the limit of Huber's loss: sum huber / delta as delta goes to 0."""
    theta = np.broadcast_to(start, (len(weights), 5))
    for delta in 10.0 ** -np.arange(3, 10):
        theta, objective, _ = newton.minimise(points, weights, theta, delta)
    return theta, objective / delta


def _least_squares(points: newton.Points, start: Array) -> tuple[Array, Array]:
    from scipy.optimize import least_squares

    losses, one = np.exp(points.log_loss), np.ones_like(points.x)

    def terms(t: Array) -> Array:
        return np.exp([t[0] - t[3] * points.x, t[1] - t[4] * points.y, t[2] * one])

    def jacobian(t: Array) -> Array:
        return (terms(t)[[0, 1, 2, 0, 1]] * [one, one, one, -points.x, -points.y]).T

    found = least_squares(lambda t: terms(t).sum(axis=0) - losses, start, jac=jacobian, method="lm", xtol=1e-15, ftol=1e-15, gtol=1e-15)
    return found.x[None], np.array([2 * found.cost])
