"""Fabrics: what joins chips into a cluster."""

from workbench.fabric.cluster import Cluster

__all__ = ["Cluster"]
