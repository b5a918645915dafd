"""Uncertainty: distributions written as one thinks of them, quasi-random futures, bands, sensitivities, and scores of forecasts.

A sample is a dict of arrays; a model that takes arrays turns it into as many futures with one call.
"""

from workbench.uncertainty.distributions import Beta, Lognormal, Normal, Pert, Uniform
from workbench.uncertainty.sampling import Path, sample
from workbench.uncertainty.sensitivity import one_at_a_time, sobol_indices
from workbench.uncertainty.summaries import band

__all__ = ["Beta", "Lognormal", "Normal", "Path", "Pert", "Uniform", "band", "one_at_a_time", "sample", "sobol_indices"]
