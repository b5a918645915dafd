"""Cases of the contract: workbench.fleet."""

from contract.harness import Case, series
from workbench import catalogue, chips, energy, fleet
from workbench.fabric import Cluster
from workbench.fleet.finance import npv
from workbench.fleet.pooling import erlang_c
from workbench.fleet.problem import Fleet
from workbench.fleet.workloads import CLASSES, Workload

H100, GB300 = catalogue.chip("H100"), catalogue.chip("GB300")
ZERO, SIGNED, LIMIT = ("zero",), ("zero", "negative"), ("zero", "infinite")


def case(name, call, arrays, numbers=None, whole=(), allow=None, **more):
    """A case whose valid arguments are the middle ones of its arrays, and `numbers`."""
    base = {argument: values[1] for argument, values in arrays.items()} | (numbers or {})
    return Case(f"fleet.{name}", call, base, arrays, tuple(numbers or {}), whole, allow or {}, **more)


def free(*names, kinds=ZERO):
    return dict.fromkeys(names, kinds)


# finance
FINANCE = [
    case(
        "annuity",
        fleet.annuity,
        {"capital": (100, 200, -50), "rate": (-0.2, 0.07, 0), "years": (1, 5, 0.5)},
        allow={"capital": SIGNED, "rate": SIGNED},
    ),
    case(
        "npv",
        lambda rate, cash_flows: npv(rate, series(cash_flows, 60.0, 70.0)),
        {"rate": (-0.2, 0.07, 0), "cash_flows": (-100, 50, -120)},
        allow={"rate": SIGNED, "cash_flows": SIGNED},
    ),
    case(
        "irr",
        lambda cash_flows: fleet.irr(series(cash_flows, -100.0, 60.0, 70.0)),
        {"cash_flows": (-10, -5, -20)},
        allow={"cash_flows": SIGNED},
    ),
]

# ownership
OWNERSHIP = {
    "n_chips": (1, 8, 1000),
    "chip_price": (0, 2e4, 4e4),
    "pue": (1, 1.2, 1.5),
    "electricity_usd_per_kwh": (0, 0.08, 0.1),
    "wacc": (-0.1, 0.07, 0),
    "server_life_years": (3, 5, 6.5),
    "server_uplift": (1, 1.2, 1.5),
    "network_share": (0, 0.2, 0.5),
    "facility_capex_usd_per_w": (0, 12, 15),
    "facility_life_years": (10, 14, 20),
    "operations_usd_per_w_year": (0, 1, 2),
    "maintenance": (0, 0.02, 0.05),
    "salvage": (0, 0.1, 1),
    "availability": (0.5, 0.95, 1),
}
FREE = ("electricity_usd_per_kwh", "network_share", "facility_capex_usd_per_w", "operations_usd_per_w_year")
MAY_BE_ZERO = free(
    "chip_price",
    "electricity_usd_per_kwh",
    "network_share",
    "facility_capex_usd_per_w",
    "operations_usd_per_w_year",
    "maintenance",
    "salvage",
)
WITH_POWER = {"rated": (1000, 1500, 0), "average": (500, 0, 1200)}


def owned(rated=1500.0, average=1000.0, **given):
    return fleet.ownership_cost(power=energy.ServerPower(rated, average), **given)


OWNED = [
    case("ownership_cost", owned, OWNERSHIP, allow=MAY_BE_ZERO | {"wacc": SIGNED}),
    case(
        "ownership_cost",
        lambda rated, average, n_chips: owned(
            rated, average, **{name: values[1] for name, values in OWNERSHIP.items()} | {"n_chips": n_chips}
        ),
        WITH_POWER | {"n_chips": (1, 8, 64)},
        allow=free("rated", "average"),
    ),
]

# factory
WORK = fleet.Work(
    catalogue.llm("Llama-3.1-8B"), 1e12, "bf16", catalogue.llm("Llama-3.1-8B"), chips.ServingPlan(1, "fp8", "fp8"), chips.Load(8, 512, 128)
)
CLUSTER = Cluster(H100, 64)
MAY_GROW = ("pue", "server_uplift", "server_power_ratio")
SHARES = dict.fromkeys(("utilisation", "training_share", "goodput", "training_time", "serving_speed"), 0.8) | {"mfu": 0.4}
INPUTS = {name: cost.value for name, cost in fleet.factory_inputs(H100).items()} | SHARES
FACTORY = [
    case(
        "ai_factory",
        lambda **given: fleet.ai_factory(CLUSTER, WORK, **given),
        {name: (value, value, value * (1.01 if name in MAY_GROW else 0.99)) for name, value in INPUTS.items()},
        allow=free("electricity_usd_per_kwh", "network_usd", "facility_capex_usd_per_w", "operations_usd_per_w_year", "training_share")
        | {"wacc": SIGNED},
        read=lambda answer: {name: value for name, value in vars(answer).items() if name != "work"},
    ),
    case(
        "factory_inputs",
        lambda **given: fleet.factory_inputs(H100, **given),
        {},
        {
            "chip_price": 3e4,
            "wacc": 0.1,
            "pue": 1.2,
            "electricity_usd_per_kwh": 0.05,
            "server_life_years": 5.0,
            "network_usd": 8e3,
        },
        allow=free("electricity_usd_per_kwh", "network_usd") | {"wacc": SIGNED},
    ),
    case(
        "Work",
        lambda tokens: fleet.Work(WORK.trained, tokens, "bf16", WORK.served, WORK.plan, WORK.load),
        {"tokens": (1e11, 1e12, 1e13)},
        read=lambda work: work.tokens,
    ),
]

# pooling and load
POOLING = [
    case("erlang_c", erlang_c, {"servers": (1, 8.5, 20), "load": (0, 5, 30)}, allow=free("load")),
    case("servers_needed", fleet.servers_needed, {"load": (0, 8, 80.5), "wait_probability": (0.01, 0.1, 1)}, allow=free("load")),
    case(
        "newsvendor",
        lambda mean, deviation, **given: fleet.newsvendor(series(mean, 50.0), series(deviation, 20.0), **given),
        {"mean": (0, 100, 200), "deviation": (0, 10, 20), "correlation": (-0.5, 0, 1), "critical_ratio": (0.5, 0.9, 0.99)},
        allow=free("mean", "deviation") | {"correlation": SIGNED},
    ),
    case(
        "backfill",
        lambda load, least, most, **given: fleet.backfill(
            series(load, 60.0, 20.0, 20.0, 90.0, 10.0, 10.0, 10.0), least=series(least, 1.0), most=series(most, 5.0), **given
        ),
        {"load": (10, 30, 0), "capacity": (50, 100, 150), "penalty": (0, 0.1, 1), "least": (0, 5, 10), "most": (20, 30, 500)},
        {"step": 60.0, "reaction": 120.0, "switch": 30.0},
        allow=free("load", "penalty", "switch", "least") | {"most": ("infinite",)},
    ),
    case(
        "diurnal",
        lambda hours, **given: fleet.diurnal(series(hours, 12.0, 130.0), **given),
        {"hours": (-1, 0, 14), "mean": (0, 10, 20), "swing": (0, 0.5, 1), "peak_hour": (-1, 14, 0), "weekend": (0, 0.8, 1)},
        allow=free("mean", "swing", "weekend") | free("hours", "peak_hour", kinds=SIGNED),
    ),
    case(
        "diurnal",
        lambda **given: fleet.diurnal([0.0, 1.0, 2.0], mean=10.0, swing=0.5, **given),
        {},
        {"service": 30.0, "seed": 1.0},
        whole=("seed",),
        allow=free("seed"),
    ),
]

# capacity and chips of one's own
OWN = {
    "rent": (1, 2.65, 4),
    "decline": (-0.1, 0.2, 0),
    "volatility": (0, 0.2, 0.3),
    "depreciation": (0, 0.3, 1),
    "n_chips": (1, 8, 1000),
    "wacc": (-0.05, 0.07, 0),
    "extra": (0, 0.1, 1),
    "tax": (0, 0.21, 0.3),
    "debt": (0, 0.6, 1),
    "interest": (0, 0.08, 0.1),
    "pue": (1, 1.2, 1.5),
}
CHIP = {
    "nre": (5e8, 6e8, 0),
    "unit_cost": (0, 1.2e4, 2e4),
    "merchant_price": (0, 3.7e4, 4e4),
    "relative_performance": (0, 0.8, 1.2),
    "volume": (0, 3e5, 1e6),
    "movable_share": (0, 0.6, 1),
    "lead_years": (0, 2, 3),
    "price_decline": (0, 0.3, 1.5),
    "rate": (0, 0.07, 0.1),
    "respin_probability": (0, 0.3, 1),
    "respin_share": (0, 0.3, 0.5),
    "respin_years": (0, 0.5, 1),
    "port_cost": (0, 5e7, 1e8),
    "running_saving": (-500, 300, 0),
    "life_years": (0, 5, 3),
    "merchant_fleet": (0, 5e9, 2e10),
    "price_response": (0, 0.05, 1),
}
DECISIONS = [
    case(
        "rent_or_own",
        lambda rent, **given: fleet.rent_or_own(H100, rent=series(rent, 2.4, 2.1), **given),
        {name: values for name, values in OWN.items() if name not in ("decline", "volatility")},
        {"years": 3.0, "build_years": 1.0, "n": 2.0, "seed": 1.0},
        whole=("years", "build_years", "n", "seed"),
        allow=free("rent", "depreciation", "extra", "tax", "debt", "build_years", "seed") | free("wacc", "interest", kinds=SIGNED),
    ),
    case(
        "rent_or_own",
        lambda **given: fleet.rent_or_own(H100, n=1, **given),
        {},
        {"decline": 0.2, "volatility": 0.2, "used": 0.8, "energised": 0.9},
        allow=free("volatility", "used", "energised") | {"decline": SIGNED},
    ),
    case("in_house_chip", fleet.in_house_chip, CHIP, allow=free(*CHIP) | {"running_saving": SIGNED}),
]

# fleets
FLEET = {
    "throughput": 1.0,
    "demand": 5.0,
    "value": 3.0,
    "installed": 3.0,
    "power": 1000.0,
    "idle_power": 100.0,
    "pue": 1.25,
    "electricity_usd_per_kwh": 0.04,
    "price": 40000.0,
    "operations": 500.0,
    "resale": 0.0,
    "supply": 4.0,
    "power_limit": 1e5,
    "carbon_g_per_kwh": 360.0,
    "carbon_usd_per_t": 100.0,
    "budget": 1e6,
    "vendor_share": 1.0,
    "survival": 0.95,
    "availability": 0.95,
    "rate": 0.07,
    "occupies": 1500.0,
    "space": 1e6,
    "space_cost": 1.2,
    "space_limit": 2e6,
    "space_delay": 1.0,
    "delay": 1.0,
    "steps": 3.0,
    "rise": 0.2,
    "least": 0.1,
}
LIMITS = free("value", "supply", "power_limit", "space", "steps", "budget", kinds=LIMIT) | {"space_limit": ("infinite",)}
FLEET_ALLOWED = (
    free("throughput", "demand", "installed", "idle_power", "price", "operations", "resale", "carbon_g_per_kwh", "carbon_usd_per_t")
    | free("occupies", "space_cost", "space_delay", "delay", "rise", "least")
    | {"electricity_usd_per_kwh": SIGNED, "rate": SIGNED}
    | LIMITS
)


def fleet_with(demand, **given):
    """Two kinds of work, two of chips, two regions, two periods."""
    names = {"work": ("a", "b"), "kinds": ("k", "l"), "regions": ("r", "s"), "vendor": ("v", "w")}
    return Fleet(**names, demand=series(demand, 4.0), **given)


def of_catalogue(demand, installed, allowed=1.0, **given):
    work = tuple(w.priced_at(H100, 2.35) for w in CLASSES if w.bound in ("bf16", "memory"))
    return fleet.fleet_of(work, (H100, GB300), ("eastus",), demand=[[demand, 50.0]], installed=[[installed], [10.0]], **given)


FLEETS = [
    case("Fleet", fleet_with, {}, FLEET, whole=("delay", "space_delay"), allow=FLEET_ALLOWED, read=lambda f: f.demand),
    case(
        "allocate",
        lambda **given: fleet.allocate(fleet_with(**FLEET | {"least": 0.0} | given)),
        {},
        {
            name: FLEET[name]
            for name in ("demand", "installed", "power", "pue", "electricity_usd_per_kwh", "supply", "power_limit", "survival")
        },
        allow=FLEET_ALLOWED | {"supply": LIMIT},
    ),
    case(
        "two_stage",
        lambda probability, **given: fleet.two_stage([fleet_with(**FLEET | given | {"least": 0.0})] * 2, [probability, 0.6]),
        {},
        {"probability": 0.4},
        allow=free(),
        read=lambda both: both.cost,
    ),
    case(
        "fleet_of",
        of_catalogue,
        {},
        {
            "demand": 60.0,
            "installed": 20.0,
            "rate": 0.07,
            "price_decline": 0.1,
            "used": 0.5,
            "memory_price": 1.5,
            "price": 3e4,
            "power": 1500.0,
            "latency": 0.1,
            "supply": 5.0,
            "electricity_usd_per_kwh": 0.07,
            "pue": 1.25,
            "carbon_usd_per_t": 100.0,
            "power_limit": 1e9,
        },
        allow=free("demand", "installed", "electricity_usd_per_kwh", "carbon_usd_per_t", "price_decline", "used")
        | free("memory_price")
        | free("price", "power", kinds=("zero", "nan"))
        | free("supply", "latency", "power_limit", kinds=LIMIT)
        | {"rate": SIGNED, "electricity_usd_per_kwh": SIGNED},
        read=lambda f: (f.price, f.power, f.resale, f.allowed),
    ),
    case(
        "work_today",
        lambda **given: fleet.work_today(chip=H100, processor="Microsoft Cobalt 200", **given),
        {},
        {"chips_at_work": 1000.0, "rent_per_hour": 2.0, "processors_at_work": 100.0, "processor_rent": 1.0},
        allow=free("chips_at_work", "rent_per_hour", "processors_at_work", "processor_rent"),
    ),
    case(
        "Workload",
        lambda **given: Workload("x", "bf16", preemptible=True, **given),
        {},
        {"efficiency": 0.5, "latency": 1.0, "value": 2.0},
        allow=free("value") | {"latency": LIMIT},
    ),
    case(
        "Workload.priced_at",
        lambda rent_per_hour: CLASSES[0].priced_at(H100, rent_per_hour),
        {},
        {"rent_per_hour": 2.0},
        allow=free("rent_per_hour"),
    ),
]

CASES: list[Case] = [*FINANCE, *OWNED, *FACTORY, *POOLING, *DECISIONS, *FLEETS]
#: Functions that take no number, and why they are not in the table.
WITHOUT: dict[str, str] = {
    "ownership_errors": "takes nothing",
    "training_cost": "takes the name of a run",
}
