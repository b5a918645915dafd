"""Chip -> node -> rack -> facility: where each watt goes, for any use of the chip, cooling and weather."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench import catalogue
from workbench.arrays import Arrays
from workbench.catalogue import Chip
from workbench.checks import FINITE, NOT_NEGATIVE, number, takes
from workbench.energy.facility import PUBLISHED, cooling
from workbench.energy.server import server_power_ratio, tdp_of

SUPPLY = 0.95  #: efficiency of power supplies (80 PLUS Titanium at half load: 96 %), with the busbar
#: Draw of processors, memory and NICs over their rating while chips work: 8.4 kW is the most that a server rated for 10.2 kW was seen to
#: draw (Latif et al. 2025, IEEE Access 13:61740).
HOST = 0.5
SWITCHES = 0.03  #: scale-out switches over the power of nodes, where `fabric.bill` is not asked


@dataclass(frozen=True, repr=False)
class PowerChain(Arrays):
    """Power of a fleet by where it goes [W]; arrays broadcast over the arguments of `power_chain`."""

    chips: NDArray[np.float64]  #: accelerators
    hosts: NDArray[np.float64]  #: processors, memory, NICs and in-rack switches
    fans: NDArray[np.float64]  #: in servers
    supplies: NDArray[np.float64]  #: losses of power supplies and busbars
    network: NDArray[np.float64]  #: scale-out switches
    facility: NDArray[np.float64]  #: cooling, conversion and what else the building draws

    @property
    def servers(self) -> NDArray[np.float64]:
        """Chips with their hosts, fans and supplies [W]."""
        return self.chips + self.hosts + self.fans + self.supplies

    @property
    def it(self) -> NDArray[np.float64]:
        """What the PUE is counted on: all but the facility [W]."""
        return self.servers + self.network

    @property
    def total(self) -> NDArray[np.float64]:
        """At the meter [W]."""
        return self.it + self.facility

    @property
    def pue(self) -> NDArray[np.float64]:
        """Power usage effectiveness."""
        return self.total / self.it

    @property
    def tue(self) -> NDArray[np.float64]:
        """Total usage effectiveness: what fans and supplies take inside the server is overhead too (Patterson et al. 2013, ISC)."""
        return self.total / (self.it - self.fans - self.supplies)


@takes(n_chips=NOT_NEGATIVE, drawn=NOT_NEGATIVE, wet_bulb=FINITE, switches=NOT_NEGATIVE, published_pue=PUBLISHED)
def power_chain(
    chip: str | Chip,
    n_chips: ArrayLike,
    *,
    drawn: ArrayLike,
    cooled_by: str,
    wet_bulb: ArrayLike,
    switches: ArrayLike = SWITCHES,
    published_pue: ArrayLike | None = None,
) -> PowerChain:
    """Power of `n_chips` from the chip to the meter, at what each chip draws.

    hosts at HOST of what chips, fans and supplies leave of the server's rating; fans by cooling, with the cube of their flow; supplies
    lose 1 / SUPPLY - 1

    Parameters
    ----------
    drawn : array_like
        Power of one chip [W]: by `chips.power` from its use, or `watts_chip` of `chips.slo_frontier`; at most its published TDP.
    cooled_by : str
        air, liquid or two-phase.
    wet_bulb, published_pue : array_like
        Wet-bulb temperature [degrees C]; the last axis is time where a PUE is given, as `Cooling.pue` takes it.
    switches : array_like
        Scale-out switches over the power of nodes.

    Examples
    --------
    >>> hall = power_chain("H100", 1024, drawn=600.0, cooled_by="air", wet_bulb=[10.0, 28.0])
    >>> hall.total.round(-3), hall.pue.round(3)
    (array([1052000., 1231000.]), array([1.101, 1.288]))
    """
    n, extra, how = np.asarray(n_chips), np.asarray(switches), cooling(cooled_by)
    chip = catalogue.chip(chip)
    tdp = tdp_of(chip)
    watts = number("drawn", drawn, least=0, most=tdp * (1 + 1e-9), why=f"a chip draws at most its TDP, {tdp:g} W of {chip.name}")
    # a rating holds the fans of the cooling that the chip is sold with, so that the host is what is left of it
    sold = cooling(chip.cooling or "air").fan_share
    rated_host = max(server_power_ratio(chip).value * SUPPLY / (1 + sold) - 1, 0.0) * tdp
    use = watts / tdp
    hosts = HOST * rated_host * np.ones_like(use)
    fans = how.fan_share * (watts + hosts) * use**2  # of what they cool at full speed; power goes with the cube of flow, flow with heat
    inside = watts + hosts + fans
    supplies = inside * (1 / SUPPLY - 1)
    network = (inside + supplies) * extra
    it = inside + supplies + network
    rated = (tdp + rated_host) * (1 + how.fan_share) / SUPPLY * (1 + extra)
    pue = how.pue(wet_bulb, np.minimum(it / rated, 1.0), published=published_pue)
    return PowerChain(n * watts, n * hosts, n * fans, n * supplies, n * network, n * it * (pue - 1))
