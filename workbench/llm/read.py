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
from workbench.llm.describe import embeddings, feed_forward, main_attention, matrices, other_layers
from workbench.llm.fields import Fields, names_of
from workbench.llm.kinds import WAY_OUT, layers_of
from workbench.llm.mixing import Mixing, together
from workbench.llm.model import LLM

NESTED = ("thinker_config", "text_config", "llm_config", "language_config")  #: where multimodal models keep their language model
ENCODERS = r"(al|de|distil|modern|camem|nomic_)?bert|.*roberta|electra|mpnet|clip.*|siglip.*|vit|git|esm"
BOTH = r"u?m?t5|m?bart|whisper|pegasus|marian|m2m_100|blenderbot|led|prophetnet|speech_to_text"
#: Fields of kinds of layers that are not described: recurrent Gemma, LongCat, Zamba, SambaY, layers run more than once.
UNKNOWN = ("lru_width", "block_types", "zero_expert_num", "hybrid_layer_ids", "mb_per_layer", "H_cycles", "n_recurrent_loops")


def read_hugging_face(path: str | Path) -> LLM:
    """The language model that a configuration describes; of a multimodal model the language part.

    `path` is the file or the folder that holds it. Chunked attention is taken as a sliding window as long as its chunk.

    Raises `InputError` for a file that is missing or no JSON object; for a field that is missing or wrong, naming path, field, value
    and what is allowed; for an encoder, and for kinds of layers that are not known.
    """
    folder = Path(path)
    inside = [f for n in ("config.json", "params.json") if (f := folder / n).is_file()] or [folder / "config.json"]
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
            **{"layers": n, "vocab": c.size("vocab"), "tied_embeddings": c.flag("tie_word_embeddings")},
            "context": c.size("context", 1 << 20 if other.state and "full" not in mixers else None),
            **{"attention_bias": c.flag(*names_of("bias")), "ffn_matrices": matrices(c)},
            "single_layers": n if c.get("use_parallel_residual", c.get("parallel_attn", c.get("single"))) is True else alone,
            "bare_layers": feeds.count("none") + feeds.count("matrix"),
            "other": together([other, Mixing(weights=feeds.count("matrix") * dims["hidden"] ** 2)]),
            **{"runs": runs, "quantization": quantized.read(found, feeds)},
            **(embeddings(c, dims["hidden"], n) | dims | main | known),
        }
    )
    return _with_heads(llm, c.size("mtp_layers", 0, low=0))


def _with_heads(llm: LLM, heads: int) -> LLM:
    """With heads for multi-token prediction: a last layer each, whose input joins a token and a hidden state [DeepSeek-V3, 2.2]."""
    if not heads:
        return llm
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
        outer = {k: found[k] for k in ("model_type", "tie_word_embeddings", "quantization_config") if k in found}
        found = outer | {k: v for k, v in inner.items() if v is not None}
    rates, types, of_layer = (found.get(k) for k in ("compress_rates", "layer_types", "per_layer_config"))  # as Transformers 5 writes it
    if isinstance(rates, dict) and isinstance(types, list):  # DeepSeek-V4
        found = found | {"compress_ratios": [rates.get(t, 0) if isinstance(t, str) else t for t in types]}
    if isinstance(of_layer, dict) and isinstance(one := next(iter(of_layer.values()), None), dict):  # Gemma 4: layers of full attention
        renamed = {"head_dim": "global_head_dim", "num_key_value_heads": "num_global_key_value_heads"}
        found = {name: one[k] for k, name in renamed.items() if k in one} | found
    if isinstance(ssm := found.get("ssm_cfg"), dict):  # as mamba-ssm writes it
        second = ssm.get("layer") == "Mamba2"
        found = {"model_type": "mamba", "state_size": ssm.get("d_state", 128 if second else 16)} | found | ssm
        if second:
            width = ssm.get("headdim", 64)
            inner = 2 * found["d_model"] if isinstance(found.get("d_model"), int) else 0
            found |= {"mamba_head_dim": width, "mamba_num_heads": inner // width if isinstance(width, int) and width > 0 else 0}
    if "dim" in found and "n_layers" in found and "model_type" not in found:  # a params.json of Mistral
        moe = {**found["moe"]} if isinstance(found.get("moe"), dict) else {}
        renamed = {"dim": "hidden_size", "hidden_dim": "intermediate_size", "expert_hidden_dim": "moe_intermediate_size"}
        tied = {"tie_word_embeddings": found["tied_embeddings"]} if "tied_embeddings" in found else {}
        found = {"model_type": "mistral_params", **{str(renamed.get(k, k)): v for k, v in (found | moe).items()}, **tied}
    return found


def _causal(c: Fields) -> None:
    """Raise `InputError` for what does not write token after token."""
    kind = c.kind.lower()
    if c.get("is_encoder_decoder") is True or re.fullmatch(BOTH, kind):
        raise InputError(f"model_type is {c.kind!r}, an encoder with a decoder: expected a causal language model; {WAY_OUT}")
    encodes = re.fullmatch(ENCODERS, kind) or "type_vocab_size" in c or "MaskedLM" in str(c.get("architectures"))
    if encodes and c.get("is_decoder") is not True:
        raise InputError(f"model_type is {c.kind!r}, an encoder: expected a causal language model; {WAY_OUT}")
    if unknown := [name for name in UNKNOWN if name in c]:
        raise InputError(f"{unknown[0]} says layers of a kind that is not known here; {WAY_OUT}")
    if kind == "nemotron-nas" and "block_configs" not in c:
        raise InputError(f"block_configs is missing; expected a list with the attention and the ffn of each layer; or {WAY_OUT}")
