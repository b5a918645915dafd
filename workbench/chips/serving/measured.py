"""Files of measured serving: what their rows ask, and what is fitted to them.

Not told apart, because no argument takes it: image, settings and host of the same version; kind of draft model; who measured; the statistic
of a time, but of ``serving_r1.csv``. Speculation of unstated depth is taken as `DRAFTS`, experts as spread over a whole replica.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import polars as pl

from workbench import catalogue
from workbench.calibration.forms import Asked, Form, asked
from workbench.chips.serving import fit, rows
from workbench.chips.serving.rows import Call
from workbench.chips.serving.work import acceptance_rate
from workbench.errors import InputError
from workbench.llm import of_name

#: Tokens drafted per step of multi-token prediction, and of EAGLE (recipes of vLLM and SGLang), where a file does not say how many.
DRAFTS, EAGLE_DRAFTS = 2.0, 3.0
FEEDERS = 64  #: replicas of prompts that keep those that decode as full as is stated
#: Formats that publishers chose for the weights of their models, by how names begin; others chose bf16.
CHOSEN = {"DeepSeek-V2": "bf16", "DeepSeek": "fp8", "MiniMax": "fp8", "Kimi-K2": "fp8", "gpt-oss": "mxfp4"}
RATE, TPOT, TTFT = (rows.READ[name] for name in ("output_tok_s_per_gpu", "tpot_ms", "ttft_ms"))


def _r1(frame: pl.DataFrame) -> pl.DataFrame:
    """Rows of ``serving_r1.csv`` as operating points: attention on data-parallel groups has no tensor groups."""
    found = []
    for row in frame.iter_rows(named=True):
        (p, d), apart = ([1.0 if row[f"{s}_dp_attention"] else row[f"{s}_tp"] or 1.0 for s in ("prefill", "decode")]), row["disagg"] == 1
        replicas = f"P:{row['prefill_workers'] or 0:g}x(TP{p:g}DP1) D:{row['decode_workers'] or 0:g}x(TP{d:g}DP1)"
        point = {
            **{"source_group": "InferenceX", "model_key": row["model"], "weight_precision": row["precision"], "parallel": replicas},
            **{"framework_version": rows.software(row["image"])[1], "mode": "disagg" if apart else "closed_loop", "tp": d},
            **{"prefill_chips": row["n_prefill_chips"], "decode_chips": row["n_decode_chips"], "input_len": row["isl"]},
            **{"output_len": row["osl"], "mean_len_factor": 0.9, "usable": 0.0 if row["quality"] else 1.0},
            "draft_tokens": 0.0 if (row["spec_method"] or "none").lower() == "none" else DRAFTS,
            "n_requests": rows.ENDLESS,
        }
        same = {name: row[name] for name in ("group", "chip", "framework", "date", "source", "n_chips", "concurrency")}
        found.append(point | same | {ours: _of_all_chips(row, theirs) for theirs, ours in R1.items()})
    return pl.DataFrame(found, schema=dict.fromkeys(rows.TEXT, pl.String) | dict.fromkeys(rows.NUMBERS, pl.Float64))


#: Measured columns of ``serving_r1.csv``, and what they are among the operating points.
R1 = {
    **{"median_tpot_ms": "tpot_ms", "median_ttft_ms": "ttft_ms", "output_tok_s_per_chip": "output_tok_s_per_gpu"},
    **{"avg_power_w": "power_w_per_gpu", "joules_per_output_token": "energy_j_per_out_token"},
}


def _of_all_chips(row: Call, quantity: str) -> float | None:
    """What was measured; throughput, stated of decode chips alone (requests in flight over times say so), of all."""
    value, (p, d) = row.get(quantity), ((row.get("n_prefill_chips") or 0), (row.get("n_decode_chips") or 0))
    return value * d / (p + d) if value and d and row["disagg"] == 1 and quantity == "output_tok_s_per_chip" else value


def _ask_r1(frame: pl.DataFrame) -> list[Asked]:
    theirs = {ours: name for name, ours in R1.items()}
    return [replace(one, quantity=theirs[one.quantity]) for one in rows.points(_r1(frame))]


def _number(row: Call, name: str) -> float:
    """A number that a call needs. Raises `InputError` for a cell that has none."""
    try:
        number = float(row[name])
    except (TypeError, ValueError):
        raise InputError(f"{name} is not stated" if row[name] is None else f"{name} is {row[name]!r}: no number") from None
    if number <= 0 or (name.startswith("n_") and number % 1):
        raise InputError(f"{name} is {number:g}; {'expected a whole number' if number > 0 else 'leave it blank where it is not known'}")
    return number


#: A degree in the text of a layout: ``TP8``, ``tp=8``, ``wide-EP 16``; of ``MTP-1`` it is none.
_DEGREE = re.compile(r"(?<![mt])(DEP|TP|DP|EP|PP)[ =:]?(\d+)", re.IGNORECASE)


def _layout(text: str | None, n: float) -> Call:
    """Degrees of replicas on `n` chips as text has them: ``8xTP2``, ``4 x (TP1 DP4 EP)``, ``DEP16 per instance``."""
    degree = {name.upper(): float(value) for name, value in _DEGREE.findall(text or "")}
    if (not degree and n > 1) or 0 in degree.values():
        raise InputError("the layout is not stated")
    count = re.search(r"(\d+) ?[x\u00d7] ?\(?(?:D?EP|[TDP]P)", text or "", re.IGNORECASE)
    size = degree.get("DEP") or max(degree.get("TP", 1.0) * degree.get("DP", 1.0) * degree.get("PP", 1.0), degree.get("EP", 1.0))
    each = n // size if re.search(r"\bper\b", text or "") else 1.0
    found = rows.side(n, float(count[1]) or 1.0 if count else each, degree.get("TP", 1.0))
    return found | {"pp": degree["PP"], "attention_dp": 1.0} if "PP" in degree else found


def _call(row: Call, precision: str | None, plan: Call, load: Call, prefill: Call | None = None) -> Call:
    """The call of a row of one of the files below; weights of unstated format are in that which their publisher chose."""
    if not row["chip"]:
        raise InputError("chip is not stated")
    name, chip = rows.llm_of(row["model"]), catalogue.chip(row["chip"])
    cache = re.search(r"kv[- ]\w+\d|\w+\d[- ]kv", (precision or "").lower())
    weights = (precision or "").lower().replace(cache[0] if cache else "", "").strip(" ,")
    if not weights:
        named = of_name(row["model"])[1]
        weights = named.name if named else next((p for start, p in CHOSEN.items() if name.startswith(start)), "bf16")
    stated = rows.precision_of(weights, chip)
    both = {"precision": stated, "kv_precision": rows.cache_of("fp8" if cache and "fp8" in cache[0] else "", stated)}
    lengths = {f"{way}_tokens": _number(row, f"{way}_len") for way in ("input", "output")}
    return rows.call(name, chip, plan | both, lengths | load, *rows.software(row["framework"]), prefill and prefill | both)


def _speculation(text: str | None) -> Call:
    """Tokens drafted per step, and what is stated of how many are accepted."""
    if not text or text.startswith("none"):
        return {}
    if "SIMULATED" in text:
        raise InputError("acceptance was simulated: nothing was measured")
    depth, steps = re.search(r"MTP-(\d)", text), re.search(r"([\d.]+) tokens/step|acceptance ([\d.]+)", text)
    return _drafted(float(depth[1]) if depth else DRAFTS, steps and float(steps[1] or steps[2]))


def _drafted(drafts: float, length: float | None) -> Call:
    """So many tokens drafted per step, and the acceptance rate that gives the tokens per step that are stated."""
    return {"draft_tokens": drafts, "acceptance_rate": round(acceptance_rate(length, drafts), 4) if length else None}


def _wide_ep(row: Call) -> tuple[Call, Any]:
    """A pool of prefill or decode chips, both, or neither apart."""
    phase, spec = (row["phase"] or "").lower(), _speculation(row["speculation"])
    if "offloaded" in f"{row['prefill_parallel']} {row['decode_parallel']}":
        raise InputError("weights are offloaded to the host: no call expresses it")
    if not phase.startswith("prefill") and phase not in ("decode", "aggregated", "disagg"):
        raise InputError(f"phase {row['phase']!r} is none of prefill, decode, aggregated, disagg")
    if phase.startswith("prefill"):
        plan, read = _layout(row["prefill_parallel"], _number(row, "n_prefill_chips")), ("prompt", "prompt_low", "prompt_high")
        return _call(row | {"output_len": 1}, row["weight_precision"], plan, {"concurrency": 1}), {"prefill_tok_s_per_chip": read}
    decode = _number(row, "n_chips_total" if phase == "aggregated" else "n_decode_chips")
    plan = _layout(row["decode_parallel"] or (row["prefill_parallel"] if phase == "aggregated" else None), decode)
    if phase == "decode":  # the time of a step does not depend on where prompts are worked on
        load = {"concurrency": _number(row, "batch_per_chip") * decode} | spec
        return _call(row, row["weight_precision"], plan, load, plan | {"replicas": FEEDERS}), {"tpot_ms": TPOT}
    prefill = _layout(row["prefill_parallel"], _number(row, "n_prefill_chips")) if phase == "disagg" else None
    made = _call(row, row["weight_precision"], plan, {"concurrency": _number(row, "concurrency_total")} | spec, prefill)
    return made, {"output_tok_s_per_total_chip": RATE, "tpot_ms": TPOT, "ttft_s": tuple(path.removesuffix(" * 1000") for path in TTFT)}


def _wide_ep_value(row: Call, quantity: str) -> float | None:
    """Of a prefill pool the seconds of a prompt, of a decode pool the time per token that follows from its batch, where none is stated."""
    if quantity == "prefill_tok_s_per_chip":
        return _number(row, "input_len") / row[quantity] / _number(row, "n_prefill_chips") if row[quantity] else None
    if quantity == "tpot_ms" and (row["phase"] or "").lower() == "decode" and row["decode_tok_s_per_chip"]:
        return row[quantity] or 1000 * _number(row, "batch_per_chip") / row["decode_tok_s_per_chip"]
    return row[quantity]


def _speed(row: Call, unit: str) -> tuple[tuple[str, ...], float, bool]:
    """What of a result a speed in this unit is compared with; by what it is multiplied first, and whether it is turned over."""
    plain, share = re.sub("tokens?", "tok", unit.lower().partition(" (")[0]), 1.0
    if not ("tok/s" in plain or "tpot" in plain) or "ratio" in plain:
        raise InputError("no speed is stated")
    if "tpot" in plain or "user" in plain:
        return TPOT, 1.0 if "tpot" in plain else 1000.0, "user" in plain
    if "total" in plain or "prompt" in plain:
        lengths = [_number(row, name) for name in ("output_len", "input_len")]
        share = lengths[0] / sum(lengths)
    return RATE, share if "gpu" in plain or "chip" in plain else share / (row["n_chips"] or 1.0), False


def _spec(row: Call) -> tuple[Call, Any]:
    """A speed with drafted tokens: the baseline of its speed-up is the same call without."""
    read, _, _ = _speed(row, row["value_unit"] or "")
    n, users = _number(row, "n_chips"), _number(row, "concurrency")
    unit = row["concurrency_unit"] or ""
    load = {"concurrency": 1, "rate": users} if "offered" in unit else {"concurrency": users * (n if "per GPU" in unit else 1.0)}
    depth = EAGLE_DRAFTS if "EAGLE" in (row.get("method") or "") else DRAFTS
    drafts = _number(row, "draft_len") if re.search(r"\d", row["draft_len"] or "") else depth
    load |= _drafted(drafts, row["acceptance_len_tokens_per_step"])
    return _call(row, None, _layout(row["parallelism"], n), load), {"spec_value": read}


def _quant(row: Call) -> tuple[Call, Any]:
    """A speed in one format; memory in all is what no public result says."""
    if not re.search("speed|serving|TPOT by batch", row["measurement"] or ""):
        raise InputError("no speed is stated")
    if (row["framework"] or "").startswith("Transformers"):
        raise InputError("Transformers is not a serving framework")
    read, _, _ = _speed(row, row["speed_unit"] or "tpot")
    n = _number(row, "n_chips")
    return _call(row, row["quantization"], rows.side(n, 1.0, n), {"concurrency": _number(row, "concurrency")}), {"speed_value": read}


def _converted(row: Call, quantity: str) -> float | None:
    """A measured speed as the result that it is compared with has it."""
    _, factor, over = _speed(row, row["value_unit" if quantity == "spec_value" else "speed_unit"] or "tpot")
    value = row["tpot_ms"] if quantity == "speed_value" and not (row[quantity] and row["speed_unit"]) else row[quantity]
    return None if not value else factor / value if over else factor * value


def _open_loop(row: Call) -> tuple[Call, Any]:
    """Times at a rate of arrivals, of a run where its requests are counted; where so many are in flight at most of a closed loop."""
    rate, config = _number(row, "offered_rate_req_s"), f"{row['workload']} {row['config']}"
    capped, hits = re.search(r"capped at (\d+)", row["arrival"] or ""), re.search(r"hit ratio (\d+)%", config)
    apart = re.search("1P1D|prefill", row["parallelism"] or "")
    if apart and not capped:
        raise InputError("arrivals at a rate with disaggregated prefill: no call expresses it")
    if re.search("prefix|warm", config):
        raise InputError("hits in the prefix cache are not stated")
    drafts = re.search(r'num_speculative_tokens"+:(\d+)', config)
    load = {"concurrency": float(capped[1])} if capped else {"concurrency": 1, "rate": rate, "requests": row["n_requests"] or None}
    load |= {"draft_tokens": drafts and float(drafts[1]), "prefix_hit_rate": hits and float(hits[1]) / 100}
    plan = _layout(row["parallelism"], _number(row, "n_chips") / (2 if apart else 1))
    tails = {} if capped else {name: rows.READ[name] for name in rows.TAILS}
    return _call(row, None, plan, load, plan if apart else None), {"ttft_mean_ms": TTFT, "tpot_mean_ms": TPOT} | tails


def _open_loop_value(row: Call, quantity: str) -> float | None:
    """What was measured; for a mean that is not stated the median, for a time per token that between tokens."""
    others = {"ttft_mean_ms": ("ttft_p50_ms",), "tpot_mean_ms": ("tpot_p50_ms", "itl_mean_ms")}
    return next((row[name] for name in (quantity, *others.get(quantity, ())) if row[name] is not None), None)


def _form(said: Any, text: str, numbers: str, measured: str, **more: Any) -> Form:
    """A form of file whose rows are read one by one, by columns of text, of numbers, and of what was measured."""
    columns = tuple(measured.split())
    numbered = (*numbers.split(), *columns)
    return Form((*text.split(), "source_title"), numbered, lambda frame: asked(frame, said, lambda row: columns[:1]), columns, **more)


_TOTALS = ("output_tok_s_total", "total_tok_s_per_gpu", "input_tok_s_per_gpu", "tok_s_per_user", "power_w_total", "energy_j_per_request")
POINTS = Form(
    rows.TEXT, rows.NUMBERS, rows.points, (*rows.READ, *_TOTALS), optional=("date", "draft_tokens", "n_requests", *rows.TAILS),
    calibrate=fit.calibrate, folds=fit.folds, groups=fit.groups,
)  # fmt: skip
DEEPSEEK = Form(
    ("group", "model", "chip", "precision", "framework", "image", "spec_method", "date", "source", "quality"),
    (
        "disagg", "prefill_tp", "prefill_dp_attention", "prefill_workers", "decode_tp", "decode_dp_attention", "decode_workers",
        "n_prefill_chips", "n_decode_chips", "isl", "osl", "concurrency", "n_chips", *R1,
    ),
    _ask_r1, (*R1, "p99_ttft_ms", "p99_tpot_ms", "median_e2e_s", "input_tok_s_per_chip", "total_tok_s_per_chip"),
    value=_of_all_chips, standard=_r1, calibrate=fit.calibrate, folds=lambda frame, of: fit.folds(_r1(frame), of), groups=fit.groups,
)  # fmt: skip
WIDE_EP = _form(
    _wide_ep,
    "model chip framework phase prefill_parallel decode_parallel weight_precision speculation input_len output_len batch_per_chip "
    "concurrency_total", "n_prefill_chips n_decode_chips n_chips_total",
    "prefill_tok_s_per_chip decode_tok_s_per_chip output_tok_s_per_total_chip tpot_ms ttft_s", value=_wide_ep_value,
)  # fmt: skip
SPECULATION = _form(
    _spec, "model chip framework parallelism method concurrency concurrency_unit value_unit draft_len",
    "n_chips input_len output_len acceptance_len_tokens_per_step", "spec_value baseline_value", value=_converted,
)  # fmt: skip
QUANT = _form(
    _quant, "model chip framework quantization measurement speed_unit", "n_chips input_len output_len concurrency",
    "speed_value tpot_ms", value=_converted,
)  # fmt: skip
OPEN_LOOP = _form(
    _open_loop, "model chip framework parallelism workload config arrival offered_rate_req_s", "n_chips input_len output_len n_requests",
    "ttft_mean_ms ttft_p99_ms tpot_mean_ms tpot_p99_ms ttft_p50_ms tpot_p50_ms itl_mean_ms",
    optional=("ttft_p50_ms", "tpot_p50_ms", "itl_mean_ms"), value=_open_loop_value,
)  # fmt: skip

#: Kinds of measured rows, and the forms of their files.
FORMS: dict[str, tuple[Form, ...]] = {"serving": (POINTS, DEEPSEEK, WIDE_EP, SPECULATION, QUANT, OPEN_LOOP)}
