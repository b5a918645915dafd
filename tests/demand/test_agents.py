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
    delegation_share,
    horizon,
    task_tokens,
    tool_work,
)
from workbench.errors import InputError
from workbench.units import DAY, GIGA

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


def test_delegation():
    assert horizon(1.0, 5.0, 365.25 * DAY) == pytest.approx(10)
    assert horizon(1.0, 5.0, np.inf) == 5
    given_ = delegation_share(np.array([0.5, 2.0, 8.0, 1e9]), 2.0, 1.5, 0.8)
    assert np.all(np.diff(given_) > 0)
    assert given_[1] == pytest.approx(0.5)  # half of the tasks are shorter than the horizon
    assert given_[3] == pytest.approx(1, rel=0.01)
    # the logistic-normal integral against quadrature
    x, w = np.polynomial.hermite_e.hermegauss(80)
    exact = (w / (1 + np.exp(-0.8 * (np.log(8.0 / 2.0) - 1.5 * x)))).sum() / np.sqrt(2 * np.pi)
    assert delegation_share(8.0, 2.0, 1.5, 0.8) == pytest.approx(exact, abs=0.01)
    with pytest.raises(InputError, match=r"spread = -1: expected 0 or more"):
        delegation_share(1.0, 1.0, -1.0, 1.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: horizon(1, 5, -DAY), "doubling = -86400: expected more than 0"),
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
