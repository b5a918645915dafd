"""Rows of measured training runs as models, plans and origins: what both `training` and `training_memory` read."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from workbench import catalogue, formats
from workbench.arrays import join, take
from workbench.calibration import crossval
from workbench.calibration.forms import Form
from workbench.catalogue import Chip
from workbench.checks import row_numbers
from workbench.chips.machine import Machine
from workbench.chips.training.constants import Origin
from workbench.chips.training.plan import Layout, TrainingPlan
from workbench.chips.training.work import Work
from workbench.errors import InputError, UnknownName
from workbench.llm import LLM, Transformer

TEXT = ("source_key", "model", "arch", "precision", "chip", "dp_shard", "recompute", "seq_par", "stack", "notes", "source")
NUMBERS = (
    *("layers", "hidden", "heads", "kv_heads", "head_dim", "ffn", "ffn_mats", "vocab", "seq", "experts", "topk", "n_chips"),
    *("tp", "pp", "vp", "cp", "ep", "dp", "mbs", "gbs"),
)
#: What two runs of one configuration share.
SAME = (
    *("source_key", "model", "layers", "chip", "precision", "n_chips", "tp", "pp", "vp", "cp", "ep", "mbs", "gbs", "seq", "recompute"),
    "dp_shard",
)
#: Stacks whose attention writes its scores to memory.
UNFUSED = re.compile(r"2021|2022|DeepSpeed \(2023\)")
#: Reduced models up to so many layers keep none of the dense layers that the full one starts with.
REDUCED = 10


@dataclass(frozen=True)
class Rows:
    """Rows that can be predicted, by position in the file."""

    position: np.ndarray[Any, Any]
    llms: list[LLM]
    chips: list[Chip]
    origins: list[Origin]
    plan: TrainingPlan
    layout: Layout
    model: Transformer
    n_chips: np.ndarray[Any, Any]
    batch: np.ndarray[Any, Any]
    sequence: np.ndarray[Any, Any]

    def of(self, at: Any) -> tuple[Transformer, Layout]:
        """Model and layout of some rows."""
        return take(self.model, at), take(self.layout, at)


def read(rows: pl.DataFrame) -> tuple[Rows, dict[int, str]]:
    """The rows that state enough, and for each other why it does not."""
    good: list[dict[str, Any]] = []
    reasons: dict[int, str] = {}
    for position, row in enumerate(rows.iter_rows(named=True)):
        try:
            row_numbers(row, NUMBERS, [name for name in NUMBERS if name != "head_dim"])  # the width of pruned heads may be a fraction
            found = row | {"position": position, "_llm": _llm(row), "_chip": _chip(row["chip"])} | _plan(row)
            found["_chip"].peak(_precision(row["precision"]))
            good.append(found)
        except (UnknownName, InputError) as error:
            reasons[position] = str(error)
    return _rows(good), reasons


def works(rows: Rows) -> Work:
    """Work of every row: those of a chip and precision at once."""
    parts, places = [], []
    systems = [(chip, origin.precision) for chip, origin in zip(rows.chips, rows.origins, strict=True)]
    for chip, precision in dict.fromkeys(systems):
        at = np.array([i for i, system in enumerate(systems) if system == (chip, precision)])
        parts.append(Work.of(*rows.of(at), Machine.of(chip, formats.FORMATS[precision]), rows.n_chips[at], rows.sequence[at]))
        places.append(at)
    return take(join(parts, [at.size for at in places]), np.argsort(np.concatenate(places)))


def groups(rows: pl.DataFrame, found: Rows, column: str, folds: int) -> np.ndarray[Any, Any]:
    """What is left out together: one value of a column, or the configurations of one of `folds` folds."""
    picked = [rows.row(int(at), named=True) for at in found.position]
    if column == "configuration":
        return crossval.folds(map(configuration, picked), folds)
    return np.array([str(row[column]) for row in picked])


def configuration(row: dict[str, Any]) -> str:
    """What two rows share that differ only in the release they ran: they are never on two sides of a fold."""
    return "|".join(str(row.get(name)) for name in SAME)


def _rows(good: list[dict[str, Any]]) -> Rows:
    def column(name: str, kind: Any = float) -> Any:
        return np.array([row[name] for row in good], dtype=kind)

    n, batch, sequence = column("_n"), column("_batch"), column("seq")
    plan = TrainingPlan(
        **{name: column(f"_{name}") for name in ("tp", "pp", "vp", "cp", "ep", "micro_batch", "zero", "shard", "trained")},
        **{name: column(f"_{name}", bool) for name in ("sequence_parallel", "flash", "scattered")},
        recompute=column("_recompute", str) if good else "none",
    )
    llms = [row["_llm"] for row in good]
    return Rows(
        position=column("position", int),
        llms=llms,
        chips=[row["_chip"] for row in good],
        origins=[_origin(row) for row in good],
        plan=plan,
        layout=Layout.of(plan, n, batch),
        model=Transformer.stack(llms),
        n_chips=n,
        batch=batch,
        sequence=sequence,
    )


def _plan(row: dict[str, Any]) -> dict[str, Any]:
    """The layout as the row states it; what no row of its source states is taken as its stack does by default."""
    for name in ("gbs", "seq", "n_chips"):
        if not row[name]:
            raise InputError(f"{name} is not stated")
    n, notes, sharding = row["n_chips"], row["notes"] or "", row["dp_shard"] or ""
    if "SIZE CHECK FAILED" in notes:
        raise InputError("its dimensions contradict the size it states")
    degree = {name: row[name] or 1.0 for name in ("tp", "pp", "vp", "cp", "ep")}
    if stated := re.search(r"VP stated NA in the table \((\d+) in other", notes):
        degree["vp"] = float(stated[1])
    if not row["tp"] and row["gbs"] < n and n % row["gbs"] == 0:
        degree["cp"] = n / row["gbs"]  # fewer sequences than chips can only be split along the sequence
    dp = max(n / (degree["tp"] * degree["pp"] * degree["cp"]), 1.0)
    fully = "zero3" in sharding or "fsdp" in sharding.lower()
    shard = re.search(r"over (\d+)", sharding)
    recompute = row["recompute"] or ""
    assumed = "assumed" in str(row["seq_par"] or "")
    return {f"_{name}": value for name, value in degree.items()} | {
        "_n": n,
        "_batch": row["gbs"],
        "_micro_batch": max(1.0, min(row["mbs"] or (1.0 if row["tp"] else row["gbs"] / n), row["gbs"] / dp)) // 1,
        "_zero": 3 if fully else 2 if "zero2" in sharding else 1 if "zero1" in sharding else 0,
        "_shard": float(shard[1]) if shard else 0.0,
        "_recompute": "full" if recompute == "full" else "selective" if recompute.startswith("selective") else "none",
        "_sequence_parallel": assumed or str(row["seq_par"]).lower() == "true",
        "_flash": not UNFUSED.search(row["stack"] or ""),
        "_scattered": "Nanotron" in (row["stack"] or "") and degree["pp"] > 1,
        "_trained": 0.01 if "LoRA" in notes else 1.0,
    }


def _origin(row: dict[str, Any]) -> Origin:
    stack, notes = row["stack"] or "", row["notes"] or ""
    release = re.search(r"\d+\.\d+", stack)
    section = re.search(r'section "([^"]*)"', notes)
    apart = section[1] if section else notes if row["source_key"] == "torchtitan" else ""
    capped = re.search(r"(\d+W) cap", row["chip"] or "")
    return Origin(
        chip=row["_chip"].name + (f" {capped[1]}" if capped else ""),
        precision=_precision(row["precision"]),
        stack=row["source_key"] or "",
        release=release[0] if release else "",
        version=f"{stack}|{apart}",
        model=row["model"] or "",
        mixture=bool(row["_llm"].experts),
    )


def _chip(text: str | None) -> Chip:
    plain = re.sub(r"\s*\(.*\)", "", text or "")
    return catalogue.chip({"H100 SXM": "H100"}.get(plain, plain))


def _precision(text: str | None) -> str:
    plain = (text or "").lower().replace("fp8-mx", "mxfp8")
    return next((f.name for f in formats.FORMATS.values() if f.training and f.bits < 16 and plain.startswith(f.name)), "bf16")


def _llm(row: dict[str, Any]) -> LLM:
    """The model of the catalogue, with the row's number of layers; or one made of the row's dimensions."""
    stated = all(row[name] for name in ("layers", "hidden", "heads", "ffn", "vocab"))
    mixture = bool(row["experts"])
    if mixture or not stated:
        try:
            llm = catalogue.llm(row["model"] or "")
        except UnknownName:
            if not stated or "mla" in (row["arch"] or ""):
                raise
        else:
            layers = int(row["layers"] or llm.layers)
            if layers == llm.layers:
                return llm
            dense = 0 if layers <= REDUCED else llm.layers - llm.moe_layers
            return replace(llm, layers=layers, moe_layers=layers - dense if llm.moe_layers else 0)
    integers = {name: int(row[name] or 0) for name in ("layers", "hidden", "heads", "kv_heads", "ffn", "vocab", "experts", "topk")}
    sliding = "sliding" in (row["arch"] or "")
    return LLM(
        name=row["model"] or "",
        attention="gqa",
        layers=integers["layers"],
        hidden=integers["hidden"],
        heads=integers["heads"],
        kv_heads=integers["kv_heads"] or integers["heads"],
        head_dim=int(row["head_dim"] or integers["hidden"] // integers["heads"]),
        vocab=integers["vocab"],
        context=int(row["seq"] or 0),
        ffn=0 if mixture else integers["ffn"],
        ffn_matrices=int(row["ffn_mats"] or 2),
        experts=integers["experts"],
        experts_per_token=integers["topk"],
        moe_ffn=integers["ffn"] if mixture else 0,
        moe_layers=integers["layers"] if mixture else 0,
        sliding_window=128 if sliding else 0,
        sliding_layers=integers["layers"] // 2 if sliding else 0,
        tied_embeddings="tied" in (row["arch"] or "") or "GPT" in (row["arch"] or ""),
    )


#: Kinds of measured rows, and the forms of their files.
FORMS: dict[str, tuple[Form, ...]] = {}
