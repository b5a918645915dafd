"""Partitioned against pooled fleets, and filling."""

from math import factorial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench import fleet
from workbench.errors import InputError
from workbench.fleet.pooling import Reserve, erlang_c


def erlang_c_by_sum(n, a):
    b = (a**n / factorial(n)) / sum(a**k / factorial(k) for k in range(n + 1))
    return b / (1 - (1 - b) * a / n)


@given(st.integers(1, 100), st.floats(0.01, 0.99))
def test_erlang_c_is_the_sum_in_textbooks(n, utilisation):
    a = n * utilisation
    assert erlang_c(n, a) == pytest.approx(erlang_c_by_sum(n, a), rel=1e-8)


def test_erlang_reference_values():
    # 8 erlang need 16 servers for waits below 1 %, ten such pools 160, one pool of 80 erlang 103, one of 800 869
    assert fleet.servers_needed([8, 80, 800], 0.01).tolist() == [16, 103, 869]
    assert erlang_c(5, 5) == 1
    assert erlang_c(5, 0) == 0
    assert erlang_c(1e4, 9900) == pytest.approx(0.2228, abs=1e-3)


@given(st.lists(st.floats(0.1, 50), min_size=2, max_size=6), st.floats(0.001, 0.5))
def test_pooled_is_never_above_partitioned(loads, wait):
    assert fleet.servers_needed(sum(loads), wait) <= fleet.servers_needed(loads, wait).sum() + 1  # whole servers may cost one


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
    assert erlang_c(1, [0.1, 0.5, 0.99]) == pytest.approx([0.1, 0.5, 0.99])  # M/M/1: the utilisation
    assert erlang_c(1e6 + 1e3, 1e6) == pytest.approx(0.2234, abs=2e-4)  # Halfin and Whitt (1981) at a quality of 1


def filled(load, **changed):
    given = {"capacity": 100.0, "step": 60.0, "reaction": 300.0, "switch": 120.0}
    return fleet.backfill(load, **given | changed)


def test_filling_beats_a_partition_and_slow_schedulers_lose():
    load = fleet.diurnal(np.arange(0, 168, 1 / 60), mean=40, swing=0.6, service=30.0, seed=1)
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
        (lambda: fleet.newsvendor([np.nan, 1], [1, 1], 0, critical_ratio=0.9), r"mean\[0\] = nan"),
        (lambda: fleet.newsvendor([1, 1, 1], [1, 1, 1], -0.6, critical_ratio=0.9), r"3 demands \(smallest eigenvalue -0.2\)"),
        (lambda: fleet.diurnal([0, 1], mean=1, swing=0.5, service=0), "service = 0"),
        (lambda: fleet.diurnal([0, 1, 3], mean=1, swing=0.5, service=9), "hours: requests arrive in even steps"),
        (lambda: fleet.diurnal(np.arange(24), mean=-1, swing=0.5), "mean = -1"),
        (lambda: filled(np.ones(10), reaction=np.nan), "reaction = nan"),
        (lambda: filled(np.ones(10), switch=-3.0), "switch = -3"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_a_day_has_its_peak_where_it_should():
    hours = np.arange(168)
    load = fleet.diurnal(hours, mean=np.array([10.0, 20.0]), swing=0.5, peak_hour=14)
    assert load.shape == (2, 168)
    assert load[0, :24].argmax() == 14
    assert load[0, 134] == pytest.approx(0.8 * load[0, 14])
    with pytest.raises(InputError, match="swing = 2"):
        fleet.diurnal(hours, mean=1, swing=2)


def test_staffing_and_reserves_of_any_shape():
    assert fleet.servers_needed(np.array([[8.0], [80.0]]), np.array([0.01, 0.5])).shape == (2, 2)
    assert fleet.newsvendor(100.0, [10.0, 20.0], 0.0, critical_ratio=[0.9, 0.99]).pooled.shape == (2,)
    assert Reserve(np.array([0.0, 2.0]), np.array([0.0, 1.0])).saved.tolist() == [0, 0.5]
    assert fleet.servers_needed([0.5, 800.0], 0.9).tolist() == [1, 803]  # as one by one: a large load beside it changes nothing
    with pytest.raises(InputError, match="load = inf"):
        fleet.servers_needed(np.inf, 0.1)
