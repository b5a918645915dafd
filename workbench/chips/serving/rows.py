"""Measured operating points as calls of `chips.serving`: what a row states becomes its arguments, and nothing else."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from workbench import catalogue, formats
from workbench.calibration.forms import Asked, asked, said
from workbench.catalogue import Chip
from workbench.checks import row_numbers
from workbench.chips.serving.evaluate import BANDS
from workbench.chips.serving.plan import Load, ServingPlan
from workbench.errors import InputError, UnknownName
from workbench.fabric import Cluster
from workbench.llm import LLM

TEXT = (
    *("source_group", "group", "model_key", "weight_precision", "kv_precision", "chip", "parallel", "framework", "framework_version"),
    *("mode", "source", "date"),
)
NUMBERS = (
    *("params_total_b", "params_active_b", "layers", "hidden", "ffn", "heads", "kv_heads", "head_dim", "mla_kv_lora", "mla_rope_dim"),
    *("n_experts", "top_k", "moe_ffn", "vocab", "n_chips", "tp", "pp", "ep", "dp_attention", "prefill_chips", "decode_chips", "input_len"),
    *("output_len", "mean_len_factor", "concurrency", "avg_batch", "request_rate", "n_requests", "draft_tokens", "usable"),
    *("tpot_ms", "ttft_ms", "output_tok_s_per_gpu", "power_w_per_gpu", "energy_j_per_out_token", "ttft_p99_ms", "tpot_p99_ms"),
)
WHOLE = NUMBERS[NUMBERS.index("layers") : NUMBERS.index("input_len")]  #: of them dimensions and degrees
#: Dimensions of a model, and the columns that state them.
DIMENSIONS = {name: name for name in ("layers", "hidden", "heads", "kv_heads", "head_dim", "vocab", "ffn", "moe_ffn")} | {
    **{"experts": "n_experts", "experts_per_token": "top_k", "kv_lora_rank": "mla_kv_lora", "qk_rope_head_dim": "mla_rope_dim"}
}
ENDLESS = 1e15  #: requests of a closed loop that states medians: what its users send at the start, all at once, does not move them
INPUT = 300.0  #: tokens where a submission, or natural chats, state none: of a question of a chat, as Open-Orca has them
#: Words that tell a framework, in small letters.
MARKS = {"tensorrt": "TensorRT-LLM", "trt": "TensorRT-LLM", "nim": "TensorRT-LLM", "sgl": "SGLang", "vllm": "vLLM", "atom": "ATOM"}
#: What of the result a measured quantity is compared with: the prediction and the ends of its interval.
READ = {
    quantity: tuple(f"{path}{' * 1000' * quantity.endswith('_ms')}" for path in (name, f"{band}_low", f"{band}_high"))
    for name, band, quantity in BANDS[:-1]  # but the time of a prompt
}
QUANTITIES, TAILS = tuple(READ)[:5], tuple(READ)[5:]  #: means, and 99th percentiles of arrivals
LATENCY = QUANTITIES[:3]
#: What is predicted of a row, by mode: times where there are users or arrivals, throughput where it is not arrivals'.
EXPECTED = {
    **{"closed_loop": (*LATENCY, "energy_j_per_out_token"), "closed_loop_natural": QUANTITIES, "disagg": LATENCY},
    **{"offline_max": LATENCY[2:], "static_batch": LATENCY[:0:-1], "open_loop_slo": (*LATENCY[:2], *TAILS)},
}

#: What makes the arguments of a call, and those that go without saying.
MAKERS = {"catalogue.LLM": LLM, "fabric.Cluster": Cluster, "chips.ServingPlan": ServingPlan, "chips.Load": Load}
ONE = (("pp", 1), ("attention_dp", 1), ("replicas", 1))
Call = dict[str, Any]


def call(llm: Any, chip: Chip, plan: Call, load: Call, framework: str = "", version: str = "", prefill: Call | None = None) -> Call:
    """The call of `chips.serving` on as many chips as its replicas have, of a model whose context holds the requests."""
    if isinstance(llm, str) and (length := int(load["input_tokens"] + load["output_tokens"])) > catalogue.llm(llm).context:
        llm = said(replace(catalogue.llm(llm), context=length))
    n_chips = sum(int(np.prod([one.get(x, 1) for x in ("tp", "pp", "attention_dp", "replicas")])) for one in (plan, prefill) if one)
    made = {"cluster": ("fabric.Cluster", {"chip": chip.name, "n_chips": n_chips}), "plan": ("chips.ServingPlan", _plain(plan))}
    made |= {"load": ("chips.Load", _plain(load))} | ({"prefill": ("chips.ServingPlan", _plain(prefill))} if prefill else {})
    arguments = {"llm": llm} | {name: {"call": maker, "arguments": given} for name, (maker, given) in made.items()}
    arguments |= {"framework": framework} | ({"version": version} if framework else {})
    return {"call": "chips.serving", "arguments": {name: value for name, value in arguments.items() if value}}


def operating_point(row: Call) -> tuple[Call, Any]:
    """The call of a row of operating points, and what is read of it."""
    if row["mode"] not in EXPECTED:
        raise InputError(f"mode {row['mode']!r} is none of {', '.join(EXPECTED)}")
    row_numbers(row, NUMBERS, WHOLE)
    if row["usable"] == 0:
        raise InputError("the file marks the row as not usable")
    arrivals, in_flight = row["mode"] == "open_loop_slo", row["mode"].startswith("closed_loop") and not row["avg_batch"]
    users = ("request_rate",) * arrivals + ("concurrency",) * in_flight
    lengths = ("output_len",) if not row["tp"] or row["mode"].endswith("natural") else ("input_len", "output_len")
    for name in ("chip", "n_chips", *lengths, *(("weight_precision",) if row["tp"] else ()), *users):  # submissions state no layout
        if not row[name]:
            raise InputError(f"{name} is not stated")
    chip, n, factor, pp = catalogue.chip(row["chip"] or ""), row["n_chips"], row["mean_len_factor"] or 1.0, row["pp"] or 1.0
    precision = precision_of(row["weight_precision"], chip)
    formats_ = {"precision": precision, "kv_precision": cache_of(row["kv_precision"], precision)}
    load = {"concurrency": row["avg_batch"] or row["concurrency"] or np.inf, "output_tokens": max(row["output_len"] * factor, 1.0)}
    load |= {"input_tokens": max((row["input_len"] or INPUT) * factor, 1.0), "draft_tokens": row.get("draft_tokens") or None}
    load |= {"concurrency": 1, "rate": row["request_rate"], "requests": row.get("n_requests") or None} if arrivals else {}
    load |= {"requests": np.inf} if row.get("n_requests") == ENDLESS else {}
    llm, prefill = _llm(row), None
    if row["mode"] == "disagg":
        prefill, plan = (side | formats_ for side in _apart(row))
    else:  # a submission that does not say runs on the fewest chips whose memory holds the weights well
        least = 2 ** np.ceil(np.log2(max(formats.FORMATS[precision].bytes * made(llm).params / (0.6 * chip.hbm_bytes), 1.0)))
        # attention that is not data parallel is split over the ranks that share the experts
        tp = min(max(row["tp"], (row["dp_attention"] == 0) * (row["ep"] or 0)) if row["tp"] else least, n)
        replicas, pp = 1.0 if row["tp"] else n // tp, min(pp, n // tp)
        plan = {"tp": tp, "pp": pp, "attention_dp": max(n // (tp * pp * replicas), 1.0), "replicas": replicas} | formats_
    framework, version = software(row["framework"], row["framework_version"])
    reads = {name: READ[name] for name in EXPECTED[row["mode"]]}
    return call(llm, chip, plan, load, framework, version, prefill), reads


def made(value: Any) -> Any:
    """The object that an argument of a call means, as its caller makes it."""
    return MAKERS[value["call"]](**value["arguments"]) if isinstance(value, dict) else catalogue.llm(value)


def _plain(arguments: Call) -> Call:
    """Whole numbers as such; a single replica goes without saying, as what is not stated does."""
    whole = {k: int(v) if isinstance(v, float) and v.is_integer() else v for k, v in arguments.items()}
    return {k: v for k, v in whole.items() if v is not None and (k, v) not in ONE}


def _apart(row: Call) -> Iterator[Call]:
    """Prefill and decode replicas as ``P:2x(TP1DP8EP8) D:7x(TP1DP8EP8)`` states them."""
    for letter, chips in (("P", row["prefill_chips"]), ("D", row["decode_chips"])):
        stated = re.search(letter + r":(\d+)x\(TP(\d+)DP(\d+)", row["parallel"] or "")
        if not stated or not chips or not all(1 <= float(degree) <= chips for degree in (stated[1], stated[2])):
            raise InputError("the layout of prefill and decode is not stated")
        yield side(chips, float(stated[1]), float(stated[2]))


def side(chips: float, replicas: float, tp: float) -> Call:
    """So many replicas on so many chips: what is no tensor group shares the experts and splits the sequences."""
    each = chips // replicas
    tp = min(tp, each)
    return {"tp": tp, "attention_dp": max(each // tp, 1.0), "replicas": replicas}


def software(text: str | None, version: str | None = "") -> tuple[str, str]:
    """Framework and version that a text names; empty what it does not name."""
    plain = (text or "").lower()
    framework = next((name for mark, name in MARKS.items() if mark in plain), "")
    stated = re.search(r"(?:vllm|sglang|tensorrt[- ]llm|trt-?llm|atom|runtime|release)[-: =(]*v?(\d+\.\d[\w.]*)", plain)
    return framework, version or (stated[1].rstrip(".") if stated else "")


def precision_of(text: str | None, chip: Chip) -> str:
    """Format of the weights; a submission that states none runs the smallest that its chip has."""
    plain = (text or "").lower()
    if not plain:
        return next(p for p in reversed(formats.LADDER) if chip.runs(p))
    found = next((p for word, p in _SAID.items() if word in plain), None)
    if found is None:
        raise InputError(f"precision is {text}: not one that serving runs in")
    return "bf16" if found == "fp16" else found


def cache_of(text: str | None, precision: str) -> str:
    """Format of the key-value cache: of eight bits beside narrow weights, if nothing else is stated."""
    return "fp8" if precision in ("fp8", "fp4") or (text or "") == "fp8" else "bf16"


#: Words for formats that serving was measured in, the narrowest first: what is stated of a mixture of formats is its weights'.
_SAID = {"w4a": "int4"} | {p: p for p in sorted({f.weights for f in formats.FORMATS.values()}, key=lambda p: formats.FORMATS[p].bits)}
_SAID |= {"w8a8": "int8", "e4m3": "fp8", "awq": "int4", "gptq": "int4", "float16": "bf16"}


def llm_of(text: str | None) -> str:
    """Name in the catalogue of a model, which may have publisher, date or format with it; of several the first. Raises `UnknownName`."""
    named = text or ""
    for name in (named, named.partition("/")[0]):
        with contextlib.suppress(UnknownName):
            return catalogue.llm(name).name
    return catalogue.llm(named).name


def _llm(row: Call) -> Any:
    """The model's name in the catalogue, or the call that makes one of the row's dimensions."""
    key = row["model_key"] or ""
    try:
        return llm_of(key)
    except UnknownName:
        if not all(row[name] for name in ("layers", "hidden", "heads", "vocab")):
            raise
    size = {name: int(row[column] or 0) for name, column in DIMENSIONS.items()}
    size |= {"kv_heads": size["kv_heads"] or size["heads"], "head_dim": size["head_dim"] or size["hidden"] // size["heads"]}
    size |= {"ffn": 0, "moe_layers": size["layers"]} if size["experts"] else {"ffn": size["ffn"] or 4 * size["hidden"], "moe_ffn": 0}
    mla = {"qk_nope_head_dim": 128, "qk_rope_head_dim": size["qk_rope_head_dim"] or 64, "v_head_dim": 128}
    size |= mla if size["kv_lora_rank"] else {"qk_rope_head_dim": 0}
    known = {"name": key, "attention": "mla" if size["kv_lora_rank"] else "gqa", "context": 1 << 20}
    return {"call": "catalogue.LLM", "arguments": known | {name: value for name, value in size.items() if value}}


def points(rows: pl.DataFrame) -> list[Asked]:
    """What rows of operating points ask."""
    return asked(rows, operating_point, lambda row: EXPECTED.get(row["mode"], LATENCY))
