"""Present values, rates of return, against pyxirr where it is installed."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from workbench.errors import InputError
from workbench.fleet import annuity, irr
from workbench.fleet.finance import npv


@pytest.mark.parametrize(
    ("flows", "rate"),
    [
        # numpy-financial issues 28, 44 and 98, values of pyxirr 0.10.8
        ([-1678.87, 771.96, 1814.05, 3520.3, 3552.95, 3584.99, 4789.91, -1], 1.0042698487203023),
        ([-10000] + [327.24625] * 16, -0.0676541134496866),
        ([-100, 110], 0.1),
        ([-100, 0, 121], 0.1),
        ([100, -60, -60], 0.13066238629180748),  # borrowing: the value only rises through zero
        ([-100, 215, -115.5], 0.1),  # roots at 5 and 10 %, both between two points of any coarse grid
        ([100, -331, 364.44, -133.488], 0.08),  # roots at 3, 8 and 20 %: at 8 % alone a higher rate turns the value negative
        ([-1000, 3600, -4310, 1716], 0.1),  # roots at 10, 20 and 30 %: the lowest at which a higher rate turns the value negative
    ],
)
def test_rates_of_return(flows, rate):
    assert irr(flows) == pytest.approx(rate, rel=1e-9)


@given(st.lists(st.floats(0.1, 1e3), min_size=2, max_size=30), st.floats(0.2, 20))
def test_value_at_the_rate_is_nothing(income, ratio):
    flows = np.array([-sum(income) / ratio, *income])
    rate = irr(flows)
    assume(np.isfinite(rate))
    assert npv(rate, flows) == pytest.approx(0, abs=1e-8 * np.abs(flows).sum() * max(1, (1 + rate) ** -len(income)))


@given(st.lists(st.floats(-1e3, 1e3), min_size=3, max_size=12))
def test_flows_of_several_signs_too(flows):
    flows = np.array(flows)
    rate = irr(flows)
    assume(np.isfinite(rate))
    scale = (np.abs(flows) * (1 + rate) ** -np.arange(len(flows))).sum()
    assert abs(npv(rate, flows)) <= 1e-6 * scale


def test_many_at_once_are_those_one_by_one():
    rng = np.random.default_rng(1)
    flows = np.concatenate([-rng.uniform(50, 200, (9000, 1)), rng.uniform(-5, 60, (9000, 8))], axis=1)
    all_of_them = irr(flows)
    assert all_of_them[::1000] == pytest.approx([float(irr(f)) for f in flows[::1000]], nan_ok=True)


def test_no_rate_where_money_goes_one_way():
    assert np.isnan(irr([1, 1, 1]))
    assert np.isnan(irr([0, 0, 0]))


def test_pyxirr_agrees():
    pyxirr = pytest.importorskip("pyxirr")
    rng = np.random.default_rng(2)
    flows = np.concatenate([-rng.uniform(50, 200, (500, 1)), rng.uniform(0, 60, (500, 12))], axis=1)
    assert irr(flows) == pytest.approx([pyxirr.irr(f) for f in flows], rel=1e-9)
    assert npv(0.07, flows) == pytest.approx([pyxirr.npv(0.07, f) for f in flows], rel=1e-12)


def test_an_annuity_is_worth_its_capital():
    for rate in (0.0, 1e-10, 0.0675, 0.5, -0.2):
        payments = np.r_[0, np.full(7, annuity(100, rate, 7))]
        assert npv(rate, payments) == pytest.approx(100, rel=1e-9)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: irr(3.0), "cash_flows: expected an array whose last axis is periods"),
        (lambda: irr([[1, np.nan]]), r"cash_flows\[0, 1\] = nan"),
        (lambda: npv(-1, [1, 2]), "rate = -1"),
        (lambda: annuity(1, 0.1, 0), "years = 0"),
        (lambda: annuity(100, 25, 0.07), "rate = 25: .* 7 % is 0.07; expected more than -1 and at most 1 "),  # rate and years swapped
        (lambda: annuity(np.ma.masked_array([1e6, 999e6], mask=[False, True]), 0.08, 5), "capital: a masked array; fill or drop the 1"),
        (lambda: annuity(np.ones(3), np.full(4, 0.08), 5), r"capital of shape \(3,\) and rate of shape \(4,\) do not broadcast"),
        (lambda: npv(np.full(4, 0.08), np.ones((3, 5))), r"rate of shape \(4,\) and cash_flows without its periods of shape \(3,\) do not"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call()
