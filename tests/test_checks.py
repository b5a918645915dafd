import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.checks import POSITIVE, PUE, SHARE, Rule, number, takes
from workbench.errors import InputError
from workbench.uncertainty import Lognormal


@takes(rate=POSITIVE, flows=Rule(last="periods"))
def present(rate, flows):
    return (flows / (1 + rate[..., None])).sum(axis=-1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: number("life", -3, above=0), r"^life = -3: expected more than 0$"),
        (lambda: number("life", [5, 4, -1, 3], above=0), r"^life\[2\] = -1: expected more than 0$"),
        (lambda: number("x", [[1, 2], [3, np.nan]]), r"^x\[1, 1\] = nan: expected a finite number$"),
        (lambda: number("x", np.inf, least=0), "^x = inf: expected 0 or more$"),
        (lambda: number("wacc", "7%"), r"^wacc = '7%': expected a number or an array of numbers$"),
        (lambda: number("x", [1.0, True]), "^x = True: expected a number or an array of numbers$"),
        (lambda: number("x", [[1.0], (2.0, "3")]), "^x = '3': expected a number or an array of numbers$"),
        (lambda: number("x", [np.zeros(2), np.ma.masked_array([1.0, 2.0], mask=[False, True])]), "^x: a masked array; fill or drop the 1"),
        (lambda: number("rate", -1, above=-1, why="nothing is left"), "^rate = -1: nothing is left; expected more than -1$"),
        (lambda: number("ratio", 1, least=0.5, below=1), r"^ratio = 1: expected 0\.5 or more and less than 1$"),
        (lambda: SHARE("salvage", 1.2), r"^salvage = 1\.2: expected 0 or more and at most 1$"),
        (lambda: Rule(above=0, most=1)("availability", 0), "^availability = 0: expected more than 0 and at most 1$"),
        (lambda: PUE("pue", 0.9), r"^pue = 0\.9: a facility draws at least what its servers draw; expected 1 or more and at most 10$"),
        (lambda: number("x", [1.0, (2.0, True)]), r"^x = True: expected a number or an array of numbers$"),
        (lambda: present(0.1, 3.0), "^flows: expected an array whose last axis is periods, one or more$"),
        (lambda: present(np.ones(4), np.ones((3, 5))), r"^rate of shape \(4,\) and flows without its periods of shape \(3,\) do not"),
    ],
)
def test_a_refusal_names_the_value_its_place_and_the_range(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_single_numbers_keep_their_digits():
    assert Rule(least=0, whole=True, one=True)("seed", 2**60 + 1) == 2**60 + 1
    fine = Lognormal(np.float32(2), np.float32(8))  # not computed in 32 bits
    assert fine.quantile(0.3) == Lognormal(2, 8).quantile(0.3)


@given(st.lists(st.floats(0, 1), min_size=0, max_size=5))
def test_what_is_in_range_passes_unchanged(values):
    assert SHARE("x", values).tolist() == values
