"""Models against published measurements: predicted, measured, and how far apart, by source."""

from workbench.validation.report import KINDS, Prediction, Report, aligned, beside, calibrate, validate, write_tables

__all__ = ["KINDS", "Prediction", "Report", "aligned", "beside", "calibrate", "validate", "write_tables"]
