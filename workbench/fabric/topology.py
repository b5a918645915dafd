"""What a fabric consists of: switches, cables, optics; what follows from their number: bisection, taper, cost and power."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from workbench import catalogue
from workbench.arrays import Arrays, broadcast
from workbench.checks import COUNT, NOT_NEGATIVE, POSITIVE, SHARE, Rule, takes
from workbench.errors import InputError
from workbench.fabric.cluster import Cluster
from workbench.units import TERA

Array = Any  #: ndarray of float64, of any shape, also none
MOST_PORTS = 65_536  #: of a switch; every number of spines up to half of them is tried
CUBE = 64  #: chips of a TPU whose links are copper; the 96 of its faces are optical and end at circuit switches (Jouppi et al. 2023)
CIRCUIT_WATTS = 108.0  #: of an optical circuit switch, at most (Urata et al. 2022, "Mission Apollo", arXiv:2208.10041)
DRAGONFLY = ("routers_per_group", "hosts_per_router", "global_links", "endpoints")
PARTS = ("switches", "optics", "cables", "nics", "storage")
COSTS = ("switch_usd", "optic_usd", "cable_usd", "nic_usd", "switch_watts", "nic_watts", "storage_bytes", "storage_usd_per_tb")


@dataclass(frozen=True, repr=False)
class Topology(Arrays):
    """Counts of a fabric; arrays broadcast over the arguments it was made from. Cables count links, whatever their kind."""

    endpoints: Array  #: ports of chips that the fabric joins
    tiers: Array  #: of switches
    leaf: Array  #: switches
    spine: Array  #: switches
    core: Array  #: switches
    endpoint_cables: Array  #: chip to leaf, a NIC at each; none of a torus
    leaf_cables: Array  #: leaf to spine; of a dragonfly in a group, of a torus between chips of a cube
    spine_cables: Array  #: spine to core; of a dragonfly between groups, of a torus from cubes to circuit switches
    bisection: Array  #: bandwidth between two halves, one direction [B/s]
    taper: Array  #: uplinks over downlinks of a leaf: 1 is non-blocking
    circuits: Array = 0.0  #: optical circuit switches
    copper: Array = 0.0  #: cables that are so short that they are copper whatever the endpoints' are

    @property
    def switches(self) -> Array:
        """Leaf, spine and core switches, which switch packets."""
        return self.leaf + self.spine + self.core

    @property
    def cables(self) -> Array:
        """All cables."""
        return self.endpoint_cables + self.leaf_cables + self.spine_cables

    @takes(copper_endpoints=SHARE)
    def optics(self, copper_endpoints: ArrayLike = 0.0) -> Array:
        """Optical modules: two a cable that is not copper, by design or as the share of endpoint cables says."""
        return 2 * (self.cables - np.maximum(self.copper, np.asarray(copper_endpoints, dtype=float) * self.endpoint_cables))

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the arguments that it was made from."""
        return np.broadcast_shapes(*(np.shape(getattr(self, f.name)) for f in fields(self)))


@takes(
    endpoints=COUNT, radix=Rule(least=2, most=MOST_PORTS, whole=True), port_bandwidth=POSITIVE, planes=COUNT,
    group=Rule(least=0, whole=True), taper=Rule(above=0, most=1, why="uplinks over downlinks of a leaf"),
)  # fmt: skip
def fat_tree(
    endpoints: ArrayLike, radix: ArrayLike, port_bandwidth: ArrayLike, *, planes: ArrayLike = 1, group: ArrayLike = 0,
    taper: ArrayLike = 1.0,
) -> Topology:  # fmt: skip
    """A fat tree of two or three tiers, by the rule that NVIDIA's reference architectures follow.

    Leaves: endpoints / (radix / 2), in whole multiples of what a rail group needs. Spines: the smallest divisor of the uplinks of a leaf
    that is at least leaves x uplinks / radix, so that every leaf reaches every spine alike; plain rounding up gives 16 where 18 are built.
    Three tiers where endpoints exceed radix^2 / 2: as many spines as leaves, half as many cores. Raises `InputError` for a cluster larger
    than three tiers reach with the radix, naming one that does, and a taper that leaves a leaf no uplink.
    Source: Leiserson (1985), "Fat-Trees"; NVIDIA DGX SuperPOD reference architectures, network fabrics tables (H100, B200, B300).

    Parameters
    ----------
    endpoints, radix, port_bandwidth : array_like
        Ports of chips, a plane counting each chip once; ports of a switch; bandwidth of a port, one direction [B/s].
    planes, group : array_like
        Separate fabrics, each of which every chip has a port in: counts are of all together; endpoints that have leaves of their own (a
        scalable unit on one rail), 0 for none.
    taper : array_like
        Uplinks over downlinks of a leaf, above 0 and at most 1.

    Examples
    --------
    >>> fabric = fat_tree([4608, 100_000], radix=144, port_bandwidth=100e9)
    >>> fabric.tiers.tolist(), fabric.switches.tolist()
    ([2.0, 3.0], [100.0, 3473.0])
    """
    n, k, rate, p, g, share = (np.asarray(x, dtype=float) for x in (endpoints, radix, port_bandwidth, planes, group, taper))
    if np.any(k % 2):
        raise InputError(f"radix = {k[k % 2 > 0][0]:g}: a leaf splits its ports in two, so an even number")
    many, ports = np.broadcast_arrays(n, k)
    beyond = many > ports**3 / 4
    if beyond.any():
        most, few = many[beyond].max(), ports[beyond].min()
        need = int(np.ceil((4 * most) ** (1 / 3) / 2) * 2)
        raise InputError(f"radix = {few:g} joins {few**3 / 4:,.0f} endpoints in three tiers; {most:,.0f} need {need} ports")
    down = np.floor(k / (1 + share))
    up = np.round(down * share)
    leaves = np.where(g > 0, np.ceil(n / np.where(g > 0, g, 1.0)) * np.ceil(np.where(g > 0, g, 1.0) / down), np.ceil(n / down))
    if np.any(cut := (up < 1) & (leaves > 1)):
        raise InputError(f"taper = {np.broadcast_to(share, cut.shape)[cut][0]:g}: more than one leaf, and none would have an uplink")
    two = n <= k * k / 2
    spine_two = np.where(leaves > 1, _even_spines(leaves, up, k), 0.0)
    spine = np.where(two, spine_two, np.ceil(leaves * up / (k / 2)))
    core = np.where(two, 0.0, np.ceil(spine / 2))
    leaf_cables = np.where(leaves > 1, leaves * up, 0.0)
    spine_cables = np.where(two, 0.0, spine * k / 2)
    return Topology(
        endpoints=n * p, tiers=np.where(leaves <= 1, 1.0, np.where(two, 2.0, 3.0)), leaf=leaves * p, spine=spine * p, core=core * p,
        endpoint_cables=n * p, leaf_cables=leaf_cables * p, spine_cables=spine_cables * p, bisection=n / 2 * share * rate * p,
        taper=share * np.ones_like(n),
    )  # fmt: skip


@takes(cubes=COUNT, side=COUNT, faces=COUNT)
def optical_switches(cubes: ArrayLike, side: ArrayLike = 4, faces: ArrayLike = 6) -> Array:
    """Optical circuit switches that join cubes of chips into a torus: the links of opposite faces share one, as in TPU v4.

    Source: Jouppi et al. (2023), "TPU v4", section 2.

    Examples
    --------
    >>> int(optical_switches(64))
    48
    """
    n, along, faces_ = (np.asarray(x, dtype=float) for x in (cubes, side, faces))
    return np.floor(faces_ * along * along / 2) * np.ones_like(n)


@takes(**dict.fromkeys(DRAGONFLY, COUNT), link_bandwidth=POSITIVE, taper=Rule(above=0, most=1))
def dragonfly(
    routers_per_group: ArrayLike, hosts_per_router: ArrayLike, global_links: ArrayLike, link_bandwidth: ArrayLike,
    endpoints: ArrayLike | None = None, taper: ArrayLike = 1.0,
) -> Topology:  # fmt: skip
    """A dragonfly: groups of a routers, all joined by copper; the a h global links of a group are spread evenly over all others.

    With `endpoints`, as many groups as they fill, else a h + 1, each pair joined by one link; `taper` is the share of the global links
    that are cabled. Source: Kim, Dally, Scott, Abts (2008), "Technology-Driven, Highly-Scalable Dragonfly Topology".

    Examples
    --------
    >>> net = dragonfly(routers_per_group=16, hosts_per_router=8, global_links=8, link_bandwidth=25e9)
    >>> int(net.endpoints), int(net.switches)
    (16512, 2064)
    """
    a, p, h, rate, share = (np.asarray(x, dtype=float) for x in (routers_per_group, hosts_per_router, global_links, link_bandwidth, taper))
    hosts = a * p * (a * h + 1) if endpoints is None else np.asarray(endpoints, dtype=float)
    groups = np.ceil(hosts / (a * p))
    if np.any(beyond := groups > a * h * share + 1):
        most, many = (np.broadcast_to(x, beyond.shape)[beyond].max() for x in (a * p * np.floor(a * h * share + 1), hosts))
        raise InputError(f"endpoints = {many:,.0f}: the global links of a group reach {most:,.0f}")
    routers = np.where(groups > 1, groups * a, np.ceil(hosts / p))
    local = np.where(groups > 1, groups * a * (a - 1), routers * (routers - 1)) // 2
    bundle = np.floor(a * h * share / np.maximum(groups - 1, 1))
    across, cut = groups * (groups - 1) // 2 * bundle, (groups // 2) * (groups - groups // 2) * bundle
    counts = {"endpoints": hosts, "tiers": 2.0, "leaf": routers, "endpoint_cables": hosts, "leaf_cables": local, "spine_cables": across}
    counts |= {"bisection": np.where(groups > 1, cut, hosts / 2) * rate, "taper": share, "copper": local}
    return _counted(counts)


def _counted(counts: dict[str, Any]) -> Topology:
    """A topology of these counts, of one shape, and none of what they do not name."""
    shape = np.broadcast_shapes(*map(np.shape, counts.values()))
    return Topology(**{f.name: np.broadcast_to(counts.get(f.name, 0.0), shape) for f in fields(Topology)})


def _of(cluster: Cluster, radix: ArrayLike) -> Topology:
    """What joins the whole domains of a cluster: by Slingshot a dragonfly, by links of a TPU a torus, else a fat tree of such switches.

    Slingshot: 64 ports a switch, 16 to endpoints, 31 in a group of 32, 17 beyond (De Sensi et al. 2020, arXiv:2008.08886, section II).
    """
    link, domain = cluster.link, float(cluster.chip.near[0])
    chips, rate = np.asarray(cluster.n_chips, dtype=float), float(link.bandwidth or 0.0)
    ports = np.ceil(np.ceil(chips / domain) * domain * np.asarray(cluster.rails, dtype=float))
    if link.kind != "torus":
        clos = "slingshot" not in link.name.lower()
        return fat_tree(ports, radix, rate, taper=cluster.taper) if clos else dragonfly(32, 16, 17, rate, ports, cluster.taper)
    if (lanes := catalogue.table("links").row(by_predicate=pl.col("link") == link.name, named=True)["lanes"]) < 6:
        raise InputError(f"fabric = {link.name!r}: which links of its torus are optical was found in no publication")
    cubes, whole = np.ceil(chips / CUBE), chips >= CUBE
    inside, outside = np.where(whole, 144 * cubes, 3 * chips), whole * 96.0 * cubes
    counts = {"endpoints": chips, "leaf_cables": inside, "spine_cables": outside, "copper": inside}
    counts |= {
        "circuits": whole * optical_switches(cubes),
        "bisection": 2 * np.ceil((cubes * CUBE) ** (1 / 3)) ** 2 * rate / lanes,
        "taper": np.asarray(cluster.taper),
    }
    return _counted(counts)


def _even_spines(leaves: Array, up: Array, radix: Array) -> Array:
    """Smallest divisor of the uplinks of a leaf that is at least leaves x uplinks / radix: every leaf reaches every spine alike."""
    least = np.ceil(leaves * up / radix)
    candidates = np.arange(1, int(np.max(up, initial=1.0)) + 1, dtype=float)
    shape = np.broadcast_shapes(least.shape, up.shape)
    fits = (np.broadcast_to(up, shape)[..., None] % candidates == 0) & (candidates >= np.broadcast_to(least, shape)[..., None])
    return np.where(fits.any(axis=-1), candidates[np.argmax(fits, axis=-1)], least)


@dataclass(frozen=True, repr=False)
class Bill(Arrays):
    """Money and power of a fabric; arrays broadcast over topology and prices."""

    usd: dict[str, Array]  #: by part [USD]
    watts: dict[str, Array]  #: by part [W]
    topology: Topology  #: what was counted

    @property
    def total_usd(self) -> Array:
        """All parts [USD]."""
        return np.asarray(sum(self.usd.values()))

    @property
    def total_watts(self) -> Array:
        """All parts [W]."""
        return np.asarray(sum(self.watts.values()))

    @takes(bandwidth=POSITIVE)
    def usd_per_bandwidth(self, bandwidth: ArrayLike | None = None) -> Array:
        """Money per bandwidth: of bisection, or of the bandwidth that was achieved, of all chips together [USD/(B/s)]."""
        return self.total_usd / (self.topology.bisection if bandwidth is None else np.asarray(bandwidth, dtype=float))


@takes(**dict.fromkeys(COSTS, NOT_NEGATIVE), copper_endpoints=SHARE, radix=Rule(least=2, most=MOST_PORTS, whole=True))
def bill(
    topology: Topology | Cluster, *, switch_usd: ArrayLike, optic_usd: ArrayLike, cable_usd: ArrayLike, nic_usd: ArrayLike,
    switch_watts: ArrayLike, nic_watts: ArrayLike = 0.0, copper_endpoints: ArrayLike = 0.0,
    storage_bytes: ArrayLike = 0.0, storage_usd_per_tb: ArrayLike = 0.0, radix: ArrayLike = 64,
) -> Bill:  # fmt: skip
    """Price the parts that a topology counts: switches, two optics per cable that is not copper, cables, and a NIC per port of a chip.

    Of a cluster: the topology of its fabric, with its rails and taper. Slingshot is a dragonfly, the links of a TPU a torus behind optical
    circuit switches (priced as switches, at 108 W) without NICs; everything else a fat tree of switches of `radix` ports. Links inside a
    scale-up domain are part of its servers. A fabric of rails alone is `fat_tree` with a domain's chips over, and as many planes.

    Prices of switches and NICs were found in no publication, so they are arguments; optics are the usual ones of 800G (17 W of two ports).

    Parameters
    ----------
    topology, radix : Topology or Cluster; array_like of int
        Counts, or what they are made for; ports of a switch where a cluster is joined by a fat tree, at the speed of its link.
    switch_usd, optic_usd, cable_usd, nic_usd, switch_watts, nic_watts : array_like
        Price of one [USD]; power of one without its optics [W].
    copper_endpoints : array_like
        Share of the cables between chips and leaves that are copper.
    storage_bytes, storage_usd_per_tb : array_like
        Capacity of storage, as `storage` gives it [B], and its price [USD per 1e12 B]; its power is that of its hosts, not counted here.

    Examples
    --------
    >>> from workbench.fabric import fat_tree
    >>> tree = fat_tree(4608, 144, port_bandwidth=100e9)
    >>> cost = bill(tree, switch_usd=5e4, optic_usd=1000, cable_usd=50, nic_usd=1500, switch_watts=3000)
    >>> {part: float(usd) / 1e6 for part, usd in cost.usd.items()}
    {'switches': 5.0, 'optics': 18.432, 'cables': 0.4608, 'nics': 6.912, 'storage': 0.0}
    """
    topology = _of(topology, radix) if isinstance(topology, Cluster) else topology
    usd = {"switch_usd": switch_usd, "optic_usd": optic_usd, "cable_usd": cable_usd, "nic_usd": nic_usd, "tb_usd": storage_usd_per_tb}
    watts: list[Any] = [switch_watts, catalogue.link("Optic 800G twin-port DR8").power, 0.0, nic_watts, 0.0]
    given = {"switch_watts": switch_watts, "nic_watts": nic_watts, "copper_endpoints": copper_endpoints, "storage_bytes": storage_bytes}
    broadcast(topology=np.empty(topology.shape), **given, **usd)
    t, circuits = topology, np.asarray(topology.circuits)
    counts = (t.switches + circuits, t.optics(copper_endpoints), t.cables, t.endpoint_cables, np.divide(storage_bytes, TERA))
    money, power = (dict(zip(PARTS, map(np.multiply, counts, of), strict=True)) for of in (usd.values(), watts))
    return Bill(money, power | {"switches": t.switches * switch_watts + circuits * CIRCUIT_WATTS}, t)
