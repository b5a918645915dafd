"""Constants of serving: fitted to measured operating points, pooled from all systems down to a model on a chip in one campaign."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from workbench import catalogue
from workbench.calibration.pool import Fit, Pool
from workbench.chips.serving.work import CONSTANTS, NAMES
from workbench.errors import UnknownName
from workbench.llm import LLM

TABLE, ERRORS = "calibration/serving", "calibration/serving_errors"
FRAMEWORKS = ("TensorRT-LLM", "vLLM", "SGLang")


@dataclass(frozen=True)
class Origin:
    """What an operating point was measured on: the names that its constants are looked up by. Unknown ones are empty."""

    chip: str = ""
    precision: str = ""
    framework: str = ""
    version: str = ""
    campaign: str = ""  #: who measured
    model: str = ""
    mixture: bool = False

    def nodes(self) -> dict[str, str]:
        """Key of the point's node at each level."""
        run, kind = f"{self.framework}|{self.campaign}", "moe" if self.mixture else "dense"
        return {
            "all": "all",
            "chip": f"{self.chip}|{self.precision}",
            "framework": self.framework,
            "campaign": run,
            "kind": f"{run}|{kind}",
            "system": f"{run}|{self.chip}",
            "version": f"{run}|{kind}|{self.version}",
            "model": self.model,
            "deployment": f"{run}|{self.model}",
            "machine": f"{run}|{self.model}|{self.chip}",
            "cell": f"{run}|{self.model}|{self.chip}|{self.precision}",
        }


_SPREAD = np.array([c.spread for c in CONSTANTS])
_CHIP = np.array([c.level == "chip" for c in CONSTANTS], dtype=float)
_SCALE = np.array([c.level == "scale" for c in CONSTANTS], dtype=float)
POOL = Pool(
    NAMES,
    np.log([c.prior for c in CONSTANTS]),
    {
        "all": _SPREAD * (1 - _SCALE),
        "chip": 0.5 * _SPREAD * _CHIP,
        "framework": 0.5 * _SPREAD * (1 - _SCALE),
        "campaign": 0.5 * _SPREAD * (1 - _SCALE),
        "kind": 0.5 * _SPREAD * (1 - _SCALE),
        "system": _SPREAD * _SCALE,
        "version": 0.7 * _SPREAD * _SCALE,
        "model": 0.7 * _SPREAD * _SCALE,
        "deployment": 0.7 * _SPREAD * _SCALE,
        "machine": 0.5 * _SPREAD * _SCALE,
        "cell": 0.5 * _SPREAD * _SCALE,
    },
)


def shipped() -> Fit:
    """The constants that ship, fitted by ``workbench calibrate serving``."""
    return POOL.shipped(TABLE)


def measured_as(llm: LLM) -> str:
    """Name that a model was measured under: its own, or that of one with the same dimensions (Llama 3.3 70B: Llama 3.1 70B)."""
    names = [key for level, key in shipped().offsets if level == "model"]
    if llm.name in names:
        return llm.name
    known = catalogue.names("llms")
    return next((name for name in names if name in known and _dimensions(catalogue.llm(name)) == _dimensions(llm)), llm.name)


def _dimensions(llm: LLM) -> tuple[Any, ...]:
    return (llm.layers, llm.hidden, llm.heads, llm.kv_heads, llm.head_dim, llm.ffn, llm.experts, llm.moe_ffn, llm.vocab, llm.kv_lora_rank)


def constants(origin: Origin) -> dict[str, Any]:
    """Constants for a chip, precision, framework and model; raises `UnknownName` for a framework that was not measured."""
    if origin.framework and origin.framework not in FRAMEWORKS:
        raise UnknownName("serving framework", origin.framework, FRAMEWORKS)
    return POOL.named(shipped().logs([origin])[0])


def half_width(quantity: str, origin: Origin, fitted: Fit | None = None) -> float:
    """Half width of the 80 % interval of the logarithm of a quantity, by how much of the origin was measured."""
    known = (fitted or shipped()).offsets
    table = catalogue.table(ERRORS)
    widths: dict[str, float] = dict(zip(table["case"].to_list(), table["half_width"].to_list(), strict=True))
    width = widths.get(f"{quantity}|{origin.campaign}", widths[f"{quantity}|configuration not measured"])
    for missing, level, key in (("framework", "framework", origin.framework), ("model", "model", origin.model)):
        if (level, key) not in known:
            width = max(width, widths[f"{quantity}|{missing} not measured"])
    if not any(level == "chip" and key.split("|")[0] == origin.chip for level, key in known):
        width = max(width, widths[f"{quantity}|chip not measured"])
    return float(width)
