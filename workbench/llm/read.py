"""A model from its configuration: a Hugging Face ``config.json`` or a Mistral ``params.json``, known by its fields."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

from workbench.errors import InputError
from workbench.llm import quantized
from workbench.llm.describe import feed_forward, main_attention, matrices, other_layers
from workbench.llm.fields import Fields, names_of
from workbench.llm.kinds import WAY_OUT, layers_of
from workbench.llm.mixing import Mixing, together
from workbench.llm.model import LLM

NESTED = ("thinker_config", "text_config", "llm_config", "language_config")  #: where multimodal models keep their language model
ENCODERS = r"(al|de|distil|modern|camem|nomic_)?bert|.*roberta|electra|mpnet|clip.*|siglip.*|vit|esm"
BOTH = r"u?m?t5|m?bart|whisper|pegasus|marian|m2m_100|blenderbot|led|prophetnet|speech_to_text"


def read_hugging_face(path: str | Path) -> LLM:
    """The language model that a configuration describes; of a multimodal model the language part.

    `path` is the file or the folder that holds it. Chunked attention is taken as a sliding window as long as its chunk.

    Raises `InputError` for a file that is missing or no JSON object; for a field that is missing or wrong, naming path, field, value
    and what is allowed; for an encoder, and for kinds of layers that are not known.
    """
    folder = Path(path)
    inside = [f for n in ("config.json", "params.json") if (f := folder / n).is_file()] or sorted(folder.glob("snapshots/*/config.json"))
    inside = inside or [folder / "config.json"]
    file = inside[0] if folder.is_dir() else folder
    repository = next((part.split("--") for part in file.absolute().parts if part.startswith("models--")), None)  # of the hub's cache
    named = file.absolute().parent.name if file.name in ("config.json", "params.json") else file.stem
    name, beside = repository[-1] if repository else named, file.parent / "hf_quant_config.json"
    known = {"name": name, "source": str(file)} | ({"publisher": repository[1]} if repository and len(repository) > 2 else {})
    try:
        found = _parse(file)
        if beside.is_file() and isinstance(of_tool := _parse(beside).get("quantization"), dict):  # as NVIDIA's tool writes it
            found = {"quantization_config": {"quant_method": "modelopt", **of_tool}} | found
        llm = of_config(found, **known)
        return llm if llm.quantization else replace(llm, quantization=quantized.of_name(name)[1])
    except InputError as error:
        raise InputError(f"{file}: {error}") from None


def of_config(found: dict[str, Any], **known: Any) -> LLM:
    """The language model of a configuration's fields; what is `known` of it beside is taken as it is."""
    found = _language_part(found)
    c = Fields(found)
    _causal(c)
    mixers, feeds = layers_of(c)
    n, dims = len(mixers), main_attention(c, mixers) | feed_forward(c, feeds)
    other, main, kinds = other_layers(c, dims, mixers)
    runs = tuple((len(list(group)), kind[0], kind[1]) for kind, group in groupby(zip(kinds, feeds, strict=True)))
    alone = sum("none" in parts for parts in zip(mixers, feeds, strict=True))
    llm = LLM(
        **{
            "name": "",
            **{"layers": n, "vocab": c.size("vocab"), "tied_embeddings": c.flag(*names_of("tied"))},
            "context": c.size("context", 1 << 20 if other.state and "full" not in mixers else None),
            **{"attention_bias": c.flag(*names_of("bias")), "ffn_matrices": matrices(c)},
            "single_layers": n if c.get("use_parallel_residual", c.get("parallel_attn", c.get("single"))) is True else alone,
            "bare_layers": feeds.count("none") + feeds.count("matrix"),
            "other": together([other, Mixing(weights=feeds.count("matrix") * dims["hidden"] ** 2)]),
            **{"runs": runs, "quantization": quantized.read(found, feeds)},
            **(dims | main | known),
        }
    )
    return _with_heads(_looped(llm, _repeats(c, n), "loop_window_size" in c or c.flag("loop_share_kv")), c.size("mtp_layers", 0, low=0))


def _repeats(c: Fields, n: int) -> float:
    """How often a token goes through the layers again, in the mean."""
    if "H_cycles" in c:  # HRM: two stacks, the lower one several times for each time of the upper
        return c.size("H_cycles") * (1 + c.size("L_cycles")) / 2 - 1
    return (c.size("loops", 1) - 1) * c.size("n_recurrent_layers", n) / n


def _looped(llm: LLM, again: float, shared: bool) -> LLM:
    """With layers that a token goes through `again`, with a cache of their own each time unless it is `shared`."""
    o, slide, cached = llm.other, llm.sliding_layers, llm.key_value + llm.latent
    each = {"kept": cached, "read": cached, "scores": llm.query + llm.value}
    main = {name: (llm.main_layers - slide) * n for name, n in each.items()} | {f"{name}_windowed": slide * n for name, n in each.items()}
    body = llm.shared_params + llm.moe_layers * llm.experts_per_token * llm._expert
    kept = {"kept": 0, "kept_windowed": 0} if shared else {}
    more = replace(together([o, Mixing(**main, updates=body)]), layers=0, weights=0, state=0, **kept)
    return replace(llm, other=together([o, more.times(again)])) if again else llm


def _with_heads(llm: LLM, heads: int) -> LLM:
    """With heads for multi-token prediction: a last layer each, whose input joins a token and a hidden state [DeepSeek-V3, 2.2]."""
    mixer = llm.attention_params if llm.main_layers else llm.other.weights / llm.layers
    last = llm.moe_layers and (llm.expert_params / llm.moe_layers + llm.hidden * llm.experts + llm._feed_forward(llm.shared_width))
    return replace(llm, mtp_layers=heads, mtp_params=heads * (mixer + (last or llm._feed_forward(llm.ffn)) + 2 * llm.hidden**2))


def _parse(file: Path) -> dict[str, Any]:
    """The object of a JSON file. Raises `InputError` with the reason, without the path."""
    try:
        found = json.loads(file.read_text(encoding="utf8"))
    except FileNotFoundError:
        raise InputError("no such file; expected a Hugging Face config.json or the folder that holds one") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"not a readable JSON file: {error}") from None
    if not isinstance(found, dict):
        raise InputError(f"expected a JSON object, found {type(found).__name__}")
    return found


def _language_part(found: dict[str, Any]) -> dict[str, Any]:
    """Fields of the language model, under the names of Hugging Face."""
    while inner := next((found[k] for k in NESTED if isinstance(found.get(k), dict) and found[k]), None):
        outer = {k: found[k] for k in ("model_type", "tie_word_embeddings", "quantization_config", "transformers_version") if k in found}
        found = outer | {k: v for k, v in inner.items() if v is not None or k not in outer}
        version = re.match(r"[5-9]|[1-9]\d", str(outer.get("transformers_version")))
        if version and "tie_word_embeddings" in outer:  # from version 5 on the whole says it
            found["tie_word_embeddings"] = outer["tie_word_embeddings"]
    if found.get("model_type") == "git" and "Grok" in str(found.get("architectures")):  # what Grok-2's file says
        found = found | {"model_type": "grok"}
    rates, types = found.get("compress_rates"), found.get("layer_types")  # as Transformers 5 writes it
    if isinstance(rates, dict) and isinstance(types, list):  # DeepSeek-V4
        found = found | {"compress_ratios": [rates.get(t, 0) if isinstance(t, str) else t for t in types]}
    widths = found.get("moe_intermediate_size")
    if isinstance(widths, list) and len(widths) == 2 and str(found.get("model_type")).startswith("ernie"):  # experts of text and of images
        found = {k: v[0] if k.startswith("moe") and isinstance(v, list) and v else v for k, v in found.items()} | {"image_ffn": widths[1]}
    if isinstance(ssm := found.get("ssm_cfg"), dict):  # as mamba-ssm writes it
        second, width, model = ssm.get("layer") == "Mamba2", ssm.get("headdim", 64), found.get("d_model")
        found = {"model_type": "mamba", "state_size": ssm.get("d_state", 128 if second else 16)} | found | ssm
        if second and isinstance(width, int) and isinstance(model, int) and width > 0:
            found |= {"mamba_head_dim": width, "mamba_num_heads": 2 * model // width}
    if found.get("model_type") == "mamba2":
        found = {name: found[k] for k, name in {"num_heads": "mamba_num_heads", "head_dim": "mamba_head_dim"}.items() if k in found} | found
    return {"model_type": "mistral_params"} | found if "dim" in found and "n_layers" in found else found  # a params.json of Mistral


def _causal(c: Fields) -> None:
    """Raise `InputError` for what does not write token after token."""
    kind = c.kind.lower()
    both = " with a decoder" if c.get("is_encoder_decoder") is True or re.fullmatch(BOTH, kind) else ""
    encodes = re.fullmatch(ENCODERS, kind) or "type_vocab_size" in c or "MaskedLM" in str(c.get("architectures"))
    if both or (encodes and c.get("is_decoder") is not True):
        raise InputError(f"model_type is {c.kind!r}, an encoder{both}: expected a causal language model; {WAY_OUT}")
    if kind == "doge" and c.flag("is_moe"):
        raise InputError(f"is_moe is true: experts of single rows, found by product keys, are not described; {WAY_OUT}")
    if kind == "nemotron-nas" and "block_configs" not in c:
        raise InputError(f"block_configs is missing; expected a list with the attention and the ffn of each layer; or {WAY_OUT}")
