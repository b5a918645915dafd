import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import least_squares

from workbench import catalogue
from workbench.demand.uses.agents import (
    FITTED,
    Tokens,
    agent_hour,
    agent_sessions,
    task_tokens,
    tool_work,
)
from workbench.errors import InputError
from workbench.units import GIGA, HOUR, YEAR

some = st.floats(0, 500)
share = st.floats(0, 1)


def traces():
    """Model calls, cached, fresh and output tokens of an agent-hour, by trace (TraceLab, WEKA)."""
    known = dict(catalogue.table("multipliers").select("id", "value").iter_rows())
    names = [i.split("_")[0] for i in known if i.endswith("_model_calls_per_agent_hour")]
    kinds = ["model_calls", *(f"pooled_{kind}_tokens" for kind in ("cached_input", "non_read_input", "output"))]
    return {name: np.array([known[f"{name}_{kind}_per_agent_hour"] for kind in kinds]) for name in names}


def shipped(column="value"):
    return dict(catalogue.table("calibration/agents").select("parameter", column).iter_rows())


def fit_agent(seen):
    """The fit whose result ships: least squares of the logarithms of what traces show an hour, spread by .2, with the priors' ends."""
    table = catalogue.table("demand_priors").filter(pl.col("name").is_in(list(FITTED)))
    ends = {name: (low, high) for name, low, high in table.select("name", "p5", "p95").iter_rows()}
    low, high = np.log([ends[name] for name in FITTED]).T
    middle, width = (low + high) / 2, (high - low) / (2 * 1.6449)

    def residuals(x):
        calls, tokens = agent_hour(dict(zip(FITTED, np.exp(x), strict=True)))
        hour = np.log([calls, tokens.cached, tokens.fresh, tokens.output])
        return np.concatenate([((hour - np.log(seen)) / 0.2).ravel(), (x - middle) / width])

    found = least_squares(residuals, middle)
    errors = np.sqrt(np.diag(np.linalg.inv(found.jac.T @ found.jac)))
    return dict(zip(FITTED, np.exp(found.x), strict=True)), dict(zip(FITTED, errors, strict=True))


@given(turns=st.floats(1, 501), start=some, added=some, wrote=some, miss=share)
def test_three_kinds_sum_to_what_is_read_and_written(turns, start, added, wrote, miss):
    t = task_tokens(turns, start, added, wrote, miss)
    read = turns * start + (added + wrote) * turns * (turns - 1) / 2
    assert t.total == pytest.approx(read + turns * wrote, rel=1e-9, abs=1e-9)
    assert min(t.cached, t.fresh, t.output) >= 0


def test_a_task_counted_by_hand():
    # three calls read 10, 16, 22; the second and third find 10 and 16 in the cache
    t = task_tokens(3, 10, 4, 2, 0.0)
    assert (t.cached, t.fresh, t.output) == (26, 22, 6)
    missed = task_tokens(3, 10, 4, 2, 1.0)
    assert (missed.cached, missed.fresh) == (0, 48)


def test_no_tool_calls_is_one_call_that_reads_nothing_from_the_cache():
    t = task_tokens(1, 300, 1e4, 20, 0.0)
    assert (t.cached, t.fresh, t.output) == (0, 300, 20)


def test_reading_grows_with_the_square_of_the_calls():
    t = task_tokens(np.array([1000.0, 2000.0]), 0.0, 100.0, 0.0, 0.0)
    assert t.cached[1] / t.cached[0] == pytest.approx(4, rel=0.01)
    assert t.fresh[1] / t.fresh[0] == pytest.approx(2, rel=0.01)


def test_processors_follow_from_calls():
    work = tool_work(1000.0, 500.0, cpu_seconds=3.0, memory_seconds=60 * GIGA, utilisation=0.3, host_cores_per_chip=14.0)
    assert work.cores == pytest.approx(1e4)
    assert work.memory == pytest.approx(60e3 * GIGA)
    assert work.cores_per_chip == pytest.approx(34)
    idle = tool_work(0.0, 500.0, cpu_seconds=3.0, memory_seconds=1.0, utilisation=0.3, host_cores_per_chip=14.0)
    assert (idle.cores, idle.memory, idle.cores_per_chip) == (0, 0, 14)
    with pytest.raises(InputError, match="utilisation = 0: expected more than 0 and at most 1"):
        tool_work(1.0, 1.0, cpu_seconds=1.0, memory_seconds=1.0, utilisation=0.0, host_cores_per_chip=1.0)


def test_sessions_pay_what_is_earned_and_add_up():
    seen = agent_sessions(40e9, 12.0, input_ratio=0.2, cached_ratio=0.02)
    usd = 12e-6 * (seen.tokens.output + 0.2 * seen.tokens.fresh + 0.02 * seen.tokens.cached) * YEAR
    assert usd == pytest.approx(40e9)
    calls, hour = agent_hour()
    assert seen.tokens.total == pytest.approx(hour.total * seen.at_work / HOUR)  # sessions x turns x tokens of a turn
    assert seen.calls == pytest.approx(seen.started * shipped()["agent_turns"])
    assert seen.calls == pytest.approx(seen.at_work * calls / HOUR)
    # a session-hour cost 7 to 26 USD by API tariffs of two traces, of models of the first rank (epoch-research/compute-to-agents)
    assert 5 < 40e9 / (YEAR / HOUR) / seen.at_work < 30
    with pytest.raises(InputError, match="run_rate_usd = -1: expected 0 or more"):
        agent_sessions(-1.0, 12.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: agent_hour({"agent_turns": 3}), "values: the parameter agent_calls_per_hour is missing"),
        (lambda: agent_hour(shipped() | {"agent_turns": 0.5}), r"values\[agent_turns\] = 0.5: expected 1 or more"),
        (
            lambda: agent_hour(shipped() | {"agent_turns": [1, 2], "agent_output": [1, 2, 3]}),
            r"agent_turns of shape \(2,\) and agent_output of shape \(3,\) do not broadcast",
        ),
        (
            lambda: agent_hour(shipped() | {"agent_miss_rate": 2}),
            r"values\[agent_miss_rate\] = 2: expected 0 or more and at most 1",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_the_fitted_agent_lies_between_the_two_traces():
    calls, tokens = agent_hour()
    seen = np.array(list(traces().values()))
    assert seen[:, 0].min() < calls < seen[:, 0].max()
    for found, column in ((tokens.cached, 1), (tokens.fresh, 2), (tokens.output, 3)):
        assert 0.9 * seen[:, column].min() < found < 1.1 * seen[:, column].max()
    # cached shares .949 (TraceLab) and .963 (WEKA)
    assert 0.949 < tokens.cached / tokens.total < 0.963


def test_shipped_fit_is_what_the_traces_give():
    values, errors = fit_agent(list(traces().values()))
    for name in FITTED:
        assert values[name] == pytest.approx(shipped()[name], rel=1e-3)
        assert errors[name] == pytest.approx(shipped("error")[name], rel=1e-2)


def test_a_trace_left_out_is_within_two_thirds():
    for name, hour in traces().items():
        calls, tokens = agent_hour(fit_agent([other for n, other in traces().items() if n != name])[0])
        found = np.array([calls, tokens.cached, tokens.fresh, tokens.output])
        assert np.abs(found / hour - 1).max() < 0.67  # output of TraceLab
        assert abs((1 - tokens.cached / tokens.total) / (hour[2:].sum() / hour[1:].sum()) - 1) < 0.31


def test_futures_broadcast():
    tokens = task_tokens(np.full((3, 1), 10.0), np.linspace(1e3, 2e3, 5), 100.0, 50.0, 0.0)
    assert tokens.cached.shape == tokens.output.shape == (3, 5)
    assert (Tokens(np.ones(2), np.ones(2), np.ones(2)) * 2).total == pytest.approx([6, 6])
