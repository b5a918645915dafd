"""The formulas that `validation.energy` chooses from: how each kind of published result follows from its inputs."""

# ruff: noqa: E501  (one formula a line)

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from workbench import catalogue
from workbench.catalogue import Chip
from workbench.chips import power as chip_power
from workbench.energy import electricity_cost, facility_power, grid_carbon, power_chain, server_power
from workbench.fleet import annuity, irr, newsvendor, residual_value, servers_needed
from workbench.scaling import training_flop
from workbench.units import DAY, GRAM, HOUR, KWH, TERA, TONNE, YEAR
from workbench.validation.ownership import chip_hours

#: Units of the file in SI and USD.
UNITS = {
    "USD": 1.0, "USD/d": 1.0, "USD/chip-h": 1.0, "USD/GPU-h": 1.0, "USD/Mtok": 1.0, "USD/kWh": 1.0, "MUSD": 1e6, "MUSD/month": 1e6, "BUSD": 1e9, "BUSD/yr": 1e9, "MUSD/MW": 1.0,
    "kWh": KWH, "rate": 1.0, "servers": 1.0, "x": 1.0, "MWh": 1e3 * KWH, "TWh": 1e9 * KWH, "tCO2e": TONNE, "ZFLOP": 1e21, "h": HOUR, "1/yr": 1.0, "kW/GPU": 1e3, "kW": 1e3, "ratio": 1.0, "fraction": 1.0, "%": 0.01,
}  # fmt: skip

Inputs = dict[str, Any]


class Lacking(Exception):
    """What a formula needs is not in the catalogue."""


@dataclass(frozen=True)
class Formula:
    """How one kind of result follows from its inputs."""

    name: str
    needs: tuple[str, ...]  #: inputs without which it does not apply
    says: str  #: words of the quantity or the domain, any of them separated by |
    value: Callable[[Inputs], Any]  #: in SI and USD

    @cached_property
    def said(self) -> list[str]:
        """The words, without regard to case."""
        return self.says.casefold().split("|")


def _training_electricity(x: Inputs) -> Any:
    chip = _epoch_chip(x)
    power = server_power(chip, idle_share=0.0)
    price = catalogue.cost(f"electricity_us_industrial_{x['year']}_usd_per_kwh").value
    return electricity_cost(facility_power(power.average, x["pue"]) * x["chip_hours"] * HOUR, price)


def _training_total(x: Inputs) -> Any:
    share = catalogue.cost("network_capex_share").value
    capital = x["server_capital"] / (1 - share)
    hours = x.get("chip_hours") or _hours_of_compute(x.get("hardware"), x.get("flop"), x.get("mfu"))
    energy = (
        _training_electricity(x | {"chip_hours": hours}) if hours else catalogue.cost("training_energy_share_of_capital").value * capital
    )
    return (capital + energy) * (1 + catalogue.cost("price_index_growth_per_year").value) ** (2024 - x["year"])


def _hours_of_compute(hardware: str | None, flop: float | None, mfu: float | None) -> float | None:
    """Chip-hours [h] that compute takes at its MFU, or at the usual one; None where the peak of the chip is not known."""
    known = catalogue.table("chip_prices").filter(pl.col("hardware") == hardware)
    peak = None if known.is_empty() else known["peak_tflops"][0]
    if not (flop and peak):
        return None
    return float(flop) / (peak * TERA * (mfu or catalogue.cost("training_mfu_epoch").value)) / HOUR


def _amortised(x: Inputs) -> Any:
    price = x["purchase_price"] if x.get("purchase_price") else _value_at_start(x)
    return price * catalogue.cost("price_performance_growth_log10_per_year").value * np.log(10) * HOUR / YEAR


def _value_at_start(x: Inputs) -> Any:
    """Price of a chip's server when training began: its first price, less what newer chips have made of it since.

    Epoch AI has training begin 60 days and its own length before publication, and the first buyer wait 90 days after release.
    """
    run, chip = _run(x["model"]), _priced(x["hardware"])
    if run["start"]:
        start = date.fromisoformat(run["start"])
    else:
        hours = int(run["hours"]) if run["hours"] else catalogue.cost("training_days_median").value * 24
        start = (_midnight(run["date"]) - timedelta(days=60) - timedelta(hours=hours)).date()
    released, priced = date.fromisoformat(chip["release"]), date.fromisoformat(chip["price_date"])
    bought = released if chip["vendor"] == "Google" else max(released + timedelta(days=90), priced)
    uplift = catalogue.cost("server_uplift_epoch").value if chip["basis"] == "chip" else 1.0
    growth = catalogue.cost("price_performance_growth_log10_per_year").value
    age = (start - bought).days / 365.25
    # a TPU may have been used before it was sold, a GPU not
    age = age if chip["vendor"] == "Google" else max(age, 0.0)
    return chip["price_usd"] * uplift * 10 ** (-growth * age) if age < 0 else residual_value(chip["price_usd"] * uplift, age, growth)


def _cost_of_run(x: Inputs) -> Any:
    """Training cost of a run that is known by name: chip-hours as counted, or from compute at the usual MFU."""
    run = _run(x["model"])
    hardware = run["hardware"] or _most_used(run["date"][:4])
    chip = _priced(hardware)
    hours = run["chip_hours"] or (run["n_chips"] or 0) * (run["hours"] or 0)
    hours = hours or _hours_of_compute(hardware, run["training_flop"], run["mfu"])
    if not hours:
        raise Lacking(f"no chip-hours, nor compute and peak, of {x['model']}")
    if chip["tdp_w"] is None:
        raise Lacking(f"no TDP of {hardware}")
    known = {"model": x["model"], "hardware": hardware, "chip_hours": hours, "tdp_w": chip["tdp_w"], "year": int(run["date"][:4])}
    big = re.search("google|deepmind|microsoft|amazon|meta|facebook", (run["organisation"] or "").casefold())
    known["pue"] = catalogue.cost("pue_epoch_hyperscaler" if big else "pue_epoch_other").value
    return _training_total(known | {"server_capital": _amortised(known) * hours})


def _run(model: str) -> dict[str, Any]:
    """The training run of that name, or the first release of a model that was released more than once: GPT-4 (Mar 2023)."""
    runs = catalogue.table("training_runs")
    found = runs.filter(pl.col("model") == model)
    if found.is_empty():
        found = runs.filter(pl.col("model").str.starts_with(f"{model} (")).sort("date")
    if found.is_empty():
        raise Lacking(f"{model} is not among the training runs whose inputs we have read")
    return found.row(0, named=True)


def _priced(hardware: str) -> dict[str, Any]:
    found = catalogue.table("chip_prices").filter(pl.col("hardware") == hardware)
    if found.is_empty():
        raise Lacking(f"no first price of {hardware}")
    return found.row(0, named=True)


def _most_used(year: str) -> str:
    """The GPU most used in the runs of a year, which Epoch AI takes where none is stated; of the last year that has one."""
    runs = catalogue.table("training_runs").filter(pl.col("hardware").is_in(catalogue.table("chip_prices")["hardware"].implode()))
    runs = runs.filter(~pl.col("hardware").str.contains("TPU"), pl.col("date").str.slice(0, 4) <= year)
    if runs.is_empty():
        raise Lacking(f"no GPU is known to have been used by {year}")
    last = runs.filter(pl.col("date").str.slice(0, 4) == runs["date"].str.slice(0, 4).max())
    return str(last["hardware"].mode().sort()[0])


def _midnight(day: str) -> Any:
    from datetime import datetime

    return datetime.fromisoformat(day)


def _chip_hour(x: Inputs, *, neocloud: bool) -> Any:
    chip = catalogue.chip(x["gpu"])
    if chip.price is None:
        raise Lacking(f"no published price of {chip.name}")
    return chip_hours([chip], [neocloud])[0]


def _servers_of_campus(x: Inputs) -> Any:
    return 1e9 * annuity(x["it_capex_fit"], x["rate_fit"], x["it_life"]) * (1 - catalogue.cost("network_capex_share").value)


def _pooled_tenants(x: Inputs) -> Any:
    from scipy.special import ndtr

    mu, sd, z = (float(re.search(rf"{name} ([\d.]+)", x["words"]).group(1)) for name in ("mu", "sd", "z"))  # type: ignore[union-attr]
    return newsvendor([mu, mu], [sd, sd], x["rho"], critical_ratio=ndtr(z)).saved


def _load_factor(x: Inputs) -> Any:
    pairs = re.findall(r"([\d.]+) TWh on ([\d.]+) GW", x["words"])
    return np.mean([float(twh) * 1e3 / (float(gw) * YEAR / HOUR) for twh, gw in pairs])


def _sector(x: Inputs) -> Any:
    """What is published of the electricity of all data centres of a country or the world: looked up, not modelled."""
    words = x["words"]
    year = re.search(r"\b20\d\d\b", words)
    scope = next((place for sign, place in (("US", "United States"), ("World", "global")) if sign in words), None)
    share = "share" in words
    known = catalogue.table("power_projections").filter(
        pl.col("scope") == scope,
        pl.col("year") == int(year[0] if year else 0),
        pl.col("quantity") == ("share" if share else "energy"),
        pl.col("publisher").is_in(["IEA", "LBNL"]),
    )
    if known.is_empty():
        raise Lacking(f"no published figure of {words}")
    row = known.row(0, named=True)
    end = next((row[end] for end in ("low", "high") if end in words), row["value"])
    return end * (0.01 if share else UNITS["TWh"])


def _waiting(x: Inputs) -> Any:
    percent = re.search(r"P\(wait\)\s*<=\s*([\d.]+)\s*%", x["words"])
    if percent is None:
        raise Lacking("the words do not tell how often a request may wait")
    return x["pools"] * servers_needed(x["erlang"], float(percent.group(1)) / 100)


def _peak_share() -> Any:
    """Most that a server of eight H100 draws over its rating."""
    chip = catalogue.chip("H100")
    drawn = power_chain(chip, 1, drawn=chip_power(chip, 1.0, 1.0), cooled_by="air", wet_bulb=10.0).servers
    return drawn / server_power(chip).rated


def _power_bill(x: Inputs) -> Any:
    energy = facility_power(x["gpus"] * x["kw"] * 1e3 * x["util"], x["pue"]) * x["years"] * YEAR
    return electricity_cost(energy, x["usd_kwh"])


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
    Formula("amortised capital", ("model", "hardware"), "amortised server capital", _amortised),
    Formula("training cost", ("server_capital", "year", "tdp_w", "pue"), "training cost", _training_total),
    Formula("training cost of a known run", ("model",), "training cost", _cost_of_run),
    Formula("energy of devices", ("devices", "sys_w", "days", "pue"), "energy", lambda x: facility_power(x["devices"] * x["sys_w"], x["pue"]) * x["days"] * DAY),
    Formula("energy of chip-hours", ("gpu_hours", "watt"), "energy", lambda x: x["gpu_hours"] * HOUR * x["watt"]),
    Formula("energy of a server's life", ("w", "years"), "energy", lambda x: x["w"] * x["years"] * 8760 * HOUR),
    Formula("carbon of chip-hours", ("gpu_hours", "watt", "grid_g_per_kwh"), "CO2|carbon", lambda x: grid_carbon(x["gpu_hours"] * HOUR * x["watt"], x["grid_g_per_kwh"]).kg),
    Formula("carbon of energy", ("MWh", "kg_per_kwh"), "carbon", lambda x: grid_carbon(x["MWh"] * 1e3 * KWH, x["kg_per_kwh"] / GRAM).kg),
    Formula("carbon of energy", ("kwh", "grid_g"), "carbon", lambda x: grid_carbon(x["kwh"] * KWH, x["grid_g"]).kg),
    Formula("training compute", ("N_b", "D_b"), "compute", lambda x: training_flop(x["N_b"] * 1e9, x["D_b"] * 1e9)),
    Formula("price of hours", ("gpu_hours", "usd"), "USD", lambda x: x["gpu_hours"] * x["usd"]),
    Formula("price of hours", ("nodes", "gpus", "usd"), "daily cost", lambda x: x["nodes"] * x["gpus"] * 24 * x["usd"]),
    Formula("revenue of tokens", ("hit", "miss", "out", "p"), "revenue", lambda x: sum(x[k] * p for k, p in zip(("hit", "miss", "out"), x["p"], strict=True)) / 1e6),
    Formula("cost of tokens", ("cost", "out_tokens"), "output tokens", lambda x: x["cost"] / x["out_tokens"] * 1e6),
    Formula("PUE of an overhead", ("share",), "PUE", lambda x: 1 / (1 - x["share"])),
    Formula("annuity", ("capex", "opex", "it_life", "fac_life", "it_capex_fit", "rate_fit"), "annual TCO", _campus),
    Formula("servers of a campus", ("it_life", "it_capex_fit", "rate_fit"), "servers per year", _servers_of_campus),
    Formula("share", ("servers", "tco"), "share", lambda x: x["servers"] / x["tco"]),
    Formula("power bill", ("mw", "load", "pue", "usd"), "power bill", lambda x: electricity_cost(facility_power(x["mw"] * 1e6 * x["load"], x["pue"]) * YEAR / 12, x["usd"])),
    Formula("power bill", ("gpus", "kw", "util", "pue", "usd_kwh", "years"), "power cost", _power_bill),
    Formula("acquisition and power", ("price", "gpus", "kw", "util", "pue", "usd_kwh", "years"), "acquisition", lambda x: x["price"] * x["gpus"] + _power_bill(x)),
    Formula("cost of compute", ("tflops", "util", "price", "gpus", "kw", "pue", "usd_kwh", "years"), "PFLOP-year", lambda x: (x["price"] * x["gpus"] + _power_bill(x)) / (x["gpus"] * x["tflops"] / 1e3 * x["util"] * x["years"])),
    Formula("server electricity", ("kwh", "usd"), "electricity", lambda x: electricity_cost(x["kwh"] * KWH, x["usd"])),
    Formula("capital per megawatt", ("mw", "total"), "per MW", lambda x: x["total"] * 1e3 / x["mw"]),
    Formula("construction", ("mw",), "construction", _construction),
    Formula("facility power of a chip", ("mw", "gpus"), "facility kW", lambda x: x["mw"] * 1e6 / x["gpus"]),
    Formula("cost of a chip-hour, hyperscaler", ("gpu",), "hyperscaler", lambda x: _chip_hour(x, neocloud=False)),
    Formula("cost of a chip-hour, neocloud", ("gpu",), "neocloud", lambda x: _chip_hour(x, neocloud=True)),
    Formula("break-even performance", ("h100", "gb200"), "break-even", lambda x: x["gb200"] / x["h100"]),
    Formula("average server power", ("nameplate_kw",), "measured/nameplate", lambda x: catalogue.cost("server_power_share_gpu").value),
    Formula("oversubscription", ("peak_util",), "oversubscription", lambda x: 1 / x["peak_util"] - 1),
    Formula("peak server power", ("nameplate_kw",), "maximum node power", lambda x: x["nameplate_kw"] * 1e3 * _peak_share()),
    Formula("failures", ("events", "days", "gpus"), "MTBF", lambda x: x["days"] * DAY / x["events"]),
    Formula("failures", ("events", "days", "gpus"), "per GPU-year", lambda x: x["events"] / (x["gpus"] * x["days"] * DAY / YEAR)),
    Formula("failures", ("gpus",), "MTBF", lambda x: YEAR / (x["gpus"] * catalogue.cost("failure_rate_per_chip_year").value)),
    Formula("levelised cost of energy", ("capex", "fcr", "fom", "vom", "kwh"), "LCOE", lambda x: (x["capex"] * x["fcr"] + x["fom"]) / x["kwh"] + x["vom"]),
    Formula("internal rate of return", ("cf",), "IRR", lambda x: irr(x["cf"])),
    Formula("servers of a pool", ("erlang", "pools"), "servers for", _waiting),
    Formula("pooled tenants", ("rho",), "newsvendor", _pooled_tenants),
    Formula("electricity of a sector", (), "US DC|World DC", _sector),
    Formula("load factor", (), "load factor implied by", _load_factor),
    Formula("growth", ("a", "b", "years"), "growth", lambda x: (x["b"] / x["a"]) ** (1 / x["years"]) - 1),
)  # fmt: skip


def _ratio(share: float) -> float:
    return share / (1 - share)


def _epoch_chip(x: Inputs) -> Chip:
    """What decides the power of the server that Epoch AI counted: its kind, and the TDP it used."""
    name = x["hardware"].removeprefix("NVIDIA ").removeprefix("Tesla ").removeprefix("Google ").removeprefix("AMD ")
    kinds = (
        {"H100": "h100", "H200": "h100", "A100": "a100", "V100": "v100"} | {f"TPU v{n}": f"tpu_v{n}" for n in (1, 2, 3)} | {"TPU": "tpu"}
    )
    server = next((kind for sign, kind in kinds.items() if sign in name), "gpu")
    return replace(catalogue.chip("H100"), name=name, server=server, tdp=float(x["tdp_w"]))
