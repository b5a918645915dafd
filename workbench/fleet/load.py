"""Load over time: traces of requests as they were logged, windows that a scheduler can follow, and a diurnal model."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from workbench.arrays import broadcast
from workbench.checks import FINITE, NOT_NEGATIVE, POSITIVE, SHARE, Rule, check_fields, number, takes
from workbench.errors import DataError, InputError
from workbench.fleet.pooling import Reserve

#: Names under which logs keep what a trace needs, first our own, then those of Azure's public traces of LLM inference.
COLUMNS = {
    "time": ("time", "TIMESTAMP", "timestamp", "arrival"),
    "input_tokens": ("input_tokens", "ContextTokens", "prompt_tokens"),
    "output_tokens": ("output_tokens", "GeneratedTokens", "completion_tokens"),
    "tokens": ("tokens", "total_tokens"),
    "requests": ("requests", "count"),
}
#: A pause of more than so many usual ones, and so many seconds, is a gap in the log, not in the traffic.
GAP, LONG = 50.0, 60.0
REQUESTS = Rule(least=0.0, last="requests")
SKIPPED = 1.5  #: usual steps from which a log by intervals lacks one


@dataclass(frozen=True)
class Trace:
    """Requests, or intervals with several of them, in order of time."""

    seconds: NDArray[np.float64]  #: since the first
    input_tokens: NDArray[np.float64]  #: 0 where the log does not tell them from those generated
    output_tokens: NDArray[np.float64]
    requests: NDArray[np.float64]  #: 1, or as many as the interval holds

    def __post_init__(self) -> None:
        check_fields(self, **dict.fromkeys(("seconds", "input_tokens", "output_tokens", "requests"), NOT_NEGATIVE))

    @takes(input_rate=POSITIVE, output_rate=POSITIVE)
    def chip_seconds(self, input_rate: float, output_rate: float) -> NDArray[np.float64]:
        """Work of each request [s of one chip] at `input_rate` and `output_rate` tokens a second and chip."""
        broadcast(input_tokens=self.input_tokens, input_rate=input_rate, output_rate=output_rate)
        return np.divide(self.input_tokens, input_rate) + np.divide(self.output_tokens, output_rate)


def read_trace(path: str | Path, *, allow_gaps: bool = False, allow_duplicates: bool = False) -> Trace:
    """A trace from a CSV: one row a request as Azure publishes its LLM traces, or one row an interval with its requests and tokens.

    Parameters
    ----------
    path : path
        Columns time, input_tokens, output_tokens (Azure: TIMESTAMP, ContextTokens, GeneratedTokens), or time, requests, tokens, where all
        tokens count as generated. Times are seconds or ISO dates, with or without an offset.
    allow_gaps, allow_duplicates : bool
        Accept a log that pauses, or that holds the same request twice.

    Raises
    ------
    DataError
        With path, row and column: for a missing column, a cell that is no number, time that goes backwards, rows that repeat time and
        tokens of an earlier one (or the time of an interval), and, unless allowed, pauses of more than a minute and of 50 usual ones (or
        an interval that is missing).

    References
    ----------
    .. [1] Azure Public Dataset, AzureLLMInferenceTrace_{code,conv}.csv, https://github.com/Azure/AzurePublicDataset.
    """
    file = Path(path)
    if not file.is_file():
        raise DataError(file, "no such file")
    try:
        frame = pl.read_csv(file, infer_schema_length=None)
    except pl.exceptions.PolarsError as error:
        raise DataError(file, f"not a CSV of requests ({str(error).splitlines()[0]})") from None
    if frame.is_empty():
        raise DataError(file, "the trace has no requests")
    names = {ours: next((n for n in known if n in frame.columns), None) for ours, known in COLUMNS.items()}
    by_interval = names["requests"] is not None
    counted = ("tokens",) if by_interval and names["output_tokens"] is None else ("input_tokens", "output_tokens")
    for ours in ("time", *counted):
        if names[ours] is None:
            raise DataError(file, f"no column {' or '.join(COLUMNS[ours])}; it has {', '.join(frame.columns)}")
    seconds = _seconds(file, frame[str(names["time"])])
    tokens = [_numbers(file, frame[str(names[ours])]) for ours in counted]
    requests = _numbers(file, frame[str(names["requests"])]) if by_interval else np.ones_like(seconds)
    pauses = np.diff(seconds)
    _refuse(file, pauses < 0, str(names["time"]), lambda i: f"time goes backwards by {-pauses[i]:.6g} s: sort the log or mend its clock")
    rows = pl.DataFrame([seconds] if by_interval else [seconds, *tokens])
    if not allow_duplicates and rows.is_duplicated().any():
        again = rows.select(pl.struct(pl.all()).is_first_distinct().not_()).to_series().to_numpy()
        row = int(np.flatnonzero(again)[0]) + 2
        raise DataError(file, "the row repeats an earlier one: a duplicate, or pass allow_duplicates=True", row=row, column=names["time"])
    if not allow_gaps and (pauses > 0).sum() > 1:
        usual = float(np.quantile(pauses[pauses > 0], 0.5, method="lower"))
        _refuse(
            file,
            pauses > (SKIPPED * usual if by_interval else max(GAP * usual, LONG)),
            str(names["time"]),
            lambda i: f"a gap of {pauses[i]:.6g} s where rows mostly come every {usual:.3g} s: pass allow_gaps=True if it is real",
        )
    return Trace(seconds, tokens[0] if len(tokens) > 1 else np.zeros_like(seconds), tokens[-1], requests)


@takes(seconds=REQUESTS, work=REQUESTS, window=Rule(above=0.0, one=True), length=Rule(above=0.0, one=True))
def windowed(seconds: ArrayLike, work: ArrayLike, window: float, *, length: float | None = None) -> NDArray[np.float64]:
    """Mean demand of chips in each window: the chip-seconds that arrive in it over its length.

    Parameters
    ----------
    seconds, work : array_like, shape (requests,)
        Arrival [s] and work [s of one chip] of each request.
    window : float
        [s]
    length : float, optional
        Length of the log [s], so that several logs get equal axes; a part of a window at its end is left out.

    Returns
    -------
    ndarray, shape (windows,)
    """
    at, chips = np.asarray(seconds), np.asarray(work)
    if at.shape != chips.shape or at.ndim != 1:
        raise InputError(f"seconds has shape {at.shape}, work {chips.shape}: expected one of each a request")
    whole = float(at.max()) if length is None else length
    if not 1 <= whole // window <= 1e9:
        raise InputError(f"window = {window} s: expected at most the log's {whole:.6g} s, and no more than 10^9 of them in it")
    n = int(whole // window)
    index = np.minimum(at / window, n).astype(int)
    inside = index < n
    return np.bincount(index[inside], weights=chips[inside], minlength=n) / window


@takes(load=Rule(least=0.0, last="time"))
def saving(load: ArrayLike) -> Reserve:
    """Peak capacity of tenants apart and together; `load` of shape (tenants, ..., time)."""
    demand = np.asarray(load)
    if demand.ndim < 2:
        raise InputError("load: expected tenants on the first axis and time on the last")
    return Reserve(demand.max(axis=-1).sum(axis=0), demand.sum(axis=0).max(axis=-1))


def saving_by_window(
    arrivals: Sequence[ArrayLike], work: Sequence[ArrayLike], windows: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Share of peak capacity that pooling saves, by the time in which a scheduler can follow.

    Parameters
    ----------
    arrivals, work : list of arrays, one a tenant
        Arrival [s] and chip-seconds of each request.
    windows : array_like, shape (k,)
        [s]

    Returns
    -------
    (saved, peak_over_mean) : ndarrays of shape (k,) and (k, tenants + 1)
        The last column of the second is the pool.
    """
    if not arrivals or len(arrivals) != len(work):
        raise InputError(f"arrivals of {len(arrivals)} tenants, work of {len(work)}: expected the same, and at least one")
    arrivals, work = ([REQUESTS(f"{name}[{i}]", a) for i, a in enumerate(of)] for name, of in (("arrivals", arrivals), ("work", work)))
    length = max(float(a.max()) for a in arrivals)
    saved, ratios = [], []
    for window in np.atleast_1d(number("windows", windows, above=0)):  # a handful of windows, each with its own length of array
        load = np.stack([windowed(a, w, window, length=length) for a, w in zip(arrivals, work, strict=True)])
        saved.append(saving(load).saved)
        both = np.vstack([load, load.sum(axis=0)])
        mean = both.mean(axis=1)
        ratios.append(np.divide(both.max(axis=1), mean, out=np.ones_like(mean), where=mean > 0))  # a load of nothing is level
    return np.asarray(saved), np.asarray(ratios)


@takes(hours=Rule(last="time"), mean=NOT_NEGATIVE, swing=SHARE, peak_hour=FINITE, weekend=NOT_NEGATIVE)
def diurnal(
    hours: ArrayLike, *, mean: ArrayLike, swing: ArrayLike, peak_hour: ArrayLike = 14.0, weekend: ArrayLike = 0.8
) -> NDArray[np.float64]:
    """Load of a service that follows its users' day: mean (1 + swing cos(2 pi (h - peak) / 24)), times `weekend` on two days of seven.

    Parameters
    ----------
    hours : array_like, shape (time,)
        Hours since Monday midnight.
    mean, swing, peak_hour, weekend : array_like
        Mean load of a weekday, amplitude over the mean (0 to 1), hour of the peak, level of weekends; broadcast on leading axes.

    Returns
    -------
    ndarray, shape (..., time)
    """
    h, (m, a, p, w) = np.asarray(hours), (np.asarray(value)[..., None] for value in (mean, swing, peak_hour, weekend))
    day = 1 + a * np.cos(2 * np.pi * (h - p) / 24)
    return m * day * np.where(h % 168 >= 120, w, 1.0)


@takes(load=NOT_NEGATIVE, step=POSITIVE, service=POSITIVE)
def bursty(load: ArrayLike, *, step: ArrayLike, service: ArrayLike, seed: int = 0) -> NDArray[np.float64]:
    """A load with the noise of requests on it: Poisson arrivals of jobs of `service` chip-seconds each, in steps of `step` seconds."""
    number("seed", seed, least=0, whole=True, one=True)
    expected = number("load * step / service", np.multiply(load, step) / service, most=1e18, why="requests a step")
    return np.asarray(np.random.default_rng(int(seed)).poisson(expected) * np.divide(service, step), dtype=float)


def _seconds(file: Path, column: pl.Series) -> NDArray[np.float64]:
    if column.dtype.is_numeric():
        at = _numbers(file, column)
    else:
        text = column.str.strip_chars().str.replace("T", " ").str.strip_chars_end("Z")
        clock = text.str.replace(r"[+-]\d\d:?\d\d$", "").str.replace(r"^(\d{4}-\d\d-\d\d)$", "$1 00:00:00")
        clock = clock.str.replace(r"^(\S+ \d\d:\d\d)$", "$1:00")
        clock = clock.set(
            ~clock.str.contains(r"^(19[7-9]|2[01]\d)\d-").fill_null(False), None
        )  # further years leave the range of nanoseconds
        parsed = clock.str.to_datetime("%Y-%m-%d %H:%M:%S%.f", strict=False, time_unit="ns")
        sign = text.str.extract(r"([+-])\d\d:?\d\d$").replace({"-": "-1", "+": "1"}).cast(pl.Int64, strict=False).fill_null(0)
        digits = text.str.extract(r"[+-](\d\d:?\d\d)$").str.replace(":", "").cast(pl.Int64, strict=False).fill_null(0)
        parsed = parsed - (sign * (digits // 100 * 60 + digits % 100) * 60_000_000_000).cast(pl.Duration("ns"))
        numbers = text.cast(pl.Float64, strict=False)
        numbers = numbers.set(~numbers.is_between(0, sys.float_info.max).fill_null(False), None)
        dated = parsed.null_count() < min(numbers.null_count() + 1, parsed.len())
        # whole nanoseconds since the first: a double holds only 240 ns of an epoch
        read = (parsed - parsed.drop_nulls().first()).dt.total_nanoseconds().cast(pl.Float64) / 1e9 if dated else numbers
        bad = np.flatnonzero(read.is_null().to_numpy())
        if bad.size:
            raise DataError(
                file, f"{column[int(bad[0])]!r} is neither seconds nor an ISO date of 1970 to 2199", row=int(bad[0]) + 2, column=column.name
            )
        at = read.to_numpy()
    return np.asarray(at - at[0], dtype=float)


def _numbers(file: Path, column: pl.Series) -> NDArray[np.float64]:
    values = column.cast(pl.Float64, strict=False)
    bad = np.flatnonzero((values.is_null() | ~values.is_finite().fill_null(False) | (values < 0).fill_null(False)).to_numpy())
    if bad.size:
        raise DataError(file, f"{column[int(bad[0])]!r} is not a number of 0 or more", row=int(bad[0]) + 2, column=column.name)
    return values.to_numpy()


def _refuse(file: Path, wrong: NDArray[np.bool_], column: str, why: Callable[[int], str]) -> None:
    if wrong.any():
        i = int(np.flatnonzero(wrong)[0])
        raise DataError(file, why(i), row=i + 3, column=column)
