"""Demand against supply: what clears, what binds, how likely are shortage and glut, what to order."""

from workbench.demand.clearing import Clearing, Jevons, clear, demand_at, jevons, log_law_compute, value_exponent
from workbench.demand.loop import Futures, Outcome, simulate
from workbench.demand.orders import OrderPlan, RealOption, critical_ratio, order_plan, real_option
from workbench.demand.outlook import Outlook, drivers, h100e_per_wafer, hindcast, outlook, power_shadow_price, rent_where, value_of
from workbench.demand.scenario import CLASSES, draws, futures, prior
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

__all__ = ["BINDING", "CLASSES", "LIMITS", "Clearing", "Futures", "Jevons", "Outcome", "Outlook", "clear", "demand_at", "draws", "drivers"]
__all__ += ["energised", "futures", "h100e_per_wafer", "hindcast", "installed", "jevons", "keeping_cost", "log_law_compute"]
__all__ += ["memory_limited", "mixed_capacity", "outlook", "packaging_limited", "power_limited", "power_shadow_price", "prior"]
__all__ += ["rent_where", "shipments", "simulate", "survival", "value_exponent", "value_of"]
__all__ += ["OrderPlan", "RealOption", "critical_ratio", "order_plan", "real_option"]
