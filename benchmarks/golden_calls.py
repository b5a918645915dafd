"""Calls of models that no file of measurements and no notebook exercises, for `golden.py`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any


class Loguniform:
    """Any ratio alike from 1 to 9: a distribution of one's own."""

    def quantile(self, p: Any) -> Any:
        return 1 * 9**p


def calls() -> dict[str, Callable[[], Any]]:
    """Calls of models by a name that outlives their modules and functions: edit the calls as those are renamed, never the names."""
    import numpy as np

    from workbench import catalogue, chips, demand, energy, fabric, fleet, scaling, uncertainty
    from workbench.demand.uses.training import frontier_run, money_cap
    from workbench.energy.grid import Site
    from workbench.fleet.finance import npv
    from workbench.fleet.problem import Fleet
    from workbench.uncertainty.scores import crps
    from workbench.uncertainty.summaries import bands
    from workbench.units import DAY, HOUR

    rng, chip, llm = np.random.default_rng(0), catalogue.chip, catalogue.llm
    h100, gb300 = fabric.Cluster(chip("H100"), 64, "InfiniBand NDR"), fabric.Cluster(chip("GB300"), 4608)
    plan, load = (
        chips.TrainingPlan(tp=np.array([1, 2, 4, 8]), pp=2, zero=1, recompute="full"),
        chips.Load(np.array([1, 16, 256]), 1024, 512),
    )
    clusters = [fabric.Cluster(chip(name), 64, "InfiniBand NDR") for name in ("H100", "B200", "MI355X")]
    slo = chips.SLO(tokens_per_second=30, ttft=5.0)
    frontier = chips.slo_frontier(
        llm("DeepSeek-R1"), clusters, chips.Load(1, 1024, 1024), usd_per_chip_hour={"H100": 2.0, "B200": 3.5, "MI355X": 2.5}
    )
    tiers = (fabric.Tier(8, 450e9, "scale-up", "H100"), fabric.Tier(64, 50e9, "InfiniBand"))
    tree = fabric.fat_tree(4608, 64, 50e9, group=8)
    apart = {"sites": 3, "distance": 1e6}
    law, sizes = scaling.law("Besiroglu Huber"), np.geomspace(1e2, 1e9, 8)
    points = np.exp(rng.uniform(np.log([[1e8], [1e9]]), np.log([[1e10], [1e11]]), (2, 60)))
    place = Site("x", 0.08, 400, 1.2, wue_l_per_kwh=0.3, grid_water_l_per_kwh=3, demand_usd_per_kw=15)
    hours = np.arange(0, 168, 0.25)
    week = fleet.diurnal(hours, mean=45.0, swing=0.5, service=20.0, seed=7)
    owned = {"n_chips": 4608, "chip_price": 40e3, "power": energy.server_power(chip("GB300"), 0.8), "pue": np.array([1.1, 1.3])}
    work = fleet.Work(
        llm("Llama-3.1-405B"), 15.6e12, "bf16", llm("DeepSeek-R1"), chips.ServingPlan(8, "fp4", "fp8"), chips.Load(256, 1024, 1024)
    )
    inputs = {name: cost.value for name, cost in fleet.factory_inputs(chip("GB300")).items()} | {"utilisation": 0.8}
    own_chip = {
        "nre": 4e8,
        "unit_cost": 12e3,
        "merchant_price": 37.5e3,
        "relative_performance": 0.8,
        "movable_share": 0.5,
        "lead_years": 2.0,
    }
    own_chip |= {"price_decline": 0.32, "rate": np.expm1(0.095), "respin_probability": 0.4}
    problem = Fleet(
        work=("a", "b", "c"),
        kinds=("k", "l", "m", "n"),
        regions=("x", "y"),
        throughput=rng.lognormal(0, 0.5, (3, 4)),
        demand=rng.lognormal(3, 0.3, (3, 4)),
        value=rng.uniform(1, 4, (3, 1)) / HOUR,
        installed=rng.uniform(0, 5, (4, 2)),
        power=rng.uniform(1000, 2000, 4),
        idle_power=300.0,
        pue=np.array([1.1, 1.3]),
        electricity_usd_per_kwh=np.array([[0.05], [0.1]]),
        price=rng.uniform(20_000, 40_000, (4, 1)),
        operations=500.0,
        supply=rng.uniform(1, 8, (4, 1)),
        power_limit=np.array([[1e4], [2e4]]),
        carbon_g_per_kwh=400,
        carbon_usd_per_t=50,
        rate=0.07,
        survival=0.95,
    )
    planned = fleet.allocate(problem)
    outlook = demand.outlook(quarters=12, n=2048)
    need = 100 * np.exp(np.cumsum(rng.normal(0.08, 0.15, (8, 512)), axis=0))
    spread = {
        "lognormal": uncertainty.Lognormal(0.5, 3),
        "normal": uncertainty.Normal(-1, 2),
        "pert": uncertainty.Pert(1, 2, 6),
        "uniform": uncertainty.Uniform(0, 1),
        "beta": uncertainty.Beta(0.1, 0.6),
        "loguniform": Loguniform(),
        "path": uncertainty.Path(4, 0.9, 0.05),
    }
    drawn = uncertainty.sample(spread, 256, seed=3, correlation={("lognormal", "normal"): 0.6})
    calls_an_hour, tokens = demand.agent_hour()
    return {
        "training step": lambda: chips.training_step(llm("Llama-3.1-405B"), gb300, chips.TrainingPlan(tp=8, pp=9), 2304),
        "training steps of four layouts": lambda: chips.training_step(llm("Llama-3.1-70B"), h100, plan, 64, sequence=4096),
        "training memory": lambda: (
            chips.training_step(llm("DeepSeek-V3"), gb300, chips.TrainingPlan(tp=2, pp=8, ep=8, zero=1, precision="fp8"), 4608).memory
        ),
        "best layouts": lambda: (s := chips.search_layouts(llm("Llama-3.1-70B"), h100, 256, top=5), s.frame, s.evaluated, s.feasible)[1:],
        "what a layout hangs on": lambda: chips.elasticities(llm("Llama-3.1-70B"), h100, chips.TrainingPlan(tp=8, pp=2), 64),
        "training run": lambda: chips.training_run(llm("Llama-3.1-405B"), gb300, 15.6e12, mfu=0.4),
        "serving, closed loop": lambda: chips.serving(llm("Llama-3.1-70B"), h100, chips.ServingPlan(4, "fp8"), load),
        "serving, open loop": lambda: chips.serving(
            llm("DeepSeek-R1"), gb300, chips.ServingPlan(8, "fp4", "fp8"), chips.Load(np.inf, 2048, 512, rate=[1.0, 4.0])
        ),
        "frontier of serving": lambda: (frontier.height, frontier.head(4), frontier.tail(4)),
        "cheapest chip": lambda: chips.cheapest_chip(frontier, slo),
        "small and large model": lambda: chips.routed(0.1, 1.0, 0.6, 0.9, share=np.array([0.2, 0.7]), skill=0.5, cascade=True),
        "watts of a chip": lambda: chips.power(chip("B200"), np.array([0.0, 0.5, 1.0]), 0.7),
        "collectives": lambda: [fabric.collective_time(op, sizes, tiers) for op in ("all_reduce", "all_gather", "alltoall")],
        "topologies": lambda: [t.frame() for t in (tree, fabric.dragonfly(16, 8, 8, 25e9))],
        "bill of a fabric": lambda: fabric.bill(
            tree, switch_usd=40e3, optic_usd=700.0, cable_usd=150.0, nic_usd=1500.0, switch_watts=1500.0
        ),
        "goodput": lambda: fabric.goodput(np.array([1e3, 16384, 1e5]), checkpoint=30.0, restart=600.0),
        "sites apart": lambda: (
            fabric.across_sites(8e11, 10.0, **apart, bandwidth=1e11, overlap=0.5),
            fabric.bandwidth_for(0.05, 8e11, 10.0, **apart),
        ),
        "best sizes of all laws": lambda: scaling.law_spread(1e25),
        "best size": lambda: scaling.optimal_allocation(np.geomspace(1e20, 1e27, 4), law),
        "best size of scarce data": lambda: scaling.data_constrained_optimum(1e25, 1e12, scaling.law("Muennighoff")),
        "best size of a served model": lambda: scaling.inference_aware_optimum(np.geomspace(1e11, 1e15, 3), law, loss=2.1, mfus=(0.4, 0.2)),
        "capability": lambda: {0: scaling.capability_gain([0.1, 10.0], years=1.0)},
        "fit of a law": lambda: scaling.fit(*points, law.loss(*points) * np.exp(rng.normal(0, 0.01, 60))),
        "power of a hall": lambda: energy.power_chain(
            chip("H100"), 1024, drawn=chips.power(chip("H100"), 0.6, 0.5), cooled_by="air", wet_bulb=np.array([10.0, 25.0])
        ),
        "bill of a site": lambda: energy.energy_bill(place, np.linspace(1e6, 2e6, 24), carbon_usd_per_t=0.05),
        "curtailment": lambda: energy.curtailment(np.sin(np.arange(96)) + 1.5, 0.1, work_usd_per_kwh=0.3),
        "cost of owning": lambda: fleet.ownership_cost(
            **owned, electricity_usd_per_kwh=0.08, wacc=0.1, server_life_years=5.0, server_uplift=1.15
        ),
        "AI factory": lambda: (
            f := fleet.ai_factory(gb300, work, **inputs),
            f.cost,
            f.usd_per_useful_chip_hour,
            f.usd_per_million_tokens,
            f.training_seconds,
        )[1:],
        "plan of a fleet": lambda: (planned.cost, planned.frame(), planned.shadow),
        "first orders for two futures": lambda: fleet.two_stage(
            [problem, dataclasses.replace(problem, value=problem.value * 2)], [0.4, 0.6]
        ),
        "pools": lambda: (
            fleet.newsvendor([1000, 2000.0], [200, 300.0], 0.3, critical_ratio=0.8),
            fleet.servers_needed([10.0, 1000.0], 0.2),
            {"partitioned": float(sum(fleet.servers_needed([10.0, 50.0], 0.2))), "pooled": float(fleet.servers_needed(60.0, 0.2))},
        ),
        "fill of a fleet": lambda: fleet.backfill(week, 100.0, step=900.0, reaction=1800.0, switch=300.0, penalty=0.03),
        "rent or own": lambda: (
            o := fleet.rent_or_own("H100", rent=2.65, decline=0.2, depreciation=0.3, used=0.8, tax=0.21, debt=0.6, n=16, seed=5),
            o.net_present_value,
            o.cover,
            o.break_even,
        )[1:],
        "money": lambda: (fleet.irr([-100.0, 30, 40, 50, 20]), npv(0.08, [-100.0, 30, 40, 50, 20]), fleet.annuity(1e6, 0.08, [3, 5])),
        "chip of one's own": lambda: fleet.in_house_chip(**own_chip, volume=[1e4, 1e5, 1e6]),
        "outlook": lambda: (outlook.headline(12), outlook.binds(), outlook.worth_of_power()),
        "drivers of demand": lambda: outlook.drivers(4).sort("input"),
        "hindcast": lambda: demand.hindcast(n=512),
        "uses from below": lambda: (used := demand.bottom_up(8, n=256), used.explained(), used.relative().mean(axis=-1))[1:],
        "orders": lambda: (
            ordered := demand.order_plan(need, own_usd_per_quarter=1.0, lease_usd_per_quarter=2.2, lead=4),
            ordered.orders,
            ordered.regret(),
        )[1:],
        "past of the market": lambda: (before := demand.past(n=512), before.revenue(), before.disclosed())[1:],
        "cost of a sold hour": lambda: demand.long_run_cost(25e3, 0.3, wacc=0.1, life_years=5.0, decline=[0.0, 0.2], utilisation=0.85),
        "chip time of an agent": lambda: demand.chip_seconds(
            llm("Kimi-K2.5"), clusters[1], tokens * (1 / calls_an_hour), chips.ServingPlan(8, "fp8")
        ),
        "frontier run": lambda: (
            frontier_run({"money": money_cap(1e10, usd_per_h100e_hour=2.0, mfu=0.4), "data": demand.data_cap(1e14)}),
            demand.power_cap(1e9, chip_power=1400.0, peak=2.5e15, mfu=0.4, seconds=90 * DAY),
            demand.latency_wall(),
        ),
        "samples": lambda: {name: values[..., :4] for name, values in drawn.items()},
        "indices": lambda: uncertainty.sobol_indices(
            lambda lognormal, normal, pert: lognormal * pert + normal, {k: spread[k] for k in ("lognormal", "normal", "pert")}, 256
        ),
        "bands and scores": lambda: (
            bands(drawn["lognormal"]),
            crps(drawn["normal"][None], [0.3]),
        ),
    }
