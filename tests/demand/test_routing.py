import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.chips import routed
from workbench.demand.uses.routing import model_mix
from workbench.errors import InputError

SIZES = np.array([8e9, 70e9, 400e9])
PRICE = np.array([0.1, 0.6, 3.0])
QUALITY = np.array([0.6, 0.8, 0.9])


@given(sharpness=st.floats(0, 1e3), worth=st.floats(0.1, 1e3))
def test_shares_are_shares(sharpness, worth):
    mix = model_mix(SIZES, PRICE, QUALITY, sharpness=sharpness, worth=worth)
    assert mix.share.sum() == pytest.approx(1)
    assert SIZES.min() <= mix.active <= SIZES.max() * (1 + 1e-12)


def test_limits():
    assert model_mix(SIZES, PRICE, QUALITY, sharpness=0.0, worth=1.0).share == pytest.approx([1 / 3] * 3)
    assert model_mix(SIZES, PRICE, QUALITY, sharpness=1e6, worth=1e6).share == pytest.approx([0, 0, 1])  # money is no object
    assert model_mix(SIZES, PRICE, QUALITY, sharpness=1e6, worth=0.1).share == pytest.approx([1, 0, 0])


def test_odds_are_exponential_in_the_difference_of_utility():
    mix = model_mix(SIZES, PRICE, QUALITY, sharpness=5.0, worth=10.0)
    assert np.log(mix.share[2] / mix.share[1]) == pytest.approx(5 * (0.1 - 2.4 / 10))
    assert mix.price == pytest.approx(mix.share @ PRICE)


def test_dearer_models_lose_share_in_every_future():
    price = PRICE[:, None] * np.array([1.0, 2.0])
    mix = model_mix(SIZES[:, None], price, QUALITY[:, None], sharpness=5.0, worth=10.0)
    assert mix.share.shape == (3, 2)
    assert mix.active[1] < mix.active[0]


def test_sizes_are_the_first_axis_and_futures_the_others():
    mix = model_mix(SIZES, PRICE, QUALITY, sharpness=[1.0, 2.0, 5.0], worth=[[3.0], [10.0]])
    assert mix.share.shape == (3, 2, 3)
    one = model_mix(SIZES, PRICE, QUALITY, sharpness=2.0, worth=10.0)
    assert mix.share[:, 1, 1] == pytest.approx(one.share)
    assert mix.quality[1, 1] == pytest.approx(float(one.quality))
    prices = PRICE[:, None] * np.array([1.0, 2.0, 4.0])
    futures = model_mix(SIZES, prices, QUALITY, sharpness=5.0, worth=10.0)
    assert futures.share[:, 2] == pytest.approx(model_mix(SIZES, PRICE * 4, QUALITY, sharpness=5.0, worth=10.0).share)


def test_a_mix_of_two_costs_what_a_router_of_the_same_share_costs():
    mix = model_mix(SIZES[[0, 2]], PRICE[[0, 2]], QUALITY[[0, 2]], sharpness=4.0, worth=5.0)
    both = routed(0.1, 3.0, 0.6, 0.9, share=mix.share[0])
    assert mix.price == pytest.approx(float(both.cost))
    assert mix.quality == pytest.approx(float(both.quality))  # a market without skill in routing


def test_bad_input():
    with pytest.raises(InputError, match=r"quality\[1\] = nan: expected 0 or more and at most 1"):
        model_mix(SIZES, PRICE, [0.6, np.nan, 0.9], sharpness=1.0, worth=1.0)
    with pytest.raises(InputError, match=r"active of shape \(3,\) and price of shape \(2,\) do not broadcast"):
        model_mix(SIZES, PRICE[:2], QUALITY, sharpness=1.0, worth=1.0)
    with pytest.raises(InputError, match="expected at least one size"):
        model_mix([], [], [], sharpness=1.0, worth=1.0)
    with pytest.raises(InputError, match="worth = 0: expected more than 0"):
        model_mix(SIZES, PRICE, QUALITY, sharpness=1.0, worth=0.0)
