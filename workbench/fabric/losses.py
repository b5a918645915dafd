"""Rows of measured failures and checkpoints as calls of `fabric.goodput` and `fabric.storage`."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
import polars as pl

from workbench.calibration import crossval
from workbench.calibration.forms import Form, Row, asked
from workbench.errors import InputError
from workbench.fabric.goodput import CASES, storage

NUMBERS = ("n_chips", "period_days", "share_pct", "mttf_h", "detect_min", "restart_min", "goodput_pct")


def _goodput(row: Row) -> tuple[Row, Any]:
    """Goodput where a row defines one, else the mean time between failures of a job of its chips.

    Not told apart: the chip, its memory, spares, how failures are found, how many are of one cause.
    """
    defined = row["goodput_definition"]
    if not row["n_chips"]:
        raise InputError("n_chips is not stated")
    if defined and "not goodput" in defined:
        raise InputError("what it counts is no goodput")
    if not defined and (row["share_pct"] is not None or not row["period_days"]):
        why = "no mean over a period" if row["share_pct"] is None else "one cause of several"
        raise InputError(f"nothing is asked of the models: {why}")
    minutes = (row["restart_min"] or 0.0) + (row["detect_min"] or 0.0)
    call = {"call": "fabric.goodput", "arguments": {"n_chips": row["n_chips"], **({"restart": 60 * minutes} if minutes else {})}}
    mean = ("mtbf / 3600", "mtbf_low / 3600", "mtbf_high / 3600")
    return call, {"goodput_pct": ("share * 100", "low * 100", "high * 100")} if defined else {"mttf_h": mean}


#: What words of a storage or a method mean, in the order in which they are looked for.
MEDIA = {
    "file system": "parallel file system", "lustre": "parallel file system", "nvme": "local NVMe", "nas ": "NAS",
    "3fs": "3FS, 180 nodes", "network drive": "network drive", "memory": "host memory",
}  # fmt: skip
WAYS = {"in-memory": "in-memory", "flash": "asynchronous", "asynchronous": "asynchronous"}
READ = {
    quantity: (name, f"{name}_low", f"{name}_high")
    for quantity, name in (("save_block_s", "stall"), ("save_total_s", "save"), ("load_s", "load"), ("startup_s", "startup"))
}


def _checkpoint(row: Row) -> tuple[Row, Any]:
    """Stall, save and load where size and storage are stated, startup where a model is. Not told apart: the system, ranks that read."""
    words, ways = f"{row['storage'] or ''} ".lower(), f"{row['system'] or ''} {row['method'] or ''}".lower()
    medium = "local NVMe" if "local file" in words else next((name for word, name in MEDIA.items() if word in words), None)
    how = next((way for word, way in WAYS.items() if word in ways), "synchronous")
    size = (row["size_gb"] or 0.0) * 1e9 or (row["params_b"] or 0.0) * 14e9
    if size and medium:
        given = {"params": size, "bytes_per_param": 1.0, "n_chips": row["n_chips"] or 8.0, "medium": medium, "method": how}
        return {"call": "fabric.storage", "arguments": given}, {name: READ[name] for name in TIMES[:3]}
    if row["params_b"] and row["n_chips"]:
        given = {"params": row["params_b"] * 1e9, "n_chips": row["n_chips"]}
        return {"call": "fabric.storage", "arguments": given}, {"startup_s": READ["startup_s"]}
    raise InputError("the storage is not stated" if size else "the size of the model or its checkpoint is not stated")


def calibrate(rows: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Half widths of `CASES`: starts on the scale of other sources, copies and saves by the rates that ship, each from one source."""
    found: dict[str, list[tuple[str, float]]] = {case: [] for case in CASES}
    for row in rows.iter_rows(named=True):
        with suppress(InputError):
            (call, reads), source = _checkpoint(row), row["source"] or ""
            how = call["arguments"].get("method", "synchronous")
            for one in filter(row.get, reads):
                if (one, how) == ("save_block_s", "synchronous"):  # of which the whole save is told
                    continue
                stored = one == "save_total_s" or (one == "load_s" and how != "in-memory")
                time = getattr(storage(**call["arguments"]), READ[one][0])
                found[CASES[2 if one == "startup_s" else int(stored)]].append((source, float(np.log(time / row[one]))))
    of = found[CASES[2]]
    scales = {own: float(np.median([log for source, log in of if source != own] or 0.0)) for own, _ in of}
    logs = {case: np.array([log - (scales[source] if case == CASES[2] else 0.0) for source, log in at]) for case, at in found.items()}
    return {"storage_errors": crossval.error_table(logs.items()).drop("mean_error_percent")}


TIMES = (*READ, "restart_s")
CHECKPOINT = ("size_gb", "params_b", "n_chips", *TIMES)
FORMS = (
    Form(
        ("cause", "goodput_definition", "read_in_source", "source"), NUMBERS,
        lambda rows: asked(rows, _goodput, lambda row: ["goodput_pct" if row["goodput_definition"] else "mttf_h"]),
        ("mttf_h", "goodput_pct"),
    ),
    Form(
        ("system", "method", "storage", "source"), CHECKPOINT, lambda rows: asked(rows, _checkpoint, lambda row: ["save_total_s"]),
        TIMES, optional=(*CHECKPOINT[1:3], "startup_s"), calibrate=calibrate,
    ),
)  # fmt: skip
