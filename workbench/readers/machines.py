"""Accelerators as other tools describe them, as a row of ``chips.csv``; arguments and logs of Megatron-LM, as one of measured training."""

import datetime
import re
import statistics

from workbench.readers.source import Found, Refused, Source, chip_named, clean, number, rows_of, values

STEP = re.compile(r"iteration\s+\d{1,9}/\s*\d{1,9} \|(.{0,2000})")
ELAPSED = re.compile(r"elapsed time per iteration \((ms|s)\): *([\d.]{1,20})")
#: What a line of an iteration says beside its time.
BESIDE = {"tflops_chip": r"throughput per GPU \(TFLOP/s/GPU\)", "gbs": "global batch size"}


def system(source: Source) -> Found:
    """The row of a chip; what no tool states and the table wants is named as assumed."""
    today = datetime.date.today().isoformat()
    named = {"chip": clean(source.told.get("as") or source.path.stem), "vendor": "own", "release": today[:4], "status": "announced"}
    end = {"source": source.path.name, "as_of": today}
    notes = "vendor, release and status are not stated: own, this year, announced; rates of links are taken for one direction"
    return rows_of(
        source.rows(), lambda row: named | (v := values("system", row)) | {"scaleup_domain": int(v.get("scaleup_domain", 1))} | end, notes
    )


def is_megatron(source: Source) -> bool:
    """Whether it has steps, or arguments, of Megatron-LM."""
    return not source.is_json and bool(re.search(rf"{ELAPSED.pattern}|--num[-_]layers\b|\bnum_layers \.{{3,}}", source.text))


def megatron(source: Source) -> Found:
    """One row: the layout and the model as the arguments say them, and the median step."""
    lines = ((at, STEP.search(line[:4000])) for at, line in enumerate(source.text.split("\n"), 1))
    given, told, steps = _arguments(source.text), source.told, rows_of(((at, match[1]) for at, match in lines if match), _step)
    plain = {name: value for name, value in given.items() if value not in ("None", "True", "False")}
    v = values("megatron", plain) | {name: float(told[name]) for name in ("tp", "pp") if told.get(name)}
    flag = {name for name, value in given.items() if value not in ("None", "False")}
    gated, pp, hidden = "swiglu" in flag, v.get("pp", 1.0), v.get("hidden")
    ffn = v.get("ffn") or (hidden and (64 * int(hidden * 8 / 3 / 64) if gated else 4 * hidden))
    eight = "mxfp8" if given.get("fp8_recipe") == "mxfp8" else "fp8" if {"fp8", "fp8_format"} & flag else None
    sharded = "fsdp" if {"use_torch_fsdp2", "use_megatron_fsdp"} & flag else "zero1" if "use_distributed_optimizer" in flag else "none"
    sharded = sharded if v else ""
    stages = v["layers"] / pp / v["stage"] if v.get("layers") and v.get("stage") else v.get("vp", 1.0)
    peak = [number("max allocated", text) for text in re.findall(r"max allocated: *(\d[\d.]{0,20})", source.text)]
    seen = {name: [row[name] for row in steps.rows if row[name]] for name in ("step_s", *BESIDE)}
    notes = [f"{len(steps.rows)} iterations; the median of their times is the step"] if steps.rows else []
    if v.get("layers") and not v.get("vocab") and not told.get("model"):
        notes.append("the vocabulary is not stated (--vocab-size): --model NAME says which model it is")
    ones = ", ".join(name for name in ("tp", "pp", "cp", "ep", "mbs") if name not in v)
    notes += [f"{ones} 1, as Megatron-LM has them where its arguments say nothing"] if ones and v else []
    notes += [] if v else ["no arguments are in it, so that the layout is not known: --tp and --pp say it"]
    row = {
        **{"source_key": "own run", "model": clean(told.get("model") or source.path.stem), "arch": "", "dp_shard": sharded, "notes": ""},
        **{"source": source.path.name, "mem_gb": max(peak) * 2**20 / 1e9 if peak else None, "mem_kind": "max allocated" if peak else ""},
        **{"precision": told.get("precision") or eight or next((name for name in ("bf16", "fp16") if name in flag), None)},
        **{"chip": chip_named(told.get("chip")), "stack": "Megatron-LM", "seq_par": str("sequence_parallel" in flag), "vp": stages},
        **{"recompute": given.get("recompute_granularity") or ("selective" if "recompute_activations" in flag else "none")},
        **{name: v.get(name) for name in ("layers", "hidden", "heads", "seq", "head_dim", "experts", "topk", "vocab")},
        **{name: v.get(name, 1.0 if v else None) for name in ("tp", "pp", "cp", "ep", "mbs")},
        **{"kv_heads": v.get("kv_heads") if "group_query_attention" in flag else v.get("heads"), "ffn_mats": 3.0 if gated else 2.0},
        **{"ffn": v.get("moe_ffn", ffn) if v.get("experts") else ffn, "gbs": v.get("gbs") or next(iter(seen["gbs"]), None)},
        **{"n_chips": told.get("n_chips") or v.get("n_chips") or (v["per_node"] * v.get("nodes", 1.0) if "per_node" in v else None)},
        **{name: statistics.median(seen[name]) if seen[name] else None for name in ("step_s", "tflops_chip")},
    }
    return Found([row], steps.left_out, tuple(notes))


def _step(line: str) -> dict[str, float | None]:
    if not (elapsed := ELAPSED.search(line)):
        raise Refused("an iteration without elapsed time per iteration")
    found = {name: re.search(rf"{words}: *([\d.]{{1,20}})", line) for name, words in BESIDE.items()}
    beside = {name: number(name, match[1]) if match else None for name, match in found.items()}
    return {"step_s": number("elapsed time", elapsed[2], 1e-6) * (1e-3 if elapsed[1] == "ms" else 1.0)} | beside


def _arguments(text: str) -> dict[str, str]:
    """Arguments by name: ``--name value`` of a command with its variables filled in, or ``name ..... value`` of a log."""
    variables = dict(re.findall(r"(?:^|\s)(?:export\s+)?([A-Za-z_]\w{0,60})=\"?([\w.+-]{1,60})\"?(?=\s|;|$)", text))
    filled = re.sub(r"\$\{?([A-Za-z_]\w{0,60})\}?", lambda match: variables.get(match[1], match[0]), text)
    given = re.findall(r"--([a-z][\w-]{0,60})(?:[= \t]+([^\s\\-][^\s\\]{0,80}))?", filled)
    found = {name.replace("-", "_"): value.strip("\"'") or "True" for name, value in given}
    return found | dict(re.findall(r"\b([a-z]\w{0,60}) \.{3,80} (\S{1,80})", filled))
