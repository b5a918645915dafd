"""Laws of growth against their differential equations and limits; fits against what they were made from and what came."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from workbench import demand
from workbench.demand.forecast.history import users
from workbench.demand.uses import adoption
from workbench.errors import InputError, UnknownName

LAUNCH = demand.year("2022-11-30")  # of ChatGPT


@pytest.fixture(scope="module")
def chatgpt():
    return users("ChatGPT", "weekly active")


def test_bass_solves_its_equation():
    p, q, cap = 0.03, 0.9, 2.5e9
    path = solve_ivp(lambda t, a: (p + q * a / cap) * (cap - a), (0, 10), [0.0], rtol=1e-10, dense_output=True)
    t = np.linspace(0, 10, 41)
    assert adoption.bass(t, p, q, cap) == pytest.approx(path.sol(t)[0], rel=1e-6, abs=1)


@given(st.floats(0.001, 1), st.floats(0, 3), st.floats(1, 1e10), st.floats(0, 50))
def test_bass_rises_from_none_to_its_cap(p, q, cap, t):
    a = adoption.bass(np.array([0, t, t + 1, 1e5]), p, q, cap)
    assert a[0] == 0
    assert np.all(np.diff(a) >= -1e-9 * cap)
    assert a[-1] == pytest.approx(cap)


def test_bass_without_imitation_is_exponential_saturation():
    t = np.linspace(0, 5, 11)
    assert adoption.bass(t, 0.2, 0.0, 100) == pytest.approx(100 * (1 - np.exp(-0.2 * t)))


def logistic(t, rate, middle, cap):
    return cap / (1 + np.exp(-rate * (t - middle)))


def damped(t, level, growth, decay):
    return level * np.exp(growth * decay * -np.expm1(-t / decay))


def test_laws_are_their_own_forms():
    t = np.linspace(5, 15, 21)
    # far past the start, with p << q, Bass is a logistic whose middle is ln(q / p) / (p + q)
    p, q = 1e-5, 1.2
    assert adoption.bass(t, p, q, 1.0) == pytest.approx(logistic(t, p + q, np.log(q / p) / (p + q), 1.0), abs=2e-5)
    fitted = adoption._LAWS["logistic"].users(t, np.array([[np.log(2e9), np.log(1.2), 3.0]]))
    assert np.exp(fitted[0]) == pytest.approx(logistic(t, 1.2, 3.0, 2e9))
    # by its cap: ln A = ln K - b e^-t/tau, b = g tau at t = 0
    fitted = adoption._LAWS["damped"].users(t, np.log([[5 * np.exp(1.4), 1.4, 2.0]]))
    assert np.exp(fitted[0]) == pytest.approx(damped(t, 5.0, 0.7, 2.0))


@pytest.mark.parametrize(
    ("law", "grown"),
    [
        ("bass", lambda t: adoption.bass(t, 0.03, 0.9, 2e9)),
        ("logistic", lambda t: logistic(t, 1.5, 3.0, 2e9)),
        ("damped", lambda t: damped(t, 2e6, 4.6, 1.5)),
    ],
)
def test_a_fit_finds_the_law_that_the_counts_came_from(law, grown):
    t = np.linspace(0.3, 6, 30)
    exact = adoption.AdoptionPrior(noise=0.01, discrepancy=0.001)
    fit = adoption.fit_law(law, adoption.observed(2020 + t, grown(t)), 2020.0, exact)
    ahead = np.exp(fit.log_users([2027.0, 2028.0]))
    assert np.median(ahead, axis=1) == pytest.approx(grown(np.array([7.0, 8.0])), rel=0.02)
    assert fit.efficiency > 0.2  # the importance weights do not rest on a few draws
    assert ahead.shape == (2, 2048)


def test_weekly_users_foretold_from_october(chatgpt):
    # case B07: counts to October 2025, 900 M came in February 2026; Bass with a prior on the cap missed by .104, the exponential by .32
    known = chatgpt.times <= demand.year("2025-11")
    assert chatgpt.times[known][-1] == demand.year("2025-10")
    model = adoption.adopt(adoption.observed(chatgpt.times[known], chatgpt.values[known]), LAUNCH)
    told = model.log_counts(demand.year("2026-02"))[0]
    assert abs(np.log(9e8) - np.median(told)) <= 0.104
    low, high = np.exp(np.quantile(told, [0.05, 0.95]))
    assert low < 9e8 < high < 2e9
    later = np.exp(np.quantile(model.log_users(2040.0), 0.9))
    assert later < 8e9  # the prior on the cap holds where the counts do not


def test_futures_widen_and_stay_alike_by_seed(chatgpt):
    model = adoption.adopt(adoption.observed(chatgpt.times, chatgpt.values), LAUNCH, n=1024)
    spread = model.log_users(2026.2 + np.array([0.01, 0.5, 1.0, 2.0]))
    assert np.all(np.diff(spread.std(axis=1)) > 0)
    assert spread.shape == (4, 1024)
    assert np.array_equal(spread, model.log_users(2026.2 + np.array([0.01, 0.5, 1.0, 2.0])))


def test_linked_metrics_tell_of_each_other(chatgpt):
    weekly = adoption.observed(chatgpt.times[:6], chatgpt.values[:6])
    alone = adoption.adopt(weekly, LAUNCH, laws=("bass",)).log_users(2026.4)[0]
    # monthly counts of the year after, at weekly / .9
    months = (np.array([2025.6, 2025.9, 2026.4]), np.array([0.72e9, 0.8e9, 0.95e9]) / 0.9, 1 / 0.9, 0.05)
    linked = adoption.adopt(
        adoption.observed(chatgpt.times[:6], chatgpt.values[:6], {"monthly": months}), LAUNCH, laws=("bass",)
    ).log_users(2026.4)[0]
    assert linked.std() < alone.std() / 1.5
    assert np.exp(np.median(linked)) == pytest.approx(0.95e9, rel=0.08)


def test_average_weights():
    assert adoption._weights(np.zeros((0, 3))).tolist() == [1 / 3] * 3
    assert adoption._weights(np.zeros((5, 2))) == pytest.approx([0.5, 0.5])
    better = adoption._weights(np.array([[0.0, -1.0]] * 6))
    assert better.sum() == pytest.approx(1)
    assert better[0] > 0.95
    one = adoption._weights(np.array([[0.0, -3.0], [0.0, 1.0], [0.0, 1.0]]))
    assert 0.2 < one[0] < 0.8  # one outcome does not decide


def test_bad_input():
    with pytest.raises(InputError, match=r"values of shape \(2,\) for times of shape \(3,\)"):
        adoption.observed([1, 2, 3], [1, 2])
    with pytest.raises(InputError, match=r"linked\[monthly\] ratio = -1: expected more than 0"):
        adoption.observed([1.0], [1.0], {"monthly": ([2.0], [1.0], -1.0, 0.1)})
    with pytest.raises(InputError, match=r"cap_deviation = 0: expected more than 0"):
        adoption.AdoptionPrior(cap_deviation=0)
    with pytest.raises(InputError, match=r"seen: 0 counts; expected two or more"):
        adoption.fit_law("bass", adoption.observed([], []), 2020.0)
    few = adoption.observed([2020.5], [1e6])
    with pytest.raises(InputError, match=r"seen: 1 counts from 2020\.50; expected two or more after the launch in 2020\.00"):
        adoption.fit_law("bass", few, 2020.0)
    two = adoption.observed([2020.5, 2021], [1e6, 2e6])
    with pytest.raises(InputError, match="after the launch in 2020"):
        adoption.fit_law("bass", two, 2020.0).log_users(2019.0)
    with pytest.raises(UnknownName, match="unknown law of growth 'gompertz'"):
        adoption.fit_law("gompertz", two, 2020.0)
