"""Published figures that are wrong (data/errata.csv): each recomputed, so that nobody tunes a model until it agrees with them."""

import re

import numpy as np
import polars as pl
import pytest

from workbench import catalogue, energy, fleet, tables
from workbench.energy.grid import Site
from workbench.energy.server import all_in_ratio
from workbench.errors import DataError
from workbench.fleet.ownership import server_uplift
from workbench.units import HOUR, TONNE


def test_ten_errata_are_known():
    known = catalogue.table("errata")
    assert known.height == 10
    assert known["erratum"].n_unique() == 10


def test_llama_33_card():
    tonnes = energy.energy_bill(Site("x", 0, 413.7, 1), [700.0], step=7.0e6 * HOUR).carbon["location"].kg / TONNE
    assert tonnes == pytest.approx(2030, rel=0.01)
    assert pytest.approx(2.6e-3, rel=0.02) == 12.9 * TONNE / (7.0e6 * 0.7)  # the kg/kWh that the card implies


def test_llama_3_interruptions():
    assert pytest.approx(0.353, abs=5e-4) == 148 / 419


def test_epochs_two_files():
    notes = pl.read_csv(catalogue.path("cases/energy.csv"))["note"].drop_nulls()
    ratios = [float(found.group(1)) for note in notes if (found := re.search(r"model_costs_updated.*ratio ([\d.]+)", note))]
    assert len(ratios) >= 10
    assert np.median(ratios) == pytest.approx(1.5, abs=0.2)


def test_gb300_is_no_gb200():
    gb200, gb300 = catalogue.chip("GB200"), catalogue.chip("GB300")
    assert gb300.peak("fp4") == pytest.approx(1.5 * gb200.peak("fp4"))
    assert catalogue.chip("B300").tdp == 1100  # as nvidia-smi prints it; 1400 is that of GB300


def test_a_region_a_million_times_too_dirty_does_not_load(tmp_path, monkeypatch):
    row = {
        "region": "westeurope",
        "provider": "Azure",
        "carbon_location_g_per_kwh": 283.17e6,
        "source": "CCF, its constants",
        "as_of": "2026-11",
    }
    pl.DataFrame([row]).write_csv(tmp_path / "regions.csv")
    monkeypatch.setenv("WORKBENCH_DATA", str(tmp_path))
    with pytest.raises(DataError, match="carbon_location_g_per_kwh"):
        tables.load("regions")


def test_the_peak_of_an_h100_is_dense():
    assert catalogue.chip("H100").peak("bf16") == pytest.approx(989.4e12, rel=1e-3)


def test_nas_used_seven_cents():
    year = {"it_power": [275.0 * 4], "step": 8760 * HOUR}
    assert energy.energy_bill(Site("x", 0.07, 0, 1), **year).electricity == pytest.approx(674.52)
    assert energy.energy_bill(Site("x", 0.0699, 0, 1), **year).electricity != pytest.approx(674.52, abs=0.5)


def test_a_rack_needs_no_more_cooling_than_it_draws():
    # all that chips draw becomes heat: 120 kW, not 2.4 MW, and cooling it takes a few per cent of that
    rack = energy.power_chain(catalogue.chip("H100"), 72, drawn=700.0, cooled_by="liquid", wet_bulb=20.0)
    assert rack.facility < 0.1 * rack.it
    assert pytest.approx(1361, rel=1e-3) == 3000 * 0.45359237


def test_electricity_is_not_sixty_percent():
    chip = catalogue.chip("GB200")
    cost = fleet.ownership_cost(
        n_chips=1, chip_price=chip.price, power=energy.server_power(chip, ratio=all_in_ratio(chip).value), pue=1.17,
        electricity_usd_per_kwh=0.0826, wacc=0.0675, server_life_years=5, server_uplift=server_uplift(chip).value,
    )  # fmt: skip
    assert 0.04 < cost.energy / cost.per_year < 0.10
    assert catalogue.cost("campus_1gw_energy_usd_per_year").value / catalogue.cost("campus_1gw_tco_usd_per_year").value == pytest.approx(
        0.07, abs=0.005
    )


def test_cards_count_chips_alone():
    chip = catalogue.chip("H100")
    drawn = energy.server_power(chip).average
    assert drawn * 1.1 / chip.tdp == pytest.approx(1.5, abs=0.01)
