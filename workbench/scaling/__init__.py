"""Scaling laws: from compute to size, data, loss and capability, with the uncertainty carried along."""

from workbench.scaling.bootstrap import Bootstrap, bootstrap
from workbench.scaling.capability import capability_gain, efficiency_per_year, slope_of, task_error
from workbench.scaling.certificate import Certificate, certify, missed_starts
from workbench.scaling.fit import Fit, FitError, chinchilla_points, fit, isoflop_minimum
from workbench.scaling.flop import DEFINITIONS, training_flop
from workbench.scaling.laws import AdditiveLaw, AllocationLaw, KaplanLaw, Law, PrecisionLaw, RepeatedDataLaw, chinchilla_refits, law, laws
from workbench.scaling.optima import (
    Allocation,
    Constrained,
    Served,
    approach_2_bias,
    data_constrained_optimum,
    inference_aware_optimum,
    isoflop,
    joint_optimum,
    law_spread,
    loss,
    optimal_allocation,
)

__all__ = [
    "DEFINITIONS",
    "AdditiveLaw",
    "Allocation",
    "AllocationLaw",
    "Bootstrap",
    "Certificate",
    "Constrained",
    "Fit",
    "FitError",
    "KaplanLaw",
    "Law",
    "PrecisionLaw",
    "RepeatedDataLaw",
    "Served",
    "approach_2_bias",
    "bootstrap",
    "capability_gain",
    "certify",
    "chinchilla_points",
    "chinchilla_refits",
    "data_constrained_optimum",
    "efficiency_per_year",
    "fit",
    "inference_aware_optimum",
    "isoflop",
    "isoflop_minimum",
    "joint_optimum",
    "law",
    "law_spread",
    "laws",
    "loss",
    "missed_starts",
    "optimal_allocation",
    "slope_of",
    "task_error",
    "training_flop",
]
