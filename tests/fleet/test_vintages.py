"""When to replace, and what is left of the price of a vintage."""

import numpy as np
import pytest

from workbench.errors import InputError
from workbench.fleet import chip_refresh
from workbench.fleet.vintages import AGES, replacement, residual_value


def replace_at(**changed):
    given = {"price_decline": 0.32, "energy_decline": 0.30, "running": 0.08, "rate": 0.0675, "resale": 0.0}
    return replacement(**given | changed)


def test_chips_wear_out_by_progress_sooner_as_power_is_scarcer():
    # 1.73 kW of an H100 at 40,000 USD: a watt of facility and energy 1.9 USD a year, then 3 and 10 USD more where power is scarce
    ages = replace_at(running=np.array([1.9, 4.9, 11.9]) * 1730 / 40_000).age
    assert ages == pytest.approx([6.5, 4.6, 3.1], abs=0.2)
    assert np.all(np.diff(ages) < 0)


def test_resale_shortens_the_life_and_the_optimum_is_flat():
    kept, sold = replace_at(running=0.082, resale=np.array([0.0, 0.5])).age
    assert sold < kept
    best = replace_at(running=0.082, resale=0.5)
    assert (best.costs[(AGES >= 4) & (AGES <= 6)] < 1.06 * best.cost).all()


def test_without_progress_nothing_is_replaced():
    assert replace_at(price_decline=0.0, energy_decline=0.0).age == AGES[-1] == 15


def test_what_is_best_is_best_on_its_grid():
    r = replace_at(running=np.linspace(0, 1, 7))
    assert r.cost == pytest.approx(r.costs.min(axis=-1))
    assert r.age == pytest.approx(AGES[r.costs.argmin(axis=-1)])


def test_free_switching_with_full_resale_is_refused():
    with pytest.raises(InputError, match="replacing all the time would be free"):
        replace_at(switching=0.0, resale=1.0)
    with pytest.raises(InputError, match="rate = 0"):
        replace_at(rate=0)
    with pytest.raises(InputError, match="running = -1"):
        replace_at(running=-1)


def test_worth_of_a_t5_training_chip():
    # Epoch AI: a TPU v3 of 5,276 x 1.64 USD (May 2018) was worth 5,858 USD when T5 began training 442 days later
    assert residual_value(5276 * 1.64, 442 / 365.25, 0.14) == pytest.approx(5858, rel=1e-3)
    assert residual_value(100, -1, 0.14) == 100


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: replace_at(resale_decline=np.nan), "resale_decline = nan"),
        (lambda: replace_at(resale=2.0), "resale = 2"),
        (lambda: replace_at(running=np.inf), "running = inf"),
        (lambda: residual_value(-5, 1, 0.14), "price = -5"),
        (lambda: residual_value(5, 1, -0.2), "growth_log10 = -0.2: expected 0 or more"),  # a chip would be worth more than new
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_a_chip_is_replaced_sooner_where_others_want_its_power():
    # an H100 of 23,500 USD with its server (1.091) and network (19 %), 1,730 W at the meter; 0.0826 USD/kWh, 10.7 USD a watt of facility
    price, drawn = 23_500 * 1.091 / 0.81, 1730 * 0.75
    watt = 0.0826 * 8.766 + 10.7 * 0.0675 / (1 - 1.0675**-14)
    by_hand = replacement(
        price_decline=0.14 * np.log(10), energy_decline=0.3, running=drawn * (watt + np.array([0, 10])) / price, rate=0.0675
    )
    found = chip_refresh("H100", watt_usd_per_year=[0.0, 10.0])
    assert found.cost == pytest.approx(by_hand.cost, rel=1e-9)
    assert found.age[0] > found.age[1]
