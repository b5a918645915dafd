"""Demand by its uses: sums and classes, what each input moves, shared futures with the outlook, and figures published beside it."""

import numpy as np
import polars as pl
import pytest

from workbench import catalogue, demand
from workbench.chips import ServingPlan
from workbench.demand.bottom_up import CLASS_OF, INPUTS, UNEXPLAINED, USES, sessions_of
from workbench.demand.market import scenario
from workbench.demand.uses.agents import Tokens
from workbench.errors import InputError, UnknownName
from workbench.fabric import Cluster
from workbench.uncertainty import Uniform
from workbench.units import DAY, KILO, YEAR

MONTH = YEAR / 12


@pytest.fixture(scope="module")
def uses():
    return demand.bottom_up(9, 128, seed=1, replicates=8)


def band(values, level=0.9):
    return np.quantile(values, [(1 - level) / 2, (1 + level) / 2])


def disclosed_tokens(date):
    """A month: the latest figure of each entity by a date, of its widest scope; of those that do not hold one another's."""
    rows = catalogue.table("tokens").filter(pl.col("date") <= date, pl.col("tokens_per_month").is_not_null())
    rows = rows.filter(pl.col("entity").str.contains("^(Google|OpenAI|Microsoft|China)"))
    return rows.filter(pl.col("date") == pl.col("date").max().over("entity")).group_by("entity").max()["tokens_per_month"].sum()


def start(uses, *names):
    return uses.compute[[USES.index(n) for n in names], 0].sum(axis=0)


def test_uses_add_up_to_classes(uses):
    assert uses.compute.shape == (8, 9, 1024)
    assert np.isfinite(uses.compute).all()
    assert uses.compute.min() > 0
    assert sum(uses.by_class().values()) == pytest.approx(uses.compute.sum(axis=0))
    assert set(CLASS_OF.values()) == set(scenario.BUYERS) == set(uses.by_class())


def test_the_largest_run_is_the_least_cap_and_begins_at_the_record(uses):
    assert set(uses.run.binds.ravel()) <= {"trend", "chips", "power", "data", "latency", "money"}
    low, high = band(uses.run.flop[0])
    assert low < 5e26 < high  # Grok 4 of July 2025, unbroken a year later (notable_models.csv)
    rich = demand.bottom_up(3, 64, run_budget=1e13, run_chip_share=0.9, run_power_2030=1e5)
    assert set(rich.run.binds.ravel()) <= {"trend", "data"}
    assert (rich.compute[5:] > demand.bottom_up(3, 64).compute[5:]).any()


def test_known_uses_and_what_is_not_explained_are_what_is_installed(uses):
    table = {row["use"]: row for row in uses.explained().iter_rows(named=True)}
    known = uses.compute[:, 0].sum(axis=0)
    assert known + uses.unexplained == pytest.approx(np.maximum(uses.installed, known))
    assert sum(row["mean"] for use, row in table.items() if use in USES) == pytest.approx(table["all known uses"]["mean"])
    # plain chat is less than 2 % of OpenAI's fleet by Epoch's energy of a reply; less than that of everyone's
    assert table["chat"]["median"] < 0.02
    assert table["all known uses"]["median"] < 0.5 < table[UNEXPLAINED]["low"]
    # the five laboratories alone used 31 % of what was installed at the end of 2025 (Epoch, compute_owners): inside the band of the known
    assert table["all known uses"]["low"] < 0.31 < table["all known uses"]["high"]


def test_energy_of_chat_beside_what_is_published(uses):
    # 2.6e9 messages a day at .3 Wh: 33 MW (Epoch's energy of a reply; messages as counted for OpenAI)
    x = uses.given
    messages = x["chat_users_2026"] * x["chat_messages_per_day"] / DAY
    watts = start(uses, "chat") / messages * x["it_power_per_h100e"] * KILO * x["power_usage_effectiveness"]
    chat_gpt = watts * 2.6e9 / DAY / 1e6
    low, high = band(chat_gpt, 0.8)
    assert low < 2.6e9 * 0.3 / 24 / 1e6 < high
    assert 0.5 < chat_gpt.mean() / 32.5 < 2


def test_research_beside_serving_and_beside_the_laboratories(uses):
    # OpenAI spent 5e9 USD on research compute and 2e9 on inference in 2024 (Epoch)
    first = {name: asked[0] for name, asked in uses.by_class().items()}
    research = first["research"]
    low, high = band(research / (first["agents"] + first["consumer"]))
    assert low < 5 / 2 < high
    # five laboratories used 6.1 M H100e at the end of 2025 (Epoch); 5 of 7 of it for research is inside the band, and above its median
    owners = catalogue.table("compute_owners").filter(role="user", year_end=2025)
    low, high = band(research)
    assert low < owners["h100e"].sum() * 5 / 7 < high


def test_agents_follow_the_run_rates_that_are_disclosed(uses):
    # Anthropic and OpenAI together 3.5 to 13 times in the year to mid-2026, 5.4 together (disclosures): agents' compute grows as that does
    grown = np.median(uses.compute[2, 4] / uses.compute[2, 0])
    assert 2 < grown < 6
    # tokens that the agents' revenue pays for beside all that is disclosed by May 2026: within a factor of three
    found = uses.sessions.tokens.total[0] * MONTH / disclosed_tokens("2026-05")
    low, high = band(found)
    assert 1 / 3 < np.median(found) < 3
    assert low < 1 < high
    # cost of inference over revenue is what OpenAI discloses, at the price that contracts pay
    x = uses.given
    run = demand.bottom_up(2, 64, lab_run_rate_2026=80.0, peak_over_mean=1.0)
    more = demand.bottom_up(2, 64, lab_run_rate_2026=160.0, peak_over_mean=1.0)
    assert more.compute[2] == pytest.approx(2 * run.compute[2])
    assert more.compute[0] == pytest.approx(run.compute[0])
    assert (x["inference_cost_share"] < 1).all()


def test_a_finer_model_of_sessions_takes_the_place_of_the_agents_term():
    calls = []

    def finer(x, years):
        calls.append(years)
        return sessions_of(x, years) if calls[1:] else sessions_of(x, 0 * years)

    still = demand.bottom_up(3, 64, agents=finer)
    assert still.sessions.at_work[2] == pytest.approx(still.sessions.at_work[0])
    assert calls[0].shape == (3, 1)


def test_agents_keep_as_many_chips_and_cores_busy_as_is_published(uses):
    # 1.5 to 3 H100e an agent by rents and spend of sessions (epoch-research/compute-to-agents)
    low, high = band(uses.compute[2, 0] / uses.sessions.at_work[0])
    assert low < 3 < high
    assert low < 2.5
    # 30 M cores a gigawatt in data centres of today (Arm); 1:8 of processors to chips in the era of chat (TrendForce)
    watts = uses.given["it_power_per_h100e"] * KILO * uses.given["power_usage_effectiveness"]
    low, high = band(uses.tools.cores_per_chip[0] / watts * 1e9)
    assert low < 30e6 < high
    low, high = band(uses.tools.processors_per_chip[0])
    assert low < 1 / 8 < high


@pytest.mark.parametrize(
    ("llm", "chip", "tp", "groups", "precision"),
    [("Kimi-K2.5", "GB200", 1, 32, "fp4"), ("Kimi-K2.5", "GB200", 8, 1, "fp4"), ("Qwen3-Coder-480B-A35B", "H200", 1, 16, "fp8")],
)
def test_cost_of_cached_tokens_is_that_of_the_serving_model(llm, chip, tp, groups, precision):
    calls, hour = demand.agent_hour()
    each = hour * (1 / calls)
    chat = Tokens(np.array(2000.0), np.array(950.0), np.array(670.0))  # middles of the priors
    cluster, plan = Cluster(catalogue.chip(chip), 72, "InfiniBand NDR"), ServingPlan(tp, precision, "fp8", attention_dp=groups)

    def spent(**flight):
        took = [demand.chip_seconds(catalogue.llm(llm), cluster, call, plan, **flight) for call in (each, chat)]
        return took[1], *((t.fresh + t.output) / (c.fresh + c.output) for t, c in zip(took, (each, chat), strict=True))

    short, long_token, short_token = spent()
    low, high = scenario.prior("cached_token_cost").quantile(np.array([0.02, 0.98]))
    assert low < short.cached / chat.cached / short_token < high
    assert long_token > 0.5 * short_token  # a token at the context of a coding agent over one of a chat
    _, long_token, short_token = spent(concurrency=32.0)
    assert 0.2 * short_token < long_token < short_token  # dearer only as far as fewer calls fit beside each other


def test_one_input_moves_its_own_uses():
    base, calm = demand.bottom_up(5, 64), demand.bottom_up(5, 64, peak_over_mean=1.0)
    more, less = (demand.bottom_up(5, 64, lab_run_rate_growth=g, peak_over_mean=1.0) for g in (9.0, 2.0))
    assert (more.compute[2, 4] > less.compute[2, 4]).all()
    assert more.compute[[0, 1]] == pytest.approx(less.compute[[0, 1]])
    assert (base.compute[[0, 1, 4]] >= calm.compute[[0, 1, 4]]).all()  # head-room for peaks
    alone = demand.bottom_up(5, 64, peak_over_mean=2.0, deferrable_share=0.0)
    assert alone.compute[[0, 1, 4]] == pytest.approx(2 * calm.compute[[0, 1, 4]])  # nothing fills the valleys
    assert alone.compute[3] == pytest.approx(calm.compute[3])
    cached = demand.bottom_up(5, 64, cached_token_cost=1e-9, peak_over_mean=1.0)
    assert (cached.compute[0] < calm.compute[0]).all()
    assert cached.compute[1] == pytest.approx(calm.compute[1])  # answers above search read nothing from a cache
    many, few = (demand.bottom_up(5, 64, chat_adoption=q, peak_over_mean=1.0) for q in (0.95, 0.05))
    assert (many.compute[0, 4] > few.compute[0, 4]).mean() > 0.9


def test_the_outlook_takes_it_with_the_same_futures(uses):
    relative = uses.relative()
    assert relative.shape == (3, 9, 1024)
    default, by_uses = demand.outlook(9, 1024, 1), demand.outlook(9, 1024, 1, demand=relative)
    assert all(uses.given[name] == pytest.approx(values, rel=1e-9, abs=1e-9) for name, values in by_uses.given.items())
    assert by_uses.market.rent[0] == pytest.approx(default.market.rent[0])


def test_bad_input_is_named():
    with pytest.raises(UnknownName, match="unknown input of the uses or of the loop 'chat_user'"):
        demand.bottom_up(3, 32, chat_user=1e9)
    with pytest.raises(InputError, match="chat_adoption = 2: expected 0 or more and at most 1"):
        demand.bottom_up(3, 32, chat_adoption=2.0)
    with pytest.raises(InputError, match="chat_adoption: expected a quantile, 0 to 1, found"):
        demand.bottom_up(3, 32, chat_adoption=Uniform(1, 2))
    with pytest.raises(InputError, match=r"media_share_of_output = 2: expected 0 or more and at most 1"):
        demand.bottom_up(3, 32, media_share_of_output=2)
    with pytest.raises(InputError, match=r"peak_over_mean = 0\.5: expected 1 or more"):
        demand.bottom_up(3, 32, peak_over_mean=0.5)
    with pytest.raises(InputError, match="power of two"):
        demand.bottom_up(3, 100)
    assert len(set(INPUTS)) == len(INPUTS)
    assert not set(INPUTS) & set(scenario.INPUTS)
