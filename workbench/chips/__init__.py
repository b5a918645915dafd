"""Chip efficiency: what a chip really delivers, in training and in serving."""

from workbench.chips.calibration import stacks
from workbench.chips.layouts import Choices, Search, elasticities, plan_of, search_layouts
from workbench.chips.memory import TrainingMemory
from workbench.chips.plan import PRECISIONS, TrainingPlan
from workbench.chips.roofline import roofline_share
from workbench.chips.run import TrainingRun, training_run
from workbench.chips.serving import Load, Serving, ServingPlan, serving
from workbench.chips.training import TrainingStep, training_memory, training_step

__all__ = [
    "PRECISIONS",
    "Choices",
    "Load",
    "Search",
    "Serving",
    "ServingPlan",
    "TrainingMemory",
    "TrainingPlan",
    "TrainingRun",
    "TrainingStep",
    "elasticities",
    "plan_of",
    "roofline_share",
    "search_layouts",
    "serving",
    "stacks",
    "training_memory",
    "training_run",
    "training_step",
]
