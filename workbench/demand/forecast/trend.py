"""Trends: forecasts of series in logarithms, from last value and drift to a local trend whose growth reverts to a pooled mean; and records.

Forecasts are equally likely samples of the natural logarithm on the last axis, so that `workbench.uncertainty` scores any of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from workbench.arrays import Array, ArrayLike, Arrays
from workbench.checks import FINITE, LENGTH, NOT_NEGATIVE, WHOLE, Rule, check_fields, numeric, takes
from workbench.errors import InputError
from workbench.uncertainty.sobol import Net

QUARTER = 0.25  #: [year]
SAMPLES = 2048  #: of the simple models
#: What is believed of records before they are seen: one per year, each double the last [log10]; for how many years and records it counts.
PER_YEAR, JUMP, YEARS, JUMPS = 1.0, np.log10(2.0), 1.0, 2.0


@dataclass(frozen=True)
class TrendPrior:
    """What is believed of a series before it is seen; one prior serves all series of demand and supply.

    growth: what three hyperscalers' capital expenditure did in the two years before the first forecast is scored (2020 to 2022 as printed:
    83.0 to 123.2 billion USD, 20 % a year). noise: 5-10 % of an observation. persistence: half-lives of a growth shock of one quarter to
    six and a half. How well a series is observed says nothing of how much its growth varies. All else says only that little is known.
    """

    growth: float = 0.2  #: long-run growth of the logarithm [1/year], middle
    growth_deviation: float = 0.3  #: of a series' own long-run growth around that middle [1/year]
    noise: float = 0.075  #: deviation of an observation from its level, in logarithms
    dof: float = 4.0  #: observations that `noise` counts for
    persistence: tuple[float, ...] = (0.5, 0.6, 0.7, 0.8, 0.9)  #: of a growth shock from quarter to quarter, equally likely
    shock: tuple[float, ...] = (0.015, 0.03, 0.06)  #: deviation of what moves the growth of a quarter, in logarithms, equally likely

    def __post_init__(self) -> None:
        one = Rule(above=0, one=True)
        grid = {"persistence": Rule(least=0, below=1, apart=True), "shock": Rule(above=0, apart=True)}
        check_fields(self, growth=Rule(one=True), growth_deviation=one, noise=one, dof=one, **grid)
        if not (np.size(self.persistence) and np.size(self.shock)):
            raise InputError("persistence, shock: expected one or more of each")


@dataclass(frozen=True, repr=False)
class Trend(Arrays):
    """A fitted local trend: over a grid, the state after the last observation; leading axis g of the grid.

    ln y_t = level_t + noise, level_t+1 = level_t + mean + excess_t, excess_t+1 = persistence excess_t + shock
    """

    persistence: Array
    shock_variance: Array  #: in units of the noise variance
    weight: Array  #: posterior probability
    state: Array  #: (g, 3): level, excess growth, mean growth, a quarter
    covariance: Array  #: (g, 3, 3), in units of the noise variance
    variance: Array  #: (g,): noise variance
    dof: float

    @takes(steps=WHOLE, n=LENGTH, seed=WHOLE)
    def paths(self, steps: int, n: int = 4096, *, seed: int = 0) -> Array:
        """Futures of the logarithm, (steps, n): Student t mixtures over the grid, jointly over the quarters ahead; n is a power of two."""
        from scipy.special import chdtri, ndtri

        u = Net(steps + 2, n, seed, 1).uniforms(0, steps + 2)
        z = ndtri(u[2:]) / np.sqrt(chdtri(self.dof, u[1]) / self.dof)
        which = np.searchsorted(np.cumsum(self.weight)[:-1], u[0])
        middle, root = self._ahead(steps)
        out = np.empty((steps, n))
        for g in np.unique(which):
            mine = which == g
            out[:, mine] = middle[g][:, None] + np.sqrt(self.variance[g]) * (root[g] @ z[:, mine])
        return out

    def _ahead(self, steps: int) -> tuple[Array, Array]:
        """Mean path (g, steps) and Cholesky factor (g, steps, steps) of the observations ahead, in units of the noise deviation."""
        move, shock = _motion(self.persistence, self.shock_variance)
        power, state, covariance = np.broadcast_to(np.eye(3), move.shape), self.state, self.covariance
        level, middle = np.empty((len(move), steps, 3)), np.empty((len(move), steps))  # level: from the state so many steps before
        spread = np.broadcast_to(np.eye(steps), (len(move), steps, steps)).copy()
        for i in range(steps):
            level[:, i], power = power[:, 0], move @ power
        for i in range(steps):
            state, covariance = np.einsum("gij,gj->gi", move, state), move @ covariance @ move.transpose(0, 2, 1) + shock
            middle[:, i] = state[:, 0]
            spread[:, i:, i] += np.einsum("gsj,gj->gs", level[:, : steps - i], covariance[:, :, 0])  # the lower half is all that is read
        return middle, np.asarray(np.linalg.cholesky(spread), dtype=float)


def fit_trend(log_values: ArrayLike, prior: TrendPrior | None = None, others: Sequence[ArrayLike] = ()) -> Trend:
    """Local trend of quarterly values, by a Kalman filter over the grid of persistence and variance of shocks at once.

    Scale and level are integrated out (normal-inverse-gamma; West, Harrison, 1997, Bayesian Forecasting and Dynamic Models, sections 4.5
    and 7.3), the grid is weighted by its likelihood, and by that of `others`, series whose growth varies alike; growth reverts as in
    Gardner, McKenzie (1985), Management Science 31(10). Values are two or more, evenly spaced, the first observed; NaN: not observed.
    """
    prior = prior or TrendPrior()
    y = numeric("log_values", log_values)
    if y.ndim != 1 or np.isinf(y).any() or np.isfinite(y).sum() < 2 or np.isnan(y[0]):
        found = f"log_values of shape {y.shape}, {np.isfinite(y).sum()} finite, {np.isinf(y).sum()} infinite"
        raise InputError(f"{found}: expected a line of two finite values or more, the first observed, NaN where a quarter was not")
    phi, q = (a.ravel() for a in np.meshgrid(prior.persistence, np.square(prior.shock) / prior.noise**2, indexing="ij"))
    move, shock = _motion(phi, q)
    state = np.zeros((phi.size, 3))
    state[:, 0], state[:, 2] = y[0], prior.growth * QUARTER
    covariance = np.zeros((phi.size, 3, 3))
    covariance[:, 0, 0] = 1.0
    covariance[:, 1, 1] = q / (1 - phi**2)
    covariance[:, 2, 2] = (prior.growth_deviation * QUARTER / prior.noise) ** 2
    squares, log_spread = np.zeros(phi.size), np.zeros(phi.size)
    for t in range(1, y.size):
        state = np.einsum("gij,gj->gi", move, state)
        covariance = move @ covariance @ move.transpose(0, 2, 1) + shock
        if np.isnan(y[t]):
            continue
        error, spread = y[t] - state[:, 0], covariance[:, 0, 0] + 1
        gain = covariance[:, :, 0] / spread[:, None]
        state = state + gain * error[:, None]
        covariance = covariance - gain[:, :, None] * covariance[:, None, 0, :]
        squares, log_spread = squares + error**2 / spread, log_spread + np.log(spread)
    dof = prior.dof + np.isfinite(y).sum() - 1
    scale = prior.dof * prior.noise**2 + squares
    log_likelihood = -(log_spread + dof * np.log(scale)) / 2
    weight = np.prod([np.exp(log_likelihood - log_likelihood.max()), *(fit_trend(y, prior).weight for y in others)], axis=0)
    return Trend(phi, q, weight / weight.sum(), state, covariance, scale / dof, float(dof))


@takes(growths=FINITE, errors=NOT_NEGATIVE)
def pooled(growths: ArrayLike, errors: ArrayLike, prior: TrendPrior | None = None) -> TrendPrior:
    """The prior with its long-run growth learnt from other series: a normal hierarchy, of which each series is one draw.

    Given are their mean growths and standard errors [1/year]; half of the prior's variance is of the common middle, which they tell.
    """
    prior = prior or TrendPrior()
    m, s = np.broadcast_arrays(np.asarray(growths, dtype=float), np.asarray(errors, dtype=float))
    half = prior.growth_deviation**2 / 2
    precision = 1 / half + np.sum(1 / (half + s**2))
    middle = (prior.growth / half + np.sum(m / (half + s**2))) / precision
    return replace(prior, growth=float(middle), growth_deviation=float(np.sqrt(half + 1 / precision)))


@takes(times=Rule(apart=True), log_values=Rule(apart=True), at=FINITE, half_life=Rule(above=0, infinite=True, one=True))
def log_linear(times: ArrayLike, log_values: ArrayLike, at: ArrayLike, *, half_life: float = np.inf) -> Array:
    """Forecast at times `at` by least squares on time, with the t distribution of a new observation; shape (..., `SAMPLES`).

    An observation of the age `half_life` counts half; three or more are needed. Samples are quantiles at evenly spaced probabilities.
    """
    t, y, x = (np.asarray(a, dtype=float) for a in (times, log_values, at))
    if t.ndim != 1 or t.shape != y.shape or t.size < 3 or np.ptp(t) == 0:
        raise InputError(f"times of shape {t.shape}, log_values of shape {y.shape}: expected three or more of both, not all at one time")
    w = 0.5 ** ((t.max() - t) / half_life)
    count = w.sum() ** 2 / (w**2).sum()  # effective observations
    w = w / w.sum()
    middle, level = w @ t, w @ y
    square = w @ (t - middle) ** 2
    slope = w @ ((t - middle) * (y - level)) / square
    if count <= 2:
        raise InputError(f"half_life = {half_life}: leaves {count:.1f} observations; expected more than 2")
    variance = w @ (y - level - slope * (t - middle)) ** 2 * count / (count - 2)
    scale = np.sqrt(variance * (1 + (1 + (x - middle) ** 2 / square) / count))
    return (level + slope * (x - middle))[..., None] + scale[..., None] * _student(count - 2)


def last_value(log_values: ArrayLike, steps: float, times: ArrayLike | None = None) -> Array:
    """Random walk without drift: the last value, with the root mean square of past steps; `steps` ahead, in the unit of the times."""
    y, d, w = _steps(log_values, times)
    return float(y[-1]) + np.sqrt(np.mean(d**2 / w) * steps) * _student(np.inf)


def drift(log_values: ArrayLike, steps: float, times: ArrayLike | None = None) -> Array:
    """Random walk with the mean of past steps as its drift, and their deviation."""
    y, d, w = _steps(log_values, times)
    slope = d.sum() / w.sum()
    return float(y[-1]) + steps * slope + np.sqrt(steps) * _deviation(d, w) * _student(np.inf)


def damped(log_values: ArrayLike, steps: float, times: ArrayLike | None = None) -> Array:
    """The mean of the last three steps, dying out to .85 of it a step, with the deviation of all past steps."""
    y, d, w = _steps(log_values, times)
    ahead = d[-3:].sum() / w[-3:].sum() * 0.85 * (1 - 0.85**steps) / 0.15
    return float(y[-1]) + ahead + np.sqrt(steps) * _deviation(d, w) * _student(np.inf)


def on_quarters(times: ArrayLike, log_values: ArrayLike) -> Array:
    """Values on a grid of quarters from the first to the last, NaN where there was none, the last of a quarter where there were several."""
    place = np.round((np.asarray(times) - np.asarray(times)[0]) / QUARTER).astype(int)
    grid = np.full(place[-1] + 1, np.nan)
    grid[place] = log_values
    return grid


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
    probability, so that the forecast has an atom at the record so far.
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


def _student(dof: float) -> Array:
    from scipy.special import ndtri, stdtrit

    p = (np.arange(SAMPLES) + 0.5) / SAMPLES
    return np.asarray(ndtri(p) if np.isinf(dof) else stdtrit(dof, p))


def _steps(log_values: ArrayLike, times: ArrayLike | None) -> tuple[Array, Array, Array]:
    """Values, their steps, and the length of each, in quarters where times are given."""
    y = FINITE("log_values", log_values)
    if y.size < 3:
        raise InputError(f"log_values: {y.size}; expected three or more")
    return y, np.diff(y), np.ones(y.size - 1) if times is None else np.maximum(np.diff(np.asarray(times, dtype=float)), 0.01) / QUARTER


def _deviation(d: Array, w: Array) -> float:
    """Of steps around their drift, for a length of one."""
    return float(np.sqrt(((d - d.sum() / w.sum() * w) ** 2 / w).sum() / (d.size - 1)))


def _motion(phi: Array, q: Array) -> tuple[Array, Array]:
    move, shock = np.zeros((phi.size, 3, 3)), np.zeros((phi.size, 3, 3))
    move[:, 0, :] = 1.0
    move[:, 1, 1], move[:, 2, 2] = phi, 1.0
    shock[:, 1, 1] = q
    return move, shock
