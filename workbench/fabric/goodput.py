"""What a job loses to failures and checkpoints."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench import catalogue
from workbench.arrays import Arrays
from workbench.checks import NOT_NEGATIVE, POSITIVE, takes
from workbench.units import YEAR

Array = NDArray[np.float64]


@dataclass(frozen=True, repr=False)
class Goodput(Arrays):
    """Share of the time in which a job makes progress that lasts; arrays broadcast."""

    share: Array  #: of the time, 0 to 1
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
) -> Goodput:
    """Goodput of a job on `n_chips` chips that all stop when one fails.

    share = tau / (M e^(R/M) (e^((tau + C)/M) - 1)), M = 1 / (n lambda)

    Parameters
    ----------
    n_chips : array_like
        A mean over time need not be whole.
    checkpoint, restart : array_like, optional
        Time to write a checkpoint, C, and to come back from a failure, R [s]; the median of published systems if not given.
    failure_rate : array_like, optional
        Failures per chip and year; that of Llama 3 if not given, links included.
    interval : array_like, optional
        Work between checkpoints [s]; `optimal_interval` if not given.

    References
    ----------
    .. [1] Daly (2006), "A higher order estimate of the optimum checkpoint interval", equations 13 and 37.
    .. [2] Grattafiori et al. (2024), The Llama 3 Herd of Models, table 5.

    Examples
    --------
    >>> job = goodput([1000, 16_384, 100_000], checkpoint=30, restart=600)
    >>> job.share.round(2).tolist(), (job.mtbf / 3600).round(1).tolist()
    ([0.98, 0.88, 0.6], [50.7, 3.1, 0.5])
    """
    given = {"checkpoint_s": checkpoint, "restart_s": restart, "failure_rate_per_chip_year": failure_rate}
    n = np.asarray(n_chips, dtype=float)
    c, r, rate = (np.asarray(catalogue.cost(name).value if x is None else x, dtype=float) for name, x in given.items())
    mtbf = YEAR / (n * np.maximum(rate, 1e-300))
    tau = optimal_interval(c, mtbf) if interval is None else np.asarray(interval, dtype=float)
    with np.errstate(over="ignore"):
        share = tau / (mtbf * np.exp(r / mtbf) * np.expm1((tau + c) / mtbf))
    written = share * c / tau
    return Goodput(share=share, mtbf=mtbf, interval=tau, checkpoints=written, failures=1 - share - written)
