"""Trends and records against closed forms, limits and properties."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from workbench.demand.forecast import trend
from workbench.errors import InputError

RNG = np.random.default_rng(8)


def joint(phi, shocks, prior, quarters):
    """Mean and covariance (in noise variances) of y_0.. of the local trend, without a filter: y_0 = level at 0 plus noise, vague."""
    vague = 1e7
    g = prior.growth * trend.QUARTER
    spread = (prior.growth_deviation * trend.QUARTER / prior.noise) ** 2
    excess = shocks / (1 - phi**2) * phi ** np.abs(np.subtract.outer(np.arange(quarters), np.arange(quarters)))
    add = np.tril(np.ones((quarters, quarters)), -1)  # level_t = level_0 + sum of growth before t
    steps = np.arange(quarters)
    covariance = add @ excess @ add.T + spread * np.outer(steps, steps) + np.eye(quarters) + vague
    return g * steps, covariance


def test_the_filter_is_gaussian_conditioning():
    prior = trend.TrendPrior(persistence=(0.7,), shock=(0.075 * np.sqrt(0.8),))  # over the noise of .075
    y = np.cumsum(RNG.normal(0.05, 0.1, 12)) + 3
    y[[4, 7]] = np.nan
    mean, covariance = joint(0.7, 0.8, prior, 16)
    seen = np.flatnonzero(np.isfinite(y))
    gain = np.linalg.solve(covariance[np.ix_(seen, seen)], covariance[seen, 12:]).T
    expected = mean[12:] + gain @ (y[seen] - mean[seen])
    spread = covariance[12:, 12:] - gain @ covariance[seen, 12:]
    fit = trend.fit_trend(y, prior)
    middle, root = fit._ahead(4)
    assert middle[0] == pytest.approx(expected, abs=1e-4)
    assert root[0] @ root[0].T == pytest.approx(spread, rel=1e-3)
    paths = fit.paths(4, 2**14)
    assert paths.mean(axis=1) == pytest.approx(expected, abs=3e-3)
    scale = np.sqrt(fit.variance[0] * fit.dof / (fit.dof - 2))  # of a Student t
    assert paths.std(axis=1) == pytest.approx(scale * np.sqrt(np.diag(spread)), rel=0.03)


def test_grid_weights_are_likelihoods():
    grid = trend.TrendPrior(persistence=(0.5, 0.9), shock=tuple(0.075 * np.sqrt([0.2, 3.2])))
    y = np.cumsum(RNG.normal(0.05, 0.1, 15))
    fit = trend.fit_trend(y, grid)

    def likelihood(phi, shocks):  # multivariate t of what follows the first observation
        mean, covariance = joint(phi, shocks, grid, 15)
        gain = covariance[1:, :1] / covariance[0, 0]
        conditional = covariance[1:, 1:] - gain @ covariance[:1, 1:]
        return stats.multivariate_t.logpdf(y[1:], (mean[1:] + gain[:, 0] * y[0]), grid.noise**2 * conditional, df=grid.dof)

    expected = np.exp([likelihood(p, q) for p, q in zip(fit.persistence, fit.shock_variance, strict=True)])
    assert fit.weight == pytest.approx(expected / expected.sum(), rel=1e-2)
    other = np.cumsum(RNG.normal(0.05, 0.2, 15))
    both = fit.weight * trend.fit_trend(other, grid).weight  # series whose growth varies alike tell the grid together
    assert trend.fit_trend(y, grid, [other]).weight == pytest.approx(both / both.sum(), rel=1e-9)


def test_what_moves_growth_does_not_hang_on_how_well_a_series_is_observed():
    sharp, blurred = (trend.fit_trend([1.0, 1.1, 1.2], trend.TrendPrior(noise=noise)) for noise in (0.05, 0.2))
    assert sharp.shock_variance * 0.05**2 == pytest.approx(blurred.shock_variance * 0.2**2)


def test_growth_that_reverts():
    y = np.r_[np.zeros(12), np.cumsum(np.full(6, 0.3))]  # flat, then 0.3 a quarter
    ahead = np.diff(trend.fit_trend(y).paths(13, 2**14).mean(axis=1)).reshape(4, 3).mean(axis=1)
    assert np.all(np.diff(ahead) < 0)  # the step dies out
    assert ahead[0] > 1.5 * ahead[-1] > 0
    steady = trend.fit_trend(0.1 * np.arange(40))
    next_quarter = steady.weight @ (steady.state[:, 1] + steady.state[:, 2])
    assert next_quarter / trend.QUARTER == pytest.approx(0.4, abs=0.01)
    assert np.median(steady.paths(8, 2**12), axis=1) == pytest.approx(0.1 * np.arange(40, 48), abs=0.03)


def test_horizon_zero_and_no_spread_lost():
    fit = trend.fit_trend(np.cumsum(RNG.normal(0.05, 0.1, 12)))
    assert fit.paths(0).shape == (0, 4096)
    assert np.all(np.diff(fit.paths(8, 2**12).std(axis=1)) > 0)
    assert fit.paths(3, 64)[:2] == pytest.approx(fit.paths(3, 64)[:2])  # the same seed, the same futures


@settings(max_examples=20, deadline=None)
@given(st.floats(-3, 3), st.integers(3, 12))
def test_a_shift_of_the_level_shifts_the_forecast(shift, quarters):
    y = np.cumsum(np.random.default_rng(quarters).normal(0.05, 0.1, quarters))
    a, b = (trend.fit_trend(v).paths(4, 256) for v in (y, y + shift))
    assert b == pytest.approx(a + shift, abs=1e-9)


def test_pooled_growth():
    prior = trend.TrendPrior()
    assert trend.pooled([], [], prior) == prior
    exact = trend.pooled([1.0] * 1000, [0.0] * 1000, prior)
    assert exact.growth == pytest.approx(1.0, abs=0.01)
    assert exact.growth_deviation == pytest.approx(prior.growth_deviation / np.sqrt(2), rel=0.01)  # a series still has its own
    assert prior.growth < trend.pooled([1.0], [0.1], prior).growth < 1
    assert trend.pooled([1.0], [1e6], prior).growth == pytest.approx(prior.growth)


def test_least_squares_forecast_is_the_textbook_interval():
    t, y = np.array([0.0, 1, 2, 4, 7]), np.array([1.0, 1.5, 3.1, 4.2, 8.8])
    got = trend.log_linear(t, y, 9.0)
    fit = stats.linregress(t, y)
    residual = y - fit.intercept - fit.slope * t
    se = np.sqrt((residual**2).sum() / 3 * (1 + 1 / 5 + (9 - t.mean()) ** 2 / ((t - t.mean()) ** 2).sum()))
    expected = fit.intercept + 9 * fit.slope + se * stats.t.ppf([0.05, 0.5, 0.95], 3)
    assert np.quantile(got, [0.05, 0.5, 0.95]) == pytest.approx(expected, rel=1e-3)
    assert trend.log_linear(t, y, 9.0, half_life=1e9) == pytest.approx(trend.log_linear(t, y, 9.0), rel=1e-6)
    assert trend.log_linear(t, y, [9.0, 10.0]).shape == (2, 2048)


def test_records_are_running_maxima():
    found = trend.records([2012, 2011, 2013, 2014], [1e3, 1e2, 1e3, 1e5], 2014.0)
    assert found.times.tolist() == [2011, 2012, 2014]
    assert found.jumps == pytest.approx([1, 2])
    assert trend.records([2012, 2011, 2013], [1e3, 1e2, 1e3], 2011.5).levels == pytest.approx([2])


def test_record_ahead_has_an_atom_and_the_mean_of_a_compound_poisson():
    past = trend.Records(np.arange(2000.0, 2401.0), np.arange(0, 401) * 0.4, 2000.0, 2400.0)  # one record a year, each .4 higher
    ahead = trend.record_ahead(past, np.array([0.0, 0.5, 1.0]), n=2**14) - past.levels[-1]
    assert (ahead[0] == 0).all()
    assert (ahead[2] == 0).mean() == pytest.approx(np.exp(-1), abs=0.01)
    assert ahead[1:].mean(axis=1) == pytest.approx([0.2, 0.4], rel=0.02)
    assert ahead[2].var() == pytest.approx(2 * 0.4**2, rel=0.05)  # rate times the mean square of an exponential jump
    assert (ahead >= 0).all()  # a record never falls


def test_bad_input():
    with pytest.raises(InputError, match=r"persistence\[0\] = 1: expected 0 or more and less than 1"):
        trend.TrendPrior(persistence=(1.0,))
    with pytest.raises(InputError, match="noise"):
        trend.TrendPrior(noise=0.0)
    for y in ([1.0], [np.nan, 1, 2], [1.0, np.inf, 2], [[1.0, 2.0]]):
        with pytest.raises(InputError, match="log_values"):
            trend.fit_trend(y)
    fit = trend.fit_trend([1.0, 1.1, 1.2])
    with pytest.raises(InputError, match="steps = -1"):
        fit.paths(-1)
    with pytest.raises(InputError, match=r"n = 100: expected a power of two"):
        fit.paths(2, 100)
    with pytest.raises(InputError, match=r"times of shape \(2,\), log_values of shape \(2,\): expected three or more"):
        trend.log_linear([1, 2], [1, 2], 3)
    with pytest.raises(InputError, match=r"half_life = 0\.01: leaves"):
        trend.log_linear([1, 2, 3], [1, 2, 3], 4, half_life=0.01)
    with pytest.raises(InputError, match="expected three or more"):
        trend.drift([1.0, 2.0], 4)
    with pytest.raises(InputError, match=r"values\[0\] = 0: expected more than 0"):
        trend.records([2020, 2021], [0, 1], 2021.0)
    with pytest.raises(InputError, match=r"until = 2019: no release before it"):
        trend.records([2020, 2021], [1, 1], 2019.0)
    with pytest.raises(InputError, match="years = -1"):
        trend.record_ahead(trend.records([2020, 2021], [1, 2], 2021.0), -1)
