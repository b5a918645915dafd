import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench import catalogue
from workbench.energy import energy_bill, server_power
from workbench.energy.grid import Site
from workbench.energy.server import server_power_ratio
from workbench.errors import InputError
from workbench.units import HOUR, KWH, TONNE


def test_dgx_h100_draws_what_nvidia_prints():
    # 10.2 kW for eight chips of 700 W; .76 of it measured in training (arXiv:2506.14551)
    power = server_power(catalogue.chip("H100"))
    assert 8 * power.rated == pytest.approx(10_200, rel=0.001)
    assert 8 * power.average == pytest.approx(0.76 * 10_200, rel=0.02)


def test_a_gb300_rack_is_provisioned_for_its_power_shelves():
    assert 72 * server_power(catalogue.chip("GB300")).rated == pytest.approx(132_000, rel=0.005)


@pytest.mark.parametrize(
    ("chip", "kind"),
    [
        ("GB300", "rack_scale"),
        ("H200", "h100"),
        ("A100", "a100"),
        ("MI300X", "gpu"),
        ("B200", "gpu"),
        ("TPU v3", "tpu_v3"),
        ("TPU v5p", "tpu"),
    ],
)
def test_the_kind_of_server_follows_from_the_chip(chip, kind):
    assert server_power_ratio(catalogue.chip(chip)).name == f"server_power_ratio_{kind}"


def test_gpt3_emitted_what_patterson_counted():
    # Patterson et al. 2021, table 4: 10,000 V100 systems of 330 W, 14.8 days, PUE 1.1, 0.429 kg/kWh -> 1,287 MWh, 552.1 t
    bill = energy_bill(Site("x", 0.08, 429, 1.1), [10_000 * 330.0], step=14.8 * 24 * HOUR)
    assert bill.energy / KWH / 1000 == pytest.approx(1287, rel=0.005)
    printed = energy_bill(Site("x", 0.08, 429, 1), [1287e6], step=HOUR)
    assert printed.carbon["location"].kg / TONNE == pytest.approx(552.1, rel=1e-3)


def test_electricity_of_a_megawatt_year():
    assert energy_bill(Site("x", 0.0826, 0, 1), [1e6], step=8766 * HOUR).electricity == pytest.approx(724_072, rel=1e-5)
    assert energy_bill(Site("x", -0.01, 0, 1), [1e3]).electricity == pytest.approx(-0.01)  # spot prices may be negative


@given(st.floats(0, 1), st.floats(0, 1))
def test_power_rises_with_use_and_stays_below_rated(a, b):
    low, high = sorted((a, b))
    power = server_power(catalogue.chip("GB300"), np.array([low, high]))
    assert power.average[0] <= power.average[1] <= power.rated


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: server_power(catalogue.chip("H100"), 1.2), "utilisation = 1.2"),
        (lambda: server_power(catalogue.chip("H100"), ratio=0.5), "ratio = 0.5"),
        (lambda: server_power(catalogue.chip("H100"), busy_share=0.2, idle_share=0.4), "exceeds busy_share"),
        (lambda: Site("x", 0, float("nan"), 1), "carbon_g_per_kwh = nan"),
    ],
)
def test_bad_input_is_named(wrong, said):
    with pytest.raises(InputError, match=said):
        wrong()


def test_a_chip_without_tdp_is_refused():
    bare = next(n for n in catalogue.names("chips") if catalogue.chip(n).tdp is None)
    with pytest.raises(InputError, match=f"{bare} has no published TDP"):
        server_power(catalogue.chip(bare))
