"""Scaling: what compute a model takes to train."""

from workbench.scaling.flop import training_flop

__all__ = ["training_flop"]
