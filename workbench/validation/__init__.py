"""Models against published measurements: predicted, measured, and how far apart, by source."""

from workbench.validation.report import KINDS, Prediction, Report, validate

__all__ = ["KINDS", "Prediction", "Report", "validate"]
