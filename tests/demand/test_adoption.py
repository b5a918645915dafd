"""Laws of growth against their differential equations and limits; fits against what they were made from and what came."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from workbench import demand
from workbench.demand.uses import adoption
from workbench.errors import InputError, UnknownName

LAUNCH = demand.year("2022-11-30")  # of ChatGPT


@pytest.fixture(scope="module")
def chatgpt():
    return demand.disclosed("users", "ChatGPT", "weekly active")


def test_bass_solves_its_equation():
    p, q, cap = 0.03, 0.9, 2.5e9
    path = solve_ivp(lambda t, a: (p + q * a / cap) * (cap - a), (0, 10), [0.0], rtol=1e-10, dense_output=True)
    t = np.linspace(0, 10, 41)
    assert demand.bass(t, p, q, cap) == pytest.approx(path.sol(t)[0], rel=1e-6, abs=1)


@given(st.floats(0.001, 1), st.floats(0, 3), st.floats(1, 1e10), st.floats(0, 50))
def test_bass_rises_from_none_to_its_cap(p, q, cap, t):
    a = demand.bass(np.array([0, t, t + 1, 1e5]), p, q, cap)
    assert a[0] == 0
    assert np.all(np.diff(a) >= -1e-9 * cap)
    assert a[-1] == pytest.approx(cap)


def test_bass_without_imitation_is_exponential_saturation():
    t = np.linspace(0, 5, 11)
    assert demand.bass(t, 0.2, 0.0, 100) == pytest.approx(100 * (1 - np.exp(-0.2 * t)))


def test_logistic_is_bass_with_few_innovators():
    # far past the start, with p << q, Bass is a logistic whose middle is ln(q / p) / (p + q)
    p, q = 1e-5, 1.2
    t = np.linspace(5, 15, 21)
    assert demand.bass(t, p, q, 1.0) == pytest.approx(demand.logistic(t, p + q, np.log(q / p) / (p + q), 1.0), abs=2e-5)
    assert demand.logistic(3.0, 1.2, 3.0, 10.0) == 5


def test_damped_exponential_limits():
    assert demand.damped_exponential(0, 5.0, 0.7, 2.0) == 5
    assert demand.damped_exponential(1.5, 5.0, 0.7, 1e9) == pytest.approx(5 * np.exp(0.7 * 1.5))
    assert demand.damped_exponential(1e3, 5.0, 0.7, 2.0) == pytest.approx(5 * np.exp(0.7 * 2.0))
    assert demand.damped_exponential(1.5, 5.0, 0.7, np.inf) == pytest.approx(5 * np.exp(0.7 * 1.5))
    # as fitted, by its cap: ln A = ln K - b e^-t/tau, b = g tau at t = 0
    fitted = adoption._LAWS["damped"].users(np.array([1.5]), np.log([[5 * np.exp(1.4), 1.4, 2.0]]))
    assert np.exp(fitted[0, 0]) == pytest.approx(demand.damped_exponential(1.5, 5.0, 0.7, 2.0))


@pytest.mark.parametrize(
    ("law", "users"),
    [
        ("bass", lambda t: demand.bass(t, 0.03, 0.9, 2e9)),
        ("logistic", lambda t: demand.logistic(t, 1.5, 3.0, 2e9)),
        ("damped", lambda t: demand.damped_exponential(t, 2e6, 4.6, 1.5)),
    ],
)
def test_a_fit_finds_the_law_that_the_counts_came_from(law, users):
    t = np.linspace(0.3, 6, 30)
    exact = adoption.AdoptionPrior(noise=0.01, stray=0.001)
    fit = demand.fit_law(law, demand.observed(2020 + t, users(t)), 2020.0, exact)
    ahead = np.exp(fit.log_users([2027.0, 2028.0]))
    assert np.median(ahead, axis=1) == pytest.approx(users(np.array([7.0, 8.0])), rel=0.02)
    assert fit.efficiency > 0.2  # the importance weights do not rest on a few draws
    assert ahead.shape == (2, 2048)


def test_weekly_users_foretold_from_october(chatgpt):
    # case B07: counts to October 2025, 900 M came in February 2026; Bass with a prior on the cap missed by .104, the exponential by .32
    model = demand.adopt(demand.observed(chatgpt.times, chatgpt.values).until(demand.year("2025-11")), LAUNCH)
    assert model.last == demand.year("2025-10")
    told = model.log_counts(demand.year("2026-02"))[0]
    assert abs(np.log(9e8) - np.median(told)) <= 0.104
    low, high = np.exp(np.quantile(told, [0.05, 0.95]))
    assert low < 9e8 < high < 2e9
    later = np.exp(np.quantile(model.log_users(2040.0), 0.9))
    assert later < 8e9  # the prior on the cap holds where the counts do not


def test_futures_widen_and_stay_alike_by_seed(chatgpt):
    model = demand.adopt(demand.observed(chatgpt.times, chatgpt.values), LAUNCH, n=1024)
    spread = model.log_users(2026.2 + np.array([0.01, 0.5, 1.0, 2.0]))
    assert np.all(np.diff(spread.std(axis=1)) > 0)
    assert spread.shape == (4, 1024)
    assert np.array_equal(spread, model.log_users(2026.2 + np.array([0.01, 0.5, 1.0, 2.0])))


def test_linked_metrics_tell_of_each_other(chatgpt):
    weekly = demand.observed(chatgpt.times[:6], chatgpt.values[:6])
    alone = demand.adopt(weekly, LAUNCH, laws=("bass",)).log_users(2026.4)[0]
    # monthly counts of the year after, at weekly / .9
    months = (np.array([2025.6, 2025.9, 2026.4]), np.array([0.72e9, 0.8e9, 0.95e9]) / 0.9, 1 / 0.9, 0.05)
    linked = demand.adopt(demand.observed(chatgpt.times[:6], chatgpt.values[:6], {"monthly": months}), LAUNCH, laws=("bass",)).log_users(
        2026.4
    )[0]
    assert linked.std() < alone.std() / 1.5
    assert np.exp(np.median(linked)) == pytest.approx(0.95e9, rel=0.08)


def test_average_weights():
    assert demand.average_weights(np.zeros((0, 3))).tolist() == [1 / 3] * 3
    assert demand.average_weights(np.zeros((5, 2))) == pytest.approx([0.5, 0.5])
    better = demand.average_weights(np.array([[0.0, -1.0]] * 6))
    assert better.sum() == pytest.approx(1)
    assert better[0] > 0.95
    one = demand.average_weights(np.array([[0.0, -3.0], [0.0, 1.0], [0.0, 1.0]]))
    assert 0.2 < one[0] < 0.8  # one outcome does not decide


def test_bad_input():
    with pytest.raises(InputError, match="time = -1: before the start; expected 0 or more"):
        demand.bass(-1, 0.1, 0.1, 1)
    with pytest.raises(InputError, match="innovation = 0"):
        demand.bass(1, 0, 0.1, 1)
    with pytest.raises(InputError, match="cap = 0"):
        demand.logistic(1, 1, 1, 0)
    with pytest.raises(InputError, match="decay = 0"):
        demand.damped_exponential(1, 1, 1, 0)
    with pytest.raises(InputError, match=r"values of shape \(2,\) for times of shape \(3,\)"):
        demand.observed([1, 2, 3], [1, 2])
    with pytest.raises(InputError, match=r"linked\[monthly\] ratio = -1: expected more than 0"):
        demand.observed([1.0], [1.0], {"monthly": ([2.0], [1.0], -1.0, 0.1)})
    for call in (lambda: demand.logistic(np.nan, 1, 1, 1), lambda: demand.damped_exponential([1, np.nan], 1, 1, 1)):
        with pytest.raises(InputError, match=r"= nan: expected a finite number"):
            call()
    with pytest.raises(InputError, match=r"cap_deviation = 0: expected more than 0"):
        adoption.AdoptionPrior(cap_deviation=0)
    with pytest.raises(InputError, match=r"seen: 0 counts; expected two or more"):
        demand.fit_law("bass", demand.observed([], []), 2020.0)
    few = demand.observed([2020.5], [1e6])
    with pytest.raises(InputError, match=r"seen: 1 counts from 2020\.50; expected two or more after the launch in 2020\.00"):
        demand.fit_law("bass", few, 2020.0)
    two = demand.observed([2020.5, 2021], [1e6, 2e6])
    with pytest.raises(InputError, match="after the launch in 2020"):
        demand.fit_law("bass", two, 2020.0).log_users(2019.0)
    with pytest.raises(UnknownName, match="unknown law of growth 'gompertz'"):
        demand.fit_law("gompertz", two, 2020.0)
    with pytest.raises(InputError, match="log_densities"):
        demand.average_weights([1.0, 2.0])
