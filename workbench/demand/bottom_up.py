"""Demand from its uses: users, tasks, tokens and training runs as compute asked for, and how much of the fleet known uses explain.

Known uses explain a part of what is installed, for cloud customers, recommenders, idle head-room and undisclosed work disclose neither
tokens nor runs. They tell how demand grows: `BottomUp.relative` gives it to `workbench.demand.market.outlook` in place of priors of growth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import polars as pl

from workbench.arrays import Array, Arrays
from workbench.checks import LENGTH, WHOLE, Rule, takes
from workbench.demand.forecast.history import users, year
from workbench.demand.forecast import trend
from workbench.demand.market import scenario
from workbench.demand.market.loop import Market, simulate
from workbench.demand.uses import training
from workbench.demand.uses.agents import Tokens, ToolWork, agent_hour, delegation_share, horizon, tool_work
from workbench.demand.uses.tokens import Segment, damped_growth, h100e_of_flop, segments_of, token_demand
from workbench.errors import InputError, UnknownName
from workbench.rows import H100E
from workbench.uncertainty import Beta, Path, Uniform, sample
from workbench.uncertainty.distributions import Distribution
from workbench.uncertainty.summaries import bands
from workbench.units import DAY, GIGA, KILO, YEAR

#: Uses of compute, and the class of `scenario.BUYERS` that each belongs to.
CLASS_OF = {
    "chat": "consumer", "answers above search": "consumer", "coding agents": "agents", "research agents": "agents",
    "other uses over APIs": "agents", "media": "consumer", "final training runs": "research", "experiments": "research",
    "roll-outs": "research",
}  # fmt: skip
USES = tuple(CLASS_OF)
SINCE = 2026.0  #: start of 2026, to which the levels of the priors belong
ONLINE = 6.0e9  #: people online, whom users of chat cannot exceed
ADOPTION = "chat_adoption"  #: quantile of the growth of chat's users, among the futures of its trend

#: Rows of the table of priors that the uses take beside those of the loop, those that matter most first.
INPUTS = (
    "frontier_growth", "consumer_tokens_growth", "code_agents_growth", "final_run_share", "run_chip_share", "run_budget",
    "active_parameters", "training_mfu", "frontier_runs_per_year", "frontier_labs", "serving_utilisation", "code_agents_2026",
    "api_tokens_per_month_2026", "frontier_compute_2025", "lab_follower", "rollout_share", "active_parameters_growth",
    "cached_token_cost", "long_context_cost", "run_cost_growth", "run_power_2030", "run_power_growth", "run_days", "run_tokens",
    "chat_users_2026", "chat_messages_per_day", "chat_input", "chat_cached", "chat_output", "search_users_2026", "search_answers_per_day",
    "search_input", "search_output", "research_agent_tasks_per_day", "research_agent_multiple", "media_share_of_output", "horizon_2026",
    "horizon_doubling_days", "delegable_task_hours", "delegable_task_spread", "delegation_steepness", "peak_over_mean", "deferrable_share",
    "availability", "tool_cpu_seconds", "tool_memory_gb_seconds", "cpu_utilisation", "host_cores_per_chip",
)  # fmt: skip
#: Of these, those that cannot be nothing: growth, runs, horizons, shares of time; a use can be without users.
SOME = tuple(
    name
    for name in INPUTS
    if name.endswith(("growth", "_mfu", "utilisation", "availability", "parameters", "hours", "steepness", "follower", "compute_2025"))
    or name.startswith(("run_", "horizon", "final_run"))
)
#: What moves together, beside what does in the loop: growth brings capital, whoever asks.
TOGETHER = {("code_agents_growth", "capital_growth"): 0.4, ("frontier_growth", "capital_growth"): 0.4}


@dataclass(frozen=True, repr=False)
class BottomUp(Arrays):
    """Compute that known uses ask for at the known rent, quarter by quarter; futures on the last axis."""

    compute: Array  #: (uses, quarters, futures), with head-room for peaks [H100e]
    tokens: Tokens  #: of the five uses that disclose or imply tokens, (segments, quarters, futures) [tokens/s]
    run: training.FrontierRun  #: largest training run, (quarters, futures)
    tools: ToolWork  #: processors of agents' tools and of their chips' servers, (quarters, futures)
    installed: Array  #: at the end of the quarter before the first, (futures,) [H100e]
    given: Mapping[str, Array]  #: sampled inputs, in the units of the table of priors

    @property
    def quarters(self) -> list[str]:
        """Names, as 2026Q1."""
        return scenario.quarter_names(scenario.newest(), self.compute.shape[1])

    @property
    def cpu_cores(self) -> Array:
        """Processor cores that agents' tools keep, (quarters, futures)."""
        return self.tools.cores

    def by_class(self) -> dict[str, Array]:
        """Compute by class of demand, in the order of the market's, (quarters, futures) [H100e]."""
        return {name: self.compute[[CLASS_OF[use] == name for use in USES]].sum(axis=0) for name in scenario.BUYERS}

    def relative(self) -> Array:
        """Demand for `workbench.demand.market.outlook`: each class over all in the first quarter, (classes, quarters, futures).

        Known uses give the growth, the loop's shares what each class uses at first; shocks are the loop's. An outlook of the same seed,
        quarters and futures has the same futures; it takes n of eight replicates of n / 8.
        """
        asked, x = np.stack(list(self.by_class().values())), self.given
        shocks = np.exp(x["demand_volatility"] * x[scenario.SHOCKS])
        return np.asarray(scenario.shares(x)[:, None] * shocks * asked / asked[:, :1])

    def explained(self, level: float = 0.9) -> pl.DataFrame:
        """Share of installed compute that each use, and all of them, ask for in the first quarter: use, mean, low, median, high."""
        share = np.concatenate([self.compute[:, 0], self.compute[:, 0].sum(axis=0, keepdims=True)]) / self.installed
        found = bands(share, (level,)).frame(use=[*USES, "all known uses"])
        return found.with_columns(mean=share.mean(axis=1)).select("use", "mean", "low", "median", "high")


def inputs(quarters: int = 40, **given: Distribution | float) -> dict[str, Distribution | Path | float]:
    """Beliefs that `bottom_up` needs: those of the loop first, so that both have the same futures, then its own."""
    own = {name: scenario.prior(name) for name in INPUTS} | {ADOPTION: Uniform(0, 1)}
    for name, value in given.items():
        if name not in own and name not in scenario.INPUTS:
            raise UnknownName("input of the uses or of the loop", name, [*own, *scenario.INPUTS])
        if name in own and not isinstance(value, Distribution):
            least, most = float(name == "peak_over_mean"), 1.0 if isinstance(own[name], Beta | Uniform) else np.inf
            Rule(least=least, above=0.0 if name in SOME else -np.inf, most=most, one=True)(name, value)
    believed = scenario.inputs(quarters, **{name: d for name, d in given.items() if name not in own})
    return believed | {name: given.get(name, d) for name, d in own.items()}


@takes(quarters=LENGTH, n=LENGTH, seed=WHOLE, replicates=LENGTH)
def bottom_up(quarters: int = 40, n: int = 2048, seed: int = 0, *, replicates: int = 1, **given: Distribution | float) -> BottomUp:
    """Compute that known uses ask for, from the priors of the table, or others given by name.

    Tokens are users x tasks x tokens (`segments_of`). A computed token takes 2 N FLOP at the utilisation of serving, more at the long
    context of a coding agent, and a cached one its own part of that; software and the size of models change it. What growth figures hold
    of efficiency is in them; what software gains beyond its median adds tokens by the elasticity of the class. Interactive work is staffed
    for its peak, less what can wait and fills its valleys. Training is the largest run that trend, chips, power, data, latency and money
    allow, and the research around it; chips are those of the loop with the same futures.

    Parameters
    ----------
    quarters : int
        From the newest disclosed quarter on.
    n : int
        Sobol points a replicate, a power of two.
    seed : int
        Scenarios, and outlooks, of one seed share their random numbers.
    replicates : int
        Randomisations; an outlook of m futures has eight of m / 8.
    **given : Distribution or number
        Instead of rows of the table, by their names (`INPUTS`, `scenario.INPUTS`); `chat_adoption` is a quantile.

    Raises
    ------
    InputError, UnknownName
        For inputs that are out of range or unknown.

    Examples
    --------
    >>> uses = bottom_up(quarters=2, n=64)
    >>> uses.compute.shape, uses.explained()["use"][-1]
    ((9, 2, 64), 'all known uses')
    """
    believed = inputs(quarters, **given)
    x = sample(believed, n, seed, correlation=scenario.correlation(believed, scenario.TOGETHER | TOGETHER), replicates=replicates)
    x = scenario.learned(x, scenario.REFERENCE, replicates)
    years = year(scenario.newest()) - SINCE + (np.arange(quarters)[:, None] - 0.5) / 4  # of the middles of quarters
    segments, calls = _segments(x, years)
    tokens = token_demand(segments)
    text = _compute(x, years, tokens)
    media = text.sum(axis=0, keepdims=True) * x["media_share_of_output"]
    run, research = _training(x, years, simulate(scenario.futures(x)))
    busy = np.concatenate([text, media, np.stack([research.final, research.experiments, research.rollouts]) / x["availability"]])
    interactive = np.array([*(s.interactive for s in segments), True, False, False, False])
    mean, waits = busy[interactive].sum(axis=0), x["deferrable_share"] * (busy[4] + busy[7] + busy[8])
    busy[interactive] *= 1 + np.maximum(x["peak_over_mean"] - 1 - waits / mean, 0.0)
    tools = tool_work(
        calls,
        busy[2] + busy[3],
        cpu_seconds=x["tool_cpu_seconds"],
        memory_seconds=x["tool_memory_gb_seconds"] * GIGA,
        utilisation=x["cpu_utilisation"],
        host_cores_per_chip=x["host_cores_per_chip"],
    )
    return BottomUp(busy, tokens, run, tools, scenario.shipped(scenario.newest()).sum() * x["stock_scale"], x)


@cache
def _chat_growth(quarters: int) -> Array:
    """Users of ChatGPT, as which all chat grows, over those at `SINCE`, in the quarters after it, (quarters, 2048), by users of 2028."""
    seen = users("ChatGPT", "weekly active")
    known = trend.fit_trend(trend.on_quarters(seen.times, np.log(seen.values)))
    late = round((SINCE - seen.times[-1]) / trend.QUARTER)  # steps from the last count to `SINCE`
    steps = max(quarters, 8) + late
    ahead = np.concatenate([np.zeros((1, 2048)), known.paths(steps, 2048) - known.paths(1, 2048)[:1]])[max(late, 0) :]
    most = np.log(ONLINE / scenario.median("chat_users_2026"))
    return np.exp(np.minimum(ahead, most))[:, np.argsort(ahead[8])]


def _segments(x: Mapping[str, Array], years: Array) -> tuple[tuple[Segment, ...], Array]:
    """Tasks and tokens by segment, and tool calls of agents a second."""
    grown, quantile = _chat_growth(len(years) + 3), x[ADOPTION]
    grown = grown[np.round((years[:, 0] + 0.125) * 4).astype(int)]
    if not np.all((quantile >= 0) & (quantile <= 1)):
        raise InputError(f"{ADOPTION}: expected a quantile, 0 to 1, found {quantile.min():g} to {quantile.max():g}")
    which = np.minimum((quantile * grown.shape[1]).astype(np.intp), grown.shape[1] - 1)
    reach = delegation_share(
        horizon(np.concatenate([[[0.0]], years]), x["horizon_2026"], x["horizon_doubling_days"] * DAY),
        x["delegable_task_hours"],
        x["delegable_task_spread"],
        x["delegation_steepness"],
    )
    calls_per_hour, hour = agent_hour()
    segments = segments_of(x, years[:, 0], hour, chat_users=x["chat_users_2026"] * grown[:, which], delegated=reach[1:] / reach[0])
    longer = damped_growth(years, x["consumer_tokens_growth"], x["demand_growth_tau"])
    beyond = damped_growth(years, x["serving_software_growth"] / scenario.median("serving_software_growth"), x["efficiency_fade"])
    more = {"consumer": longer * beyond ** x["consumer_elasticity"], "agents": beyond ** x["api_elasticity"]}
    segments = tuple(replace(s, tasks=np.asarray(s.tasks) * more[CLASS_OF[s.name]]) for s in segments)
    coding, research = (np.asarray(segments[i].tasks) for i in (2, 3))
    return segments, coding * calls_per_hour + research * x["research_agent_multiple"]  # a call a chat's worth of tokens


def _compute(x: Mapping[str, Array], years: Array, tokens: Tokens) -> Array:
    """H100-equivalents that tokens a second keep busy, (segments, quarters, futures)."""
    computed = tokens.fresh + tokens.output
    computed[2] *= x["long_context_cost"]
    computed += tokens.cached * x["cached_token_cost"]
    leaner = damped_growth(years, x["active_parameters_growth"] / x["serving_software_growth"], x["efficiency_fade"])
    return h100e_of_flop(computed, x["active_parameters"] * leaner, x["serving_utilisation"], availability=x["availability"])


def _training(x: Mapping[str, Array], years: Array, market: Market) -> tuple[training.FrontierRun, training.TrainingDemand]:
    """The largest run of each quarter, and what it and the research around it keep busy; a run's date is its end."""
    seconds, mfu, fade = x["run_days"] * DAY, x["training_mfu"], x["demand_growth_tau"]
    leaner = x["energy_efficiency_growth"] ** -years
    caps = {
        "trend": x["frontier_compute_2025"] * damped_growth(years + 0.5 + seconds / (2 * YEAR), x["frontier_growth"], fade),
        "chips": training.chips_cap(market.supply, share=x["run_chip_share"], mfu=mfu, seconds=seconds),
        "power": training.power_cap(
            x["run_power_2030"] * GIGA * x["run_power_growth"] ** (years - 4.5),
            chip_power=x["it_power_per_h100e"] * KILO * x["power_usage_effectiveness"] * leaner,
            peak=H100E,
            mfu=mfu,
            seconds=seconds,
        ),
        "data": training.data_cap(x["run_tokens"]),
        "latency": training.latency_wall(seconds=seconds),
        "money": training.money_cap(
            x["run_budget"] * damped_growth(years - 0.5, x["run_cost_growth"], fade), usd_per_h100e_hour=scenario.known_rent(scenario.newest())[0], mfu=mfu
        ),
    }
    run = training.frontier_run(caps)
    research = training.training_demand(
        run.flop,
        labs=x["frontier_labs"],
        runs_per_year=x["frontier_runs_per_year"],
        final_share=x["final_run_share"],
        rollout_share=x["rollout_share"] * (1 - x["final_run_share"]),
        mfu=mfu,
        follower=x["lab_follower"],
    )
    return run, research
