"""Chip efficiency: what a chip really delivers, in training and in serving."""

from workbench.chips.roofline import roofline_share
from workbench.chips.serving import Load, Serving, ServingPlan, serving
from workbench.chips.training import TrainingRun, training_run

__all__ = ["Load", "Serving", "ServingPlan", "TrainingRun", "roofline_share", "serving", "training_run"]
