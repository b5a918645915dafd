"""One notebook: its parameters, what it records, a run, its page."""

from typing import Any

from workbench import _loaded

_PLACES = {"execute": "run"}

__all__ = ["execute"]


def __getattr__(name: str) -> Any:
    return _loaded(__name__, name, _PLACES)


def __dir__() -> list[str]:
    return __all__
