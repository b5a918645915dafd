"""Fabric: links, clusters, and what a collective takes on them."""

from workbench.fabric import dispatch, losses, measured
from workbench.fabric.cluster import Cluster
from workbench.fabric.collectives import Tier, collective_time, tiers_of
from workbench.fabric.goodput import Resilience, goodput, storage
from workbench.fabric.topology import bill, dragonfly, fat_tree, optical_switches
from workbench.fabric.wan import across_sites, bandwidth_for, latency

#: Files of measured rows that fabrics are scored on, by kind.
FORMS = {"collectives": (measured.FORM, dispatch.FORM), "goodput": losses.FORMS}

__all__ = [
    "FORMS", "Cluster", "Resilience", "Tier", "across_sites", "bandwidth_for", "bill", "collective_time", "dragonfly", "fat_tree",
    "goodput", "latency", "optical_switches", "storage", "tiers_of",
]  # fmt: skip
