"""The reference workbench for AI-infrastructure decisions: from a chip's data sheet to the return on a fleet.

Subpackages load when first used, so that ``import workbench`` costs nothing.
"""

import importlib
from collections.abc import Callable, Mapping
from typing import Any

__version__ = "0.1.0"

__all__ = [
    "__version__", "batch", "calibration", "catalogue", "charts", "check_parameters", "chips", "demand", "energy", "errors", "fabric",
    "fleet", "formats", "kernel", "notebook", "panel", "record", "scaling", "uncertainty", "units", "validation",
]  # fmt: skip


def _loaded(package: str, places: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` of a package whose names are imported when asked for, from the modules that `places` says."""

    def get(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = importlib.import_module(f"{package}.{places[name]}")
        return module if name == places[name] else getattr(module, name)

    return get, lambda: list(places)


_PLACES = {n: n for n in __all__} | dict.fromkeys(("check_parameters", "record"), "notebook.runtime") | {"panel": "notebook.panel"}
__getattr__, __dir__ = _loaded(__name__, _PLACES)
