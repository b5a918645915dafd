"""Sweeps of notebooks: parameter sets, runs on this machine or a cluster, tables of what was recorded, and the page that tells it."""

from workbench import _loaded

__all__ = ["gather", "plan", "read_results", "report", "sweep"]

_WHERE = {"gather": "results", "plan": "expand", "read_results": "results", "report": "tell.report", "sweep": "driver"}
__getattr__, __dir__ = _loaded(__name__, _WHERE)
