"""Results of serving benchmarks as engines save them: one's own run beside the model's prediction of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl

from workbench.errors import DataError, InputError
from workbench.validation import serving_rows

#: What must be told beside what the benchmark saves: ``vllm bench serve --metadata chip=H100 tp=8 precision=fp8``.
TOLD = ("chip", "tp", "precision")
#: Fields of a result and the columns they fill; the first that is there counts.
FIELDS = {
    "concurrency": ("max_concurrency",),
    "request_rate": ("request_rate",),
    "tpot_ms": ("median_tpot_ms", "mean_tpot_ms"),
    "ttft_ms": ("median_ttft_ms", "mean_ttft_ms"),
    "ttft_p99_ms": ("p99_ttft_ms",),
    "tpot_p99_ms": ("p99_tpot_ms",),
}
NEEDED = ("completed", "total_output_tokens", "output_throughput")


def read(path: str | Path) -> pl.DataFrame:
    """Rows as `serving` takes them, one a result: a JSON object, a list of them, or one a line.

    Raises `DataError` for a file that is none of these, or a result without what is needed, naming the fields; what a version saves
    beyond the known fields is not used.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf8")
    except OSError as error:
        raise DataError(file, f"cannot be read ({error.strerror})") from None
    results = _objects(file, text)
    rows = [_row(file, i, result) for i, result in enumerate(results)]
    numbers = dict.fromkeys(serving_rows.NUMBERS, pl.Float64)
    texts = dict.fromkeys(serving_rows.TEXT, pl.String)
    return pl.DataFrame(rows, schema=texts | numbers | {"ttft_p99_ms": pl.Float64, "tpot_p99_ms": pl.Float64})


def _objects(file: Path, text: str) -> list[dict[str, Any]]:
    try:
        found = json.loads(text)
    except json.JSONDecodeError:
        try:
            found = [json.loads(line) for line in text.splitlines() if line.strip()]
        except json.JSONDecodeError as error:
            raise DataError(file, f"not JSON: {error.msg} in line {error.lineno}") from None
    results = found if isinstance(found, list) else [found]
    if not results or not all(isinstance(r, dict) for r in results):
        raise DataError(file, "no result of a benchmark: expected a JSON object, a list of them, or one a line")
    return results


def _row(file: Path, i: int, result: dict[str, Any]) -> dict[str, Any]:
    if missing := [name for name in NEEDED if not isinstance(result.get(name), int | float)]:
        known = ", ".join(sorted(result)[:12])
        raise DataError(file, f"result {i}: {', '.join(missing)} is not there; another version? it has {known}")
    if untold := [name for name in TOLD if result.get(name) in (None, "")]:
        hint = " ".join(f"{name}=..." for name in untold)
        raise InputError(f"{file}: result {i} does not tell {', '.join(untold)}: run the benchmark with --metadata {hint}")
    row: dict[str, Any] = dict.fromkeys((*serving_rows.TEXT, *serving_rows.NUMBERS, "ttft_p99_ms", "tpot_p99_ms"))
    for column, names in FIELDS.items():
        value = next((result[n] for n in names if isinstance(result.get(n), int | float)), None)
        row[column] = None if value is None or value != value or value in (float("inf"),) else float(value)
    tp, pp = float(result["tp"]), float(result.get("pp") or 1)
    done = float(result["completed"])
    backend = str(result.get("backend") or result.get("endpoint_type") or "vllm")
    framework = (
        "SGLang" if "sgl" in backend.lower() else "TensorRT-LLM" if "tensorrt" in backend.lower() or "trt" in backend.lower() else "vLLM"
    )
    chips = tp * pp * float(result.get("attention_dp") or 1)
    return row | {
        "source_group": "own run",
        "group": f"{result.get('model_id')}|{result['chip']}|{framework}|{result['precision']}|TP{tp:g}",
        "model_key": str(result.get("model_id") or result.get("model") or ""),
        "weight_precision": str(result["precision"]),
        "kv_precision": str(result.get("kv_precision") or ""),
        "chip": str(result["chip"]),
        "parallel": f"TP{tp:g}PP{pp:g}",
        "framework": framework,
        "framework_version": str(result.get("version") or ""),
        "mode": "closed_loop" if row["concurrency"] else "open_loop_slo" if row["request_rate"] else "offline_max",
        "source": file.name,
        "n_chips": chips,
        "tp": tp,
        "pp": pp,
        "input_len": float(result.get("total_input_tokens") or 0) / done or None,
        "output_len": float(result["total_output_tokens"]) / done,
        "output_tok_s_per_gpu": float(result["output_throughput"]) / chips,
        "usable": 1.0,
    }
