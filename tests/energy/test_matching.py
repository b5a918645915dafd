"""Work that moves between regions: never dearer than a linear programme finds, within reach and room, and what cannot move stays."""

import time

import numpy as np
import pytest
from scipy.optimize import linprog

from workbench import catalogue, energy
from workbench.energy.grid import Site
from workbench.errors import InputError


def least(costs, load, *, share, capacity, near):
    """Least cost of a kilowatt in each hour: one linear programme an hour, a variable for each pair of regions."""
    n, found = len(load), 0.0
    for cost, stands, most in zip(costs.T, load.T, capacity.T, strict=True):
        leaves, arrives = np.kron(np.eye(n), np.ones(n)), np.kron(np.ones(n), np.eye(n))
        bounds = [(0, None) if reached else (0, 0) for reached in near.ravel()]
        limited = np.isfinite(most)
        rooms = {"A_ub": arrives[limited], "b_ub": (most - (1 - share) * stands)[limited]} if limited.any() else {}
        found += linprog(np.tile(cost, n), A_eq=leaves, b_eq=share * stands, bounds=bounds, **rooms).fun + (1 - share) * stands @ cost
    return found / 1e3


@pytest.mark.parametrize("seed", range(24))
def test_no_linear_programme_finds_cheaper_places(seed):
    rng = np.random.default_rng(seed)
    n, hours = rng.integers(2, 7), rng.integers(1, 4)
    price, carbon = rng.uniform(-0.02, 0.2, (n, hours)), rng.uniform(10, 800, (n, hours))
    pue = rng.uniform(1, 1.5, (n, 1))
    places = [Site(str(i), *figures) for i, figures in enumerate(zip(price, carbon, pue[:, 0], strict=True))]
    load, share, usd, limit = rng.uniform(0, 1, (n, hours)), rng.uniform(), rng.uniform(0, 200), rng.choice([0.03, 0.06, 1.0])
    capacity, away = load * rng.uniform(1, 2.5, (n, hours)), rng.uniform(0, 0.1, (n, n))
    capacity = np.full((n, hours), np.inf) if seed % 4 == 0 else np.where(rng.uniform(size=(n, 1)) < 0.2, np.inf, capacity)
    near, costs = (away <= limit) | np.eye(n, dtype=bool), pue * (price + carbon * usd / 1e6)
    moved = energy.move_load(places, load, share=share, capacity=capacity, round_trip=away, limit=limit, carbon_usd_per_t=usd)
    assert moved.money == pytest.approx(least(costs, load, share=share, capacity=capacity, near=near), rel=1e-9, abs=1e-12)
    assert moved.load.sum(axis=0) == pytest.approx(load.sum(axis=0))
    assert (moved.load <= capacity + 1e-9).all()
    assert (moved.load >= (1 - share) * load - 1e-12).all()
    assert 0 <= moved.moved <= share + 1e-12
    bills = [energy.energy_bill(place, power, carbon_usd_per_t=usd) for place, power in zip(places, moved.load, strict=True)]
    assert moved.money == pytest.approx(sum(b.money for b in bills))
    assert moved.carbon.kg == pytest.approx(sum(b.carbon["location"] for b in bills).kg)
    stood = [energy.energy_bill(place, power, carbon_usd_per_t=usd) for place, power in zip(places, load, strict=True)]
    assert moved.saved == pytest.approx(sum(b.money for b in stood) - moved.money)
    assert moved.carbon_saved.kg == pytest.approx(sum(b.carbon["location"] for b in stood).kg - moved.carbon.kg)


def test_more_that_may_move_room_and_reach_save_more():
    places, rng = ["eastus", "swedencentral", "polandcentral", "japaneast"], np.random.default_rng(0)
    load, away = rng.uniform(0, 1e6, (4, 48)), rng.uniform(0.01, 0.2, (4, 4))
    of_shares = energy.move_load(places, load, share=[0, 0.2, 0.5, 1], capacity=2 * load).saved
    assert of_shares[0] == 0
    assert (np.diff(of_shares) > 0).all()
    assert of_shares[1:] / [0.2, 0.5, 1] == pytest.approx(sorted(of_shares[1:] / [0.2, 0.5, 1], reverse=True))  # concave
    roomy = [energy.move_load(places, load, capacity=k * load).saved for k in (1, 1.5, 4, np.inf)]
    reaching = [energy.move_load(places, load, round_trip=away, limit=at).saved for at in (0, 0.05, 0.1, 1)]
    for saved in (roomy, reaching):
        assert saved[0] == pytest.approx(0, abs=1e-6)
        assert (np.diff(saved) >= -1e-6).all()


def test_cheap_power_may_be_dirty_and_a_price_of_carbon_turns_it():
    places = [Site("clean", 0.06, 20, 1.1), Site("dirty", 0.05, 700, 1.1)]
    free, priced = (energy.move_load(places, [[1e6], [0.0]], carbon_usd_per_t=usd) for usd in (0, 50))
    assert (free.moved, priced.moved) == (1, 0)
    assert free.carbon_saved.kg == pytest.approx(-1.1 * 680)
    assert free.saved == pytest.approx(11)


def test_all_regions_for_a_week_take_less_than_a_second():
    names = catalogue.names("regions")
    load = np.random.default_rng(0).uniform(0, 1e6, (len(names), 168))
    start = time.process_time()
    moved = energy.move_load(names, load, share=0.5, capacity=1.5 * load, carbon_usd_per_t=80)
    assert time.process_time() - start < 1.0
    assert 0.2 < moved.moved <= 0.5


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"load": [1.0, 2.0]}, r"load of shape \(2,\): expected \(..., 2, hours\) for 2 places"),
        ({"load": [[1.0]]}, r"load of shape \(1, 1\): expected"),
        ({"capacity": 0.5}, "capacity: expected at least the load"),
        ({"round_trip": [0.1, 0.2, 0.3]}, r"round_trip of shape \(3,\)"),
        ({"share": 1.5}, "share = 1.5: expected 0 or more and at most 1"),
        ({"places": ["eastus", "atlantis"]}, "unknown region 'atlantis'"),
    ],
)
def test_bad_input_is_named(given, said):
    valid = {"places": ["eastus", "swedencentral"], "load": [[1.0, 1.0], [0.0, 1.0]]}
    with pytest.raises(InputError, match=said):
        energy.move_load(**valid | given)


def test_too_many_groups_under_capacity_are_refused_and_many_without_are_not():
    names, away = catalogue.names("regions")[:12], np.random.default_rng(0).uniform(0, 0.1, (12, 12))
    assert energy.move_load(names, np.ones((12, 2)), round_trip=away, limit=0.05).saved > 0
    with pytest.raises(InputError, match="12 groups of regions reach the same ones; expected at most 10"):
        energy.move_load(names, np.ones((12, 2)), capacity=2.0, round_trip=away, limit=0.05)
