"""Goodput, sites and the bill."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench import fabric
from workbench.errors import InputError
from workbench.fabric.goodput import optimal_interval
from workbench.fabric.wan import round_trip


def test_llama_3s_interruptions_and_uptime():
    # Llama 3, table 5: 419 interruptions in 54 days on 16,384 H100; more than 90 % effective training time
    g = fabric.goodput(16_384, checkpoint=30, restart=600)
    assert g.mtbf / 3600 == pytest.approx(3.09, rel=0.01)
    assert 0.85 < g.share < 0.95


def test_daly_beats_every_other_interval():
    best = fabric.goodput(1e5, checkpoint=60, restart=300)
    for factor in (0.5, 0.8, 1.25, 2):
        assert fabric.goodput(1e5, checkpoint=60, restart=300, interval=best.interval * factor).share <= best.share * (1 + 1e-4)
    assert optimal_interval(1, 1e6) == pytest.approx(np.sqrt(2e6), rel=0.01)  # Young's limit


@given(st.floats(10, 1e6), st.floats(1, 600), st.floats(0, 3600))
def test_goodput_is_a_share_and_falls_with_scale(n, checkpoint, restart):
    g = fabric.goodput(np.array([n, 2 * n]), checkpoint=checkpoint, restart=restart)
    assert np.all((g.share >= 0) & (g.share <= 1))
    assert g.share[1] <= g.share[0]
    assert g.share + g.checkpoints + g.failures == pytest.approx([1, 1])


def test_sites():
    base = {"gradient_bytes": 800e9, "step_seconds": 10.0, "sites": 2, "bandwidth": 1e12}
    near, far = (fabric.across_sites(**base, distance=d) for d in (0, 1e6))
    assert near.exchange == pytest.approx(0.8)
    assert far.exchange - near.exchange == pytest.approx(round_trip(1e6)) == pytest.approx(9.8e-3)
    assert fabric.across_sites(**base, distance=1e6, overlap=0.5).loss == 0
    assert fabric.across_sites(**base, distance=1e6, every=100).loss < far.loss / 50
    windowed = fabric.across_sites(**base, distance=1e6, window=1e9)
    assert windowed.exchange > far.exchange


def test_bandwidth_inverts_the_loss():
    args = {"gradient_bytes": 800e9, "step_seconds": 10.0, "sites": 4, "distance": 5e5}
    needed = fabric.bandwidth_for(0.02, **args)
    assert fabric.across_sites(**args, bandwidth=needed).loss == pytest.approx(0.02)
    assert np.isinf(fabric.bandwidth_for(1e-6, **args))


def test_the_bill_follows_the_counts():
    tree = fabric.fat_tree(np.array([4608, 100_000]), 144, 100e9)
    b = fabric.bill(tree, switch_usd=50_000, optic_usd=1000, cable_usd=50, nic_usd=1500, switch_watts=3000, nic_watts=30)
    assert b.usd["switches"].tolist() == (tree.switches * 50_000).tolist()
    assert b.total_watts[0] == pytest.approx(100 * 3000 + 2 * 9216 * 17 + 4608 * 30)
    per_chip = b.total_usd / b.endpoints
    assert per_chip[1] > per_chip[0]  # a third tier
    assert b.usd_per_bandwidth()[0] == b.total_usd[0] / (2304 * 100e9)
    copper = fabric.bill(tree, switch_usd=1, optic_usd=1, cable_usd=1, nic_usd=1, switch_watts=1, copper_endpoints=1.0)
    assert copper.usd["optics"][0] == 2 * 4608


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: fabric.across_sites(1, 1, sites=0, bandwidth=1, distance=1), "sites = 0"),
        (lambda: fabric.across_sites(1, 1, sites=2, bandwidth=1, distance=1, overlap=2), "overlap = 2"),
        (lambda: fabric.across_sites(1, 1, sites=2, bandwidth=1, distance=1, window=-5), "window = -5: expected more than 0"),
        (lambda: fabric.bandwidth_for(0.1, -1, 1, sites=2, distance=1), "gradient_bytes = -1"),
        (lambda: fabric.bandwidth_for(0.1, 1, -1, sites=2, distance=1), "step_seconds = -1"),
        (lambda: fabric.bandwidth_for(0.1, 1, 1, sites=-2, distance=1), "sites = -2"),
        (lambda: fabric.bandwidth_for(0.1, 1, 1, sites=2, distance=1, every=np.nan), "every = nan"),
        (lambda: round_trip(-1), "distance = -1"),
        (
            lambda: fabric.bill(fabric.fat_tree(8, 64, 1), switch_usd=-1, optic_usd=1, cable_usd=1, nic_usd=1, switch_watts=1),
            "switch_usd = -1",
        ),
    ],
)
def test_bad_input_is_named(wrong, said):
    with pytest.raises(InputError, match=said):
        wrong()
