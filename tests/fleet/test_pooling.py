"""Partitioned against pooled fleets, filling, and traces as they are logged."""

from math import factorial

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench import fleet
from workbench.errors import DataError, InputError


def erlang_c_by_sum(n, a):
    b = (a**n / factorial(n)) / sum(a**k / factorial(k) for k in range(n + 1))
    return b / (1 - (1 - b) * a / n)


@given(st.integers(1, 100), st.floats(0.01, 0.99))
def test_erlang_c_is_the_sum_in_textbooks(n, utilisation):
    a = n * utilisation
    assert fleet.erlang_c(n, a) == pytest.approx(erlang_c_by_sum(n, a), rel=1e-8)


def test_erlang_reference_values():
    # 8 erlang need 16 servers for waits below 1 %, ten such pools 160, one pool of 80 erlang 103, one of 800 869
    assert fleet.servers_needed([8, 80, 800], 0.01).tolist() == [16, 103, 869]
    assert fleet.erlang_c(5, 5) == 1
    assert fleet.erlang_c(5, 0) == 0
    assert fleet.erlang_c(1e4, 9900) == pytest.approx(0.2228, abs=1e-3)


@given(st.lists(st.floats(0.1, 50), min_size=2, max_size=6), st.floats(0.001, 0.5))
def test_pooled_is_never_above_partitioned(loads, wait):
    assert fleet.staffed(loads, wait).saved >= 0


@given(st.lists(st.floats(0, 30), min_size=2, max_size=5), st.floats(-0.2, 1), st.floats(0.5, 0.999))
def test_newsvendor_pooling_never_costs(deviations, rho, ratio):
    rho = max(rho, -1 / (len(deviations) - 1) + 1e-6)
    assert fleet.newsvendor([100.0] * len(deviations), deviations, rho, critical_ratio=ratio).saved >= -1e-12


def test_newsvendor_of_two_tenants():
    saved = fleet.newsvendor([100, 100], [30, 30], np.array([-0.5, 0.5, 1.0]), critical_ratio=0.99).saved
    assert saved == pytest.approx([0.2055, 0.0551, 0], abs=1e-4)
    with pytest.raises(InputError, match="smallest eigenvalue"):
        fleet.newsvendor([1, 1, 1], [1, 1, 1], -0.9, critical_ratio=0.9)
    with pytest.raises(InputError, match="critical_ratio"):
        fleet.newsvendor([1], [1], 0, critical_ratio=0.3)


def test_erlang_c_has_its_known_limits():
    assert fleet.erlang_c(1, [0.1, 0.5, 0.99]) == pytest.approx([0.1, 0.5, 0.99])  # M/M/1: the utilisation
    assert fleet.erlang_c(1e6 + 1e3, 1e6) == pytest.approx(0.2234, abs=2e-4)  # Halfin and Whitt (1981) at a quality of 1


def test_square_root_rule_is_near_erlang():
    assert fleet.square_root_staffing(800, 2.35) == pytest.approx(869, rel=0.01)


def filled(load, **changed):
    given = {"capacity": 100.0, "step": 60.0, "reaction": 300.0, "switch": 120.0}
    return fleet.fill(load, **given | changed)


def test_filling_beats_a_partition_and_slow_schedulers_lose():
    load = fleet.bursty(fleet.diurnal(np.arange(0, 168, 1 / 60), mean=40, swing=0.6), step=60.0, service=30.0, seed=1)
    partition = filled(load, partitioned=True)
    fast, slow = filled(load, reaction=300.0), filled(load, reaction=6 * 3600.0)
    assert fast.utilisation > slow.utilisation > partition.utilisation
    assert partition.served == 1
    assert fast.served > 0.97
    assert 0 < fast.lost < 0.2


def test_a_steady_load_loses_nothing():
    f = filled(np.full(600, 40.0))
    assert f.utilisation == pytest.approx(1)
    assert f.preemptions == 0
    assert filled(np.full(600, 40.0), penalty=0.1).utilisation == pytest.approx(0.4 + 0.6 * 0.9)


def test_filling_by_hand():
    # spans of two steps: 10 chips asked for, then 30, then 10; a switch takes half a step
    load = np.array([10.0, 10, 30, 30, 10, 10, 10, 10])
    f = filled(load, reaction=120.0, switch=30.0)  # kept: 10 10 | 30 30 | 10 10 after the first span
    assert f.served == pytest.approx((10 + 10 + 10 + 10 + 10 + 10) / 100)
    assert f.preemptions == pytest.approx(20 / (6 / 60) / 100)
    assert f.lost == pytest.approx((20 * 0.5 + 20 * 0.5) / 600)
    assert f.training == pytest.approx((90 + 90 + 70 + 70 + 80 + 90) / 600)
    assert f.training + f.lost <= 1 - f.inference


def test_chips_that_switch_serve_nobody_meanwhile():
    load = np.r_[np.full(10, 10.0), np.full(30, 60.0)]
    quick, slow = filled(load, switch=0.0), filled(load, switch=300.0)
    assert slow.served < quick.served
    assert slow.lost > quick.lost == 0


@given(st.integers(1, 20), st.floats(0, 4000), st.integers(0, 2**16))
def test_filling_adds_up_for_any_scheduler(width, switch, seed):
    load = np.random.default_rng(seed).uniform(0, 120, (2, 200))
    f = filled(load, capacity=np.array([[80.0], [100.0], [150.0]]), reaction=60.0 * width, switch=switch)
    assert f.utilisation.shape == (3, 2)
    assert (f.utilisation + f.lost <= 1 + 1e-9).all()
    assert (np.minimum(f.training, f.lost) >= -1e-9).all()
    assert ((f.served >= 0) & (f.served <= 1 + 1e-9)).all()


def test_filling_refuses_what_cannot_be():
    with pytest.raises(InputError, match=r"reaction = 1\.0 s: expected whole steps of 60\.0 s and at most half of the load's 600 s"):
        filled(np.ones(10), reaction=1.0)
    with pytest.raises(InputError, match="reaction = 360"):
        filled(np.ones(10), reaction=360.0)
    with pytest.raises(InputError, match="penalty = 2"):
        filled(np.ones(10), penalty=2.0)
    with pytest.raises(InputError, match="capacity"):
        filled(np.ones(10), capacity=0.0)
    with pytest.raises(InputError, match="load"):
        filled(-np.ones(10))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fleet.square_root_staffing(8, -50), "quality = -50"),
        (lambda: fleet.newsvendor([np.nan, 1], [1, 1], 0, critical_ratio=0.9), r"mean\[0\] = nan"),
        (lambda: fleet.newsvendor([1, 1], [1, 1], np.ones((3, 3)), critical_ratio=0.9), r"correlation has shape \(3, 3\)"),
        (lambda: fleet.newsvendor([1, 1], [1, 1], [[1, 0.5], [0.1, 1]], critical_ratio=0.9), "symmetric matrix"),
        (lambda: fleet.newsvendor([1, 1], [1, 1], [[0.5, 0.1], [0.1, 1]], critical_ratio=0.9), "ones on the diagonal"),
        (lambda: fleet.staffed([], 0.1), "load: expected an array whose last axis is pools"),
        (lambda: fleet.saving([[np.nan, 1], [1, 2]]), r"load\[0, 0\] = nan"),
        (lambda: fleet.windowed([-1.0, 2.0], [1, 1], 1.0), r"seconds\[0\] = -1"),
        (lambda: fleet.windowed([1.0, 2.0], [1, 1, 1], 1.0), r"seconds has shape \(2,\), work \(3,\)"),
        (lambda: fleet.saving_by_window([], [], [1]), "at least one"),
        (lambda: fleet.bursty([1.0], step=60, service=0), "service = 0"),
        (lambda: fleet.diurnal(np.arange(24), mean=-1, swing=0.5), "mean = -1"),
        (lambda: filled(np.ones(10), reaction=np.nan), "reaction = nan"),
        (lambda: filled(np.ones(10), switch=-3.0), "switch = -3"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call()


def write(path, frame):
    pl.DataFrame(frame).write_csv(path)
    return path


def test_azures_format_and_ours_read_alike(tmp_path):
    azure = write(
        tmp_path / "azure.csv",
        {
            "TIMESTAMP": ["2023-11-16 18:15:46.6805900", "2023-11-16 18:15:50.9951690", "2023-11-16 18:16:00.0000000"],
            "ContextTokens": [374, 396, 100],
            "GeneratedTokens": [44, 109, 10],
        },
    )
    own = write(tmp_path / "own.csv", {"time": [0.0, 4.314579, 13.31941], "input_tokens": [374, 396, 100], "output_tokens": [44, 109, 10]})
    a, b = fleet.read_trace(azure), fleet.read_trace(own)
    assert a.seconds == pytest.approx(b.seconds, abs=1e-6)
    assert a.chip_seconds(9212, 1850) == pytest.approx(b.chip_seconds(9212, 1850))


def test_the_first_lines_of_azures_own_file(tmp_path):
    path = tmp_path / "AzureLLMInferenceTrace_code.csv"
    path.write_text(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9799600,4808,10\n2023-11-16 18:17:04.0319600,3180,8\n"
        "2023-11-16 18:17:04.0781280,110,27\n"
    )
    trace = fleet.read_trace(path)
    assert trace.seconds == pytest.approx([0, 0.052, 0.098168], abs=1e-9)
    assert trace.input_tokens.tolist() == [4808, 3180, 110]
    assert trace.output_tokens.tolist() == [10, 8, 27]
    assert trace.requests.tolist() == [1, 1, 1]


def test_a_log_by_intervals(tmp_path):
    rows = {"time": [0, 60, 120, 180], "requests": [10, 12, 9, 11], "tokens": [2000, 2400, 1800, 2200]}
    trace = fleet.read_trace(write(tmp_path / "i.csv", rows))
    assert trace.requests.tolist() == [10, 12, 9, 11]
    assert trace.output_tokens.tolist() == [2000, 2400, 1800, 2200]
    assert trace.chip_seconds(1e4, 1e3).tolist() == [2, 2.4, 1.8, 2.2]
    with pytest.raises(DataError, match=r"row 4, column 'time': a gap of 120 s where rows mostly come every 60 s"):
        fleet.read_trace(write(tmp_path / "g.csv", rows | {"time": [0, 60, 180, 240]}))
    with pytest.raises(DataError, match=r"row 4, column 'time': the row repeats an earlier one"):
        fleet.read_trace(write(tmp_path / "d.csv", rows | {"time": [0, 60, 60, 120]}))
    with pytest.raises(DataError, match=r"row 4, column 'time': time goes backwards by 30 s"):
        fleet.read_trace(write(tmp_path / "b.csv", rows | {"time": [0, 60, 30, 120]}))
    with pytest.raises(DataError, match=r"no column tokens or total_tokens; it has time, requests"):
        fleet.read_trace(write(tmp_path / "n.csv", {"time": [0, 60], "requests": [1, 2]}))


@pytest.mark.parametrize(
    ("times", "reason"),
    [
        ([0, 5, 3], r"row 4, column 'time': time goes backwards by 2 s"),
        ([0, 5, 5], r"row 4, column 'time': the row repeats an earlier one"),
        ([*range(200), 9000], r"row 202, column 'time': a gap of 8801 s"),
        ([0, 1, 9000], r"row 4, column 'time': a gap of 8999 s where rows mostly come every 1 s"),
        (["0", "x", "2"], r"row 3, column 'time': 'x' is neither seconds nor an ISO date"),
    ],
)
def test_broken_traces_are_refused_where_they_break(tmp_path, times, reason):
    n = len(times)
    path = write(tmp_path / "t.csv", {"time": times, "input_tokens": [10] * n, "output_tokens": [5] * n})
    with pytest.raises(DataError, match=reason):
        fleet.read_trace(path)


def test_other_refusals_of_traces(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        fleet.read_trace(tmp_path / "none.csv")
    with pytest.raises(DataError, match="no column output_tokens or GeneratedTokens"):
        fleet.read_trace(write(tmp_path / "a.csv", {"time": [1], "input_tokens": [1]}))
    with pytest.raises(DataError, match="row 2, column 'input_tokens': -1 is not a number of 0 or more"):
        fleet.read_trace(write(tmp_path / "b.csv", {"time": [1], "input_tokens": [-1], "output_tokens": [1]}))
    gap = write(tmp_path / "c.csv", {"time": [*range(200), 9000], "input_tokens": [1] * 201, "output_tokens": [1] * 201})
    assert fleet.read_trace(gap, allow_gaps=True).seconds[-1] == 9000


def test_windows_keep_the_work_and_pooling_saves_more_at_short_ones():
    rng = np.random.default_rng(3)
    arrivals = [np.sort(rng.uniform(0, 3600, 4000)), np.sort(rng.uniform(0, 3600, 400))]
    work = [np.full(4000, 0.5), rng.exponential(20, 400)]
    assert fleet.windowed(arrivals[0], work[0], 60.0, length=3600.0).sum() * 60 == pytest.approx(2000)
    saved, ratios = fleet.saving_by_window(arrivals, work, [1, 60, 600])
    assert (saved >= 0).all()
    assert saved[0] > saved[-1]
    assert (ratios[0] > ratios[-1]).all()
    with pytest.raises(InputError, match="window = 7200"):
        fleet.windowed(arrivals[0], work[0], 7200.0)


@given(st.integers(2, 5), st.integers(2, 50), st.integers(0, 2**16))
def test_pooled_peaks_are_never_above_their_sum(tenants, steps, seed):
    load = np.random.default_rng(seed).exponential(1, (tenants, steps))
    assert fleet.saving(load).saved >= 0


def test_a_day_has_its_peak_where_it_should():
    hours = np.arange(168)
    load = fleet.diurnal(hours, mean=np.array([10.0, 20.0]), swing=0.5, peak_hour=14)
    assert load.shape == (2, 168)
    assert load[0, :24].argmax() == 14
    assert load[0, 134] == pytest.approx(0.8 * load[0, 14])
    with pytest.raises(InputError, match="swing = 2"):
        fleet.diurnal(hours, mean=1, swing=2)


def test_times_with_offsets_and_bare_dates(tmp_path):
    rest = {"input_tokens": [1, 2, 3], "output_tokens": [1, 1, 1]}
    zones = write(
        tmp_path / "z.csv", {"time": ["2024-05-12 00:00:00.5+00:00", "2024-05-12 02:00:10+02:00", "2024-05-12T00:00:20Z"], **rest}
    )
    assert fleet.read_trace(zones).seconds == pytest.approx([0, 9.5, 19.5])
    days = write(tmp_path / "d.csv", {"time": ["2024-05-12", "2024-05-13", "2024-05-14"], **rest})
    assert fleet.read_trace(days, allow_gaps=True).seconds == pytest.approx([0, 86400, 172800])
    twice = write(tmp_path / "t.csv", {"time": [0, 0, 0], "input_tokens": [1, 2, 1], "output_tokens": [1, 1, 1]})
    with pytest.raises(DataError, match=r"row 4.*repeats an earlier one"):
        fleet.read_trace(twice)
    assert fleet.read_trace(twice, allow_duplicates=True).seconds.size == 3


def test_staffing_and_reserves_of_any_shape():
    assert fleet.servers_needed(np.array([[8.0], [80.0]]), np.array([0.01, 0.5])).shape == (2, 2)
    assert fleet.newsvendor(100.0, [10.0, 20.0], 0.0, critical_ratio=[0.9, 0.99]).pooled.shape == (2,)
    assert fleet.Reserve(np.array([0.0, 2.0]), np.array([0.0, 1.0])).saved.tolist() == [0, 0.5]
    assert fleet.servers_needed([0.5, 800.0], 0.9).tolist() == [1, 803]  # as one by one: a large load beside it changes nothing
    with pytest.raises(InputError, match="load = inf"):
        fleet.servers_needed(np.inf, 0.1)


@pytest.mark.parametrize(
    "text",
    [
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.68,374,44\n2023-11-16 18:15:50.99,396,109\n2023-11-16 18:15:52,8,5\n",
        "time,requests,tokens\n0,3,500\n60,5,700\n120,1,40\n180,2,50\n",
    ],
)
def test_damaged_traces_are_read_or_refused(read_mutants, text):
    for trace in read_mutants(fleet.read_trace, text.encode(), "trace.csv"):
        assert np.isfinite([trace.seconds, trace.input_tokens, trace.output_tokens, trace.requests]).all()
        assert (trace.seconds >= 0).all()


@pytest.mark.parametrize("times", ["x,1,1\ny,1,1", "nan,1,1\n5,1,1", "2500-01-01 00:00:00,1,1\n1600-01-01 00:00:00,1,1"])
def test_times_that_are_none_are_refused(tmp_path, times):
    path = tmp_path / "trace.csv"
    path.write_text(f"time,input_tokens,output_tokens\n{times}\n")
    with pytest.raises(DataError, match=r"row 2, column 'time': .* is neither seconds nor an ISO date of 1970 to 2199|is not a number"):
        fleet.read_trace(path)
