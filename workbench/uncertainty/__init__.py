"""Uncertainty: distributions written as one thinks of them, quasi-random futures, bands, sensitivities, and scores of forecasts.

A sample is a dict of arrays; a model that takes arrays turns it into as many futures with one call.
"""

from workbench.uncertainty.copula import NotACorrelation, nearest_correlation
from workbench.uncertainty.distributions import (
    Beta,
    Distribution,
    Empirical,
    Lognormal,
    Loguniform,
    Mixture,
    Normal,
    Pert,
    Truncated,
    Uniform,
)
from workbench.uncertainty.gain import Gain, qmc_gain
from workbench.uncertainty.sampling import Path, evaluate, sample
from workbench.uncertainty.scores import Coverage, coverage, crps, crps_normal, crps_quantiles, crps_student, pinball, pit
from workbench.uncertainty.sensitivity import Indices, one_at_a_time, sobol_indices
from workbench.uncertainty.summaries import Bands, Estimate, band, bands, estimate, exceedance, smoothed_exceedance

__all__ = [
    "Bands",
    "Beta",
    "Coverage",
    "Distribution",
    "Empirical",
    "Estimate",
    "Gain",
    "Indices",
    "Lognormal",
    "Loguniform",
    "Mixture",
    "Normal",
]
__all__ += ["NotACorrelation", "Path", "Pert", "Truncated", "Uniform", "band", "bands", "coverage", "crps", "crps_normal"]
__all__ += ["crps_quantiles", "crps_student", "estimate", "evaluate", "exceedance", "nearest_correlation", "one_at_a_time"]
__all__ += ["pinball", "pit", "qmc_gain", "sample", "smoothed_exceedance", "sobol_indices"]
