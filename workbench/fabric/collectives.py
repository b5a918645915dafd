"""Time of a collective over tiers: chips in a scale-up domain, domains on a scale-out fabric, sites beyond."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike

from workbench.arrays import Array, Arrays, broadcast, in_blocks
from workbench.calibration.evidence import Evidence
from workbench.checks import COUNT, POSITIVE, check_fields, one_of, takes
from workbench.errors import InputError
from workbench.fabric import calibration, curve
from workbench.fabric.cluster import Cluster
from workbench.fabric.curve import busbw_factor, operation, passed_up, work

BLOCK = 8192  #: messages a block: its arrays stay in the second-level cache, which doubles the speed


@dataclass(frozen=True)
class Tier:
    """Ranks, or groups of ranks of the tier below, joined by links of one kind.

    Parameters
    ----------
    size, bandwidth : array_like
        Members, whole numbers; of a chip's link in this tier, one direction [B/s].
    kind : str
        ``scale-up`` for the innermost tier, else the transport: InfiniBand, RoCE, EFA, TCPX, TCPXO, Slingshot.
    chip : str
        Chip or library that the measured constants are looked up by; unknown ones get those of the kind.
    """

    size: ArrayLike
    bandwidth: ArrayLike
    kind: str = "scale-up"
    chip: str = ""

    def __post_init__(self) -> None:
        check_fields(self, size=COUNT, bandwidth=POSITIVE)
        one_of("kind", self.kind, calibration.kinds())


@dataclass(frozen=True, repr=False)
class CollectiveTime(Arrays):
    """Time of a collective; arrays broadcast over message, sizes and bandwidths."""

    seconds: Array  #: [s]
    low: Array  #: low end of the 80 % interval [s]
    high: Array  #: high end [s]
    algbw: Array  #: bytes over seconds [B/s]
    busbw: Array  #: algbw times the factor of nccl-tests [B/s]
    evidence: Evidence | None = field(default=None, repr=False)  #: the measurements nearest to the largest numbers of ranks


@takes(n_chips=COUNT)
def tiers_of(cluster: Cluster, n_chips: ArrayLike | None = None) -> tuple[Tier, ...]:
    """The tiers of chips of a cluster: its scale-up domain (cards without such links: their host), and as many domains as they fill.

    Where the fabric is tapered, the pods of those domains are a tier of their own.
    Raises `InputError` for chips that do not fill whole domains, naming the nearest that do.

    Parameters
    ----------
    cluster, n_chips : Cluster; array_like of int, optional
        Ranks; all chips if not given.

    Examples
    --------
    >>> [int(tier.size) for tier in tiers_of(Cluster("H100", 64, "InfiniBand NDR"))]
    [8, 8]
    """
    chip, n = cluster.chip, np.asarray(cluster.n_chips if n_chips is None else n_chips, dtype=float)
    domain, rate = float(chip.near[0]), chip.near[1]
    if np.any((n > domain) & (n % domain != 0)):
        bad = float(np.min(n[(n > domain) & (n % domain != 0)]))
        near, name = max(1, round(bad / domain)) * domain, chip.name
        raise InputError(f"n_chips = {bad:g}: {name} comes in domains of {domain:g}; the nearest whole number of them has {near:g} chips")
    if cluster.link.kind == "torus" and np.any(n > domain):
        raise InputError(f"n_chips = {np.max(n):g}: a torus of {chip.name} has at most {domain:g} chips; pods are joined by DCN TPU host")
    inner, taper = Tier(np.minimum(n, domain), rate, "scale-up", chip.name), np.asarray(cluster.taper, dtype=float)
    domains, kind = np.maximum(n / domain, 1.0), calibration.transport(cluster.fabric)
    if np.all(taper == 1):
        return inner, Tier(domains, cluster.bandwidth, kind, chip.name)
    pods = np.ceil(domains / np.maximum(np.floor(np.asarray(cluster.pod, dtype=float) / domain), 1.0))
    return inner, Tier(np.ceil(domains / pods), cluster.bandwidth, kind, chip.name), Tier(pods, cluster.bandwidth * taper, kind, chip.name)


@takes(message_bytes=POSITIVE, top_k=COUNT)
def collective_time(
    op: str, message_bytes: ArrayLike, tiers: Sequence[Tier] | Cluster, *, version: str = "", top_k: int = 1
) -> CollectiveTime:
    """Time of a collective over any number of tiers, innermost first.

    Each tier takes `curve.seconds` of the steps and bytes that the operation puts on it, with the constants measured for it; what a tier of
    n ranks combines, the next one carries a 1/n of. Tiers overlap: (sum t^6)^(1/6), softly the slowest.
    Source: Thakur, Rabenseifner, Gropp (2005); NVIDIA nccl-tests, doc/PERFORMANCE.md.

    Parameters
    ----------
    op : str
        all_reduce, all_gather, reduce_scatter, alltoall, broadcast, reduce or sendrecv; all-reduce and allreduce are understood. Of tokens
        to experts and back: dispatch and combine, which send a token once to each domain; with _low_latency behind, to each expert.
    message_bytes : array_like
        In the convention of nccl-tests: of an all-gather or reduce-scatter the whole; of dispatch and combine a rank's tokens, once [B].
    tiers : sequence of Tier, or Cluster
        Of a cluster all chips, as `tiers_of`.
    version, top_k : str; int
        Of NCCL or RCCL, as ``2.27``: if it is not given, or was not measured, the interval says what that may cost. Experts of a token, of
        dispatch and combine, drawn at random.

    Examples
    --------
    >>> t = collective_time("all-reduce", [1e6, 1e9], Cluster("H100", 64, "InfiniBand NDR"))
    >>> (t.seconds * 1e6).round().tolist(), (t.busbw / 1e9).round().tolist()
    ([142.0, 5191.0], [14.0, 379.0])
    """
    op, s, release = operation(op), np.asarray(message_bytes, dtype=float), calibration.minor(version)
    tiers = tiers_of(tiers) if isinstance(tiers, Cluster) else tiers
    if not tiers:
        raise InputError("tiers is empty: expected at least one")
    shaped = {f"{name} of tier {i}": value for i, t in enumerate(tiers) for name, value in (("size", t.size), ("bandwidth", t.bandwidth))}
    scalar = all(np.ndim(value) == 0 for value in shaped.values())
    if not scalar:
        broadcast(message_bytes=s, **shaped)
    found = in_blocks(lambda s: _timed(op, s, tiers, release, top_k), BLOCK, s.shape if scalar else (), s=s)
    largest = [float(np.max(t.size, initial=1.0)) for t in tiers]
    return replace(found, evidence=_nearest(op, tiers, largest, release)[1])


def _timed(op: str, s: Array, tiers: Sequence[Tier], version: str, top_k: int) -> CollectiveTime:
    """`collective_time` of checked arguments, in one piece."""
    powers, ranks = np.zeros(()), np.ones(())
    for tier in tiers:
        n, between = np.asarray(tier.size, dtype=float), tier.kind != "scale-up"
        message, parts = passed_up(op, s, ranks), calibration.constants(op, tier.kind, tier.chip, n, version, ranks)
        times = [curve.seconds(theta, *work(op, message, at, ranks, between, top_k), tier.bandwidth) for theta, at, _ in parts]
        t = times[0] if len(times) == 1 else times[0] ** parts[0][2] * times[1] ** parts[1][2]
        t = np.where(n > 1, t, 0.0)
        square = t * t
        powers, ranks = powers + square * square * square, ranks * n
    total = np.asarray(np.cbrt(np.sqrt(powers)))
    width, ranks = _width(op, s, tiers, version), np.broadcast_to(ranks, total.shape)
    alone = ranks == 1  # one rank has nothing to move
    algbw = np.where(alone, np.inf, s / np.where(alone, 1.0, total))
    busbw = np.where(alone, 0.0, np.where(alone, 1.0, algbw) * busbw_factor(op, ranks))
    return CollectiveTime(seconds=total, low=total * np.exp(-width), high=total * np.exp(width), algbw=algbw, busbw=busbw)


def _nearest(op: str, tiers: Sequence[Tier], sizes: Sequence[float], version: str) -> tuple[str, Evidence]:
    """Kind and measurements of what bounds the time: the first tier alone, or the next one with more than one member."""
    beyond = next((i for i in range(1, len(tiers)) if sizes[i] > 1), 0)
    kind, domains = (tiers[beyond].kind, float(np.prod(sizes[beyond:]))) if beyond else ("scale-up", 1.0)
    return kind, calibration.nearest(op, tiers[0].chip, sizes[0], kind, domains, version)


def _width(op: str, s: Array, tiers: Sequence[Tier], version: str) -> Array:
    """Half width of the interval by how far from what was measured each is."""
    sizes = np.broadcast_arrays(*(np.asarray(t.size, dtype=float) for t in tiers))
    width = np.zeros(())
    for each in set(zip(*(size.ravel().tolist() for size in sizes), strict=True)):
        kind, near = _nearest(op, tiers, each, version)
        found = calibration.half_width(kind, tiers[0].chip, near.distance, s)
        same = np.logical_and.reduce([size == one for size, one in zip(sizes, each, strict=True)])
        width = found if sizes[0].size == 1 else np.where(same, found, width)
    return width
