"""Cases of the contract: workbench.demand, what is used."""

import numpy as np

from contract.harness import Case
from workbench import catalogue, demand, fabric
from workbench.chips import ServingPlan
from workbench.demand.bottom_up import INPUTS, SOME
from workbench.demand.forecast import history
from workbench.demand.market import scenario
from workbench.demand.uses import agents, tokens, training

SHARES = (0.2, 0.5, 0.8)


def case(name, call, arrays, **more):
    """A case whose valid arguments are the middle ones of `arrays`, and of more that is in `base`."""
    return Case(f"demand.{name}", call, {k: v[1] for k, v in arrays.items()} | more.pop("base", {}), arrays, **more)


def may_be(odd, *names):
    """Arguments of which an odd input means something."""
    return dict.fromkeys(names, (odd,))


TOKENS = {"cached": (0, 100, 200), "fresh": (10, 20, 30), "output": (5, 6, 7)}
TRAINING = {
    "run_flop": (1e25, 5e26, 1e27), "labs": (1, 3, 5), "runs_per_year": (1, 2, 3), "final_share": (0.1, 0.2, 0.3),
    "rollout_share": (0, 0.3, 0.5), "mfu": (0.2, 0.3, 0.4), "follower": (0.3, 0.4, 0.5),
}  # fmt: skip
CAPS = {"mfu": (0.3, 0.4, 0.5), "seconds": (1e6, 9e6, 1e7)}

LLAMA, H100 = catalogue.llm("Llama-3.1-70B"), fabric.Cluster(catalogue.chip("H100"), n_chips=64, fabric="InfiniBand NDR")
CALL = demand.chip_seconds(LLAMA, H100, agents.Tokens(1000.0, 500.0, 100.0), ServingPlan(4))
AGENT = dict(catalogue.table("calibration/agents").select("parameter", "value").iter_rows())
USED = {name: float(scenario.prior(name).quantile(np.array(0.5))) for name in INPUTS} | {"chat_adoption": 0.5}


CASES: list[Case] = [
    # agents
    case(
        "tool_work", agents.tool_work,
        {
            "calls_per_second": (0, 1000, 2000), "chips": (100, 500, 900), "cpu_seconds": (1, 2, 3), "memory_seconds": (1e9, 2e9, 6e9),
            "utilisation": SHARES, "host_cores_per_chip": (0, 14, 20),
        },
        allow=may_be("zero", "calls_per_second", "cpu_seconds", "memory_seconds", "host_cores_per_chip"),
    ),
    case(
        "agent_sessions", agents.agent_sessions,
        {
            "run_rate_usd": (0, 1e10, 4e10), "usd_per_million_output": (5, 12, 25), "input_ratio": (0, 0.2, 0.5),
            "cached_ratio": (0, 0.02, 0.1),
        },
        allow=may_be("zero", "run_rate_usd", "input_ratio", "cached_ratio"),
        read=lambda found: (found.started, found.at_work, found.tokens),
    ),
    # chips
    case(
        "chip_seconds",
        lambda concurrency, **kinds: demand.chip_seconds(LLAMA, H100, agents.Tokens(**kinds), ServingPlan(4), concurrency=concurrency),
        {"concurrency": (1, 8, 64)} | TOKENS, allow={**may_be("zero", *TOKENS), "concurrency": ("infinite",)},
        read=lambda found: (found.cached, found.fresh, found.output),
    ),
    case(
        "ChipTime.needed", CALL.needed, {"calls_per_second": (0, 1, 2)},
        allow=may_be("zero", "calls_per_second"),
    ),
    case(
        "h100e_of_flop", tokens.h100e_of_flop,
        {"tokens_per_second": (0, 1e9, 2e9), "active": (0, 1e9, 2e9), "utilisation": SHARES, "availability": (0.5, 0.9, 1)},
        allow=may_be("zero", "tokens_per_second", "active"),
    ),
    # efficiency and models
    case(
        "damped_growth", tokens.damped_growth, {"years": (-1, 1, 3), "factor": (0.5, 1, 4), "fade": (1, 2, 5)},
        allow={"years": ("negative", "zero"), "fade": ("infinite",)},
    ),
    # training
    case(
        "chips_cap", training.chips_cap, {"h100e": (0, 1e5, 2e5), "share": SHARES} | CAPS,
        allow=may_be("zero", "h100e", "share", "mfu", "seconds"),
    ),
    case(
        "power_cap", demand.power_cap, {"power": (0, 1e9, 2e9), "chip_power": (500, 1000, 1700), "peak": (1e15, 2e15, 4e15)} | CAPS,
        allow=may_be("zero", "power", "mfu", "seconds"),
    ),
    case("data_cap", demand.data_cap, {"tokens": (1e12, 1e13, 3e13)}, allow=may_be("zero", "tokens")),
    case(
        "latency_wall", demand.latency_wall,
        {
            "seconds": (1e6, 9e6, 1e7), "layer_latency": (5e-5, 1e-4, 2e-4), "batch_exponent": (0, 0.3, 0.5), "depth_exponent": (0, 0.3, 1),
        },
        allow=dict.fromkeys(("batch_exponent", "depth_exponent"), ("negative", "zero")),
    ),
    case(
        "money_cap", training.money_cap, {"budget": (0, 1e9, 2e9), "usd_per_h100e_hour": (1, 2, 3), "mfu": CAPS["mfu"]},
        allow=may_be("zero", "budget", "mfu"),
    ),
    case(
        "frontier_run", lambda chips, money: training.frontier_run({"chips": chips, "money": money}),
        {"chips": (1e26, 3e26, 5e26), "money": (2e26, 2e26, 4e26)}, allow=may_be("infinite", "chips", "money"), read=lambda run: run.flop,
    ),
    case(
        "training_demand", training.training_demand, TRAINING, read=lambda found: found,
        allow=may_be("zero", "run_flop", "labs", "runs_per_year", "rollout_share"),
    ),
    case(
        "equal_marginal", demand.equal_marginal, {"training_exponent": (0.1, 0.2, 0.5), "inference_exponent": (0.1, 0.2, 0.5)},
        allow=may_be("zero", "training_exponent", "inference_exponent"),
    ),
    # traces, history and checks of them
    case(
        "agent_hour", lambda **values: demand.agent_hour(values), {name: (v * 0.9, v, v * 1.1) for name, v in AGENT.items()},
        allow=may_be("zero", "agent_context_start", "agent_tool_output", "agent_output", "agent_miss_rate", "agent_calls_per_hour"),
    ),
    Case(
        "demand.Series", lambda **given: history.Series("s", "USD", "flow", **{k: [1, v] for k, v in given.items()}, rows=("a", "b")),
        {"times": 2, "values": 3}, numbers=("times", "values"),
        read=lambda series: np.array([series.times, series.values]),
        allow={"times": ("negative", "zero")},
    ),
    Case(
        "demand.notable_models", lambda most_rank: history.notable_models(most_rank=most_rank).values, {"most_rank": 5},
        numbers=("most_rank",), whole=("most_rank",),
    ),
    # all together
    Case(
        "demand.bottom_up", demand.bottom_up, {"quarters": 2, "n": 2, "seed": 1, "replicates": 1, **USED},
        numbers=("quarters", "n", "seed", "replicates", *USED), whole=("quarters", "n", "seed", "replicates"),
        allow=may_be("zero", "seed", *USED) | dict.fromkeys(("peak_over_mean", *SOME), ()),
        read=lambda found: (found.compute, found.sessions, found.run, found.tools),
    ),
]  # fmt: skip
#: Functions that take no number, and why they are not in the table.
WITHOUT: dict[str, str] = {}
