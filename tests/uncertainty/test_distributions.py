"""Distributions hold the points they were given."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import betaincinv

from workbench.errors import InputError
from workbench.uncertainty import Beta, Lognormal, Normal, Pert, Uniform, sample
from workbench.uncertainty.distributions import _beta_quantile

P = np.array([0.001, 0.05, 0.3, 0.5, 0.9, 0.95, 0.999])
ALL = [
    Normal(-1, 3), Lognormal(2, 8), Uniform(-2, 5), Beta(0.1, 0.3), Beta(20, 90, low=10, high=100), Pert(1, 2, 6),
]  # fmt: skip


def of_scipy(d):
    """The same distribution there."""
    match d:
        case Normal():
            return stats.norm((d.p5 + d.p95) / 2, (d.p95 - d.p5) / 2 / stats.norm.ppf(0.95))
        case Lognormal():
            return stats.lognorm(np.log(d.p95 / d.p5) / 2 / stats.norm.ppf(0.95), scale=np.sqrt(d.p5 * d.p95))
        case Uniform():
            return stats.uniform(d.low, d.high - d.low)
    return stats.beta(*d.shape, loc=d.low, scale=d.high - d.low)


@pytest.mark.parametrize("d", ALL, ids=str)
def test_quantiles_are_those_of_scipy(d):
    np.testing.assert_allclose(of_scipy(d).cdf(d.quantile(P)), P, rtol=1e-9)
    assert (np.diff(d.quantile(P)) > 0).all()


@pytest.mark.parametrize("d", [Normal(-1, 3), Lognormal(2, 8), Beta(0.1, 0.3), Beta(20, 90, low=10, high=100)], ids=str)
def test_the_points_are_the_ones_given(d):
    np.testing.assert_allclose(d.quantile([0.05, 0.95]), [d.p5, d.p95], rtol=1e-9)


def test_lognormal_by_its_points():
    draws = Lognormal(2.0, 8.0).quantile(np.array([0.05, 0.5, 0.95]))
    np.testing.assert_allclose(draws, [2, 4, 8], rtol=1e-12)  # the median is the geometric mean of the two


@given(st.floats(0.002, 0.99), st.floats(0.01, 0.99))
@settings(deadline=None)  # the first one imports the solver
def test_beta_from_any_two_points(p5, step):
    p95 = p5 + step * (0.998 - p5)
    if p95 - p5 < 1e-3:
        return
    a, b = Beta(p5, p95).shape
    np.testing.assert_allclose(stats.beta(a, b).ppf([0.05, 0.95]), [p5, p95], rtol=1e-6)


def test_pert_mean_is_the_textbook_one():
    draws = sample({"x": Pert(1.0, 2.0, 6.0)}, n=2**14)["x"]
    assert draws.mean() == pytest.approx((1 + 4 * 2 + 6) / 6, rel=1e-4)  # Malcolm et al. 1959: (low + 4 mode + high) / 6
    assert draws.min() >= 1
    assert draws.max() <= 6


@pytest.mark.parametrize(
    "shape", [(1, 5), (5, 1), (1.5, 4.5), (0.1, 0.3), (0.02, 0.5), (50, 300), (0.5, 2000), (0.1, 1e6), (0.06, 1e4), (0.3, 100)]
)
def test_fast_beta_quantiles_are_the_exact_ones(shape):
    p = np.concatenate([np.geomspace(1e-18, 0.5, 501), 1 - np.geomspace(1e-15, 0.5, 501)])
    np.testing.assert_allclose(_beta_quantile(*shape, p), betaincinv(*shape, p), rtol=1e-9)


@pytest.mark.parametrize("d", [Normal(3, 3), Lognormal(3, 3), Uniform(3, 3), Pert(3, 3, 3)], ids=str)
def test_no_spread_is_the_number_itself(d):
    np.testing.assert_allclose(d.quantile(P), 3, rtol=1e-14)


@pytest.mark.parametrize("d", ALL, ids=str)
@pytest.mark.parametrize("p", [2, -1, np.nan, [0.5, 1.01]], ids=str)
def test_only_probabilities_have_quantiles(d, p):
    with pytest.raises(InputError, match=r"p(\[1\])? = .*: expected 0 or more and at most 1"):
        d.quantile(p)
    assert d.quantile(0) <= d.quantile(1e-9) <= d.quantile(1)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (lambda: Lognormal(2, 1), r"Lognormal\(p5=2, p95=1\): expected 0 < p5 <= p95"),
        (lambda: Lognormal(0, 1), "expected 0 < p5"),
        (lambda: Lognormal(1, np.nan), "p95 = nan: expected a finite number"),
        (lambda: Normal(2, 1), r"Normal\(p5=2, p95=1\): expected p5 <= p95"),
        (lambda: Normal(0, np.inf), "finite"),
        (lambda: Beta(0.3, 0.1), "expected low < p5 < p95 < high"),
        (lambda: Beta(0.3, 1.2), "expected low < p5 < p95 < high"),
        (lambda: Pert(2, 1, 3), "expected low <= mode <= high"),
        (lambda: Uniform(2, 1), "expected low <= high"),
    ],
)
def test_bad_input(bad, message):
    with pytest.raises(InputError, match=message):
        bad()
