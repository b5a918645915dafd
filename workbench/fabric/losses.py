"""Rows of measured failures and checkpoints as calls of `fabric.goodput`."""

from __future__ import annotations

from typing import Any

import polars as pl

from workbench.calibration.forms import Asked, Form

NUMBERS = ("n_chips", "period_days", "share_pct", "mttf_h", "detect_min", "restart_min", "goodput_pct")


def ask(rows: pl.DataFrame) -> list[Asked]:
    """Goodput where a row defines one, else the mean time between failures of a job of its chips.

    Not told apart: the chip, its memory, spares, how failures are found, how many are of one cause.
    """
    return [_asked(position, row) for position, row in enumerate(rows.iter_rows(named=True))]


def _asked(position: int, row: dict[str, Any]) -> Asked:
    quantity = "goodput_pct" if row["goodput_definition"] else "mttf_h"
    if reason := _reason(row):
        return Asked(position, quantity, skipped=reason)
    minutes = (row["restart_min"] or 0.0) + (row["detect_min"] or 0.0)
    call = {"call": "fabric.goodput", "arguments": {"n_chips": row["n_chips"], **({"restart": 60 * minutes} if minutes else {})}}
    if row["goodput_definition"]:
        return Asked(position, quantity, call, "share * 100", "low * 100", "high * 100")
    return Asked(position, quantity, call, "mtbf / 3600")


def _reason(row: dict[str, Any]) -> str | None:
    if not row["n_chips"]:
        return "n_chips is not stated"
    if row["goodput_definition"]:
        return "what it counts is no goodput" if "not goodput" in row["goodput_definition"] else None
    if row["share_pct"] is not None:
        return "nothing is asked of the models: one cause of several"
    return None if row["period_days"] else "nothing is asked of the models: no mean over a period"


#: What words of a storage or a method mean, in the order in which they are looked for.
MEDIA = {
    "file system": "parallel file system", "lustre": "parallel file system", "nvme": "local NVMe", "nas ": "NAS",
    "3fs": "3FS, 180 nodes", "network drive": "network drive", "memory": "host memory",
}  # fmt: skip
WAYS = {"in-memory": "in-memory", "flash": "asynchronous", "asynchronous": "asynchronous"}
READ = {"save_block_s": "stall", "save_total_s": "save", "load_s": "load"}


def ask_checkpoints(rows: pl.DataFrame) -> list[Asked]:
    """Stall, save and load where size and storage are stated, startup where a model is. Not told apart: the system, ranks that read."""
    return [asked for position, row in enumerate(rows.iter_rows(named=True)) for asked in _checkpoint(position, row)]


def _checkpoint(position: int, row: dict[str, Any]) -> list[Asked]:
    words, ways = f"{row['storage'] or ''} ".lower(), f"{row['system'] or ''} {row['method'] or ''}".lower()
    medium = "local NVMe" if "local file" in words else next((name for word, name in MEDIA.items() if word in words), None)
    how = next((way for word, way in WAYS.items() if word in ways), "synchronous")
    size = (row["size_gb"] or 0.0) * 1e9 or (row["params_b"] or 0.0) * 14e9
    if size and medium:
        given = {"params": size, "bytes_per_param": 1.0, "n_chips": row["n_chips"] or 8.0, "medium": medium, "method": how}
        call = {"call": "fabric.storage", "arguments": given}
        return [Asked(position, quantity, call, read) for quantity, read in READ.items()]
    if row["params_b"] and row["n_chips"]:
        call = {"call": "fabric.storage", "arguments": {"params": row["params_b"] * 1e9, "n_chips": row["n_chips"]}}
        return [Asked(position, "startup_s", call, "startup")]
    why = "the size of the model or its checkpoint is not stated" if not size else "the storage is not stated"
    return [Asked(position, "save_total_s", skipped=why)]


TIMES = (*READ, "startup_s", "restart_s")
CHECKPOINT = ("size_gb", "params_b", "n_chips", *TIMES)
FORMS = (
    Form(("cause", "goodput_definition", "read_in_source", "source"), NUMBERS, ask, ("mttf_h", "goodput_pct")),
    Form(("system", "method", "storage", "source"), CHECKPOINT, ask_checkpoints, TIMES, optional=(*CHECKPOINT[1:3], "startup_s")),
)
