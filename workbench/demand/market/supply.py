"""Supply: what packaging, memory, fabs and capital let ship, when power comes, how long units last."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.checks import NOT_NEGATIVE, Rule, takes

#: What may bind shipments, in the order of `limits`; `BINDING` names the codes of the binding constraint.
LIMITS = ("chips", "HBM", "packaging", "capital")
BINDING = ("demand", *LIMITS, "power")
STAGES = 3  #: stages of the delay in which power is energised


@takes(age=NOT_NEGATIVE, mean_life=Rule(above=0, infinite=True), shape=Rule(least=0.01))
def survival(age: ArrayLike, mean_life: ArrayLike, shape: ArrayLike = 4.0) -> NDArray[np.float64]:
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


def tightest(wanted: NDArray[np.float64], limits: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int8]]:
    """The least of what is `wanted` and of the `limits`, and the code in `BINDING` of the first that is so small; demand before all."""
    shipped, binding = wanted.copy(), np.zeros(wanted.shape, dtype=np.int8)
    for code, limit in enumerate(limits, start=1):
        binding += (limit < shipped).view(np.int8) * (np.int8(code) - binding)  # products of small integers are faster than masks
        np.minimum(shipped, limit, out=shipped)
    return shipped, binding


def delay_step(stages: NDArray[np.float64], inflow: NDArray[np.float64], rate: NDArray[np.float64]) -> NDArray[np.float64]:
    """One period of a chain of stages on the first axis, changed in place: each passes the share `rate` on; returns what leaves the last.

    `inflow` enters the first stage after it has passed on; the rate is that of stages over the mean delay in periods, at most 1.
    """
    passed = stages * rate
    stages -= passed
    stages[0] += inflow
    stages[1:] += passed[:-1]
    return np.asarray(passed[-1])
