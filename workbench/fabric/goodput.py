"""What a fabric and its chips lose: to failures and checkpoints, to colliding flows, to the slowest of many."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench import catalogue
from workbench.checks import COUNT, NOT_NEGATIVE, POSITIVE, Rule, takes
from workbench.errors import InputError
from workbench.units import YEAR

Array = NDArray[np.float64]
MOST_A_PATH = 1_000_000  #: flows: a distribution is added up term by term


@dataclass(frozen=True)
class Goodput:
    """Share of the time in which a job makes progress that lasts; arrays broadcast."""

    share: Array
    mtbf: Array  #: between failures of the whole job [s]
    interval: Array  #: of work between checkpoints [s]
    checkpoints: Array  #: share lost to writing them
    failures: Array  #: share lost to work done twice and to restarts


@takes(checkpoint=POSITIVE, mtbf=POSITIVE)
def optimal_interval(checkpoint: ArrayLike, mtbf: ArrayLike) -> Array:
    """Work between checkpoints that loses least [s].

    sqrt(2 C M) (1 + sqrt(C / 2M) / 3 + C / 18M) - C for C < 2M, else M (Daly 2006, equation 37); the first factor is Young's.

    Parameters
    ----------
    checkpoint : array_like
        Time that writing one stops the job, C [s].
    mtbf : array_like
        Between failures of the job, M [s].
    """
    c, m = np.asarray(checkpoint, dtype=float), np.asarray(mtbf, dtype=float)
    ratio = c / (2 * m)
    daly = np.sqrt(2 * c * m) * (1 + np.sqrt(ratio) / 3 + ratio / 9) - c
    return np.where(c < 2 * m, daly, m)


@takes(
    n_chips=POSITIVE,
    checkpoint=POSITIVE,
    restart=NOT_NEGATIVE,
    failure_rate=NOT_NEGATIVE,
    links_per_chip=NOT_NEGATIVE,
    link_failure_rate=NOT_NEGATIVE,
    planes=COUNT,
    interval=POSITIVE,
)
def goodput(
    n_chips: ArrayLike,
    *,
    checkpoint: ArrayLike,
    restart: ArrayLike,
    failure_rate: ArrayLike | None = None,
    links_per_chip: ArrayLike = 0.0,
    link_failure_rate: ArrayLike = 0.0,
    planes: ArrayLike = 1,
    interval: ArrayLike | None = None,
) -> Goodput:
    """Goodput of a job on `n_chips` chips that all stop when one fails.

    share = tau / (M e^(R/M) (e^((tau + C)/M) - 1)), M = 1 / (n (lambda + l lambda_link [planes = 1]))

    Parameters
    ----------
    n_chips : array_like
        A mean over time need not be whole.
    checkpoint, restart : array_like
        Time to write a checkpoint, C, and to come back from a failure, R [s].
    failure_rate : array_like, optional
        Failures a chip and year; that of Llama 3 if not given, links included.
    links_per_chip, link_failure_rate : array_like
        Links a chip, as the topology counts them, and failures a link and year.
    planes : array_like
        Where a chip has ports in several planes, the death of a link costs bandwidth and stops nothing.
    interval : array_like, optional
        Work between checkpoints [s]; `optimal_interval` if not given.

    Returns
    -------
    Goodput

    References
    ----------
    .. [1] Daly (2006), "A higher order estimate of the optimum checkpoint interval", equations 13 and 37.
    .. [2] Grattafiori et al. (2024), The Llama 3 Herd of Models, table 5.
    """
    n, c, r = (np.asarray(x, dtype=float) for x in (n_chips, checkpoint, restart))
    rate = np.asarray(catalogue.cost("failure_rate_per_chip_year").value if failure_rate is None else failure_rate, dtype=float)
    links = np.asarray(links_per_chip, dtype=float) * np.asarray(link_failure_rate, dtype=float)
    fatal = rate + np.where(np.asarray(planes) > 1, 0.0, links)
    mtbf = YEAR / (n * np.maximum(fatal, 1e-300))
    tau = optimal_interval(c, mtbf) if interval is None else np.asarray(interval, dtype=float)
    with np.errstate(over="ignore"):
        share = tau / (mtbf * np.exp(r / mtbf) * np.expm1((tau + c) / mtbf))
    written = share * c / tau
    return Goodput(share=share, mtbf=mtbf, interval=tau, checkpoints=written, failures=1 - share - written)


@takes(needed=COUNT, spare=Rule(least=0, whole=True), availability=Rule(above=0, most=1))
def spares(needed: ArrayLike, spare: ArrayLike, availability: ArrayLike) -> Array:
    """Probability that of needed + spare units, each up with `availability`, as many as needed are up (binomial)."""
    from scipy.stats import binom

    n, k, a = (np.asarray(x, dtype=float) for x in (needed, spare, availability))
    return np.asarray(binom.sf(n - 1, n + k, a))


@takes(flows=COUNT, paths=COUNT, quantile=Rule(above=0, below=1))
def collision_slowdown(flows: ArrayLike, paths: ArrayLike, quantile: ArrayLike | None = None) -> Array:
    """Load of the fullest path over the mean, when equal flows are hashed on paths (ECMP): by how much the slowest flow is slower.

    P(max <= m) = p(m; F/P)^P with the loads taken for independent: Poisson for the mean, binomial, which F bounds, for points of the
    distribution. Each is the one that comes within 3 % of a simulation.

    Parameters
    ----------
    flows, paths : array_like of int
        Equal flows F, equal paths P. Several queue pairs a connection multiply F.
    quantile : array_like, optional
        Of the distribution; its mean if not given.

    Raises
    ------
    InputError
        For more than a million flows a path, or paths a flow, whose distribution would not be found exactly.
    """
    from scipy.stats import binom, poisson

    f, p, q = (np.asarray(x, dtype=float) for x in np.broadcast_arrays(flows, paths, 0.5 if quantile is None else quantile))
    mean = f / p
    if np.any(far := (mean > MOST_A_PATH) | (mean < 1 / MOST_A_PATH)):
        raise InputError(f"flows = {f[far][0]:g}, paths = {p[far][0]:g}: expected at most {MOST_A_PATH:,} flows a path or paths a flow")
    largest = np.max(mean, initial=0.0)
    most = int(largest + 12 * np.sqrt(largest + 1) + 12)
    m = np.arange(most + 1)
    ways = p[..., None]
    if quantile is None:
        fullest = (1 - poisson.cdf(m, f[..., None] / ways) ** ways).sum(axis=-1)
    else:
        fullest = (binom.cdf(m, f[..., None], 1 / ways) ** ways < q[..., None]).sum(axis=-1)
    return np.asarray(np.maximum(fullest * p / f, 1.0))


@takes(n=COUNT, spread=NOT_NEGATIVE, quantile=Rule(above=0, below=1))
def straggler_slowdown(n: ArrayLike, spread: ArrayLike, quantile: ArrayLike = 0.5) -> Array:
    """Slowest of `n` lognormal step times over the median one: exp(spread z), z the quantile^(1/n) point of the normal."""
    from scipy.special import ndtri_exp

    ranks, sigma = np.asarray(n, dtype=float), np.asarray(spread, dtype=float)
    return np.asarray(np.exp(sigma * ndtri_exp(np.log(quantile) / ranks)))
