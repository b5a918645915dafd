"""The reference workbench for AI-infrastructure decisions: from a chip's data sheet to the return on a fleet.

Subpackages load when first used, so that ``import workbench`` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_SUBMODULES = (
    "batch",
    "catalogue",
    "charts",
    "chips",
    "energy",
    "errors",
    "fabric",
    "fleet",
    "scaling",
    "uncertainty",
    "units",
    "validation",
)
_NOTEBOOK = ("check_parameters", "record")

__all__ = ["__version__", "batch", "catalogue", "charts", "check_parameters", "chips", "energy", "errors", "fabric", "fleet", "record"]
__all__ += ["scaling", "uncertainty", "units", "validation"]


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return importlib.import_module(f"workbench.{name}")
    if name in _NOTEBOOK:
        return getattr(importlib.import_module("workbench.notebook"), name)
    raise AttributeError(f"module 'workbench' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
