"""One set of constants for the cost of owning any chip, fitted to the chip-hours that SemiAnalysis publishes; errors of chips left out."""

from __future__ import annotations

import numpy as np
import polars as pl

from workbench import catalogue
from workbench.validation.energy_formulas import chip_hour_cost

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
    """The three constants from published chip-hours, by penalised least squares on logarithms."""
    from scipy.optimize import least_squares

    middle = np.log([prior for prior, _ in PRIORS.values()])
    spread = np.array([width for _, width in PRIORS.values()])
    seen = np.log(rows["usd_per_chip_hour"].to_numpy())

    def residuals(x: np.ndarray) -> np.ndarray:
        return np.concatenate([(np.log(predict(rows, dict(zip(PRIORS, np.exp(x), strict=True)))) - seen) / SPREAD, (x - middle) / spread])

    # a robust loss: one chip whose price nobody knows well should not move the rest
    found = np.exp(least_squares(residuals, middle, loss="soft_l1").x)
    return dict(zip(PRIORS, map(float, found), strict=True))


def predict(rows: pl.DataFrame, constants: dict[str, float]) -> np.ndarray:
    """Cost of each row's chip-hour [USD] with given constants."""
    return np.array(
        [
            chip_hour_cost(
                catalogue.chip(chip),
                neocloud=owner == "neocloud",
                uplift=None if _rack_scale(chip) else constants["server_uplift_node"],
                maintenance=constants["maintenance_share_per_year"],
                wacc=constants["wacc_neocloud"] if owner == "neocloud" else None,
            )
            for chip, owner in rows.select("chip", "owner").iter_rows()
        ]
    )


def table() -> pl.DataFrame:
    """Published and modelled cost of a chip-hour [USD], its error, and the error with the chip left out of the fit [%]."""
    rows = published()
    constants = {name: catalogue.cost(name).value for name in PRIORS}
    seen = rows["usd_per_chip_hour"].to_numpy()
    modelled = predict(rows, constants)
    left_out = np.empty(len(seen))
    for chip in rows["chip"].unique():
        mine = (rows["chip"] == chip).to_numpy()
        left_out[mine] = predict(rows.filter(mine), fit(rows.filter(~mine)))
    return rows.with_columns(
        modelled=pl.Series(modelled), error_percent=100 * (modelled / seen - 1), left_out_error_percent=100 * (left_out / seen - 1)
    )


def _rack_scale(chip: str) -> bool:
    from workbench.fleet import server_uplift

    return server_uplift(catalogue.chip(chip)).name == "server_uplift_rack_scale"
