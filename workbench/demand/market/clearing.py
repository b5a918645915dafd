"""Parts of the market: what is bought at a price, what lets units ship, when power comes, how long they last, and the price that clears."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.arrays import Array, Arrays, broadcast
from workbench.checks import NOT_NEGATIVE, POSITIVE, Rule, check_fields, takes

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
        """Compute asked for at a `price`, where `compute` is asked for at the reference: compute (price / reference)^-elasticity."""
        broadcast(elasticity=self.elasticity, price=price, compute=compute, reference_price=reference_price)
        return np.asarray(compute * np.divide(price, reference_price) ** -np.asarray(self.elasticity, dtype=float))

    @takes(efficiency=POSITIVE)
    def jevons(self, efficiency: ArrayLike) -> Array:
        """Compute asked for, after over before, when a task takes `efficiency` times less of it and compute costs what it did.

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
    """Compute that a buyer wants for whom intelligence is the logarithm of compute: its elasticity is exactly -1, its spend constant.

    Value v0 + k log10 C against cost p C is largest where k / (C ln 10) = p, so C = k / (p ln 10).

    Parameters
    ----------
    value_per_decade : array_like
        Worth of ten times the compute [USD].
    price : array_like
        Of a unit of compute [USD], above 0.

    Examples
    --------
    >>> print(f"{log_law_compute(100e9, [2.35, 23.5])[0]:.3g}")
    1.85e+10
    """
    return np.asarray(value_per_decade, dtype=float) / (np.asarray(price, dtype=float) * np.log(10))


def root_step(x: Array, log_demand: Array, elasticity: Array, log_supply: Array) -> Array:
    """One Newton step on x = ln(p / p_ref) towards  ln sum_k exp(d_k - eps_k x) = s,  without bounds.

    The left side, over classes on the first axis, falls and is convex: from the left of the root no step passes it, from the right the
    first lands on its left. What is left is about the square of the step. Some class must have demand and answer to price.
    """
    used = elasticity * x
    np.subtract(log_demand, used, out=used)
    np.exp(used, out=used)
    total = np.add.reduce(used, axis=0)
    used *= elasticity
    slope = np.add.reduce(used, axis=0)
    gap = np.log(total)
    gap -= log_supply
    gap *= total
    gap /= slope
    gap += x
    return gap


@takes(age=NOT_NEGATIVE, mean_life=Rule(above=0, infinite=True), shape=Rule(least=0.01))
def survival(age: ArrayLike, mean_life: ArrayLike, shape: ArrayLike = 4.0) -> Array:
    """Share of a vintage that has not failed: Weibull,  exp(-(Gamma(1 + 1 / shape) age / mean_life)^shape).

    Parameters
    ----------
    age, mean_life : array_like
        In the same unit of time; 0 or more, and above 0, infinite where nothing fails.
    shape : array_like
        0.01 or more; 1 is a constant rate of failure, 4 wear.

    Examples
    --------
    >>> survival([0.0, 2.0, 5.0], mean_life=5.0).round(2)
    array([1.  , 0.98, 0.51])
    """
    from scipy.special import gamma

    a, m, k = (np.asarray(x, dtype=float) for x in (age, mean_life, shape))
    return np.asarray(np.exp(-((a / m * gamma(1 + 1 / k)) ** k)))


def tightest(wanted: Array, limits: Array) -> tuple[Array, NDArray[np.int8]]:
    """The least of what is `wanted` and of the `limits`, and the code in `BINDING` of the first that is so small; demand before all."""
    shipped, binding = wanted.copy(), np.zeros(wanted.shape, dtype=np.int8)
    for code, limit in enumerate(limits, start=1):
        binding += (limit < shipped).view(np.int8) * (np.int8(code) - binding)  # products of small integers are faster than masks
        np.minimum(shipped, limit, out=shipped)
    return shipped, binding


def delay_step(stages: Array, inflow: Array, rate: Array) -> Array:
    """One period of a chain of stages on the first axis, changed in place: each passes the share `rate` on; returns what leaves the last.

    `inflow` enters the first stage after it has passed on; the rate is that of stages over the mean delay in periods, at most 1.
    """
    passed = stages * rate
    stages -= passed
    stages[0] += inflow
    stages[1:] += passed[:-1]
    return np.asarray(passed[-1])
