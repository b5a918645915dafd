"""What a fabric costs and draws, from the counts of its topology."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench import catalogue
from workbench.arrays import Arrays, broadcast
from workbench.checks import NOT_NEGATIVE, POSITIVE, SHARE, takes
from workbench.fabric.topology import Topology
from workbench.units import TERA

Array = NDArray[np.float64]
PARTS = ("switches", "optics", "cables", "nics", "storage")
PRICED = dict.fromkeys(
    ("switch_usd", "optic_usd", "cable_usd", "nic_usd", "switch_watts", "nic_watts", "storage_bytes", "storage_usd_per_tb"), NOT_NEGATIVE
)


@dataclass(frozen=True, repr=False)
class Bill(Arrays):
    """Money and power of a fabric; arrays broadcast over topology and prices."""

    usd: dict[str, Array]  #: by part [USD]
    watts: dict[str, Array]  #: by part [W]
    endpoints: Array  #: ports of chips
    bisection: Array  #: [B/s]

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
        return self.total_usd / (self.bisection if bandwidth is None else np.asarray(bandwidth, dtype=float))


@takes(**PRICED, copper_endpoints=SHARE)
def bill(
    topology: Topology,
    *,
    switch_usd: ArrayLike,
    optic_usd: ArrayLike,
    cable_usd: ArrayLike,
    nic_usd: ArrayLike,
    switch_watts: ArrayLike,
    nic_watts: ArrayLike = 0.0,
    copper_endpoints: ArrayLike = 0.0,
    storage_bytes: ArrayLike = 0.0,
    storage_usd_per_tb: ArrayLike = 0.0,
) -> Bill:
    """Price the parts that a topology counts: switches, two optics a cable that is not copper, cables, and a NIC a chip.

    Prices of switches and NICs are not published in what this project has read, so they are arguments; optics are
    the usual ones of 800G (17 W for two ports of 400G).

    Parameters
    ----------
    topology : Topology
    switch_usd, optic_usd, cable_usd, nic_usd : array_like
        Price of one [USD].
    switch_watts, nic_watts : array_like
        Power of one without its optics [W].
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
    usd = {"switch_usd": switch_usd, "optic_usd": optic_usd, "cable_usd": cable_usd, "nic_usd": nic_usd, "tb_usd": storage_usd_per_tb}
    module, none = catalogue.link("Optic 800G twin-port DR8").power, 0.0
    watts: dict[str, Any] = {"switch_watts": switch_watts, "optic_watts": module, "cable": none, "nic_watts": nic_watts, "tb": none}
    broadcast(topology=np.empty(topology.shape), copper_endpoints=copper_endpoints, storage_bytes=storage_bytes, **usd, **watts)
    stored = np.divide(storage_bytes, TERA)
    counts = (topology.switches, topology.optics(copper_endpoints), topology.cables, topology.endpoints, stored)
    money, power = (
        {part: np.multiply(n, price) for part, n, price in zip(PARTS, counts, prices.values(), strict=True)} for prices in (usd, watts)
    )
    return Bill(money, power, topology.endpoints, topology.bisection)
