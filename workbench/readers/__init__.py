"""Files that people of the trade have, as rows of the standard CSV: what kind a file is, its rows, and what was left out and why."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from workbench.errors import DataError
from workbench.readers import collectives, machines, series, serving
from workbench.readers.series import hourly, requests
from workbench.readers.source import Found, Refused, Source, clean

__all__ = ["KINDS", "Read", "Source", "hourly", "read", "requests", "unknown"]


@dataclass(frozen=True)
class Kind:
    """A kind of file, and what of the measurements of `validate` its rows are; empty where they are none."""

    name: str
    measured: str
    knows: Callable[[Source], bool]
    read: Callable[[Source], Found]


KINDS = (  #: in the order in which a file is tried
    Kind("log of nccl-tests or rccl-tests", "collectives", collectives.knows, collectives.read),
    Kind("arguments or log of Megatron-LM", "training", machines.is_megatron, machines.megatron),
    Kind("system of Calculon, SimuMax or aiconfigurator", "", lambda s: s.has("system", "bf16_tflops", "hbm_gb_per_s"), machines.system),
    Kind("log of power", "", lambda s: s.has("power", "watts") or bool(series.DMON.search(s.text[:2000])), series.power),
    Kind("trace of requests", "", lambda s: s.has("trace", "time", "input_tokens", "output_tokens"), series.trace),
    Kind("hourly file of a grid", "", lambda s: s.has("hours", "time", "|".join((*series.FIGURES, "value"))), series.hours),
    Kind("runs for a scaling law", "scaling", lambda s: s.has("scaling", "params", "loss", "tokens|compute"), series.runs),
    Kind("result of a serving benchmark", "serving", serving.knows, serving.read),
)


@dataclass(frozen=True)
class Read:
    """What files were taken for, their rows as one frame, and what was left out of each."""

    kind: str
    frame: pl.DataFrame
    said: list[str]


def read(path: str | Path, told: Mapping[str, Any] | None = None, measured: str = "") -> Read | None:
    """A file of a known kind, or all of a folder of the kind of its first; None for another file, as a CSV of measurements is.

    With `measured`, a kind of `validate`, only what is read as such is known. Raises `DataError` for a file that is damaged, or of a known
    kind without a row that can be read: with path, line, what was found, and the option that would help.
    """
    root, frames = Path(path), []
    files = sorted(p for p in root.rglob("*") if p.is_file() and not p.name.startswith(".")) if root.is_dir() else [root]
    sources = {file: Source(file, told or {}) for file in files}
    known = {file: kind for file, source in sources.items() if (kind := _kind(source, measured))}
    if not known:
        if root.is_dir():
            raise DataError(root, f"no file of a known kind among {len(files)}; known: {', '.join(kind.name for kind in KINDS)}")
        return None
    first = next(iter(known.values()))
    said = [f"{file}: left out: of no known kind" for file in files if file not in known]
    for file, kind in known.items():
        if kind is not first:
            said.append(f"{file}: left out: {kind.name}; files of one kind are read at a time")
            continue
        try:
            found = kind.read(sources[file])
        except Refused as why:
            raise DataError(file, str(why)) from None
        said += [f"{file}: {line}" for line in found.said()]
        rows = [{name: clean(cell) if isinstance(cell, str) else cell for name, cell in row.items()} for row in found.rows]
        frames += [pl.DataFrame(rows, infer_schema_length=None)] if rows else []
    if not frames:
        raise DataError(root, f"{first.name} without a row that can be read: {'; '.join(said[:3]).replace(f'{root}: ', '')}")
    return Read(first.name, pl.concat(frames, how="diagonal_relaxed"), said)


def _kind(source: Source, measured: str = "") -> Kind | None:
    able = [kind for kind in KINDS if not measured or (kind.measured and measured.startswith(kind.measured))]
    return next((kind for kind in able if kind.knows(source)), None)


def unknown(path: Path) -> DataError:
    """The refusal of a file of no known kind, or of one of another: what it is, or begins with, and what is read."""
    source = Source(path)
    if kind := _kind(source):
        more = f", workbench validate {kind.measured} scores it" if kind.measured else ""
        return DataError(path, f"a {kind.name}: workbench read shows it{more}")
    first = ", ".join(source.columns[:12]) if source.objects else source.text.strip().partition("\n")[0][:80]
    model = "; a model's configuration: workbench show llm FILE" if "model_type" in source.columns else ""
    return DataError(path, f"of no known kind: it begins with {first!r}{model}; read are: {', '.join(kind.name for kind in KINDS)}")
