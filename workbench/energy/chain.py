"""Chip -> node -> rack -> facility: where each watt goes, for any use of the chip, cooling and weather, and what they add to a PUE."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from workbench import catalogue
from workbench.arrays import Array, Arrays
from workbench.catalogue import Chip
from workbench.checks import FINITE, NOT_NEGATIVE, Rule, number, takes
from workbench.energy.server import server_power_ratio, tdp_of
from workbench.errors import UnknownName

SUPPLY = 0.95  #: efficiency of power supplies (80 PLUS Titanium at half load: 96 %), with the busbar
#: Draw of processors, memory and NICs over their rating while chips work: 8.4 kW is the most that a server rated for 10.2 kW was seen to
#: draw (Latif et al. 2025, IEEE Access 13:61740).
HOST = 0.5
SWITCHES = 0.03  #: scale-out switches over the power of nodes, where `fabric.bill` is not asked
# Engineering assumptions, each within what handbooks give.
APPROACH = 7.0  #: supply over wet-bulb temperature that towers and exchangers reach without a chiller [K]
RANGE = 10.0  #: over which chillers take over the whole load [K]
CHILLER = 6.0  #: coefficient of performance of a water-cooled chiller
ELECTRICAL = 0.04  #: losses of transformers, UPS and distribution over IT power at full load
STANDING = 0.3  #: share of the overhead that does not fall with load


@dataclass(frozen=True)
class Cooling:
    """One way of taking heat out of servers."""

    name: str
    fan_share: float  #: power of server fans over the power of what they cool
    supply: float  #: temperature of air or water that servers take in [degrees C]
    transport: float  #: fans and pumps of the facility over IT power
    source: str

    @takes(wet_bulb=Rule(least=-90, most=60, unit="degrees C"), load=Rule(above=0.0, most=1.0))
    def pue(self, wet_bulb: ArrayLike, load: ArrayLike = 1.0) -> Array:
        """PUE of a facility by its cooling, the weather and its load, at least 1, broadcast.

        at full load 1 + electrical + transport + chillers(wet_bulb); chillers run where the air is too warm for `supply` less `APPROACH`;
        at part load the overhead falls to STANDING / load + 1 - STANDING of itself
        Source: ISO/IEC 30134-2:2016; ASHRAE TC 9.9 (2021), "Thermal Guidelines for Data Processing Environments", 5th edition.

        Parameters
        ----------
        wet_bulb, load : array_like
            Wet-bulb temperature [degrees C]: an hour, a month or a year's mean; IT power over the rated IT power, above 0 and at most 1.

        Examples
        --------
        >>> COOLINGS["air"].pue([10.0, 22.0, 28.0]).round(3)
        array([1.09 , 1.157, 1.257])
        """
        chilled = np.clip((np.asarray(wet_bulb) + APPROACH - self.supply) / RANGE, 0.0, 1.0)
        overhead = ELECTRICAL + self.transport + chilled / CHILLER
        return 1 + overhead * (STANDING / np.asarray(load) + 1 - STANDING)


#: Supply temperatures are those for which equipment is specified; fan_share of air is 3.5 to 4.5 kW of a rack of 30 kW (mp-is.eu, Liquid
#: cooling an H100 cluster), of which a third is left where cold plates take the chips' heat and none under two-phase immersion.
_COOLINGS = (
    Cooling("air", 0.13, 25.0, 0.05, "ASHRAE TC 9.9, recommended envelope 18 to 27 C"),
    Cooling("liquid", 0.04, 40.0, 0.025, "ASHRAE TC 9.9, class W40; GPU Solutions (2026): 40 to 45 C inlet measured under HGX B200"),
    Cooling("two-phase", 0.0, 45.0, 0.02, "ASHRAE TC 9.9, class W45"),
)
COOLINGS = {c.name: c for c in _COOLINGS}


def cooling(name: str) -> Cooling:
    """The way of cooling `name`: air, liquid or two-phase. Raises `UnknownName`."""
    if name not in COOLINGS:
        raise UnknownName("cooling", name, COOLINGS)
    return COOLINGS[name]


@dataclass(frozen=True, repr=False)
class PowerChain(Arrays):
    """Power of a fleet by where it goes [W]; arrays broadcast over the arguments of `power_chain`."""

    chips: Array  #: accelerators
    hosts: Array  #: processors, memory, NICs and in-rack switches
    fans: Array  #: in servers
    supplies: Array  #: losses of power supplies and busbars
    network: Array  #: scale-out switches
    facility: Array  #: cooling, conversion and what else the building draws

    @property
    def servers(self) -> Array:
        """Chips with their hosts, fans and supplies [W]."""
        return self.chips + self.hosts + self.fans + self.supplies

    @property
    def it(self) -> Array:
        """What the PUE is counted on: all but the facility [W]."""
        return self.servers + self.network

    @property
    def total(self) -> Array:
        """At the meter [W]."""
        return self.it + self.facility

    @property
    def pue(self) -> Array:
        """Power usage effectiveness."""
        return self.total / self.it

    @property
    def tue(self) -> Array:
        """Total usage effectiveness: what fans and supplies take inside the server is overhead too (Patterson et al. 2013, ISC)."""
        return self.total / (self.it - self.fans - self.supplies)


@takes(n_chips=NOT_NEGATIVE, drawn=NOT_NEGATIVE, wet_bulb=FINITE, switches=NOT_NEGATIVE)
def power_chain(
    chip: str | Chip, n_chips: ArrayLike, *, drawn: ArrayLike, cooled_by: str, wet_bulb: ArrayLike, switches: ArrayLike = SWITCHES
) -> PowerChain:
    """Power of `n_chips` from the chip to the meter, at what each chip draws.

    hosts at HOST of what chips, fans and supplies leave of the server's rating; fans by cooling, with the cube of their flow; supplies lose
    1 / SUPPLY - 1 Raises `InputError` for a chip without published TDP, and one that draws more than that.

    Parameters
    ----------
    drawn : array_like
        Power of one chip [W]: by `chips.power` from its use, or `watts_chip` of `chips.slo_frontier`; at most its published TDP.
    cooled_by, wet_bulb, switches : str; array_like
        air, liquid or two-phase; wet-bulb temperature [degrees C]; scale-out switches over the power of nodes.

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
    pue = how.pue(wet_bulb, np.minimum(it / rated, 1.0))
    return PowerChain(n * watts, n * hosts, n * fans, n * supplies, n * network, n * it * (pue - 1))
