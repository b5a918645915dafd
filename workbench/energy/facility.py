"""From rack to meter: what cooling, conversion and light load add to the power of servers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.arrays import broadcast
from workbench.checks import PUE, Rule, takes
from workbench.errors import UnknownName

# Engineering assumptions, each within what handbooks give; `published` replaces their level by what a site reports.
APPROACH = 7.0  #: supply over wet-bulb temperature that towers and exchangers reach without a chiller [K]
RANGE = 10.0  #: over which chillers take over the whole load [K]
CHILLER = 6.0  #: coefficient of performance of a water-cooled chiller
ELECTRICAL = 0.04  #: losses of transformers, UPS and distribution over IT power at full load
STANDING = 0.3  #: share of the overhead that does not fall with load

#: PUE that a site publishes for a year: it broadcasts with what is left of the weather without its time.
PUBLISHED = Rule(least=1.0, apart=True, why=PUE.why)


@dataclass(frozen=True)
class Cooling:
    """One way of taking heat out of servers."""

    name: str
    fan_share: float  #: power of server fans over the power of what they cool
    supply: float  #: temperature of air or water that servers take in [degrees C]
    transport: float  #: fans and pumps of the facility over IT power
    source: str

    @takes(wet_bulb=Rule(least=-90, most=60, unit="degrees C"), load=Rule(above=0.0, most=1.0), published=PUBLISHED)
    def pue(self, wet_bulb: ArrayLike, load: ArrayLike = 1.0, *, published: ArrayLike | None = None) -> NDArray[np.float64]:
        """PUE of a facility by its cooling, the weather and its load.

        at full load 1 + electrical + transport + chillers(wet_bulb); chillers run where the air is too warm for `supply` less `APPROACH`;
        at part load the overhead falls to STANDING / load + 1 - STANDING of itself

        Parameters
        ----------
        wet_bulb : array_like
            Wet-bulb temperature [degrees C]: an hour, a month or a year's mean; the last axis is time where `published` is given.
        load : array_like
            IT power over the rated IT power, above 0 and at most 1.
        published : array_like, optional
            PUE that the site publishes for a year near full load: the overhead is scaled so that its mean over time is just that.

        Returns
        -------
        ndarray
            At least 1, broadcast.

        References
        ----------
        .. [1] ISO/IEC 30134-2:2016. .. [2] ASHRAE TC 9.9 (2021), "Thermal Guidelines for Data Processing Environments", 5th edition.

        Examples
        --------
        >>> COOLINGS["air"].pue([10.0, 22.0, 28.0]).round(3)
        array([1.09 , 1.157, 1.257])
        """
        used = np.asarray(load)
        chilled = np.clip((np.asarray(wet_bulb) + APPROACH - self.supply) / RANGE, 0.0, 1.0)
        overhead = ELECTRICAL + self.transport + chilled / CHILLER
        if published is not None:
            stated = np.asarray(published)
            if overhead.ndim:
                broadcast(published=stated, **{"wet_bulb without its time": overhead[..., :1].sum(axis=-1)})
            mean = overhead.mean(axis=-1, keepdims=True) if overhead.ndim else overhead
            overhead = overhead * (stated[..., None] - 1 if overhead.ndim else stated - 1) / mean
            broadcast(load=used, **{"published over the wet_bulb": overhead})
        return 1 + overhead * (STANDING / used + 1 - STANDING)


#: Supply temperatures are those for which equipment is specified; fan_share of air is 3.5 to 4.5 kW of a rack of 30 kW (mp-is.eu, Liquid
#: cooling an H100 cluster), of which a third is left where cold plates take the chips' heat and none under two-phase immersion.
COOLINGS = {
    c.name: c
    for c in (
        Cooling("air", 0.13, 25.0, 0.05, "ASHRAE TC 9.9, recommended envelope 18 to 27 C"),
        Cooling("liquid", 0.04, 40.0, 0.025, "ASHRAE TC 9.9, class W40; GPU Solutions (2026): 40 to 45 C inlet measured under HGX B200"),
        Cooling("two-phase", 0.0, 45.0, 0.02, "ASHRAE TC 9.9, class W45"),
    )
}


def cooling(name: str) -> Cooling:
    """The way of cooling `name`: air, liquid or two-phase. Raises `UnknownName`."""
    if name not in COOLINGS:
        raise UnknownName("cooling", name, COOLINGS)
    return COOLINGS[name]
