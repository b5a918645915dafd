"""Rows of published training runs as calls of `chips.training_run`."""

from __future__ import annotations

import re
from typing import Any

import polars as pl

from workbench import catalogue
from workbench.calibration.forms import Asked, Form
from workbench.errors import InputError

TEXT = ("run", "chip", "precision", "read_in_source", "source")
NUMBERS = ("n_chips", "tokens_t", "goodput_pct", "chip_hours", "days")
QUANTITIES = ("chip_hours", "days")
#: Chips of a run that states chip-hours and not how many.
CHIPS = 1024


def ask(rows: pl.DataFrame) -> list[Asked]:
    """Chip-hours of each run and, where its chips are stated, days; its layout is searched, its MFU an outcome.

    Not told apart: layout, batch, sequence, stages, restarts, what the hours count beside the run.
    """
    quantities = [(position, row, quantity) for position, row in enumerate(rows.iter_rows(named=True)) for quantity in QUANTITIES]
    return [_asked(*one) for one in quantities]


def _asked(position: int, row: dict[str, Any], quantity: str) -> Asked:
    if reason := _reason(row, quantity):
        return Asked(position, quantity, skipped=reason)
    n = row["n_chips"] or CHIPS
    cluster = {"call": "fabric.Cluster", "arguments": {"chip": row["chip"], "n_chips": n}}
    given = {"llm": _model(row), "cluster": cluster, "tokens": row["tokens_t"] * 1e12}
    given |= {"utilisation": row["goodput_pct"] / 100} if row["goodput_pct"] else {}
    given |= {"precision": row["precision"]} if row["precision"] else {}
    factor = 1 / 86400 if quantity == "days" else n / 3600
    read = (f"{end} * {factor:.17g}" for end in ("seconds", "low", "high"))
    return Asked(position, quantity, {"call": "chips.training_run", "arguments": given}, *read)


def _model(row: dict[str, Any]) -> str:
    return re.sub(r"\s+", "-", row["run"] or "")


def _reason(row: dict[str, Any], quantity: str) -> str | None:
    if _from_memory(row["read_in_source"] or "", "days" if quantity == "days" else "hours"):
        return f"{quantity} not read in its source"
    if not row["tokens_t"] or not row["chip"] or (quantity == "days" and not row["n_chips"]):
        return "tokens, chip or n_chips is not stated"
    try:
        catalogue.llm(_model(row))
    except InputError as error:
        return str(error)
    return None


def _from_memory(read: str, word: str) -> bool:
    """Whether a quantity was not read in its source: ``memory``; ``hours and tokens yes; rest memory``; ``yes; days memory``."""
    parts = read.split(";")
    recalled = [part for part in parts if part.strip().endswith("memory")]
    others = [part for part in parts if part not in recalled]
    return not others or any(word in part or ("rest" in part and not any(word in other for other in others)) for part in recalled)


FORMS: dict[str, tuple[Form, ...]] = {"runs": (Form(TEXT, NUMBERS, ask, ("chip_hours", "days")),)}
