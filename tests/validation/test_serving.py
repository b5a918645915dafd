import json
import random
import re

import numpy as np
import polars as pl
import pytest

from workbench import catalogue, chips, demand, energy, fabric, fleet, readers, scaling, tables, validation
from workbench.chips.serving import fit, measured
from workbench.chips.serving.rows import precision_of, software
from workbench.errors import InputError, WorkbenchError
from workbench.validation.score import read

NAMES = {face.__name__.rpartition(".")[2]: face for face in (catalogue, scaling, fabric, chips, energy, fleet, demand)} | {"np": np}


@pytest.fixture(scope="module")
def rows():
    return read("serving", catalogue.path("measured/serving.csv"))[1]


@pytest.fixture(scope="module")
def report():
    return validation.validate("serving", by="mode")


def of(report, quantity, modes):
    frame = report.rows.filter((pl.col("quantity") == quantity) & pl.col("measured").is_not_null() & pl.col("by").is_in(modes))
    return (100 * (frame["predicted"] / frame["measured"] - 1).abs()).median(), frame


def test_shipped_sample_is_predicted_within_what_is_claimed(report):
    assert report.rows["predicted"].count() >= 0.97 * report.rows.height
    assert of(report, "tpot_ms", ["closed_loop"])[0] < 8.5
    assert of(report, "ttft_ms", ["closed_loop"])[0] < 25
    assert of(report, "output_tok_s_per_gpu", ["offline_max"])[0] < 12
    assert of(report, "power_w_per_gpu", ["closed_loop_natural"])[0] < 12
    assert report.table().row(-1, named=True)["coverage_%"] >= 75


def test_a_call_gives_what_was_scored(report):
    known = report.rows.filter(pl.col("predicted").is_not_null()).to_dicts()
    for row in random.Random(17).sample(known, 60):
        assert float(eval(row["call"], NAMES)) == pytest.approx(row["predicted"], rel=1e-9), row["call"]


def test_calls_say_nothing_of_who_measured(rows):
    blind = rows.with_columns(source_group=pl.lit("somebody"), source=pl.lit("somewhere"), group=pl.lit("x"))
    blind = blind.with_columns(pl.lit(1.0).alias(name) for name in measured.POINTS.measured if name in rows.columns)
    assert [one.call for one in measured.POINTS.ask(blind)] == [one.call for one in measured.POINTS.ask(rows)]


def test_attention_that_is_not_data_parallel_is_split_over_the_ranks_of_the_experts(rows):
    row = rows.filter(pl.col("parallel") == "TP8EP8").head(1)
    for flag, layout in ((0.0, {"tp": 8}), (1.0, {"tp": 1, "attention_dp": 8})):
        stated = row.with_columns(tp=pl.lit(1.0), ep=pl.lit(8.0), dp_attention=pl.lit(flag), n_chips=pl.lit(8.0), pp=pl.lit(1.0))
        plan = measured.POINTS.ask(stated)[0].call["arguments"]["plan"]["arguments"]
        assert {name: plan.get(name) for name in layout} == layout


def test_layouts_apart_are_read(rows):
    apart = [one.call["arguments"] for one in measured.POINTS.ask(rows.filter(pl.col("mode") == "disagg")) if one.call]
    assert apart
    assert all(one["cluster"]["arguments"]["n_chips"] > one["plan"]["arguments"]["tp"] for one in apart)
    assert all("prefill" in one for one in apart)


def test_bad_rows_carry_a_reason(rows):
    odd = rows.head(5).with_columns(
        mode=pl.Series(["magic", "closed_loop", "closed_loop", "disagg", "closed_loop"]),
        chip=pl.Series(["H100", "H1000", "H100", "H100", "H100"]),
        output_len=pl.Series([10.0, 10.0, None, 10.0, 10.0]),
        usable=pl.Series([1.0, 1.0, 1.0, 1.0, 0.0]),
        parallel=pl.lit("unstated"),
        prefill_chips=pl.lit(None, dtype=pl.Float64),
    )
    reasons = {one.position: one.skipped for one in measured.POINTS.ask(odd)}
    assert "mode 'magic' is none of closed_loop" in reasons[0]
    assert "unknown chip 'H1000'; nearest: H100" in reasons[1]
    assert reasons[2] == "output_len is not stated"
    assert reasons[3] == "the layout of prefill and decode is not stated"
    assert reasons[4] == "the file marks the row as not usable"


def test_a_fit_computes_what_serving_computes(rows, report):
    # the same rows by the public call and by the arrays that constants are fitted with, for every way in which requests come
    found = fit.found_in(rows)
    near = []
    by_call = {(r["position"], r["quantity"]): r["predicted"] for r in report.rows.to_dicts()}
    for o, llm, mode in zip(found.origins, found.llms, found.mode, strict=True):
        near.append(fit.basis(llm, o.chip, o.precision, o.framework, o.version * bool(o.framework), mode).origin)
    values = fit.predicted(found, near, fit.shifted(found, near)[0])
    seen = set()
    for at, position in enumerate(found.position.tolist()):
        for name, value in zip(fit.QUANTITIES, values[at], strict=True):
            if (public := by_call.get((position, name))) is not None:
                assert value == pytest.approx(public, rel=1e-9)
                seen.add(str(found.mode[at]))
    assert seen == {"closed", "open", "offline", "disaggregated"}


def test_rows_without_arrivals_are_left_out_too(rows):
    found = fit.found_in(rows.filter(pl.col("mode") != "open_loop_slo"))
    quantities = {case.partition("|")[0] for cases, _ in fit.left_out_errors(found) for case in cases}
    assert "tpot_ms" in quantities
    assert not quantities & set(fit.TAILS)


def test_rows_that_are_left_out_leave_the_neighbourhood(rows):
    loops = rows.filter(pl.col("mode") == "closed_loop")
    ask = "Llama-3.1-70B", fabric.Cluster("B200", 8), chips.ServingPlan(8, "fp8"), chips.Load(4, 1024, 1024)
    assert chips.serving(*ask).evidence.rows > 0
    other = (loops["chip"] != "B200").to_numpy()
    at, fitted = next(part for part in fit.folds(loops, other) if not other[part[0][0]])
    assert at.tolist() == np.flatnonzero(~other).tolist()
    with tables.instead(fitted):
        left = chips.serving(*ask).evidence
    assert (left.rows, "chip" in left.differs, left.index.frame["rows"].sum()) == (0, True, other.sum())
    assert [fitted for _, fitted in fit.folds(loops.head(6), np.arange(6) % 2)] == [None, None]


R1 = {"model": "deepseek-ai/DeepSeek-R1", "chip": "GB200", "precision": "fp4", "framework": "TensorRT-LLM", "disagg": 1}
H20 = {"model": "DeepSeek-R1", "chip": "H20-96G", "framework": "SGLang 0.5.2", "weight_precision": "fp8", "input_len": 4096}
#: Cells as their source printed them, and what they become: arguments of the plan, of the load, and what was measured in the model's unit.
SAID = [
    (
        measured.DEEPSEEK,
        R1
        | {"image": "release:1.2.0rc6.post3", "spec_method": "mtp", "prefill_tp": 4, "prefill_dp_attention": 1, "prefill_workers": 2}
        | {"decode_tp": 8, "decode_dp_attention": 0, "decode_workers": 3, "n_prefill_chips": 8, "n_decode_chips": 24, "n_chips": 32}
        | {"isl": 8192, "osl": 1024, "concurrency": 30, "median_tpot_ms": 7},
        {"tp": 8, "replicas": 3},
        {"concurrency": 30, "input_tokens": 7372.8, "draft_tokens": 2},
        7.0,
    ),
    (
        measured.WIDE_EP,
        H20
        | {"phase": "decode", "decode_parallel": "DP16 EP16", "n_decode_chips": 16, "output_len": 1536, "batch_per_chip": 48}
        | {"speculation": "MTP-1", "decode_tok_s_per_chip": 714},
        {"tp": 1, "attention_dp": 16},
        {"concurrency": 768, "draft_tokens": 1},
        1000 * 48 / 714,
    ),
    (
        measured.WIDE_EP,
        H20 | {"phase": "prefill", "prefill_parallel": "TP8", "n_prefill_chips": 8, "prefill_tok_s_per_chip": 2062.5},
        {"tp": 8},
        {"input_tokens": 4096},
        4096 / 2062.5 / 8,
    ),
    (
        measured.SPECULATION,
        {"model": "DeepSeek-V3", "chip": "H200", "framework": "SGLang", "parallelism": "EP16 DP16", "n_chips": 16, "concurrency": 2}
        | {"concurrency_unit": "requests per GPU", "value_unit": "tok/s per GPU", "draft_len": 2, "input_len": 65536, "output_len": 4096}
        | {"acceptance_len_tokens_per_step": 2.18, "spec_value": 81.5},
        {"attention_dp": 16},
        {"concurrency": 32, "draft_tokens": 2},
        81.5,
    ),
    (
        measured.QUANT,
        {"model": "Qwen3-4B", "chip": "H20-96G", "framework": "SGLang 0.4.6.post1", "quantization": "AWQ-INT4", "measurement": "speed"}
        | {"speed_unit": "(prompt+generated) tok/s", "n_chips": 1, "input_len": 6144, "output_len": 2048, "concurrency": 1}
        | {"speed_value": 640.07},
        {"tp": 1, "precision": "int4"},
        {"concurrency": 1},
        640.07 / 4,
    ),
    (
        measured.OPEN_LOOP,
        {"model": "DeepSeek-R1", "chip": "H200", "framework": "SGLang 0.4.5", "parallelism": "TP8", "arrival": "Poisson", "n_chips": 8}
        | {"offered_rate_req_s": 0.5, "achieved_rate_req_s": 0.49, "input_len": 1000, "output_len": 2000, "ttft_mean_ms": 250},
        {"tp": 8},
        {"rate": 0.5},
        250.0,
    ),
    (
        measured.OPEN_LOOP,
        {"model": "Qwen3-8B", "chip": "H100", "framework": "vLLM 0.17.1", "parallelism": "TP1", "arrival": "burst", "n_chips": 1}
        | {"offered_rate_req_s": "inf", "achieved_rate_req_s": 10, "n_requests": 200, "input_len": 1000, "output_len": 200}
        | {"config": '{"method":"mtp","num_speculative_tokens":1}', "ttft_p50_ms": 4000},
        {"tp": 1},
        {"rate": np.inf, "requests": 200, "draft_tokens": 1},
        4000.0,
    ),
    (
        measured.OPEN_LOOP,
        {"model": "Qwen3-32B-FP8", "chip": "L20", "framework": "vLLM 0.11.0 + AIBrix", "parallelism": "1P1D TP4", "n_chips": 8}
        | {"arrival": "rate 16 capped at 2 in flight", "config": "KV hit ratio 60%", "offered_rate_req_s": 16}
        | {"input_len": 6000, "output_len": 80, "ttft_mean_ms": 805.04},
        {"tp": 4},
        {"concurrency": 2, "prefix_hit_rate": 0.6},
        805.04,
    ),
]


@pytest.mark.parametrize(("form", "cells", "plan", "load", "value"), SAID)
def test_other_files_of_serving_are_read(tmp_path, form, cells, plan, load, value):
    file = tmp_path / "rows.csv"
    row = dict.fromkeys((*form.text, *form.numbers)) | cells
    pl.DataFrame({name: [None if cell is None else str(cell)] for name, cell in row.items()}).write_csv(file)
    found, frame = read("serving", file)
    assert found is form
    arguments = form.ask(frame.drop(list(form.measured), strict=False))[0].call["arguments"]
    assert arguments["plan"]["arguments"].items() >= ({"tp": 1} | plan).items()
    assert arguments["load"]["arguments"].items() >= load.items()
    answer = validation.validate("serving", file).rows.row(0, named=True)
    assert answer["measured"] == pytest.approx(value)
    assert answer["predicted"] is not None, answer["skipped"]
    assert 0.2 < answer["predicted"] / value < 5


@pytest.mark.parametrize(
    ("model", "said", "weights", "cache"),
    [
        ("deepseek-ai/DeepSeek-R1", None, "fp8", "fp8"),
        ("DeepSeek-V3/R1", "BF16", "bf16", "bf16"),
        ("openai/gpt-oss-20b", "KV FP8 (weights MXFP4)", "fp4", "fp8"),
        ("gpt-oss-20b", "BF16 KV", "fp4", "fp8"),
        ("Llama-3.1-8B", "KV FP8 (weights BF16)", "bf16", "fp8"),
        ("Llama-3.1-8B", "BF16-weights-FP8-KV", "bf16", "fp8"),
        ("Llama-3.1-8B", "W4A16", "int4", "bf16"),
        ("Llama-3.1-8B", "AWQ-Marlin", "int4", "bf16"),
        ("Llama-3.1-8B", "GPTQ-Marlin-Int8", "int8", "bf16"),
        ("nvidia/Llama-3.1-8B-Instruct-FP4", None, "fp4", "fp8"),
    ],
)
def test_formats_are_read_as_files_say_them(model, said, weights, cache):
    row = {"model": model, "chip": "b200", "framework": "vLLM", "input_len": 1, "output_len": 1}
    plan = measured._call(row, said, {}, {})["arguments"]["plan"]["arguments"]
    assert (plan["precision"], plan["kv_precision"]) == (weights, cache)


def test_a_format_that_serving_does_not_run_in_is_refused():
    with pytest.raises(InputError, match="precision is Q3_K_M: not one that serving runs in"):
        precision_of("Q3_K_M", catalogue.chip("H100"))


@pytest.mark.parametrize("text", ["TP8", "tp8", "TP=8", "TP 8, MTP-1", "TP8 + EP"])
def test_layouts_are_read_as_files_say_them(text):
    assert measured._layout(text, 8) == {"tp": 8, "attention_dp": 1, "replicas": 1}
    assert measured._layout(f"2 x {text}", 16)["replicas"] == 2


def test_experts_are_no_replicas():
    assert measured._layout("EP96 +96 redundant experts", 96) == {"tp": 1, "attention_dp": 96, "replicas": 1}
    assert measured._layout("EP16 per instance", 32) == {"tp": 1, "attention_dp": 16, "replicas": 2}


def test_what_no_call_says_is_refused_by_name():
    row = dict.fromkeys((*measured.WIDE_EP.text, *measured.WIDE_EP.numbers)) | {"phase": "prefill"}
    with pytest.raises(InputError, match="weights are offloaded to the host"):
        measured._wide_ep(row | {"prefill_parallel": "EP2 (weights offloaded to host)"})
    row = dict.fromkeys((*measured.OPEN_LOOP.text, *measured.OPEN_LOOP.numbers)) | {"offered_rate_req_s": "4"}
    with pytest.raises(InputError, match="hits in the prefix cache are not stated"):
        measured._open_loop(row | {"config": "warm"})


def test_a_saved_benchmark_at_a_rate_is_a_run_of_so_many_requests(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps(RESULT | {"max_concurrency": None, "request_rate": 12.0}))
    calls = validation.validate("serving", tmp_path / "run.json").rows["call"]
    assert all("rate=12" in call and "requests=640" in call for call in calls)


@pytest.mark.parametrize("text", ["TP0", "defaults", "Parallelism: TP+DP Attention", None])
def test_layouts_without_degrees_are_refused(text):
    with pytest.raises(InputError, match="the layout is not stated"):
        measured._layout(text, 8)


def test_a_row_that_cannot_be_is_skipped_alone():
    row = {"model": "Qwen3-4B", "chip": "H20", "framework": "SGLang", "n_chips": 1.0, "concurrency": 1.0, "measurement": "speed"}
    rows = [dict.fromkeys((*measured.QUANT.text, *measured.QUANT.numbers)) | row | {"speed_unit": "total tok/s"} for _ in range(2)]
    rows[0] |= {"input_len": 6144.0, "output_len": 2048.0, "n_chips": 0.5}
    rows[1] |= {"input_len": 6144.0, "output_len": 2048.0}
    bad, good = measured.QUANT.ask(pl.DataFrame(rows, infer_schema_length=None))
    assert bad.skipped == "n_chips is 0.5; expected a whole number"
    assert good.call


@pytest.mark.parametrize(
    ("text", "framework", "version"),
    [("TRT-LLM 1.2", "TensorRT-LLM", "1.2"), ("TensorRT LLM v1.0", "TensorRT-LLM", "1.0"), ("vllm==0.10.1", "vLLM", "0.10.1")],
)
def test_software_is_known_however_it_is_spelt(text, framework, version):
    assert software(text) == (framework, version)


@pytest.mark.parametrize(
    ("unit", "value"),
    [
        ("output tok/s/GPU (tok/s/user 23 to 43)", 80.0),
        ("output tokens/s/chip", 80.0),
        ("output tok/s", 20.0),
        ("total tok/s", 5.0),
        ("total tok/s/GPU", 20.0),
        ("tok/s/user", 12.5),
        ("mean TPOT ms", 80.0),
    ],
)
def test_speeds_are_read_in_their_unit(unit, value):
    row = {"n_chips": 4, "input_len": 300, "output_len": 100, "value_unit": unit, "spec_value": 80.0}
    assert measured._converted(row, "spec_value") == value


@pytest.mark.parametrize("unit", ["ratio of tok/s/user", "req/s", ""])
def test_what_is_no_speed_is_refused(unit):
    with pytest.raises(InputError, match="no speed is stated"):
        measured._speed({"n_chips": 4}, unit)


def test_speculation_of_unstated_depth_drafts_as_documented():
    row = {"model": "Kimi-K2.5-MXFP4", "chip": "MI355X", "framework": "vLLM", "n_chips": 4, "parallelism": "TP4", "concurrency": 4}
    row |= {"value_unit": "output tok/s/GPU", "concurrency_unit": "requests", "acceptance_len_tokens_per_step": None}
    row |= {"input_len": 1024, "output_len": 1024, "draft_len": "engine default"}
    assert measured._spec(row)[0]["arguments"]["load"]["arguments"]["draft_tokens"] == measured.DRAFTS


def test_a_request_longer_than_the_context_is_asked_of_a_model_that_holds_it():
    row = {"model": "Qwen3-4B", "chip": "H20", "framework": "SGLang", "input_len": 63488, "output_len": 2048}
    llm = measured._call(row, "BF16", {"tp": 1}, {"concurrency": 1})["arguments"]["llm"]
    assert (llm["call"], llm["arguments"]["name"], llm["arguments"]["context"]) == ("catalogue.LLM", "Qwen3-4B", 65536)


def test_speculation_is_none_however_it_is_spelt():
    row = dict.fromkeys((*measured.DEEPSEEK.text, *measured.DEEPSEEK.numbers)) | R1
    said = [measured._r1(pl.DataFrame([row | {"spec_method": text}]))["draft_tokens"][0] for text in ("none", "None", None, "mtp")]
    assert said == [0, 0, 0, measured.DRAFTS]


def test_a_pool_of_no_known_phase_is_refused():
    row = dict.fromkeys((*measured.WIDE_EP.text, *measured.WIDE_EP.numbers)) | {"phase": "magic"}
    with pytest.raises(InputError, match="phase 'magic' is none of prefill, decode, aggregated, disagg"):
        measured._wide_ep(row)


def test_half_a_chip_is_no_number_of_chips():
    row = {"n_prefill_chips": 0.5, "input_len": 1024.5, "n_chips": -1.0}
    with pytest.raises(InputError, match=r"n_prefill_chips is 0\.5; expected a whole number"):
        measured._number(row, "n_prefill_chips")
    with pytest.raises(InputError, match="n_chips is -1; leave it blank where it is not known"):
        measured._number(row, "n_chips")
    assert measured._number(row, "input_len") == 1024.5


def test_the_rate_at_which_drafts_stand_gives_the_tokens_a_step():
    # Leviathan et al. (2023), equation 1: (1 - a^(g + 1)) / (1 - a)
    assert measured.acceptance_rate((1 - 0.7**4) / 0.3, 3) == pytest.approx(0.7, abs=1e-4)


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
    fitted = validation.calibrate("serving", file)
    validation.write_tables(fitted, tmp_path)
    assert fitted["serving"].height >= catalogue.table("calibration/serving").height
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
        ("[1, 2]", "of no known kind: it begins with '[1, 2]'"),
        (
            json.dumps({"backend": "vllm", "ttft": 3}),
            "of no known kind: it begins with 'backend, ttft'",
        ),
        ("[" * 100_000, "not JSON"),
        (json.dumps(RESULT | {"completed": 0}), "completed is '0.0'; expected a whole number from 1"),
        (json.dumps(RESULT | {"completed": -1}), "completed is '-1'"),
        (json.dumps(RESULT | {"completed": True}), "completed is 'True'"),
        (json.dumps(RESULT | {"tp": "eight"}), "tp is 'eight'; expected a number from 0"),
        (json.dumps(RESULT | {"tp": "0"}), "tp is '0.0'; expected a whole number from 1"),
        (json.dumps(RESULT | {"pp": [2]}), "pp is '[2]'"),
        (json.dumps(RESULT | {"output_throughput": float("inf")}), "output_throughput is 'inf'; expected a number from 0"),
        (json.dumps(RESULT | {"median_ttft_ms": float("nan")}), "median_ttft_ms is 'nan'"),
        (json.dumps(RESULT | {"total_input_tokens": 10**400}), "total_input_tokens is '1000"),
        (json.dumps({k: v for k, v in RESULT.items() if k != "chip"}), "does not tell chip: --chip ... would"),
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
    assert readers.read(file).frame["request_rate"].to_list() == [None, None, None, 4.0]


def test_damaged_benchmarks_are_read_or_refused(read_mutants):
    for frame in read_mutants(
        lambda path: validation.score.read("serving", path)[1], json.dumps([RESULT, RESULT], indent=1).encode(), "run.json"
    ):
        numbers = frame.select(pl.col(pl.Float64)).to_numpy()
        assert not (numbers < 0).any()
        assert not np.isinf(numbers).any()


@pytest.mark.parametrize(
    ("cell", "value", "reason"),
    [("chip", "", "chip is not stated"), ("concurrency", "", "concurrency is not stated"), ("n_chips", "", "n_chips is not stated")],
)
def test_what_a_call_needs_is_not_made_up(tmp_path, cell, value, reason):
    frame = pl.read_csv(catalogue.path("measured/serving.csv"), infer_schema_length=0).filter(pl.col("mode") == "closed_loop").head(1)
    frame.with_columns(pl.lit(value).alias(cell)).write_csv(tmp_path / "own.csv")
    assert reason in str(validation.validate("serving", tmp_path / "own.csv"))


def test_what_is_measured_below_zero_is_no_measurement(tmp_path):
    frame = pl.read_csv(catalogue.path("measured/serving.csv"), infer_schema_length=0).filter(pl.col("mode") == "closed_loop").head(1)
    frame.with_columns(tpot_ms=pl.lit("-5")).write_csv(tmp_path / "own.csv")
    rows = validation.validate("serving", tmp_path / "own.csv").rows.filter(pl.col("quantity") == "tpot_ms")
    assert rows["measured"].to_list() == [None]
    assert "is no number" in rows["skipped"][0]
