"""Time of a collective over tiers: chips in a scale-up domain, domains on a scale-out fabric, sites beyond."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.arrays import Arrays, broadcast, in_blocks
from workbench.calibration.evidence import Evidence
from workbench.checks import COUNT, POSITIVE, check_fields, one_of, takes
from workbench.errors import InputError
from workbench.fabric import calibration, curve
from workbench.fabric.algorithms import algorithms, busbw_factor, operation, passed_up, rule
from workbench.fabric.cluster import Cluster

Array = NDArray[np.float64]
BLOCK = 8192  #: messages a block: its arrays stay in the second-level cache, which doubles the speed


@dataclass(frozen=True)
class Tier:
    """Ranks, or groups of ranks of the tier below, joined by links of one kind.

    Parameters
    ----------
    size : array_like of int
        Members.
    bandwidth : array_like
        Of a chip's link in this tier, one direction [B/s].
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
    algorithms: tuple[str, ...] = field(repr=False)  #: that were considered
    choice: NDArray[np.intp] = field(repr=False)  #: position of the fastest among them
    evidence: Evidence | None = field(default=None, repr=False)  #: the measurements nearest to the largest numbers of ranks

    @property
    def algorithm(self) -> NDArray[np.str_]:
        """Name of the fastest algorithm."""
        return np.array(self.algorithms)[self.choice]


@takes(n_chips=COUNT)
def tiers_of(cluster: Cluster, n_chips: ArrayLike | None = None) -> tuple[Tier, ...]:
    """The tiers of chips of a cluster: its scale-up domain (cards without such links: their host), and as many domains as they fill.

    Where the fabric is tapered, the pods of those domains are a tier of their own.

    Parameters
    ----------
    cluster : Cluster
    n_chips : array_like of int, optional
        Ranks; all chips if not given.

    Raises
    ------
    InputError
        For chips that do not fill whole domains, naming the nearest that do.

    Examples
    --------
    >>> [int(tier.size) for tier in tiers_of(Cluster("H100", 64, "InfiniBand NDR"))]
    [8, 8]
    """
    chip, n = cluster.chip, np.asarray(cluster.n_chips if n_chips is None else n_chips, dtype=float)
    domain, rate = float(chip.near[0]), chip.near[1]
    if np.any((n > domain) & (n % domain != 0)):
        bad = float(np.min(n[(n > domain) & (n % domain != 0)]))
        near = max(1, round(bad / domain)) * domain
        raise InputError(
            f"n_chips = {bad:g}: {chip.name} comes in domains of {domain:g}; the nearest whole number of them has {near:g} chips"
        )
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
    op: str, message_bytes: ArrayLike, tiers: Sequence[Tier] | Cluster, algorithm: str = "best", *, version: str = "", top_k: int = 1
) -> CollectiveTime:
    """Time of a collective over any number of tiers, innermost first.

    Each tier takes `curve.seconds` of the steps and bytes that the algorithm puts on it; what a tier of n ranks combines, the next one
    carries a 1/n of. Tiers overlap: (sum t^6)^(1/6), softly the slowest. With ``best`` the constants are those measured for the operation,
    and the algorithm named is the one whose steps and bytes would be fastest with them.

    Parameters
    ----------
    op : str
        all_reduce, all_gather, reduce_scatter, alltoall, broadcast, reduce or sendrecv; all-reduce and allreduce are understood. Of tokens
        to experts and back: dispatch and combine, which send a token once to each domain; with _low_latency behind, to each expert.
    message_bytes : array_like
        In the convention of nccl-tests: of an all-gather or reduce-scatter the whole; of dispatch and combine a rank's tokens, once [B].
    tiers : sequence of Tier, or Cluster
        Of a cluster all chips, as `tiers_of`.
    algorithm : str
        ``best``, or one of `algorithms` of the operation, taken on every tier.
    version : str
        Of NCCL or RCCL, as ``2.27``. If it is not given, or was not measured, the interval says what that may cost.
    top_k : int
        Experts of a token, of dispatch and combine, drawn at random.

    References
    ----------
    .. [1] Thakur, Rabenseifner, Gropp (2005). .. [2] NVIDIA nccl-tests, doc/PERFORMANCE.md.

    Examples
    --------
    >>> t = collective_time("all-reduce", [1e6, 1e9], Cluster("H100", 64, "InfiniBand NDR"))
    >>> (t.seconds * 1e6).round().tolist(), (t.busbw / 1e9).round().tolist()
    ([121.0, 5344.0], [16.0, 368.0])
    """
    op = operation(op)
    known = algorithms(op)
    if algorithm != "best" and algorithm not in known:
        raise InputError(f"algorithm = {algorithm!r}: {op} has best, {', '.join(known)}")
    if isinstance(tiers, Cluster):
        tiers = tiers_of(tiers)
    if not tiers:
        raise InputError("tiers is empty: expected at least one")
    s = np.asarray(message_bytes, dtype=float)
    considered = known if algorithm == "best" else (algorithm,)
    shaped = {f"{name} of tier {i}": value for i, t in enumerate(tiers) for name, value in (("size", t.size), ("bandwidth", t.bandwidth))}
    scalar = all(np.ndim(value) == 0 for value in shaped.values())
    if not scalar:
        broadcast(message_bytes=s, **shaped)
    release = calibration.minor(version)
    found = in_blocks(lambda s: _timed(op, s, tiers, considered, release, top_k), BLOCK, s.shape if scalar else (), s=s)
    largest = [float(np.max(t.size, initial=1.0)) for t in tiers]
    return replace(found, evidence=_nearest(op, tiers, largest, release)[1])


def _timed(op: str, s: Array, tiers: Sequence[Tier], considered: tuple[str, ...], version: str, top_k: int) -> CollectiveTime:
    """`collective_time` of checked arguments, in one piece."""
    ranks = np.ones(())
    for tier in tiers:
        ranks = ranks * np.asarray(tier.size, dtype=float)
    fastest = _over_tiers(op, s, tiers, considered[0], version, top_k)
    total = _over_tiers(op, s, tiers, "", version, top_k) if len(considered) > 1 or considered == algorithms(op) else fastest
    choice = np.zeros(total.shape, dtype=np.intp)
    for position, name in enumerate(considered[1:], start=1):
        rival = _over_tiers(op, s, tiers, name, version, top_k)
        choice, fastest = np.where(rival < fastest, position, choice), np.minimum(rival, fastest)
    width = _width(op, s, tiers, version)
    alone = np.broadcast_to(ranks == 1, total.shape)
    algbw = np.where(alone, np.inf, s / np.where(alone, 1.0, total))  # one rank has nothing to move
    factor = busbw_factor(op, np.broadcast_to(ranks, total.shape))
    return CollectiveTime(
        seconds=total,
        low=total * np.exp(-width),
        high=total * np.exp(width),
        algbw=algbw,
        busbw=np.where(alone, 0.0, np.where(alone, 1.0, algbw) * factor),
        algorithms=considered,
        choice=choice,
    )


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
        found = calibration.half_width(kind, near.distance, s)
        same = np.logical_and.reduce([size == one for size, one in zip(sizes, each, strict=True)])
        width = found if sizes[0].size == 1 else np.where(same, found, width)
    return width


def _over_tiers(op: str, s: Array, tiers: Sequence[Tier], name: str, version: str, top_k: int) -> Array:
    """Time with one algorithm on every tier; without a name with what was measured."""
    total, ranks = np.zeros(()), np.ones(())
    for tier in tiers:
        n = np.asarray(tier.size, dtype=float)
        message = passed_up(op, s, ranks)
        parts = calibration.constants(op, tier.kind, tier.chip, n, version, ranks)
        asked = rule(op, name, tier.kind != "scale-up", top_k)
        times = [curve.seconds(theta, *asked(message, at, ranks), tier.bandwidth) for theta, at, _ in parts]
        t = times[0] if len(times) == 1 else times[0] ** parts[0][2] * times[1] ** parts[1][2]
        t = np.where(n > 1, t, 0.0)
        square = t * t
        total = total + square * square * square
        ranks = ranks * n
    return np.asarray(np.cbrt(np.sqrt(total)))
