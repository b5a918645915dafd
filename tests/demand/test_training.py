import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.demand.uses.training import (
    chips_cap,
    data_cap,
    equal_marginal,
    frontier_run,
    latency_wall,
    money_cap,
    power_cap,
    training_demand,
)
from workbench.errors import InputError
from workbench.units import DAY, YEAR


@given(caps=st.lists(st.floats(1e20, 1e32), min_size=1, max_size=6))
def test_no_run_exceeds_a_cap(caps):
    named = {str(i): c for i, c in enumerate(caps)}
    run = frontier_run(named)
    assert all(run.flop <= c for c in caps)
    assert named[str(run.binds)] == run.flop


def test_binding_caps_by_future():
    run = frontier_run({"trend": np.array([1e27, 1e29, 1e29]), "power": 1e28, "money": np.array([1e30, 1e30, 1e26])})
    assert run.binds.tolist() == ["trend", "power", "money"]
    with pytest.raises(InputError, match=r"caps\[power\] = 0: expected more than 0"):
        frontier_run({"power": 0})


def test_caps_by_hand():
    assert chips_cap(1e5, share=1.0, mfu=0.4, seconds=100 * DAY) == pytest.approx(1e5 * 0.4 * 1979e12 * 100 * 86400)
    # 1,700 W an H100, four times better by 2030, MFU .4, 300 days: 2.4e28 with 1 GW, 1.2e29 with 5
    run = power_cap(np.array([1e9, 5e9]), chip_power=1700 / 4, peak=989.4e12, mfu=0.4, seconds=300 * DAY)
    assert run == pytest.approx([2.4e28, 1.2e29], rel=0.02)
    assert data_cap([4e14, 2e16]) == pytest.approx([4.8e28, 1.2e32])
    assert money_cap(1e9, usd_per_h100e_hour=2.0, mfu=0.5) == pytest.approx(1e9 / 2 * 3600 * 0.5 * 1979e12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: data_cap(-1e13), "tokens = -10000000000000: expected 0 or more"),
        (lambda: chips_cap(1e6, share=1.7, mfu=0.4, seconds=1), r"share = 1\.7: expected 0 or more and at most 1"),
        (lambda: chips_cap(1e6, share=0.7, mfu=3, seconds=1), "mfu = 3: expected 0 or more and at most 1"),
        (lambda: money_cap(1e9, usd_per_h100e_hour=2, mfu=4), "mfu = 4: expected 0 or more and at most 1"),
        (lambda: power_cap([1, 2], chip_power=[1, 2, 3], peak=1, mfu=1, seconds=1), r"power of shape \(2,\) and chip_power of shape"),
    ],
)
def test_caps_without_meaning_are_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_latency_wall():
    assert 1e31 < latency_wall() < 4e31  # Erdil and Schneider-Joseph: 2e31 for three months
    assert latency_wall(seconds=180 * DAY) == pytest.approx(4 * latency_wall())
    # the wall is where steps one after the other fill the time
    c = float(latency_wall())
    n = np.sqrt(c / 120)
    steps = 20 * n / (16e6 * (n / 4.05e11) ** (1 / 3))
    assert steps * 126 * (n / 4.05e11) ** (1 / 3) * 1e-4 == pytest.approx(90 * DAY)
    with pytest.raises(InputError, match="layer_latency = 0: expected more than 0"):
        latency_wall(layer_latency=0.0)


def test_research_holds_its_runs():
    work = training_demand(5e26, labs=1, runs_per_year=1.0, final_share=0.1, rollout_share=0.3, mfu=0.4)
    assert work.final == pytest.approx(5e26 / YEAR / (0.4 * 1979e12))
    assert work.final + work.experiments + work.rollouts == pytest.approx(10 * work.final)
    assert work.rollouts == pytest.approx(3 * work.final)
    three = training_demand(5e26, labs=3, runs_per_year=1.0, final_share=0.1, rollout_share=0.3, mfu=0.4, follower=0.5)
    assert three.final == pytest.approx(1.75 * work.final)
    with pytest.raises(InputError, match="both at most 1 together"):
        training_demand(1e26, labs=1, runs_per_year=1, final_share=0.5, rollout_share=0.6, mfu=0.4)


def test_equal_marginal_rule():
    assert equal_marginal(1.0, 1.0) == 0.5
    assert equal_marginal(0.0, 1.0) == 0
    with pytest.raises(InputError, match="not both 0"):
        equal_marginal(0.0, 0.0)
