"""Demand from its uses: users, sessions of agents, tokens and training runs as compute, reconciled with what is installed.

Agents and other paid inference are tied to what laboratories disclose they earn: compute = run rate x cost of inference over revenue / what
an H100-equivalent hour costs them. Free chat and answers are users x tokens, training is the largest run and the research around it. The
rest of what is installed is a use of its own, `UNEXPLAINED`: recommenders, cloud customers, capacity not yet in service, work that nobody
discloses; it has the band that the known uses leave, and grows as its classes are believed to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import polars as pl

from workbench.arrays import Array, Arrays
from workbench.checks import LENGTH, WHOLE, Rule, takes
from workbench.demand.forecast import trend
from workbench.demand.forecast.history import users, year
from workbench.demand.market import scenario
from workbench.demand.market.loop import Market, simulate
from workbench.demand.uses import training
from workbench.demand.uses.agents import Sessions, ToolWork, agent_sessions, tool_work
from workbench.demand.uses.tokens import damped_growth, h100e_of_flop
from workbench.errors import InputError, UnknownName
from workbench.rows import H100E
from workbench.uncertainty import Beta, Path, Uniform, sample
from workbench.uncertainty.distributions import Distribution
from workbench.uncertainty.summaries import bands
from workbench.units import DAY, GIGA, HOUR, KILO, YEAR

#: Uses of compute, and the class of `scenario.BUYERS` that each belongs to.
CLASS_OF = {
    "chat": "consumer", "answers above search": "consumer", "agents": "agents", "other paid inference": "agents", "media": "consumer",
    "final training runs": "research", "experiments": "research", "roll-outs": "research",
}  # fmt: skip
USES = tuple(CLASS_OF)
UNEXPLAINED = "not explained"
SINCE = 2026.0  #: start of 2026, to which the levels of the priors belong, but those of run rates: `scenario.REFERENCE`
ONLINE = 6.0e9  #: people online, whom users of chat cannot exceed
ADOPTION = "chat_adoption"  #: quantile of the growth of chat's users, among the futures of its trend

#: Rows of the table of priors that the uses take beside those of the loop, those that matter most first.
INPUTS = (
    "lab_run_rate_growth", "lab_run_rate_2026", "inference_cost_share", "agent_revenue_share", "frontier_growth", "final_run_share",
    "run_chip_share", "run_budget", "training_mfu", "frontier_runs_per_year", "frontier_labs", "frontier_compute_2025", "lab_follower",
    "rollout_share", "consumer_tokens_growth", "active_parameters", "serving_utilisation", "active_parameters_growth",
    "cached_token_cost", "run_cost_growth", "run_power_2030", "run_power_growth", "run_days", "run_tokens",
    "chat_users_2026", "chat_messages_per_day", "chat_input", "chat_cached", "chat_output", "search_users_2026", "search_answers_per_day",
    "search_input", "search_output", "agent_usd_per_million_output", "media_share_of_output", "peak_over_mean", "deferrable_share",
    "availability", "tool_cpu_seconds", "tool_memory_gb_seconds", "cpu_utilisation", "host_cores_per_chip",
)  # fmt: skip
#: Of these, those that cannot be nothing: growth, runs, shares of time; a use can be without users.
SOME = tuple(
    name
    for name in INPUTS
    if name.endswith(("growth", "_mfu", "utilisation", "availability", "parameters", "follower", "compute_2025", "million_output"))
    or name.startswith(("run_", "final_run", "lab_run", "agent_revenue", "inference_cost"))
)
#: What moves together, beside what does in the loop: growth brings capital, whoever demands it.
TOGETHER = {("lab_run_rate_growth", "capital_growth"): 0.4, ("frontier_growth", "capital_growth"): 0.4}


@dataclass(frozen=True, repr=False)
class BottomUp(Arrays):
    """Compute that known uses demand at the known rent, quarter by quarter; futures on the last axis."""

    compute: Array  #: (uses, quarters, futures), with head-room for peaks [H100e]
    sessions: Sessions  #: of agents, (quarters, futures)
    run: training.FrontierRun  #: largest training run, (quarters, futures)
    tools: ToolWork  #: processors of agents' tools and of their chips' servers, (quarters, futures)
    installed: Array  #: in the first quarter, (futures,) [H100e]
    given: Mapping[str, Array]  #: sampled inputs, in the units of the table of priors

    @property
    def quarters(self) -> list[str]:
        """Names, as 2026Q2."""
        return scenario.quarter_names(scenario.newest(), self.compute.shape[1])

    @property
    def unexplained(self) -> Array:
        """What is installed in the first quarter beyond the known uses, (futures,) [H100e]; 0 where these are more."""
        return np.maximum(self.installed - self.compute[:, 0].sum(axis=0), 0.0)

    def by_class(self) -> dict[str, Array]:
        """Compute by class of demand, in the order of the market's, (quarters, futures) [H100e]."""
        return {name: self.compute[[CLASS_OF[use] == name for use in USES]].sum(axis=0) for name in scenario.BUYERS}

    def relative(self) -> Array:
        """Demand for `workbench.demand.market.outlook`: each class over all in the first quarter, (classes, quarters, futures).

        What is not explained is divided as the loop's shares and grows as its classes; shocks are the loop's. An outlook of the same seed,
        quarters and futures has the same futures; it takes n of eight replicates of n / 8.
        """
        years = np.arange(self.compute.shape[1])[:, None] / 4
        believed = scenario.wanted_by_class(self.given, years, 0.0)
        shocks = np.exp(self.given["demand_volatility"] * self.given[scenario.SHOCKS])
        demand = np.stack(list(self.by_class().values())) * shocks + believed * self.unexplained
        return np.asarray(demand / demand[:, :1].sum(axis=0))

    def explained(self, level: float = 0.9) -> pl.DataFrame:
        """Share of installed compute of each use, of all, and of none, in the first quarter: use, mean, low, median, high."""
        known = self.compute[:, 0]
        share = np.concatenate([known, known.sum(axis=0, keepdims=True), self.unexplained[None]]) / self.installed
        found = bands(share, (level,)).frame(use=[*USES, "all known uses", UNEXPLAINED])
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


def sessions_of(x: Mapping[str, Array], years: Array) -> Sessions:
    """Sessions of agents at `years` after the reference, (quarters, futures), from the run rate of laboratories: the agents' term.

    A finer model of sessions takes the same and gives a `Sessions`, and is given to `bottom_up` instead.
    """
    return agent_sessions(_run_rate(x, years) * x["agent_revenue_share"], x["agent_usd_per_million_output"])


@takes(quarters=LENGTH, n=LENGTH, seed=WHOLE, replicates=LENGTH)
def bottom_up(
    quarters: int = 40, n: int = 2048, seed: int = 0, *, replicates: int = 1,
    agents: Callable[[Mapping[str, Array], Array], Sessions] = sessions_of, **given: Distribution | float,
) -> BottomUp:  # fmt: skip
    """Compute that known uses demand, from the priors of the table, or others given by name.

    A computed token of chat or search takes 2 N FLOP at the utilisation of serving, and a cached one its own part of that; software and the
    size of models change it; people are served at their peak, less what can wait for the valleys. The largest run is what trend,
    chips, power, data, latency and money allow; chips are those of the loop with the same futures.

    Parameters
    ----------
    quarters, seed : int
        As `outlook`; with those of one seed it shares its random numbers.
    n, replicates : int
        Sobol points per replicate, a power of two, and randomisations: an outlook of m futures has eight of m / 8.
    agents : callable
        Sessions of agents from the sampled inputs and the years since the start, as `sessions_of`.
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
    ((8, 2, 64), 'not explained')
    """
    believed = inputs(quarters, **given)
    x = sample(believed, n, seed, correlation=scenario.correlation(believed, scenario.TOGETHER | TOGETHER), replicates=replicates)
    x = scenario.learned(x, scenario.REFERENCE, replicates)
    ahead = np.arange(quarters)[:, None] / 4
    years = year(scenario.newest()) - SINCE + ahead - 0.125  # of the middles of quarters
    market = simulate(scenario.futures(x))
    seen = agents(x, ahead)
    paid = _run_rate(x, ahead) * x["inference_cost_share"] / (YEAR / HOUR * market.booked * x["term_discount"])
    free = _free(x, years)
    run, research = _training(x, years, market)
    agentic = x["agent_revenue_share"]
    busy = np.stack([*free, paid * agentic, paid * (1 - agentic), free.sum(axis=0) * x["media_share_of_output"]])
    peak = x["peak_over_mean"] - 1
    trained = np.stack([research.final, research.experiments, research.rollouts]) / x["availability"]
    waits = x["deferrable_share"] * (trained[2] + busy[3])
    interactive = [0, 1, 4]  # paid inference has its peaks in its cost
    busy[interactive] *= 1 + np.maximum(peak - waits / busy[interactive].sum(axis=0), 0.0)
    of_call = {"cpu_seconds": x["tool_cpu_seconds"], "memory_seconds": x["tool_memory_gb_seconds"] * GIGA}
    hosts = {"utilisation": x["cpu_utilisation"], "host_cores_per_chip": x["host_cores_per_chip"]}
    tools = tool_work(seen.calls, busy[2], **of_call, **hosts)
    return BottomUp(np.concatenate([busy, trained]), seen, run, tools, market.supply[0], x)


def _run_rate(x: Mapping[str, Array], years: Array) -> Array:
    """Annualised revenue of laboratories [USD/yr]."""
    return np.asarray(x["lab_run_rate_2026"] * GIGA * damped_growth(years, x["lab_run_rate_growth"], x["demand_growth_tau"]))


@cache
def _chat_growth(quarters: int) -> Array:
    """Users of ChatGPT, as which all chat grows, over those at `SINCE`, in the quarters after it, (quarters, 2048), by users of 2028."""
    seen = users("ChatGPT", "weekly active")
    known = trend.fit_trend(trend.on_quarters(seen.times, np.log(seen.values)))
    paths = known.paths(max(quarters, 9), 2048)
    ahead = np.concatenate([np.zeros((1, 2048)), paths[1:] - paths[:1]])
    return np.exp(np.minimum(ahead, np.log(ONLINE / scenario.median("chat_users_2026"))))[:, np.argsort(ahead[8])]


def _free(x: Mapping[str, Array], years: Array) -> Array:
    """H100-equivalents that chat and answers above search keep busy, (2, quarters, futures)."""
    grown, quantile = _chat_growth(len(years) + 3), x[ADOPTION]
    if not np.all((quantile >= 0) & (quantile <= 1)):
        raise InputError(f"{ADOPTION}: expected a quantile, 0 to 1, found {quantile.min():g} to {quantile.max():g}")
    which = np.minimum((quantile * grown.shape[1]).astype(np.intp), grown.shape[1] - 1)
    at = np.round((years[:, 0] + 0.125) * 4).astype(int)
    chats = x["chat_users_2026"] * x["chat_messages_per_day"] / DAY * grown[at][:, which]
    answers = x["search_users_2026"] * x["search_answers_per_day"] / DAY
    chat = x["chat_input"] + x["chat_output"] + x["chat_cached"] * x["cached_token_cost"]
    longer = damped_growth(years, x["consumer_tokens_growth"], x["demand_growth_tau"])
    beyond = damped_growth(years, x["serving_software_growth"] / scenario.median("serving_software_growth"), x["efficiency_fade"])
    tokens = np.stack([chats * chat, np.broadcast_to(answers * (x["search_input"] + x["search_output"]), chats.shape)])
    leaner = damped_growth(years, x["active_parameters_growth"] / x["serving_software_growth"], x["efficiency_fade"])
    more = longer * beyond ** x["consumer_elasticity"]
    return h100e_of_flop(tokens * more, x["active_parameters"] * leaner, x["serving_utilisation"], availability=x["availability"])


def _training(x: Mapping[str, Array], years: Array, market: Market) -> tuple[training.FrontierRun, training.TrainingDemand]:
    """The largest run of each quarter, and what it and the research around it keep busy; a run's date is its end."""
    seconds, mfu, fade = x["run_days"] * DAY, x["training_mfu"], x["demand_growth_tau"]
    drawn = x["it_power_per_h100e"] * KILO * x["power_usage_effectiveness"] * x["energy_efficiency_growth"] ** -years
    power = x["run_power_2030"] * GIGA * x["run_power_growth"] ** (years - 4.5)
    budget = x["run_budget"] * damped_growth(years - 0.5, x["run_cost_growth"], fade)
    caps = {
        "trend": x["frontier_compute_2025"] * damped_growth(years + 0.5 + seconds / (2 * YEAR), x["frontier_growth"], fade),
        "chips": training.chips_cap(market.supply, share=x["run_chip_share"], mfu=mfu, seconds=seconds),
        "power": training.power_cap(power, chip_power=drawn, peak=H100E, mfu=mfu, seconds=seconds),
        "data": training.data_cap(x["run_tokens"]), "latency": training.latency_wall(seconds=seconds),
        "money": training.money_cap(budget, usd_per_h100e_hour=market.booked[0], mfu=mfu),
    }  # fmt: skip
    run = training.frontier_run(caps)
    labs = {"labs": x["frontier_labs"], "runs_per_year": x["frontier_runs_per_year"], "follower": x["lab_follower"]}
    final = x["final_run_share"]
    return run, training.training_demand(run.flop, **labs, final_share=final, rollout_share=x["rollout_share"] * (1 - final), mfu=mfu)
