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
