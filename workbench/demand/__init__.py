"""Demand against supply: what clears, what binds, how likely are shortage and glut, what to order."""

from workbench.demand.clearing import Clearing, Jevons, clear, demand_at, jevons, log_law_compute, value_exponent
from workbench.demand.supply import (
    BINDING,
    LIMITS,
    energised,
    installed,
    keeping_cost,
    memory_limited,
    mixed_capacity,
    packaging_limited,
    power_limited,
    shipments,
    survival,
)

__all__ = [
    "BINDING",
    "LIMITS",
    "Clearing",
    "Jevons",
    "clear",
    "demand_at",
    "energised",
    "installed",
    "jevons",
    "keeping_cost",
    "log_law_compute",
    "memory_limited",
    "mixed_capacity",
    "packaging_limited",
    "power_limited",
    "shipments",
    "survival",
    "value_exponent",
]
