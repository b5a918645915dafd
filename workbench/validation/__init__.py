"""Models against published measurements: predicted, measured, and how far apart, by source."""

from workbench.validation.decisions import decide
from workbench.validation.report import aligned
from workbench.validation.score import calibrate, validate, write_tables

__all__ = ["aligned", "calibrate", "decide", "validate", "write_tables"]
