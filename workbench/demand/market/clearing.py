"""What is bought at a price: demand of one elasticity, the law of the logarithm, and a step towards the price that clears."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.arrays import Arrays, broadcast
from workbench.checks import NOT_NEGATIVE, POSITIVE, check_fields, takes


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
    def at(self, price: ArrayLike, compute: ArrayLike, *, reference_price: ArrayLike) -> NDArray[np.float64]:
        """Compute asked for at a `price`, where `compute` is asked for at the reference: compute (price / reference)^-elasticity."""
        broadcast(elasticity=self.elasticity, price=price, compute=compute, reference_price=reference_price)
        return np.asarray(compute * np.divide(price, reference_price) ** -np.asarray(self.elasticity, dtype=float))

    @takes(efficiency=POSITIVE)
    def jevons(self, efficiency: ArrayLike) -> NDArray[np.float64]:
        """Compute asked for, after over before, when a task takes `efficiency` times less of it and compute costs what it did.

        Tasks grow as efficiency^elasticity, compute as one power less.
        """
        broadcast(elasticity=self.elasticity, efficiency=efficiency)
        return np.asarray(efficiency ** (np.asarray(self.elasticity, dtype=float) - 1))

    @property
    def value_exponent(self) -> NDArray[np.float64]:
        """Exponent a of a value that grows as compute^a under which demand has this elasticity, above 0: a = 1 - 1 / elasticity.

        From the first-order condition a C^(a - 1) ~ p. Nothing (an elasticity of 1) is the logarithm; the measured 1.11 is a = 0.10.
        """
        return 1 - 1 / np.asarray(POSITIVE("elasticity", self.elasticity), dtype=float)


@takes(value_per_decade=NOT_NEGATIVE, price=POSITIVE)
def log_law_compute(value_per_decade: ArrayLike, price: ArrayLike) -> NDArray[np.float64]:
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


def root_step(
    x: NDArray[np.float64], log_demand: NDArray[np.float64], elasticity: NDArray[np.float64], log_supply: NDArray[np.float64]
) -> NDArray[np.float64]:
    """One Newton step on x = ln(p / p_ref) towards  ln sum_k exp(d_k - eps_k x) = s,  without bounds.

    The left side falls with the mean elasticity of the classes, weighted by what they use, and is convex: from the left of the root no step
    passes it, from the right the first lands on its left. What is left is about the square of the step.

    Parameters
    ----------
    x, log_supply : ndarray
    log_demand, elasticity : ndarray, shape (classes, ...)
        Some class must have demand and answer to price.
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
