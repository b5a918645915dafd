"""Vintages: what a chip is worth as newer ones come, and what training runs of the past took of that."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl

from workbench import catalogue
from workbench.arrays import Arrays
from workbench.catalogue import cost
from workbench.checks import Rule, takes
from workbench.energy.server import busy_share_of
from workbench.errors import InputError, UnknownName
from workbench.units import HOUR, KWH, TERA, YEAR

#: What a run may be told by: columns of the table ``training_runs``.
NUMBERS = ("training_flop", "n_chips", "hours", "chip_hours", "mfu")
TEXTS = ("date", "organisation", "hardware", "start")
#: Organisations whose sites Epoch AI counts as those of a hyperscaler.
HYPERSCALERS = ("google", "deepmind", "microsoft", "amazon", "meta", "facebook")
TO_PUBLICATION, TO_FIRST_BUYER = timedelta(days=60), timedelta(days=90)  #: from the end of training; from the release of a chip
BASE_YEAR = 2024  #: whose money the total is in


def price_decline() -> float:
    """Decline per year, continuous, of the price of the same work, as Epoch AI counts it."""
    return float(cost("price_performance_growth_log10_per_year").value * np.log(10))


@dataclass(frozen=True, repr=False)
class TrainingCost(Arrays):
    """Cost of one training run [USD]."""

    servers: float  #: amortised over the run, in money of its time
    network: float  #: scale-out network, likewise
    energy: float  #: electricity, in money of its time
    total: float  #: all of it, in money of 2024


@takes()
def training_cost(run: str | None = None, *, servers: float | None = None, **told: Any) -> TrainingCost:
    """What a training run cost its developer, by the method of Epoch AI.

    servers = chip-hours x price at the start x yearly decline / 8766 h; network = servers x share / (1 - share); energy = chip-hours x TDP
    x server ratio x busy share x PUE x price; total = (servers + network + energy) (1 + inflation)^(2024 - year). Unknown chip-hours
    follow from the compute at the usual MFU; unknown hardware is the GPU most used in runs of that year.

    Parameters
    ----------
    run : str, optional
        Name of a model of the table ``training_runs``; of one that was released more than once, the first release.
    servers : float, optional
        Amortised cost of the servers, where it is known [USD].
    **told
        Columns of ``training_runs`` that replace the run's own, or are given without a run; hardware is of the table ``chip_prices``.

    Raises `UnknownName` for a run, a column or hardware that the tables do not have, `InputError` for numbers out of range, no date, and a
    run that states too little. Source: Cottier et al. (2024), arXiv:2405.21015; code at epoch-research/training-cost-trends.

    Examples
    --------
    >>> round(training_cost("Llama 3.1-405B").total / 1e6, 1)  # published: 51.0
    51.3
    >>> mine = training_cost(date="2025-03-01", hardware="NVIDIA H100 SXM5 80GB", training_flop=1e25, mfu=0.4)
    >>> round(mine.servers / 1e6, 1), round(mine.energy / 1e6, 1)
    (6.1, 0.7)
    """
    if unknown := told.keys() - {*NUMBERS, *TEXTS}:
        raise UnknownName("fact of a training run", sorted(unknown)[0], [*NUMBERS, *TEXTS])
    facts = dict.fromkeys((*NUMBERS, *TEXTS)) | (_known(run) if run is not None else {}) | told
    for name, value in {**{name: facts[name] for name in NUMBERS}, "servers": servers}.items():
        if value is not None:
            Rule(least=0.0, most=1.0 if name == "mfu" else np.inf, one=True)(name, value)
    day = _day("date", facts["date"])
    hardware = facts["hardware"] or _most_used(day.year)
    hours = facts["chip_hours"] or (facts["n_chips"] or 0) * (facts["hours"] or 0) or _hours_of_compute(hardware, facts)
    if servers is None:
        if not hours:
            raise InputError(f"{run or 'training_cost'}: no chip-hours, nor compute and a chip whose peak is known")
        servers = _price_at_start(_chip(hardware), facts, day) * price_decline() * HOUR / YEAR * hours
    share = cost("network_capex_share").value
    capital = servers / (1 - share)
    energy = _electricity(_chip(hardware), hours, day.year, facts) if hours else cost("training_energy_share_of_capital").value * capital
    inflated = (1 + cost("price_index_growth_per_year").value) ** (BASE_YEAR - day.year)
    return TrainingCost(float(servers), float(capital - servers), float(energy), float((capital + energy) * inflated))


def _electricity(chip: dict[str, Any], hours: float, year: int, facts: dict[str, Any]) -> float:
    """Electricity of busy servers [USD], at the price of industry in that year."""
    if chip["tdp_w"] is None:
        raise InputError(f"no TDP of {chip['hardware']} (column tdp_w of chip_prices)")
    server = chip["server"] or "gpu"
    maker = (facts["organisation"] or "").casefold()
    pue = cost("pue_epoch_hyperscaler" if any(name in maker for name in HYPERSCALERS) else "pue_epoch_other").value
    power = chip["tdp_w"] * cost(f"server_power_ratio_{server}").value * busy_share_of(server) * pue
    return float(power * hours * HOUR / KWH * cost(f"electricity_us_industrial_{year}_usd_per_kwh").value)


def _price_at_start(chip: dict[str, Any], facts: dict[str, Any], published: date) -> float:
    """Price of a chip's server when training began [USD]: its first price, less what newer chips have made of it since."""
    length = int(facts["hours"]) if facts["hours"] else cost("training_days_median").value * 24
    start = _day("start", facts["start"]) if facts["start"] else published - TO_PUBLICATION - timedelta(days=np.ceil(length / 24))
    released, priced = date.fromisoformat(chip["release"]), date.fromisoformat(chip["price_date"])
    own = chip["vendor"] == "Google"  # a TPU may have been used before it was sold, a GPU not
    bought = released if own else max(released + TO_FIRST_BUYER, priced)
    age = (start - bought).days / 365.25
    price = chip["price_usd"] * (cost("server_uplift_epoch").value if chip["basis"] == "chip" else 1.0)
    # the price at which a chip of an age is as good a buy as a new one (Cottier et al., section 2.2)
    return float(price * np.exp(-price_decline() * (age if own else max(age, 0.0))))


def _hours_of_compute(hardware: str, facts: dict[str, Any]) -> float:
    """Chip-hours that compute takes at its MFU, or at the usual one; 0 where the compute or the peak of the chip is not known."""
    peak = dict(catalogue.table("chip_prices").select("hardware", "peak_tflops").iter_rows()).get(hardware)
    if not (facts["training_flop"] and peak):
        return 0.0
    return float(facts["training_flop"] / (peak * TERA * (facts["mfu"] or cost("training_mfu_epoch").value)) / HOUR)


def _known(run: str) -> dict[str, Any]:
    runs = catalogue.table("training_runs")
    releases = runs.filter(pl.col("model").str.starts_with(f"{run} (")).sort("date")
    found = pl.concat([runs.filter(pl.col("model") == run), releases])
    if found.is_empty():
        raise UnknownName("training run", run, runs["model"])
    return found.select(*NUMBERS, *TEXTS).row(0, named=True)


def _chip(hardware: str) -> dict[str, Any]:
    prices = catalogue.table("chip_prices")
    if hardware not in prices["hardware"]:
        raise UnknownName("hardware of chip_prices", hardware, prices["hardware"])
    return prices.row(by_predicate=pl.col("hardware") == hardware, named=True)


def _most_used(year: int) -> str:
    """The GPU most used in the runs of a year, which Epoch AI takes where none is named; of the last year that has one."""
    runs = catalogue.table("training_runs").filter(pl.col("hardware").is_in(catalogue.table("chip_prices")["hardware"].implode()))
    runs = runs.filter(~pl.col("hardware").str.contains("TPU"), pl.col("date").str.slice(0, 4) <= str(year))
    if runs.is_empty():
        raise InputError(f"hardware = None: no GPU is known to have been used by {year}")
    last = runs.filter(pl.col("date").str.slice(0, 4) == runs["date"].str.slice(0, 4).max())
    return str(last["hardware"].mode().sort()[0])


def _day(name: str, text: Any) -> date:
    try:
        return date.fromisoformat(text)
    except (TypeError, ValueError):
        raise InputError(f"{name} = {text!r}: expected a day as 2024-07-23") from None
