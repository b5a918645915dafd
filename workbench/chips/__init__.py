"""Chip efficiency: what a chip really delivers, in training and in serving."""

from workbench.chips.serving.evaluate import Load, Serving, ServingPlan, serving, serving_speed
from workbench.chips.serving.frontier import Slo, break_even_price, cheapest_chip, slo_frontier, value_of
from workbench.chips.serving.routing import Adapters, Routed, adapters, routed
from workbench.chips.training.constants import stacks
from workbench.chips.training.evaluate import TrainingStep, training_memory, training_step
from workbench.chips.training.memory import TrainingMemory
from workbench.chips.training.plan import PRECISIONS, TrainingPlan
from workbench.chips.training.run import TrainingRun, training_run
from workbench.chips.training.search import Choices, Search, elasticities, plan_of, search_layouts
from workbench.chips.watts import power

__all__ = [
    "PRECISIONS",
    "Adapters",
    "Choices",
    "Load",
    "Routed",
    "Search",
    "Serving",
    "ServingPlan",
    "Slo",
    "TrainingMemory",
    "TrainingPlan",
    "TrainingRun",
    "TrainingStep",
    "adapters",
    "break_even_price",
    "cheapest_chip",
    "elasticities",
    "plan_of",
    "power",
    "routed",
    "search_layouts",
    "serving",
    "serving_speed",
    "slo_frontier",
    "stacks",
    "training_memory",
    "training_run",
    "training_step",
    "value_of",
]
