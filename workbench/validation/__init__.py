"""Models against published measurements: predicted, measured, and how far apart, by source."""

from workbench.validation.report import KINDS, Prediction, Report, aligned, calibrate, cross, validate

__all__ = ["KINDS", "Prediction", "Report", "aligned", "calibrate", "cross", "validate"]
