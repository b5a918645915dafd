"""Formats of a model's weights: what its ``quantization_config``, or its name, says of each part, scales and zero points included."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from workbench import formats
from workbench.errors import InputError
from workbench.llm.fields import names_in

SIXTEEN, GROUPED = 16.0, 4 + 20 / 128  #: bits of a weight; of one in four of groups of 128 with a scale of 16 bits and a zero point
LAYERS = ("attention", "dense", "shared", "experts")  #: parts of the layers that are quantised unless said otherwise
_NO_DIGITS = str.maketrans("", "", "0123456789")


@dataclass(frozen=True)
class Quantization:
    """Bits of a weight by part of the model; a part that is not named has 16."""

    name: str  #: the narrowest format
    said: str  #: by what
    bits: dict[str, float]

    def __hash__(self) -> int:
        return hash(self.name)


def of_format(precision: str, said: str = "") -> Quantization:
    """Matrices of the layers in a format, all else in 16 bits; all in it where it is as wide. Raises `InputError` for others."""
    bits = formats.named(precision, "weights").bits
    parts = LAYERS if bits < SIXTEEN else (*LAYERS, "embedding", "head", "rest")
    return Quantization(precision, said, dict.fromkeys(parts, bits))


#: Words in the name of a repository that say the format of the weights, and those that change no dimension.
_WORDS_OF = {n: n for n in ("fp8", "mxfp8", "mxfp4", "bf16")}
_WORDS_OF |= {"nvfp4": "nvfp4 fp4", "int4": "int4 awq gptq w4a16 4bit", "int8": "int8 w8a8"}
_FORMATS = {word: name for name, words in _WORDS_OF.items() for word in words.split()}
_LONG = r"[1-9]\d{0,4}k"  # what may be a context
_TUNED = re.compile("|".join((_LONG, *_FORMATS, "instruct|it|chat|thinking|hf|base|pt|kv|dynamic|static|quantized|bnb|preview|qat|w|a")))
_DATED, _VERSION = re.compile(r"\d{4}|\d{6}|\d{8}"), re.compile(r"v\d+", re.IGNORECASE)  # the V3 of DeepSeek is a name


def of_name(name: str) -> tuple[list[str], Quantization | None]:
    """What the name of a repository may mean, from the whole to that of the architecture, and the format that it says."""
    words = re.split(r"[-.](?=[A-Za-z]\w*$)|-", re.sub(r"\s+", "-", name.rpartition("/")[2].replace("_", ".").strip()))
    lower = [word.casefold() for word in words]
    kept = [word for word in words if not _TUNED.fullmatch(word.casefold())]
    undated = [word for word in kept if not _DATED.fullmatch(word)]
    said = next((_FORMATS[word] for word in lower if word in _FORMATS), None)
    weights = of_format(said, "its name") if said else None
    if weights and {"awq", "gptq"} & set(lower):
        weights = Quantization("int4", "its name", dict.fromkeys(LAYERS, GROUPED))
    meant = [words, kept, undated, *([w for w in some if not _VERSION.fullmatch(w)] for some in (kept, undated))]
    return [name, *map("-".join, meant)], weights


def context_of(name: str, row: str) -> int | None:
    """Tokens of the context that a name says and that of its row does not, a power of two. Raises `InputError` where near none."""
    if not (said := re.search(rf"(?i)(?<=[-_. ]){_LONG}(?![^-_. ])", name)) or said[0] in row:
        return None
    tokens: int = 1 << round(math.log2(thousands := 1000 * int(said[0][:-1])))
    if not 0.97 <= thousands / tokens <= 1:
        raise InputError(f"{name}: a context of {said[0]} tokens is near no power of two; expected its row ({row}) or a config.json")
    return tokens


def read(found: dict[str, Any], feeds: list[str]) -> Quantization | None:
    """The ``quantization_config`` of a config.json whose layers have these feed-forward parts; None where its weights are 16-bit.

    Raises `InputError` for a method whose formats are not known.
    """
    q = found.get("quantization_config") or found.get("compression_config") or found.get("quantization")
    if not isinstance(q, dict):
        return None
    q = {**q["quantization"], **q} if isinstance(q.get("quantization"), dict) else q  # as NVIDIA's tool nests it
    method = str(q.get("quant_method") or q.get("quant_algo") or "").lower()
    wide, usual = ("bf16", SIXTEEN), _format(method, q)
    if named := _by_module(q):  # what no list names is as the method has it: in eight bits, or not quantised
        parts = dict.fromkeys(LAYERS, usual if method == "fp8" else wide) | named
    elif method == "mxfp4":
        parts = {"experts": usual}  # the class quantises experts alone
    else:
        parts = dict.fromkeys(LAYERS, usual)
        if found.get("expert_dtype") == "fp4":  # DeepSeek-V4
            parts["experts"] = _NAMED["mxfp4"]
        for part, share in _left_out(q, feeds).items():
            name, bits = parts.get(part, wide)
            parts[part] = name, bits + share * (SIXTEEN - bits)
    name, narrow = min(parts.values(), key=lambda p: p[1])
    name = name if name in formats.FORMATS else "int4" if narrow < 6 else "int8"  # that chips compute with
    return Quantization(name, "its quantization_config", {part: bits for part, (_, bits) in parts.items()})


def _by_module(q: dict[str, Any]) -> dict[str, tuple[str, float]]:
    """Format of the parts whose modules are listed under formats."""
    found: dict[str, tuple[str, float]] = {}
    for group in _groups(q):
        targets = group.get("targets")
        modules = [t for t in targets if isinstance(t, str) and ("." in t or "head" in t)] if isinstance(targets, list) else []
        if weights := _of_weights(group.get("weights")):
            parts = _parts(modules) - {"rest"}
            if "dense" in parts and any(m.startswith("re:") for m in modules):  # a pattern that says no experts means theirs too
                found = dict.fromkeys(("experts", "shared"), weights) | found
            found |= dict.fromkeys(parts, weights)
    if isinstance(layers := q.get("quantized_layers"), dict):
        said = {m.translate(_NO_DIGITS): _NAMED.get(str(q.get("quant_algo")).lower()) for m, q in layers.items() if isinstance(q, dict)}
        found |= {part: weights for module, weights in said.items() if weights for part in _parts([module]) - {"rest"}}
    return found


def _groups(q: dict[str, Any]) -> list[dict[str, Any]]:
    groups = q.get("config_groups")
    return [g for g in groups.values() if isinstance(g, dict)] if isinstance(groups, dict) else []


#: Algorithms by name: format and bits of a weight.
_NAMED = {name: (name, float(formats.FORMATS[name].bits)) for name in ("fp8", "mxfp8", "nvfp4", "mxfp4")}
_NAMED |= {"fbgemm_fp8": ("fp8", 8.0), "fp8_pb_wo": ("fp8", 8 + 32 / 128**2), "w8a8_sq_per_channel": ("int8", 8.0)}
_NAMED |= dict.fromkeys(("w4a16_awq", "w4a8_awq"), ("int4", GROUPED))


def _format(method: str, q: dict[str, Any]) -> tuple[str, float]:
    """Name and bits of what a quantisation does where no module is named."""
    algorithm = str(q.get("quant_algo") or "").lower()
    if (algorithm := algorithm.removesuffix("_awq") if algorithm.startswith("nvfp4") else algorithm) in _NAMED:
        return _NAMED[algorithm]
    found = [w for g in _groups(q) if (w := _of_weights(g.get("weights")))]
    if found and method != "fp8":
        return min(found, key=lambda w: w[1])
    block = q.get("weight_block_size")
    if method.endswith("fp8") and isinstance(block, list) and len(block) == 2 and all(isinstance(b, int) and b > 0 for b in block):
        return "fp8", 8 + (8 if q.get("scale_fmt") == "ue8m0" else 32) / (block[0] * block[1])
    if method in _NAMED:
        return _NAMED[method]
    if algorithm == "mixed_precision":
        return "fp8", 8.0
    bits = q.get("bits", q.get("w_bit"))
    if method in ("awq", "gptq", "auto-round", "auto_round", "gptq_marlin") and bits in (2, 3, 4, 8):
        group = q.get("group_size", q.get("q_group_size", 128))
        of_group = (16 + bits) / group if isinstance(group, int) and group > 0 else 0.0  # a scale of 16 bits and a zero point
        return f"int{bits}", bits + of_group
    if method == "bitsandbytes" or "bnb_4bit_quant_type" in q:  # maxima of blocks of 64 in 32 bits, or in 8 where they are quantised too
        if q.get("load_in_8bit"):
            return "int8", 8.0
        return "int4", 4 + (8 / 64 + 32 / (64 * 256) if q.get("bnb_4bit_use_double_quant") else 32 / 64)
    if (given := _by_tool(method, q)) is not None:
        return given
    known = "fp8, nvfp4, mxfp4, awq, gptq, compressed-tensors, modelopt, bitsandbytes, quark, torchao, hqq, bitnet"
    raise InputError(f"quant_method is {method or None!r}; known are {known}: without its quantization_config the file is read as 16-bit")


def _by_tool(method: str, q: dict[str, Any]) -> tuple[str, float] | None:
    """Name and bits as other tools write them: a word for the numbers, or how many bits they have, and maybe the size of a group."""
    parts = [part for k in ("global_quant_config", "quant_config") if isinstance(part := q.get(k), dict)]
    of = q | next((w for part in parts for k in ("weight", "weight_quant_params") if isinstance(w := part.get(k), dict)), {})
    word = str(next((of[k] for k in ("dtype", "quant_type", "weights", "forward_dtype") if k in of), method)).lower()
    said, grouped = re.search(r"(fp|float|int)_?([2348])", word), re.search(r"group_size\D+(\d+)", word)
    bits = next((of[k] for k in ("bits", "nbits", "w_bit") if k in of), int(said[2]) if said else 2 if method == "bitnet" else None)
    group = int(grouped[1]) if grouped else of.get("group_size")
    if bits not in (2, 3, 4, 6, 8) or (group is not None and not isinstance(group, int)):
        return None
    if of.get("scale_format") == "e8m0" or word.startswith("mx"):
        return f"mxfp{bits}", bits + 8 / 32
    if not said and group and group > 0 and method in ("", "hqq"):  # MLX and HQQ: a scale and an offset of 16 bits
        return f"int{bits}", bits + 32 / group
    return _of_weights({"num_bits": bits, "type": "float" if said and said[1] != "int" else "int", "group_size": group})


def _of_weights(w: Any) -> tuple[str, float] | None:
    """Format of the weights of a group of compressed-tensors: numbers with a scale and maybe a zero point per group."""
    if not isinstance(w, dict) or w.get("num_bits") not in (2, 3, 4, 6, 8):
        return None
    bits, group, floating = w["num_bits"], w.get("group_size"), w.get("type") == "float"
    if not isinstance(group, int) or group < 1:
        return (f"fp{bits}" if floating else f"int{bits}"), float(bits)
    if floating:
        name = {(4, 16): "nvfp4", (4, 32): "mxfp4", (8, 32): "mxfp8"}.get((bits, group), f"fp{bits}")
        return name, bits + 8 / group
    return f"int{bits}", bits + (16 + (0 if w.get("symmetric", True) else bits)) / group


def _left_out(q: dict[str, Any], feeds: list[str]) -> dict[str, float]:
    """Share of the layers of each part that stays in 16 bits, by the lists of modules that are left out."""
    lists = (q.get(k) for k in ("ignore", "modules_to_not_convert", "exclude_modules", "ignored_layers", "exclude"))
    patterns = [p for names in lists if isinstance(names, list) for p in names if isinstance(p, str) and "mtp" not in p]
    of = {"dense": {i for i, f in enumerate(feeds) if f == "dense"}, "experts": {i for i, f in enumerate(feeds) if f == "experts"}}
    of |= {"attention": set(range(len(feeds))), "shared": of["experts"]}
    seen: dict[str, set[int]] = {part: set() for part in LAYERS}
    for pattern in patterns:
        at = re.search(r"layers\.(\d{1,6})", pattern)
        whole = at and re.fullmatch(r"[.*]*", pattern[at.end() :])
        for part in LAYERS if whole else _parts([pattern]) & set(LAYERS):
            part = part if of[part] else "shared"  # Gemma 4 calls what runs beside its experts its mlp
            seen[part] |= {int(at[1])} if at else of[part]
    return {part: len(seen[part] & of[part]) / len(of[part]) for part in LAYERS if of[part]}


def _parts(modules: Iterable[str]) -> set[str]:
    """Parts of the model that modules or patterns of them name."""
    found, words = set(), {part: "|".join(names) for part, names in names_in("module").items()}  # the first part that fits
    for module in modules:
        plain = module.removeprefix("re:").replace("\\", "").rstrip(".*$")
        found.add(next((part for part, word in words.items() if re.search(word, plain)), "rest"))
    return found
