"""Sweeps of notebooks: parameter sets, workers of this machine or a cluster, tables of what was recorded, and the page that tells it."""

from typing import Any

from workbench import _loaded

_PLACES = {"gather": "results", "plan": "expand", "read_results": "results", "report": "tell.report", "sweep": "driver"}

__all__ = ["gather", "plan", "read_results", "report", "sweep"]


def __getattr__(name: str) -> Any:
    return _loaded(__name__, name, _PLACES)


def __dir__() -> list[str]:
    return __all__
