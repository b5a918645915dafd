import numpy as np
import pytest

from workbench import catalogue, fabric
from workbench.chips import ServingPlan
from workbench.demand.uses.agents import Tokens, agent_hour
from workbench.demand.uses.tokens import chip_seconds, damped_growth, h100e_of_flop
from workbench.errors import InputError
from workbench.units import YEAR

HOUR = agent_hour()
CALL = HOUR[1] * (1 / HOUR[0])
H100S = catalogue.llm("Llama-3.1-70B"), fabric.Cluster(catalogue.chip("H100"), n_chips=64, fabric="InfiniBand NDR")


def test_googles_tokens_as_chips():
    # 3.2e15 a month x 2 x 1e11 / (20 % x 1,979 TFLOP/s) = .61 M H100e, as published by the notes on Google's fleet
    assert h100e_of_flop(3.2e15 / (YEAR / 12), 1e11, 0.2) == pytest.approx(0.61e6, rel=0.01)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: damped_growth(np.nan, 2.0), "years = nan"),
        (lambda: h100e_of_flop(np.nan, 1, 1), "tokens_per_second = nan"),
        (lambda: h100e_of_flop([1, 2], [1, 2, 3], 1), r"tokens_per_second of shape \(2,\) and active of shape \(3,\) do not broadcast"),
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


def test_an_equivalent_is_of_peak_for_prompts_and_of_bandwidth_for_decoding():
    llm, gb200 = catalogue.llm("Kimi-K2.5"), catalogue.chip("GB200")
    found = chip_seconds(llm, fabric.Cluster(gb200, n_chips=72, fabric="InfiniBand XDR"), CALL, ServingPlan(8, "fp4", "fp8"))
    kept = found.needed(1.0)
    assert kept.fresh / found.fresh == pytest.approx(gb200.h100e)
    assert kept.output / found.output == kept.cached / found.cached == pytest.approx(gb200.hbm_bandwidth / 3.35e12)
    assert catalogue.chip("H100").hbm_bandwidth == pytest.approx(3.35e12)  # the unit itself


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
