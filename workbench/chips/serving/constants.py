"""Constants of serving: fitted to measured operating points, and taken from those nearest to what is asked."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from workbench import catalogue, formats
from workbench.calibration import evidence
from workbench.calibration.evidence import Evidence, Index, ranks
from workbench.calibration.pool import Level, Pool
from workbench.chips.serving.work import CONSTANTS
from workbench.errors import InputError, UnknownName
from workbench.llm import LLM

ERRORS, INDEX = "calibration/serving_errors", "calibration/serving_evidence"
FRAMEWORKS = ("TensorRT-LLM", "vLLM", "SGLang", "ATOM")
#: By how much measured rows are away that differ in it; `mode` is how requests come: closed, open, offline or disaggregated.
WEIGHTS = {"framework": 6.0, "model": 3.0, "mode": 3.0, "chip": 2.0, "kind": 1.5, "precision": 1.5, "version": 1.0}
WORST = ("mode", "model", "framework", "chip", "precision")  #: of these, what errors grow with when it differs, the worst first
_index = partial(Index, system=(*WEIGHTS, "measured_by"))


@dataclass(frozen=True)
class Origin:
    """What an operating point was measured on: the names that its constants are looked up by. Unknown ones are empty."""

    chip: str = ""
    precision: str = ""
    framework: str = ""
    version: str = ""
    measured_by: str = ""
    model: str = ""
    kind: str = ""  #: of the model: dense or moe

    @property
    def run(self) -> str:
        """An engine as one house runs it."""
        return f"{self.framework}|{self.measured_by}"


POOL = Pool(
    "calibration/serving", CONSTANTS,
    {
        "all": Level(), "chip": Level(("chip", "precision"), 0.5, "chip"),
        "lab": Level(("measured_by",), 0.5),  # of all that it runs: of a framework that was not measured this is what is known
        "common": Level((), 0.5, "scale"), "house": Level(("measured_by",), 0.7, "scale"),
        "subject": Level(("measured_by", "model"), 0.7, "scale"), "framework": Level(("framework",), 0.7),
        "recipe": Level(("framework", "model"), 2.0, "recipe"), "campaign": Level(("run",), 0.35), "kind": Level(("run", "kind"), 0.35),
        "system": Level(("run", "chip"), 1.0, "scale"), "version": Level(("run", "kind", "version"), 0.7, "scale"),
        "model": Level(("model",), 0.7, "scale"), "deployment": Level(("run", "model"), 0.7, "scale"),
        "machine": Level(("run", "model", "chip"), 0.5, "scale"), "cell": Level(("run", "model", "chip", "precision"), 0.5, "scale"),
    },
)  # fmt: skip


@dataclass(frozen=True)
class Basis:
    """What an answer rests on: where its constants were measured, which rows are near, and what was said of the software."""

    origin: Origin
    evidence: Evidence
    said: str  #: version, framework or nothing
    close: Any = False  #: whether a point has rows of its system close by

    @property
    def constants(self) -> dict[str, Any]:
        """Of the measured system, by name."""
        return POOL.of(self.origin)

    def end(self, quantity: str, *of: str) -> Any:
        """End of an interval over its middle, by left-out rows that differ as much, or are `drafted`, `beyond`; of a percentile or mean."""

        def at(close: bool) -> float:
            names, own = (quantity, quantity.replace("_p99", "")), (True, False)[not close :]
            known = [case for name in names for one in own for case in cases(name, self, one)]
            return math.exp(evidence.half_width(ERRORS, known, [f"{quantity}|{kind}" for kind in of]))

        return np.where(self.close, at(True), at(False)) if np.ndim(self.close) else at(bool(self.close))


def cases(quantity: str, near: Basis, close: Any = False) -> list[str]:
    """Cases of the table of errors that a basis belongs to, the narrowest first: a chip where no more differs, `close` rows."""
    most = next((name for name in WORST if name in near.evidence.differs), "nothing")
    said, by, chip = f"{quantity}|{near.said} said", near.origin.measured_by, near.origin.chip
    far = f"{said}|{most} differs"
    of_chip = [f"{far}|{by}|{chip}", f"{far}|{chip}"] if most in ("nothing", "chip") else []
    return [f"{case}{'|close' if close else ''}" for case in (*of_chip, f"{far}|{by}", far, said, quantity)]


def basis(llm: LLM | str, chip: str, precision: str, framework: str = "", version: str = "", mode: str = "closed") -> Basis:
    """The measured system nearest to what is said, of equally near and well measured ones the newest; the rest is as there.

    The nearest has the least sum of `WEIGHTS` of what differs; of a version that differs three tenths of its weight, and as much as
    versions lie between. Raises `UnknownName` for a framework that was not measured, `InputError` for a version without its framework.
    """
    if framework and framework not in FRAMEWORKS:
        raise UnknownName("serving framework", framework, FRAMEWORKS)
    if version and not framework:
        raise InputError(f"version = {version!r}: give its framework too, one of {', '.join(FRAMEWORKS)}")
    index = catalogue.made_of(INDEX, _index)
    model, kind = (measured_as(llm), "moe" if llm.experts else "dense") if isinstance(llm, LLM) else (llm, "")
    said = {"model": model, "kind": kind, "chip": chip, "precision": formats.named(precision, "weights").weights, "mode": mode}
    grades = {"version": _versions_between, "mode": _modes_between}
    found = index.nearest(said | {"framework": framework, "version": version}, WEIGHTS, grades)
    near = {name: index.cell(found, name) for name in ("framework", "version", "measured_by")}
    named = framework or near["framework"]
    origin = Origin(chip, said["precision"], named, near["version"] * (named == near["framework"]), near["measured_by"], model, kind)
    return Basis(origin, found, "version" if version else "framework" if framework else "nothing")


def _versions_between(version: str, cells: NDArray[Any]) -> NDArray[np.float64]:
    """From 0 of the version itself to 1 of the one that the most others lie between."""
    place = np.array(ranks([version, *cells]), dtype=float)
    return np.where(cells == version, 0.0, 0.3 + 0.7 * np.abs(place[1:] - place[0]) / place.size)


def _modes_between(mode: str, cells: NDArray[Any]) -> NDArray[np.float64]:
    """1 of another mode; hardly anything from closed loops to open ones, where an engine does the same and the queue before it differs.

    Of open loops runs at their limit alone were measured (MLPerf Server), which tell little of a user's time in a closed one.
    """
    return np.where(cells == mode, 0.0, np.where((mode == "open") & (cells == "closed"), 0.03, 1.0))


def measured_as(llm: LLM) -> str:
    """Name that a model was measured under: its own, or that of one with the same dimensions (Llama 3.3 70B: Llama 3.1 70B)."""
    names = catalogue.made_of(INDEX, _measured_models)
    return names.get((llm.name,)) or names.get(_dimensions(llm), llm.name)


def _measured_models(index: pl.DataFrame) -> dict[tuple[Any, ...], str]:
    """Models of the index by name, and by dimensions the first of the catalogue that has them."""
    names = dict.fromkeys(index["model"].to_list())
    known = [name for name in reversed(names) if name in catalogue.names("llms")]
    return {_dimensions(catalogue.llm(name)): name for name in known} | {(name,): name for name in names}


_dimensions = attrgetter("layers", "hidden", "heads", "kv_heads", "head_dim", "ffn", "experts", "moe_ffn", "vocab", "kv_lora_rank")
