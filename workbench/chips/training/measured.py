"""Rows of measured training runs as calls of `training_step`: what kinds `training` and `training-memory` read, ask and are fitted to.

Not told apart: network, interconnect of a node, power cap, optimiser, captured graphs, overlap settings, tensor
parallelism of experts alone, tokens that experts drop, which parts are recomputed, and who measured.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import polars as pl

from workbench import catalogue, formats
from workbench.calibration.forms import Asked, Row, asked, said
from workbench.checks import row_numbers
from workbench.chips.training.constants import FRAMEWORKS, Origin, frameworks
from workbench.chips.training.plan import LORA, RECOMPUTE, TrainingPlan, uneven_stages
from workbench.errors import InputError, UnknownName
from workbench.llm import LLM
from workbench.units import GIGA, TERA

LABELS = ("source_key", "model", "arch", "precision", "chip", "dp_shard", "recompute", "seq_par", "stack", "notes")
WIDTHS = ("hidden", "heads", "ffn", "vocab")
DIMENSIONS = ("layers", "hidden", "heads", "kv_heads", "head_dim", "ffn", "ffn_mats", "vocab", "experts", "topk")
LAYOUT = ("seq", "n_chips", "tp", "pp", "vp", "cp", "ep", "dp", "mbs", "gbs")
FIGURES = ("step_s", "tok_s_chip", "tflops_chip", "mem_gb")  #: what was measured, in columns of which files have some
MEASURED = (
    *(*FIGURES, "mfu_pct", "hfu_pct", "status", "step_s_median", "samples_per_s", "eval_s_median", "warmup_s_median", "mem_gib", "minutes"),
    *("min_run_minutes", "max_run_minutes", "samples_to_converge_median"),
)
NUMBERS = (*DIMENSIONS, *LAYOUT, *FIGURES)
OPTIONAL = (*FIGURES, "training_kind", "mem_kind", "recompute_kinds")
TEXT = (*LABELS, *OPTIONAL[-3:])
#: Kinds of recomputation as Megatron names them.
KINDS = {"core_attn": "attention", "layernorm": "norms", "mla_up_proj": "mla", "mlp": "mlp", "moe": "experts"}
MLPERF_TEXT = ("benchmark", "framework", "chip", "precision", "notes", "duplicate_of")  #: columns of results of MLPerf Training
MLPERF_NUMBERS = ("n_chips", "global_batch", "sequence", "tp", "pp", "vp", "cp", "dp", "mbs", "step_s_median", "mem_gib")
NAMED = {"Composer": "llm-foundry"}  #: frameworks that rows name otherwise
VERSION = re.compile(r"20\d\d(?:-\d\d){0,2}|\d+(?:\.\d+)+")
BENCHMARKS = {"llama2_70b_lora": "Llama-2-70B", "llama31_8b": "Llama-3.1-8B", "gpt3": "GPT-3-175B", "llama31_405b": "Llama-3.1-405B"}
UNFUSED = re.compile(r"2021|2022|DeepSpeed \(2023\)")  #: software whose attention writes its scores to memory
REDUCED = 10  #: reduced models up to so many layers keep none of the dense layers that the full one starts with
GIB = 2**30 / GIGA  #: gigabytes of a GiB
#: What logs of a framework print as memory; others print what is reserved.
PRINTED = {"Megatron-DeepSpeed": "device"} | dict.fromkeys(("Megatron-LM", "Megatron-Bridge", "NeMo", "NeMo Automodel"), "allocated")
BINARY = ("Nanotron", "torchtitan")  #: software whose logs count in GiB, whatever they call it [nanotron/trainer.py: / 1024**3]
UNTOLD = ("Megatron", "NeMo", "torchtune")  #: software that recomputes nothing unless told, or by a rule


@dataclass(frozen=True)
class Run:
    """A measured run in the arguments of `training_step`; `plan` holds what differs from a plan's defaults."""

    position: int  #: row of the file
    llm: LLM
    chip: str
    n_chips: int
    plan: dict[str, Any]
    batch: int
    sequence: int
    framework: str
    version: str
    printed: str = "device"  #: what its memory is, of `TrainingMemory.logged`
    unstated: bool = False  #: whether it does not state what it computes again, on software that does so untold

    @property
    def precision(self) -> str:
        """Number format of its products."""
        return str(self.plan.get("precision", TrainingPlan.precision))

    @property
    def origin(self) -> Origin:
        """What it ran on, with all that it says of its software."""
        return Origin.of(self.llm, self.chip, formats.FORMATS[self.precision].training, self.framework, self.version)

    @property
    def configuration(self) -> str:
        """What two runs share that differ only in the software they ran: they are never on two sides of a fold."""
        return f"{self.llm.name} {self.llm.layers} {self.chip} {self.n_chips} {self.plan} {self.batch} {self.sequence}"

    def call(self) -> dict[str, Any]:
        """The call of `training_step` as plain data."""
        software = {"framework": self.framework, "version": self.version} if self.framework in frameworks() else {}
        arguments = {
            "llm": said(self.llm), "cluster": {"call": "fabric.Cluster", "arguments": {"chip": self.chip, "n_chips": self.n_chips}},
            "plan": {"call": "chips.TrainingPlan", "arguments": self.plan | ({"recompute": [*RECOMPUTE[:3]]} if self.unstated else {})},
            "global_batch": self.batch, "sequence": self.sequence,
        }  # fmt: skip
        return {"call": "chips.training_step", "arguments": arguments | {name: text for name, text in software.items() if text}}


def read(rows: pl.DataFrame) -> tuple[list[Run], dict[int, str]]:
    """The rows that state enough, and for each other why it does not."""
    runs, reasons = [], {}
    for position, row in enumerate(rows.iter_rows(named=True)):
        try:
            runs.append(_run(position, row))
        except (UnknownName, InputError) as error:
            reasons[position] = str(error)
    return runs, reasons


def ask(quantity: str, *paths: str) -> Callable[[pl.DataFrame], list[Asked]]:
    """What a form asks of each row: one quantity of a training step, and the ends of its interval.

    A run that does not state what it computes again is asked with nothing, selective and full, and `paths` say which of them is read.
    """

    def read(row: Row) -> tuple[Row, Any]:
        run = _run(0, row)
        of = [path if run.unstated else re.sub(r"\[\d\]", "", path) for path in paths]
        of = [re.sub(r"memory\.(\w+)", rf'memory.logged["{run.printed}"]["\1"]', path) for path in of]
        return run.call(), {quantity: of}

    return lambda rows: asked(rows, read, lambda row: [quantity])


def software(stack: str | None) -> tuple[str, str]:
    """Framework and version that a row's text names; what is none of `FRAMEWORKS` is what precedes the version."""
    text = stack or ""
    known = next((name for name in (*FRAMEWORKS, *NAMED) if name.casefold() in text.casefold()), None)
    version = VERSION.search(text, text.casefold().find(known.casefold()) if known else 0)
    name = known or re.split(r" v?[\d.]+|[,;(]", text)[0].strip()
    return NAMED.get(name, name), version[0] if version else ""


def step_of(row: dict[str, Any]) -> float | None:
    """The measured step [s], from tokens per second where only those are stated."""
    if "step_s_median" in row:
        return row["step_s_median"]
    rate = row.get("tok_s_chip")
    stated = (rate, row["gbs"], row["seq"], row["n_chips"])
    return row.get("step_s") or (row["gbs"] * row["seq"] / (rate * row["n_chips"]) if all(stated) else None)


def step_from_rate(row: dict[str, Any]) -> float | None:
    """The measured step [s], from TFLOP/s of three forward passes with causal attention where nothing else is stated.

    Conventions differ by source: no constant is fitted to such a step, and one whose source leaves its convention open is none.
    """
    rate, step = row.get("tflops_chip"), step_of(row)
    told = "not stated" not in (row.get("flops_def") or "not stated")
    if step or not (rate and told and row["gbs"] and row["seq"] and row["n_chips"]):
        return step
    try:
        flop = 3 * _llm(row).forward_flop_per_token(row["seq"] / 2) * row["gbs"] * row["seq"]
    except UnknownName:
        return None
    return float(flop / (rate * TERA * row["n_chips"]))


def memory_of(row: dict[str, Any]) -> float | None:
    """The measured memory of a chip [GB]."""
    stated, kind = row.get("mem_gib") or row.get("mem_gb"), row.get("mem_kind") or row.get("notes") or ""
    binary = row.get("mem_gib") or "GiB" in kind or (not row.get("mem_kind") and software(row.get("stack"))[0] in BINARY)
    return stated * GIB if stated and binary else stated


def _run(position: int, row: dict[str, Any]) -> Run:
    row = row if "stack" in row else _of_mlperf(row)
    sizes = (*DIMENSIONS, *LAYOUT)
    row_numbers(row, sizes, [name for name in sizes if name != "head_dim"])  # the width of pruned heads may be a fraction
    if "SIZE CHECK FAILED" in (row["notes"] or ""):
        raise InputError("its dimensions contradict the size it states")
    if not (row["tp"] or row["pp"] or row["dp_shard"]):
        raise InputError("its layout is not stated")
    for name in ("gbs", "seq", "n_chips", "precision", "chip"):
        if not row[name]:
            raise InputError(f"{name} is not stated")
    llm, framework, chip = _llm(row), software(row["stack"]), catalogue.chip(row["chip"])
    code = {"fused": "eager" not in (row["notes"] or ""), "tp_overlap": "async TP" in (row["notes"] or "")}
    plan: dict[str, Any] = _plan(row) | code | {"precision": _precision(row["precision"])}
    chip.peak(plan["precision"])
    plan["uneven"] = bool(uneven_stages(llm.layers, plan["pp"] * plan["vp"]))
    plan["scattered"] = framework[0] == "Nanotron" and _scattered(llm, plan, row)
    own = {f.name: f.default for f in fields(TrainingPlan)}
    plan = {name: value for name, value in plan.items() if value != own[name]}
    rank_0 = "mem_gib" in row or "rank" in (row.get("mem_kind") or "") or framework[0] == "Nanotron"  # whose logs print no other
    unstated = (row["recompute"] or "not").startswith("not") and not framework[0].startswith(UNTOLD)
    figure = next((one for one in ("reserved", "allocated") if one in f"{row.get('mem_kind')} {row.get('measured_field')}"), None)
    figure = figure or ("allocated" if "mem_gib" in row else PRINTED.get(framework[0], "reserved"))
    printed = f"rank 0 {figure}" if rank_0 else figure
    return Run(position, llm, chip.name, int(row["n_chips"]), plan, int(row["gbs"]), int(row["seq"]), *framework, printed, unstated)


def _plan(row: dict[str, Any]) -> dict[str, Any]:
    """The layout as the row states it; of what it does not state, the default of a plan."""
    n, notes = row["n_chips"], row["notes"] or ""
    sharding = re.sub(r"[\s_-]|stage", "", (row["dp_shard"] or "zero1").lower())
    degree = {name: row[name] or 1.0 for name in ("tp", "pp", "vp", "cp", "ep")}
    if stated := re.search(r"VP stated NA in the table \((\d+) in other", notes):
        degree["vp"] = float(stated[1])
    if not row["tp"] and row["gbs"] < n and n % row["gbs"] == 0:
        degree["cp"] = n / row["gbs"]  # fewer sequences than chips can only be split along the sequence
    dp = max(n / (degree["tp"] * degree["pp"] * degree["cp"]), 1.0)
    if row["experts"] and not row["ep"] and "DeepEP" in (row["stack"] or ""):  # experts are sent for, so they are spread
        degree["ep"] = float(math.gcd(int(row["experts"]), int(n / degree["pp"])))
    shard = re.search(r"over(\d+)", sharding)
    stages = {"zero3|fsdp|fullshard|hsdp": 3, "zero2": 2, "zero1|distributedoptimizer": 1}
    zero = next((stage for words, stage in stages.items() if re.search(words, sharding)), 0)
    one, of_stages = "torchtune" in (row["stack"] or "") and n == 1, row["gbs"] / (dp * degree["pp"] * degree["vp"])
    unsaid = (of_stages if "torchtitan" in (row["stack"] or "") and degree["pp"] > 1 else 1.0) if row["tp"] else row["gbs"] / n
    recompute, kind = (row["recompute"] or "").lower(), f"{row.get('training_kind') or ''} {notes}".lower()
    named = [name for word, name in KINDS.items() if word in re.split(r"[^a-z_]+", (row.get("recompute_kinds") or "").lower())]
    coarse = next((kind for kind in ("full", "selective") if recompute.startswith(kind)), "full" if one and not recompute else "none")
    split, nanotron = str(row["seq_par"] or "true").lower(), "Nanotron" in (row["stack"] or "") and degree["pp"] > 1
    return {name: int(value) for name, value in degree.items()} | {
        "micro_batch": int(max(1.0, min(row["mbs"] or unsaid, row["gbs"] / dp))),  # torchtitan: as many as there are stages
        "zero": min(zero, 1) if degree["pp"] > 1 else zero,  # FSDP beneath a pipeline keeps its weights between micro-batches
        "shard": int(shard[1]) if shard else 0,
        "recompute": "+".join(named) if named and coarse == "selective" else coarse,  # a kind that a row names counts by its name
        "optimizer": "in backward" if one else "adam",  # torchtune, recipes/configs/llama3_1/8B_full_single_device.yaml
        "sequence_parallel": "assumed" in split or split == "true",
        "flash": not UNFUSED.search(row["stack"] or ""),
        "head_layers": row["vocab"] / (4 * row["hidden"] + 3 * row["ffn"]) if nanotron else 0.0,  # as its blocks say their cost
        "trained": LORA if "lora" in kind else 1.0,
        "frozen": "nf4" if "qlora" in kind else "fp8" if "lora" in kind and re.match("mx|nv|fp[48]", row["precision"] or "") else "bf16",
        "chunked_loss": kind.startswith("rl trainer") or "torchtune" in (row["stack"] or ""),  # CEWithChunkedOutputLoss of its recipes
        "offload": "activations" if "offload" in (row.get("recompute_kinds") or "") else "none",
    }


def _scattered(llm: LLM, plan: dict[str, Any], row: dict[str, Any]) -> bool:
    """Whether ranks of Nanotron wait as if scattered: in a pipeline, its earlier version on 64 nodes, where gathered inputs do not fit."""
    tp, ranks = plan["tp"], row["n_chips"] / plan["tp"] if plan["zero"] else 1.0
    kept = llm.layers * llm.hidden * (4 + 45 / tp) + 10 * llm.vocab / tp  # bytes per token, 4 of them two inputs that were gathered
    whole = llm.params / tp * (6 + 12 / ranks) + plan["micro_batch"] * row["seq"] * kept
    return plan["pp"] > 1 or row["n_chips"] >= 512 or (tp > 1 and whole > 0.9 * catalogue.chip(row["chip"]).hbm_bytes)


def _of_mlperf(row: dict[str, Any]) -> dict[str, Any]:
    """A result of MLPerf Training in the columns of the other files."""
    if row["duplicate_of"]:
        raise InputError("a copy of another row")
    if row["benchmark"] not in BENCHMARKS:
        raise InputError(f"{row['benchmark']} trains no language model")
    told = {"model": BENCHMARKS[row["benchmark"]], "seq": row["sequence"], "gbs": row["global_batch"], "stack": row["framework"]}
    told["training_kind"] = "LoRA" if "lora" in row["benchmark"] else ""
    return dict.fromkeys((*TEXT, *NUMBERS)) | row | told


def _precision(text: str | None) -> str:
    plain = (text or "").lower().replace("fp8-mx", "mxfp8").replace("bfloat", "bf")
    found = next((name for name in formats.names("training") if plain.startswith(name)), None)
    if found is None:
        raise InputError(f"precision is {text}: not one that training runs in")
    return found


def _llm(row: dict[str, Any]) -> LLM:
    """The model of the catalogue, with the row's number of layers; or one made of the row's dimensions. Its context holds the sequence."""
    llm = _of_name(row)
    return replace(llm, context=int(row["seq"])) if (row["seq"] or 0) > llm.context else llm


def _of_name(row: dict[str, Any]) -> LLM:
    stated, mixture = all(row[name] for name in ("layers", *WIDTHS)), bool(row["experts"])
    try:
        llm = catalogue.llm(row["model"] or "")
    except UnknownName:
        if not stated or "mla" in (row["arch"] or ""):
            raise
    else:
        if mixture or not stated or all(row[name] == getattr(llm, name) for name in WIDTHS):
            layers = int(row["layers"] or llm.layers)
            dense = 0 if layers <= REDUCED else llm.layers - llm.moe_layers
            moe = layers - dense if llm.moe_layers else 0
            return llm if layers == llm.layers else replace(llm, layers=layers, moe_layers=moe)
    number = {name: int(row[name] or 0) for name in ("layers", "hidden", "heads", "kv_heads", "vocab", "experts", "ffn", "topk")}
    inner, topk, text = number.pop("ffn"), number.pop("topk"), row["arch"] or ""
    shape: dict[str, Any] = {"moe_ffn": inner, "moe_layers": number["layers"]} if mixture else {"ffn": inner}
    if "sliding" in text:
        shape |= {"sliding_window": 128, "sliding_layers": number["layers"] // 2}
    number["kv_heads"] = number["kv_heads"] or number["heads"]
    return LLM(
        **number | shape, name=row["model"] or "", attention="gqa", head_dim=int(row["head_dim"] or number["hidden"] // number["heads"]),
        context=int(row["seq"] or 1), ffn_matrices=int(row["ffn_mats"] or 2), experts_per_token=topk,
        tied_embeddings="tied" in text or "GPT" in text,
    )  # fmt: skip
