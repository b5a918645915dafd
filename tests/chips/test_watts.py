import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench import catalogue
from workbench.chips import watts as power
from workbench.errors import InputError

H100 = catalogue.chip("H100")


def test_measured_span_of_an_h100():
    # ML.ENERGY leaderboard: boards under load draw 199 to 691 W, 453 W in the median
    assert 80 < float(power.power(H100, 0, 0)) < 300  # a model is loaded: more than an idle board
    assert 350 < float(power.power(H100, 0.1, 0.5)) < 650
    assert 550 < float(power.power(H100, 0.6, 0.8)) <= 700


@given(st.floats(0, 0.99), st.floats(0, 0.99))
def test_more_use_never_draws_less_nor_more_than_the_tdp(compute, memory):
    here = power.power(H100, compute, memory)
    assert power.power(H100, compute + 0.01, memory) >= here
    assert power.power(H100, compute, memory + 0.01) >= here
    assert here <= H100.tdp


def test_arrays_broadcast():
    assert power.power(H100, np.array([[0.1], [0.5]]), np.array([0.0, 0.5, 1.0])).shape == (2, 3)


def test_bad_input():
    with pytest.raises(InputError, match=r"compute = 1\.2: expected 0 or more and at most 1"):
        power.power(H100, 1.2, 0)
    with pytest.raises(InputError, match="Trainium1 has no published TDP"):
        power.power(catalogue.chip("Trainium1"), 0.1, 0.1)
