"""Storage of a training job: what a checkpoint stops, how long it takes to write and read, and what data ask for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from workbench import catalogue
from workbench.arrays import Array, Arrays
from workbench.checks import COUNT, NOT_NEGATIVE, POSITIVE, one_of, takes
from workbench.units import GIGA

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


@dataclass(frozen=True, repr=False)
class Storage(Arrays):
    """What a job asks of its storage; arrays broadcast."""

    bytes: Array  #: of a checkpoint [B]
    bandwidth: Array  #: that the job's chips reach together [B/s]
    stall: Array  #: that a checkpoint stops the job [s]
    save: Array  #: until it is durable: no shorter cadence is sustained [s]
    load: Array  #: to read it back [s]
    startup: Array  #: of processes: build, compile, warm up [s]
    restart: Array  #: startup and load [s]
    read: Array  #: of training data [B/s]
    starved: Array  #: share of a step that waits for data
    capacity: Array  #: of data and kept checkpoints [B]


@takes(**INPUTS)
def storage(
    params: ArrayLike,
    n_chips: ArrayLike,
    *,
    medium: str = "parallel file system",
    method: str = "asynchronous",
    bytes_per_param: ArrayLike = 14.0,
    tokens_per_second: ArrayLike = 0.0,
    bytes_per_token: ArrayLike = 4.0,
    data_bytes: ArrayLike = 0.0,
    kept: ArrayLike = 3,
) -> Storage:
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
    load = np.minimum(copied, save) if method == "in-memory" else save
    startup, read = STARTED + p * STARTED_PER_PARAM, tokens * per_token
    return Storage(
        bytes=size, bandwidth=speed, stall=save if method == "synchronous" else copied, save=save, load=load, startup=startup,
        restart=startup + load, read=read, starved=np.maximum(1 - speed / np.maximum(read, 1.0), 0.0), capacity=size * many + data,
    )  # fmt: skip
