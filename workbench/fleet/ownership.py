"""Cost of ownership of a fleet: capital, network, facility, energy and staff, a year and a chip-hour."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from workbench import catalogue
from workbench.catalogue import Chip, Cost
from workbench.energy import ServerPower, electricity_cost, facility_power
from workbench.energy.server import RACK_SCALE
from workbench.errors import InputError
from workbench.fleet.finance import annuity
from workbench.units import HOUR, YEAR

#: What a fleet costs, in the order of a bill.
PARTS = ("capital", "network", "facility", "energy", "staff")


@dataclass(frozen=True)
class OwnershipCost:
    """Cost of ownership [USD a year], whole fleet; arrays broadcast over the arguments of `ownership_cost`."""

    capital: NDArray[np.float64]  #: servers with their chips, as an annuity
    network: NDArray[np.float64]  #: scale-out network, as an annuity
    facility: NDArray[np.float64]  #: building, power and cooling, as an annuity
    energy: NDArray[np.float64]  #: electricity
    staff: NDArray[np.float64]  #: staff, maintenance and what else it takes to operate
    chip_hours: NDArray[np.float64]  #: chip-hours owned a year, whether used or not [h]

    @property
    def per_year(self) -> NDArray[np.float64]:
        """All parts together [USD a year]."""
        return self.capital + self.network + self.facility + self.energy + self.staff

    @property
    def per_chip_hour(self) -> NDArray[np.float64]:
        """All parts together [USD a chip-hour owned]."""
        return self.per_year / self.chip_hours

    def frame(self) -> pl.DataFrame:
        """One row a part and case: case, part, usd_per_year, usd_per_chip_hour, share."""
        n = np.broadcast(*(getattr(self, part) for part in PARTS), self.chip_hours).shape
        total, hours = (np.broadcast_to(x, n).ravel() for x in (self.per_year, self.chip_hours))
        parts = []
        for part in PARTS:
            cost = np.broadcast_to(getattr(self, part), n).ravel()
            parts.append(
                pl.DataFrame(
                    {
                        "case": np.arange(cost.size),
                        "part": [part] * cost.size,
                        "usd_per_year": cost,
                        "usd_per_chip_hour": cost / hours,
                        "share": cost / total,
                    }
                )
            )
        return pl.concat(parts).sort("case", maintain_order=True)


def ownership_cost(
    *,
    n_chips: ArrayLike,
    chip_price: ArrayLike,
    power: ServerPower,
    pue: ArrayLike,
    electricity_price: ArrayLike,
    wacc: ArrayLike,
    server_life: ArrayLike,
    server_uplift: ArrayLike,
    network_share: ArrayLike | None = None,
    facility_capex: ArrayLike | None = None,
    facility_life: ArrayLike | None = None,
    operations: ArrayLike | None = None,
) -> OwnershipCost:
    """What a fleet costs its owner a year.

    capital = annuity(n price uplift, wacc, server_life); network = annuity(n price uplift share / (1 - share), wacc, server_life);
    facility = annuity(n rated power capex, wacc, facility_life); energy = n average power PUE hours price; staff = n rated power rate

    Taxes, salvage and failures are left out. Where an optional argument is not given, the catalogue's constant holds.

    Parameters
    ----------
    n_chips : array_like
    chip_price : array_like
        [USD]
    power : ServerPower
        A chip with its share of the server.
    pue : array_like
        Power usage effectiveness, at least 1.
    electricity_price : array_like
        [USD/J]
    wacc : array_like
        Weighted average cost of capital a year.
    server_life, facility_life : array_like
        Economic life, not book life [years].
    server_uplift : array_like
        Price of a server over the price of its chips, at least 1; `server_uplift` gives the published one.
    network_share : array_like, optional
        Share of the scale-out network in the capital of servers and network, below 1.
    facility_capex : array_like, optional
        Building, power and cooling [USD/W of rated IT power].
    operations : array_like, optional
        Staff and other operating cost but energy [USD/W of rated IT power and year].

    Returns
    -------
    OwnershipCost

    Raises
    ------
    InputError
        For a negative price, an uplift below 1, a network share outside [0, 1), and as `annuity` and `facility_power`.

    References
    ----------
    .. [1] Barroso, Hoelzle, Ranganathan (2018), "The Datacenter as a Computer", chapter 6.
    .. [2] Epoch AI (2026), AI datacenter cost breakdown: 8.5 bn USD a year for 1 GW.
    """
    n, price, uplift = (np.asarray(x, dtype=float) for x in (n_chips, chip_price, server_uplift))
    share, capex, life, rate = (
        np.asarray(catalogue.cost(name).value if given is None else given, dtype=float)
        for name, given in (
            ("network_capex_share", network_share),
            ("facility_capex_usd_per_w", facility_capex),
            ("facility_life_years", facility_life),
            ("operations_usd_per_w_year", operations),
        )
    )
    for name, value in (("n_chips", n), ("chip_price", price), ("facility_capex", capex), ("operations", rate)):
        if not np.all(value >= 0):
            raise InputError(f"{name} = {value}: expected 0 or more")
    if not np.all(uplift >= 1):
        raise InputError(f"server_uplift = {server_uplift}: a server costs at least its chips, so at least 1")
    if not np.all((share >= 0) & (share < 1)):
        raise InputError(f"network_share = {share}: expected a share of 0 or more and below 1")
    servers, it_power = n * price * uplift, n * power.rated
    return OwnershipCost(
        capital=annuity(servers, wacc, server_life),
        network=annuity(servers * share / (1 - share), wacc, server_life),
        facility=annuity(it_power * capex, wacc, life),
        energy=electricity_cost(facility_power(n * power.average, pue) * YEAR, electricity_price),
        staff=it_power * rate,
        chip_hours=n * YEAR / HOUR,
    )


def server_uplift(chip: Chip) -> Cost:
    """Published price of a server over the price of its chips: a rack for rack-scale parts, an eight-chip server otherwise."""
    rack = chip.vendor == "NVIDIA" and (chip.scaleup_domain or 1) >= RACK_SCALE
    return catalogue.cost("server_uplift_rack_scale" if rack else "server_uplift_node")


def tokens_per_watt_per_dollar(tokens_per_second: ArrayLike, facility_power: ArrayLike, usd_per_hour: ArrayLike) -> NDArray[np.float64]:
    """Tokens a second over facility watts and dollars an hour: the yield that fleets are said to maximise.

    The product counts power twice, because energy is part of the dollars: read it with tokens a joule and tokens a dollar.

    Parameters
    ----------
    tokens_per_second : array_like
        Output tokens [1/s].
    facility_power : array_like
        Of the same chips [W].
    usd_per_hour : array_like
        Cost of the same chips [USD/h].

    Returns
    -------
    ndarray
        [tokens/s/W/(USD/h)], broadcast.
    """
    watts, dollars = np.asarray(facility_power, dtype=float), np.asarray(usd_per_hour, dtype=float)
    if not np.all((watts > 0) & (dollars > 0)):
        raise InputError(f"facility_power = {facility_power}, usd_per_hour = {usd_per_hour}: both must be above 0")
    return np.asarray(tokens_per_second, dtype=float) / (watts * dollars)
