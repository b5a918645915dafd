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
    return Asked(position, quantity, call, "share * 100" if row["goodput_definition"] else "mtbf / 3600")


def _reason(row: dict[str, Any]) -> str | None:
    if not row["n_chips"]:
        return "n_chips is not stated"
    if row["goodput_definition"]:
        return "what it counts is no goodput" if "not goodput" in row["goodput_definition"] else None
    if row["share_pct"] is not None:
        return "nothing is asked of the models: one cause of several"
    return None if row["period_days"] else "nothing is asked of the models: no mean over a period"


def ask_checkpoints(rows: pl.DataFrame) -> list[Asked]:
    """Nothing of the models, so far."""
    why = "nothing is asked of the models: none gives the time of a checkpoint from its size and storage"
    return [Asked(position, "save_total_s", skipped=why) for position in range(rows.height)]


TIMES = ("save_block_s", "save_total_s", "load_s", "restart_s")
FORMS = (
    Form(("cause", "goodput_definition", "read_in_source", "source"), NUMBERS, ask, ("mttf_h", "goodput_pct")),
    Form(("system", "method", "storage", "source"), ("size_gb", *TIMES), ask_checkpoints, TIMES),
)
