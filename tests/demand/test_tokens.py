import numpy as np
import pytest

from workbench import catalogue, fabric
from workbench.chips import ServingPlan
from workbench.demand.uses.agents import Tokens, agent_hour
from workbench.demand.uses.tokens import MONTH, chip_seconds, damped_growth, h100e_of_flop, segments_of, token_demand
from workbench.errors import InputError

HOUR = agent_hour()
CALL = HOUR[1] * (1 / HOUR[0])
H100S = catalogue.llm("Llama-3.1-70B"), fabric.Cluster(catalogue.chip("H100"), n_chips=64, fabric="InfiniBand NDR")


def segments(given, years, **more):
    return segments_of(given, years, HOUR[1], chat_users=given["chat_users_2026"], **more)


def middles():
    table = catalogue.table("demand_priors")
    ends = table.select("name", "p5", "p50", "p95").iter_rows()
    return {n: np.array([m if low is None else np.sqrt(low * high)]) for n, low, m, high in ends}


def test_googles_tokens_as_chips():
    # 3.2e15 a month x 2 x 1e11 / (20 % x 1,979 TFLOP/s) = .61 M H100e, as published by the notes on Google's fleet
    assert h100e_of_flop(3.2e15 / MONTH, 1e11, 0.2) == pytest.approx(0.61e6, rel=0.01)


def test_kinds_sum_over_segments_quarters_and_futures():
    years = np.array([0.0, 0.25, 0.5])
    futures = {name: np.repeat(value, 7) for name, value in middles().items()}
    kinds = segments(futures, years)
    tokens = token_demand(kinds)
    assert tokens.cached.shape == (5, 3, 7)
    assert tokens.total == pytest.approx(tokens.cached + tokens.fresh + tokens.output)
    coding = [kind.name for kind in kinds].index("coding agents")
    assert tokens.total[coding] == pytest.approx(np.broadcast_to((kinds[coding].tokens * kinds[coding].tasks).total, (3, 7)))
    assert np.all(np.diff(tokens.total[coding, :, 0]) > 0)
    assert tokens.total[0, 2, 0] == tokens.total[0, 0, 0]  # users who don't grow ask for no more


def test_nothing_delegated_asks_for_no_research_agents():
    found = segments(middles(), np.array([0.0]), delegated=0.0)
    assert float(np.max((found[3].tokens * found[3].tasks).total)) == 0


def test_bad_segments():
    with pytest.raises(InputError, match="the parameter chat_messages_per_day is missing"):
        segments({n: v for n, v in middles().items() if n != "chat_messages_per_day"}, [0.0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: damped_growth(np.nan, 2.0), "years = nan"),
        (lambda: h100e_of_flop(np.nan, 1, 1), "tokens_per_second = nan"),
        (lambda: h100e_of_flop([1, 2], [1, 2, 3], 1), r"tokens_per_second of shape \(2,\) and active of shape \(3,\) do not broadcast"),
        (lambda: segments(middles() | {"chat_input": -1.0}, [0.0]), r"given\[chat_input\] = -1"),
        (lambda: segments(middles(), [[0.0]]), r"years of shape \(1, 1\): expected one axis"),
        (lambda: segments(middles() | dict.fromkeys(("chat_input", "chat_cached", "chat_output"), 0), 0), "are all 0"),
        (lambda: chip_seconds(*H100S, Tokens(-1.0, 1.0, 1.0)), "call: cached = -1: expected 0 or more"),
        (lambda: chip_seconds(*H100S, Tokens(1.0, 1.0, 1.0)).needed([1.0, -1.0]), r"calls_per_second\[1\] = -1"),
    ],
)
def test_what_makes_no_sense_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_chip_seconds_of_a_coding_agents_call():
    llm = catalogue.llm("Kimi-K2.5")
    cluster = fabric.Cluster(catalogue.chip("GB200"), n_chips=72, fabric="InfiniBand XDR")
    found = chip_seconds(llm, cluster, CALL, ServingPlan(8, "fp4", "fp8"))
    assert found.total == pytest.approx(found.cached + found.fresh + found.output)
    # an agent at work keeps .5 to 4 H100e busy: 1.5 to 3 by rents and spend of sessions (epoch-research/compute-to-agents, S, G and K)
    chips = found.needed(HOUR[0] / 3600)
    assert 0.5 < chips.total < 4
    # a cached token costs a small part of a fresh one, an output token many times it
    cached, fresh, output = (getattr(found, kind) / getattr(CALL, kind) for kind in ("cached", "fresh", "output"))
    assert cached < 0.3 * fresh < fresh < 0.3 * output


def test_chip_seconds_vanish_with_their_tokens():
    llm, cluster = H100S
    found = chip_seconds(llm, cluster, Tokens(np.zeros(2), np.array([500.0, 0.0]), np.array([100.0, 100.0])))
    assert np.all(found.cached == 0)
    assert found.fresh[0] > found.fresh[1]
    assert cluster.chip.h100e == pytest.approx(1, rel=0.01)
    beyond = chip_seconds(llm, cluster, CALL)  # its context is longer than the window
    assert (beyond.feasible, beyond.total) == (False, np.inf)
    with pytest.raises(InputError, match="availability = 0: expected more than 0 and at most 1"):
        h100e_of_flop(1.0, 1.0, 0.5, availability=0)


def test_growth_fades():
    assert damped_growth(50.0, 3.0, 2.0) == pytest.approx(3.0**2, rel=1e-9)  # fades to the factor to the power of tau
    assert damped_growth(1.0, 3.0, 1e9) == pytest.approx(3.0)
    assert damped_growth(2.0, 3.0) == pytest.approx(9.0)
    with pytest.raises(InputError, match="factor = 0: expected more than 0"):
        damped_growth(1.0, 0.0)
