"""Long-run cost of a sold hour; demand of one elasticity, Jevons and the log law."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from workbench import demand
from workbench.errors import InputError
from workbench.units import HOUR, YEAR


def test_a_unit_pays_for_itself_at_its_long_run_cost():
    """The present value of rents that fall, less running, over the life is the capital: by quadrature."""
    capital, running, wacc, life, fall, sold = 25e3, 0.3, 0.11, 5.0, 0.2, 0.85
    rent = demand.long_run_cost(capital, running, wacc=wacc, life_years=life, decline=fall, utilisation=sold)
    t = np.linspace(0, life, 200_001)
    value = np.trapezoid((rent * (1 - fall) ** t * sold - running) * (1 + wacc) ** -t, t) * YEAR / HOUR
    assert value == pytest.approx(capital, rel=1e-6)
    level = demand.long_run_cost(capital, running, wacc=wacc, life_years=life, utilisation=sold)
    assert level < rent
    assert demand.long_run_cost(8766.0, 0.0, wacc=0.0, life_years=1.0) == pytest.approx(1.0)
    assert demand.long_run_cost(0.0, 0.3, wacc=0.1, life_years=5.0, overhead=0.1) == pytest.approx(0.33)


def test_log_law_is_an_elasticity_of_minus_one():
    k, prices = 5e9, np.array([1.0, 2.35, 10.0])
    compute = demand.log_law_compute(k, prices)
    for price, c in zip(prices, compute, strict=True):  # it is the optimum of what it claims to be
        best = minimize_scalar(
            lambda x, p=price: p * np.exp(x) - k * x / np.log(10), bounds=(0, 40), method="bounded", options={"xatol": 1e-9}
        )
        assert best.x == pytest.approx(np.log(c), abs=1e-6)
    assert np.diff(np.log(compute)) / np.diff(np.log(prices)) == pytest.approx([-1, -1], rel=1e-12)
    assert compute * prices == pytest.approx(np.full(3, k / np.log(10)))  # spend does not depend on the price


def test_a_higher_price_sells_less_by_the_elasticity():
    asked = demand.ElasticDemand([0.0, 1.0, 2.0]).at(4.0, 8.0, reference_price=2.0)
    assert asked == pytest.approx([8, 4, 2])


def test_measured_elasticity_is_nearly_the_log_law():
    # -1.11 within model across hosts: NBER, The Emerging Market for Intelligence
    assert demand.ElasticDemand([1.0, 1.11]).value_exponent == pytest.approx([0, 0.0991], abs=1e-4)
    assert demand.log_law_compute(1.0, 0.5) / demand.log_law_compute(1.0, 1.0) == pytest.approx(2**1.11, rel=0.08)


def test_jevons_has_a_sign():
    after = demand.ElasticDemand([1.11, 0.6, 1.0]).jevons(10.0)  # notes: ten times adds 29 %, removes 60 %
    assert after == pytest.approx([1.288, 0.398, 1.0], abs=1e-3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: demand.long_run_cost(1.0, 1.0, wacc=0.1, life_years=0.0), "life_years = 0: expected more than 0"),
        (lambda: demand.long_run_cost(1.0, 1.0, wacc=0.1, life_years=5.0, decline=1.0), "decline = 1: expected"),
        (lambda: demand.ElasticDemand(-1.0), "elasticity = -1: expected 0 or more"),
        (lambda: demand.ElasticDemand(0.0).value_exponent, "elasticity = 0: expected more than 0"),
        (lambda: demand.ElasticDemand(1.0).at(0.0, 1.0, reference_price=1.0), "price = 0: expected more than 0"),
        (lambda: demand.ElasticDemand(1.0).jevons(0.0), "efficiency = 0: expected more than 0"),
        (lambda: demand.log_law_compute(1.0, 0.0), "price = 0: expected more than 0"),
        (lambda: demand.ElasticDemand([1, 2]).jevons([1, 2, 3]), r"elasticity of shape \(2,\) and efficiency of shape \(3,\)"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call()
