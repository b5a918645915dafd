"""Constants of serving: fitted to measured operating points, pooled from all systems down to a model on a chip in one campaign."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from workbench import catalogue
from workbench.calibration import evidence
from workbench.calibration.pool import Fit, Level, Pool
from workbench.chips.serving.work import CONSTANTS
from workbench.errors import UnknownName
from workbench.llm import LLM

ERRORS = "calibration/serving_errors"
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

    @property
    def run(self) -> str:
        """An engine in one campaign."""
        return f"{self.framework}|{self.campaign}"

    @property
    def kind(self) -> str:
        """Of the model."""
        return "moe" if self.mixture else "dense"


POOL = Pool(
    "calibration/serving",
    CONSTANTS,
    {
        "all": Level(),
        "chip": Level(("chip", "precision"), 0.5, "chip"),
        "framework": Level(("framework",), 0.5),
        "campaign": Level(("run",), 0.5),
        "kind": Level(("run", "kind"), 0.5),
        "system": Level(("run", "chip"), 1.0, "scale"),
        "version": Level(("run", "kind", "version"), 0.7, "scale"),
        "model": Level(("model",), 0.7, "scale"),
        "deployment": Level(("run", "model"), 0.7, "scale"),
        "machine": Level(("run", "model", "chip"), 0.5, "scale"),
        "cell": Level(("run", "model", "chip", "precision"), 0.5, "scale"),
    },
)
shipped = POOL.shipped


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
    return POOL.of(origin)


def half_width(quantity: str, origin: Origin, fitted: Fit | None = None) -> float:
    """Half width of the 80 % interval of the logarithm of a quantity, by how much of the origin was measured."""
    fit = fitted or shipped()
    named = (("framework", origin.framework), ("model", origin.model), ("chip", origin.chip))
    missing = [f"{quantity}|{level} not measured" for level, name in named if not evidence.measured(fit, level, name)]
    return evidence.half_width(ERRORS, [f"{quantity}|{origin.campaign}", f"{quantity}|configuration not measured"], missing)
