"""Chip efficiency: what a chip really delivers, in training and in serving."""

from workbench.chips.forms import FORMS
from workbench.chips.gemm import matrix_product
from workbench.chips.serving.evaluate import Load, ServingPlan, serving
from workbench.chips.serving.frontier import SLO, cheapest_chip, slo_frontier
from workbench.chips.serving.routing import adapters, routed
from workbench.chips.training.evaluate import training_step
from workbench.chips.training.plan import TrainingPlan
from workbench.chips.training.run import training_run
from workbench.chips.training.search import Choices, elasticities, search_layouts
from workbench.chips.watts import power

__all__ = [
    "FORMS",
    "SLO",
    "Choices",
    "Load",
    "ServingPlan",
    "TrainingPlan",
    "adapters",
    "cheapest_chip",
    "elasticities",
    "matrix_product",
    "power",
    "routed",
    "search_layouts",
    "serving",
    "slo_frontier",
    "training_run",
    "training_step",
]
