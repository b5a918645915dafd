"""Fits of L(N, D) = E + A / N^alpha + B / D^beta to training runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from workbench.arrays import Arrays
from workbench.checks import Rule, numeric, takes
from workbench.errors import InputError
from workbench.scaling import newton
from workbench.scaling.laws import FIVE, AdditiveLaw

Array = NDArray[np.float64]
DELTA = 1e-3  #: Huber's threshold in the logarithm of loss (Hoffmann et al. 2022, appendix D.2)
NOISES = ("huber", "lad", "squared")
FEWEST = 8
#: Exponents of the start: a grid on which E, A and B are linear.
GRID = np.linspace(0.05, 1.2, 24)


class FitError(InputError):
    """Points that do not determine what is asked of them."""


@dataclass(frozen=True, repr=False)
class Fit(Arrays):
    """A fitted law, with what it was fitted to."""

    E: float  #: irreducible loss [nats per token]
    A: float  #: of parameters [nats per token]
    B: float  #: of tokens [nats per token]
    alpha: float  #: exponent of parameters
    beta: float  #: exponent of tokens
    objective: float  #: sum of huber, |log residual| or squared residual of loss
    noise: str
    n: int  #: points
    compute_low: float  #: range of 6ND of the points [FLOP]
    compute_high: float  #: [FLOP]

    def law(self, name: str = "fit") -> AdditiveLaw:
        """The fit as a law, with the range of compute it was fitted on."""
        return law_of(self, name, f"fit of {self.n} points, {self.noise} noise")


def law_of(fitted: Any, name: str, source: str) -> AdditiveLaw:
    """The law of fitted constants, with the range of compute they were fitted on."""
    return AdditiveLaw(name=name, source=source, **{n: getattr(fitted, n) for n in (*FIVE, "compute_low", "compute_high")})


def chinchilla_points(path: str) -> pl.DataFrame:
    """Points of figure 4 of Hoffmann et al. (2022) as extracted by Besiroglu et al. (2024): params, tokens, loss.

    Tokens are FLOP / (6 params); the five largest losses are dropped, as the authors of the extraction do, which leaves 240 of 245.

    Parameters
    ----------
    path : str
        The CSV, as ``catalogue.external("chinchilla-points")`` returns it.

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
    missing = {"Model Size", "Training FLOP", "loss"} - set(raw.columns)
    if missing:
        raise FitError(f"{path}: no column {', '.join(sorted(missing))}")
    points = raw.select(params="Model Size", tokens=pl.col("Training FLOP") / (6 * pl.col("Model Size")), loss="loss")
    return points.filter(pl.col("loss") < pl.col("loss").sort().get(-5))


@takes(delta=Rule(above=0, one=True))
def fit(params: ArrayLike, tokens: ArrayLike, loss: ArrayLike, noise: str = "huber", delta: float = DELTA) -> Fit:
    """Fit the law by its global minimum as found from a variable projection start.

    ``huber``: sum of Huber losses of log residuals, the objective of Hoffmann et al. ``lad``: sum of absolute log residuals. ``squared``:
    sum of squared residuals of loss itself.

    Parameters
    ----------
    params, tokens, loss : array_like, shape (n,)
        N, D and nats per token of n training runs.
    noise : str
    delta : float
        Huber's threshold.

    Raises
    ------
    FitError
        For fewer than 8 points, values that are not positive and finite, a single size or a single number of tokens.

    References
    ----------
    .. [1] Hoffmann et al. (2022), appendix D.2. .. [2] Besiroglu et al. (2024), arXiv:2404.10102.
    .. [3] Golub, Pereyra (1973), "The differentiation of pseudo-inverses", variable projection.

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
    n_params, n_tokens, losses = checked(params, tokens, loss)
    points = newton.centred(n_params, n_tokens, losses)
    start = projected(points)
    weights = np.ones((1, losses.size))
    if noise == "huber":
        theta, objective, _ = newton.minimise(points, weights, start, delta)
    elif noise == "lad":
        theta, objective = _least_absolute(points, weights, start)
    else:
        theta, objective = _least_squares(points, start)
    found, compute = {name: float(value) for name, value in points.constants(theta[0]).items()}, 6 * n_params * n_tokens
    return Fit(
        **found,
        objective=float(objective[0]),
        noise=noise,
        n=losses.size,
        compute_low=float(compute.min()),
        compute_high=float(compute.max()),
    )


def checked(params: ArrayLike, tokens: ArrayLike, loss: ArrayLike) -> tuple[Array, Array, Array]:
    """The points as arrays, if they can determine a law. Raises `FitError`."""
    arrays = [numeric(name, x).ravel() for name, x in (("params", params), ("tokens", tokens), ("loss", loss))]
    sizes = [a.size for a in arrays]
    if len(set(sizes)) > 1:
        raise FitError(f"params, tokens and loss have {sizes[0]}, {sizes[1]} and {sizes[2]} values: expected as many of each")
    for name, values in zip(("params", "tokens", "loss"), arrays, strict=True):
        bad = np.flatnonzero(~(np.isfinite(values) & (values > 0)))
        if bad.size:
            raise FitError(f"{name}[{bad[0]}] = {values[bad[0]]}: expected a positive number")
    if sizes[0] < FEWEST:
        raise FitError(f"{sizes[0]} points: five parameters need at least {FEWEST}")
    n, d, _ = arrays
    for name, values, exponent in (("params", n, "alpha"), ("tokens", d, "beta")):
        if np.ptp(np.log(values)) < 1e-6:
            raise FitError(f"all points have the same {name}: {exponent} cannot be identified; add runs of another size")
    if np.ptp(np.log(n * d)) < 1e-6:
        raise FitError("all points have the same compute: alpha and beta cannot be told apart; add runs at another budget")
    return arrays[0], arrays[1], arrays[2]


def projected(points: newton.Points) -> Array:
    """Start of a fit: over a grid of exponents the best E, A, B by weighted linear least squares; the grid's best, all at once.

    Returns
    -------
    ndarray, shape (5,)
        a, b, e, alpha, beta in centred logarithms.
    """
    w = np.exp(-2 * points.log_loss)  # relative residuals
    losses = np.exp(points.log_loss)
    x, y = np.exp(-GRID[:, None] * points.x), np.exp(-GRID[:, None] * points.y)
    g = GRID.size
    gram, right = np.empty((g, g, 3, 3)), np.empty((g, g, 3))
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

    losses = np.exp(points.log_loss)

    def shares(t: Array) -> tuple[Array, Array, float]:
        return np.exp(t[0] - t[3] * points.x), np.exp(t[1] - t[4] * points.y), float(np.exp(t[2]))

    def residual(t: Array) -> Array:
        u, v, e = shares(t)
        return np.asarray(u + v + e - losses)

    def jacobian(t: Array) -> Array:
        u, v, e = shares(t)
        return np.stack([u, v, np.full_like(u, e), -u * points.x, -v * points.y], axis=1)

    found = least_squares(residual, start, jac=jacobian, method="lm", xtol=1e-15, ftol=1e-15, gtol=1e-15)
    return found.x[None], np.array([2 * found.cost])
