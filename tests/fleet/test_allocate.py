"""Plans, shadow prices, and what is said where there is no plan."""

import dataclasses
import importlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench import catalogue, energy, fleet
from workbench.errors import InputError
from workbench.fleet import programme
from workbench.fleet.problem import Fleet
from workbench.fleet.workloads import CLASSES, Workload
from workbench.units import YEAR


def problem(seed=0, W=3, K=4, R=3, T=3, **changed):
    rng = np.random.default_rng(seed)
    given = {
        "work": tuple(f"w{i}" for i in range(W)),
        "kinds": tuple(f"k{i}" for i in range(K)),
        "regions": tuple(f"r{i}" for i in range(R)),
        "throughput": rng.lognormal(0, 0.5, (W, K)),
        "demand": rng.lognormal(3, 0.3, (W, T)),
        "value": rng.uniform(1, 4, (W, 1)) / 3600,
        "installed": rng.uniform(0, 5, (K, R)),
        "power": rng.uniform(1000, 2000, K),
        "idle_power": 300.0,
        "pue": rng.uniform(1.08, 1.4, R),
        "electricity_usd_per_kwh": rng.uniform(0.04, 0.15, (R, 1)),
        "price": rng.uniform(20_000, 40_000, (K, 1)),
        "operations": 500.0,
        "supply": rng.uniform(1, 8, (K, 1)),
        "power_limit": rng.uniform(1, 3, (R, 1)) * 1e4,
        "carbon_g_per_kwh": rng.uniform(50, 600, (R, 1)),
        "rate": 0.07,
        "survival": 0.95,
        "availability": 0.97,
    }
    return Fleet(**given | changed)


def apart(f, groups):
    """What one fungible fleet saves over a partition."""
    return fleet.allocate(dataclasses.replace(f, groups=groups)).cost - fleet.allocate(f).cost


ROWS = {
    "power_limit": "power",
    "demand": "demand",
    "supply": "supply",
    "budget": "budget",
    "space": "space",
}
TIGHT = {
    "power_limit": {}, "demand": {}, "supply": {"power_limit": 1e5, "supply": 0.3},
    "budget": {"power_limit": 1e5, "budget": 6e4}, "space": {"power_limit": 1e6, "occupies": 1500.0, "space": 7e3, "space_cost": 9.0},
}  # fmt: skip


def slopes(f, what, at, shape, step=1e-4):
    """Change of the cost with a limit, below and above it."""
    base = np.array(np.broadcast_to(np.asarray(getattr(f, what), dtype=float), shape))
    costs = []
    for way in (-1, 0, 1):
        moved = base.copy()
        moved[at] *= 1 + way * step
        costs.append(fleet.allocate(dataclasses.replace(f, **{what: moved})).cost)
    return np.diff(costs) / (base[at] * step)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000), st.sampled_from(sorted(ROWS)))
def test_shadow_prices_are_finite_differences(seed, what):
    f = problem(seed, **TIGHT[what])
    plan = fleet.allocate(f)
    shadow = plan.shadow[ROWS[what]]
    at = tuple(int(i) for i in np.unravel_index(np.abs(shadow).argmax(), shadow.shape))
    below, above = slopes(f, what, at, shadow.shape)
    price = shadow[at] * (1 if what == "demand" else -1)
    slack = 1e-6 * abs(price) + 1e-9 * plan.cost / np.broadcast_to(np.asarray(getattr(f, what), dtype=float), shadow.shape)[at]
    assert below - slack <= price <= above + slack  # equal, but where the plan turns at just this limit


@pytest.mark.parametrize("what", sorted(ROWS))
def test_shadow_prices_to_six_digits(what):
    f = problem(1, **TIGHT[what])
    shadow = fleet.allocate(f).shadow[ROWS[what]]
    at = tuple(int(i) for i in np.unravel_index(np.abs(shadow).argmax(), shadow.shape))
    below, above = slopes(f, what, at, shadow.shape)
    assert shadow[at] > 0
    assert (below + above) / 2 == pytest.approx(shadow[at] * (1 if what == "demand" else -1), rel=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_columns_that_come_as_needed_give_the_plan_and_the_prices_of_all(seed, monkeypatch):
    f = problem(seed, W=20, K=6, R=5, T=2, installed=np.where(np.arange(6) < 3, 8.0, 0.0)[:, None], power_limit=2e4)
    at_once = fleet.allocate(f)
    solved = []
    columns = importlib.import_module("workbench.fleet.allocate")  # beside the function of its name
    direct = columns._direct
    monkeypatch.setattr(columns, "_direct", lambda *given: solved.append(given[3]) or direct(*given))
    for name, value in {"FEW": 0, "MANY": 1, "FIRST": 1, "MORE": 1, "KEPT": 2}.items():
        monkeypatch.setattr(columns, name, value)
    by_and_by = fleet.allocate(f)
    assert len(solved) > 1
    assert max(len(taken) for taken in solved) < programme.build(f).cost.size
    assert by_and_by.cost == pytest.approx(at_once.cost, rel=1e-9)
    assert by_and_by.shadow["power"] == pytest.approx(at_once.shadow["power"], rel=1e-6, abs=1e-9)
    assert by_and_by.shadow["demand"] == pytest.approx(at_once.shadow["demand"], rel=1e-6, abs=1e-3)
    with pytest.raises(InputError, match=r"no plan keeps every limit.*demand \(w"):
        fleet.allocate(dataclasses.replace(f, value=np.inf, power_limit=1e3))
    assert fleet.allocate(dataclasses.replace(f, value=np.inf, demand=np.full((20, 2), 1e-3))).served.min() == pytest.approx(1)


def test_a_plan_keeps_its_limits_and_its_books():
    f = problem(1, budget=3e5, vendor=("a", "a", "b", "c"), vendor_share=0.6)
    plan = fleet.allocate(f)
    assert (plan.facility_power <= np.broadcast_to(f.power_limit, (3, 3)) + 1e-6).all()
    assert (plan.chips.sum(axis=0) <= f.availability * plan.stock + 1e-9).all()
    assert ((plan.served >= -1e-9) & (plan.served <= 1 + 1e-9)).all()
    done = np.einsum("wk,wkrt->wt", f.throughput, plan.chips)
    assert (done + plan.unmet >= f.demand - 1e-9).all()
    assert ((f.price * plan.bought.sum(axis=1)).sum(axis=0) <= 3e5 + 1e-6).all()
    spent = f.price * plan.bought.sum(axis=1)
    assert (spent[:2].sum(axis=0) <= 0.6 * spent.sum(axis=0) + 1e-6).all()
    assert plan.frame().columns[:6] == ["kind", "region", "period", "stock", "bought", "retired"]


def test_weak_duality_and_complementary_slackness():
    f = problem(2)
    plan = fleet.allocate(f)
    slack = np.broadcast_to(f.power_limit, (3, 3)) - plan.facility_power
    assert np.abs(slack * plan.shadow["power"]).max() <= 1e-6 * plan.cost
    assert all((values >= -1e-9).all() for values in plan.shadow.values())


def test_a_partition_is_never_cheaper():
    f = problem(3)
    assert apart(f, (0, 1, 2)) >= -1e-6
    assert apart(f, (0, 0, 0)) == pytest.approx(0, abs=1e-6)


def test_order_of_regions_does_not_matter():
    f = problem(4)
    turned = dataclasses.replace(
        f,
        regions=f.regions[::-1],
        installed=f.installed[:, ::-1],
        pue=f.pue[::-1],
        electricity_usd_per_kwh=f.electricity_usd_per_kwh[::-1],
        power_limit=f.power_limit[::-1],
        carbon_g_per_kwh=f.carbon_g_per_kwh[::-1],
    )
    assert fleet.allocate(turned).cost == pytest.approx(fleet.allocate(f).cost, rel=1e-9)


def test_latency_keeps_work_out_of_a_region():
    allowed = np.ones((3, 3))
    allowed[0, 1:] = 0
    plan = fleet.allocate(problem(5, allowed=allowed))
    assert plan.chips[0, :, 1:].sum() == 0


def test_carbon_price_moves_work_to_clean_grids():
    f = problem(6)
    dirty = np.argmax(f.carbon_g_per_kwh[:, 0])
    free, priced = fleet.allocate(f), fleet.allocate(dataclasses.replace(f, carbon_usd_per_t=500.0))
    assert priced.facility_power[dirty].sum() <= free.facility_power[dirty].sum() + 1e-6


def test_what_is_retired_is_what_left_the_books():
    f = problem(11)
    plan = fleet.allocate(f)
    before = np.concatenate([np.asarray(f.installed)[..., None], plan.stock[..., :-1] * f.survival], axis=-1)
    assert plan.stock == pytest.approx(before + plan.bought - plan.retired, abs=1e-6)


def test_no_vendor_has_more_of_the_capital_than_its_share():
    f = problem(1, vendor=("a", "a", "b", "c"), vendor_share=0.5)
    plan = fleet.allocate(f)
    spent = np.asarray(f.price) * plan.bought.sum(axis=1)
    assert (spent[:2].sum(axis=0) <= 0.5 * spent.sum(axis=0) + 1e-6).all()
    assert spent.sum() > 0
    with pytest.raises(InputError, match=r"vendor_share = 0\.3: 3 vendors"):
        fleet.allocate(problem(1, vendor=("a", "a", "b", "c"), vendor_share=0.3))
    with pytest.raises(InputError, match="vendor_share = 0"):
        fleet.allocate(problem(1, vendor=("a", "a", "b", "c"), vendor_share=0.0))
    with pytest.raises(InputError, match="resale = 50000 of k0 at the end of period 0: it was sold new at"):
        fleet.allocate(problem(1, resale=5e4))


def test_nothing_is_bought_to_be_thrown_away():
    # the second vendor's chips do nothing: the share could be met by buying and retiring them at once
    f = problem(1, vendor=("a", "a", "a", "b"), vendor_share=0.5, throughput=np.array([[1.0, 2.0, 3.0, 0.01]] * 3), installed=0.0)
    plan = fleet.allocate(f)
    assert plan.bought[3].sum() > 0
    assert (plan.stock >= plan.bought - 1e-9).all()


def one(**changed):
    given = {
        "work": ("chat",),
        "kinds": ("H100",),
        "regions": ("eastus",),
        "throughput": 1.0,
        "demand": np.array([[5.0, 9.0]]),
        "value": np.inf,
        "installed": 6.0,
        "power": 1000.0,
        "idle_power": 100.0,
        "pue": 1.2,
        "electricity_usd_per_kwh": 0.08,
    }
    return Fleet(**given | changed)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({}, r"no plan keeps every limit.*demand \(chat, period 1\) by 3 of 9"),
        ({"power_limit": 4000.0}, r"demand \(chat, period 1\) by 5.667 of 9.*held back by power \(eastus, period 0\)"),
        (
            {"value": 1.0, "electricity_usd_per_kwh": -0.08, "supply": np.inf},
            "the plan has no bound: check for a negative",
        ),
        ({"throughput": np.ones((2, 3))}, r"throughput of shape \(2, 3\): expected one that broadcasts to \(1, 1\)"),
        ({"allowed": False}, r"by 9 of 9; .*nothing that can do chat is installed or can be bought where it may run"),
        ({"supply": 1.0, "price": 100.0, "budget": 50.0}, r"demand \(chat, period 1\) by 2 of 9; held back by budget \(period \d\)"),
        ({"supply": 0.5, "price": 1.0}, r"demand \(chat, period 1\) by 2 of 9; held back by supply \(H100, period \d\)"),
        ({"pue": 0.9}, "pue = 0.9"),
        ({"rate": "7%"}, "rate = '7%': expected a number"),
        ({"rate": -1.2}, "rate = -1.2: at -100 % per year"),
        ({"installed": -1.0}, "installed = -1"),
        ({"demand": 3.0}, "demand: expected an array"),
        ({"idle_power": 2000.0}, "idle_power exceeds power"),
        ({"survival": 0.0}, "survival = 0"),
        ({"groups": (1, 2)}, "groups = "),
        ({"value": np.nan}, "value = nan: expected 0 or more"),
        ({"hours": (0.5, 0.4)}, "hours: shares of a period that add up to 0.9; expected 1"),
        ({"hours": (0.5, 0.5), "shape": (1.0, 2.0)}, "shape: the mean of chat over the hours is 1.5; expected 1"),
        ({"hours": (0.5, 0.5), "shape": (0.6, 1.4), "installed": 10}, r"demand \(chat, hour 1, period 1\) by 1.3 of 6.3"),
        ({"supply": 9.0, "occupies": 1e3, "space": 7e3, "space_cost": 1.0, "power_limit": 8400.0}, r"held back by power \(eastus"),
    ],
)
def test_what_has_no_plan_says_why(changed, message):
    with pytest.raises(InputError, match=message):
        fleet.allocate(one(**changed))


def test_a_fleet_from_the_catalogue():
    chips = tuple(catalogue.chip(name) for name in ("A100", "H100", "GB300"))
    sites = (energy.site("eastus"), energy.site("centralus"))
    work = tuple(w.priced_at(chips[1], 2.35) for w in CLASSES if w.bound in ("bf16", "memory", "fp64"))
    demand = np.array([[w.throughput(chips[1]) * 1000] * 2 for w in work])
    f = fleet.fleet_of(
        work, chips, sites, demand=demand, installed=np.array([[500, 0], [800, 400], [0, 0]]), rate=0.0675,
        supply=np.array([[0], [0], [2000]]),
    )  # fmt: skip
    plan = fleet.allocate(f)
    assert plan.served.min() >= 0
    assert plan.bought[2].sum() > 0
    away = fleet.fleet_of(work, chips, sites, demand=demand, installed=np.ones((3, 2)), rate=0.07, latency=np.array([0.01, 0.5]))
    assert np.asarray(away.allowed)[:, 0].all()
    assert not np.asarray(away.allowed)[[w.latency < 0.5 for w in work], 1].any()
    with pytest.raises(InputError, match="watter_limit"):
        fleet.fleet_of(work, chips, sites, demand=demand, installed=0, rate=0.07, watter_limit=1.0)
    announced = (catalogue.chip("MI455X"),)
    with pytest.raises(InputError, match="MI455X can be bought but has no published price"):
        fleet.fleet_of(work, announced, sites, demand=demand, installed=0, rate=0.07, supply=1.0, power=2500.0)


def test_prices_by_the_hour_are_the_fleets_not_the_sites():
    chips, work = (catalogue.chip("H100"),), (CLASSES[0].priced_at(catalogue.chip("H100"), 2.35),)
    hourly = np.linspace(0.04, 0.2, 24)
    given = {"demand": np.full((1, 24), 50.0), "installed": 100.0, "rate": 0.07}
    f = fleet.fleet_of(work, chips, (energy.site("eastus"),), electricity_usd_per_kwh=hourly, **given)
    assert np.array_equal(f.electricity_usd_per_kwh, hourly)
    flat, site = (
        fleet.fleet_of(work, chips, (place,), **own, **given)
        for place, own in (
            (energy.site("eastus"), {"electricity_usd_per_kwh": 0.1}),
            (energy.site("eastus", electricity_usd_per_kwh=0.1), {}),
        )
    )
    assert fleet.allocate(flat).cost == fleet.allocate(site).cost
    with pytest.raises(InputError, match=r"eastus: electricity_usd_per_kwh is an array of shape \(24,\).*give .* by region"):
        fleet.fleet_of(work, chips, (energy.site("eastus", electricity_usd_per_kwh=hourly),), **given)
    with pytest.raises(InputError, match=r"electricity_usd_per_kwh of shape \(24,\): expected one that .* \(1, 2\)"):
        fleet.fleet_of(work, chips, (energy.site("eastus"),), electricity_usd_per_kwh=hourly, **given | {"demand": [[50.0, 60.0]]})


def test_processors_do_the_work_of_agents_beside_chips():
    cobalt, h100 = catalogue.cpu("Microsoft Cobalt 200"), catalogue.chip("H100")
    tools = next(w for w in CLASSES if w.bound == "cores").priced_at(cobalt, 1.0)
    train = next(w for w in CLASSES if w.bound == "bf16").priced_at(h100, 2.35)
    rates = np.array([[w.throughput(machine) for machine in (cobalt, h100)] for w in (tools, train)])
    assert rates[0, 1] == rates[1, 0] == 0
    demand = rates.max(axis=1)[:, None] * 50.0
    installed, supply = np.array([[10], [60]]), np.array([[100], [0]])
    f = fleet.fleet_of(
        (tools, train), (cobalt, h100), (energy.site("eastus"),), demand=demand, installed=installed, rate=0.07,
        supply=supply, used=0.8, price=np.array([8000.0, np.nan]), power=np.array([500.0, np.nan]),
    )  # fmt: skip
    plan = fleet.allocate(f)
    assert plan.bought[0].sum() == pytest.approx(40)
    assert plan.served.min() == pytest.approx(1)
    with pytest.raises(InputError, match="no published power of its server: give power"):
        fleet.fleet_of((tools,), (cobalt,), (energy.site("eastus"),), demand=np.ones((1, 1)), installed=0, rate=0.07)


def test_classes_of_work_know_where_they_run():
    gb300, a100, cobalt = catalogue.chip("GB300"), catalogue.chip("A100"), catalogue.cpu("Microsoft Cobalt 200")
    by_name = {w.name: w for w in CLASSES}
    hpc = by_name["HPC, FP64-bound"]
    assert hpc.throughput(a100) > 5 * hpc.throughput(gb300)  # Blackwell Ultra gave its FP64 away
    wide = by_name["HPC, bandwidth-bound"]  # which Blackwell Ultra does better
    assert wide.throughput(gb300) / wide.throughput(a100) == pytest.approx(gb300.hbm_bandwidth / a100.hbm_bandwidth)
    assert sum(w.share for w in CLASSES if w.bound != "cores") == pytest.approx(1)
    assert by_name["agents' tools"].throughput(cobalt) == pytest.approx(66)
    assert by_name["frontier training"].throughput(cobalt) == 0
    with pytest.raises(InputError, match="can't run"):
        by_name["agents' tools"].priced_at(gb300, 1.0)
    with pytest.raises(InputError, match="bound = 'luck'"):
        Workload("x", "luck", 0.5, True, 1.0)


def test_a_reproducible_plan_does_not_hang_on_the_last_bit():
    # two kinds of work that every kind of chip does equally well, in sites that are alike: who works where has no price
    f = problem(
        3,
        W=3,
        R=3,
        throughput=np.ones((3, 4)),
        value=3 / 3600,
        pue=1.2,
        electricity_usd_per_kwh=0.1,
        power_limit=2e4,
        installed=4.0,
        carbon_g_per_kwh=0.0,
    )
    plan, settled = fleet.allocate(f), fleet.allocate(f, reproducible=True)
    assert settled.cost == pytest.approx(plan.cost, rel=1e-12)
    assert settled.megawatt == pytest.approx(plan.megawatt)
    rng = np.random.default_rng(0)
    for _ in range(5):
        nudged = {
            name: np.asarray(getattr(f, name)) * (1 + rng.uniform(-4e-16, 4e-16)) for name in ("demand", "throughput", "power", "value")
        }
        again = fleet.allocate(dataclasses.replace(f, **nudged), reproducible=True)
        assert again.chips == pytest.approx(settled.chips, abs=1e-6)
        assert again.stock == pytest.approx(settled.stock, abs=1e-6)


def test_a_plan_of_one_period_and_one_site_by_hand():
    # 12 units asked of 6 old chips that do 1 each; new ones do 2, cost 40,000 and bring back 25,000; a watt of shell costs 1 USD a year
    f = one(
        demand=[[12.0]], kinds=("old", "new"), throughput=[[1.0, 2.0]], installed=[[6.0], [0.0]], supply=[[0.0], [9.0]], rate=0.1,
        price=[[0.0], [4e4]], resale=[[0.0, 0.0], [0.0, 2.5e4]], occupies=1500.0, space=9e3, space_cost=1.0, operations=100.0,
    )  # fmt: skip
    plan = fleet.allocate(f)
    hour = 8766 * 0.08 * 1.2
    yearly = 9 * 1.0 * hour + 9 * 100 + 3 * 1500 * 1.0
    assert plan.bought[1].sum() == pytest.approx(3)
    assert plan.space == pytest.approx(4500)
    assert plan.cost == pytest.approx(3 * 4e4 + (yearly - 3 * 2.5e4) / 1.1, rel=1e-9)


@pytest.mark.parametrize("chip", ["H100", "GB300", "MI355X"])
def test_a_chip_of_the_plan_costs_what_ownership_says(chip):
    # one chip's work for the five years of its life, alone in a new shell: the plan's cost is that of the bill
    rate = 0.07
    work = (CLASSES[2].priced_at(chip, 100.0),)
    f = fleet.fleet_of(
        work, (chip,), (energy.site("eastus"),), demand=np.full((1, 5), work[0].throughput(chip)), installed=0.0, rate=rate,
        supply=[[9.0, 0, 0, 0, 0]], space=0.0,
    )  # fmt: skip
    place = energy.site("eastus")
    bill = fleet.ownership_cost(chip, wacc=rate, server_life_years=5, pue=place.pue, electricity_usd_per_kwh=place.electricity_usd_per_kwh)
    assert fleet.allocate(f).cost == pytest.approx(float(bill.per_year) * (1 - (1 + rate) ** -5) / rate, rel=1e-9)


def test_new_chips_take_the_shells_of_old_ones():
    # 10 old chips fill the building; twice the work is asked for from the second period on, when a kind comes that does twice as much
    given = {
        "demand": [[10.0, 20.0, 20.0]], "kinds": ("old", "new"), "throughput": [[1.0, 2.0]], "installed": [[10.0], [0.0]],
        "supply": [[0, 0, 0], [0, 99.0, 99.0]], "price": [[0.0], [1e4]], "occupies": 1000.0, "space": 1e4, "value": 1.0,
    }  # fmt: skip
    dear, cheap = (fleet.allocate(one(**given, space_cost=usd)) for usd in (1e3, 1e-3))
    assert dear.space.max() == pytest.approx(0, abs=1e-6)
    assert dear.retired[0].sum() == pytest.approx(10)
    assert dear.bought[1, 0] == pytest.approx([0, 10, 0])
    assert cheap.bought[1, 0] == pytest.approx([0, 5, 0], abs=1e-6)  # a building is cheap: the old ones stay beside five new
    assert cheap.space[0, 0] == pytest.approx([0, 5e3, 5e3], abs=1e-3)


def filled(load, capacity, partitioned=False, **switching):
    """The filling function, and the plan of one typical day at the same inputs: interactive work and training without end."""
    done = fleet.backfill(load, capacity, partitioned=partitioned, **switching)
    mean, hours = done.aside.mean(), done.aside.size
    f = one(
        work=("chat", "train"), throughput=1.0, demand=[[mean], [2 * capacity]], value=[[9.0], [1e-3]], installed=capacity,
        hours=np.full(hours, 1 / hours), shape=[done.aside / mean, np.ones(hours)], movable=[False, True],
    )  # fmt: skip
    return done, fleet.allocate(f)


def test_the_plan_fills_the_day_as_the_filling_function_does():
    hours = np.arange(0, 48, 1.0)
    load = fleet.diurnal(hours, mean=45.0, swing=0.5, service=20.0, seed=7)
    for partitioned in (False, True):
        done, plan = filled(load, 100.0, partitioned, step=3600.0, reaction=3600.0, switch=300.0)
        assert plan.chips[1].sum() / 100 == pytest.approx(float(done.training), abs=1e-6)
        assert plan.served[0] == pytest.approx(1)
    # nobody gives way: chips of their own for the peak, by groups of the plan as by the function
    peak, asked = load.max(), load[1:]
    assert asked.max() == peak
    done = fleet.backfill(load, peak + 50.0, step=3600.0, reaction=3600.0, switch=0.0, partitioned=True)
    fixed = one(
        work=("chat", "train"), throughput=1.0, demand=[[asked.mean()], [500.0]], value=[[9.0], [1e-3]], installed=peak + 50.0,
        hours=np.full(47, 1 / 47), shape=[asked / asked.mean(), np.ones(47)], movable=[False, True],
    )  # fmt: skip
    apart, together = fleet.allocate(dataclasses.replace(fixed, groups=(0, 1))), fleet.allocate(fixed)
    assert apart.chips[1].sum() / (peak + 50.0) == pytest.approx(float(done.training), abs=1e-6)
    assert apart.chips[0].sum() / (peak + 50.0) == pytest.approx(float(done.inference), abs=1e-6)
    assert together.chips[1].sum() == pytest.approx(50.0 + peak - asked.mean(), abs=1e-6)
    # in a valley the interactive group's chips stand idle in the plan, as they do in the function
    assert apart.by_hour[1].max() == pytest.approx(50.0, abs=1e-6)


def test_work_is_served_wherever_its_value_exceeds_what_its_chips_would_earn_elsewhere():
    names = ("A100", "H100", "GB300", "Rubin")
    work, today = fleet.work_today("H100", 3e4, 3.6, "Microsoft Cobalt 200", 100, 2.0)
    work, today = work[:-1], today[:-1]
    day = np.array([0.5, 1.5])
    f = fleet.fleet_of(
        work, names, (energy.site("eastus"),), demand=today[:, None] * 1.6 ** np.arange(3), installed=[[9e3], [2e4], [0], [0]],
        rate=0.07, supply=[[0] * 3, [0] * 3, [3e3] * 3, [0, 2e3, 4e3]], price_decline=0.15, used=0.5, hours=(0.5, 0.5), shape=day,
        power_limit=7e7,
    )  # fmt: skip
    plan = fleet.allocate(f)
    value = np.broadcast_to(f.value, plan.served.shape) * YEAR * 1.07 ** -np.arange(1, 4)
    worth = value > plan.shadow["demand"] * (1 + 1e-6)
    hpc = [i for i, w in enumerate(work) if w.name.startswith("HPC")]
    assert worth[hpc].any()
    assert plan.served[worth] == pytest.approx(1)
    assert plan.shadow["demand"][plan.served < 1 - 1e-6] == pytest.approx(value[plan.served < 1 - 1e-6], rel=1e-6)


@pytest.mark.parametrize("paid", [0.2, 0.6, 1.0, 3.0])
def test_hpc_is_served_wherever_its_value_exceeds_the_dual_of_its_chips(paid):
    """HPC bound by FP64, bandwidth and network at `paid` times the market's price, beside training and inference that want the chips."""
    work, today = fleet.work_today("H100", 3e4, 3.6, "Microsoft Cobalt 200", 100, 2.0)
    work, today = work[:-1], today[:-1] * np.where([w.name.startswith("HPC") for w in work[:-1]], 3.0, 1.0)
    hpc = [i for i, w in enumerate(work) if w.name.startswith("HPC")]
    value = np.array([[w.value] for w in work])
    value[hpc] *= paid
    rate, hours = 0.07, np.array([0.4, 0.6])
    f = fleet.fleet_of(
        work, ("A100", "H100", "GB300"), (energy.site("eastus"),), demand=today[:, None] * np.array([1.0, 1.3]), value=value,
        installed=[[8e3], [1.2e4], [2e3]], rate=rate, used=0.5, hours=hours,
    )  # fmt: skip
    plan = fleet.allocate(f)
    discount = (1 + rate) ** -np.arange(1, 3)
    bill = (f.power - f.idle_power) * f.pue[0] * float(np.ravel(f.electricity_usd_per_kwh)[0]) / 3.6e6 * YEAR  # of a working chip
    dual = plan.shadow["chips"][0, :, 0] / hours[:, None]  # of a chip all the time, by hour and period
    earns = (value[:, :, None] * f.throughput[..., None] * YEAR - bill[:, None]) * discount  # (W, K, T)
    exceeds = ((earns[:, :, None] - dual) > 1e-6 * np.abs(dual).max()).any(axis=(1, 2))
    assert plan.served[hpc][exceeds[hpc]] == pytest.approx(1)
    unserved = plan.served[hpc] < 1 - 1e-6
    assert not exceeds[hpc][unserved].any()
    assert unserved.all() if paid < 0.5 else True
    assert (plan.served[hpc] == pytest.approx(1)) if paid > 2 else True


def test_a_supplier_whose_price_rises_by_hand():
    # 12 wanted; the first 4 chips of a period cost 10,000, the next 4 half as much again, those beyond twice and a half as much
    given = {"demand": [[12.0]], "value": 1.0, "installed": 0.0, "power": 0.0, "idle_power": 0.0, "supply": 99.0, "price": 1e4}
    rising = {"steps": [[4.0, 8.0]], "rise": [[0.5, 1.0]]}
    plan = fleet.allocate(one(**given, **rising))
    assert plan.cost == pytest.approx(1e4 * (4 + 4 * 1.5 + 4 * 2.5))
    # a second supplier of the same chip at a flat 14,000 takes what is dearer than that
    both = one(
        **given | {"supply": 99.0, "price": [[1e4], [1.4e4]]}, kinds=("k", "l"), steps=[[4.0, 8.0], [np.inf, np.inf]], rise=[[0.5, 1.0]]
    )
    plan = fleet.allocate(both)
    assert plan.bought[:, 0, 0] == pytest.approx([4, 8])
    assert plan.cost == pytest.approx(4 * 1e4 + 8 * 1.4e4)
    # the surcharge counts in the budget, and the bill is convex: each chip more costs at least what the one before did
    short = fleet.allocate(one(**given, **rising, budget=1e5))
    assert short.bought.sum() == pytest.approx(8)
    bills = [fleet.allocate(one(**given | {"demand": [[n]]}, **rising)).cost for n in np.linspace(0, 12, 13)]
    assert (np.diff(bills, 2) >= -1e-6).all()


def test_what_is_late_comes_when_it_comes():
    given = {"demand": [[9.0, 9.0, 9.0]], "value": 1.0, "installed": 6.0, "supply": 9.0, "price": 1e4}
    assert [fleet.allocate(one(**given, delay=late)).bought[0, 0].tolist() for late in range(3)] == [[3, 0, 0], [0, 3, 0], [0, 0, 3]]
    # the price of a deadline: what it saves to do work a period later, where chips are short in the first
    plan = fleet.allocate(one(**given, delay=1))
    moved = np.array([[9.0 - 1e-3, 9.0 + 1e-3, 9.0]])
    saved = plan.cost - fleet.allocate(one(**given | {"demand": moved}, delay=1)).cost
    assert saved == pytest.approx(1e-3 * plan.deadline[0, 0], rel=1e-6)
    assert plan.deadline[0, 0] > 1e4
    # and of a whole period's delay of the supplier: solved anew
    assert fleet.allocate(one(**given, delay=2)).cost - plan.cost == pytest.approx(3 * YEAR * 1.0, rel=0.01)


def test_chips_occupy_buildings_and_racks_of_their_own():
    # old chips in air-cooled racks of 8, new ones in liquid-cooled racks of 72; both take power and floor, and floor comes in phases
    f = one(
        demand=[[100.0, 300.0, 300.0]], kinds=("old", "new"), throughput=[[1.0, 2.0]], installed=[[80.0], [0.0]], supply=[[0.0], [999.0]],
        price=[[0.0], [1e4]], value=1.0, assets=("building", "shell", "air rack", "liquid rack"),
        occupies=[[0.1, 0.02], [1e3, 2e3], [1 / 8, 0.0], [0.0, 1 / 72]], space=[[10.0], [1e5], [10.0], [0.0]],
        space_cost=[[100.0], [1.0], [500.0], [4e4]], space_limit=np.array([[[10.0]], *3 * [[[np.inf]]]]), space_delay=[0, 0, 0, 1],
    )  # fmt: skip
    plan = fleet.allocate(f)
    assert plan.bought[1, 0, 0] == pytest.approx(0)  # its racks take a year
    assert plan.space[3, 0] * 72 == pytest.approx(np.maximum.accumulate(plan.stock[1, 0]))
    taken = np.einsum("ak,krt->art", np.array(f.occupies), plan.stock)
    assert (taken <= np.array(f.space)[..., None] + plan.space + 1e-6).all()
    assert plan.space[0] == pytest.approx(0)  # the building can't grow
    assert plan.retired[0].sum() > 0  # so that old chips go, though their racks stay
    more = fleet.allocate(
        dataclasses.replace(f, space=[[10.01], [1e5], [10.0], [0.0]], space_limit=np.inf, space_cost=[[1e9], [1.0], [500.0], [4e4]])
    )
    fixed = fleet.allocate(dataclasses.replace(f, space_limit=np.inf, space_cost=[[1e9], [1.0], [500.0], [4e4]]))
    assert fixed.cost - more.cost == pytest.approx(0.01 * fixed.shadow["space"][0, 0], rel=1e-6)
    with pytest.raises(InputError, match="space_limit = 5 of building in eastus, period 0: 10 is there at the start"):
        fleet.allocate(dataclasses.replace(f, space_limit=5.0))
    with pytest.raises(InputError, match=r"it would do to raise space \(building, eastus, period \d\) by 8 over 10"):
        fleet.allocate(dataclasses.replace(f, value=np.inf, demand=[[100.0, 900.0, 900.0]], throughput=[[1.0, 1.0]]))


def test_a_least_share_is_kept_whatever_the_work_is_worth():
    given = {"work": ("dear", "cheap"), "throughput": 1.0, "demand": [[8.0], [8.0]], "value": [[9.0], [1.0]], "installed": 10.0}
    free, kept = fleet.allocate(one(**given)), fleet.allocate(one(**given, least=[[0.0], [0.5]]))
    assert free.served[:, 0] == pytest.approx([1, 0.25])
    assert kept.served[:, 0] == pytest.approx([0.75, 0.5])
    assert kept.shadow["least"][1, 0] == pytest.approx((9 - 1) * YEAR)
    with pytest.raises(InputError, match=r"must give: installed \(H100, eastus\) by 4.4 of 10; no limit that is raised would do"):
        fleet.allocate(one(**given, least=0.9))


def test_classes_fill_the_plan_as_they_fill_the_function():
    # three classes of preemptible work in order of priority: each keeps its least, and grows in what those before it leave
    load = fleet.diurnal(np.arange(0, 48, 1.0), mean=45.0, swing=0.5, service=20.0, seed=7)
    least, most = np.array([5.0, 10.0, 2.0]), np.array([20.0, 15.0, 10.0])
    done = fleet.backfill(load, 100.0, step=3600.0, reaction=3600.0, switch=300.0, least=least, most=most)
    mean, hours = done.aside.mean(), done.aside.size
    f = one(
        work=("chat", "a", "b", "c"), throughput=1.0, demand=[[mean], *most[:, None]], value=[[9.0], [3.0], [2.0], [1.0]], installed=100.0,
        least=[[1.0], *(least / most)[:, None]], hours=np.full(hours, 1 / hours), shape=[done.aside / mean, *np.ones((3, hours))],
    )  # fmt: skip
    # work that is not movable asks the same in every hour, as a class that grows up to `most` does in every step
    plan = fleet.allocate(f)
    assert plan.chips[1:].sum(axis=(1, 2, 3)) / 100 == pytest.approx(done.by_class, abs=1e-6)
    assert float(done.training) == pytest.approx(done.by_class.sum())
    alone = fleet.backfill(load, 100.0, step=3600.0, reaction=3600.0, switch=300.0)
    assert float(alone.training) > float(done.training)
    for wrong, said in (({"least": [60.0, 60.0]}, "together at most the capacity"), ({"least": [9.0], "most": [5.0]}, "at most `most`")):
        with pytest.raises(InputError, match=said):
            fleet.backfill(load, 100.0, step=3600.0, reaction=3600.0, switch=0.0, **wrong)


def test_dear_memory_makes_chips_dear():
    work, given = (CLASSES[0].priced_at("H100", 2.35),), {"demand": [[9.0, 9.0]], "installed": 0.0, "rate": 0.07}
    chips = ("H100", "Rubin", "Microsoft Cobalt 200")
    own = {"price": [np.nan, np.nan, 8e3], "power": [np.nan, np.nan, 500.0], "supply": 1.0}
    calm, shock = (fleet.fleet_of(work, chips, ("eastus",), memory_price=m, **given, **own) for m in (1.0, [1.0, 4.0]))
    usd = catalogue.cost("hbm_usd_per_gb").value
    gb = [catalogue.chip(name).hbm_bytes / 1e9 for name in chips[:2]]
    assert (shock.price - calm.price)[:, 1] == pytest.approx([*(3 * usd * np.array(gb)), 0.0])
    assert (shock.price - calm.price)[:, 0] == pytest.approx(0)
    with pytest.raises(InputError, match=r"memory_price of shape \(3,\): expected one that broadcasts to \(2,\)"):
        fleet.fleet_of(work, chips, ("eastus",), memory_price=[1.0, 2.0, 3.0], **given, **own)
