"""Cost of ownership of a fleet: capital, network, facility, energy and staff, a year and a chip-hour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from workbench import catalogue
from workbench.arrays import Array, ArrayLike, Arrays, broadcast
from workbench.catalogue import Chip, Cost
from workbench.checks import ELECTRICITY, LIFE_YEARS, NOT_NEGATIVE, POSITIVE, PUE, SHARE, Rule, takes
from workbench.energy import ServerPower, server_power
from workbench.energy.server import all_in_ratio
from workbench.errors import InputError
from workbench.fleet.finance import USED, YEARLY, annuity
from workbench.units import HOUR, KWH, YEAR

#: What a fleet costs, in the order of a bill.
PARTS = ("capital", "network", "facility", "energy", "maintenance", "staff")
PER_WATT = Rule(least=0.0, most=1e3, unit="USD/W")
#: What the arguments of `ownership_cost` may be.
RULES = {
    "n_chips": POSITIVE, "chip_price": NOT_NEGATIVE, "power.rated": NOT_NEGATIVE, "power.average": NOT_NEGATIVE, "pue": PUE,
    "electricity_usd_per_kwh": replace(ELECTRICITY, least=0.0), "wacc": YEARLY, "server_life_years": LIFE_YEARS,
    "server_uplift": Rule(least=1.0, why="a server costs at least its chips"), "network_share": Rule(least=0.0, below=1.0),
    "facility_capex_usd_per_w": PER_WATT, "facility_life_years": LIFE_YEARS, "operations_usd_per_w_year": PER_WATT,
    "maintenance": NOT_NEGATIVE, "salvage": SHARE, "availability": USED,
}  # fmt: skip
#: Rows of the catalogue that hold where an argument is not given; others are called as the argument.
PUBLISHED = {
    "pue": "pue_microsoft", "electricity_usd_per_kwh": "electricity_us_industrial_2025_usd_per_kwh", "wacc": "wacc_hyperscaler",
    "network_share": "network_capex_share", "maintenance": "maintenance_share_per_year",
}  # fmt: skip


@dataclass(frozen=True, repr=False)
class OwnershipCost(Arrays):
    """Cost of ownership [USD per year], whole fleet; arrays broadcast over the arguments of `ownership_cost`."""

    capital: Array  #: servers with their chips, as an annuity [USD per year]
    network: Array  #: scale-out network, as an annuity [USD per year]
    facility: Array  #: building, power and cooling, as an annuity [USD per year]
    energy: Array  #: electricity [USD per year]
    maintenance: Array  #: spares and repair of servers and network [USD per year]
    staff: Array  #: staff and what else it takes to operate [USD per year]
    chip_hours: Array  #: chip-hours available per year, whether used or not [h]

    @property
    def per_year(self) -> Array:
        """All parts together [USD per year]."""
        return self.capital + self.network + self.facility + self.energy + self.maintenance + self.staff

    @property
    def per_chip_hour(self) -> Array:
        """All parts together [USD per chip-hour available]."""
        return self.per_year / self.chip_hours

    def frame(self) -> pl.DataFrame:
        """One row a part and case: case, part, usd_per_year, usd_per_chip_hour, share."""
        cases, usd = super().frame().with_row_index("case").cast({"case": pl.Int64}), pl.col("usd_per_year")
        long = cases.unpivot(PARTS, index=["case", "chip_hours"], variable_name="part", value_name="usd_per_year")
        return long.sort("case", maintain_order=True).select(
            "case", "part", "usd_per_year", usd_per_chip_hour=usd / pl.col("chip_hours"), share=usd / usd.sum().over("case")
        )


@takes()
def ownership_cost(
    chip: str | Chip | None = None, *, n_chips: ArrayLike = 1.0, chip_price: ArrayLike | None = None, power: ServerPower | None = None,
    pue: ArrayLike | None = None, electricity_usd_per_kwh: ArrayLike | None = None, wacc: ArrayLike | None = None,
    server_life_years: ArrayLike | None = None, server_uplift: ArrayLike | None = None, network_share: ArrayLike | None = None,
    facility_capex_usd_per_w: ArrayLike | None = None, facility_life_years: ArrayLike | None = None,
    operations_usd_per_w_year: ArrayLike | None = None, maintenance: ArrayLike | None = None, salvage: ArrayLike = 0.0,
    availability: ArrayLike = 1.0,
) -> OwnershipCost:  # fmt: skip
    """What a fleet costs its owner per year.

    capital = annuity(servers (1 - salvage / (1 + wacc)^life), wacc, server_life) with servers = n price uplift; network likewise on
    servers share / (1 - share); facility = annuity(n rated power capex, wacc, facility_life); energy = n average power PUE hours price;
    maintenance = rate (servers + network); staff = n rated power rate

    Taxes are left out. Where an argument is not given, the catalogue's constant holds: that of `chip`, of a hyperscaler, of US industry.

    Parameters
    ----------
    chip : str or Chip, optional
        Gives its price, its power at work with its share of server and network, and the price of its server where none are given.
    n_chips, chip_price : array_like
        [chips], [USD]
    power : ServerPower, optional
        A chip with its share of the server.
    pue, electricity_usd_per_kwh, wacc : array_like, optional
        Power usage effectiveness; mean price over a year, not a spot price, 0 to 10; cost of capital per year, -1 to 1.
    server_life_years, facility_life_years : array_like, optional
        Economic life, not book life, at most 100.
    server_uplift, network_share : array_like, optional
        Price of a server over that of its chips, at least 1; share of the scale-out network in the capital of both, below 1.
    facility_capex_usd_per_w, operations_usd_per_w_year : array_like, optional
        Building, power and cooling; staff and other operating cost but energy, both of rated IT power.
    maintenance, salvage, availability : array_like
        Spares and repair per year, and what servers sell for at the end of their life, over their price (maintenance also of the network);
        share of the hours in which a chip is not in repair, above 0.

    Raises `InputError` for a chip without a published price, where none is given. The form is that of Barroso, Hoelzle, Ranganathan (2018),
    "The Datacenter as a Computer", chapter 6, and of Epoch AI (2026), AI datacenter cost breakdown.

    Examples
    --------
    >>> ownership_cost("GB300", electricity_usd_per_kwh=[0.05, 0.08]).per_chip_hour.round(3)
    array([2.303, 2.351])
    """
    given = {
        "pue": pue, "electricity_usd_per_kwh": electricity_usd_per_kwh, "wacc": wacc, "server_life_years": server_life_years,
        "network_share": network_share, "facility_capex_usd_per_w": facility_capex_usd_per_w, "facility_life_years": facility_life_years,
        "operations_usd_per_w_year": operations_usd_per_w_year, "maintenance": maintenance,
    }  # fmt: skip
    given = {name: catalogue.cost(PUBLISHED.get(name, name)).value if value is None else value for name, value in given.items()}
    given |= {"n_chips": n_chips, "salvage": salvage, "availability": availability} | _of_chip(chip, chip_price, power, server_uplift)
    v = {name: rule(name, given[name]) for name, rule in RULES.items()}
    broadcast(**v)
    n, interest, part, life = v["n_chips"], v["wacc"], v["network_share"], v["server_life_years"]
    servers, it_power = n * v["chip_price"] * v["server_uplift"], n * v["power.rated"]
    network = servers * part / (1 - part)
    sold = v["salvage"] * (1 + interest) ** -life
    return OwnershipCost(
        capital=annuity(servers * (1 - sold), interest, life), network=annuity(network, interest, life),
        facility=annuity(it_power * v["facility_capex_usd_per_w"], interest, v["facility_life_years"]),
        energy=n * v["power.average"] * v["pue"] * YEAR * (v["electricity_usd_per_kwh"] / KWH),
        maintenance=(servers + network) * v["maintenance"], staff=it_power * v["operations_usd_per_w_year"],
        chip_hours=n * YEAR / HOUR * v["availability"],
    )  # fmt: skip


def _of_chip(chip: str | Chip | None, price: ArrayLike | None, power: ServerPower | None, uplift: ArrayLike | None) -> dict[str, Any]:
    """What depends on the chip, from the catalogue where it is not given."""
    if chip is not None:
        chip = catalogue.chip(chip)
        price = price_of(chip).value if price is None else price
        power = server_power(chip, ratio=all_in_ratio(chip).value) if power is None else power
        uplift = server_uplift(chip).value if uplift is None else uplift
    for name, value in (("chip_price", price), ("power", power), ("server_uplift", uplift)):
        if value is None:
            raise InputError(f"{name} = None: give it, or the chip")
    assert power is not None
    return {"chip_price": price, "power.rated": power.rated, "power.average": power.average, "server_uplift": uplift}


def price_of(chip: Chip) -> Cost:
    """Published price of a chip with its band. Raises `InputError` for one that has none, and names those that have."""
    if chip.price is None:
        priced = [n for n in catalogue.names("chips") if catalogue.chip(n).price is not None]
        raise InputError(f"{chip.name} has no published price: give chip_price. Chips with one: {', '.join(priced)}")
    source = next((part for part in chip.source.split(" | ") if "price" in part), chip.source)
    return Cost("chip_price", chip.price, chip.price_low, chip.price_high, "USD", f"price of one {chip.name}", source, chip.note)


def server_uplift(chip: str | Chip) -> Cost:
    """Published price of a server over the price of its chips: a rack for rack-scale parts, an eight-chip server otherwise."""
    return catalogue.cost("server_uplift_rack_scale" if catalogue.chip(chip).server == "rack_scale" else "server_uplift_node")


#: Names, priors and their spreads (standard deviation of the logarithm): server over chips of an eight-chip server, spares and repair a
#: year over the price of servers and network, discount rate of a neocloud, which pays list prices and more for capital.
PRIORS = {"server_uplift_node": (1.2, 0.1), "maintenance_share_per_year": (0.02, 0.5), "wacc_neocloud": (0.12, 0.3)}
SPREAD = 0.1  #: of published costs about any first-order bill


def published() -> pl.DataFrame:
    """Chip-hours of SemiAnalysis for chips with a published price: chip, owner, usd_per_chip_hour."""
    rows = []
    for name in catalogue.names("costs"):
        if name.startswith("tco_"):
            owner, chip = name.removeprefix("tco_").removesuffix("_usd_per_chip_hour").split("_", 1)
            found = catalogue.chip(catalogue.key_of("chips", chip))
            if found.price is not None:
                rows.append({"chip": found.name, "owner": owner, "usd_per_chip_hour": catalogue.cost(name).value})
    return pl.DataFrame(rows)


def fit(rows: pl.DataFrame) -> dict[str, float]:
    """The three constants from published chip-hours, by penalised least squares on logarithms with a robust loss."""
    from scipy.optimize import least_squares

    middle = np.log([prior for prior, _ in PRIORS.values()])
    spread = np.array([width for _, width in PRIORS.values()])
    seen = np.log(rows["usd_per_chip_hour"].to_numpy())

    def residuals(x: Array) -> Array:
        return np.concatenate([(np.log(_modelled(rows, dict(zip(PRIORS, np.exp(x), strict=True)))) - seen) / SPREAD, (x - middle) / spread])

    # a robust loss: one chip whose price nobody knows well should not move the rest
    found = np.exp(least_squares(residuals, middle, loss="soft_l1").x)
    return dict(zip(PRIORS, map(float, found), strict=True))


def ownership_errors() -> pl.DataFrame:
    """Published and modelled cost per chip-hour [USD], its error, and the error with the chip left out of the fit [%].

    A frame of chip, owner (hyperscaler or neocloud), usd_per_chip_hour, modelled, error_percent, left_out_error_percent.

    Examples
    --------
    >>> ownership_errors().row(0, named=True)["owner"]
    'hyperscaler'
    """
    rows = published()
    seen = rows["usd_per_chip_hour"].to_numpy()
    modelled = _modelled(rows, {})
    left_out = np.empty(len(seen))
    for chip in rows["chip"].unique():
        mine = (rows["chip"] == chip).to_numpy()
        left_out[mine] = _modelled(rows.filter(mine), fit(rows.filter(~mine)))
    return rows.with_columns(
        modelled=pl.Series(modelled), error_percent=100 * (modelled / seen - 1), left_out_error_percent=100 * (left_out / seen - 1)
    )


def _modelled(rows: pl.DataFrame, constants: Mapping[str, float]) -> Array:
    """Cost of owning the chips for an hour [USD]: one set of constants for all; owners differ in the discount rate alone."""
    known = {name: constants.get(name, catalogue.cost(name).value) for name in PRIORS}
    chips = [catalogue.chip(name) for name in rows["chip"]]
    drawn = [server_power(chip, ratio=all_in_ratio(chip).value) for chip in chips]
    uplifts = [server_uplift(chip) for chip in chips]
    return ownership_cost(
        chip_price=np.array([chip.price for chip in chips], dtype=float),
        power=ServerPower(np.array([d.rated for d in drawn]), np.array([d.average for d in drawn])),
        wacc=np.where(rows["owner"] == "neocloud", known["wacc_neocloud"], catalogue.cost("wacc_hyperscaler").value),
        server_uplift=np.array([known.get(u.name, u.value) for u in uplifts]),
        maintenance=known["maintenance_share_per_year"],
    ).per_chip_hour
