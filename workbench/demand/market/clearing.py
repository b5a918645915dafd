"""Parts of the market: what is bought at a price, what a sold hour costs, what lets units ship, when power comes, how long they last."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from workbench.arrays import Array, Arrays, broadcast
from workbench.checks import LIFE_YEARS, NOT_NEGATIVE, POSITIVE, Rule, check_fields, takes
from workbench.units import HOUR, YEAR

#: What may bind shipments, in the order of `limits`; `BINDING` names the codes of the binding constraint.
LIMITS = ("chips", "HBM", "packaging", "capital")
BINDING = ("demand", *LIMITS, "power")
STAGES = 3  #: stages of the delay in which power is energised


@dataclass(frozen=True, repr=False)
class ElasticDemand(Arrays):
    """Demand for compute that falls by `elasticity` per cent when its price rises by one; arrays broadcast.

    Examples
    --------
    >>> demand = ElasticDemand([0.6, 1.11])
    >>> demand.at(4.7, 100.0, reference_price=2.35).round(), demand.jevons(10.0).round(2), demand.value_exponent.round(2)
    (array([66., 46.]), array([0.4 , 1.29]), array([-0.67,  0.1 ]))
    """

    elasticity: ArrayLike  #: 0 or more

    def __post_init__(self) -> None:
        check_fields(self, elasticity=NOT_NEGATIVE)

    @takes(price=POSITIVE, compute=NOT_NEGATIVE, reference_price=POSITIVE)
    def at(self, price: ArrayLike, compute: ArrayLike, *, reference_price: ArrayLike) -> Array:
        """Compute demanded at a `price`, where `compute` is at the reference: compute (price / reference)^-elasticity."""
        broadcast(elasticity=self.elasticity, price=price, compute=compute, reference_price=reference_price)
        return np.asarray(compute * np.divide(price, reference_price) ** -np.asarray(self.elasticity, dtype=float))

    @takes(efficiency=POSITIVE)
    def jevons(self, efficiency: ArrayLike) -> Array:
        """Compute demanded, after over before, when a task takes `efficiency` times less of it and compute costs what it did.

        Tasks grow as efficiency^elasticity, compute as one power less.
        """
        broadcast(elasticity=self.elasticity, efficiency=efficiency)
        return np.asarray(efficiency ** (np.asarray(self.elasticity, dtype=float) - 1))

    @property
    def value_exponent(self) -> Array:
        """Exponent a of a value that grows as compute^a under which demand has this elasticity, above 0: a = 1 - 1 / elasticity.

        From the first-order condition a C^(a - 1) ~ p. Nothing (an elasticity of 1) is the logarithm; the measured 1.11 is a = 0.10.
        """
        return 1 - 1 / np.asarray(POSITIVE("elasticity", self.elasticity), dtype=float)


@takes(value_per_decade=NOT_NEGATIVE, price=POSITIVE)
def log_law_compute(value_per_decade: ArrayLike, price: ArrayLike) -> Array:
    """Compute demanded by a buyer for whom intelligence is the logarithm of compute: elasticity -1, constant spending.

    Value v0 + k log10 C against cost p C is largest where k / (C ln 10) = p, so C = k / (p ln 10), with k the value of ten times the
    compute (`value_per_decade`) [USD] and p the price of a unit [USD], above 0.

    Examples
    --------
    >>> print(f"{log_law_compute(100e9, [2.35, 23.5])[0]:.3g}")
    1.85e+10
    """
    return np.asarray(value_per_decade, dtype=float) / (np.asarray(price, dtype=float) * np.log(10))


@takes(
    capital_usd=NOT_NEGATIVE, running_usd_per_hour=NOT_NEGATIVE, wacc=Rule(above=-1, most=10), life_years=LIFE_YEARS,
    decline=Rule(above=-1, below=1), utilisation=Rule(above=0, most=1), overhead=NOT_NEGATIVE,
)  # fmt: skip
def long_run_cost(
    capital_usd: ArrayLike, running_usd_per_hour: ArrayLike, *, wacc: ArrayLike, life_years: ArrayLike, decline: ArrayLike = 0.0,
    utilisation: ArrayLike = 1.0, overhead: ArrayLike = 0.0,
) -> Array:  # fmt: skip
    """Long-run cost of a sold hour: the rent at the start of service for which a new unit pays for itself over its life [USD/h].

    Rents fall as new units become cheaper (obsolescence), so that the first hour has to bring more than the mean one:
    c = (K + running A(r)) / A(r + d) (1 + overhead) / utilisation, A(x) = (1 - e^(-x L)) / x in hours, r and d continuous rates.

    Parameters
    ----------
    capital_usd : array_like
        Of a unit with its share of network, building and power [USD].
    running_usd_per_hour : array_like
        Electricity and operations, sold or not [USD/h].
    wacc, life_years : array_like
        Cost of capital, discrete, per year; economic life [years].
    decline : array_like
        By which the rent of a unit falls, discrete, per year: that of the cost of new ones.
    utilisation, overhead : array_like
        Share of hours that are sold; sales, staff and head-room over the cost of the hardware.

    Examples
    --------
    A new H100-equivalent of 30,000 USD over five years at 10 %, 85 % sold; without and with rents that fall 20 % a year:

    >>> long_run_cost(30e3, 0.13, wacc=0.10, life_years=5, decline=[0.0, 0.2], utilisation=0.85).round(2)
    array([1.17, 1.85])

    References
    ----------
    .. [1] Jorgenson (1963), "Capital theory and investment behavior", American Economic Review 53(2): the user cost of capital.
    """
    given = (capital_usd, running_usd_per_hour, life_years, utilisation, overhead)
    k, running, life, sold, over = (np.asarray(x, dtype=float) for x in given)
    r, d = np.log1p(np.asarray(wacc, dtype=float)), -np.log1p(-np.asarray(decline, dtype=float))

    def worth(rate: Array) -> Array:
        """Of a dollar per hour over the life [h]."""
        small = np.abs(rate) * life < 1e-9
        years = np.where(small, life, -np.expm1(-rate * life) / np.where(small, 1.0, rate))
        return np.asarray(years * (YEAR / HOUR))

    return np.asarray((k + running * worth(r)) / worth(r + d) * (1 + over) / sold)


@takes(age=NOT_NEGATIVE, mean_life=Rule(above=0, infinite=True), shape=Rule(least=0.01))
def survival(age: ArrayLike, mean_life: ArrayLike, shape: ArrayLike = 4.0) -> Array:
    """Share of a vintage that has not failed: Weibull,  exp(-(Gamma(1 + 1 / shape) age / mean_life)^shape).

    Parameters
    ----------
    age, mean_life, shape : array_like
        Of one unit of time: 0 or more, and above 0 (infinite: nothing fails); 0.01 or more: 1 is a constant rate of failure, 4 wear.

    Examples
    --------
    >>> survival([0.0, 2.0, 5.0], mean_life=5.0).round(2)
    array([1.  , 0.98, 0.51])
    """
    from scipy.special import gamma

    a, m, k = (np.asarray(x, dtype=float) for x in (age, mean_life, shape))
    return np.asarray(np.exp(-((a / m * gamma(1 + 1 / k)) ** k)))


def delay_step(stages: Array, inflow: Array, rate: Array) -> Array:
    """One period of a chain of stages on the first axis, changed in place: each passes the share `rate` on; returns what leaves the last.

    `inflow` enters the first stage after it has passed on; the rate is that of stages over the mean delay in periods, at most 1.
    """
    passed = stages * rate
    stages -= passed
    stages[0] += inflow
    stages[1:] += passed[:-1]
    return np.asarray(passed[-1])
