"""Other people's tools as oracles, where they are installed (extra `oracles`): none of them is imported by the package."""

import pytest

from workbench import catalogue, fleet


def test_levelised_cost_of_energy_of_nrel():
    calculator = pytest.importorskip("PySAM.Lcoefcr").default("PVWattsLCOECalculator")
    rate = float(fleet.annuity(1.0, 0.07, 20))
    for name, value in {
        "capital_cost": 1e6,
        "fixed_operating_cost": 2e4,
        "variable_operating_cost": 0.01,
        "fixed_charge_rate": rate,
        "annual_energy": 1e6,
    }.items():
        calculator.value(name, value)
    calculator.execute()
    assert calculator.Outputs.lcoe_fcr == pytest.approx((1e6 * rate + 2e4) / 1e6 + 0.01, rel=1e-9)


def test_grids_of_ecologits():
    mixes = pytest.importorskip("ecologits.electricity_mix_repository").electricity_mixes
    for code in ("FRA", "DEU", "SWE"):
        mix = mixes.find_electricity_mix(code)
        ours = catalogue.grid(code)
        assert ours.water_l_per_kwh == pytest.approx(mix.wue, rel=1e-3)
        kg = ours.carbon_g_per_kwh / 1e3
        assert kg == pytest.approx(mix.gwp, rel=0.5)  # other years and mixes: within half


def test_grids_of_codecarbon():
    pytest.importorskip("codecarbon")
    from codecarbon.core.emissions import Emissions
    from codecarbon.core.units import Energy
    from codecarbon.external.geography import GeoMetadata
    from codecarbon.input import DataSource

    theirs = Emissions(DataSource()).get_private_infra_emissions(
        Energy.from_energy(kWh=1.0), GeoMetadata(country_iso_code="FRA", country_name="France")
    )
    assert catalogue.grid("FRA").carbon_g_per_kwh / 1e3 == pytest.approx(theirs, rel=0.5)
    assert catalogue.grid("FRA").carbon_g_per_kwh == pytest.approx(50, rel=0.5)
