"""Which kind of layer follows which: from the lists, patterns and periods of a configuration."""

from __future__ import annotations

from typing import Any

from workbench.errors import InputError
from workbench.llm.fields import Fields, names_in

WAY_OUT = "describe what is served in a row of your own: llms.csv in the folder WORKBENCH_DATA"

#: Fields that say how often a kind of layer comes, in place of the order of the class.
PERIODS = ("full_attention_interval", "layer_pattern", "sliding_window_pattern", "_sliding_window_pattern")


def layers_of(c: Fields) -> tuple[list[str], list[str]]:
    """Kind of the mixer and of the feed-forward part of each layer."""
    pattern = c.get("hybrid_override_pattern", c.get("layers_block_type"))
    if "block_configs" in c:
        return blocks_of(c)
    if c.get("halves"):  # LongCat: each layer is two of attention and a dense part, with experts beside the first
        n = c.size("layers")
        return ["full"] * 2 * n, ["experts", "dense"] * n
    if isinstance(pattern, list | str) and pattern:
        if len(pattern) > 10_000:
            raise InputError(f"a pattern of {len(pattern)} layers; expected less than or equal to 10000")
        found = [_kind(p, "hybrid_override_pattern") for p in pattern]
    else:
        found = _mixers(c, 2 * c.size("num_layers_per_stack", 0, low=0) or c.size("layers"))  # HRM: two stacks
    found = ["hybrid" if kind == "full" and c.get("shared_blocks") else kind for kind in found]  # Zamba
    if {"experts", "feed"} & set(found):  # layers of one part each
        feeds = [{"experts": "experts", "feed": "dense"}.get(k, "none") for k in found]
        return [k if feed == "none" else "none" for k, feed in zip(found, feeds, strict=True)], feeds
    return found, _feeds(c, len(found))


def _kind(name: Any, field: str) -> str:
    known = {1: "full", 0: "linear"} | {name: kind for kind, names in names_in("layer").items() for name in names}
    if not isinstance(name, str | int) or name not in known:
        raise InputError(f"{field} holds {name!r}; known kinds of layers are {', '.join(map(str, known))}; or {WAY_OUT}")
    return known[name]


def _mixers(c: Fields, n: int) -> list[str]:
    """How each of `n` layers mixes tokens: by a list, a pattern or a period, whichever the file has."""
    window, kind = c.has("window"), c.kind
    if "compress_ratios" in c:
        return ["compressed"] * n
    if kind.startswith("rwkv"):
        return ["linear"] * n
    lists = ((name, c.each(name, n)) for name in ("layer_types", "attn_type_list", "attention_layers"))
    listed, types = next((pair for pair in lists if pair[1] is not None), ("", None))
    found = _by_period(c, n, window) if types is None else [_kind(t, listed) for t in types]
    crossed = c.get("cross_attention_layers")
    if isinstance(crossed, list):
        found = ["cross" if i in crossed else k for i, k in enumerate(found)]
    if c.has("index_topk"):
        found = ["sparse" if k == "full" else k for k in found]
    sparse = c.get("sparse_attention_config")
    if isinstance(sparse, dict) and sparse.get("use_sparse_attention", True):
        freq = sparse.get("sparse_attention_freq")
        found = ["sparse" if not isinstance(freq, list) or (i < len(freq) and freq[i]) else k for i, k in enumerate(found)]
    reach = c.size("window", 0, low=0) if window else 0
    if not reach or (c.has("context") and reach >= c.size("context")):
        found = ["full" if k == "sliding" else k for k in found]
    return found


def _by_period(c: Fields, n: int, window: bool) -> list[str]:
    """Kinds of layers where no list says them."""
    linear = c.get("linear_attn_config")
    if (swa := c.each("hybrid_layer_pattern", n)) is not None:
        return ["sliding" if s else "full" for s in swa]
    if isinstance(linear, dict):
        if not isinstance(full := linear.get("full_attn_layers"), list):
            raise InputError("linear_attn_config has no full_attn_layers; expected the list of layers with full attention")
        return ["full" if i + 1 in full else "linear" for i in range(n)]
    for words, names in names_in("listed").items():
        if listed := next((v for name in names if isinstance(v := c.get(name), list)), None):
            return [words.split()[i not in listed] for i in range(n)]
    if c.has("layer_group_size"):  # layers after the last whole group are full (Ring)
        group = c.size("layer_group_size")
        return ["linear" if (i + 1) % group and i < n // group * group else "full" for i in range(n)]
    if c.has("attn_layer_period"):
        period, offset = c.size("attn_layer_period"), c.size("attn_layer_offset", 0, low=0)
        third = c.get("shared_blocks")  # Zamba: its third too
        return ["full" if i % period == offset or (third and i == 2) else "linear" for i in range(n)]
    if c.get("first_decoder_half"):  # SambaY: a second half reads the cache of its first full layer
        half = n // 2
        later = ["linear", "full", *["memory", "reader"] * half]
        return [*["linear", "sliding"] * half][:half] + later[: n - half]
    if (order := c.defaults.get("class_layers")) and not any(name in c for name in PERIODS):
        return _of_class(order, n)
    if "full_attention_interval" in c or c.has("linear_num_value_heads"):
        every = c.size("full_attention_interval", 4)
        return ["full" if (i + 1) % every == 0 else "linear" for i in range(n)]
    if c.get("beside"):
        return ["beside"] * n
    if (c.has("state") and not c.has("heads")) or c.kind in ("mamba2", "bamba", "xlstm"):
        return ["linear"] * n
    if window and c.get("chunk_every"):
        rope = c.each("no_rope_layers", n) if c.get("no_rope_layers") else None
        return ["sliding" if (rope[i] if rope else (i + 1) % c.get("chunk_every")) else "full" for i in range(n)]
    if pattern := next((p for k in PERIODS if isinstance(p := c.get(k), str)), ""):  # letters of layers that are repeated
        return _of_class(f"|{pattern}|", n)
    if window and c.has("full_every"):
        every = c.size("full_every")
        return ["sliding" if (i + 1) % every else "full" for i in range(n)]
    if window and c.flag("use_sliding_window"):  # Qwen2: the layers from max_window_layers on
        first = c.size("max_window_layers", n, low=0)
        return ["sliding" if i >= first else "full" for i in range(n)]
    return ["sliding" if window and c.get("all_slide") else "full"] * n


def _of_class(order: str, n: int) -> list[str]:
    """Kinds of `n` layers by letters: those a class begins with, repeats and ends with. Raises `InputError` where it repeats none."""
    first, period, last = (*str(order).split("|"), "", "")[:3]
    if not period:
        raise InputError(f"layer_types is missing; expected the kind of each of {n} layers")
    letters = (first + period * n)[: max(n - len(last), 0)] + last
    return [{"L": "sliding", "M": "linear", "C": "convolution"}.get(letter, "full") for letter in letters[:n]]


def _feeds(c: Fields, n: int) -> list[str]:
    """Feed-forward part of each of `n` layers: dense or experts."""
    if (c.has("state") and not c.has("heads")) or c.kind.startswith(("mamba2", "zamba")):
        return ["none"] * n
    if not c.size("experts", 0, low=0) or c.get("enable_moe_block", c.get("is_moe")) is False:
        return ["dense"] * n
    for name in ("mlp_layer_types", "moe_layer_freq"):
        if isinstance(c.get(name), list):
            return ["experts" if kind in ("sparse", "moe", "hash_moe", 1) else "dense" for kind in c.each(name, n) or ()]
    if isinstance(listed := c.get("moe_layers_enum", c.get("moe_layers")), str | list):
        at = {int(i) for i in listed.split(",") if i.strip().isdigit()} if isinstance(listed, str) else listed
        return ["experts" if i in at else "dense" for i in range(n)]
    first, every, only = c.size("first_dense", 0, low=0), c.size("moe_every", 1), c.get("mlp_only_layers") or ()
    if c.has("expert_layer_offset"):
        every, offset = c.size("expert_layer_period"), c.size("expert_layer_offset", low=0)
        return ["experts" if i % every == offset else "dense" for i in range(n)]
    if not isinstance(only, list | tuple):
        raise InputError(f"mlp_only_layers is {only!r}; expected a list of layers")
    return ["experts" if i >= first and (i + 1) % every == 0 and i not in only else "dense" for i in range(n)]


def blocks_of(c: Fields) -> tuple[list[str], list[str]]:
    """Kinds of layers of a model found by architecture search, whose blocks may lack a part or have a matrix in its place."""
    blocks = c.get("block_configs")
    if not isinstance(blocks, list) or not blocks or len(blocks) > 10_000:
        raise InputError("block_configs is no list of up to 10000 layers")
    parts: list[Any] = [(b.get("attention"), b.get("ffn")) if isinstance(b, dict) else (None, None) for b in blocks]
    if any(not isinstance(part, dict) for pair in parts for part in pair):
        raise InputError("block_configs lacks attention or ffn of a layer")
    as_words = [["none" if p.get("no_op") else "matrix" if p.get("replace_with_linear") else "" for p in pair] for pair in parts]
    return [a or "full" for a, _ in as_words], [f or "dense" for _, f in as_words]


def groups_of(c: Fields) -> list[Any]:
    """Heads for each key-value head of the blocks of `blocks_of`, None where they have no attention."""
    groups = [b["attention"].get("n_heads_in_group") for b in c.get("block_configs")]
    if not any(groups) or not all(g is None or (isinstance(g, int) and g > 0) for g in groups):
        raise InputError("block_configs has an n_heads_in_group that is no whole number above 0, or none")
    return groups
