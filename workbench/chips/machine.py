"""What a chip and its fabric give to numbers of one format: rates, memory, and collectives of any number of ranks and bytes at once.

Times of collectives, from `workbench.fabric`, are tabulated once for each number of ranks inside and outside a scale-up domain at every
power of two of bytes, and interpolated linearly between: a + b bytes. That keeps millions of layouts cheap, and the derivatives exact: b
scales with bandwidth, a with latency.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.catalogue import Chip
from workbench.fabric import Cluster, Tier, collective_time
from workbench.fabric.calibration import transport
from workbench.formats import Format

FIRST, LAST = 8, 38  #: powers of two of bytes at which times are tabulated
SCALE_OUT = 25e9  #: bandwidth to other domains taken where a chip's is not published [B/s]


@dataclass(frozen=True)
class Exchange:
    """The fabric that ranks exchange over. The three factors multiply what is published; complex ones carry derivatives."""

    chip: Chip
    scale_up: Any = 1.0
    scale_out: Any = 1.0
    latency: Any = 1.0
    transport: str = "InfiniBand"
    bandwidth: float | None = None  #: of a chip's link to other domains [B/s]; the chip's own if None
    taper: float = 1.0  #: bandwidth above a pod over that in it
    pod: float = 1.0  #: chips that exchange below the tapered layer

    @classmethod
    def of(cls, cluster: Cluster) -> Exchange:
        """The fabric of a cluster, of arrays the least: its scale-out link, or what a chip can drive of it; PCIe where it has no links."""
        rate, taper, pod = (float(np.min(value)) for value in (cluster.bandwidth, cluster.taper, cluster.pod))
        rate = min(rate, cluster.chip.scaleout_bandwidth or rate)
        return cls(cluster.chip, transport=transport(cluster.fabric), bandwidth=rate, taper=taper, pod=pod)

    @property
    def domain(self) -> float:
        """Chips that the scale-up fabric joins (a torus joins a whole pod), or PCIe in a host."""
        return float(self.chip.near[0])

    def crosses(self, ranks: Any, stride: Any = 1.0) -> Any:
        """Whether ranks so far apart reach beyond one scale-up domain."""
        return ranks * stride > self.domain

    def seconds(self, op: str, message_bytes: Any, ranks: Any, stride: Any = 1.0) -> Any:
        """Time of a collective among `ranks` that lie `stride` chips apart [s]; 0 for one rank. Arguments broadcast.

        `message_bytes` in the convention of nccl-tests: of an all-gather or reduce-scatter the whole.
        """
        ranks = np.asarray(ranks, dtype=float)
        outer = np.maximum(np.ceil(ranks / np.clip(np.floor(self.domain / stride), 1, ranks)), 1.0)
        inner = np.maximum(np.round(ranks / outer), 1.0)
        below = np.maximum(np.floor(self.pod / np.maximum(self.domain, stride)), 1.0)  # of those domains, in a pod
        pods = np.ceil(outer / below) if self.taper < 1 else np.ones(())
        (in_at, ins), (out_at, outs), (pod_at, pods_) = map(_positions, (inner, np.ceil(outer / pods), pods))
        rate = self.bandwidth or self.chip.scaleout_bandwidth or SCALE_OUT
        start, slope = _table(self.chip, self.transport, rate, self.taper, op, ins, outs, pods_)
        crossing = outer > 1
        moved = message_bytes / np.where(crossing, self.scale_out, self.scale_up)
        octave = np.clip(np.frexp(np.maximum(message_bytes, 1.0))[1] - 1 - FIRST, 0, LAST - FIRST - 1)
        at = ((in_at * len(outs) + out_at) * len(pods_) + pod_at) * (LAST - FIRST) + octave
        time = np.take(start, at) * self.latency + np.take(slope, at) * moved
        return np.where((ranks > 1) & (np.asarray(message_bytes) > 0), time, 0.0)


@dataclass(frozen=True)
class Machine:
    """A chip at work. Its rates may be complex: they carry derivatives."""

    chip: Chip
    format: Format
    exchange: Exchange
    peak: Any  #: of the format [FLOP/s]
    peak16: Any  #: of 16-bit numbers, for attention and head [FLOP/s]
    bandwidth: Any  #: of device memory [B/s]
    memory: Any  #: of the device [B]

    @classmethod
    def of(cls, where: Cluster | Chip, number: Format) -> Machine:
        """A chip, of a cluster or with its own links. Raises `InputError` for a format that it lacks."""
        chip, exchange = (where.chip, Exchange.of(where)) if isinstance(where, Cluster) else (where, Exchange(where))
        eight = chip.peaks.get("fp8") or chip.peaks.get("int8") or chip.peaks.get("fp4", 0.0) / 2
        peak16 = chip.peaks.get("bf16") or (eight / 2 if eight else chip.peak("bf16"))
        return cls(chip, number, exchange, chip.peak(number.name), peak16, chip.hbm_bandwidth, chip.hbm_bytes)

    def scaled(self, resource: str, factor: Any) -> Machine:
        """The same with so many times as much peak, hbm_bandwidth, hbm, scale_up or scale_out; of latency, as much less."""
        if resource in ("scale_up", "scale_out", "latency"):
            return replace(self, exchange=replace(self.exchange, **{resource: 1 / factor if resource == "latency" else factor}))
        of = {"peak": ("peak", "peak16"), "hbm_bandwidth": ("bandwidth",), "hbm": ("memory",)}[resource]
        return replace(self, **{name: getattr(self, name) * factor for name in of})


def _positions(values: NDArray[np.float64]) -> tuple[NDArray[np.intp], tuple[int, ...]]:
    """Position of each value among the distinct ones, and those: whole numbers, so counting is faster than sorting."""
    whole = values.astype(np.int64)
    present = np.bincount(whole.ravel()) > 0
    return np.cumsum(present)[whole] - 1, tuple(np.flatnonzero(present).tolist())


@lru_cache(maxsize=512)
def _table(chip: Chip, transport: str, bandwidth: float, taper: float, op: str, *sizes: tuple[int, ...]) -> tuple[Any, Any]:
    """Intercept [s] and slope [s/B] of each octave, for every choice of ranks in a domain, domains in a pod, and pods, flat."""
    bytes_at = 2.0 ** np.arange(FIRST, LAST + 1)
    *ranks, size = (x.ravel() for x in np.meshgrid(*(np.array(one, float) for one in sizes), bytes_at, indexing="ij"))
    rates = ((chip.near[1], "scale-up"), (bandwidth, transport), (bandwidth * taper, transport))
    tiers = [Tier(n, rate, kind, chip.name) for n, (rate, kind) in zip(ranks, rates, strict=True)]
    time = collective_time(op, size, tiers).seconds.reshape(-1, bytes_at.size)
    time = np.maximum.accumulate(time, axis=1)  # a larger message never takes less
    slope = np.diff(time, axis=1) / np.diff(bytes_at)
    return (time[:, :-1] - slope * bytes_at[:-1]).ravel(), slope.ravel()
