"""Fabric: links, clusters, and what a collective takes on them."""

from workbench.fabric.bill import bill
from workbench.fabric.cluster import Cluster
from workbench.fabric.collectives import Tier, collective_time, tiers_of
from workbench.fabric.forms import FORMS
from workbench.fabric.goodput import Resilience, goodput
from workbench.fabric.storage import storage
from workbench.fabric.topology import dragonfly, fat_tree, optical_switches
from workbench.fabric.wan import across_sites, bandwidth_for, latency

__all__ = [
    "FORMS",
    "Cluster",
    "Resilience",
    "Tier",
    "across_sites",
    "bandwidth_for",
    "bill",
    "collective_time",
    "dragonfly",
    "fat_tree",
    "goodput",
    "latency",
    "optical_switches",
    "storage",
    "tiers_of",
]
