import numpy as np
import pytest

from workbench import scaling
from workbench.errors import InputError


def test_published_standard_errors(chinchilla):
    # Besiroglu et al., notebook cell 25: A 124.52, E .02566, alpha .0154 from 4,000 resamples with seed 42
    refits = scaling.bootstrap(*chinchilla)
    errors = refits.standard_errors()
    assert refits.converged == 1
    assert (errors["A"], errors["E"], errors["alpha"]) == pytest.approx((124.52232, 0.02566, 0.01540), rel=0.003)
    assert refits.interval("A") == pytest.approx((285.214, 743.626), rel=0.005)
    assert refits.interval("E") == pytest.approx((1.769, 1.871), rel=0.001)


def test_published_statistics_of_the_refits(chinchilla):
    # Besiroglu et al., notebook cells 54 and 59: errors of ln A, ln B, ln E; the exponent of size with its error and 80 % width
    refits, best = scaling.bootstrap(*chinchilla), scaling.fit(*chinchilla, noise="lad")
    assert [np.std(np.log(x)) for x in (refits.A, refits.B, refits.E)] == pytest.approx([0.258, 0.421, 0.014], rel=0.01)
    exponent = refits.beta / (refits.alpha + refits.beta)
    low, high = np.quantile(exponent, [0.1, 0.9])
    found = best.beta / (best.alpha + best.beta), np.std(exponent), high - low
    assert found == pytest.approx((0.513, 0.020, 0.051), rel=0.02)

    def logs(law):
        return np.array([np.log(law.E), np.log(law.A), np.log(law.B), law.alpha, law.beta])

    # cell 34: squared distance of the unrounded parameters by the covariance of the refits, in logarithms of E, A and B
    gap = logs(scaling.law("Hoffmann unrounded")) - logs(best)
    assert gap @ np.linalg.solve(np.cov(logs(refits)), gap) == pytest.approx(238.4, rel=0.01)


def test_every_refit_is_a_minimum(runs, truth):
    params, tokens, loss = runs(truth, noise=0.01)
    refits = scaling.bootstrap(params, tokens, loss, n=50)
    assert refits.converged == 1
    drawn = np.random.RandomState(42).randint(0, 60, (50, 60))
    for i in (0, 17, 49):
        again = scaling.fit(params[drawn[i]], tokens[drawn[i]], loss[drawn[i]])
        assert refits.objective[i] <= again.objective * (1 + 1e-6)


def test_the_band_narrows_with_noise_and_holds_the_truth(runs, truth):
    narrow, wide = (scaling.bootstrap(*runs(truth, noise=s), n=200) for s in (0.001, 0.01))
    assert narrow.standard_errors()["alpha"] < 0.3 * wide.standard_errors()["alpha"]
    low, high = wide.interval("E", 0.99)
    assert low < 1.7 < high


def test_a_decision_for_every_resample_is_one_call(runs, truth):
    refits = scaling.bootstrap(*runs(truth, noise=0.01), n=64)
    best = scaling.optimal_allocation(1e22, refits.law())
    assert best.params.shape == (64,)
    assert np.std(np.log(best.params)) > 0


def test_no_resamples_are_refused(runs, truth):
    with pytest.raises(InputError, match="n = 0"):
        scaling.bootstrap(*runs(truth), n=0)
