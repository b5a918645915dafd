"""Supply: what ships under limits, what power lets run, what survives; against published counts, closed forms and limits."""

import numpy as np
import pytest
from scipy.stats import gamma

from workbench import demand
from workbench.demand.market import clearing as supply
from workbench.errors import InputError


def test_survival_is_weibull():
    ages = np.linspace(0, 40, 20_001)
    assert np.trapezoid(demand.survival(ages, 5.0), ages) == pytest.approx(5.0, rel=1e-6)  # its mean is the mean
    assert demand.survival(3.0, 5.0, shape=1.0) == pytest.approx(np.exp(-0.6))
    assert demand.survival(0.0, 5.0) == 1
    # wear spares the young: after two years of five, shape 4 keeps 98 %
    assert demand.survival(2.0, 5.0) == pytest.approx(0.983, abs=1e-3)


def test_power_comes_on_as_an_erlang_delay():
    def energised(periods, delay):
        """What comes on in each period of a request in the first."""
        stages, rate = np.zeros((supply.STAGES, 1)), np.array([supply.STAGES / delay])
        return np.array([supply.delay_step(stages, np.array([float(t == 0)]), rate)[0] for t in range(periods)])

    on, t = energised(400, 12.0), np.arange(400)
    assert on.sum() == pytest.approx(1)
    assert (on * t).sum() == pytest.approx(12.0)
    assert (on * t**2).sum() - 144 == pytest.approx(3 * (1 - 0.25) / 0.25**2)  # three geometric waits
    fine = np.cumsum(energised(1000, 300.0))  # finer periods: the Erlang distribution
    assert np.abs(fine - gamma.cdf(np.arange(1000), 3, scale=100)).max() < 0.005
    assert energised(9, 3.0)[3] == 1  # three periods, no spread


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: demand.survival(-1.0, 5.0), "age = -1: expected 0 or more"),
        (lambda: demand.survival(1.0, 0.0), "mean_life = 0: expected more than 0"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call()
