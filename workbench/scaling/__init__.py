"""Scaling laws: from compute to size, data, loss and capability, with the uncertainty carried along."""

from workbench.scaling.fit import bootstrap, chinchilla_points, fit
from workbench.scaling.flop import training_flop
from workbench.scaling.laws import AdditiveLaw, law
from workbench.scaling.optima import capability_gain, data_constrained_optimum, inference_aware_optimum, law_spread, optimal_allocation

__all__ = ["AdditiveLaw", "bootstrap", "capability_gain", "chinchilla_points", "data_constrained_optimum", "fit"]
__all__ += ["inference_aware_optimum", "law", "law_spread", "optimal_allocation", "training_flop"]
