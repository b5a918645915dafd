"""Results of serving benchmarks as engines save them: one's own run beside the model's prediction of it."""

from __future__ import annotations

import datetime
import json
import re
from pathlib import Path
from typing import Any

import polars as pl

from workbench.calibration.evidence import OWN
from workbench.chips.serving import rows as serving_rows
from workbench.errors import DataError, InputError

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
#: Fields that may be infinite or words ("inf", "trace"): nothing limits the benchmark.
UNLIMITED = ("concurrency", "request_rate")
#: No count or time of a benchmark is larger.
MOST = 1e12
NEEDED = ("completed", "total_output_tokens", "output_throughput")


def read(path: str | Path) -> pl.DataFrame | None:
    """Rows of operating points, one a result: a JSON object, a list of them, or one a line; None for a file of another kind.

    Raises `DataError` for a file that is none of these, or a result that lacks what is needed or holds what no benchmark measures, naming
    the fields; what a version saves beyond the known fields is not used.
    """
    file = Path(path)
    if file.suffix not in (".json", ".jsonl"):
        return None
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DataError(file, f"cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise DataError(file, f"not a readable UTF-8 file: {error}") from None
    results = _objects(file, text)
    rows = [_row(file, i, result) for i, result in enumerate(results)]
    numbers = dict.fromkeys(serving_rows.NUMBERS, pl.Float64)
    texts = dict.fromkeys(serving_rows.TEXT, pl.String)
    return pl.DataFrame(rows, schema=texts | numbers | {"ttft_p99_ms": pl.Float64, "tpot_p99_ms": pl.Float64})


def _objects(file: Path, text: str) -> list[dict[str, Any]]:
    try:
        try:
            found = json.loads(text)
        except json.JSONDecodeError:
            found = [json.loads(line) for line in text.splitlines() if line.strip()]
    except json.JSONDecodeError as error:
        raise DataError(file, f"not JSON: {error.msg} in line {error.lineno}") from None
    except (ValueError, RecursionError) as error:
        raise DataError(file, f"not JSON: {error}") from None
    results = found if isinstance(found, list) else [found]
    if not results or not all(isinstance(r, dict) for r in results):
        raise DataError(file, "no result of a benchmark: expected a JSON object, a list of them, or one a line")
    return results


def _row(file: Path, i: int, saved: dict[str, Any]) -> dict[str, Any]:
    result = {k: v.encode("utf8", "replace").decode() if isinstance(v, str) else v for k, v in saved.items()}
    if missing := [name for name in NEEDED if result.get(name) is None]:
        known = ", ".join(sorted(result)[:12])
        raise DataError(file, f"result {i}: {', '.join(missing)} is not there; another version? it has {known}")
    if untold := [name for name in TOLD if result.get(name) in (None, "")]:
        hint = " ".join(f"{name}=..." for name in untold)
        raise InputError(f"{file}: result {i} does not tell {', '.join(untold)}: run the benchmark with --metadata {hint}")

    def number(name: str, least: float = 0.0, whole: bool = False, default: float = 0.0) -> float:
        """A number of the result; what ``--metadata`` told is text."""
        given = result.get(name)
        try:
            value = default if given in (None, "") else float(given)
        except (TypeError, ValueError, OverflowError):
            value = float("nan")
        if isinstance(given, bool) or not least <= value <= MOST or (whole and value % 1):
            kind = "a whole number" if whole else "a number"
            raise DataError(file, f"result {i}: {name} is {str(given)[:40]!r}; expected {kind} from {least:g} to {MOST:g}")
        return value

    row: dict[str, Any] = dict.fromkeys((*serving_rows.TEXT, *serving_rows.NUMBERS, "ttft_p99_ms", "tpot_p99_ms"))
    for column, names in FIELDS.items():
        name = next((n for n in names if result.get(n) is not None), None)
        unlimited = column in UNLIMITED and name and (isinstance(result[name], str) or result[name] == float("inf"))
        row[column] = None if name is None or unlimited else number(name)
    tp, pp = number("tp", 1, whole=True), number("pp", 1, whole=True, default=1)
    done = number("completed", 1, whole=True)
    backend = str(result.get("backend") or result.get("endpoint_type") or "vllm")
    framework = serving_rows.software(backend.lower().replace("trt", "tensorrt"))[0] or "vLLM"
    chips = tp * pp * number("attention_dp", 1, whole=True, default=1)
    return row | {
        "source_group": OWN,
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
        "date": re.sub(r"^(\d{4})(\d\d)(\d\d).*", r"\1-\2-\3", str(result.get("date") or datetime.date.today())),
        "n_chips": chips,
        "tp": tp,
        "pp": pp,
        "input_len": number("total_input_tokens") / done or None,
        "output_len": number("total_output_tokens") / done,
        "output_tok_s_per_gpu": number("output_throughput") / chips,
        "usable": 1.0,
    }
