"""Cases of the contract: workbench.demand, market and forecasts."""

from dataclasses import replace

import numpy as np

from contract.harness import Case
from workbench import demand
from workbench.demand.forecast import scores, trend
from workbench.demand.forecast.history import Series
from workbench.demand.market import scenario
from workbench.demand.market.loop import Futures, simulate


def over(count):
    """What gives an argument a first axis of `count` equal entries; text, masks and truth values stay what they are."""
    return lambda value: np.repeat(np.asanyarray(value)[None], count, axis=0)


def behind(value):
    """The same with a last axis of two."""
    return np.repeat(np.asanyarray(value)[..., None], 2, axis=-1)


def rising(value):
    """A series of six that ends at `value`."""
    array = over(6)(value)
    return (array.T * np.linspace(0.5, 1, 6)).T if array.dtype.kind in "iuf" else array


def path(value):
    """The same, by future."""
    array = rising(value)
    return array if array.ndim > 1 else array[:, None]


two, three, four, eight = over(2), over(3), over(4), over(8)
T = np.arange(6.0)
FIT = trend.fit_trend([0.0, 0.2, 0.3, 0.6, 0.7, 1.0])
PAST = trend.records([2018, 2020, 2021, 2023], [1e23, 3e23, 1e24, 5e25], 2023.0)
SERIES = Series("s", "USD", "flow", 2020 + T / 4, np.exp(T / 5), tuple("abcdef"))
TEST = scores.rolling(SERIES, lambda past, steps: trend.last_value(np.log(past.values), steps), "last value", 1, least=3)
DRAWS = scenario.draws(3, 1)
MARKET = {
    "demand": 1e6, "elasticity": 0.9, "adjustment": 0.5, "reference_price": 2.0, "booked": 1.8, "entry": 0.02,
    "long_run_cost": 1.5, "installed": 1e6,
    "shipping": 1e5, "limits": 2e5, "draw": 800.0, "draw_decline": 0.05, "power": 1e9, "power_coming": 2e8, "power_lead": 12.0,
    "chip_lead": 4.0, "mean_life": 20.0, "growth": 0.1, "chip_response": 0.5, "power_response": 0.4, "limit_response": 0.1,
    "extrapolation": 0.75, "ceiling": 16.0, "memory": 4.0, "contract_quarters": 8.0, "cancelled": 0.25, "power_added": 1e6, "pue": 1.15,
    "electricity_usd_per_kwh": 0.072, "space_usd_per_kwh": 0.144, "swap_ratio": 1.5,
}  # fmt: skip
MAY_BE_0 = (
    "entry", "shipping", "limits", "draw_decline", "power", "power_coming", "growth", "chip_response",
    "power_response", "limit_response", "extrapolation", "cancelled", "power_added", "electricity_usd_per_kwh", "space_usd_per_kwh",
)  # fmt: skip


def market(**given):
    """Futures of five quarters, four vintages and two classes."""
    given = MARKET | given
    lasting = {name: four(given[name]) for name in ("installed", "shipping", "limits")}
    lasting["limits"] = over(5)(lasting["limits"]).swapaxes(0, 1)
    if not np.ndim(given["demand"]):
        given["demand"] = over(1)(given["demand"])
    for name in lasting:  # one future where it is one number
        if np.ndim(given[name]) == 0:
            lasting[name] = lasting[name][..., None]
    return Futures(**given | lasting | {"demand": two(over(5)(given["demand"]))})


PRIOR = {"growth": 0.2, "growth_deviation": 0.3, "noise": 0.1, "dof": 4.0, "persistence": 0.5, "shock": 0.05}


def one(value):
    """Without the axis of futures where there is one future."""
    return value[..., 0] if value.shape[-1] == 1 else value


def allow(names, *kinds):
    """Odd inputs that mean something in each of `names`."""
    return dict.fromkeys(names.split() if isinstance(names, str) else names, kinds)


CASES: list[Case] = [
    Case(
        "demand.log_law_compute", demand.log_law_compute, {"value_per_decade": 5.0, "price": 2.0},
        {"value_per_decade": (0, 5, 6), "price": (1, 2, 3)}, allow=allow("value_per_decade", "zero"),
    ),
    Case(
        "demand.ElasticDemand.at", lambda elasticity, **x: demand.ElasticDemand(elasticity).at(**x),
        {"elasticity": 1.1, "price": 3.0, "compute": 5.0, "reference_price": 2.0},
        {"elasticity": (0, 1, 1.1), "price": (0.1, 3, 4), "compute": (0, 3, 8), "reference_price": (1, 2, 3)},
        allow=allow("elasticity compute", "zero"),
    ),
    Case(
        "demand.ElasticDemand.value_exponent", lambda elasticity: demand.ElasticDemand(elasticity).value_exponent, {"elasticity": 1.1},
        {"elasticity": (0.5, 1, 1.1)},
    ),
    Case(
        "demand.ElasticDemand.jevons", lambda efficiency, elasticity: demand.ElasticDemand(elasticity).jevons(efficiency),
        {"efficiency": 3.0, "elasticity": 1.1}, {"efficiency": (0.5, 1, 3), "elasticity": (0, 1, 1.1)}, allow=allow("elasticity", "zero"),
    ),
    Case(
        "demand.long_run_cost", demand.long_run_cost,
        {
            "capital_usd": 25e3, "running_usd_per_hour": 0.3, "wacc": 0.1, "life_years": 5.0, "decline": 0.2, "utilisation": 0.85,
            "overhead": 0.1,
        },
        {
            "capital_usd": (0, 25e3, 3e4), "running_usd_per_hour": (0, 0.3, 0.5), "wacc": (0, 0.1, 0.2), "life_years": (3, 5, 6),
            "decline": (-0.1, 0.2, 0.3), "utilisation": (0.5, 0.85, 1), "overhead": (0, 0.1, 0.2),
        },
        allow=allow("capital_usd running_usd_per_hour overhead", "zero") | allow("wacc decline", "negative", "zero"),
    ),
    Case(
        "demand.survival", demand.survival, {"age": 3.0, "mean_life": 5.0, "shape": 4.0},
        {"age": (0, 3, 9), "mean_life": (1, 5, 6), "shape": (0.5, 1, 4)}, allow=allow("age", "zero") | allow("mean_life", "infinite"),
    ),
    Case(
        "demand.simulate",
        lambda **x: simulate(market(**x)),
        MARKET,
        {name: (value * 0.95, value, value * 1.05) for name, value in MARKET.items()},
        allow=allow(MAY_BE_0, "zero") | {"growth": ("negative", "zero"), "limits": ("zero", "infinite")}
        | allow("ceiling swap_ratio", "infinite"),
        grid=False, read=lambda found: {name: one(value) for name, value in vars(found).items()}, last=True,
    ),
]  # fmt: skip
CASES += [
    Case(
        "demand.futures",
        lambda usd_per_h100e_hour, demand_shocks, **x: scenario.futures(
            DRAWS | x | {"demand_shocks": path(demand_shocks)}, usd_per_h100e_hour=usd_per_h100e_hour
        ),
        {
            "usd_per_h100e_hour": 2.35, "demand_shocks": 0.5, "agents_demand_growth": 3.0, "api_elasticity": 1.1, "research_share": 0.3,
            "chips_headroom": 1.5, "power_coming_gw_per_year": 20.0, "power_usage_effectiveness": 1.15, "chip_lead_quarters": 4.0,
        },
        {
            "usd_per_h100e_hour": (2, 2.35, 3), "demand_shocks": (0, 0.5, 1), "agents_demand_growth": (2, 3, 4),
            "api_elasticity": (0.5, 1, 1.1),
            "research_share": (0.1, 0.3, 0.5), "chips_headroom": (1, 1.5, 2), "power_coming_gw_per_year": (0, 10, 20),
            "power_usage_effectiveness": (1.1, 1.15, 1.2), "chip_lead_quarters": (3, 3.5, 4),
        },
        allow=allow("power_coming_gw_per_year", "zero") | allow("demand_shocks", "negative", "zero"),
        grid=False, read=lambda f: one(simulate(f).rent), last=True,
    ),
    Case(
        "demand.draws", lambda **x: scenario.draws(**x)["hours_sold"],
        {"quarters": 3.0, "n": 8.0, "seed": 1.0, "replicates": 1.0, "hours_sold": 0.8},
        numbers=("quarters", "n", "seed", "replicates", "hours_sold"), whole=("quarters", "n", "seed", "replicates"),
        allow=allow("seed", "zero"),
    ),
    Case(
        "demand.outlook", lambda **x: demand.outlook(**x).market.rent, {"quarters": 3.0, "n": 8.0, "seed": 1.0, "stock_scale": 1.0},
        numbers=("quarters", "n", "seed", "stock_scale"), whole=("quarters", "n", "seed"), allow=allow("seed", "zero"),
    ),
    Case(
        "demand.Outlook.drivers", demand.outlook(3, 16).drivers, {"quarter": 1.0, "bins": 4.0}, numbers=("quarter", "bins"),
        whole=("quarter", "bins"),
    ),
    Case(
        "demand.past", lambda **x: demand.past(**x).market, {"n": 8.0, "seed": 1.0}, numbers=("n", "seed"), whole=("n", "seed"),
        allow=allow("seed", "zero"),
    ),
    Case(
        "demand.hindcast", demand.hindcast, {"n": 8.0, "seed": 1.0, "horizon": 4.0, "hours_sold": 0.8},
        numbers=("n", "seed", "horizon", "hours_sold"), whole=("n", "seed", "horizon"), allow=allow("seed", "zero"),
    ),
    Case(
        "demand.order_plan", lambda need, **x: demand.order_plan(three(two(need)), **x).cost_of(1.0),
        {"need": 5.0, "own_usd_per_quarter": 1.0, "lease_usd_per_quarter": 2.2, "lead": 1.0, "margin_usd_per_quarter": 3.0, "held": 1.0},
        numbers=("need", "own_usd_per_quarter", "lease_usd_per_quarter", "lead", "margin_usd_per_quarter", "held"), whole=("lead",),
        allow=allow("need lead held", "zero") | allow("lease_usd_per_quarter margin_usd_per_quarter", "infinite"),
    ),
    Case(
        "demand.OrderPlan.cost_of", demand.order_plan(np.ones((3, 2)), own_usd_per_quarter=1.0, lease_usd_per_quarter=2.0, lead=0).cost_of,
        {"owned": 1.0}, numbers=("owned",), allow=allow("owned", "zero"),
    ),
    Case(
        "demand.TrendPrior", lambda **x: trend.fit_trend([0.0, 0.2, 0.3], trend.TrendPrior(**x)).state, PRIOR,
        numbers=tuple(PRIOR), allow=allow("growth", "negative", "zero") | allow("persistence", "zero"),
    ),
    Case(
        "demand.fit_trend", lambda log_values: trend.fit_trend(rising(log_values)).state, {"log_values": 2.0}, numbers=("log_values",),
        allow=allow("log_values", "negative", "zero"),
    ),
    Case(
        "demand.Trend.paths", FIT.paths, {"steps": 2.0, "n": 8.0, "seed": 1.0},
        numbers=("steps", "n", "seed"), whole=("steps", "n", "seed"),
        allow=allow("steps seed", "zero"),
    ),
    Case(
        "demand.pooled", lambda growths, errors: trend.pooled(four(growths), four(errors)), {"growths": 0.3, "errors": 0.1},
        numbers=("growths", "errors"), allow=allow("growths", "negative", "zero") | allow("errors", "zero"),
    ),
    Case(
        "demand.log_linear", lambda times, log_values, **x: trend.log_linear(rising(times), rising(log_values), **x),
        {"times": 6.0, "log_values": 2.0, "at": 8.0, "half_life": 20.0}, {"at": (-1, 7, 8)},
        ("times", "log_values", "half_life"),
        allow=allow("at log_values", "negative", "zero") | allow("times", "negative") | allow("half_life", "infinite"),
    ),
    Case(
        "demand.records", lambda times, values, until: trend.records(rising(times), rising(values), until=until),
        {"times": 6.0, "values": 2.0, "until": 6.0}, numbers=("times", "values", "until"), allow=allow("times", "negative", "zero"),
    ),
    Case(
        "demand.record_ahead", lambda **x: trend.record_ahead(PAST, **x), {"years": 1.0, "n": 4.0, "seed": 1.0}, {"years": (0, 1, 2)},
        ("n", "seed"), ("n", "seed"), allow=allow("years seed", "zero"),
    ),
    Case(
        "demand.Backtest",
        lambda samples, **x: replace(TEST, samples=eight(three(samples)).T, **{name: three(v) for name, v in x.items()}).score(),
        {"origins": 2021.0, "targets": 2022.0, "samples": 1.0, "observed": 1.0}, numbers=("origins", "targets", "samples", "observed"),
        allow=allow("origins targets samples observed", "negative", "zero"),
    ),
    Case(
        "demand.rolling", lambda **x: scores.rolling(SERIES, lambda past, steps: np.ones(4), "m", **x),
        {"steps": 1.0, "least": 3.0, "since": 2020.0},
        numbers=("steps", "least", "since"), whole=("steps", "least"), allow=allow("since", "negative", "zero"),
    ),
]  # fmt: skip
#: Functions that take no number, and why they are not in the table.
WITHOUT: dict[str, str] = {"scoreboard": "takes names of tests"}
