"""Rows of measured operating points as models, layouts, loads and origins."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from workbench import catalogue, formats
from workbench.arrays import join, take
from workbench.catalogue import Chip
from workbench.checks import row_numbers
from workbench.chips.machine import Machine
from workbench.chips.serving.constants import Origin
from workbench.chips.serving.plan import Load, ServingPlan
from workbench.chips.serving.work import Demand
from workbench.errors import InputError, UnknownName
from workbench.llm import LLM, Transformer

TEXT = (
    *("source_group", "group", "model_key", "weight_precision", "kv_precision", "chip", "parallel", "framework", "framework_version"),
    *("mode", "source"),
)
NUMBERS = (
    *("params_total_b", "params_active_b", "layers", "hidden", "ffn", "heads", "kv_heads", "head_dim", "mla_kv_lora", "mla_rope_dim"),
    *("n_experts", "top_k", "moe_ffn", "vocab", "n_chips", "tp", "pp", "ep", "dp_attention", "prefill_chips", "decode_chips", "input_len"),
    *("output_len", "mean_len_factor", "concurrency", "avg_batch", "request_rate", "usable"),
    *("tpot_ms", "ttft_ms", "output_tok_s_per_gpu", "power_w_per_gpu", "energy_j_per_out_token"),
)
WHOLE = NUMBERS[NUMBERS.index("layers") : NUMBERS.index("input_len")]  #: of them dimensions and degrees
CHIPS = {"A100-40": "A100 40GB", "A100-80": "A100", "RTXPRO6000": "RTX PRO 6000", "GH200": "GH200 96GB"}
#: Input tokens where a campaign states none.
INPUT = {"MLPerf-v5.1": 1000.0, "ML.ENERGY-v3": 500.0, "ML.ENERGY-v2": 500.0}
#: Ways in which rows were run, of modes other than a closed loop.
RUN = {"offline_max": "offline", "static_batch": "offline", "open_loop_slo": "open", "disagg": "apart", "closed_loop_natural": "running"}
#: Words that tell a framework, in small letters.
MARKS = {"tensorrt": "TensorRT-LLM", "nim": "TensorRT-LLM", "sgl": "SGLang", "vllm": "vLLM"}
MODES = ("closed_loop", "closed_loop_natural", "disagg", "offline_max", "static_batch", "open_loop_slo")
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Rows:
    """Rows that can be predicted."""

    position: NDArray[np.intp]
    mode: NDArray[np.str_]
    origins: Any  #: an array of `Origin`
    demand: Demand
    prompt: Demand  #: of the replica that works on prompts: another one where prefill is apart
    rate: Array  #: requests a second of a replica, in the open loop
    share: Array  #: chips that decode, of all
    starved: Array  #: prefill replicas over decode replicas

    @cached_property
    def kinds(self) -> list[tuple[str, Any, Rows]]:
        """Rows by the way they were run: kind, their places, and themselves."""
        of = np.array([RUN.get(mode, "closed") for mode in self.mode.tolist()])
        return [(kind, at, take(self, at)) for kind in dict.fromkeys(of.tolist()) for at in [np.flatnonzero(of == kind)]]


def stated(rows: pl.DataFrame) -> tuple[Rows | None, dict[int, str]]:
    """The rows that state enough, and for each other why it does not."""
    good: list[dict[str, Any]] = []
    reasons: dict[int, str] = {}
    for position, row in enumerate(rows.iter_rows(named=True)):
        try:
            good.append({"position": position, "row": row} | _layout(row))
        except (UnknownName, InputError) as error:
            reasons[position] = str(error)
    if not good:
        return None, reasons

    def column(name: str, kind: Any = float) -> Any:
        return np.array([g[name] for g in good], dtype=kind)

    demand = _demands(good, "decode")
    return (
        Rows(
            position=column("position", int),
            mode=column("mode", str),
            origins=np.array([_origin(g) for g in good]),
            demand=demand,
            prompt=_demands(good, "prefill"),
            rate=column("rate"),
            share=column("share"),
            starved=column("starved"),
        ),
        reasons,
    )


class _Replica(ServingPlan):
    """As a row has it: a submission that does not state its groups may come to a part of one."""

    def __post_init__(self) -> None:
        pass


class _Asked(Load):
    """As a row has it: of one of many replicas it may be less than a request in flight."""

    def __post_init__(self) -> None:
        pass


def _demands(good: list[dict[str, Any]], side: str) -> Demand:
    """Demands of all rows: those of a chip and formats at once."""
    keys, parts, places = [(g["chip"], g["precision"], g["cache"]) for g in good], [], []
    for chip, precision, cache in dict.fromkeys(keys):
        at = [i for i, key in enumerate(keys) if key == (chip, precision, cache)]
        tp, pp, dp, users = (np.array([good[i][side][n] for i in at], dtype=float) for n in ("tp", "pp", "dp", "users"))
        asked, written = (np.array([good[i][n] for i in at], dtype=float) for n in ("input", "output"))
        model, machine = Transformer.stack([good[i]["llm"] for i in at]), Machine.of(chip, formats.FORMATS[precision])
        parts.append(Demand.of(model, machine, _Replica(tp, precision, cache, pp, dp), _Asked(users, asked, written)))
        places.append(at)
    return take(join(parts, [len(at) for at in places]), np.argsort(np.concatenate(places)))


def _layout(row: dict[str, Any]) -> dict[str, Any]:
    """Layout and load as the row states them."""
    if row["mode"] not in MODES:
        raise InputError(f"mode {row['mode']!r} is none of {', '.join(MODES)}")
    row_numbers(row, NUMBERS, WHOLE)
    if row["usable"] == 0:
        raise InputError("the file marks the row as not usable")
    for name in ("n_chips", "output_len"):
        if not row[name]:
            raise InputError(f"{name} is not stated")
    chip = catalogue.chip(CHIPS.get(row["chip"], row["chip"] or ""))
    llm = _llm(row)
    precision = _precision(row, chip)
    chip.peak(precision)
    cache = "fp8" if precision in ("fp8", "fp4") or (row["kv_precision"] or "") == "fp8" else "bf16"
    n, factor = row["n_chips"], row["mean_len_factor"] or 1.0
    users = row["avg_batch"] or row["concurrency"] or np.inf
    common = {
        "mode": row["mode"],
        "chip": chip,
        "llm": llm,
        "precision": precision,
        "cache": cache,
        "input": max((row["input_len"] or INPUT.get(row["source_group"] or "", 1000.0)) * factor, 1.0),
        "output": max(row["output_len"] * factor, 1.0),
        "share": 1.0,
        "starved": 1.0,
        "rate": 1.0,
    }
    if row["mode"] == "disagg":
        return common | _apart(row, users)
    if row["tp"]:
        tp = min(row["tp"], n)
        replica = n
    else:  # a submission that does not say: the fewest chips whose memory holds the weights well
        tp = replica = min(n, 2 ** np.ceil(np.log2(max(llm.params * formats.FORMATS[precision].bytes / (0.6 * chip.hbm_bytes), 1.0))))
    pp = min(row["pp"] or 1.0, replica / tp)
    side = {"tp": tp, "pp": pp, "dp": max(replica / (tp * pp), 1.0), "users": users}
    return common | {"decode": side, "prefill": side, "rate": (row["request_rate"] or 1.0) * replica / n}


def _apart(row: dict[str, Any], users: float) -> dict[str, Any]:
    """Prefill and decode replicas as ``P:2x(TP1DP8EP8) D:7x(TP1DP8EP8)`` states them."""
    sides = {}
    for key, letter, chips in (("prefill", "P", row["prefill_chips"]), ("decode", "D", row["decode_chips"])):
        stated = re.search(letter + r":(\d+)x\(TP(\d+)DP(\d+)", row["parallel"] or "")
        if not stated or not chips or not all(1 <= float(degree) <= chips for degree in (stated[1], stated[2])):
            raise InputError("the layout of prefill and decode is not stated")
        count, tp = float(stated[1]), min(float(stated[2]), chips / float(stated[1]))
        sides[key] = {"tp": tp, "pp": 1.0, "dp": max(chips / count / tp, 1.0), "users": users / count, "count": count, "chips": chips}
    p, d = sides["prefill"], sides["decode"]
    return {"prefill": p, "decode": d, "share": d["chips"] / (p["chips"] + d["chips"]), "starved": p["count"] / d["count"]}


def _origin(good: dict[str, Any]) -> Origin:
    row = good["row"]
    return Origin(
        chip=good["chip"].name,
        precision=good["precision"],
        framework=framework_of(row["framework"] or ""),
        version=row["framework_version"] or "",
        campaign=row["source_group"] or "",
        model=good["llm"].name,
        mixture=bool(good["llm"].experts),
    )


def framework_of(text: str) -> str:
    """The framework that a text names; none if it names none."""
    return next((name for mark, name in MARKS.items() if mark in text.lower()), "")


def _precision(row: dict[str, Any], chip: Chip) -> str:
    """Format of the weights; a submission that states none runs the smallest that its chip has."""
    text = (row["weight_precision"] or "").lower()
    if not text:
        return next(p for p in reversed(formats.LADDER) if chip.runs(p))
    found = next((p for p in _STATED if p in text), "bf16")
    if not chip.runs(found):
        return "fp8" if found == "fp4" and chip.runs("fp8") else "int4" if found == "fp4" else "bf16"
    return "bf16" if found == "fp16" else found


#: Formats that serving was measured in, the narrowest first: what is stated of a mixture of formats is its weights'.
_STATED = sorted(dict.fromkeys(f.weights for f in formats.FORMATS.values()), key=lambda p: formats.FORMATS[p].bits)


def _llm(row: dict[str, Any]) -> LLM:
    """The model of the catalogue, or one made of the row's dimensions."""
    try:
        return catalogue.llm(row["model_key"] or "")
    except UnknownName:
        if not all(row[name] for name in ("layers", "hidden", "heads", "vocab")):
            raise
    experts, layers, hidden, heads = (int(row[n] or 0) for n in ("n_experts", "layers", "hidden", "heads"))
    mla = bool(row["mla_kv_lora"])
    return LLM(
        name=row["model_key"] or "",
        attention="mla" if mla else "gqa",
        layers=layers,
        hidden=hidden,
        heads=heads,
        kv_heads=int(row["kv_heads"] or heads),
        head_dim=int(row["head_dim"] or hidden // heads),
        vocab=int(row["vocab"]),
        context=1 << 20,
        ffn=0 if experts else int(row["ffn"] or 4 * hidden),
        kv_lora_rank=int(row["mla_kv_lora"] or 0),
        qk_nope_head_dim=128 * mla,
        qk_rope_head_dim=int(row["mla_rope_dim"] or 64) * mla,
        v_head_dim=128 * mla,
        experts=experts,
        experts_per_token=int(row["top_k"] or 0),
        moe_ffn=int(row["moe_ffn"] or 0) if experts else 0,
        moe_layers=layers if experts else 0,
        params_published=(row["params_total_b"] or 0) * 1e9 or None,
    )
