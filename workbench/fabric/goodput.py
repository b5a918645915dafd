"""What a job loses to failures and checkpoints."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench import catalogue
from workbench.arrays import Arrays
from workbench.checks import NOT_NEGATIVE, POSITIVE, Rule, check_fields, takes
from workbench.units import YEAR

Array = NDArray[np.float64]


@dataclass(frozen=True, repr=False)
class Goodput(Arrays):
    """Share of the time in which a job makes progress that lasts; arrays broadcast."""

    share: Array  #: of the time, 0 to 1
    low: Array  #: low end, of the spread of published checkpoints, restarts and rates of failures, of those that were not given
    high: Array  #: high end
    mtbf: Array  #: between failures of the whole job [s]
    interval: Array  #: of work between checkpoints [s]
    checkpoints: Array  #: share lost to writing them
    failures: Array  #: share lost to work done twice, restarts and all else


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


@dataclass(frozen=True)
class Resilience:
    """How a job meets what goes wrong; by default every failure stops all of it at once, and nothing else goes wrong."""

    detection: ArrayLike = 0.0  #: until a failure is noticed [s]
    spares: ArrayLike = np.inf  #: hot spares [chips]; infinite: one is always there
    replacement: ArrayLike = 86_400.0  #: until a failed chip is back: without a spare the job waits so long [s]
    partial: ArrayLike = 1.0  #: share of the chips that a failure stops: a replica's, where the others go on
    slowdown: ArrayLike = 0.0  #: share of the speed lost to stragglers
    corruption_rate: ArrayLike = 0.0  #: silent corruptions per chip and year
    corruption_loss: ArrayLike = 21_600.0  #: work undone by one: until it is noticed [s]
    maintenance: ArrayLike = 0.0  #: share of the time planned for it

    def __post_init__(self) -> None:
        shares = {name: Rule(least=0, below=1) for name in ("slowdown", "maintenance")}
        times = dict.fromkeys(("detection", "replacement", "corruption_rate", "corruption_loss"), NOT_NEGATIVE)
        check_fields(self, spares=Rule(least=0, infinite=True), partial=Rule(above=0, most=1), **shares, **times)


@takes(
    **dict.fromkeys(("n_chips", "checkpoint", "interval"), POSITIVE),
    **dict.fromkeys(("restart", "failure_rate"), NOT_NEGATIVE),
)
def goodput(
    n_chips: ArrayLike,
    *,
    checkpoint: ArrayLike | None = None,
    restart: ArrayLike | None = None,
    failure_rate: ArrayLike | None = None,
    interval: ArrayLike | None = None,
    resilience: Resilience | None = None,
) -> Goodput:
    """Goodput of a job on `n_chips` chips.

    share = tau / (M e^(R/M) (e^((tau + C)/M) - 1)), M = 1 / (n lambda) of the chips that a failure stops; R is detection, restart and,
    where more chips are away than there are spares (Poisson), the wait for one. Stragglers, corruption and maintenance come on top.

    Parameters
    ----------
    n_chips : array_like
        A mean over time need not be whole.
    checkpoint, restart : array_like, optional
        Time that writing a checkpoint stops the job, C, and to come back from a failure, R [s], as `storage` gives them; the median of
        published systems if not given.
    failure_rate : array_like, optional
        Failures per chip and year; that of Llama 3 if not given, links included.
    interval : array_like, optional
        Work between checkpoints [s]; `optimal_interval` if not given.
    resilience : Resilience, optional
        What large jobs do about it.

    References
    ----------
    .. [1] Daly (2006), "A higher order estimate of the optimum checkpoint interval", equations 13 and 37.
    .. [2] Grattafiori et al. (2024), arXiv:2407.21783, table 5.

    Examples
    --------
    >>> job = goodput([1000, 16_384, 100_000], checkpoint=30, restart=600)
    >>> job.share.round(2).tolist(), (job.mtbf / 3600).round(1).tolist()
    ([0.98, 0.88, 0.6], [50.7, 3.1, 0.5])
    >>> in_memory = Resilience(detection=60, partial=0.25)
    >>> goodput([16_384, 100_000, 500_000], checkpoint=0.5, restart=120, resilience=in_memory).share.round(2).tolist()
    [0.99, 0.96, 0.86]
    """
    given = {"checkpoint_s": checkpoint, "restart_s": restart, "failure_rate_per_chip_year": failure_rate}
    known = {name: np.asarray(catalogue.cost(name).value if x is None else x, dtype=float) for name, x in given.items()}
    n, how = np.asarray(n_chips, dtype=float), resilience or Resilience()

    def at(**other: ArrayLike) -> Goodput:
        c, r, rate = (np.asarray(x, dtype=float) for x in (known | other).values())
        return _goodput(n, c, r, np.maximum(rate, 1e-300), interval, how)

    best = at()
    unsaid = [at(**{name: end}).share - best.share for name, x in given.items() if x is None for end in catalogue.cost(name).ends]
    below, above = (np.sqrt(sum((part(change, 0.0) ** 2 for change in unsaid), np.zeros(()))) for part in (np.minimum, np.maximum))
    return replace(best, low=np.maximum(best.share - below, 0.0), high=np.minimum(best.share + above, 1.0))


def _goodput(n: Array, c: Array, r: Array, rate: Array, interval: ArrayLike | None, how: Resilience) -> Goodput:
    """`goodput` of checkpoint, restart and rate of failures [1/year], with no interval yet."""
    mtbf, away = YEAR / (n * rate), np.asarray(how.replacement, dtype=float)
    stopped = mtbf / np.asarray(how.partial)
    tau = optimal_interval(c, stopped) if interval is None else np.asarray(interval, dtype=float)
    back = r + np.asarray(how.detection) + away * _none_left(how.spares, away / mtbf)
    with np.errstate(over="ignore"):
        share = tau / (stopped * np.exp(back / stopped) * np.expm1((tau + c) / stopped))
    undone = n * np.asarray(how.corruption_rate) / YEAR * np.asarray(how.corruption_loss)
    share = share * (1 - np.asarray(how.slowdown)) * (1 - np.asarray(how.maintenance)) / (1 + undone)
    written = share * c / tau
    return Goodput(share=share, low=share, high=share, mtbf=mtbf, interval=tau, checkpoints=written, failures=1 - share - written)


def _none_left(spares: ArrayLike, away: Array) -> Array:
    """Chance that all spares are taken when a chip fails, of a mean number of chips away: a Poisson tail."""
    from scipy import special

    s = np.asarray(spares, dtype=float)
    finite = np.where(np.isfinite(s), s, 1.0)
    return np.where(np.isfinite(s), np.where(finite > 0, special.gammainc(np.maximum(finite, 1e-9), away), 1.0), 0.0)
