"""One set of constants for the cost of owning any chip, fitted to the chip-hours that SemiAnalysis publishes; errors of chips left out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from workbench import catalogue
from workbench.energy import ServerPower, server_power
from workbench.energy.server import all_in_ratio
from workbench.fleet.ownership import ownership_cost, server_uplift

#: Names, priors and their spreads (standard deviation of the logarithm): server over chips of an eight-chip server, spares and repair a
#: year over the price of servers and network, discount rate of a neocloud, which pays list prices and dearer capital.
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

    def residuals(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.concatenate([(np.log(_modelled(rows, dict(zip(PRIORS, np.exp(x), strict=True)))) - seen) / SPREAD, (x - middle) / spread])

    # a robust loss: one chip whose price nobody knows well should not move the rest
    found = np.exp(least_squares(residuals, middle, loss="soft_l1").x)
    return dict(zip(PRIORS, map(float, found), strict=True))


def ownership_errors() -> pl.DataFrame:
    """Published and modelled cost of a chip-hour [USD], its error, and the error with the chip left out of the fit [%].

    Returns
    -------
    polars.DataFrame
        chip, owner (hyperscaler or neocloud), usd_per_chip_hour, modelled, error_percent, left_out_error_percent.

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


def _modelled(rows: pl.DataFrame, constants: Mapping[str, float]) -> NDArray[np.float64]:
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
