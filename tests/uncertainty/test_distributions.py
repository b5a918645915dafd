import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import InputError
from workbench.uncertainty import Lognormal, Pert, band, one_at_a_time, sample


def test_lognormal_by_its_points():
    draws = Lognormal(2.0, 8.0).quantile(np.array([0.05, 0.5, 0.95]))
    np.testing.assert_allclose(draws, [2, 4, 8], rtol=1e-12)  # the median is the geometric mean of the two


def test_pert_mean_is_the_textbook_one():
    draws = sample({"x": Pert(1.0, 2.0, 6.0)}, n=2**14)["x"]
    assert draws.mean() == pytest.approx((1 + 4 * 2 + 6) / 6, rel=1e-4)  # Malcolm et al. 1959: (low + 4 mode + high) / 6
    assert draws.min() >= 1
    assert draws.max() <= 6
    assert (Pert(3, 3, 3).quantile(np.array([0.1, 0.9])) == 3).all()


@pytest.mark.parametrize("bad", [lambda: Lognormal(2, 1), lambda: Lognormal(0, 1), lambda: Pert(2, 1, 3), lambda: sample({}, n=100)])
def test_bad_input(bad):
    with pytest.raises(InputError, match="expected"):
        bad()


def test_samples_are_seeded_and_independent():
    distributions = {"a": Lognormal(1, 2), "b": Pert(0, 1, 2)}
    first, again, other = (sample(distributions, 1024, seed) for seed in (0, 0, 1))
    assert all((first[k] == again[k]).all() for k in first)
    assert (first["a"] != other["a"]).any()
    assert abs(np.corrcoef(first["a"], first["b"])[0, 1]) < 0.02


def test_band():
    assert band(np.arange(101), 0.8) == pytest.approx((10, 90))
    with pytest.raises(InputError, match="level"):
        band([1, 2], 1.5)


@given(st.floats(0.1, 10), st.floats(0.1, 10), st.floats(0.1, 10))
def test_one_at_a_time_equals_single_calls(a, b, spread):
    def model(a, b):
        return a**2 + 3 * b

    ranges = {"a": (a, a + spread), "b": (b - spread, b)}
    swings = one_at_a_time(model, {"a": a, "b": b}, ranges)
    assert swings["a"] == pytest.approx((model(a, b), model(a + spread, b)))
    assert swings["b"] == pytest.approx((model(a, b - spread), model(a, b)))


def test_one_at_a_time_with_an_unknown_argument():
    with pytest.raises(InputError, match="ranges names 'c'"):
        one_at_a_time(lambda a: a, {"a": 1.0}, {"c": (0, 1)})
