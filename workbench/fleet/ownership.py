"""Cost of ownership of a fleet: capital, network, facility, energy and staff, a year and a chip-hour."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from workbench import catalogue
from workbench.arrays import broadcast
from workbench.catalogue import Chip, Cost
from workbench.checks import NOT_NEGATIVE, POSITIVE, PUE, SHARE, Rule, takes
from workbench.energy import ServerPower, electricity_cost, facility_power
from workbench.energy.server import RACK_SCALE
from workbench.fleet.finance import LIFE, USED, YEARLY, annuity
from workbench.units import HOUR, KWH, PETA, YEAR

#: What a fleet costs, in the order of a bill.
PARTS = ("capital", "network", "facility", "energy", "maintenance", "staff")
#: What the arguments of `ownership_cost` may be. A year's electricity above 100 USD/kWh is a price in USD/kWh taken for one in USD/J.
RULES = {
    "n_chips": POSITIVE, "chip_price": NOT_NEGATIVE, "power.rated": NOT_NEGATIVE, "power.average": NOT_NEGATIVE, "pue": PUE,
    "electricity_price": Rule(least=0.0, most=100 / KWH, unit="USD/J", why="USD a kWh over units.KWH"), "wacc": YEARLY,
    "server_life": LIFE, "server_uplift": Rule(least=1.0, why="a server costs at least its chips"),
    "network_share": Rule(least=0.0, below=1.0), "facility_capex": NOT_NEGATIVE, "facility_life": LIFE, "operations": NOT_NEGATIVE,
    "maintenance": NOT_NEGATIVE, "salvage": SHARE, "availability": USED,
}  # fmt: skip


@dataclass(frozen=True)
class OwnershipCost:
    """Cost of ownership [USD a year], whole fleet; arrays broadcast over the arguments of `ownership_cost`."""

    capital: NDArray[np.float64]  #: servers with their chips, as an annuity
    network: NDArray[np.float64]  #: scale-out network, as an annuity
    facility: NDArray[np.float64]  #: building, power and cooling, as an annuity
    energy: NDArray[np.float64]  #: electricity
    maintenance: NDArray[np.float64]  #: spares and repair of servers and network
    staff: NDArray[np.float64]  #: staff and what else it takes to operate
    chip_hours: NDArray[np.float64]  #: chip-hours available a year, whether used or not [h]

    @property
    def per_year(self) -> NDArray[np.float64]:
        """All parts together [USD a year]."""
        return self.capital + self.network + self.facility + self.energy + self.maintenance + self.staff

    @property
    def per_chip_hour(self) -> NDArray[np.float64]:
        """All parts together [USD a chip-hour available]."""
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
    maintenance: ArrayLike | None = None,
    salvage: ArrayLike = 0.0,
    availability: ArrayLike = 1.0,
) -> OwnershipCost:
    """What a fleet costs its owner a year.

    capital = annuity(servers (1 - salvage / (1 + wacc)^life), wacc, server_life) with servers = n price uplift; network likewise on
    servers share / (1 - share); facility = annuity(n rated power capex, wacc, facility_life); energy = n average power PUE hours price;
    maintenance = rate (servers + network); staff = n rated power rate

    Taxes are left out. Where an optional argument is not given, the catalogue's constant holds.

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
        [USD/J], 0 or more: what a year's energy costs on average, not a spot price; ``price_usd_per_kwh / units.KWH``.
    wacc : array_like
        Weighted average cost of capital a year, above -1 and at most 10.
    server_life, facility_life : array_like
        Economic life, not book life [years], at most 1,000.
    server_uplift : array_like
        Price of a server over the price of its chips, at least 1; `server_uplift` gives the published one.
    network_share : array_like, optional
        Share of the scale-out network in the capital of servers and network, below 1.
    facility_capex : array_like, optional
        Building, power and cooling [USD/W of rated IT power].
    operations : array_like, optional
        Staff and other operating cost but energy [USD/W of rated IT power and year].
    maintenance : array_like, optional
        Spares and repair a year over the price of servers and network.
    salvage : array_like
        Share of the price of servers that selling them at the end of their life brings, 0 to 1.
    availability : array_like
        Share of the hours in which a chip is not in repair, above 0 and at most 1.

    Returns
    -------
    OwnershipCost

    Raises
    ------
    InputError
        For no chips, a negative price or life, an uplift below 1, shares outside [0, 1], a WACC of -100 % or less, a PUE below 1, and
        arrays that do not broadcast.

    References
    ----------
    .. [1] Barroso, Hoelzle, Ranganathan (2018), "The Datacenter as a Computer", chapter 6.
    .. [2] Epoch AI (2026), AI datacenter cost breakdown: 8.5 bn USD a year for 1 GW.
    """
    given = {
        "n_chips": n_chips, "chip_price": chip_price, "power.rated": power.rated, "power.average": power.average, "pue": pue,
        "electricity_price": electricity_price, "wacc": wacc, "server_life": server_life, "server_uplift": server_uplift,
        "salvage": salvage, "availability": availability,
    } | {
        name: catalogue.cost(row).value if value is None else value
        for name, value, row in (
            ("network_share", network_share, "network_capex_share"),
            ("facility_capex", facility_capex, "facility_capex_usd_per_w"),
            ("facility_life", facility_life, "facility_life_years"),
            ("operations", operations, "operations_usd_per_w_year"),
            ("maintenance", maintenance, "maintenance_share_per_year"),
        )
    }  # fmt: skip
    v = {name: RULES[name](name, value) for name, value in given.items()}
    broadcast(**v)
    n, interest, part, life = v["n_chips"], v["wacc"], v["network_share"], v["server_life"]
    servers, it_power = n * v["chip_price"] * v["server_uplift"], n * v["power.rated"]
    network = servers * part / (1 - part)
    sold = v["salvage"] * (1 + interest) ** -life
    return OwnershipCost(
        capital=annuity(servers * (1 - sold), interest, life),
        network=annuity(network, interest, life),
        facility=annuity(it_power * v["facility_capex"], interest, v["facility_life"]),
        energy=electricity_cost(facility_power(n * v["power.average"], v["pue"]) * YEAR, v["electricity_price"]),
        maintenance=(servers + network) * v["maintenance"],
        staff=it_power * v["operations"],
        chip_hours=n * YEAR / HOUR * v["availability"],
    )


def server_uplift(chip: Chip) -> Cost:
    """Published price of a server over the price of its chips: a rack for rack-scale parts, an eight-chip server otherwise."""
    rack = chip.vendor == "NVIDIA" and (chip.scaleup_domain or 1) >= RACK_SCALE
    return catalogue.cost("server_uplift_rack_scale" if rack else "server_uplift_node")


@takes(per_chip_hour=NOT_NEGATIVE, peak=POSITIVE, mfu=USED, goodput=USED)
def per_pflop_hour(per_chip_hour: ArrayLike, peak: ArrayLike, mfu: ArrayLike, goodput: ArrayLike = 1.0) -> NDArray[np.float64]:
    """Cost of 10^15 FLOP/s of useful arithmetic for an hour [USD].

    per_chip_hour / (peak mfu goodput / 10^15), with `peak` [FLOP/s] and `goodput` the share of the time that makes progress
    """
    return np.divide(np.multiply(per_chip_hour, PETA), np.multiply(peak, mfu) * goodput)


@takes(per_chip_hour=NOT_NEGATIVE, tokens_per_second=POSITIVE, utilisation=USED)
def per_million_tokens(per_chip_hour: ArrayLike, tokens_per_second: ArrayLike, utilisation: ArrayLike = 1.0) -> NDArray[np.float64]:
    """Cost of a million tokens [USD] at `tokens_per_second` a chip while it works, which is the share `utilisation` of its hours."""
    return np.divide(per_chip_hour, np.multiply(tokens_per_second, utilisation) * HOUR) * 1e6


@takes(own_per_chip_hour=NOT_NEGATIVE, rent_per_chip_hour=POSITIVE, utilisation=USED)
def rent_or_own(
    own_per_chip_hour: ArrayLike, rent_per_chip_hour: ArrayLike, utilisation: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Cost of a useful chip-hour of one's own over renting it by the hour, and the utilisation from which owning is cheaper.

    An owned hour is paid whether used or not, a rented one only when used: own / utilisation against rent, break-even own / rent.

    Parameters
    ----------
    own_per_chip_hour, rent_per_chip_hour : array_like
        [USD]; a committed rent is an owned hour in this sense.
    utilisation : array_like
        Share of owned hours that are used, above 0 and at most 1.

    Returns
    -------
    (ratio, break_even) : ndarrays
        `ratio` below 1 where owning is cheaper; `break_even` above 1 where renting always is.
    """
    own, rent, used = map(np.asarray, (own_per_chip_hour, rent_per_chip_hour, utilisation))
    return own / (used * rent), own / rent * np.ones_like(used)


@takes(tokens_per_second=NOT_NEGATIVE, facility_power=POSITIVE, usd_per_hour=POSITIVE)
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
    return np.divide(tokens_per_second, np.multiply(facility_power, usd_per_hour))
