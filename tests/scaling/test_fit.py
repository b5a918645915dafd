import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from workbench import scaling
from workbench.errors import InputError
from workbench.scaling.fit import FitError, fit


@pytest.mark.parametrize("noise", ["huber", "lad", "squared"])
def test_a_clean_law_comes_back(runs, truth, noise):
    found = fit(*runs(truth), noise=noise)
    assert (found.E, found.alpha, found.beta) == pytest.approx((1.7, 0.34, 0.33), rel=1e-5)
    assert pytest.approx((400, 1500), rel=1e-3) == (found.A, found.B)
    assert found.objective < 1e-10


@settings(max_examples=25, deadline=None)
@given(st.floats(0.5, 3), st.floats(0.2, 0.6), st.floats(0.2, 0.6), st.integers(0, 1000))
def test_any_law_comes_back_from_its_own_points(runs, e, alpha, beta, seed):
    law = scaling.AdditiveLaw(name="law", E=e, A=1e9**alpha, B=3e10**beta, alpha=alpha, beta=beta)
    found = fit(*runs(law, seed=seed))
    assert (found.E, found.alpha, found.beta) == pytest.approx((e, alpha, beta), rel=1e-3)


def test_no_perturbed_law_is_better_than_the_fit(runs, truth):
    params, tokens, loss = runs(truth, noise=0.01)
    best = fit(params, tokens, loss)
    rng = np.random.default_rng(1)

    def objective(law):
        r = np.abs(np.log(law.loss(params, tokens) / loss))
        return np.where(r <= 1e-3, r * r / 2, 1e-3 * (r - 5e-4)).sum()

    assert objective(best.law()) == pytest.approx(best.objective, rel=1e-9)
    for _ in range(200):
        e, a, b, alpha, beta = np.array([best.E, best.A, best.B, best.alpha, best.beta]) * np.exp(0.05 * rng.standard_normal(5))
        assert objective(scaling.AdditiveLaw(name="x", E=e, A=a, B=b, alpha=alpha, beta=beta)) >= best.objective


def test_the_order_and_scale_of_the_points_do_not_matter(runs, truth):
    params, tokens, loss = runs(truth, noise=0.01)
    best, turned = fit(params, tokens, loss), fit(params[::-1], tokens[::-1], loss[::-1])
    assert turned.alpha == pytest.approx(best.alpha, rel=1e-8)
    scaled = fit(params * 1000, tokens, loss)
    assert scaled.alpha == pytest.approx(best.alpha, rel=1e-7)
    assert pytest.approx(best.A * 1000**best.alpha, rel=1e-5) == scaled.A


def test_the_chinchilla_points_huber(chinchilla):
    # the objective of Hoffmann et al. on the points of Besiroglu et al.; their notebook's best is 1.01827403e-3
    found = fit(*chinchilla)
    assert found.n == 240
    assert found.objective <= 1.01827402e-3
    assert pytest.approx((477.826, 2143.417, 1.817218), rel=1e-5) == (found.A, found.B, found.E)
    assert (found.alpha, found.beta) == pytest.approx((0.3473105, 0.3671724), rel=1e-5)


def test_the_published_point_is_the_least_absolute_deviation(chinchilla):
    found = fit(*chinchilla, noise="lad")
    assert (found.A, found.B, found.E, found.alpha, found.beta) == pytest.approx((482.006, 2085.434, 1.81686, 0.34781, 0.36585), rel=1e-4)


def test_the_noise_model_is_the_largest_choice(chinchilla):
    squared = fit(*chinchilla, noise="squared")
    assert squared.objective == pytest.approx(0.0832038, rel=1e-6)  # Open Athena, variable projection
    assert squared.beta - fit(*chinchilla).beta > 2.5 * 0.0206  # standard errors


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda n, d, loss: (n[:7], d[:7], loss[:7]), "7 points: five parameters need at least 8"),
        (lambda n, d, loss: (n * 0 + 1e9, d, loss), "same params: alpha cannot be identified"),
        (lambda n, d, loss: (n, d * 0 + 1e10, loss), "same tokens: beta cannot be identified"),
        (lambda n, d, loss: (n, 1e20 / (6 * n), loss), "same compute"),
        (lambda n, d, loss: (n, d, -loss), r"loss\[0\] = -.*expected a positive number"),
        (lambda n, d, loss: (n, d * np.where(d == d[3], np.nan, 1), loss), r"tokens\[3\] = nan"),
        (lambda n, d, loss: (n, d[:-1], loss), "60, 59 and 60 values"),
    ],
)
def test_points_that_determine_nothing_are_refused(runs, truth, change, said):
    with pytest.raises(FitError, match=said):
        fit(*change(*runs(truth)))


@pytest.mark.parametrize("odd", [True, "3e9", np.ma.masked])
def test_points_that_are_no_numbers_are_refused(runs, truth, odd):
    n, d, loss = runs(truth)
    with pytest.raises(InputError, match="tokens"):
        fit(n, [odd, *d[1:]], loss)


def test_unknown_noise_is_refused(runs, truth):
    with pytest.raises(FitError, match="noise = 'l2': expected one of huber, lad, squared"):
        fit(*runs(truth), noise="l2")


def test_published_objectives_and_likelihoods_of_the_laws(chinchilla):
    # Besiroglu et al.: Huber objectives of the rounded and the unrounded parameters; notebook cells 48 and 49: likelihoods at the best
    # scale of the unrounded parameters and of the fit, and their ratio statistic
    n, d, observed = chinchilla
    delta = 1e-3

    def residuals(law):
        return np.abs(np.log(law.loss(n, d) / observed))

    def huber(r, delta):
        return np.where(r <= delta, r * r / 2, delta * (r - delta / 2)).sum()

    objectives = [huber(residuals(scaling.law(name)), delta) for name in ("Hoffmann rounded", "Hoffmann unrounded")]
    assert objectives == pytest.approx([4.12101e-3, 1.231163e-3], rel=1e-4)
    log_norm = np.log(np.sqrt(2 * np.pi) * (1 - 2 * stats.norm.sf(delta)) + 2 * np.exp(-(delta**2) / 2) / delta)

    def highest(law):
        r = residuals(law)
        minus = optimize.minimize_scalar(
            lambda log_scale: huber(r * np.exp(-log_scale), delta) + r.size * (log_scale + log_norm),
            bounds=(-25, 5),
            method="bounded",
            options={"xatol": 1e-10},
        )
        return -minus.fun

    old, fitted = highest(scaling.law("Hoffmann unrounded")), highest(fit(*chinchilla, noise="lad").law())
    assert (2 * (fitted - old), old, fitted) == pytest.approx((84.0, 837.78, 879.77), rel=0.01)
