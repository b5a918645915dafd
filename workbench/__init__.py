"""The reference workbench for AI-infrastructure decisions: from a chip's data sheet to the return on a fleet.

Subpackages load when first used, so that ``import workbench`` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

__all__ = [
    "__version__",
    "batch",
    "catalogue",
    "charts",
    "check_parameters",
    "chips",
    "demand",
    "energy",
    "errors",
    "fabric",
    "fleet",
    "record",
    "scaling",
    "uncertainty",
    "units",
    "validation",
]
_NOTEBOOK = ("check_parameters", "record")


def __getattr__(name: str) -> Any:
    if name in _NOTEBOOK:
        return getattr(importlib.import_module("workbench.notebook.runtime"), name)
    if name in __all__:
        return importlib.import_module(f"workbench.{name}")
    raise AttributeError(f"module 'workbench' has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
