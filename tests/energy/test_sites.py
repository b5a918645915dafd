"""Sites of the world: what is read, what is estimated, and that the estimates are as good as they say on what they did not see."""

import time

import numpy as np
import polars as pl
import pytest

from workbench import catalogue, energy
from workbench.energy.sites import by_latitude, neighbours, price_of
from workbench.errors import DataError, InputError, UnknownName

FIGURES = ("electricity_usd_per_kwh", "carbon_g_per_kwh", "pue", "wue_l_per_kwh", "grid_water_l_per_kwh", "marginal_carbon_g_per_kwh")


def constants():
    return {(r["constant"], r["key"] or ""): r for r in catalogue.table("calibration/sites").iter_rows(named=True)}


def test_every_region_answers_for_money_carbon_and_water_within_a_second():
    start = time.process_time()
    every = energy.sites()
    places = [energy.site(name) for name in every["region"]]
    bills = [energy.energy_bill(place, np.full(24, 1e6)) for place in places]
    assert time.process_time() - start < 1.0
    assert every.height >= 300
    assert every["country"].n_unique() >= 40
    for name in FIGURES:
        assert every[name].null_count() == every[f"{name}_basis"].null_count() == 0
    assert all(b.money > 0 and b.carbon["location"].kg >= 0 and b.water_on_site >= 0 and b.water_of_grid >= 0 for b in bills)
    read = {name: every[f"{name}_basis"].str.starts_with("read").sum() for name in FIGURES}
    assert read["electricity_usd_per_kwh"] >= 357  # only Peru's is estimated
    assert read["carbon_g_per_kwh"] == every.height
    assert (read["pue"], read["wue_l_per_kwh"]) == (67, 39)


@pytest.mark.parametrize("name", ["electricity_usd_per_kwh", "carbon_g_per_kwh", "pue", "wue_l_per_kwh", "marginal_carbon_g_per_kwh"])
def test_a_figure_lies_within_its_band(name):
    every = energy.sites()
    assert every.filter(~pl.col(name).is_between(f"{name}_low", f"{name}_high"))["region"].to_list() == []


@pytest.mark.parametrize(
    ("asked", "first"),
    [
        ("Warsaw", "polandcentral"),
        ("polandcentral", "polandcentral"),
        ("PL", "polandcentral"),
        ("sweden", "swedencentral"),
        ("Sao Paulo", "brazilsouth"),
        ("São Paulo", "brazilsouth"),
        ("Virginia", "eastus"),
        ("us-east-1", "us-east-1"),
        ("Alibaba us-east-1", "Alibaba us-east-1"),
        ("UK", "uksouth"),
        ("FRA", "francecentral"),
    ],
)
def test_names_codes_cities_and_countries_are_found(asked, first):
    assert energy.site(asked).name == catalogue.region(asked).name == first


def test_a_country_stands_for_all_its_regions():
    assert energy.sites("PL")["region"].to_list() == ["polandcentral", "europe-central2", "OVHcloud WAW1", "Scaleway pl-waw"]
    assert set(energy.sites("Sweden")["country"]) == {"Sweden"}
    assert energy.sites("eastus", "Virginia")["region"][0] == "eastus"


def test_an_unknown_region_names_the_nearest():
    with pytest.raises(UnknownName, match="unknown region 'Warszawa'; nearest: Warsaw"):
        energy.site("Warszawa")
    with pytest.raises(UnknownName, match="unknown region 'Swedn'; nearest: Sweden, swedensouth"):
        energy.sites("eastus", "Swedn")


def measured(column):
    table = catalogue.table("regions").filter(pl.col(column).is_not_null() & (pl.col("pue_basis") == "measured"))
    return table["provider"].to_numpy(), table["latitude"].to_numpy(), table[column].to_numpy()


def fitted(providers, latitude, logarithm, names):
    """Levels and warmth of `by_latitude` by least squares."""
    x = np.column_stack([*(providers == name for name in names), np.maximum(40 - abs(latitude), 0) / 10])
    return x, np.linalg.lstsq(x.astype(float), logarithm, rcond=None)[0]


@pytest.mark.parametrize(("constant", "column", "over", "names"), [("pue", "pue", 1, 4), ("wue", "wue_l_per_kwh", 0, 2)])
def test_estimates_by_latitude_are_the_fit_and_hold_on_regions_left_out(constant, column, over, names):
    providers, latitude, value = measured(column)
    logarithm, names = np.log(value - over), ("AWS", "Azure", "Google", "Oracle")[:names]
    x, fit = fitted(providers, latitude, logarithm, names)
    known = constants()
    assert np.exp(fit[:-1]) == pytest.approx([known[constant, name]["value"] for name in names], rel=1e-3)
    assert fit[-1] == pytest.approx(known[f"{constant}_warmth", ""]["value"], rel=1e-3)
    ours = [by_latitude(constant, p, y).value for p, y in zip(providers, latitude, strict=True)]
    assert np.log(ours) == pytest.approx(x.astype(float) @ fit, abs=2e-3)
    guess = []
    for i in range(len(value)):
        rest = np.arange(len(value)) != i
        guess.append(over + np.exp(x[i].astype(float) @ fitted(providers[rest], latitude[rest], logarithm[rest], names)[1]))
    error = abs(np.log((np.array(guess) - over) / (value - over)))
    assert np.quantile(error, 0.8) == pytest.approx(known[constant, "other"]["error"], abs=1e-3)
    if constant == "pue":
        assert abs(guess - value).mean() <= 0.08  # 0.065 of 67 regions
    else:
        assert np.median(error) <= np.log(2.2)  # water differs by a hundred between sites


def test_prices_of_countries_left_out_are_off_by_a_quarter_at_most():
    grids = [g for g in map(catalogue.grid, catalogue.names("grids")) if g.latitude is not None and g.electricity_usd_per_kwh]
    price, wholesale, latitude, longitude = (
        np.array([np.nan if value is None else value for value in values])
        for values in zip(*((g.electricity_usd_per_kwh, g.wholesale_usd_per_kwh, g.latitude, g.longitude) for g in grids), strict=True)
    )
    known, sold = constants(), np.isfinite(wholesale)
    reach = known["price_reach_km", ""]["value"]
    assert np.median((price / wholesale)[sold]) == pytest.approx(known["price_over_wholesale", ""]["value"], rel=1e-3)
    guess = []
    for i in range(len(price)):
        rest = np.arange(len(price)) != i
        near = neighbours(latitude[i], longitude[i], price[rest], latitude[rest], longitude[rest], reach=reach)
        guess.append(wholesale[i] * np.median((price / wholesale)[sold & rest]) if sold[i] else near)
    assert len(price) >= 85
    assert np.median(abs(guess / price - 1)) <= 0.25  # 0.233
    error = abs(np.log(guess / price))
    assert np.quantile(error[sold], 0.8) == pytest.approx(known["price_over_wholesale", ""]["error"], abs=1e-3)
    assert np.quantile(error[~sold], 0.8) == pytest.approx(known["price_reach_km", ""]["error"], abs=1e-3)


def test_a_price_is_read_or_follows_from_wholesale_or_from_neighbours():
    at = {"latitude": 52.0, "longitude": 20.0}
    assert price_of(catalogue.grid("POL"), **at).basis == "read: grid"
    lima = energy.sites("Lima").row(0, named=True)
    assert lima["electricity_usd_per_kwh_basis"] == "estimate"
    assert 0.06 < lima["electricity_usd_per_kwh"] < 0.13  # Colombia 0.075, Brazil 0.063, Chile 0.13
    assert price_of(None, None, None) is None
    assert price_of(None, **at).basis == "estimate"


@pytest.mark.parametrize(
    ("grid", "usd", "source"),
    [
        ("SWE", 0.0561 * 1.083, "Eurostat nrg_pc_205, band IG, 2024-S2"),
        ("SAU", 0.20 / 3.75, "flat industrial tariff, 0.20 SAR"),
        ("TWN", 4.27 * 0.0331, "Taipei Times, 20 September 2025"),
        ("US-VA", 0.0899, "EIA, industrial, 2024"),
    ],
)
def test_prices_are_converted_by_the_rate_of_their_period(grid, usd, source):
    assert catalogue.grid(grid).electricity_usd_per_kwh == pytest.approx(usd, rel=5e-3), source


def test_conflicts_are_settled():
    # Microsoft's fact sheet of Washington is of West US 2; the design of Finland is not Ireland's
    washington, california, ireland = map(catalogue.region, ("westus2", "westus", "northeurope"))
    assert (washington.pue, washington.wue_l_per_kwh, california.pue) == (1.15, 1.09, None)
    assert (ireland.pue, ireland.wue_l_per_kwh, ireland.carbon_marginal_g_per_kwh) == (1.19, 0.03, 488.25)
    assert "West US 2" in washington.note
    assert catalogue.grid("GBR").electricity_usd_per_kwh > 0.3  # not the 0.097 of 2020
    for grid in ("TWN", "ZAF", "KEN", "ARE"):
        price = catalogue.grid(grid)
        low, high = price.price_low_usd_per_kwh, price.price_high_usd_per_kwh
        assert (high or price.electricity_usd_per_kwh) / (low or price.electricity_usd_per_kwh) > 1.3, "rivals stand in the band"
        assert "end:" in price.note


def own(tmp_path, monkeypatch, table, **row):
    pl.DataFrame([row]).write_csv(tmp_path / f"{table}.csv")
    monkeypatch.setenv("WORKBENCH_DATA", str(tmp_path))


GRID = {"grid": "XXX", "name": "Nowhere", "carbon_g_per_kwh": 100, "carbon_year": 2025, "source": "our own meter", "as_of": "2026"}
MINE = {"region": "mine", "provider": "Us", "source": "our own meter", "as_of": "2026-11"}


def test_a_region_of_ones_own_is_estimated_from_where_it_stands(tmp_path, monkeypatch):
    own(tmp_path, monkeypatch, "regions", **MINE, grid="POL", latitude=52.2, longitude=21.0)
    mine = energy.sites("mine").row(0, named=True)
    assert mine["pue_basis"] == "estimate"
    assert mine["electricity_usd_per_kwh_basis"] == mine["carbon_g_per_kwh_basis"] == "read: grid"
    assert energy.site("mine").pue == pytest.approx(1.36, abs=0.005)  # Energy Efficiency Directive, 776 data centres


def test_a_region_of_ones_own_without_a_place_says_all_that_is_missing(tmp_path, monkeypatch):
    own(tmp_path, monkeypatch, "regions", **MINE)
    with pytest.raises(InputError, match=r"has no electricity_usd_per_kwh, carbon_g_per_kwh, pue, .*: give electricity_usd_per_kwh=, "):
        energy.site("mine")
    assert energy.site("mine", electricity_usd_per_kwh=0.1, carbon_g_per_kwh=100, pue=1.2).pue == 1.2


@pytest.mark.parametrize(
    ("table", "row", "said"),
    [
        ("regions", {"region": "mine"}, r"column 'provider': the column is missing; .*; so are source, as_of"),
        ("regions", MINE | {"provider": None, "as_of": None}, r"row 2, column 'provider': is blank; expected text; so is as_of"),
        ("grids", {"price_local_per_kwh": 0.5}, r"the price of XXX lacks currency, price_period, price_year"),
        ("grids", {"price_usd_per_kwh": 0.5}, r"the price of XXX lacks price_year"),
    ],
)
def test_a_row_of_ones_own_without_unit_or_date_is_told_all_at_once(tmp_path, monkeypatch, table, row, said):
    if table == "grids":
        row = GRID | row
    own(tmp_path, monkeypatch, table, **row)
    with pytest.raises(DataError, match=said):
        catalogue.table(table)


def test_an_unknown_currency_names_the_nearest(tmp_path, monkeypatch):
    price = {"price_local_per_kwh": 0.5, "currency": "EURO", "price_period": "2024-S2", "price_year": 2024}
    own(tmp_path, monkeypatch, "grids", **GRID, **price)
    with pytest.raises(UnknownName, match=r"unknown currency and period 'EURO\|2024-S2'; nearest: EUR\|2024-S2"):
        catalogue.grid("XXX")


def test_carbon_free_energy_by_the_year_and_by_the_hour():
    load = np.ones(24)
    solar = np.where(abs(np.arange(24) - 12) < 6, 24 / 11, 0.0)  # as much as the load takes in all
    match = energy.carbon_free(load, solar)
    assert (match.annual, match.hourly) == (pytest.approx(1.0), pytest.approx(11 / 24))
    assert match.surplus == pytest.approx(1 - 11 / 24)
    assert match.full_hours == pytest.approx(11 / 24)
    assert energy.carbon_free(load, solar, grid_share=0.4).hourly == pytest.approx(11 / 24 + 0.4 * 13 / 24)
    assert energy.carbon_free(load, 0.0, 0.4).annual == pytest.approx(0.4)  # nothing bought: what the grid gives
    flat = energy.carbon_free(load, np.array([[0.5], [1.0], [2.0]]))
    assert flat.hourly.tolist() == flat.annual.tolist() == [0.5, 1.0, 1.0]
    assert flat.surplus.tolist() == [0.0, 0.0, 0.5]
    with pytest.raises(InputError, match=r"load of shape \(24,\) and bought of shape \(7,\)"):
        energy.carbon_free(load, np.ones(7))
