import json
import re

import numpy as np
import polars as pl
import pytest

from workbench import catalogue, validation
from workbench.chips.serving import constants as calibration
from workbench.chips.serving import fit
from workbench.errors import WorkbenchError
from workbench.validation import bench_json, serving
from workbench.validation.report import read


@pytest.fixture(scope="module")
def rows():
    return read(catalogue.path("measured/serving.csv"), serving)


def of(report, quantity, modes):
    frame = report.rows.filter((pl.col("quantity") == quantity) & pl.col("measured").is_not_null() & pl.col("by").is_in(modes))
    return (100 * (frame["predicted"] / frame["measured"] - 1).abs()).median(), frame


def test_shipped_sample_is_predicted_within_what_is_claimed():
    report = validation.validate("serving", by="mode")
    assert report.rows["predicted"].count() >= 0.97 * report.rows.height
    assert of(report, "tpot_ms", ["closed_loop"])[0] < 8.5
    assert of(report, "ttft_ms", ["closed_loop"])[0] < 25
    assert of(report, "output_tok_s_per_gpu", ["offline_max"])[0] < 12
    assert of(report, "power_w_per_gpu", ["closed_loop_natural"])[0] < 12
    assert report.table().row(-1, named=True)["coverage_%"] >= 75


def test_predictions_never_see_what_was_measured(rows):
    blind = rows.with_columns(pl.lit(1.0).alias(name) for name in serving.MEASURED if name in rows.columns)
    assert [p.value for p in serving.predict(blind)] == [p.value for p in serving.predict(rows)]


def test_layouts_apart_are_read(rows):
    found, _ = serving.stated(rows)
    apart = found.mode == "disagg"
    assert apart.any()
    assert ((found.share[apart] > 0) & (found.share[apart] < 1)).all()


def test_bad_rows_carry_a_reason(rows):
    odd = rows.head(5).with_columns(
        mode=pl.Series(["magic", "closed_loop", "closed_loop", "disagg", "closed_loop"]),
        chip=pl.Series(["H100", "H1000", "H100", "H100", "H100"]),
        output_len=pl.Series([10.0, 10.0, None, 10.0, 10.0]),
        usable=pl.Series([1.0, 1.0, 1.0, 1.0, 0.0]),
        parallel=pl.lit("unstated"),
        prefill_chips=pl.lit(None, dtype=pl.Float64),
    )
    reasons = {p.position: p.skipped for p in serving.predict(odd)}
    assert "mode 'magic' is none of closed_loop" in reasons[0]
    assert "unknown chip 'H1000'; nearest: H100" in reasons[1]
    assert reasons[2] == "output_len is not stated"
    assert reasons[3] == "the layout of prefill and decode is not stated"
    assert reasons[4] == "the file marks the row as not usable"


def test_constants_have_priors_and_levels():
    assert calibration.POOL.nodes(calibration.Origin("H100", "fp8", "vLLM", campaign="own"))["cell"] == "vLLM|own||H100|fp8"
    assert all(c.prior > 0 and c.spread > 0 and c.meaning for c in calibration.CONSTANTS)


def test_a_fit_on_a_few_rows_is_near_its_own_measurements(rows):
    loops = rows.filter(pl.col("mode") == "closed_loop")
    found, _ = serving.stated(loops)
    fits = fit.fit(found, fit.values_of(loops, found))
    error = (fit.predict(found, fits)[:, 0] / loops["tpot_ms"].to_numpy() - 1).__abs__()
    assert float(pl.Series(error).median()) < 0.15


RESULT = {
    "date": "20261101-101500", "backend": "vllm", "model_id": "meta-llama/Llama-3.1-8B-Instruct", "num_prompts": 640, "max_concurrency": 64,
    "duration": 60.0, "completed": 640, "total_input_tokens": 640 * 1024, "total_output_tokens": 640 * 256, "request_throughput": 10.6,
    "output_throughput": 2730.0, "mean_ttft_ms": 310.0, "median_ttft_ms": 290.0, "p99_ttft_ms": 900.0, "mean_tpot_ms": 21.0,
    "median_tpot_ms": 20.0, "p99_tpot_ms": 30.0, "request_rate": "inf", "chip": "H100", "tp": "1", "precision": "bf16",
    "unheard_of": [1, 2],
}  # fmt: skip


def test_a_saved_benchmark_is_validated_and_calibrated_on(tmp_path):
    file = tmp_path / "run.json"
    file.write_text(json.dumps([RESULT | {"max_concurrency": c, "median_tpot_ms": 10.0 + 0.2 * c} for c in (1, 4, 16, 64)]))
    report = validation.validate("serving", file, by="framework")
    assert report.rows.filter(pl.col("quantity") == "tpot_ms")["measured"].to_list() == pytest.approx([10.2, 10.8, 13.2, 22.8])
    tables = validation.calibrate("serving", file)
    (tmp_path / "calibration").mkdir()
    tables["serving"].write_csv(tmp_path / "calibration" / "serving.csv")
    assert tables["serving"].height >= catalogue.table("calibration/serving").height
    before = report.rows.filter(pl.col("quantity") == "tpot_ms")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORKBENCH_DATA", str(tmp_path))
        after = validation.validate("serving", file, by="framework").rows.filter(pl.col("quantity") == "tpot_ms")
    errors = [float((f["predicted"] / f["measured"]).log().abs().mean()) for f in (before, after)]
    assert errors[1] < 0.6 * errors[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{not json", "not JSON"),
        ("[1, 2]", "no result of a benchmark"),
        (
            json.dumps({"backend": "vllm", "ttft": 3}),
            "completed, total_output_tokens, output_throughput is not there; another version? it has backend, ttft",
        ),
        ("[" * 100_000, "not JSON"),
        (json.dumps(RESULT | {"completed": 0}), "completed is '0'; expected a whole number from 1"),
        (json.dumps(RESULT | {"completed": -1}), "completed is '-1'"),
        (json.dumps(RESULT | {"completed": True}), "completed is 'True'"),
        (json.dumps(RESULT | {"tp": "eight"}), "tp is 'eight'; expected a whole number from 1"),
        (json.dumps(RESULT | {"tp": "0"}), "tp is '0'"),
        (json.dumps(RESULT | {"pp": [2]}), "pp is '[2]'"),
        (json.dumps(RESULT | {"output_throughput": float("inf")}), "output_throughput is 'inf'; expected a number from 0"),
        (json.dumps(RESULT | {"median_ttft_ms": float("nan")}), "median_ttft_ms is 'nan'"),
        (json.dumps(RESULT | {"total_input_tokens": 10**400}), "total_input_tokens is '1000"),
        (json.dumps({k: v for k, v in RESULT.items() if k != "chip"}), "does not tell chip: run the benchmark with --metadata chip=..."),
    ],
)
def test_a_file_that_is_no_saved_benchmark_is_named(tmp_path, text, said):
    file = tmp_path / "run.json"
    file.write_text(text)
    with pytest.raises(WorkbenchError, match=re.escape(said)) as raised:
        validation.validate("serving", file, by="framework")
    assert str(file) in str(raised.value)


def test_benchmarks_without_a_limit_are_read(tmp_path):
    file = tmp_path / "run.json"
    file.write_bytes(
        b"\xef\xbb\xbf" + json.dumps([RESULT | {"request_rate": rate} for rate in ("inf", float("inf"), "trace", 4.0)]).encode()
    )
    assert bench_json.read(file)["request_rate"].to_list() == [None, None, None, 4.0]


def test_damaged_benchmarks_are_read_or_refused(read_mutants):
    for frame in read_mutants(bench_json.read, json.dumps([RESULT, RESULT], indent=1).encode(), "run.json"):
        numbers = frame.select(pl.col(pl.Float64)).to_numpy()
        assert not (numbers < 0).any()
        assert not np.isinf(numbers).any()
