"""Demand against supply: what clears, what binds, how likely are shortage and glut, what to order."""

from workbench.demand.clearing import Clearing, Jevons, clear, demand_at, jevons, log_law_compute, value_exponent

__all__ = ["Clearing", "Jevons", "clear", "demand_at", "jevons", "log_law_compute", "value_exponent"]
