"""What a job loses to failures and checkpoints, and what it asks of the storage that they are written to."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from workbench import catalogue
from workbench.arrays import Array, Arrays
from workbench.calibration.evidence import half_width
from workbench.checks import COUNT, NOT_NEGATIVE, POSITIVE, Rule, check_fields, one_of, takes
from workbench.units import GIGA, YEAR

#: How a checkpoint is written: the job waits for storage, or for the copy to memory of its host, or of another host beside it.
METHODS = ("synchronous", "asynchronous", "in-memory")
HOST = 8  #: chips of a host
#: What the arguments of `storage` may be.
INPUTS = {
    "params": POSITIVE, "n_chips": COUNT, "bytes_per_param": POSITIVE, "tokens_per_second": NOT_NEGATIVE, "bytes_per_token": POSITIVE,
    "data_bytes": NOT_NEGATIVE, "kept": COUNT,
}  # fmt: skip
SYNCHRONISED = 0.2  #: s, in which all ranks agree that a copy is whole (DLRover, flash_checkpoint.md: 0.2 s on 1,536 H800)
#: Build, compile and warm up [s, s per parameter]: fitted to MLPerf Training logs (v5.0 to v6.0), 21 % off in the median of one left out.
STARTED, STARTED_PER_PARAM = 80.0, 1e-9
ERRORS = "calibration/storage_errors"  #: half widths of `CASES`, remade by `workbench calibrate goodput` of rows of checkpoints
CASES = ("copies to memory", "saves and loads", "starts")


@dataclass(frozen=True, repr=False)
class Goodput(Arrays):
    """Share of the time in which a job makes progress that lasts; arrays broadcast."""

    share: Array  #: of the time, 0 to 1
    low: Array  #: low end, of the spread of published checkpoints, restarts and rates of failures, of those that were not given
    high: Array  #: high end
    mtbf: Array  #: between failures of the whole job [s]
    mtbf_low: Array  #: ends, of the spread of published rates of failures, where none was given [s]
    mtbf_high: Array
    interval: Array  #: of work between checkpoints [s]
    checkpoints: Array  #: share lost to writing them
    failures: Array  #: share lost to work done twice, restarts and all else


@takes(checkpoint=POSITIVE, mtbf=POSITIVE)
def optimal_interval(checkpoint: ArrayLike, mtbf: ArrayLike) -> Array:
    """Work between checkpoints that loses least [s].

    sqrt(2 C M) (1 + sqrt(C / 2M) / 3 + C / 18M) - C for C < 2M, else M (Daly 2006, equation 37); the first factor is Young's.

    Parameters
    ----------
    checkpoint, mtbf : array_like
        Time that writing one stops the job, C [s]; between failures of the job, M [s].
    """
    c, m = np.asarray(checkpoint, dtype=float), np.asarray(mtbf, dtype=float)
    ratio = c / (2 * m)
    daly = np.sqrt(2 * c * m) * (1 + np.sqrt(ratio) / 3 + ratio / 9) - c
    return np.where(c < 2 * m, daly, m)


@dataclass(frozen=True)
class Resilience:
    """How a job handles failures; by default every failure stops all of it at once, and nothing else goes wrong."""

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


@takes(**dict.fromkeys(("n_chips", "checkpoint", "interval"), POSITIVE), **dict.fromkeys(("restart", "failure_rate"), NOT_NEGATIVE))
def goodput(
    n_chips: ArrayLike, *, checkpoint: ArrayLike | None = None, restart: ArrayLike | None = None, failure_rate: ArrayLike | None = None,
    interval: ArrayLike | None = None, state: Storage | None = None, resilience: Resilience | None = None,
) -> Goodput:  # fmt: skip
    """Goodput of a job on `n_chips` chips.

    share = tau / (M e^(R/M) (e^((tau + C)/M) - 1)), M = 1 / (n lambda) of the chips that a failure stops; R is detection, restart and,
    where more chips are away than there are spares (Poisson), the wait for one. Stragglers, corruption and maintenance come on top.
    Source: Daly (2006), "A higher order estimate of the optimum checkpoint interval", equations 13 and 37; Grattafiori et al. (2024),
    arXiv:2407.21783, table 5.

    Parameters
    ----------
    n_chips, resilience : array_like; Resilience, optional
        Chips, a mean over time that need not be whole; how the job handles failures.
    checkpoint, restart : array_like, optional
        Time for which a checkpoint stops the job, C, and to restart after a failure, R [s]; if not given, the medians of published
        asynchronous saves and of published restarts, which count detection.
    failure_rate, interval : array_like, optional
        Failures per chip and year, links included, those of Llama 3 if not given; work between checkpoints [s], else `optimal_interval`.
    state : Storage, optional
        What `storage` says of the checkpoint: C is its stall, if not given, and its load comes on top of R.

    Examples
    --------
    >>> job = goodput([1000, 16_384, 100_000], checkpoint=30, restart=600)
    >>> job.share.round(2).tolist(), (job.mtbf / 3600).round(1).tolist()
    ([0.98, 0.88, 0.6], [50.7, 3.1, 0.5])
    >>> goodput([16_384, 100_000], state=storage(405e9, [16_384, 100_000])).share.round(2).tolist()
    [0.97, 0.84]
    >>> in_memory = Resilience(detection=60, partial=0.25)
    >>> goodput([16_384, 100_000, 500_000], checkpoint=0.5, restart=120, resilience=in_memory).share.round(2).tolist()
    [0.99, 0.96, 0.86]
    """
    checkpoint = state.stall if state is not None and checkpoint is None else checkpoint
    given = {"checkpoint_s": checkpoint, "restart_s": restart, "failure_rate_per_chip_year": failure_rate}
    known = {name: np.asarray(catalogue.cost(name).value if x is None else x, dtype=float) for name, x in given.items()}
    n, how, load = np.asarray(n_chips, dtype=float), resilience or Resilience(), 0.0 if state is None else state.load

    def at(**other: ArrayLike) -> Goodput:
        c, r, rate = (np.asarray(x, dtype=float) for x in (known | other).values())
        return _goodput(n, c, r + load, np.maximum(rate, 1e-300), interval, how)

    best = at()
    ends = {name: [at(**{name: end}) for end in catalogue.cost(name).ends] for name, x in given.items() if x is None}
    least = np.maximum(best.share, 1e-9)
    unsaid = [np.log(np.maximum(one.share, 1e-9) / least) for both in ends.values() for one in both]  # ratios: a share is above 0
    seldom, often = ends.get("failure_rate_per_chip_year", (best, best))
    below, above = (np.sqrt(sum((part(change, 0.0) ** 2 for change in unsaid), np.zeros(()))) for part in (np.minimum, np.maximum))
    best = replace(best, low=best.share * np.exp(-below), high=np.minimum(best.share * np.exp(above), 1.0))
    return replace(best, mtbf_low=often.mtbf, mtbf_high=seldom.mtbf)


def _goodput(n: Array, c: Array, r: Array, rate: Array, interval: ArrayLike | None, how: Resilience) -> Goodput:
    """`goodput` of checkpoint, restart and rate of failures [1/year], with no interval yet."""
    from scipy import special

    mtbf, away, spares = YEAR / (n * rate), np.asarray(how.replacement, dtype=float), np.asarray(how.spares, dtype=float)
    stopped = mtbf / np.asarray(how.partial)
    tau = optimal_interval(c, stopped) if interval is None else np.asarray(interval, dtype=float)
    back = r + np.asarray(how.detection) + away * special.gammainc(spares, np.maximum(away / mtbf, 1e-300))  # a Poisson tail: none left
    with np.errstate(over="ignore"):
        share = tau / (stopped * np.exp(back / stopped) * np.expm1((tau + c) / stopped))
    undone = n * np.asarray(how.corruption_rate) / YEAR * np.asarray(how.corruption_loss)
    share = share * (1 - np.asarray(how.slowdown)) * (1 - np.asarray(how.maintenance)) / (1 + undone)
    written = share * c / tau
    return Goodput(share, share, share, mtbf, mtbf, mtbf, interval=tau, checkpoints=written, failures=1 - share - written)


@dataclass(frozen=True, repr=False)
class Storage(Arrays):
    """What a job asks of its storage; arrays broadcast."""

    bytes: Array  #: of a checkpoint [B]
    bandwidth: Array  #: that the job's chips reach together [B/s]
    stall: Array  #: that a checkpoint stops the job [s]
    save: Array  #: until it is durable: no shorter cadence is sustained [s]
    load: Array  #: to read it back [s]
    startup: Array  #: of processes: build, compile, warm up [s]
    stall_low: Array  #: low end of the 80 % interval of `stall` [s]
    stall_high: Array  #: high end of the 80 % interval of `stall` [s]
    save_low: Array  #: low end of the 80 % interval of `save` [s]
    save_high: Array  #: high end of the 80 % interval of `save` [s]
    load_low: Array  #: low end of the 80 % interval of `load` [s]
    load_high: Array  #: high end of the 80 % interval of `load` [s]
    startup_low: Array  #: low end of the 80 % interval of `startup` [s]
    startup_high: Array  #: high end of the 80 % interval of `startup` [s]
    restart: Array  #: startup and load [s]
    read: Array  #: of training data [B/s]
    starved: Array  #: share of a step that waits for data
    capacity: Array  #: of data and kept checkpoints [B]


@takes(**INPUTS)
def storage(
    params: ArrayLike, n_chips: ArrayLike, *, medium: str = "parallel file system", method: str = "asynchronous",
    bytes_per_param: ArrayLike = 14.0, tokens_per_second: ArrayLike = 0.0, bytes_per_token: ArrayLike = 4.0,
    data_bytes: ArrayLike = 0.0, kept: ArrayLike = 3,
) -> Storage:  # fmt: skip
    """Time and size of checkpoints, and of reading data.

    Chips write at the least of their own rate, that of their hosts and that of the system; a copy to host memory at that of a chip's slot.

    Parameters
    ----------
    params, n_chips : array_like
        Parameters that are trained; chips that write, each its shard.
    medium, method : str
        A row of the table ``storage``; synchronous, asynchronous or in-memory: what the job waits for.
    bytes_per_param : array_like
        14: weights in bf16, copy and two moments of Adam in fp32; 2: weights alone; 8: moments of 8 bits.
    tokens_per_second, bytes_per_token : array_like
        Of the job; of a token, or of a sample over its tokens [B].
    data_bytes, kept : array_like
        Data that are kept beside so many checkpoints [B].

    Examples
    --------
    >>> job = storage(405e9, 16_384)
    >>> job.bytes / 1e12, job.stall.round(2), job.save.round(1), job.restart.round()
    (np.float64(5.67), np.float64(0.21), np.float64(1.3), np.float64(486.0))
    """
    one_of("method", method, METHODS)
    one_of("medium", medium, tuple(catalogue.names("storage")))
    rows = {row["storage"]: row for row in catalogue.table("storage").iter_rows(named=True)}

    def rate(name: str, n: Array) -> Array:
        alone, host, system = (rows[name][f"{part}_gb_per_s"] or np.inf for part in ("chip", "host", "system"))
        return np.minimum(np.minimum(n * alone, np.ceil(n / HOST) * host), system) * GIGA

    p, n, each, tokens, per_token, data, many = (
        np.asarray(x, dtype=float) for x in (params, n_chips, bytes_per_param, tokens_per_second, bytes_per_token, data_bytes, kept)
    )
    size, speed = p * each, rate(medium, n)
    save, copied = size / speed, size / rate("host memory", n) + SYNCHRONISED
    stall = save if method == "synchronous" else copied
    load = np.minimum(copied, save) if method == "in-memory" else save
    startup, read = STARTED + p * STARTED_PER_PARAM, tokens * per_token
    copies, saves, starts = (half_width(ERRORS, [case]) for case in CASES)
    widths = saves if method == "synchronous" else copies, saves, copies if method == "in-memory" else saves, starts
    times = zip(("stall", "save", "load", "startup"), (stall, save, load, startup), widths, strict=True)
    ends = {f"{name}_{end}": t * np.exp(w) for name, t, half in times for end, w in (("low", -half), ("high", half))}
    return Storage(
        bytes=size, bandwidth=speed, stall=stall, save=save, load=load, startup=startup, restart=startup + load, read=read,
        starved=np.maximum(1 - speed / np.maximum(read, 1.0), 0.0), capacity=size * many + data, **ends,
    )  # fmt: skip
