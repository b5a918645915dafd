"""When to replace, what is left of a vintage, and what an old chip rents for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench import catalogue
from workbench.errors import InputError
from workbench.fleet import book_value, rent, replacement, retirement_age, runs, scarcity_of, stock, worth


def replace_at(**changed):
    given = {"price_decline": 0.32, "energy_decline": 0.30, "running": 0.08, "rate": 0.0653, "resale": 0.0}
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
    assert best.penalty(4) < 0.06
    assert best.penalty(6) < 0.06


def test_without_progress_nothing_is_replaced():
    assert replace_at(price_decline=0.0, energy_decline=0.0, longest=20.0).age == pytest.approx(20.0, abs=0.1)


def test_what_is_best_is_best_on_its_grid():
    r = replace_at(running=np.linspace(0, 1, 7))
    assert r.cost == pytest.approx(r.costs.min(axis=-1))
    assert (r.penalty(3.0) >= -1e-12).all()


def test_free_switching_with_full_resale_is_refused():
    with pytest.raises(InputError, match="replacing all the time would be free"):
        replace_at(switching=0.0, resale=1.0)
    with pytest.raises(InputError, match="rate = 0"):
        replace_at(rate=0)
    with pytest.raises(InputError, match="running = -1"):
        replace_at(running=-1)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=8), st.floats(0, 0.5), st.integers(1, 6))
def test_stock_is_never_more_than_came(additions, failures, life):
    standing = stock(additions, failure_rate=failures, life=life)
    assert (standing >= 0).all()
    assert (standing.sum(axis=0) <= np.cumsum(additions) + 1e-9).all()
    assert standing.shape == (len(additions), len(additions))


def test_a_vintage_fails_and_retires():
    standing = stock([100.0, 0, 0, 0], failure_rate=0.1, life=3)
    assert standing[0] == pytest.approx([100, 100 * np.exp(-0.1), 100 * np.exp(-0.2), 0])
    with pytest.raises(InputError, match="life = 0"):
        stock([1.0], failure_rate=0, life=0)


def test_the_h100_fell_below_parity_and_rose_again():
    # rents of 8 USD in 2023, 1.70 in October 2025, 2.35 in March 2026: a slide with a shortage, a glut and a shortage again
    parity = rent(np.array([0.5, 3.0, 3.4]), new_cost=3.2, price_decline=0.32, running=0.25, new_running=0.25, energy_decline=0.0)
    assert np.all(np.diff(parity) < 0)  # parity only slides
    observed = [catalogue.cost(f"rental_h100_{when}_usd_per_chip_hour").value for when in ("2023", "2025_10", "2026_03")]
    scarce = scarcity_of(observed, parity)
    assert scarce[0] > 1  # more than twice parity
    assert scarce[2] > scarce[1] + 0.4  # the rebound is scarcity: parity had fallen further
    assert rent(3.4, new_cost=3.2, price_decline=0.32, running=0.25, new_running=0.25, scarcity=scarce[2]) == pytest.approx(observed[2])


def test_rent_never_falls_below_running():
    assert rent(30.0, new_cost=3.0, price_decline=0.32, running=0.4, new_running=0.3) == pytest.approx(0.4)
    assert rent(0.0, new_cost=3.0, price_decline=0.32, running=0.3, new_running=0.3) == pytest.approx(3.0)
    with pytest.raises(InputError, match="age = -1"):
        rent(-1, new_cost=3, price_decline=0.3, running=0.3, new_running=0.3)


def test_worth_of_a_t5_training_chip():
    # Epoch AI: a TPU v3 of 5,276 x 1.64 USD (May 2018) was worth 5,858 USD when T5 began training 442 days later
    assert worth(5276 * 1.64, 442 / 365.25, 0.14) == pytest.approx(5858, rel=1e-3)
    assert worth(100, -1, 0.14) == 100


def test_books_and_markets_disagree():
    # six years of book life (Microsoft FY2023) against a fall of .14 orders of magnitude a year: after three years half is on the books
    assert book_value(30_000, 3, 6) == 15_000
    assert worth(30_000, 3, 0.14) == pytest.approx(30_000 * 10**-0.42)
    assert worth(30_000, 3, 0.14) < book_value(30_000, 3, 6)
    assert book_value(30_000, 7, 6) == 0
    with pytest.raises(InputError, match="book_life = 0"):
        book_value(1, 1, 0)


def test_a_chip_runs_while_its_work_is_worth_more_than_its_power():
    assert runs(2.0, 0.2, 1730, 0.001)
    assert not runs(2.0, 0.2, 1730, 0.0011)


def test_a_chip_is_switched_off_when_its_rent_no_longer_pays_for_its_power():
    given = {"new_cost": 3.2, "price_decline": 0.32, "running": 0.25, "new_running": 0.25, "energy_decline": 0.3}
    age = retirement_age(**given)
    paid = (3.2 - 0.25) * np.exp(-0.32 * age) + 0.25 * np.exp(-0.3 * age)
    assert paid == pytest.approx(0.25, rel=0.03)  # a month at most beside it
    later = retirement_age(**given, scarcity=np.array([0.0, 1.0]), shadow=np.array([[0.0], [0.5]]))
    assert later.shape == (2, 2)
    assert later[0, 1] > later[0, 0] > later[1, 0]
    assert retirement_age(**given | {"price_decline": 0.0, "energy_decline": 0.0}) == np.inf


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: replace_at(resale_decline=np.nan), "resale_decline = nan"),
        (lambda: replace_at(resale=2.0), "resale = 2"),
        (lambda: replace_at(running=np.inf), "running = inf"),
        (lambda: replace_at(longest=-1.0), "longest = -1: at least one step of age"),
        (lambda: stock(3.0, failure_rate=0.1, life=1), "additions: expected an array"),
        (lambda: stock([1.0, 2.0], failure_rate=0.1, life=3, step=-1), "step = -1"),
        (lambda: rent(1.0, new_cost=0.1, price_decline=0.3, running=0.2, new_running=0.2), "new_cost - new_running = -0.1"),
        (lambda: rent(1.0, new_cost=3, price_decline=0.3, running=0.2, new_running=0.2, scarcity=-3), "scarcity = -3"),
        (lambda: retirement_age(new_cost=3.0, price_decline=0.3, running=0.2, new_running=0.2, step=0.0), "step = 0"),
        (lambda: retirement_age(new_cost=np.nan, price_decline=0.3, running=0.2, new_running=0.2), "new_cost.* = nan"),
        (lambda: worth(-5, 1, 0.14), "price = -5"),
        (lambda: worth(5, 1, -0.2), "growth_log10 = -0.2: expected 0 or more"),  # a chip would be worth more than new
        (lambda: book_value(100, -1, 5), "age = -1"),
        (lambda: scarcity_of(np.nan, 1), "observed = nan"),
        (lambda: runs(np.nan, 1, 1), "value_of_work = nan"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_lives_of_a_stock_may_be_scenarios():
    standing = stock([1.0, 2.0, 3.0], failure_rate=0.0, life=np.array([1.0, 2.0]))
    assert standing.shape == (2, 3, 3)
    assert standing.sum(axis=1).tolist() == [[1, 2, 3], [1, 3, 5]]


def test_repairs_that_grow_as_fast_as_money_are_no_special_case():
    near, at = (replace_at(repairs=0.05, repair_growth=0.0653 + x).costs for x in (1e-7, 0.0))
    assert near == pytest.approx(at, rel=1e-5)
    with pytest.raises(InputError, match="age = 50"):
        replace_at().penalty(50.0)
