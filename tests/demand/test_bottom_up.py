"""Demand by its uses: sums and classes, what each input moves, shared futures with the outlook, and figures published beside it."""

import numpy as np
import polars as pl
import pytest

from workbench import catalogue, demand
from workbench.chips import ServingPlan
from workbench.demand.bottom_up import CLASS_OF, INPUTS
from workbench.demand.market import scenario
from workbench.demand.uses.agents import Tokens
from workbench.demand.uses.tokens import MONTH
from workbench.errors import InputError, UnknownName
from workbench.fabric import Cluster
from workbench.uncertainty import Uniform
from workbench.units import DAY, KILO


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
    return uses.compute[[demand.USES.index(n) for n in names], 0].sum(axis=0)


def test_uses_add_up_to_classes(uses):
    assert uses.compute.shape == (9, 9, 1024)
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
    assert (rich.compute[6:] > demand.bottom_up(3, 64).compute[6:]).any()


def test_known_uses_explain_a_part_of_the_fleet(uses):
    table = {row["use"]: row for row in uses.explained().iter_rows(named=True)}
    assert sum(row["mean"] for use, row in table.items() if use != "all known uses") == pytest.approx(table["all known uses"]["mean"])
    # plain chat is less than 2 % of OpenAI's fleet by Epoch's energy of a reply; less than that of everyone's
    assert table["chat"]["median"] < 0.02
    assert table["all known uses"]["median"] < 0.5
    assert uses.installed == pytest.approx(scenario.shipped().sum() * uses.given["stock_scale"])


def test_energy_of_chat_beside_what_is_published(uses):
    # 2.6e9 messages a day at .3 Wh: 33 MW (Epoch's energy of a reply; messages as counted for OpenAI)
    x = uses.given
    messages = x["chat_users_2026"] * x["chat_messages_per_day"] / DAY
    watts = start(uses, "chat") / messages * x["it_power_per_h100e"] * KILO * x["power_usage_effectiveness"]
    chat_gpt = watts * 2.6e9 / DAY / 1e6
    low, high = band(chat_gpt, 0.8)
    assert low < 2.6e9 * 0.3 / 24 / 1e6 < high
    assert 0.5 < chat_gpt.mean() / 32.5 < 2


def test_googles_tokens_beside_what_is_published(uses):
    # 3.2e15 tokens a month are .61 M H100e if all are computed by 1e11 active parameters at 20 %
    per_token = uses.compute[:5, 0].sum(axis=0) / uses.tokens.total[:, 0].sum(axis=0)
    low, high = band(per_token * 3.2e15 / MONTH)
    assert low < 0.61e6 < high


def test_research_beside_serving_and_beside_the_laboratories(uses):
    # OpenAI spent 5e9 USD on research compute and 2e9 on inference in 2024 (Epoch)
    first = {name: asked[0] for name, asked in uses.by_class().items()}
    research = first["research"]
    low, high = band(research / (first["agents"] + first["consumer"]), 0.5)
    assert low < 5 / 2 < high
    # five laboratories used 6.1 M H100e at the end of 2025 (Epoch); 5 of 7 of it for research is inside the band, and above its median
    owners = catalogue.table("compute_owners").filter(role="user", year_end=2025)
    low, high = band(research)
    assert low < owners["h100e"].sum() * 5 / 7 < high


def test_tokens_are_of_the_size_that_is_disclosed(uses):
    # disclosures leave out Anthropic, Meta and others: more is modelled than disclosed, within a factor of three
    found = uses.tokens.total[:, 1].sum(axis=0) * MONTH / disclosed_tokens("2026-05")
    assert 1 < np.median(found) < 2
    low, high = band(found, 0.8)
    assert 1 / 3 < low < high < 3.5


def test_agents_keep_as_many_chips_and_cores_busy_as_is_published(uses):
    # 1.5 to 3 H100e an agent by rents and spend of sessions (epoch-research/compute-to-agents)
    per_agent = start(uses, "coding agents") / (uses.given["code_agents_2026"] * uses.given["code_agents_growth"] ** 0.12)
    low, high = band(per_agent)
    assert low < 1.5 < 3 < high
    # 30 M cores a gigawatt in data centres of today (Arm); 1:8 of processors to chips in the era of chat (TrendForce)
    watts = uses.given["it_power_per_h100e"] * KILO * uses.given["power_usage_effectiveness"]
    low, high = band(uses.tools.cores_per_chip[0] / watts * 1e9)
    assert low < 30e6 < high
    low, high = band(uses.tools.processors_per_chip[0])
    assert low < 1 / 8 < high
    assert (uses.cpu_cores > 0).all()


@pytest.mark.parametrize(
    ("llm", "chip", "tp", "groups", "precision"),
    [("Kimi-K2.5", "GB200", 1, 32, "fp4"), ("Kimi-K2.5", "GB200", 8, 1, "fp4"), ("Qwen3-Coder-480B-A35B", "H200", 1, 16, "fp8")],
)
def test_costs_of_cached_and_long_context_tokens_are_those_of_the_serving_model(llm, chip, tp, groups, precision):
    calls, hour = demand.agent_hour()
    each = hour * (1 / calls)
    chat = Tokens(np.array(2000.0), np.array(950.0), np.array(670.0))  # middles of the priors
    cluster, plan = Cluster(catalogue.chip(chip), 72, "InfiniBand NDR"), ServingPlan(tp, precision, "fp8", attention_dp=groups)
    long, short = (demand.chip_seconds(catalogue.llm(llm), cluster, call, plan) for call in (each, chat))
    computed = [(t.fresh + t.output) / (c.fresh + c.output) for t, c in ((long, each), (short, chat))]
    for name, found in (("long_context_cost", computed[0] / computed[1]), ("cached_token_cost", short.cached / chat.cached / computed[1])):
        low, high = scenario.prior(name).quantile(np.array([0.02, 0.98]))
        assert low < found < high, name


def test_one_input_moves_its_own_uses():
    base, calm = demand.bottom_up(5, 64), demand.bottom_up(5, 64, peak_over_mean=1.0)
    more, less = (demand.bottom_up(5, 64, code_agents_growth=g, peak_over_mean=1.0) for g in (9.0, 2.0))
    assert (more.compute[2, 4] > less.compute[2, 4]).all()
    assert more.compute[[0, 1]] == pytest.approx(less.compute[[0, 1]])
    assert (base.compute[:4] >= calm.compute[:4]).all()  # head-room for peaks
    alone = demand.bottom_up(5, 64, peak_over_mean=2.0, deferrable_share=0.0)
    assert alone.compute[:4] == pytest.approx(2 * calm.compute[:4])  # nothing fills the valleys
    assert alone.compute[4] == pytest.approx(calm.compute[4])
    cached = demand.bottom_up(5, 64, cached_token_cost=1e-9, peak_over_mean=1.0)
    assert (cached.compute[2] < calm.compute[2]).all()
    assert cached.compute[1] == pytest.approx(calm.compute[1])  # answers above search read nothing from a cache
    many, few = (demand.bottom_up(5, 64, chat_adoption=q, peak_over_mean=1.0) for q in (0.95, 0.05))
    assert (many.compute[0, 4] > few.compute[0, 4]).all()


def test_software_beyond_what_is_expected_follows_the_elasticity():
    for e, sign in ((0.5, -1), (1.0, 0), (1.5, 1)):
        slow, fast = (
            demand.bottom_up(5, 64, serving_software_growth=g, api_elasticity=e, peak_over_mean=1.0).compute[2, 4] for g in (2.0, 4.0)
        )
        assert (np.sign(np.round(np.log(fast / slow), 9)) == sign).all()


def test_the_outlook_takes_it_with_the_same_futures(uses):
    relative = uses.relative()
    assert relative.shape == (3, 9, 1024)
    assert relative[:, 0].sum(axis=0) == pytest.approx(1)
    default, by_uses = demand.outlook(9, 1024, 1), demand.outlook(9, 1024, 1, demand=relative)
    assert all(uses.given[name] == pytest.approx(values, rel=1e-9, abs=1e-9) for name, values in by_uses.given.items())
    assert by_uses.market.price[0] == pytest.approx(default.market.price[0])
    # tokens outgrow what software gains on them by less than classes as a whole are believed to grow: rents ease
    assert np.median(by_uses.market.price[8]) < np.median(default.market.price[8])
    assert by_uses.probability("shortage")[0][8] > 0.5


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
