"""Fabric: links, clusters, and what a collective takes on them."""

from workbench.fabric.bill import Bill, bill
from workbench.fabric.cluster import Cluster
from workbench.fabric.collectives import CollectiveTime, Tier, collective_time, tiers_of, torus_collective
from workbench.fabric.goodput import Goodput, collision_slowdown, goodput, optimal_interval, spares, straggler_slowdown
from workbench.fabric.topology import Topology, dragonfly, fat_tree, optical_switches, torus
from workbench.fabric.wan import Sites, across_sites, bandwidth_for, round_trip, synchronisation_interval

__all__ = [
    "Bill",
    "Cluster",
    "CollectiveTime",
    "Goodput",
    "Sites",
    "Tier",
    "Topology",
    "across_sites",
    "bandwidth_for",
    "bill",
    "collective_time",
    "collision_slowdown",
    "dragonfly",
    "fat_tree",
    "goodput",
    "optical_switches",
    "optimal_interval",
    "round_trip",
    "spares",
    "straggler_slowdown",
    "synchronisation_interval",
    "tiers_of",
    "torus",
    "torus_collective",
]
