"""The reference workbench for AI-infrastructure decisions: from a chip's data sheet to the return on a fleet.

Subpackages load when first used, so that ``import workbench`` costs nothing.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

__version__ = "0.1.0"

__all__ = [
    "__version__",
    "batch",
    "calibration",
    "catalogue",
    "charts",
    "check_parameters",
    "chips",
    "demand",
    "energy",
    "errors",
    "fabric",
    "fleet",
    "formats",
    "kernel",
    "notebook",
    "record",
    "scaling",
    "uncertainty",
    "units",
    "validation",
]


def _loaded(package: str, name: str, places: Mapping[str, str]) -> Any:
    """What `name` of a package stands for, imported now from the module that `places` says; the module itself where both are one."""
    if name not in places:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    module = importlib.import_module(f"{package}.{places[name]}")
    return module if name == places[name] else getattr(module, name)


def __getattr__(name: str) -> Any:
    places = {name: name for name in __all__} | dict.fromkeys(("check_parameters", "record"), "notebook.runtime")
    return _loaded(__name__, name, places)


def __dir__() -> list[str]:
    return list(__all__)
