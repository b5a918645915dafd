"""Models against published measurements: predicted, measured, and how far apart, by source."""

from workbench.validation.decisions import decide
from workbench.validation.score import calibrate, validate, write_tables

__all__ = ["calibrate", "decide", "validate", "write_tables"]
