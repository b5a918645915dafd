"""Rows of measured dispatch of tokens to experts, and of combine back, as calls of `fabric.collective_time`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import polars as pl

from workbench import catalogue
from workbench.calibration.forms import Asked, Form
from workbench.fabric import measured

TEXT = ("chip", "dtype", "kind", "phase", "library", "fabric", "bw_kind", "quality", "source")
NUMBERS = ("ep", "tokens", "hidden", "top_k", "bandwidth_GBps", "latency_us")
WIRE_BYTES = {"bf16": 2.0, "fp8": 1 + 4 / 128}  #: bytes of a number on the wire; 128 numbers of eight bits share a scale of four bytes


def standard(rows: pl.DataFrame) -> pl.DataFrame:
    """As rows of collectives are; what is not stated is blank."""
    chips = catalogue.table("chips").select("chip", scaleup_domain_gpus=pl.col("scaleup_domain").fill_null(1).cast(pl.Float64))
    rows = rows.with_columns(chip=measured.named(rows["chip"]), dtype=pl.col("dtype").str.to_lowercase())
    fast = pl.when(pl.col("kind") == "low-latency").then(pl.lit("_low_latency")).otherwise(pl.lit(""))
    rows = rows.join(chips, on="chip", how="left", maintain_order="left")
    times = [time_us(row, "") if row["scaleup_domain_gpus"] else None for row in rows.iter_rows(named=True)]
    sizes = [_copy_bytes(row) if row["top_k"] else None for row in rows.iter_rows(named=True)]
    return rows.with_columns(
        pl.Series("bytes", sizes, dtype=pl.Float64), pl.Series("time_us", times, dtype=pl.Float64),
        table_id=pl.concat_str(pl.col("source", "chip", "kind", "library").fill_null(""), separator="|"),
        collective=pl.col("phase") + fast, n_gpus="ep", library=pl.lit(""),
        **dict.fromkeys(("scale_up_GBps_per_dir", "nic_Gbps_per_gpu"), pl.lit(None, pl.Float64)),
    )  # fmt: skip


def ask(rows: pl.DataFrame) -> list[Asked]:
    """The call for each row. Not told apart: library, processors used, the version, how experts are drawn."""
    data, found = standard(rows.with_columns(bandwidth_GBps=None, latency_us=None)), []
    for asked, row in zip(measured.ask(data, "latency_us"), data.iter_rows(named=True), strict=True):
        why = "" if row["scaleup_domain_gpus"] else "the chip is none of the catalogue"
        why = why if row["bytes"] and row["top_k"] else "tokens, hidden, top_k or dtype is not stated"
        found.append(replace(asked, call=None, skipped=why) if why else asked)
    return found


def _copy_bytes(row: dict[str, Any]) -> float:
    """Bytes of one copy of every token of a rank; 0 where it is not stated."""
    return float((row["tokens"] or 0) * (row["hidden"] or 0) * WIRE_BYTES.get((row["dtype"] or "").lower(), 0.0))


def time_us(row: dict[str, Any], quantity: str) -> float | None:
    """Time that was measured; of a bandwidth alone, the bytes that its source counts over it.

    Kernels for latency send a copy for each expert. The others send one to each rank in a domain, or to each domain, that has any of the
    experts: with experts drawn at random, n (1 - (1 - 1/n)^k) copies on average, the own rank or domain included (DeepEP, tests/).
    """
    if row["latency_us"] or not row["bandwidth_GBps"] or not _copy_bytes(row) * (row["top_k"] or 0):
        return row["latency_us"]
    domain = float(catalogue.chip(row["chip"] or "").scaleup_domain)
    n = row["ep"] if row["ep"] <= domain else row["ep"] / domain
    copies = row["top_k"] if row["kind"] == "low-latency" else n * (1 - (1 - 1 / n) ** row["top_k"])
    return _copy_bytes(row) * copies / row["bandwidth_GBps"] * 1e-3


MEASURED = ("bandwidth_GBps", "latency_us")
FORM = Form(
    TEXT, NUMBERS, ask, MEASURED, value=time_us, standard=standard, calibrate=measured.calibrate,
    folds=lambda rows, groups: measured.folds(standard(rows), groups),  # of collectives, on top of which these are measured
)  # fmt: skip
