"""Results of serving benchmarks as tools save them, as operating points: the tools are those of table ``file_fields``."""

import csv
import math
import re
from typing import Any

from workbench import formats
from workbench.readers.source import Found, Refused, Row, Source, chip_named, clean, flat, known, number, rows_of, values

DRAFTS = 2.0  #: tokens drafted per step where a file says no more than that there is speculation
LENGTHS = 0.9  #: mean length of the prompts and answers of InferenceX over the nominal one: they are drawn from 0.8 to 1.0 of it

#: What is taken where a submission says nothing.
SUBMITTED = "prompts of a chat, the chip's smallest format, fewest chips that hold the weights: --input-len, --precision, --tp say others"


def knows(source: Source) -> bool:
    """Whether it looks like a result of a benchmark."""
    if not source.is_json:
        return source.text.lstrip()[:10].lower() == "metric,avg" or source.has("mlperf", "scenario", "unit")
    found = [known("serving", tuple(flat(one))) for _, one in source.objects[:20]]
    return any(len(f) > 3 and ("model" in f or "concurrency" in f or "framework" in f) for f in found)


def read(source: Source) -> Found:
    """One operating point a result."""
    mlperf = source.has("mlperf", "scenario", "unit")

    def fields(row: Row) -> Row:
        return _mlperf(values("mlperf", row) | dict(source.told)) if mlperf else values("serving", _in_ms(row)) | dict(source.told)

    entries = source.rows() if mlperf or source.is_json else [(1, flat(_of_csv(source)))]
    return rows_of(entries, lambda row: _point(source, fields(row), row), *([SUBMITTED] if mlperf else []))


def _point(source: Source, v: Row, row: Row) -> Row:
    """The operating point of one result."""
    split = _sides(v) if _true(v.get("disagg")) else {}
    v = v | split
    apart = _true(v.get("dp_attention"))  # attention on data-parallel groups has no tensor groups
    degrees = {name: number(name, v.get(name, 1.0), 1, whole=True) for name in ("tp", "pp", "attention_dp")}
    n = v.get("n_chips") or (v.get("tp") and math.prod(degrees.values()))
    blank = ("tp", "precision") if "scenario" in v else ("tp",) if n else ()
    if missing := [name for name in ("chip", "tp", "precision", "model") if not v.get(name) and name not in blank]:
        raise Refused(f"does not tell {', '.join(missing)}: {' '.join(f'--{name} ...' for name in missing)} would")
    n = number("n_chips", n, 1, whole=True)
    tp = 1.0 if apart else degrees["tp"] if v.get("tp") else None if "scenario" in v else n
    done = number("completed", v["completed"], 1, whole=True) if "completed" in v else None
    lengths = {}
    for way in ("input", "output"):
        lengths[way] = v.get(f"{way}_len") or (v[f"total_{way}"] / done if done and f"total_{way}" in v else None)
    if missing := [way for way, length in lengths.items() if not length and "scenario" not in v]:
        options = " and ".join(f"--{way}-len" for way in missing)
        raise Refused(f"the length of {' and '.join(missing)} is not there (totals and completed, or isl and osl): {options} would tell it")
    rate = v.get("output_tok_s_per_gpu") or ("output_tok_s" in v and v["output_tok_s"] / n) or None
    times = {name: value for name, value in v.items() if re.fullmatch(r"(ttft|tpot|itl|e2el)_\w+_ms", name)}
    first, each = _stated(times, "ttft"), _stated(times, "tpot") or _stated(times, "itl")
    if rate is None and each is None:
        raise Refused(f"no output throughput and no time per token; it has {', '.join(sorted(map(str, row))[:12])}")
    users, arrivals = (_limit(name, v.get(name)) for name in ("concurrency", "request_rate"))
    framework = "TensorRT-LLM" if "engine.model" in row and not source.told.get("framework") else clean(v.get("framework") or "")
    chip, precision = chip_named(v["chip"]), precision_of(v["precision"]) if v.get("precision") else ""
    parallel = split.get("parallel") or (f"TP{tp:g}PP{degrees['pp']:g}" if tp else "")
    version, day = re.search(r"\d+\.\d[\w.]*", v.get("version", "")), re.match(r"(\d{4})-?(\d\d)-?(\d\d)", v.get("date", ""))
    return times | {
        **{"source_group": "own run", "group": f"{v['model']}|{chip}|{framework}|{precision}|{parallel}", "model_key": v["model"]},
        **{"weight_precision": precision, "kv_precision": "fp8" if re.search(r"fp8|e4m3", v.get("kv_precision", "").lower()) else ""},
        **{"parallel": parallel, "framework": framework, "chip": chip},
        **{"framework_version": version[0] if version else "", "source": source.path.name, "usable": 1.0},
        **{"mode": "disagg" if split else "closed_loop" if users else "open_loop_slo" if arrivals else "offline_max"},
        **{"date": "-".join(day.groups()) if day else None, "n_chips": n, "tp": tp, "pp": degrees["pp"]},
        **{"concurrency": users, "request_rate": arrivals, "output_tok_s_per_gpu": rate, "n_requests": done},
        **{"input_len": lengths["input"] or None, "output_len": lengths["output"], "mean_len_factor": LENGTHS if "conc" in v else None},
        **{"ttft_ms": times.get(first or ""), "ttft_is": first, "tpot_ms": times.get(each or ""), "tpot_is": each},
        **{"draft_tokens": v.get("draft_tokens") or (DRAFTS if v.get("spec", "none").lower() not in ("none", "false") else None)},
        **{name: v.get(name) for name in ("prefill_chips", "decode_chips", "power_w_per_gpu", "energy_j_per_out_token")},
    }


def _sides(v: Row) -> Row:
    """Prefill and decode on chips of their own, as InferenceX states their layouts."""
    sides = {}
    for side, letter in (("prefill", "P"), ("decode", "D")):
        counts = [v.get(f"{side}_{name}") for name in ("workers", "tp", "chips")]
        if not all(counts):
            raise Refused(f"prefill and decode on chips of their own, without workers, tp or chips of {side}")
        own = 1.0 if _true(v.get("prefill_dp_attention" if letter == "P" else "dp_attention")) else counts[1]
        sides[letter] = f"{letter}:{counts[0]:g}x(TP{own:g}DP1)"
    return {"parallel": f"{sides['P']} {sides['D']}", "n_chips": v["prefill_chips"] + v["decode_chips"], "tp": v["decode_tp"]}


def _stated(times: Row, what: str) -> str | None:
    """The time that represents the others: the median, else the mean."""
    return next((name for name in (f"{what}_median_ms", f"{what}_mean_ms") if name in times), None)


def _in_ms(row: Row) -> Row:
    """A row whose metrics state a unit, with times in milliseconds."""
    row = dict(row)
    for name in [name for name in row if re.fullmatch(r"(time_to_first_token|inter_token_latency|request_latency)\.unit", name)]:
        if not (unit := known("time unit", (str(row[name] or "").lower(),))):
            raise Refused(f"{name} is {str(row[name])[:20]!r}; expected ms, s, us or ns")
        part = name.removesuffix("unit")
        cells = {key: value for key, value in row.items() if key.startswith(part) and key != name and value not in (None, "", "N/A")}
        row |= {key: number(key, value) * (unit["ms"][1] or 1.0) for key, value in cells.items()}
    return row


def _of_csv(source: Source) -> Row:
    """AIPerf's CSV as its JSON: sections name the statistics, and metrics their unit, as ``Time To First Token (ms)``."""
    found: Row = {}
    header: list[str] = []
    try:
        for cells in csv.reader(source.text.split("\n"), strict=True):
            if cells and cells[0] == "Metric":
                header = ["avg" if name == "Value" else name.lower() for name in cells[1:]]
            elif len(cells) > 1 and (match := re.fullmatch(r"([\w ]{1,80}?)(?: \(([^)]{0,40})\))?", cells[0])):
                found[match[1].lower().replace(" ", "_")] = dict(zip(header, cells[1:], strict=False)) | {"unit": match[2] or ""}
    except csv.Error as error:
        raise Refused(f"not a CSV: {error}") from None
    return found


def _mlperf(v: Row) -> Row:
    """A result of MLPerf Inference; what a submission does not say stays blank."""
    if not re.fullmatch(r"tokens/s(ec)?", v.get("unit", "").strip(), re.IGNORECASE):
        raise Refused(f"a result in {v.get('unit', 'no unit')}: only those in tokens/s are of language models")
    if (scenario := v.get("scenario", "").lower()) not in ("offline", "server", "interactive", "singlestream"):
        raise Refused(f"scenario {scenario}: those that are read are Offline, Server, Interactive and SingleStream")
    if scenario in ("server", "interactive"):
        if not v.get("output_len"):
            raise Refused("arrivals per second are tokens/s over the mean answer, which is not there: --output-len would tell it")
        v = v | {"request_rate": str(v.get("output_tok_s", 0.0) / v["output_len"])}
    v = v | ({"concurrency": "1"} if scenario == "singlestream" else {})
    model = re.sub(r"(-interactive|-edge)?(-99(\.9)?)?$", "", v.get("model", ""))
    return v | {"model": model, "n_chips": v.get("n_chips", 0.0) * (v.get("nodes", 1.0) if "per_node" in v else 1.0)}


def precision_of(text: str) -> str:
    """A format by a word for it. Raises `Refused` for a word that is none: nothing is taken for bf16 that does not say so."""
    plain = re.sub(r"[^a-z0-9]", "", text.lower())
    found = plain if plain in formats.FORMATS else next(iter(known("precision", (plain,))), None)
    if found is None:
        words = ", ".join((*formats.FORMATS, "awq", "gptq", "w4a16", "w8a8"))
        raise Refused(f"precision {text[:40]!r} is no format that is known: --precision says one of {words}")
    return found


def _limit(name: str, text: str | None) -> float | None:
    """A limit of the benchmark; infinite ones and words ("inf", "trace") are none."""
    return number(name, text) or None if text and re.match(r"[-+.]?\d|nan", text) else None


def _true(value: Any) -> bool:
    return str(value).lower() in ("true", "1", "1.0", "yes")
