import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench import catalogue
from workbench.demand.uses.agents import AgentTask, Tokens, delegation_share, horizon, mean_over_median, share_of_top, tool_work, tree_nodes
from workbench.demand.uses.traces import FITTED, agent_hour, coding_agent, fit_agent, leave_one_out, priors, traces
from workbench.errors import InputError
from workbench.units import DAY, GIGA

some = st.floats(0, 500)
share = st.floats(0, 1)
TASK = AgentTask(tool_calls=9, context_start=1000.0, tool_output=100.0, output=50.0)


@given(calls=some, start=some, added=some, wrote=some, miss=share, shared=share, b=st.floats(0, 3), depth=st.floats(0, 4))
def test_three_kinds_sum_to_what_is_read_and_written(calls, start, added, wrote, miss, shared, b, depth):
    task = AgentTask(calls, start, added, wrote, miss, shared, b, depth)
    t, n = task.tokens(), calls + 1
    read = n * start + (added + wrote) * n * (n - 1) / 2
    assert t.total == pytest.approx(task.nodes * (read + n * wrote), rel=1e-9, abs=1e-9)
    assert min(t.cached, t.fresh, t.output) >= 0
    assert 0 <= t.fresh_share <= 1


def test_a_node_counted_by_hand():
    # three calls read 10, 16, 22; the second and third find 10 and 16 in the cache
    t = AgentTask(tool_calls=2, context_start=10, tool_output=4, output=2).tokens()
    assert (t.cached, t.fresh, t.output) == (26, 22, 6)
    missed = AgentTask(tool_calls=2, context_start=10, tool_output=4, output=2, miss_rate=1.0).tokens()
    assert (missed.cached, missed.fresh) == (0, 48)


def test_no_tool_calls_is_one_call_that_reads_nothing_from_the_cache():
    t = AgentTask(tool_calls=0, context_start=300, tool_output=1e4, output=20).tokens()
    assert (t.cached, t.fresh, t.output) == (0, 300, 20)


def test_reading_grows_with_the_square_of_the_calls():
    calls = np.array([1000.0, 2000.0])
    t = AgentTask(tool_calls=calls, context_start=0.0, tool_output=100.0, output=0.0).tokens()
    assert t.cached[1] / t.cached[0] == pytest.approx(4, rel=0.01)
    assert t.fresh[1] / t.fresh[0] == pytest.approx(2, rel=0.01)


@given(depth=st.integers(0, 6), b=st.floats(0, 4))
def test_nodes_of_a_tree_are_a_geometric_sum(depth, b):
    assert tree_nodes(b, depth) == pytest.approx(sum(b**level for level in range(depth + 1)), rel=1e-9)


def test_branching_near_one_meets_its_limit():
    near = tree_nodes(np.array([1 - 1e-9, 1.0, 1 + 1e-9]), 5)
    assert near == pytest.approx(6, rel=1e-6)
    assert tree_nodes(0.0, 3) == 1
    assert tree_nodes(2.0, 1, 0.25) == pytest.approx(4)


def test_mean_and_tail():
    assert mean_over_median(np.log(30) / 4) == pytest.approx(1.4355, abs=1e-3)  # runs of one task differ up to 30 times
    assert share_of_top(1.0, 1.3) == 1
    assert share_of_top(0.01, 1.16) == pytest.approx(0.53, abs=0.01)  # 80/20: a fifth of customers are four fifths of use
    with pytest.raises(InputError, match="tail = 1: at 1 or below, a few customers are all of the use; expected more than 1"):
        share_of_top(0.1, 1.0)


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
    given_ = delegation_share(np.array([0.5, 2.0, 8.0, 1e9]), 2.0, 1.5, 0.8, 0.4)
    assert np.all(np.diff(given_) > 0)
    assert given_[1] == pytest.approx(0.2)  # half of the tasks are shorter than the horizon
    assert given_[3] == pytest.approx(0.4, rel=0.01)
    assert delegation_share(10.0, 1.0, 1.0, 1.0, 0.0) == 0
    # the logistic-normal integral against quadrature
    x, w = np.polynomial.hermite_e.hermegauss(80)
    exact = (w / (1 + np.exp(-0.8 * (np.log(8.0 / 2.0) - 1.5 * x)))).sum() / np.sqrt(2 * np.pi)
    assert delegation_share(8.0, 2.0, 1.5, 0.8, 1.0) == pytest.approx(exact, abs=0.01)
    with pytest.raises(InputError, match=r"willingness = 1\.2: expected 0 or more and at most 1"):
        delegation_share(1.0, 1.0, 1.0, 1.0, 1.2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mean_over_median(-2), "spread = -2: expected 0 or more"),
        (lambda: tree_nodes(2, -3), "depth = -3: expected 0 or more"),
        (lambda: horizon(1, 5, -DAY), "doubling = -86400: expected more than 0"),
        (lambda: agent_hour({"agent_turns": 3}), "values: the parameter agent_calls_per_hour is missing"),
        (lambda: agent_hour(coding_agent().values | {"agent_turns": 0.5}), r"values\[agent_turns\] = 0.5: expected 1 or more"),
        (lambda: fit_agent([[1, 2, 3, 4]], priors() | {"agent_turns": (9, 3)}), "expected a low and a high point"),
        (lambda: AgentTask([1, 2], 1, 1, [1, 2, 3]), r"tool_calls of shape \(2,\) and output of shape \(3,\) do not broadcast"),
    ],
)
def test_what_makes_no_sense_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_bad_input_names_what_is_wrong():
    with pytest.raises(InputError, match="tool_calls = -1: expected 0 or more"):
        AgentTask(-1, 1, 1, 1)
    with pytest.raises(InputError, match="miss_rate = 2: expected 0 or more and at most 1"):
        AgentTask(1, 1, 1, 1, miss_rate=2)
    with pytest.raises(InputError, match="retry_rate = 1: expected 0 or more and less than 1"):
        AgentTask(1, 1, 1, 1, retry_rate=1)
    with pytest.raises(InputError, match=r"traces of shape \(1, 3\): expected rows of calls"):
        fit_agent([[1, 2, 3]], priors())


def test_the_fitted_agent_lies_between_the_two_traces():
    calls, tokens = agent_hour(coding_agent().values)
    seen = np.array(list(traces().values()))
    assert seen[:, 0].min() < calls < seen[:, 0].max()
    for found, column in ((tokens.cached, 1), (tokens.fresh, 2), (tokens.output, 3)):
        assert 0.9 * seen[:, column].min() < found < 1.1 * seen[:, column].max()
    # cached shares .949 (TraceLab) and .963 (WEKA)
    assert 0.949 < 1 - tokens.fresh_share < 0.963


def test_shipped_fit_is_what_the_traces_give():
    fit = fit_agent(list(traces().values()), priors())
    for name, value in coding_agent().values.items():
        assert fit.values[name] == pytest.approx(value, rel=1e-3)
    assert set(FITTED) == set(catalogue.table("calibration/agents")["parameter"])


def test_a_trace_left_out_is_within_two_thirds():
    errors = leave_one_out()
    assert errors.height == 10
    assert errors["error_percent"].abs().max() < 67  # output of TraceLab; the fresh share is within 30 %
    assert errors.filter(errors["quantity"] == "fresh share")["error_percent"].abs().max() < 31


def test_futures_broadcast():
    task = AgentTask(np.full((3, 1), 9.0), np.linspace(1e3, 2e3, 5), 100.0, 50.0)
    assert task.tokens().cached.shape == (3, 5)
    assert task.per_call().output == pytest.approx(np.full((3, 5), 50.0))
    assert (Tokens(np.ones(2), np.ones(2), np.ones(2)) * 2).total == pytest.approx([6, 6])
