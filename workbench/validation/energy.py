"""Published energy, carbon and cost results against first-order formulas.

A row states its inputs as JSON. The formula is chosen by which inputs it has, and by the words of its `quantity` where inputs alone do not
tell; rows of one `group` share their inputs. Ids and published values play no part.
"""

# ruff: noqa: E501  (one formula a line)

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from workbench import catalogue
from workbench.catalogue import Chip
from workbench.energy import electricity_cost, facility_power, location_carbon, server_power
from workbench.errors import InputError, UnknownName
from workbench.fleet import annuity, ownership_cost, server_uplift
from workbench.scaling import training_flop
from workbench.units import DAY, GRAM, HOUR, KWH, TONNE, YEAR
from workbench.validation.report import Prediction, conformal_half_width

TEXT = ("id", "domain", "quantity", "inputs", "unit", "source", "group")
NUMBERS = ("published", "tol_rel")
MEASURED = ("published", "tol_rel")

#: Below so many cases an interval is no narrower than this: what a handful of exact cases show is not that all are.
FEW, WIDTH_OF_FEW = 5, 0.05

#: Units of the file in SI and USD.
UNITS = {
    "USD": 1.0, "USD/d": 1.0, "USD/chip-h": 1.0, "USD/GPU-h": 1.0, "USD/Mtok": 1.0, "USD/kWh": 1.0, "MUSD": 1e6, "MUSD/month": 1e6, "BUSD": 1e9, "BUSD/yr": 1e9, "MUSD/MW": 1.0,
    "kWh": KWH, "MWh": 1e3 * KWH, "tCO2e": TONNE, "ZFLOP": 1e21, "h": HOUR, "1/yr": 1.0, "kW/GPU": 1e3, "kW": 1e3, "ratio": 1.0, "fraction": 1.0, "%": 0.01,
}  # fmt: skip

Inputs = dict[str, Any]


@dataclass(frozen=True)
class Formula:
    """How one kind of result follows from its inputs."""

    name: str
    needs: tuple[str, ...]  #: inputs without which it does not apply
    says: str  #: words of the quantity or the domain, any of them separated by |
    value: Callable[[Inputs], Any]  #: in SI and USD


def _training_electricity(x: Inputs) -> Any:
    chip = _epoch_chip(x)
    power = server_power(chip, idle_share=0.0)
    price = catalogue.cost(f"electricity_us_industrial_{x['year']}_usd_per_kwh").value / KWH
    return electricity_cost(facility_power(power.average, x["pue"]) * x["chip_hours"] * HOUR, price)


def _training_total(x: Inputs) -> Any:
    share = catalogue.cost("network_capex_share").value
    capital = x["server_capital"] / (1 - share)
    energy = _training_electricity(x) if x.get("chip_hours") else catalogue.cost("training_energy_share_of_capital").value * capital
    return (capital + energy) * (1 + catalogue.cost("price_index_growth_per_year").value) ** (2024 - x["year"])


def _amortised(x: Inputs) -> Any:
    return x["purchase_price"] * catalogue.cost("price_performance_growth_log10_per_year").value * np.log(10) * HOUR / YEAR


def _cost_per_chip_hour(x: Inputs, *, wacc: float, uplift: float | None = None) -> Any:
    chip = catalogue.chip(x["gpu"])
    if chip.price is None:
        raise _Lacking(f"no published price of {chip.name}")
    return ownership_cost(
        n_chips=1,
        chip_price=chip.price,
        power=server_power(chip),
        pue=catalogue.cost("pue_microsoft").value,
        electricity_price=catalogue.cost("electricity_us_industrial_2025_usd_per_kwh").value / KWH,
        wacc=wacc,
        server_life=catalogue.cost("server_life_years").value,
        server_uplift=server_uplift(chip).value if uplift is None else uplift,
    ).per_chip_hour


def _power_bill(x: Inputs) -> Any:
    energy = facility_power(x["gpus"] * x["kw"] * 1e3 * x["util"], x["pue"]) * x["years"] * YEAR
    return electricity_cost(energy, x["usd_kwh"] / KWH)


def _campus(x: Inputs) -> Any:
    it = x["it_capex_fit"]
    return 1e9 * (annuity(it, x["rate_fit"], x["it_life"]) + annuity(x["capex"] - it, x["rate_fit"], x["fac_life"]) + x["opex"])


def _construction(x: Inputs) -> Any:
    if x.get("usd_per_mw"):
        return x["mw"] * x["usd_per_mw"]
    return x["mw"] * 1e6 / catalogue.cost("pue_microsoft").value * catalogue.cost("facility_capex_usd_per_w").value


#: The first formula whose inputs and words fit is the one that holds.
FORMULAS = (
    Formula("training electricity", ("chip_hours", "tdp_w", "year", "pue"), "energy cost", _training_electricity),
    Formula("interconnect capital", ("server_capital",), "interconnect cost", lambda x: x["server_capital"] * _ratio(catalogue.cost("network_capex_share").value)),
    Formula("amortised capital", ("purchase_price",), "amortised server capital", _amortised),
    Formula("training cost", ("server_capital", "year", "tdp_w", "pue"), "training cost", _training_total),
    Formula("energy of devices", ("devices", "sys_w", "days", "pue"), "energy", lambda x: facility_power(x["devices"] * x["sys_w"], x["pue"]) * x["days"] * DAY),
    Formula("energy of chip-hours", ("gpu_hours", "watt"), "energy", lambda x: x["gpu_hours"] * HOUR * x["watt"]),
    Formula("energy of a server's life", ("w", "years"), "energy", lambda x: x["w"] * x["years"] * 8760 * HOUR),
    Formula("carbon of chip-hours", ("gpu_hours", "watt", "grid_g_per_kwh"), "CO2|carbon", lambda x: location_carbon(x["gpu_hours"] * HOUR * x["watt"], x["grid_g_per_kwh"] * GRAM / KWH)),
    Formula("carbon of energy", ("MWh", "kg_per_kwh"), "carbon", lambda x: location_carbon(x["MWh"] * 1e3 * KWH, x["kg_per_kwh"] / KWH)),
    Formula("carbon of energy", ("kwh", "grid_g"), "carbon", lambda x: location_carbon(x["kwh"] * KWH, x["grid_g"] * GRAM / KWH)),
    Formula("training compute", ("N_b", "D_b"), "compute", lambda x: training_flop(x["N_b"] * 1e9, x["D_b"] * 1e9)),
    Formula("price of hours", ("gpu_hours", "usd"), "USD", lambda x: x["gpu_hours"] * x["usd"]),
    Formula("price of hours", ("nodes", "gpus", "usd"), "daily cost", lambda x: x["nodes"] * x["gpus"] * 24 * x["usd"]),
    Formula("revenue of tokens", ("hit", "miss", "out", "p"), "revenue", lambda x: sum(x[k] * p for k, p in zip(("hit", "miss", "out"), x["p"], strict=True)) / 1e6),
    Formula("cost of tokens", ("cost", "out_tokens"), "output tokens", lambda x: x["cost"] / x["out_tokens"] * 1e6),
    Formula("PUE of an overhead", ("share",), "PUE", lambda x: 1 / (1 - x["share"])),
    Formula("annuity", ("capex", "opex", "it_life", "fac_life", "it_capex_fit", "rate_fit"), "annual TCO", _campus),
    Formula("share", ("servers", "tco"), "share", lambda x: x["servers"] / x["tco"]),
    Formula("power bill", ("mw", "load", "pue", "usd"), "power bill", lambda x: electricity_cost(facility_power(x["mw"] * 1e6 * x["load"], x["pue"]) * YEAR / 12, x["usd"] / KWH)),
    Formula("power bill", ("gpus", "kw", "util", "pue", "usd_kwh", "years"), "power cost", _power_bill),
    Formula("acquisition and power", ("price", "gpus", "kw", "util", "pue", "usd_kwh", "years"), "acquisition", lambda x: x["price"] * x["gpus"] + _power_bill(x)),
    Formula("cost of compute", ("tflops", "util", "price", "gpus", "kw", "pue", "usd_kwh", "years"), "PFLOP-year", lambda x: (x["price"] * x["gpus"] + _power_bill(x)) / (x["gpus"] * x["tflops"] / 1e3 * x["util"] * x["years"])),
    Formula("server electricity", ("kwh", "usd"), "electricity", lambda x: electricity_cost(x["kwh"] * KWH, x["usd"] / KWH)),
    Formula("capital per megawatt", ("mw", "total"), "per MW", lambda x: x["total"] * 1e3 / x["mw"]),
    Formula("construction", ("mw",), "construction", _construction),
    Formula("facility power of a chip", ("mw", "gpus"), "facility kW", lambda x: x["mw"] * 1e6 / x["gpus"]),
    Formula("cost of a chip-hour, hyperscaler", ("gpu",), "hyperscaler", lambda x: _cost_per_chip_hour(x, wacc=catalogue.cost("wacc_hyperscaler").value)),
    Formula("cost of a chip-hour, neocloud", ("gpu",), "neocloud", lambda x: _cost_per_chip_hour(x, wacc=catalogue.cost("wacc_hyperscaler").ends[1])),
    Formula("break-even performance", ("h100", "gb200"), "break-even", lambda x: x["gb200"] / x["h100"]),
    Formula("average server power", ("nameplate_kw",), "measured/nameplate", lambda x: catalogue.cost("server_power_share_gpu").value),
    Formula("oversubscription", ("peak_util",), "oversubscription", lambda x: 1 / x["peak_util"] - 1),
    Formula("failures", ("events", "days", "gpus"), "MTBF", lambda x: x["days"] * DAY / x["events"]),
    Formula("failures", ("events", "days", "gpus"), "per GPU-year", lambda x: x["events"] / (x["gpus"] * x["days"] * DAY / YEAR)),
    Formula("failures", ("gpus",), "MTBF", lambda x: YEAR / (x["gpus"] * catalogue.cost("failure_rate_per_chip_year").value)),
    Formula("levelised cost of energy", ("capex", "fcr", "fom", "vom", "kwh"), "LCOE", lambda x: (x["capex"] * x["fcr"] + x["fom"]) / x["kwh"] + x["vom"]),
    Formula("growth", ("a", "b", "years"), "growth", lambda x: (x["b"] / x["a"]) ** (1 / x["years"]) - 1),
)  # fmt: skip


def predict(rows: pl.DataFrame) -> list[Prediction]:
    """One prediction a row, with the 80 % interval of its formula, or the reason why there is none."""
    return [prediction for _, prediction in _predict(rows)]


def measured(row: dict[str, Any], prediction: Prediction) -> tuple[float | None, float | None]:
    """The published value, and the absolute error that the case allows."""
    published = row[prediction.quantity]
    return published, None if published is None or row["tol_rel"] is None else row["tol_rel"] * abs(published)


def _predict(rows: pl.DataFrame) -> list[tuple[str | None, Prediction]]:
    """Name of the formula and prediction of every row."""
    own = [_inputs(text) for text in rows["inputs"]]
    shared: dict[str, Inputs] = {}
    for group, given in zip(rows["group"], own, strict=True):
        if given is not None and group is not None:
            shared[group] = {k: v for k, v in given.items() if v is not None} | shared.get(group, {})
    found: list[tuple[str | None, Prediction]] = []
    for position, (row, given) in enumerate(zip(rows.iter_rows(named=True), own, strict=True)):
        name, value, reason = _value(row, given, shared.get(row["group"], {}))
        low, high = (None, None) if value is None else _interval(str(name), value)
        found.append((name, Prediction(position, "published", value, low, high, reason)))
    return found


def _value(row: dict[str, Any], given: Inputs | None, shared: Inputs) -> tuple[str | None, float | None, str | None]:
    if given is None:
        return None, None, "inputs are not a JSON object"
    words = f"{row['quantity']} {row['domain']}"
    if words.startswith("ERRATUM"):
        return None, None, "an erratum of its source, which a right model must not reproduce"
    if row["unit"] not in UNITS:
        return None, None, f"no first-order formula gives {row['unit']}"
    inputs = shared | {k: v for k, v in given.items() if v is not None}
    heard = {f: max((len(word) for word in f.says.split("|") if word.casefold() in words.casefold()), default=0) for f in FORMULAS}
    spoken = sorted((f for f in FORMULAS if heard[f]), key=lambda f: -heard[f])  # the longest words say most
    formula = next((f for f in spoken if given and set(f.needs) <= set(inputs) and set(f.needs) & set(given | shared)), None)
    if formula is None:
        if spoken and given:
            return None, None, f"the inputs do not tell {', '.join(n for n in spoken[0].needs if n not in inputs)}"
        return None, None, f"no first-order formula for: {row['domain']}" if given else "its inputs are not stated"
    try:
        return formula.name, float(formula.value(inputs)) / UNITS[row["unit"]], None
    except (_Lacking, UnknownName) as error:
        return None, None, str(error)


def calibrate(rows: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """The table ``energy``: width of the 80 % interval of each formula, from how far published cases lie from its predictions.

    Parameters
    ----------
    rows : polars.DataFrame
        As `report.read` returns it, with the column published.

    Returns
    -------
    dict of str to polars.DataFrame
        formula, half_width (of the logarithm of published over predicted), rows, median_error_percent, coverage (leave one out; null
        below three cases).
    """
    ratios: dict[str, list[float]] = {}
    for (name, p), published in zip(_predict(rows.drop("published", "tol_rel")), rows["published"], strict=True):
        if name is not None and p.value and published:
            ratios.setdefault(name, []).append(float(np.log(published / p.value)))
    table = []
    for name, logs in ratios.items():
        rest = [(x, logs[:i] + logs[i + 1 :]) for i, x in enumerate(logs)]
        table.append(
            {
                "formula": name,
                "half_width": max(conformal_half_width(logs), 1e-6 if len(logs) >= FEW else WIDTH_OF_FEW),
                "rows": len(logs),
                "median_error_percent": 100 * float(np.median(np.abs(np.expm1(-np.asarray(logs))))),
                "coverage": float(np.mean([abs(x) <= conformal_half_width(others) + 1e-12 for x, others in rest]))
                if len(logs) > 2
                else None,
            }
        )
    return {"energy": pl.DataFrame(table).sort("formula")}


def constants(rows: pl.DataFrame) -> dict[str, tuple[float, float, float]]:
    """The three constants of the table of costs that rest on these cases: value, and the ends of their bands.

    Two come from the training runs of Epoch AI that state chip-hours: the growth of prices by which it inflates (least squares on the
    logarithm of inflated over not inflated total, through the origin; ends: one run left out) and energy over capital (median; ends: 10 %
    and 90 % points). The price of an eight-chip server over its chips is the one at which owning an H100 costs what SemiAnalysis says; one
    case cannot give it a band (nan).

    Parameters
    ----------
    rows : polars.DataFrame
        As `report.read` returns it, with the column published.
    """
    runs: dict[str, dict[str, float]] = {}
    uplift = np.nan
    for row, x in zip(rows.iter_rows(named=True), map(_inputs, rows["inputs"]), strict=True):
        if x and str(x.get("gpu")).casefold() == "h100" and "hyperscaler" in row["quantity"]:
            uplift = _uplift(row["published"])
        if x and "model" in x:
            run = runs.setdefault(x["model"], {})
            if row["domain"] == "epoch_energy":
                run["energy"] = row["published"]
            elif "interconnect" in row["quantity"]:
                run |= {"capital": x["server_capital"] + row["published"], "years": 2024.0 - x["year"]}
            elif "training cost" in row["quantity"]:
                run["total"] = row["published"]
    known = [run for run in runs.values() if {"energy", "capital", "total"} <= set(run)]
    if len(known) < FEW:
        raise InputError(f"{len(known)} runs state energy, capital and total: at least {FEW} are needed")
    years = np.array([run["years"] for run in known])
    grown = np.log([run["total"] / (run["capital"] + run["energy"]) for run in known])
    without = (years @ grown - years * grown) / (years @ years - years * years)
    share = np.array([run["energy"] / run["capital"] for run in known])
    low, middle, high = np.quantile(share, [0.1, 0.5, 0.9])
    growth = np.expm1([years @ grown / (years @ years), without.min(), without.max()])
    return {
        "price_index_growth_per_year": (float(growth[0]), float(growth[1]), float(growth[2])),
        "training_energy_share_of_capital": (float(middle), float(low), float(high)),
        "server_uplift_node": (uplift, np.nan, np.nan),
    }


def _uplift(published: float) -> float:
    """Cost is linear in the price of the server: two evaluations give the price that it takes."""
    wacc = catalogue.cost("wacc_hyperscaler").value
    at_1, at_2 = (float(_cost_per_chip_hour({"gpu": "H100"}, wacc=wacc, uplift=u)) for u in (1.0, 2.0))
    return 1 + (published - at_1) / (at_2 - at_1)


class _Lacking(Exception):
    """What a formula needs is not in the catalogue."""


def _interval(formula: str, value: float) -> tuple[float | None, float | None]:
    table = catalogue.table("calibration/energy")
    width = table.filter(pl.col("formula") == formula)["half_width"]
    if width.is_empty():
        return None, None
    ends = sorted((value * float(np.exp(-width[0])), value * float(np.exp(width[0]))))
    return ends[0], ends[1]


def _inputs(text: str | None) -> Inputs | None:
    try:
        found = json.loads(text or "")
    except json.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None


def _ratio(share: float) -> float:
    return share / (1 - share)


def _epoch_chip(x: Inputs) -> Chip:
    """What decides the power of the server that Epoch AI counted: generation, vendor, and the TDP it used."""
    name = x["hardware"].removeprefix("NVIDIA ").removeprefix("Tesla ").removeprefix("Google ").removeprefix("AMD ")
    generation = next((g for g in ("H100", "H200", "A100", "V100") if g in name), name)
    vendor = "Google" if "TPU" in name else "other"
    return replace(catalogue.chip("H100"), name=generation, vendor=vendor, tdp=float(x["tdp_w"]), scaleup_domain=None)
