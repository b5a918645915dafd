"""Fleet economics: rates of return beside pyxirr, ownership scenarios, allocations of ten thousand and a million variables; one thread."""

import resource
from dataclasses import replace

import numpy as np
import pytest

from workbench import catalogue, energy, fleet
from workbench.fleet import programme
from workbench.fleet.finance import npv
from workbench.fleet.problem import Fleet

N = 10_000
RNG = np.random.default_rng(0)
FLOWS = np.concatenate([-RNG.uniform(50, 200, (N, 1)), RNG.uniform(5, 60, (N, 10))], axis=1)
CHIP = catalogue.chip("GB300")
SCENARIOS = {
    "n_chips": 4608,
    "chip_price": RNG.lognormal(np.log(43_000), 0.15, N),
    "power": energy.server_power(CHIP, RNG.uniform(0.4, 0.9, N)),
    "pue": RNG.uniform(1.05, 1.4, N),
    "electricity_usd_per_kwh": RNG.lognormal(np.log(0.08), 0.3, N),
    "wacc": RNG.uniform(0.04, 0.16, N),
    "server_life_years": RNG.uniform(3, 6, N),
    "server_uplift": 1.148,
}


def allocation(W, K, R, T):
    """A static or yearly problem with the power of sites short."""
    rng, chips = np.random.default_rng(0), 10_000.0
    old = np.arange(K)[:, None] < K / 2
    return Fleet(
        work=tuple(f"w{i}" for i in range(W)), kinds=tuple(f"k{i}" for i in range(K)), regions=tuple(f"r{i}" for i in range(R)),
        throughput=rng.lognormal(0, 0.5, (W, K)) * (1 + np.arange(K)[None] / K),
        demand=rng.lognormal(0, 0.3, (W, 1)) * chips * R * K / W * 0.6 * 1.02 ** np.arange(T),
        value=rng.uniform(2, 5, (W, 1)) / 3600, installed=rng.uniform(0, chips, (K, R)) * old,
        power=rng.uniform(1000, 2000, K), idle_power=300.0, pue=rng.uniform(1.08, 1.4, R),
        electricity_usd_per_kwh=rng.uniform(0.04, 0.15, (R, 1)), price=rng.uniform(20_000, 40_000, (K, 1)), operations=500.0,
        supply=np.where(old, 0, chips * R * 0.2) * np.ones(T), power_limit=rng.uniform(0.8, 1.5, (R, 1)) * K * chips * 900,
        rate=0.07, survival=0.97,
    )  # fmt: skip


@pytest.mark.benchmark(group="internal rate of return of 10,000 cash flows of 11 years")
def test_irr(benchmark):
    rates = benchmark(fleet.irr, FLOWS)
    benchmark.extra_info["us_each"] = f"{benchmark.stats.stats.median / N * 1e6:.2f}"
    assert np.abs(npv(rates, FLOWS)).max() < 1e-9


@pytest.mark.benchmark(group="internal rate of return of 10,000 cash flows of 11 years")
def test_irr_pyxirr(benchmark):
    pyxirr = pytest.importorskip("pyxirr")
    flows = [list(f) for f in FLOWS]
    benchmark(lambda: [pyxirr.irr(f) for f in flows])
    benchmark.extra_info["us_each"] = f"{benchmark.stats.stats.median / N * 1e6:.2f}"


@pytest.mark.benchmark(group="cost of owning a fleet")
def test_ten_thousand_scenarios_in_one_call(benchmark):
    cost = benchmark(lambda: fleet.ownership_cost(**SCENARIOS).per_chip_hour)
    assert cost.shape == (N,)


@pytest.mark.benchmark(group="cost of owning a fleet")
def test_a_hundred_scenarios_one_by_one(benchmark):
    """A hundredth of them, as a spreadsheet or a loop would."""

    def loop():
        for i in range(100):
            one = {name: value[i] if isinstance(value, np.ndarray) else value for name, value in SCENARIOS.items() if name != "power"}
            fleet.ownership_cost(power=energy.server_power(CHIP, 0.5), **one)

    benchmark(loop)


@pytest.mark.benchmark(group="allocation of 10,000 variables")
def test_allocation_of_ten_thousand_variables(benchmark):
    problem = allocation(100, 10, 10, 1)
    benchmark.extra_info["variables"] = programme.build(problem).cost.size
    plan = benchmark(fleet.allocate, problem)
    assert plan.served.min() >= 0


@pytest.mark.slow
@pytest.mark.benchmark(group="allocation of a million variables")
def test_allocation_of_a_million_variables(benchmark):
    problem = allocation(1000, 20, 50, 1)
    benchmark.extra_info["variables"] = programme.build(problem).cost.size
    plan = benchmark.pedantic(fleet.allocate, (problem,), rounds=1)
    benchmark.extra_info["peak_gb"] = f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f}"
    assert plan.served.min() >= 0


@pytest.mark.benchmark(group="rows and columns of a million variables")
def test_building_a_million_variables(benchmark):
    problem = allocation(1000, 20, 50, 1)
    benchmark(programme.build, problem)


@pytest.mark.benchmark(group="cost of owning a fleet")
def test_the_same_numbers_read_once(benchmark):
    """The limit: the same numbers read once in numpy."""
    arrays = [value for value in SCENARIOS.values() if isinstance(value, np.ndarray)]
    benchmark(lambda: sum(np.log1p(a) for a in arrays))


@pytest.mark.slow
@pytest.mark.benchmark(group="a plan of forty regions, eight years and eight typical hours")
def test_a_plan_of_the_world_with_chips_to_come(benchmark):
    """Rubin and MI455X from the second year, a chip of one's own from the third; within 60 s and 4 GB."""
    names = ("A100", "H100", "GB200", "GB300", "MI355X", "Rubin", "MI455X", "Maia 200")
    places, years, day = tuple(energy.sites()["region"][:40]), np.arange(8), 1 + 0.5 * np.cos(2 * np.pi * np.arange(8) / 8)
    work, today = fleet.work_today("H100", 1.7e6, 3.6, "Microsoft Cobalt 200", 0, 2.0)
    problem = fleet.fleet_of(
        work[:-1], names, places, demand=today[:-1, None] * 1.5**years, installed=np.array([[13e3, 27e3, 7e3, 0, 0, 0, 0, 0]]).T, rate=0.07,
        supply=np.array([0, 0, 0, 40e3, 25e3, 60e3, 30e3, 30e3])[:, None] * 13 * (years >= np.array([[9, 9, 9, 0, 0, 1, 1, 2]]).T),
        price=[np.nan] * 6 + [45e3, np.nan], power=[np.nan] * 6 + [3e3, np.nan], price_decline=0.17, used=0.5, hours=[1 / 8] * 8,
        shape=day, power_limit=np.where(np.arange(40) % 2, 1.1e8, np.inf)[:, None], space=1.1e8, survival=0.97, availability=0.95,
    )  # fmt: skip
    benchmark.extra_info["variables"] = programme.build(problem).cost.size
    plan = benchmark.pedantic(fleet.allocate, (problem,), rounds=1)
    benchmark.extra_info["peak_gb"] = f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f}"
    assert plan.bought[5:].sum() > 0


@pytest.mark.slow
@pytest.mark.benchmark(group="first orders for three futures, a million variables")
def test_first_orders_of_a_million_variables(benchmark):
    """Each way to decide is solved: three futures alone, together, with the orders of their mean, and with all orders signed now."""
    problem, years = allocation(1000, 10, 17, 2), np.arange(2)
    futures = [replace(problem, demand=problem.demand * d**years) for d in (0.7, 1.05, 1.4)]
    benchmark.extra_info["variables"] = 3 * programme.build(problem).cost.size
    both = benchmark.pedantic(fleet.two_stage, (futures, [0.3, 0.4, 0.3]), rounds=1)
    benchmark.extra_info["peak_gb"] = f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f}"
    assert both.wait_and_see <= both.cost <= both.expected_value
