"""Sweeps of notebooks: parameter sets, warm kernels, workers of one machine or a cluster, and tables of what was recorded.

Names load when first used: whoever starts a kernel needs none of them.
"""

from __future__ import annotations

import importlib
from typing import Any

_PLACES = {
    "Plan": "expand",
    "Results": "results",
    "Sweep": "driver",
    "gather": "results",
    "map_chunks": "executors",
    "plan": "expand",
    "read_results": "results",
    "sweep": "driver",
}

__all__ = sorted(_PLACES)


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(importlib.import_module(f"workbench.batch.{_PLACES[name]}"), name)
    raise AttributeError(f"module 'workbench.batch' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
