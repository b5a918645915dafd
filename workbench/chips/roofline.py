"""How much of the roofline serving systems reach: the calibration of `serving`'s efficiency, until operators are modelled one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from workbench import catalogue
from workbench.catalogue import Cost
from workbench.chips.serving import BYTES, Load, ServingPlan, serving
from workbench.errors import InputError, UnknownName
from workbench.fabric import Cluster

TABLE = "calibration/serving_roofline"


def roofline_share(precision: str) -> Cost:
    """Share of the roofline that published systems reach when serving weights in `precision`: median, and 10 % and 90 % points.

    Raises
    ------
    InputError
        For a precision that was not calibrated.
    """
    frame = catalogue.table(TABLE)
    found = frame.filter(frame["precision"] == precision)
    if found.is_empty():
        raise InputError(f"precision = {precision!r}: the share of the roofline is known for {', '.join(frame['precision'])}")
    row = found.row(0, named=True)
    meaning = f"share of the serving roofline reached in {precision}, from {row['rows']} measurements of {row['sources']} sources"
    return Cost("roofline_share", row["median"], row["low"], row["high"], "1", meaning, row["source"], row["note"])


def calibrate(measured: pl.DataFrame) -> pl.DataFrame:
    """Fit the shares to measurements: quantiles of predicted over measured time per token, each source weighing the same.

    Parameters
    ----------
    measured : polars.DataFrame
        Serving measurements with the columns source_group, model_key, chip, n_chips, weight_precision, kv_precision, mode, spec_decode,
        input_len, output_len, mean_len_factor, concurrency, tpot_ms, usable. Closed-loop rows without speculative decoding are used,
        of models and chips that the catalogue has.

    Returns
    -------
    polars.DataFrame
        One row a precision: precision, median, low, high (10 % and 90 % points), rows, sources, error_percent (median absolute error of
        the time per token of each source by the median of the other sources, averaged over the sources; null with one source).
    """
    ratios = _ratios(measured)
    rows = []
    for (precision,), group in ratios.group_by("precision", maintain_order=True):
        by_source = {s: part["ratio"].to_numpy() for (s,), part in group.group_by("source_group", maintain_order=True)}
        low, median, high = _quantiles(list(by_source.values()), [0.1, 0.5, 0.9])
        errors = [
            np.median(np.abs(ratio / _quantiles([r for other, r in by_source.items() if other != source], [0.5])[0] - 1))
            for source, ratio in by_source.items()
            if len(by_source) > 1
        ]
        rows.append(
            {
                "precision": precision,
                "median": median,
                "low": low,
                "high": high,
                "rows": group.height,
                "sources": len(by_source),
                "error_percent": 100 * float(np.mean(errors)) if errors else None,
            }
        )
    return pl.DataFrame(rows).sort("precision")


def _quantiles(samples: list[np.ndarray[Any, Any]], p: list[float]) -> list[float]:
    """Quantiles of the union of the samples, each sample weighing the same."""
    values, weights = np.concatenate(samples), np.concatenate([np.full(s.size, 1 / s.size) for s in samples])
    order = np.argsort(values)
    cumulative = (np.cumsum(weights[order]) - weights[order] / 2) / weights.sum()
    return [float(x) for x in np.interp(p, cumulative, values[order])]


def _ratios(measured: pl.DataFrame) -> pl.DataFrame:
    """Roofline's time per token over the measured one, with source_group and precision."""
    rows = measured.filter(
        (pl.col("usable") == 1)
        & (pl.col("mode") == "closed_loop")
        & ~pl.col("spec_decode").fill_null("").str.contains("(?i)mtp|eagle|yes|true")
        & pl.col("prefill_chips").is_null()
    ).with_columns(
        precision=pl.col("weight_precision").str.extract("(fp4|fp8|bf16)"),
        kv=pl.when(pl.col("kv_precision").fill_null("bf16").str.contains("fp8")).then(pl.lit("fp8")).otherwise(pl.lit("bf16")),
    )
    rows = rows.drop_nulls(["precision", "tpot_ms", "concurrency", "input_len", "output_len", "n_chips"])
    found = []
    for (model, chip, precision, kv), part in rows.group_by("model_key", "chip", "precision", "kv", maintain_order=True):
        try:
            llm, accelerator = catalogue.llm(str(model)), catalogue.chip(str(chip))
            accelerator.peak(str(precision))
        except (UnknownName, InputError):
            continue
        length = part["mean_len_factor"].fill_null(1.0).to_numpy()
        load = Load(part["concurrency"].to_numpy(), part["input_len"].to_numpy() * length, part["output_len"].to_numpy() * length)
        plan = ServingPlan(part["n_chips"].to_numpy(), str(precision), str(kv))
        inside = np.asarray(load.input_tokens) + np.asarray(load.output_tokens) <= llm.context
        if not inside.all():
            continue
        predicted = serving(llm, Cluster(accelerator, 1_000_000), plan, load)
        ratio = predicted.tpot / (part["tpot_ms"].to_numpy() / 1e3)
        found.append(part.select("source_group", "precision").with_columns(ratio=pl.Series(ratio)).filter(pl.Series(np.isfinite(ratio))))
    if not found:
        raise InputError(f"no row can be used: none is closed loop, of a model and chip of the catalogue, in {', '.join(BYTES)}")
    return pl.concat(found)
