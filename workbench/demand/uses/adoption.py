"""Adoption: Bass, logistic and damped exponential growth of users, with priors on the cap, averaged by how well each has foretold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.arrays import Array
from workbench.checks import LENGTH, WHOLE, Rule, check_fields, number, takes
from workbench.errors import InputError, UnknownName
from workbench.uncertainty.sobol import Net

_ONE = Rule(one=True)


def bass(time: Array, innovation: Array, imitation: Array, cap: Array) -> Array:
    """Users `time` years after the start by Bass (1969), Management Science 15(5), equation 9: dA/dt = (p + q A / K)(K - A), so that
    A = K (1 - e^-(p+q)t) / (1 + (q/p) e^-(p+q)t).
    """
    both = innovation + imitation
    return np.asarray(cap * -np.expm1(-both * time) / (1 + imitation / innovation * np.exp(-both * time)))


@dataclass(frozen=True)
class AdoptionPrior:
    """What is believed of a product's users before they are seen: medians, and deviations of the logarithm."""

    cap: float = 2.5e9  #: consumer chat is bounded by the population online; knowledge workers and developers need caps of their own
    cap_deviation: float = 0.4
    noise: float = 0.075  #: of a disclosed count, which is rounded and dated to a month
    discrepancy: float = 0.25  #: of users from any law, for no law is the truth
    discrepancy_years: float = 1.0  #: time in which such a discrepancy falls to 1/e [year]
    innovation: float = 0.03  #: Bass p [1/year]; mean of 213 products in Sultan, Farley, Lehmann (1990), J. Marketing Research 27
    imitation: float = 0.8  #: Bass q [1/year]; twice theirs of .38, for what spreads without a shop
    rate: float = 1.0  #: logistic r [1/year]
    decay: float = 1.5  #: tau of the damped exponential [year]
    vague: float = 1.0  #: deviation of the logarithm of rates and times

    def __post_init__(self) -> None:
        one = Rule(above=0, one=True)
        check_fields(self, **{f.name: Rule(least=0, one=True) if f.name == "discrepancy" else one for f in fields(self)})


class _Law(NamedTuple):
    middle: Callable[[AdoptionPrior], Sequence[tuple[float, float]]]  #: mean and deviation of each parameter
    users: Callable[[Array, Array], Array]  #: logarithm of users from times since launch (m,) and parameters (..., k): (..., m)


def _log_bass(t: Array, x: Array) -> Array:
    return np.asarray(np.log(bass(t, *(np.exp(x[..., i, None]) for i in range(3)))))


def _log_logistic(t: Array, x: Array) -> Array:
    k, r = x[..., 0, None], np.exp(x[..., 1, None])
    return np.asarray(k - np.logaddexp(0.0, -r * (t - x[..., 2, None])))


def _log_damped(t: Array, x: Array) -> Array:
    # the damped exponential seen from its end: ln K = ln level + g tau, so that its cap has the prior of the other laws (Gompertz)
    return np.asarray(x[..., 0, None] - np.exp(x[..., 1, None] - t * np.exp(-x[..., 2, None])))


#: Each law of growth by name; times count from the launch.
_LAWS: dict[str, _Law] = {
    "bass": _Law(
        lambda p: [(np.log(p.innovation), 1.5 * p.vague), (np.log(p.imitation), p.vague), (np.log(p.cap), p.cap_deviation)], _log_bass
    ),
    "logistic": _Law(lambda p: [(np.log(p.cap), p.cap_deviation), (np.log(p.rate), p.vague), (3.0, 3.0)], _log_logistic),
    "damped": _Law(lambda p: [(np.log(p.cap), p.cap_deviation), (np.log(7.0), p.vague), (np.log(p.decay), p.vague)], _log_damped),
}
LAWS = tuple(_LAWS)


@dataclass(frozen=True)
class Observed:
    """Disclosed counts of users, of several metrics at once: the first metric is the one that is forecast."""

    times: Array  #: decimal years, rising
    values: Array
    metric: NDArray[np.int64]  #: place in `ratios`
    ratios: tuple[tuple[float, float], ...]  #: of each metric over the first: median, deviation of the logarithm; (1, 0) first


def observed(
    times: ArrayLike, values: ArrayLike, linked: Mapping[str, tuple[ArrayLike, ArrayLike, float, float]] | None = None
) -> Observed:
    """Counts of one metric at decimal years, and of others that are linked to it by a ratio that is known but for its deviation.

    `linked` holds by name of a metric (times, values, ratio, deviation): its counts, its median ratio to the first metric (monthly over
    weekly users about 1 / .9), and the deviation of the ratio's logarithm.
    """
    counts: list[tuple[Array, Array, NDArray[np.int64]]] = []
    ratios = []
    for name, (when, seen, ratio, deviation) in {"": (times, values, 1.0, 0.0), **(linked or {})}.items():
        of = f"linked[{name}] " if name else ""
        t, v = np.atleast_1d(number(f"{of}times", when)), np.atleast_1d(number(f"{of}values", seen, above=0))
        if t.shape != v.shape or t.ndim > 1:
            raise InputError(f"{of}values of shape {v.shape} for {of}times of shape {t.shape}: expected one series, as many of both")
        counts.append((t, v, np.full(t.size, len(counts))))
        ratios.append((Rule(above=0, one=True)(f"{of}ratio", ratio), Rule(least=0, one=True)(f"{of}deviation", deviation)))
    t, v, which = (np.concatenate(part) for part in zip(*counts, strict=True))
    order = np.argsort(t, kind="stable")
    return Observed(t[order], v[order], which[order], tuple(ratios))


@dataclass(frozen=True)
class Fit:
    """A law of growth fitted to counts: equally likely parameters of it, and how far the counts were from it."""

    law: str
    launch: float
    parameters: Array  #: (n, parameters)
    times: Array  #: of the counts, years since the launch
    residuals: Array  #: (n, counts): logarithm of counts less the law
    prior: AdoptionPrior
    efficiency: float  #: share of independent draws that the importance weights leave

    def ahead(self, times: ArrayLike) -> tuple[Array, Array]:
        """Logarithm of users at decimal years: mean (times, n), given each draw, and covariance (times, times) of the walk around it."""
        why = f"not after the launch in {self.launch:.2f}"
        t = np.atleast_1d(number("times", times, above=self.launch, why=why)) - self.launch
        across = _discrepancy(t, self.times, self.prior)
        gain = np.linalg.solve(_covariance(self.times, self.prior), across.T).T
        walk = _discrepancy(t, t, self.prior) - gain @ across.T
        return _LAWS[self.law].users(t, self.parameters).T + gain @ self.residuals.T, walk

    @takes(seed=WHOLE)
    def log_users(self, times: ArrayLike, *, seed: int = 0) -> Array:
        """Futures of the logarithm of users at decimal years, shape (times, n)."""
        mean, walk = self.ahead(times)
        root = np.linalg.cholesky(walk + 1e-12 * np.eye(walk.shape[0]))
        return np.asarray(mean + root @ np.random.default_rng(seed).standard_normal(mean.shape))


@takes(launch=_ONE, n=LENGTH, seed=WHOLE)
def fit_law(law: str, seen: Observed, launch: float, prior: AdoptionPrior | None = None, *, n: int = 2048, seed: int = 0) -> Fit:
    """Posterior of a law's parameters: the mode by least squares, its Laplace approximation, and importance weights over that.

    From two counts or more after the launch, a decimal year; n draws, a power of two.
    """
    from scipy.optimize import least_squares
    from scipy.special import stdtrit

    if law not in _LAWS:
        raise UnknownName("law of growth", law, LAWS)
    prior = prior or AdoptionPrior()
    if seen.times.size < 2 or not np.all(seen.times > launch):
        first = f" from {seen.times.min():.2f}" if seen.times.size else ""
        raise InputError(f"seen: {seen.times.size} counts{first}; expected two or more after the launch in {launch:.2f}")
    t, y, links = seen.times - launch, np.log(seen.values), seen.ratios[1:]
    mean, deviation = np.array([*_LAWS[law].middle(prior), *((np.log(r), max(d, 1e-6)) for r, d in links)]).T
    own = mean.size - len(links)

    whiten = np.linalg.inv(np.linalg.cholesky(_covariance(t, prior)))

    def off(x: Array) -> Array:
        offset = np.concatenate([np.zeros((*x.shape[:-1], 1)), x[..., own:]], axis=-1)[..., seen.metric]
        return np.asarray(y - offset - _LAWS[law].users(t, x[..., :own]))

    def residuals(x: Array) -> Array:  # standard normal under the posterior's terms; x of shape (..., parameters)
        return np.concatenate([off(x) @ whiten.T, (x - mean) / deviation], axis=-1)

    mode = least_squares(residuals, mean, x_scale=deviation)
    root = np.linalg.inv(np.linalg.cholesky(mode.jac.T @ mode.jac)).T  # of the covariance
    u = Net(mean.size + 1, n, seed, 1).uniforms(0, mean.size + 1)
    z = stdtrit(5.0, u[: mean.size]).T  # heavier tails than the posterior's, so that weights stay bounded
    x = mode.x + z @ root.T
    log_weight = -0.5 * (residuals(x) ** 2).sum(axis=1) + (3.0 * np.log1p(z**2 / 5)).sum(axis=1)
    weight = np.exp(log_weight - log_weight.max())
    weight /= weight.sum()
    place = np.searchsorted(np.cumsum(weight)[:-1], (np.arange(n) + 0.5) / n)
    mixed = x[place][np.argsort(u[-1])]  # so that neighbours are not alike
    efficiency = float(1 / (weight**2).sum() / n)
    return Fit(law, launch, mixed[:, :own], t, off(mixed), prior, efficiency)


@dataclass(frozen=True)
class Adoption:
    """Laws of growth averaged: which share each has, and its fit."""

    fits: tuple[Fit, ...]
    weights: Array

    @takes(seed=WHOLE)
    def log_users(self, times: ArrayLike, *, seed: int = 0) -> Array:
        """Logarithm of users at decimal years, of the average: shape (times, n), each future one law throughout."""
        n = self.fits[0].parameters.shape[0]
        share = np.cumsum(self.weights)[:-1]
        which = np.searchsorted(share, np.random.default_rng(seed).permutation((np.arange(n) + 0.5) / n))
        every = np.array([f.log_users(times, seed=seed) for f in self.fits])
        return np.asarray(np.take_along_axis(every, which[None, None, :], axis=0)[0])

    @takes(seed=WHOLE)
    def log_counts(self, times: ArrayLike, *, seed: int = 0) -> Array:
        """What will be disclosed: users with the noise of a disclosure."""
        x = self.log_users(times, seed=seed)
        return x + self.fits[0].prior.noise * np.random.default_rng(seed + 1).standard_normal(x.shape)


@takes(launch=_ONE, least=Rule(least=2, whole=True, one=True), n=LENGTH, seed=WHOLE)
def adopt(
    seen: Observed,
    launch: float,
    prior: AdoptionPrior | None = None,
    *,
    laws: Sequence[str] = LAWS,
    least: int = 4,
    n: int = 2048,
    seed: int = 0,
) -> Adoption:
    """Average of the laws, each weighted by how well it foretold each next count from those before, from the `least`-th on.

    With no more counts than that all laws weigh alike. The launch is a decimal year, n a power of two.
    """
    prior = prior or AdoptionPrior()
    cuts = range(least, seen.times.size)
    told = np.array([[_foretold(law, seen, cut, launch, prior, seed) for law in laws] for cut in cuts]).reshape(-1, len(laws))
    fits = tuple(fit_law(law, seen, launch, prior, n=n, seed=seed) for law in laws)
    return Adoption(fits, _weights(told))


def _weights(told: Array, draws: int = 2048) -> Array:
    """Weights of models from the log density l that each gave to each outcome, (outcomes, models): pseudo-BMA with the Bayesian bootstrap,
    the mean over Dirichlet weights a of softmax_k(m sum_i a_i l_ik) (Yao et al., 2018, Bayesian Analysis 13(3), section 3.4).
    """
    from scipy.special import softmax

    outcomes, models = told.shape
    if not outcomes:
        return np.full(models, 1 / models)
    share = np.random.default_rng(0).dirichlet(np.ones(outcomes), draws)
    return np.asarray(softmax(outcomes * share @ told, axis=1).mean(axis=0))


def _foretold(law: str, seen: Observed, cut: int, launch: float, prior: AdoptionPrior, seed: int) -> float:
    """Log density of count `cut` from those before it; its metric's ratio at its median."""
    from scipy.special import logsumexp

    before = Observed(seen.times[:cut], seen.values[:cut], seen.metric[:cut], seen.ratios)
    fit = fit_law(law, before, launch, prior, n=512, seed=seed)
    ratio, deviation = seen.ratios[int(seen.metric[cut])]
    mean, walk = fit.ahead(seen.times[cut])
    noise = np.sqrt(prior.noise**2 + deviation**2 + walk[0, 0])
    z = (np.log(seen.values[cut] / ratio) - mean[0]) / noise
    return float(logsumexp(-0.5 * z**2) - np.log(z.size) - np.log(noise))


def _discrepancy(a: Array, b: Array, prior: AdoptionPrior) -> Array:
    """Covariance of how far users are from a law at two sets of times: it decays with the time between (Ornstein, Uhlenbeck)."""
    return np.asarray(prior.discrepancy**2 * np.exp(-np.abs(a[:, None] - b) / prior.discrepancy_years))


def _covariance(times: Array, prior: AdoptionPrior) -> Array:
    """Of counts around a law: the noise of each, and the discrepancy that near ones share."""
    return np.asarray(prior.noise**2 * np.eye(times.size) + _discrepancy(times, times, prior))
