"""Scores beside closed forms, brute force and integrals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from workbench.errors import InputError
from workbench.uncertainty.scores import coverage, crps

NUMBERS = st.floats(-100, 100)


def integral(cdf, observed):
    """CRPS by its definition: integral of (F(x) - 1[x >= y])^2 dx."""
    below = integrate.quad(lambda x: cdf(x) ** 2, -np.inf, observed)[0]
    return below + integrate.quad(lambda x: (1 - cdf(x)) ** 2, observed, np.inf)[0]


def test_many_samples_tend_to_the_integral():
    levels = (np.arange(20_000) + 0.5) / 20_000
    normal, came = stats.norm(0.2, 1.7), np.array([-4.0, 0.2, 1.0])
    np.testing.assert_allclose(crps(normal.ppf(levels), came), [integral(normal.cdf, y) for y in came], rtol=1e-4)


@given(st.lists(NUMBERS, min_size=2, max_size=12), NUMBERS)
def test_sample_score_is_its_definition(samples, observed):
    x = np.array(samples)
    error, spread = np.abs(x - observed).mean(), np.abs(x[:, None] - x)
    assert crps(x, observed) == pytest.approx(error - spread.mean() / 2, abs=1e-9)


@given(st.lists(NUMBERS, min_size=1, max_size=12), NUMBERS)
def test_score_is_a_distance(samples, observed):
    score = crps(samples, observed)
    assert score >= -1e-9
    assert crps([observed], observed) == 0
    assert crps(np.array(samples) + 7, observed + 7) == pytest.approx(float(score), abs=1e-9)  # of no place
    assert crps(samples[:1], observed) == pytest.approx(abs(samples[0] - observed))  # a point forecast: absolute error


def test_the_score_is_proper():
    """What came is normal: no other spread or centre scores better on average."""
    levels = (np.arange(401) + 0.5) / 401
    came, forecast = stats.norm.ppf(levels), stats.norm.ppf(levels)
    means = {(m, s): crps(m + s * forecast[None], came).mean() for m in (-0.3, 0.0, 0.3) for s in (0.7, 1.0, 1.4)}
    assert min(means, key=means.get) == (0.0, 1.0)


def test_scores_broadcast():
    samples = np.random.default_rng(0).normal(size=(4, 3, 50))
    observed = np.zeros((4, 3))
    both = crps(samples, observed)
    assert both.shape == (4, 3)
    assert both[2, 1] == pytest.approx(float(crps(samples[2, 1], 0.0)))


def test_coverage_says_how_sure_it_is():
    few = coverage(0, 1, [0.5, 1.0, 2.0, -1.0, 0.2, 0.3, 5.0, 6.0])
    assert (few.share, few.n) == (0.5, 8)
    # Clopper, Pearson: 4 of 8 at 90 %, by the binomial tails of 5 %
    assert stats.binom.sf(3, 8, few.low) == pytest.approx(0.05)
    assert stats.binom.cdf(4, 8, few.high) == pytest.approx(0.05)
    assert few.says(0.85, 0.95) is False
    assert coverage(0, 1, [0.5] * 7).says(0.85, 1.0) is None  # 7 of 7 prove little
    assert coverage(0, 1, [0.5] * 900 + [2.0] * 100).says(0.85, 0.95) is True
    assert (coverage(0, 1, [3.0] * 4).low, coverage(0, 1, [0.5] * 4).high) == (0, 1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: crps([1.0, np.nan], 0.0), r"samples\[1\] = nan: expected a finite number"),
        (lambda: crps([1.0], np.inf), "observed = inf"),
        (lambda: crps([], 0.0), "last axis is samples, one or more"),
        (lambda: crps(np.ones((3, 9)), [1, 2, 3, 4]), r"samples of shape \(3,\) and observed of shape \(4,\)"),
        (lambda: coverage(2.0, 1.0, 0.0), "low = 2.0 lies above high = 1.0"),
        (lambda: coverage([], [], []), "no outcome"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(InputError, match=message):
        call()
