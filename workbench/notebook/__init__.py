"""One notebook: its parameters, what it records, a run, its page."""

from workbench import _loaded

__all__ = ["execute"]

__getattr__, __dir__ = _loaded(__name__, {"execute": "run"})
