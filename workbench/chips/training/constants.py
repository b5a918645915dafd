"""Constants of the training step: fitted to measured steps, pooled from all systems down to a model on a chip; and which of them count."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from workbench import catalogue
from workbench.calibration import evidence
from workbench.calibration.evidence import Evidence, Index
from workbench.calibration.pool import Level, Pool
from workbench.chips.training.time import CONSTANTS
from workbench.llm import LLM
from workbench.units import GIGA

ERRORS, INDEX = "calibration/training_errors", "calibration/training_evidence"
FRAMEWORKS = (  #: software for training; what was not measured works from the mean of all that was
    *("SynapseAI", "Megatron-DeepSpeed", "Megatron-Bridge", "NeMo Automodel", "NeMo", "Megatron-LM", "Nanotron", "llm-foundry", "MaxText"),
    *("PaxML", "InternEvo", "torchtitan", "torchtune", "torchao", "prime-rl", "Primus", "LLMBoost", "fms-fsdp", "NeuronX Distributed"),
    *("Colossal-AI", "DeepSpeed", "PyTorch"),
)
#: What counts how much where the nearest measured runs are looked for: software first, then the chip, then the model.
WEIGHTS = {"framework": 16.0, "version": 8.0, "chip": 4.0, "kind": 2.0, "size": 1.0, "precision": 0.5, "model": 0.2}
NOT_MEASURED = ("framework", "version", "chip", "size")  #: what widens an interval where no run of the framework agrees in it
#: How much may be said of the software, and what is left out then.
TOLD: dict[str, dict[str, str]] = {"version": {}, "framework": {"version": ""}, "nothing": {"version": "", "framework": ""}}
KIN = 0.25  #: part of a chip's weight in which two of one vendor and peak differ, as H800 and H100
ALIKE = 1.65  #: models of one kind whose parameters differ by no larger factor are alike


@dataclass(frozen=True)
class Origin:
    """What a step runs on, in names that its constants are looked up by. Unknown ones are empty."""

    chip: str = ""
    precision: str = ""
    framework: str = ""
    version: str = ""
    model: str = ""
    kind: str = "dense"  #: or moe
    params: float = 1.0  #: that a token uses

    @classmethod
    def of(cls, llm: LLM, chip: str, precision: str, framework: str = "", version: str = "") -> Origin:
        """Of a model on a chip."""
        return cls(chip, precision, framework, version, llm.name, "moe" if llm.experts else "dense", float(llm.active_params))

    @property
    def size(self) -> str:
        """Parameters that a token uses, as text."""
        return f"{self.params / GIGA:.3g}B"

    @property
    def grain(self) -> str:
        """Kind of the model, of a mixture with its number format: a release's kernels for experts differ in it."""
        return f"moe {self.precision}" if self.kind == "moe" else "dense"

    @property
    def release(self) -> str:
        """Major and minor version."""
        return ".".join(self.version.split(".")[:2])

    @property
    def date(self) -> str:
        """Year and month of a version that says them; else empty, which counts as the oldest."""
        found = re.match(r"(20)?(2\d)(?:[.-](0\d|1[0-2])|$|-)", self.version)
        return f"20{found[2]}-{found[3] or '01'}" if found else ""


POOL = Pool(
    "calibration/training", CONSTANTS,
    {
        "all": Level(), "device": Level(("chip",), 0.5, "device"), "chip": Level(("chip", "precision"), 0.5, "chip"),
        "framework": Level(("framework",)), "stack": Level(("framework", "chip"), 0.35, "device"),
        "system": Level(("framework", "chip", "precision"), 0.35, "chip"),
        "release": Level(("framework", "release", "kind"), 1.5, "scale"), "grain": Level(("framework", "release", "grain"), 0.5, "scale"),
        "version": Level(("framework", "version"), 0.5, "scale"), "recipe": Level(("framework", "model"), 1.0, "scale"),
        "machine": Level(("framework", "model", "chip"), 0.5, "scale"),
    },
)  # fmt: skip


def frameworks() -> list[str]:
    """Frameworks that may be named: those of `FRAMEWORKS`, and others that were measured."""
    return sorted({*FRAMEWORKS, *catalogue.table(INDEX)["framework"].drop_nulls()})


@dataclass(frozen=True)
class Resolved:
    """What constants are looked up by, and what was measured of it."""

    origin: Origin
    evidence: Evidence
    missing: tuple[str, ...]  #: of `NOT_MEASURED`
    told: str  #: of the software: version, framework or nothing

    @property
    def half_width(self) -> float:
        """Half width of the 80 % interval of the logarithm of time, of left-out runs of the framework by how much was said of it.

        Less said is never a narrower interval; what was not measured may widen it.
        """
        missing = [f"{name} not measured" for name in self.missing]
        near = ([f"{self.origin.framework}|{told}", f"few rows|{told}"] for told in [*TOLD][: [*TOLD].index(self.told) + 1])
        return max(evidence.half_width(ERRORS, cases, missing) for cases in near)


def resolve(said: Origin) -> Resolved:
    """What constants are looked up by, and the measured runs near by.

    Nearest are the runs whose weighted difference from what was said is least (`WEIGHTS`), of equally near ones those of the newest
    version. A framework or version that was not said is theirs. A version that was not measured counts as one of its major number, a chip
    as one of its vendor and peak, and a model as the nearest in size that the framework was measured on, of its kind and `ALIKE`; without
    one, they work from the mean.
    """
    return _resolved(catalogue.made_of(INDEX, Index), said)


@lru_cache(maxsize=8192)
def _resolved(index: Index, said: Origin) -> Resolved:
    told = ("version" if said.version else "framework") if said.framework else "nothing"
    cells = {name: index.frame[name].fill_null("").to_numpy() for name in (*NOT_MEASURED, "kind", "model")}
    grades = {"size": _apart, "version": _release_apart, "chip": _chip_apart}
    asked = {name: str(getattr(said, name)) for name in WEIGHTS}
    found, same = (index.nearest(one, WEIGHTS, grades) for one in (asked, asked | {"precision": ""}))
    framework, version = (index.cell(same, name) for name in ("framework", "version"))  # so that formats are compared on one
    if said.framework and said.framework != framework:
        framework, version = said.framework, said.version
    elif said.version and (said.version in cells["version"][cells["framework"] == framework] or _major(version) != _major(said.version)):
        version = said.version
    own = cells["framework"] == framework
    alike = np.where(own & (cells["kind"] == said.kind), _times(cells["size"], said.size), np.inf)
    model = said.model
    if model not in cells["model"][own] and own.any() and alike.min() < ALIKE:
        model = str(cells["model"][alike.argmin()])
    has = {"framework": own, "version": own & (cells["version"] == version), "chip": own & (cells["chip"] == said.chip)}
    has["size"] = alike < ALIKE
    missing = tuple(name for name in NOT_MEASURED if not has[name].any())
    apart = _chip_apart(said.chip, cells["chip"])
    chip = str(cells["chip"][apart.argmin()]) if apart.size and apart.min() <= KIN else said.chip
    return Resolved(replace(said, framework=framework, version=version, model=model, chip=chip), found, missing, told)


def _times(cells: Any, size: str) -> Any:
    """By what factor sizes differ."""
    return np.exp(np.abs(np.log([float(cell[:-1]) / float(size[:-1]) for cell in cells])))


def _apart(said: str, cells: Any) -> Any:
    """Difference of sizes: none of those that are alike, 1 from a factor of 55."""
    times = _times(cells, said)
    return np.where(times <= ALIKE, 0.0, np.minimum(np.log(times) / 4, 1.0))


def _chip_apart(said: str, cells: Any) -> Any:
    """Chips of one vendor differ by `KIN` where their 16-bit peaks are alike, by three times that where not; those of two by 1."""
    known = {name: of for name, *of in catalogue.table("chips").select("chip", "vendor", "bf16_tflops").iter_rows()}
    vendor, peak = known.get(said, (said, None))
    times = [(made, (own or np.inf) / (peak or 1.0)) for made, own in (known.get(cell, (cell, None)) for cell in cells)]
    apart = [1.0 if made != vendor else KIN if 1 / 1.15 < ratio < 1.15 else 3 * KIN for made, ratio in times]
    return np.where(cells == said, 0.0, apart)


def _release_apart(said: str, cells: Any) -> Any:
    """Versions of one major number are half as far apart as others."""
    return np.where(cells == said, 0.0, np.where([_major(cell) == _major(said) for cell in cells], 0.5, 1.0))


def _major(version: str) -> str:
    return re.split(r"[.-]", version)[0]
