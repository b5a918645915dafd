"""The price that clears: against a root finder, in its limits, under contracts, floors and ceilings; Jevons and the log law."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq, minimize_scalar
from scipy.special import logsumexp

from workbench import demand
from workbench.demand.market.clearing import root_step
from workbench.errors import InputError

classes = st.lists(st.tuples(st.floats(0.01, 100), st.floats(0.1, 3), st.floats(0, 0.8)), min_size=1, max_size=6)


@settings(max_examples=200)
@given(classes, st.floats(0.01, 100), st.floats(0.1, 10))
def test_equals_brentq(given_classes, supply, reference):
    d, e, c = np.array(given_classes).T
    spot = e * (1 - c)
    root = brentq(lambda x: logsumexp(np.log(d) - spot * x) - np.log(supply), -650, 650, xtol=1e-14, rtol=1e-14)
    price = demand.clear(d, supply, e, reference_price=reference, contracted=c).price
    assert price == pytest.approx(reference * np.exp(root), rel=1e-12, abs=1e-290)


def test_one_class_has_a_closed_form():
    rng = np.random.default_rng(0)
    d, s, e = rng.lognormal(size=(3, 40, 64))
    cleared = demand.clear(d[None], s, e[None], reference_price=2.35)
    assert cleared.price == pytest.approx(2.35 * (d / s) ** (1 / e), rel=1e-12)
    assert cleared.served[0] == pytest.approx(s, rel=1e-12)


@given(classes, st.floats(0.01, 100), st.floats(1.001, 5), st.floats(0, 2), st.floats(3, 20))
def test_more_supply_never_raises_the_price_and_books_balance(given_classes, supply, more, floor, ceiling):
    d, e, c = np.array(given_classes).T
    cleared = demand.clear(d, [supply, supply * more], e, reference_price=2.0, contracted=c, floor=floor, ceiling=ceiling)
    assert cleared.price[1] <= cleared.price[0] * (1 + 1e-12)
    assert np.all(cleared.served.sum(axis=0) + cleared.idle == pytest.approx([supply, supply * more], rel=1e-9))
    asked = demand.demand_at(np.maximum(cleared.price, 1e-290), d, e, reference_price=2.0, contracted=c, floor=floor)
    assert asked.sum(axis=0) == pytest.approx(cleared.served.sum(axis=0) + cleared.unserved, rel=1e-9)
    assert np.all(cleared.unserved * cleared.idle == 0)
    assert np.all((cleared.price >= floor) & (cleared.price <= ceiling))


def test_no_elasticity_rations_or_idles():
    kept = demand.clear([1.0, 2.0], [2.0, 4.0, 3.0], 0.0, reference_price=2.0, floor=0.5, ceiling=10.0)
    assert kept.price.tolist() == [10, 0.5, 2]  # the ceiling, the floor, and where all prices clear the reference
    assert kept.unserved.tolist() == [1, 0, 0]
    assert kept.idle.tolist() == [0, 1, 0]
    assert kept.served[:, 0] == pytest.approx([2 / 3, 4 / 3])
    assert demand.clear([3.0], 2.0, 0.0, reference_price=2.0).price == np.inf


def test_infinite_elasticity_pins_the_price_at_the_reference():
    prices = [float(demand.clear([3.0], 2.0, e, reference_price=2.0).price) for e in (1.0, 1e2, 1e4, 1e6)]
    assert prices == sorted(prices, reverse=True)
    assert prices[-1] == pytest.approx(2.0, rel=1e-6)


def test_floor_at_the_marginal_cost_of_operation_leaves_the_rest_idle():
    cleared = demand.clear([1.0, 1.0], 10.0, [1.0, 0.5], reference_price=2.0, floor=0.5)
    assert cleared.price == 0.5
    assert cleared.idle == pytest.approx(10 - (4 + 2))
    # each class its own: the second wants no more below 1, the first goes on to .5
    own = demand.clear([1.0, 1.0], 10.0, [1.0, 0.5], reference_price=2.0, floor=[0.5, 1.0])
    assert own.served == pytest.approx([4, 2**0.5])


def test_a_floor_within_the_range_is_a_kink_that_still_clears():
    cleared = demand.clear([1.0, 1.0], 3.0, [1.0, 1.5], reference_price=2.0, floor=[0.5, 1.9])
    assert cleared.served.sum() == pytest.approx(3.0, rel=1e-12)
    assert cleared.price == pytest.approx(2 / (3 - (2 / 1.9) ** 1.5), rel=1e-12)  # the second stays at its floor


def test_contracts_take_their_share_of_the_elasticity():
    free = demand.clear([1.0], 0.8, 1.1 * (1 - 0.4), reference_price=2.0)
    bound = demand.clear([1.0], 0.8, 1.1, reference_price=2.0, contracted=0.4)
    assert bound.price == free.price == pytest.approx(2 * 0.8 ** (-1 / 0.66), rel=1e-12)


def test_root_steps_reach_the_root_from_afar():
    rng = np.random.default_rng(1)
    d, e = rng.normal(size=(3, 500)), np.array([[1.0], [1.1], [0.3]]) * rng.lognormal(0, 0.2, (3, 500))
    s, x = rng.normal(1, 0.3, 500), np.zeros(500)
    for _ in range(7):
        x = root_step(x, d, e, s)
    exact = demand.clear(np.exp(d), np.exp(s), e, reference_price=1.0).price
    assert np.exp(x) == pytest.approx(exact, rel=1e-12)


def test_log_law_is_an_elasticity_of_minus_one():
    k, prices = 5e9, np.array([1.0, 2.35, 10.0])
    compute = demand.log_law_compute(k, prices)
    for price, c in zip(prices, compute, strict=True):  # it is the optimum of what it claims to be
        best = minimize_scalar(
            lambda x, p=price: p * np.exp(x) - k * x / np.log(10), bounds=(0, 40), method="bounded", options={"xatol": 1e-9}
        )
        assert best.x == pytest.approx(np.log(c), abs=1e-6)
    assert np.diff(np.log(compute)) / np.diff(np.log(prices)) == pytest.approx([-1, -1], rel=1e-12)
    assert compute * prices == pytest.approx(np.full(3, k / np.log(10)))  # spend does not depend on the price


def test_measured_elasticity_is_nearly_the_log_law():
    # -1.11 within model across hosts: NBER, The Emerging Market for Intelligence
    assert demand.value_exponent(1.0) == 0
    assert demand.value_exponent(1.11) == pytest.approx(0.0991, abs=1e-4)
    assert demand.log_law_compute(1.0, 0.5) / demand.log_law_compute(1.0, 1.0) == pytest.approx(2**1.11, rel=0.08)


def test_jevons_has_a_probability():
    after = demand.jevons(10.0, [1.11, 0.6, 1.0])  # notes: ten times adds 29 %, removes 60 %
    assert after.factor == pytest.approx([1.288, 0.398, 1.0], abs=1e-3)
    assert after.probability() == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"elasticity": -1.0}, "elasticity = -1: demand falls as the price rises; expected 0 or more"),
        ({"elasticity": [1.0, np.inf]}, "elasticity"),
        ({"elasticity": [1.0, 1.0, 1.0]}, "elasticity: expected 2 classes on the first axis"),
        ({"contracted": 1.2}, "contracted = 1.2: expected 0 or more and at most 1"),
        ({"demand": [-1.0, 1.0]}, "demand"),
        ({"demand": 1.0}, "demand: expected classes"),
        ({"supply": 0.0}, "supply = 0: expected more than 0"),
        ({"reference_price": 0.0}, "reference_price"),
        ({"demand": [1e300, 1.0], "elasticity": 100.0, "ceiling": 0.1}, "more than a number holds"),
        ({"supply": [1.0, 2.0, 3.0], "ceiling": [1.0, 2.0]}, r"supply of shape \(3,\) and ceiling of shape \(2,\) do not broadcast"),
        ({"floor": -1.0}, "floor = -1: expected 0 or more"),
        ({"ceiling": 0.1, "floor": 1.0}, "ceiling = 0.1: expected at least the floor"),
    ],
)
def test_bad_input_is_named(change, message):
    arguments = {"demand": [1.0, 2.0], "supply": 1.0, "elasticity": 1.0, "reference_price": 2.0} | change
    with pytest.raises(InputError, match=message):
        demand.clear(arguments.pop("demand"), arguments.pop("supply"), arguments.pop("elasticity"), **arguments)
    with pytest.raises(InputError, match="price"):
        demand.demand_at(0.0, [1.0], 1.0, reference_price=1.0)
    with pytest.raises(InputError, match="efficiency"):
        demand.jevons(0.0, 1.0)
    with pytest.raises(InputError, match="price = 0: expected more than 0"):
        demand.log_law_compute(1.0, 0.0)
    with pytest.raises(InputError, match="elasticity"):
        demand.value_exponent(0.0)
