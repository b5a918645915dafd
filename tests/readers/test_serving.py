"""Results of serving benchmarks, small ones written anew in the layout of each tool."""

import json
import re

import polars as pl
import pytest

from workbench import readers, validation
from workbench.errors import DataError
from workbench.readers import serving
from workbench.readers.source import Refused

TOLD = {"chip": "H200", "tp": 8, "precision": "fp8", "model": "Llama-3.3-70B"}
VLLM = {
    **{"backend": "vllm", "model_id": "meta-llama/Llama-3.1-8B-Instruct", "max_concurrency": 8, "request_rate": "inf", "completed": 10},
    **{"total_input_tokens": 10240, "total_output_tokens": 5120, "output_throughput": 800.0, "mean_ttft_ms": 90.0, "median_ttft_ms": 80.0},
    **{"p99_ttft_ms": 200.0, "median_tpot_ms": 9.0, "chip": "A100", "tp": "2", "precision": "awq"},
}
SGLANG = {
    **{"backend": "sglang", "request_rate": 2.0, "max_concurrency": None, "completed": 10, "total_input_tokens": 5000},
    **{
        "total_output_tokens": 4000,
        "output_throughput": 900.0,
        "median_ttft_ms": 85.0,
        "median_itl_ms": 13.5,
        "median_e2e_latency_ms": 7000.0,
    },
}
INFERENCEX = {
    **{"hw": "h200", "tp": 8, "conc": 16, "model": "meta-llama/Llama-3.3-70B-Instruct", "framework": "vllm", "precision": "fp8"},
    **{"isl": 1024, "osl": 512, "output_tput_per_gpu": 150.0, "median_ttft": 0.08, "median_tpot": 0.0123, "dp_attention": "false"},
}
ROW = {
    **{"hardware": "b200", "framework": "sglang", "model": "Llama-3.3-70B", "precision": "fp4", "disagg": False, "decode_tp": 4},
    **{
        "num_prefill_gpu": 4,
        "num_decode_gpu": 4,
        "isl": 1024,
        "osl": 1024,
        "conc": 32,
        "image": "lmsysorg/sglang:v0.5.2",
        "date": "2026-09-01",
    },
    "metrics": {"median_ttft": 0.1, "median_tpot": 0.01, "output_tput_per_gpu": 700.0, "avg_power_w": 900.0},
}
AIPERF = {
    **{"output_token_throughput": {"avg": 512.0}, "time_to_first_token": {"avg": 0.01, "p50": 0.0095, "unit": "sec"}},
    **{"inter_token_latency": {"avg": 2.1, "p50": 2.0, "unit": "ms"}, "request_latency": {"avg": 50.0}, "request_count": {"avg": 100}},
    **{"input_sequence_length": {"avg": 1024.0}, "output_sequence_length": {"avg": 128.0}},
    "input_config": {"endpoint": {"model_names": ["Qwen/Qwen3-8B"]}, "loadgen": {"concurrency": 4}},
}
TRTLLM = {
    "engine": {"model": "meta-llama/Llama-3.1-8B", "version": "1.0.0", "dtype": "bfloat16", "quantization": "FP8", "kv_cache_dtype": "FP8"},
    "world_info": {"tp_size": 1, "pp_size": 1, "world_size": 1, "issue_rate": "inf"},
    "request_info": {"num_requests": 1000, "avg_input_length": 128.0, "avg_output_length": 64.0},
    "performance": {"system_output_throughput_tok_s": 25000.0},
}
LLMPERF = {
    **{"model": "m", "num_concurrent_requests": 2, "mean_input_tokens": 500, "mean_output_tokens": 100},
    **{"results_ttft_s_mean": 0.2, "results_ttft_s_quantiles_p50": 0.15, "results_inter_token_latency_s_mean": 0.02},
    **{"results_mean_output_throughput_token_per_s": 90.0, "results_num_completed_requests": 20},
}
GENAI_CSV = """\
Metric,avg,min,max,p99,p50
Time To First Token (ms),10.0,8,20,14,9.5
Inter Token Latency (ms),"2.1",1,3,4,2.0
Request Latency (ms),50,40,70,70,50
Input Sequence Length (tokens),"1,024.00",1,1,1,1
Output Sequence Length (tokens),128,1,1,1,1

Metric,Value
Output Token Throughput (tokens/sec),"5,120.5"
Request Count (count),100
"""


@pytest.fixture
def file(tmp_path):
    def make(content, name="run.json"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return make


@pytest.mark.parametrize(
    ("saved", "told", "expected"),
    [
        (
            VLLM,
            {},
            {"weight_precision": "int4", "tp": 2, "ttft_ms": 80, "ttft_mean_ms": 90, "ttft_p99_ms": 200, "tpot_ms": 9, "input_len": 1024},
        ),
        (SGLANG, TOLD, {"mode": "open_loop_slo", "tpot_ms": 13.5, "tpot_is": "itl_median_ms", "output_len": 400, "e2el_median_ms": 7000}),
        (INFERENCEX, {}, {"chip": "H200", "concurrency": 16, "tpot_ms": 12.3, "ttft_ms": 80, "output_tok_s_per_gpu": 150, "n_chips": 8}),
        (ROW, {}, {"chip": "B200", "tp": 4, "ttft_ms": 100, "power_w_per_gpu": 900, "framework_version": "0.5.2", "date": "2026-09-01"}),
        (
            AIPERF,
            TOLD | {"model": "Qwen3-8B"},
            {"ttft_ms": 9.5, "tpot_ms": 2, "concurrency": 4, "output_tok_s_per_gpu": 64, "model_key": "Qwen3-8B"},
        ),
        (AIPERF, {"chip": "H200", "tp": 1, "precision": "bf16"}, {"model_key": "Qwen/Qwen3-8B", "output_len": 128}),
        (
            TRTLLM,
            {"chip": "H100"},
            {"mode": "offline_max", "output_tok_s_per_gpu": 25000, "weight_precision": "fp8", "framework": "TensorRT-LLM"},
        ),
        (LLMPERF, TOLD, {"ttft_ms": 150, "ttft_mean_ms": 200, "tpot_ms": 20, "concurrency": 2, "output_len": 100}),
    ],
    ids=["vLLM", "SGLang", "InferenceX", "InferenceX row", "AIPerf, seconds", "AIPerf", "trtllm-bench", "llmperf"],
)
def test_results_of_every_tool_are_read(file, saved, told, expected):
    row = readers.read(file(saved), told).frame.row(0, named=True)
    assert {name: row[name] for name in expected} == pytest.approx(expected)
    assert validation.validate("serving", file(saved), told=told).rows.height > 0


def test_prefill_and_decode_on_chips_of_their_own_are_read(file):
    apart = {"disagg": True, "spec_method": "mtp", "prefill_tp": 4, "prefill_num_workers": 1, "decode_num_workers": 2, "num_decode_gpu": 8}
    found = readers.read(file(ROW | apart)).frame.row(0, named=True)
    expected = {"parallel": "P:1x(TP4DP1) D:2x(TP4DP1)", "n_chips": 12, "mode": "disagg", "draft_tokens": 2, "mean_len_factor": 0.9}
    assert {name: found[name] for name in expected} == expected
    assert validation.validate("serving", file(ROW | apart)).rows["predicted"].count() == 3


def test_the_csv_of_genai_perf_is_read(file):
    row = readers.read(file(GENAI_CSV, "profile.csv"), TOLD).frame.row(0, named=True)
    assert [row[name] for name in ("ttft_ms", "tpot_ms", "input_len", "output_len", "output_tok_s_per_gpu")] == [
        9.5,
        2.0,
        1024,
        128,
        5120.5 / 8,
    ]


def test_a_summary_of_mlperf_is_read_and_what_is_left_out_is_said(file):
    text = "Submitter,Accelerator,# of Accelerators,Framework,Model,Scenario,Result,Units\n"
    text += "A,NVIDIA B200-SXM-180GB,8,TensorRT 10.8,llama2-70b-99,Offline,98858.0,Tokens/s\n"
    text += "A,NVIDIA H200,8,TensorRT,resnet,Offline,1,Samples/s\nA,NVIDIA H200,8,TensorRT,llama2-70b-99,MultiStream,1,Tokens/s\n"
    found = readers.read(file(text, "summary.csv"), {"output_len": 294})
    row = found.frame.row(0, named=True)
    assert (row["chip"], row["model_key"], row["output_tok_s_per_gpu"]) == ("B200", "llama2-70b", 98858 / 8)
    assert [line.partition("left out: ")[2][:12] for line in found.said] == ["1 (line 3): ", "1 (line 4): ", ""]
    assert "prompts of a chat, the chip's smallest format" in found.said[2]
    assert (row["parallel"], row["date"]) == ("", None)  # neither is stated
    assert validation.validate("serving", file(text, "summary.csv"), told={"output_len": 294}).rows["predicted"].count() == 1


def test_what_arrives_in_mlperf_is_served_at_its_rate(file):
    text = "Submitter,Accelerator,# of Accelerators,Framework,Model,Scenario,Result,Units\n"
    for model, scenario in (("llama2-70b-99", "Server"), ("llama2-70b-interactive-99", "Interactive"), ("llama2-70b-99", "SingleStream")):
        text += f"A,NVIDIA H200,8,TensorRT,{model},{scenario},2940.0,Tokens/s\n"
    found = readers.read(file(text, "summary.csv"), {"output_len": 294}).frame
    assert found["mode"].to_list() == ["open_loop_slo", "open_loop_slo", "closed_loop"]
    assert found.select("request_rate", "concurrency").rows() == [(10.0, None), (10.0, None), (None, 1.0)]
    rows = validation.validate("serving", file(text, "summary.csv"), told={"output_len": 294}).rows
    asked = ["tpot_ms", "ttft_ms", "ttft_p99_ms", "tpot_p99_ms"]
    assert rows.filter(position=0)["quantity"].to_list() == asked  # predicted at the rate: no time was measured
    assert rows.filter(position=0)["predicted"].null_count() == rows.filter(position=0)["measured"].count() == 0
    with pytest.raises(DataError, match="tokens/s over the mean answer, which is not there: --output-len"):
        readers.read(file(text.partition("A,NVIDIA H200,8,TensorRT,llama2-70b-99,SingleStream")[0], "summary.csv"))


@pytest.mark.parametrize(
    ("blank", "said"),
    [("input_len", "input_len is not stated"), ("weight_precision", "weight_precision is not stated")],
)
def test_a_blank_of_a_measured_row_is_not_guessed(tmp_path, blank, said):
    rows = pl.read_csv(validation.score.shipped("serving"), infer_schema=False).filter(mode="closed_loop").head(3)
    rows.with_columns(pl.lit(None, pl.String).alias(blank)).write_csv(tmp_path / "mine.csv")
    report = validation.validate("serving", tmp_path / "mine.csv")
    assert report.rows["predicted"].count() == 0
    assert set(report.reasons()) == {said}


def test_a_format_that_the_chip_lacks_is_refused(tmp_path):
    rows = pl.read_csv(validation.score.shipped("serving"), infer_schema=False).filter(mode="closed_loop").head(1)
    rows.with_columns(chip=pl.lit("A100"), weight_precision=pl.lit("fp8")).write_csv(tmp_path / "mine.csv")
    (reason,) = validation.validate("serving", tmp_path / "mine.csv").reasons()
    assert re.search("A100.*fp8|fp8.*A100", reason)


def test_a_folder_and_lines_of_results_are_one_table(file):
    folder = file(SGLANG, "results/one.jsonl").parent
    file("\n".join([json.dumps(SGLANG)] * 2), "results/more.jsonl")
    file("nothing", "results/notes.txt")
    found = readers.read(folder, TOLD)
    assert found.frame["source"].to_list() == ["more.jsonl", "more.jsonl", "one.jsonl"]
    assert found.said == [f"{folder / 'notes.txt'}: left out: of no known kind"]
    two = validation.validate("serving", [folder / "one.jsonl", folder / "more.jsonl"], told=TOLD)
    assert two.rows["position"].n_unique() == 3


@pytest.mark.parametrize(
    ("word", "precision"),
    [("awq", "int4"), ("GPTQ", "int4"), ("w4a16", "int4"), ("W8A8", "int8"), ("bfloat16", "bf16"), ("FP8", "fp8"), ("w8a8_fp8", "fp8")],
)
def test_words_for_formats(word, precision):
    assert serving.precision_of(word) == precision


@pytest.mark.parametrize("word", ["auto", "q4_k_m", "fp7", "none"])
def test_a_word_that_is_no_format_is_never_bf16(file, word):
    with pytest.raises(Refused, match="is no format that is known: --precision says one of fp32, bf16"):
        serving.precision_of(word)
    with pytest.raises(DataError, match="is no format that is known"):
        validation.validate("serving", file(VLLM | {"precision": word}))


@pytest.mark.parametrize(
    ("saved", "said"),
    [
        (SGLANG, "does not tell chip, tp, precision, model: --chip ... --tp ... --precision ... --model ... would"),
        (INFERENCEX | {"disagg": True}, "prefill and decode on chips of their own, without workers, tp or chips of prefill"),
        (
            VLLM | {"total_output_tokens": None},
            "the length of output is not there (totals and completed, or isl and osl): --output-len would tell it",
        ),
        (
            AIPERF | {"chip": "H200", "tp": 1, "precision": "fp8", "inter_token_latency": {"avg": 2, "unit": "weeks"}},
            "inter_token_latency.unit is 'weeks'",
        ),
        ({"model_type": "llama", "hidden_size": 8}, "a model's configuration: workbench show llm FILE"),
    ],
)
def test_what_is_missing_is_told_at_once_with_the_options(file, saved, said):
    with pytest.raises(DataError) as raised:
        validation.validate("serving", file(saved))
    assert said in str(raised.value)


def test_options_are_not_for_a_csv_of_measurements():
    with pytest.raises(DataError, match="--chip: a CSV of measurements says it in its columns"):
        validation.validate("gemm", validation.score.shipped("gemm"), told={"chip": "H100"})


@pytest.mark.parametrize("saved", [VLLM, SGLANG, ROW, AIPERF, TRTLLM, LLMPERF])
def test_damaged_results_are_read_or_refused(read_mutants, saved):
    for found in filter(None, read_mutants(lambda path: readers.read(path, TOLD), json.dumps(saved).encode(), "run.json", n=60)):
        assert found.frame.height == 1


def test_damaged_tables_of_results_are_read_or_refused(read_mutants):
    read_mutants(lambda path: readers.read(path, TOLD), GENAI_CSV.encode(), "run.csv", n=100)
