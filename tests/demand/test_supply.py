"""Supply: what ships under limits, what power lets run, what survives; against published counts, closed forms and limits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import gamma

from workbench import demand
from workbench.demand.market import supply
from workbench.errors import InputError
from workbench.units import KWH


def test_memory_feeds_what_compute_to_agents_prints():
    # Epoch AI, compute-to-agents, table B2b: GB300 equivalents through 2026 and 2027
    made = supply.memory_limited([[4.108455882e9, 1.40625e9], [5.270955882e9, 6.05625e9]], 288, worth=[1, 2])
    assert made == pytest.approx([24_030_000, 60_360_000], rel=1e-3)
    # the same source, B5: 60 % Nvidia, the others worth three quarters
    assert supply.mixed_capacity([0.6, 0.4], [1, 0.75]) == pytest.approx(0.9)


def test_packaging_and_power_are_products():
    assert supply.packaging_limited(80_000, 16, 0.95) == pytest.approx(1_216_000)
    # Bernstein: 35 bn USD a GW over 5.9 M USD a rack; Epoch AI: 132 kW a rack, 1.14 for the rest of IT
    assert supply.power_limited(1e9, 132e3 * 1.14, 1.12) == pytest.approx(35e9 / 5.9e6, rel=2e-3)


def test_the_least_ships_and_is_named():
    shipped, binding = demand.shipments([5.0, 50.0, 50.0, 50.0], [[40.0, 10.0, 40, 40], [40, 40, 9, 40], [40] * 4, [40, 40, 40, 8]])
    assert shipped.tolist() == [5, 10, 9, 8]
    assert [demand.BINDING[b] for b in binding] == ["demand", "chips", "HBM", "capital"]
    shipped, binding = demand.shipments(3.0, np.full((4, 2), np.inf))
    assert shipped.tolist() == [3, 3]
    assert not binding.any()


@given(st.lists(st.floats(0, 100), min_size=5, max_size=5), st.floats(0, 10))
def test_more_of_a_limit_never_ships_less(amounts, more):
    wanted, *limits = amounts
    before = demand.shipments(wanted, limits)[0]
    for i in range(4):
        after = demand.shipments(wanted, [x + more * (i == j) for j, x in enumerate(limits)])[0]
        assert 0 <= before <= after <= wanted


def test_survival_is_weibull():
    ages = np.linspace(0, 40, 20_001)
    assert np.trapezoid(demand.survival(ages, 5.0), ages) == pytest.approx(5.0, rel=1e-6)  # its mean is the mean
    assert demand.survival(3.0, 5.0, shape=1.0) == pytest.approx(np.exp(-0.6))
    assert demand.survival(0.0, 5.0) == 1
    # wear spares the young: after two years of five, shape 4 keeps 98 %
    assert demand.survival(2.0, 5.0) == pytest.approx(0.983, abs=1e-3)


def test_installed_decays_where_failures_are_constant():
    added = np.array([3.0, 0.0, 5.0, 2.0, 1.0])
    ours = demand.installed(added, 4.0, shape=1.0)
    age = np.arange(5)[None] - np.arange(5)[:, None]
    theirs = (added[:, None] * np.where(age >= 0, np.exp(-0.25 * age), 0.0)).sum(axis=0)
    assert ours == pytest.approx(theirs, rel=1e-12)
    assert demand.installed(np.ones((3, 2)), np.array([1e9, 1.0])).shape == (3, 2)


def test_power_comes_on_as_an_erlang_delay():
    pulse = np.zeros(400)
    pulse[0] = 1.0
    on = demand.energised(pulse, 12.0)
    t = np.arange(400)
    assert on.sum() == pytest.approx(1)
    assert (on * t).sum() == pytest.approx(12.0)
    spread = (on * t**2).sum() - 144
    assert spread == pytest.approx(3 * (1 - 0.25) / 0.25**2)  # three geometric waits
    fine = np.cumsum(demand.energised(np.eye(1, 1000)[0], 300.0))  # finer periods: the Erlang distribution
    assert np.abs(fine - gamma.cdf(np.arange(1000), 3, scale=100)).max() < 0.005
    assert demand.energised(pulse, 12.0, cancelled=0.3).sum() == pytest.approx(0.7)
    assert demand.energised(pulse[:9], 3.0)[3] == 1  # three periods, no spread


def test_a_vintage_is_kept_while_its_rent_pays_power_and_space():
    # A100: 926 W for .315 H100e (Epoch); 8 cents, PUE 1.2, space at 15 cents a kW-hour
    cost = demand.keeping_cost(926 / 0.315, 1.2, 0.08 / KWH, 0.15 / KWH)
    assert cost == pytest.approx(2.94 * (1.2 * 0.08 + 0.15), rel=1e-3)
    assert demand.keeping_cost(1000.0, 1.0, 0.08 / KWH) == pytest.approx(0.08)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: demand.survival(-1.0, 5.0), "age = -1: expected 0 or more"),
        (lambda: demand.survival(1.0, 0.0), "mean_life = 0: expected more than 0"),
        (lambda: supply.packaging_limited(1, 1, 1.1), "packaging_yield = 1.1: expected 0 or more and at most 1"),
        (lambda: supply.packaging_limited(-1, 1), "wafers = -1"),
        (lambda: supply.memory_limited(1, 0), "hbm_per_package = 0"),
        (lambda: supply.mixed_capacity([0.5, 0.4], [1, 1]), "add up to 1"),
        (lambda: supply.power_limited(1, 1, 0.9), "pue = 0.9"),
        (lambda: supply.mixed_capacity([0.6, 0.4], [1, -3]), r"relative\[1\] = -3: expected 0 or more"),
        (lambda: supply.mixed_capacity([0.6, 0.4], [1, np.nan]), r"relative\[1\] = nan"),
        (lambda: demand.shipments(-1.0, np.ones((4, 1))), "wanted = -1: expected 0 or more"),
        (lambda: demand.shipments(1.0, np.ones((5, 1))), r"limits of shape \(5, 1\): expected up to 4 on the first axis"),
        (lambda: demand.energised([1.0], 2.0), "mean_delay = 2.0: expected at least 3 periods"),
        (lambda: demand.energised([1.0], -2.0), "mean_delay = -2: expected more than 0"),
        (lambda: demand.energised([1.0], 4.0, cancelled=1.5), "cancelled = 1.5"),
        (lambda: demand.energised([-1.0], 4.0), "requests"),
        (lambda: demand.installed([-1.0], 4.0), "additions"),
        (lambda: demand.keeping_cost(1.0, 0.5, 0.1), "pue = 0.5: .* expected 1 or more"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call()
