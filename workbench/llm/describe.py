"""Dimensions of the main attention and the feed-forward parts of a configuration, and what its other layers need."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from typing import Any

import polars as pl

from workbench import tables
from workbench.errors import InputError
from workbench.llm import mixing
from workbench.llm.fields import OWN_WIDTH, Fields, factor, names_in, names_of
from workbench.llm.kinds import WAY_OUT, groups_of
from workbench.llm.mixing import Mixing
from workbench.llm.model import Transformer

#: Fields of latent attention that layers may have otherwise.
LATENT = ("q_lora_rank", "kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim")


def main_attention(c: Fields, mixers: list[str]) -> dict[str, Any]:
    """Those of the main attention."""
    hidden = c.size("hidden")
    if not {"full", "sliding", "sparse", "compressed", "beside", "cross", "hybrid"} & set(mixers):  # states alone: channels as heads of 64
        width = -(-hidden // c.size("num_heads")) if c.kind == "xlstm" else c.size("ssm_head_dim", c.size("head_size", 64))
        heads = max(c.size("attention_hidden_size", c.size("expand", 1) * hidden) // width, 1)
        return {"hidden": hidden, "heads": heads, "kv_heads": heads, "head_dim": width, "attention": "none"}
    heads = c.size("heads", c.size("kv_heads") * c.size("experts_per_token") if c.kind == "jetmoe" else None)
    kv_heads = c.size("kv_heads", heads)
    if c.has("kv_lora_rank") and not any(name in c for name in names_of("kv_heads")):
        kv_heads = heads
    if c.get("multi_query") is True and c.get("new_decoder_architecture") is not True:  # Falcon's class fills the number all the same
        kv_heads = 1
    if "block_configs" in c:
        kv_heads = max(heads // next(g for g in groups_of(c) if g), 1)
    if heads % kv_heads:
        name = next((k for k in names_of("kv_heads") if k in c), "num_key_value_heads")
        raise InputError(f"{name} is {kv_heads}; expected a divisor of {heads} heads")
    dims = {"hidden": hidden, "heads": heads, "kv_heads": kv_heads}
    if "sliding" in mixers or "compressed" in mixers:
        dims["sliding_window"] = c.size("window")
    if c.has("kv_lora_rank") and "compressed" not in mixers:
        latent = ("qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim")
        if not all(c.has(name) for name in latent):
            raise InputError("kv_lora_rank needs qk_nope_head_dim, qk_rope_head_dim and v_head_dim")
        dims |= {name: c.size(name, low=name != "qk_rope_head_dim") for name in ("kv_lora_rank", *latent)}
        dims |= {"q_lora_rank": c.size("q_lora_rank", 0, low=0), "attention": "mla"}
        dims["head_dim"] = dims["qk_nope_head_dim"] + dims["qk_rope_head_dim"]
    else:
        if hidden % heads and not c.has("head_dim"):
            raise InputError(f"head_dim is missing; hidden_size {hidden} is no multiple of {heads} heads")
        dims["head_dim"] = c.size("head_dim", hidden // heads)
        dims |= {"v_head_dim": c.size("v_head_dim", 0, low=0), "q_lora_rank": c.size("share_q_dim", 0, low=0)}
        dims["attention"] = "mha" if kv_heads == heads else "mqa" if kv_heads == 1 else "gqa"
    return dims


def matrices(c: Fields) -> int:
    """Matrices of a feed-forward part: 3 gated, 2 plain."""
    plain = ("relu2", "relu", "gelu", "gelu_new", "gelu_fast")
    by_word = 2 if (c.get("mlp_hidden_act", c.get("hidden_act", "silu")) in plain and not c.of_family) or c.kind.startswith("rwkv") else 3
    return int(c.get("matrices", by_word))


def feed_forward(c: Fields, feeds: list[str]) -> dict[str, Any]:
    """Dimensions of the feed-forward parts."""
    hidden, mixtures = c.size("hidden"), feeds.count("experts")
    usual: Any = 0
    if "block_configs" in c:
        parts = (b["ffn"] for b, feed in zip(c.get("block_configs"), feeds, strict=True) if feed == "dense")
        factors = [factor(part.get("ffn_mult"), "ffn_mult") for part in parts]
        width = sum(-(-int(2 * f * hidden / 3) // 256) * 256 for f in factors) / max(len(factors), 1)  # as the class rounds them
        usual = int(width) if width == int(width) else width
    elif c.kind.startswith("rwkv"):
        usual = 4 * hidden if c.kind in ("rwkv", "rwkv7") else int(hidden * 3.5) // 32 * 32
    elif isinstance(factors := c.get("ffn_multipliers"), list) and factors:  # OpenELM
        step = c.size("ffn_dim_divisor", 256)
        usual = sum(max(step, int(factor(f, "ffn_multipliers") * hidden + step / 2) // step * step) for f in factors) / len(factors)
    elif c.has("ffn_proj_factor"):  # xLSTM
        usual = -(-int(factor(c.get("ffn_proj_factor"), "ffn_proj_factor") * hidden) // 64) * 64
    elif matrices(c) == 2:
        usual = c.size("expansion_ratio", 4) * hidden
    ffn = c.size("ffn", usual or None) if "dense" in feeds or c.has("ffn") else usual
    if c.get("halved_ffn"):  # Qwen's first class
        ffn = ffn // 2
    elif c.flag("block_auto_adjust_ff_dim"):  # LFM2
        ffn = -(-int(2 * ffn / 3) // c.size("block_multiple_of", 256)) * c.size("block_multiple_of", 256)
    elif c.flag("use_double_wide_mlp"):  # Gemma 4: of layers that share a cache
        ffn = ffn * (1 + c.size("num_kv_shared_layers", 0, low=0) / len(feeds))
    elif c.kind == "granitemoehybrid" and not mixtures:
        ffn = c.size("shared_ffn", ffn)
    found = {"ffn": c.size("dense_ffn", ffn) if "dense" in feeds else 0}
    if not mixtures:
        return found | {"shared_experts": 0}
    experts, chosen = c.size("experts"), c.size("experts_per_token", low=0)
    chosen = round(chosen * experts / (experts + c.size("zero_expert_num", 0, low=0)))  # some do nothing (LongCat): in the mean
    if not 1 <= chosen <= experts:
        raise InputError(f"num_experts_per_tok is {chosen}; expected 1 to {experts} experts")
    if not c.has("moe_ffn") and (c.kind.startswith(OWN_WIDTH) or not ffn):
        raise InputError(f"moe_intermediate_size is missing; expected the inner width of one of {experts} experts")
    moe_ffn, shared_ffn = c.size("moe_ffn", ffn), c.size("shared_ffn", 0, low=0)
    if c.get("shared_of_ffn") or c.flag("enable_moe_block", "residual_moe"):  # Llama 4; Gemma 4, a dense part beside the experts
        shared_ffn = ffn
    elif c.get("beside_of_hidden") and c.get("use_residual", True):  # Arctic
        shared_ffn = hidden
    shared = c.size("shared_experts", 1 if shared_ffn else 0, low=0)
    found |= {"experts": experts, "experts_per_token": chosen, "moe_ffn": moe_ffn, "moe_layers": mixtures}
    found |= {"moe_hidden": c.size("moe_hidden", 0, low=0), "shared_experts": 1 if shared_ffn else shared}
    return found | {"shared_ffn": (shared_ffn or moe_ffn) if shared else 0}


def other_layers(c: Fields, dims: dict[str, Any], mixers: list[str]) -> tuple[Mixing, dict[str, Any], list[str]]:
    """What layers need beside the main attention, all together; what of the main attention slides or selects; kinds in words."""
    hidden, n = dims["hidden"], len(mixers)
    ratios = c.each("compress_ratios", n)
    if "compress_ratios" in c:
        ratios_of = ratios or [c.get("compress_ratios")] * n
        if wrong := [r for r in ratios_of if isinstance(r, bool) or not isinstance(r, int) or not 0 <= r <= 1 << 20]:
            raise InputError(f"compress_ratios holds {wrong[0]!r}; expected whole numbers of tokens, 0 for a window alone")
        mixers = [f"compressed {r}" for r in ratios_of]
    changes, own = different(c, dims, mixers), {}
    first, every = n - c.size("num_kv_shared_layers", 0, low=0), c.size("cla_share_factor", 1) if c.flag("use_cla") else 1
    parts, words = [], []
    for i, kind in enumerate(mixers):
        key = f"{kind} {changes[i]}"
        if key not in own:  # None where it is the main attention
            own[key] = _own(c, dims, kind, changes[i])
        layer = own[key]
        if shared := i >= first or i % every > 0:  # reads the cache of a layer before it, and adds none of its own (Gemma 3n)
            layer = replace(layer or _attention(c, kind), kept=0, kept_windowed=0)
        parts.append(layer)
        words.append(_word(c, kind, dims) + (", cache shared" if shared else ""))
    mains = Counter(kind for kind, layer in zip(mixers, parts, strict=True) if layer is None)
    width = c.size("word_embed_proj_dim", hidden)
    counts = {"layer": n, "main": mains.total(), "hybrid": mixers.count("hybrid"), "mixture": dims.get("moe_layers", 0), "model": 1}
    counts["indexed"] = _indexed(c, mixers)
    extras = _extras(c, dims, counts)
    extras["weights"] += 2 * width * hidden * (width != hidden)  # OPT-350m projects its embedding
    found = {"sliding_layers": mains["sliding"], "sparse_layers": mains["sparse"]}
    found |= {"lookups": extras.pop("lookups", 0), "embedding_width": 0 if width == hidden else width}
    if c.get("positions") is not None and not c.has("alibi"):
        found["lookups"] += (c.size("context") + c.get("positions")) * hidden
    total = [*(layer for layer in parts if layer is not None), Mixing(**extras)]
    if mains["beside"]:  # Falcon-H1: attention and a state-space layer side by side
        total.append(replace(_linear(c, dims)[1], layers=0).times(mains["beside"]))
    if "sparse" in mixers:
        of_block = c.size("sparse_block_size", 1) if c.has("sparse_topk_blocks") else c.size("index_topk")
        found["sparse_tokens"] = c.size("sparse_topk_blocks", 1) * of_block
    elif ratios is not None:
        found["sparse_tokens"] = 4 * c.size("index_topk")
    return mixing.together(total), found, words


def different(c: Fields, dims: dict[str, Any], kinds: list[str]) -> list[dict[str, Any]]:
    """Fields of the attention of each layer that are not those of the main one: of its kind, of lists of layers, of its number."""
    usual = {"num_attention_heads": dims["heads"], "num_key_value_heads": dims["kv_heads"], "head_dim": dims["head_dim"]}
    of_kind = {kind: {name: c.get(f) for name, fields in names_in(kind).items() for f in fields if f in c} for kind in set(kinds)}
    meanings = {"num_attention_heads": "heads", "num_key_value_heads": "kv_heads"}
    lists = {n: next((v for f in names_of(m) if (v := c.each(f, len(kinds)))), []) for n, m in meanings.items()}
    if "block_configs" in c:
        lists["num_key_value_heads"] = [g and max(dims["heads"] // g, 1) for g in groups_of(c)]
    numbered = v if isinstance(v := c.get("per_layer_config"), dict) else {}
    for i in numbered:  # a few after the last are of heads
        if not re.fullmatch("[0-9]{1,6}", i) or int(i) >= len(kinds) + 16:
            raise InputError(f"per_layer_config has a layer {i[:60]!r}; expected numbers from 0 to {len(kinds) - 1}")
    own = {int(i): v for i, v in numbered.items() if isinstance(v, dict)}
    said = [of_kind[kind] | {name: of[i] for name, of in lists.items() if of} | own.get(i, {}) for i, kind in enumerate(kinds)]
    said = [layer if kind in ("full", "sliding", "sparse") else {} for kind, layer in zip(kinds, said, strict=True)]
    return [{n: v for n, v in s.items() if (n in usual or n in LATENT) and v is not None and v != usual.get(n)} for s in said]


def _own(c: Fields, dims: dict[str, Any], kind: str, changed: dict[str, Any]) -> Mixing | None:
    """A layer of this kind by itself, with what is changed of its attention; None where it is the main attention."""
    if changed:
        return _attention(Fields(c.nulls | c.given | changed), kind)
    if kind in ("linear", "convolution", "hybrid"):
        return _linear(c, dims)[1]
    if kind in ("full", "sliding", "sparse", "beside"):
        return None
    word, _, ratio = kind.partition(" ")  # of compressed ones up to 4 entries are selected; 0 is the window alone
    of_ratio = {"ratio": int(ratio), "q_lora_rank": c.size("q_lora_rank")} if ratio else {}
    counts = {word: 1, "selected": int(0 < int(ratio or 0) <= 4), "wide": int(int(ratio or 0) > 4)}
    return Mixing(layers=1, **_extras(c, dims | of_ratio, counts))


def _attention(c: Fields, kind: str) -> Mixing:
    """A layer of the main attention, as others are described. Its keys may be the values too (Gemma 4)."""
    dims = main_attention(c, [kind])
    t = Transformer(layers=1, vocab=0, **{name: n for name, n in dims.items() if name not in ("attention", "sliding_window")})
    twice = t.hidden * t.kv_heads * t.head_dim if kind == "full" and c.flag("attention_k_eq_v") else 0
    gate = t.hidden * t.value if c.flag("attn_output_gate", "mla_use_output_gate") else 0
    each = {"kept": t.key_value + t.latent, "read": t.key_value + t.latent, "scores": t.query + t.value}
    window = "_windowed" if kind == "sliding" else ""
    return Mixing(layers=1, weights=t.attention_params - twice + gate, **{name + window: n for name, n in each.items()})


def _linear(c: Fields, dims: dict[str, Any]) -> tuple[str, Mixing]:
    """A layer of linear attention, of a state space or of a convolution, by the fields that its class has: in words, and what it needs."""
    hidden, kernel = dims["hidden"], c.size("kernel", 4)
    inner = c.size("mamba_d_ssm", c.size("expand", 2) * hidden)
    if c.has("mamba_step"):  # PLaMo 2
        inner = c.size("ssm_heads") * c.size("head_dim")
    elif "mamba" in c.kind and not c.has("heads"):  # no other part is as wide
        inner = c.size("ffn", inner)
    known = dims | {"inner": inner, "kernel": kernel, "rank": c.size("rank", -(-hidden // 16))}
    known |= {"width": c.size("ssm_head_dim", max(inner // c.size("ssm_heads", 1), 1))}
    if c.kind.startswith("rwkv"):
        known["time_mixing"] = mixing.time_mixing(hidden, c.size("attention_hidden_size", hidden), c.kind)
    for known_by, word, *sums in tables.made_of("llm_mixers", pl.DataFrame.rows):
        if c.said(known_by):
            weights, convolved, state, updates = (sum(c.value(p.strip(), known) for p in each.split("+")) for each in sums[:4])
            return word, mixing.recurrent(weights, convolved, state, updates, kernel)
    raise InputError(f"model_type is {c.kind!r} with layers of linear attention whose fields are not known; {WAY_OUT}")


def _indexed(c: Fields, mixers: list[str]) -> int:
    """Layers that select the tokens of sparse attention themselves [DeepSeek-V3.2, 2.1]."""
    n, sparse = len(mixers), mixers.count("sparse")
    if (types := c.each("indexer_types", n, ("full", "shared"))) is not None:
        return sum(t == "full" and m == "sparse" for t, m in zip(types, mixers, strict=True))
    first, every = c.size("index_skip_topk_offset", 1), c.size("index_topk_freq", 1)  # from one on, and all before (GLM-5.2)
    return sum(max(i - first + 1, 0) % every == 0 for i in range(n)) if every > 1 else sparse


def _extras(c: Fields, dims: dict[str, Any], counts: dict[str, int]) -> Counter[str]:
    """What there is beside the main attention and feed-forward parts, in so many layers of each kind: rows of table ``llm_extras``."""
    idle, width = dims.get("experts", 0) - dims.get("experts_per_token", 0), dims.get("v_head_dim") or dims["head_dim"]
    known = dims | {"idle": idle, "query_rank": dims.get("q_lora_rank") or dims["hidden"], "values": dims["heads"] * width}
    found: Counter[str] = Counter()
    for known_by, part, each, product, *_ in tables.made_of("llm_extras", pl.DataFrame.rows):
        if (n := counts.get(each, 0)) and c.said(known_by):
            found[part] += n * c.value(product, known)
    return found


def _word(c: Fields, kind: str, dims: dict[str, Any]) -> str:
    """A kind of layer in the field's words."""
    if kind == "linear":
        return _linear(c, dims)[0]
    if kind in ("full", "sparse") and "kv_lora_rank" in dims:
        return "latent" if kind == "full" else "sparse latent"
    words = {"hybrid": "Mamba with a shared block", "beside": "full beside Mamba-2", "none": "no mixer"}
    words |= {"memory": "gated memory", "reader": "full, cache shared"}
    return words.get(kind, kind)
