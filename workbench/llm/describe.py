"""Dimensions of the main attention and the feed-forward parts of a configuration, and what its other layers need."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from workbench.errors import InputError
from workbench.llm import mixing
from workbench.llm.fields import OWN_WIDTH, Fields, names_of
from workbench.llm.kinds import WAY_OUT, blocks_of, searched
from workbench.llm.mixing import Mixing


def main_attention(c: Fields, mixers: list[str]) -> dict[str, Any]:
    """Those of the main attention."""
    hidden = c.size("hidden")
    if not {"full", "sliding", "sparse", "compressed", "beside", "cross"} & set(mixers):  # states alone: channels as heads of 64
        width = c.size("ssm_head_dim", c.size("head_size", 64))
        heads = max(c.size("attention_hidden_size", c.size("expand", 1) * hidden) // width, 1)
        return {"hidden": hidden, "heads": heads, "kv_heads": heads, "head_dim": width, "attention": "none"}
    heads = c.size("heads")
    kv_heads = c.size("kv_heads", heads)
    if c.get("multi_query") is True and c.get("new_decoder_architecture") is not True:  # Falcon's class fills the number all the same
        kv_heads = 1
    if "block_configs" in c:
        kv_heads = max(heads // searched(c, blocks_of(c)[1])[0], 1)
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
        dims |= {name: c.size(name) for name in ("kv_lora_rank", *latent)}
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
    by_word = 2 if (c.get("mlp_hidden_act", c.get("hidden_act", "silu")) in plain and not c.defaults) or c.kind.startswith("rwkv") else 3
    return int(c.get("matrices", by_word))


def feed_forward(c: Fields, feeds: list[str]) -> dict[str, Any]:
    """Dimensions of the feed-forward parts."""
    hidden, mixtures = c.size("hidden"), feeds.count("experts")
    usual: Any = 0
    if "block_configs" in c:
        width = searched(c, feeds)[1]
        usual = int(width) if width == int(width) else width
    elif c.kind.startswith("rwkv"):
        usual = 4 * hidden if c.kind in ("rwkv", "rwkv7") else int(hidden * 3.5) // 32 * 32
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
    experts, chosen = c.size("experts"), c.size("experts_per_token", 0, low=0)
    if not 1 <= chosen <= experts:
        raise InputError(f"num_experts_per_tok is {chosen}; expected 1 to {experts} experts")
    if not c.has("moe_ffn") and (c.kind.startswith(OWN_WIDTH) or not ffn):
        raise InputError(f"moe_intermediate_size is missing; expected the inner width of one of {experts} experts")
    moe_ffn, shared_ffn = c.size("moe_ffn", ffn), c.size("shared_ffn", 0, low=0)
    if c.get("shared_of_ffn") or c.flag("enable_moe_block"):  # Llama 4; Gemma 4, a dense part beside the experts
        shared_ffn = ffn
    elif c.get("beside_of_hidden") and c.get("use_residual", True):  # Arctic
        shared_ffn = hidden
    shared = c.size("shared_experts", 1 if shared_ffn else 0, low=0)
    found |= {"experts": experts, "experts_per_token": chosen, "moe_ffn": moe_ffn, "moe_layers": mixtures}
    found |= {"moe_hidden": c.size("moe_hidden", 0, low=0), "shared_experts": 1 if shared_ffn else shared}
    return found | {"shared_ffn": (shared_ffn or moe_ffn) if shared else 0}


def embeddings(c: Fields, hidden: int, layers: int) -> dict[str, Any]:
    """Tables of which a token reads a row."""
    width, lookups = c.size("word_embed_proj_dim", hidden), 0
    if c.get("positions") is not None and not c.has("alibi"):
        lookups = (c.size("context") + c.get("positions")) * hidden
    if of_layer := c.size("hidden_size_per_layer_input", 0, low=0):
        lookups += c.size("vocab_size_per_layer_input", c.size("vocab")) * of_layer * layers
    return {"lookups": lookups, "embedding_width": 0 if width == hidden else width}


def other_layers(c: Fields, dims: dict[str, Any], mixers: list[str]) -> tuple[Mixing, dict[str, Any], list[str]]:
    """What layers need beside the main attention, all together; what of the main attention slides or selects; kinds in words."""
    hidden, n = dims["hidden"], len(mixers)
    ratios = c.each("compress_ratios", n)
    if "compress_ratios" in c:
        mixers = [_ratio(r) for r in ratios or [c.get("compress_ratios")]]
    own = {kind: _own(c, dims, kind) for kind in set(mixers)}  # None where it is the main attention
    first, factor = n - c.size("num_kv_shared_layers", 0, low=0), c.size("cla_share_factor", 1) if c.flag("use_cla") else 1
    parts, words = [], []
    for i, kind in enumerate(mixers):
        layer = own[kind]
        if shared := i >= first or i % factor > 0:  # reads the cache of a layer before it, and adds none of its own (Gemma 3n)
            layer = replace(layer or _attention(c, dims, window=kind == "sliding"), kept=0, kept_windowed=0)
        parts.append(layer)
        words.append(_word(c, kind, dims) + (", cache shared" if shared else ""))
    mains = Counter(kind for kind, layer in zip(mixers, parts, strict=True) if layer is None)
    total = [*(layer for layer in parts if layer is not None), Mixing(weights=_beside(c, dims, mains.total()) + _streams(c, hidden, n))]
    if mains["beside"]:  # Falcon-H1: attention and a state-space layer side by side
        total.append(replace(_linear(c, hidden), layers=0).times(mains["beside"]))
    found = {"sliding_layers": mains["sliding"], "sparse_layers": mains["sparse"]}
    if sparse := mixers.count("sparse"):
        selects, index = _index(c, hidden, n, sparse)
        total.append(index)
        found["sparse_tokens"] = selects
    elif ratios is not None:
        found["sparse_tokens"] = 4 * c.size("index_topk")
    return mixing.together(total), found, words


def _ratio(ratio: Any) -> str:
    if isinstance(ratio, bool) or not isinstance(ratio, int) or not 0 <= ratio <= 1 << 20:
        raise InputError(f"compress_ratios holds {ratio!r}; expected whole numbers of tokens, 0 for a window alone")
    return f"compressed {ratio}"


def _own(c: Fields, dims: dict[str, Any], kind: str) -> Mixing | None:
    """A layer of this kind by itself; None where it is the main attention."""
    hidden = dims["hidden"]
    if kind == "linear":
        return _linear(c, hidden)
    if kind == "convolution":
        return mixing.short_convolution(hidden, c.size("kernel"))
    if kind.startswith("compressed"):
        sizes = (dims["heads"], dims["head_dim"], c.size("q_lora_rank"), c.size("o_lora_rank"), c.size("o_groups"))
        return mixing.compressed(hidden, *sizes, (c.size("index_n_heads"), c.size("index_head_dim")), int(kind.split()[1]))
    if kind in ("none", "matrix"):
        return Mixing(layers=1, weights=hidden * hidden * (kind == "matrix"))
    if kind == "cross":  # to an image, whose keys and values do not grow with the text
        return Mixing(layers=1, weights=_attention(c, dims).weights)
    if kind == "full" and c.has("global_head_dim"):  # Gemma 4
        kv_heads, width = c.size("num_global_key_value_heads", dims["kv_heads"]), c.size("global_head_dim")
        return mixing.attention(hidden, dims["heads"], kv_heads, width, width, one=c.flag("attention_k_eq_v"))
    if kind == "sliding" and c.has("swa_num_key_value_heads"):  # MiMo-V2
        width = c.size("swa_head_dim", dims["head_dim"])
        heads, kv_heads = c.size("swa_num_attention_heads", dims["heads"]), c.size("swa_num_key_value_heads")
        return mixing.attention(hidden, heads, kv_heads, width, c.size("swa_v_head_dim", width), window=True)
    return None


def _attention(c: Fields, dims: dict[str, Any], window: bool = False) -> Mixing:
    """A layer of the main attention, as others are described."""
    width = dims["head_dim"]
    return mixing.attention(dims["hidden"], dims["heads"], dims["kv_heads"], width, dims.get("v_head_dim") or width, window=window)


def _linear(c: Fields, hidden: int) -> Mixing:
    """A layer of linear attention or of a state space, by the fields that its class has."""
    inner = c.size("mamba_d_ssm", c.size("expand", 2) * hidden)
    if "mamba" in c.kind and not c.has("heads"):  # no other part is as wide
        inner = c.size("ffn", inner)
    if isinstance(delta := c.get("linear_attn_config"), dict):
        kimi = Fields(delta)
        full = kimi.flag("use_full_rank_gate")
        return mixing.kimi_delta(hidden, kimi.size("heads"), kimi.size("head_dim"), kimi.size("short_conv_kernel_size", 4), full_gate=full)
    if "linear_num_heads" in c:
        return mixing.kimi_delta(hidden, c.size("linear_num_heads"), c.size("linear_head_dim"), c.size("kernel", 4))
    if "linear_num_value_heads" in c:
        key_heads, value_heads = c.size("linear_num_key_heads"), c.size("linear_num_value_heads")
        widths = c.size("linear_key_head_dim"), c.size("linear_value_head_dim")
        return mixing.gated_delta(hidden, key_heads, value_heads, *widths, c.size("kernel", 4))
    if c.kind.startswith("rwkv"):
        return mixing.rwkv(hidden, c.size("attention_hidden_size", hidden), c.size("head_size", 64), c.kind)
    if c.has("ssm_heads") or c.kind == "mamba2":
        heads = c.size("ssm_heads" if c.has("ssm_heads") else "num_heads")
        width = c.size("ssm_head_dim", c.size("head_dim", inner // heads) if c.kind == "mamba2" else inner // heads)
        return mixing.mamba2(hidden, heads, width, c.size("state"), c.size("ssm_groups", 1), c.size("kernel", 4))
    if c.has("state"):
        return mixing.mamba(hidden, inner, c.size("state"), c.size("rank", -(-hidden // 16)), c.size("kernel", 4))
    if "attn_type_list" in c or "layer_group_size" in c or c.kind.startswith("minimax"):
        return mixing.lightning(hidden, c.size("heads"), c.size("head_dim", hidden // c.size("heads")))
    raise InputError(f"model_type is {c.kind!r} with layers of linear attention whose fields are not known; {WAY_OUT}")


def _index(c: Fields, hidden: int, n: int, sparse: int) -> tuple[int, Mixing]:
    """Tokens that sparse attention selects, and what selects them in the layers that do so themselves."""
    config = c.get("sparse_attention_config")
    if isinstance(config, dict):  # MiniMax-M3: blocks, for each group of heads
        blocks = Fields(config)
        heads, width = blocks.size("sparse_num_index_heads"), blocks.size("sparse_index_dim")
        selects = blocks.size("sparse_topk_blocks") * blocks.size("sparse_block_size")
        return selects, mixing.indexer(hidden, hidden, heads, width, weighed=False).times(sparse)
    layer = mixing.indexer(hidden, c.size("q_lora_rank", hidden), c.size("index_n_heads"), c.size("index_head_dim"))
    if (types := c.each("indexer_types", n, ("full", "shared"))) is not None:
        own = types.count("full")
    else:  # every so many layers from one on, and all before (GLM-5.2)
        first, every = c.size("index_skip_topk_offset", 1), c.size("index_topk_freq", 1)
        own = sum(max(i - first + 1, 0) % every == 0 for i in range(n)) if every > 1 else sparse
    return c.size("index_topk"), layer.times(own)


def _beside(c: Fields, dims: dict[str, Any], mains: int) -> int:
    """Weights beside those of the main attention and of feed-forward parts: gates, projections, small attention to other streams."""
    hidden, gate = dims["hidden"], c.flag("attn_output_gate", "mla_use_output_gate")
    values, width = dims["heads"] * (dims.get("v_head_dim") or dims["head_dim"]), c.size("word_embed_proj_dim", hidden)
    embedding = 2 * width * hidden if width != hidden else 0  # OPT-350m
    latent = 2 * dims.get("moe_layers", 0) * hidden * dims.get("moe_hidden", 0)  # to the width of routed experts and back
    return mains * gate * hidden * values + embedding + latent


def _streams(c: Fields, hidden: int, n: int) -> int:
    """Weights of several residual streams and of inputs to each layer."""
    found = 3 * hidden * c.size("hidden_size_per_layer_input", 0, low=0) * n
    if c.kind.startswith("gemma3n"):  # low-rank residuals, and projections of the streams beside the first
        found += 2 * hidden * c.size("laurel_rank", 64) * n + 2 * (c.size("altup_num_inputs", 4) - 1) * hidden * hidden
    if "hc_mult" in c:  # DeepSeek-V4: what mixes the streams, before attention and feed-forward
        streams = c.size("hc_mult")
        found += 2 * n * (2 + streams) * streams * streams * hidden
    if c.kind == "yuan":  # two convolutions before attention, over pairs of tokens [Yuan 2.0, 2023, arXiv:2311.15786]
        found += 2 * n * hidden * hidden
    return found


def _word(c: Fields, kind: str, dims: dict[str, Any]) -> str:
    """A kind of layer in the field's words."""
    if kind == "linear":
        named = {"linear_attn_config": "Kimi delta", "linear_num_heads": "Kimi delta", "linear_num_value_heads": "gated delta"}
        of_state = "Mamba-2" if c.has("ssm_heads") or c.kind == "mamba2" else "Mamba" if c.has("state") else "lightning"
        of_state = "RWKV" if c.kind.startswith("rwkv") else of_state
        return next((word for field, word in named.items() if field in c), of_state)
    if kind in ("full", "sparse") and "kv_lora_rank" in dims:
        return "latent" if kind == "full" else "sparse latent"
    return {"beside": "full beside Mamba-2", "none": "no mixer"}.get(kind, kind)
