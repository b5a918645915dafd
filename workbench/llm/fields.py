"""Fields of a configuration under all the names that their classes give them, checked; and what each family fills by default."""

from __future__ import annotations

from typing import Any

from workbench.errors import InputError

#: Names of what is the same, the first that is there.
NAMES = {
    name: tuple(names.split())
    for name, names in {
        "layers": "num_hidden_layers n_layer num_layers n_layers",
        "hidden": "hidden_size n_embd d_model n_embed",
        "heads": "num_attention_heads n_head n_heads num_heads attention_heads",
        "kv_heads": "num_key_value_heads num_kv_heads n_head_kv kv_n_heads multi_query_group_num n_kv_heads num_attention_groups",
        "head_dim": "head_dim attention_head_dim kv_channels",
        "vocab": "padded_vocab_size vocab_size",
        "context": "max_position_embeddings n_positions seq_length max_seq_len max_sequence_length model_max_length n_ctx context_length",
        "ffn": "intermediate_size block_ff_dim n_inner ffn_dim ffn_hidden_size ff_intermediate_size",
        "dense_ffn": "intermediate_size_mlp dense_intermediate_size",
        "experts": "num_local_experts n_routed_experts num_experts moe_num_experts",
        "experts_per_token": "num_experts_per_tok num_experts_per_token top_k_experts moe_k moe_topk moe_top_k experts_per_token",
        "moe_ffn": "moe_intermediate_size expert_intermediate_size moe_ffn_hidden_size",
        "shared_experts": "n_shared_experts num_shared_experts moe_num_shared_experts num_shared_expert",
        "shared_ffn": "shared_expert_intermediate_size moe_shared_expert_intermediate_size shared_intermediate_size share_expert_dim",
        "moe_hidden": "moe_latent_size routed_expert_hidden_size",
        "first_dense": "first_k_dense_replace moe_layer_start_index num_dense_layers",
        "moe_every": "interleave_moe_layer_step decoder_sparse_step moe_layer_interval moe_layer_frequency moe_layer_freq",
        "window": "sliding_window attention_chunk_size sliding_window_size",
        "full_every": "sliding_window_pattern _sliding_window_pattern",
        "mtp_layers": "num_nextn_predict_layers mtp_num_hidden_layers num_mtp_modules",
        "bias": "use_bias enable_bias attention_bias qkv_bias add_qkv_bias use_qkv_bias bias",
        "state": "ssm_state_size mamba_d_state state_size",
        "ssm_heads": "mamba_num_heads mamba_n_heads",
        "ssm_head_dim": "mamba_head_dim mamba_d_head",
        "ssm_groups": "n_groups mamba_n_groups",
        "expand": "expand mamba_expand",
        "kernel": "linear_conv_kernel_dim conv_kernel mamba_d_conv conv_L_cache d_conv",
        "rank": "time_step_rank mamba_dt_rank",
    }.items()
}
#: Most layers of a model; of anything else, the most that is plausible.
MOST, HUGE = {"layers": 10_000}, 10**9
_TIED, _BIAS, _PLAIN, _SINGLE = {"tie_word_embeddings": True}, {"attention_bias": True}, {"matrices": 2}, {"single": True}
_SIZES = "hidden_size intermediate_size num_hidden_layers num_attention_heads vocab_size max_position_embeddings num_key_value_heads"


def _sizes(*numbers: int) -> dict[str, int]:
    return dict(zip([*_SIZES.split(), "head_dim"], numbers, strict=False))


_LLAMA = _sizes(4096, 11008, 32, 32, 32000, 2048)
#: Sizes of a class, by its whole ``model_type``: the language part of a multimodal file says those alone that differ.
CLASSES = {
    **dict.fromkeys(("mistral", "mixtral"), _sizes(4096, 14336, 32, 32, 32000, 131072, 8)),
    "qwen2": _sizes(4096, 22016, 32, 32, 151936, 32768, 32),
    "qwen3": _sizes(4096, 22016, 32, 32, 151936, 32768, 32, 128),
    "gemma": _sizes(3072, 24576, 28, 16, 256000, 8192, 16, 256),
    "gemma2": _sizes(2304, 9216, 26, 8, 256000, 8192, 4, 256) | {"sliding_window": 4096},
    "phi": _sizes(2048, 8192, 24, 32, 51200, 2048),
    "phi3": _sizes(3072, 8192, 32, 32, 32064, 4096),
    "granite": _sizes(4096, 11008, 32, 32, 32000, 2048),
    "cohere2": _sizes(8192, 22528, 40, 64, 256000, 8192, 64, 128) | {"sliding_window": 4096},
}
_SLIDES, _GATED = {"all_slide": True}, {"attn_output_gate": True}
#: What the classes of a family leave out of its files or compute in their own way, by the longest beginning of ``model_type``.
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": _LLAMA,
    "llama4": {"chunk_every": 4, "shared_of_ffn": True},
    **dict.fromkeys(("ministral", "mixtral", "phi3", "phi4", "phimoe"), _SLIDES),
    "mistral": _SLIDES | {"max_position_embeddings": 128_000},  # of a params.json, as vLLM reads it
    "phi": _PLAIN | _BIAS | _SINGLE,
    "phi3small": _TIED | _BIAS,
    "qwen": _BIAS | {"halved_ffn": True},
    "qwen2": _BIAS,
    "qwen3": {},
    "qwen3_next": _GATED,
    "qwen3_5": _GATED,
    **dict.fromkeys(("gemma", "gemma4", "mamba", "hunyuan", "granite", "minicpm", "lfm2", "smollm3", "ernie4_5", "jais"), _TIED),
    "minicpm3": _TIED | {"v_head_dim": 64},
    "gemma2": _TIED | {"sliding_window_pattern": 2},
    "gemma3": _TIED | _sizes(2304, 9216, 26, 8, 262208, 131072, 4, 256) | {"sliding_window_pattern": 6},
    "gemma3n": _TIED | {"sliding_window_pattern": 5},
    **dict.fromkeys(("gpt2", "gpt_bigcode", "gpt_neo", "openai-gpt"), _PLAIN | _TIED | _BIAS | {"positions": 0}),
    **dict.fromkeys(("gptj", "codegen"), _PLAIN | _SINGLE),
    "gpt_neox": _PLAIN | _BIAS | _SINGLE,
    "gpt_oss": _BIAS | {"sliding_window_pattern": 2},
    "opt": _PLAIN | _TIED | _BIAS | {"positions": 2},
    "bloom": _PLAIN | _TIED | _BIAS | {"max_position_embeddings": 2048},
    **dict.fromkeys(("mpt", "xglm", "biogpt"), _PLAIN | _TIED),
    "falcon": _PLAIN | _TIED | _SINGLE | {"max_position_embeddings": 2048},
    "falcon_h1": {"beside": True},
    "falcon_mamba": _TIED,
    "starcoder2": _PLAIN | _TIED | _BIAS | _SLIDES,
    **dict.fromkeys(("nemotron", "apertus", "jais2"), _PLAIN),
    "bitnet": {"matrices": 3},
    "nemotron-nas": {"matrices": 3},
    "cohere": _TIED | _SINGLE,
    "cohere2": _TIED | _SINGLE | {"sliding_window_pattern": 4},
    "chatglm": _BIAS,
    "deepseek_v2": _LLAMA  # DeepSeek-VL2's class
    | {"vocab_size": 102400, "num_key_value_heads": 32, "v_head_dim": 128}
    | {"q_lora_rank": 1536, "kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64},
    "exaone4": {"sliding_window_pattern": "LLLG"},
    "arctic": {"beside_of_hidden": True},
}
#: Experts of these families have an inner width of their own, which is never that of a dense layer.
OWN_WIDTH = ("qwen", "deepseek", "glm", "kimi", "bailing", "ernie", "gemma4")


def family(kind: str) -> dict[str, Any]:
    """What the family of a ``model_type`` fills by default."""
    return FAMILIES.get(max((name for name in FAMILIES if kind.startswith(name)), key=len, default=""), {}) | CLASSES.get(kind, {})


class Fields:
    """A configuration, read by meaning. Raises `InputError` naming the field, its value and what is allowed."""

    def __init__(self, found: dict[str, Any]) -> None:
        given = {k: v for k, v in found.items() if v is not None}
        for inner in (given.get(k) for k in ("ffn_config", "attn_config")):
            if isinstance(inner, dict):
                given = {k: v for k, v in inner.items() if v is not None} | given
        self.kind = str(given.get("model_type", ""))
        self.given = given
        self.defaults = {k: v for k, v in family(self.kind).items() if found.get(k, v) is not None}  # null is what the file says
        if "kv_lora_rank" in given:  # a file of the family that says its own, and by silence that queries are not compressed
            self.defaults = {k: v for k, v in self.defaults.items() if "lora" not in k}

    def __contains__(self, name: str) -> bool:
        return name in self.given

    def get(self, name: str, default: Any = None) -> Any:
        """A field as it is, or as its class fills it."""
        return self.given.get(name, self.defaults.get(name, default))

    def flag(self, *names: str) -> bool:
        """Whether any of the fields is true."""
        from_file = [n for n in names if n in self.given]
        values = {n: self.get(n, False) for n in from_file or names}
        for name, value in values.items():
            if not isinstance(value, bool):
                raise InputError(f"{name} is {_short(value)}; expected true or false")
        return any(values.values())

    def has(self, meaning: str) -> bool:
        """Whether the file or its class says it, under any name."""
        return any(n in self.given or n in self.defaults for n in NAMES.get(meaning, (meaning,)))

    def size(self, meaning: str, default: Any = None, *, low: int = 1) -> Any:
        """A whole number by its meaning or name: of a list with an entry for each layer the one that all have, of widths their mean.

        Without a default it must be there.
        """
        names = NAMES.get(meaning, (meaning,))
        name = next((n for said in (self.given, self.defaults) for n in names if n in said), None)
        if name is None:
            if default is None:
                raise InputError(f"{names[0]} is missing; expected a whole number")
            return default
        value = self.get(name)
        if isinstance(value, list) and value and meaning != "layers":
            for each in value:
                self._check(name, each, low, meaning)
            if meaning in ("ffn", "moe_ffn") or len(set(value)) == 1:
                mean = sum(value) / len(value)
                return int(mean) if mean == int(mean) else mean
            raise InputError(f"{name} is {_short(value)}; expected one number for all layers")
        self._check(name, value, low, meaning)
        return value

    def _check(self, name: str, value: Any, low: int, meaning: str) -> None:
        high = MOST.get(meaning, HUGE)
        if isinstance(value, bool) or not isinstance(value, int):
            raise InputError(f"{name} is {_short(value)}; expected a whole number")
        if not low <= value <= high:
            bound = f"less than or equal to {high}" if value > high else f"greater than or equal to {low}"
            raise InputError(f"{name} is {_short(value)}; expected {bound}")

    def each(self, name: str, layers: int, allowed: tuple[Any, ...] | None = None) -> list[Any] | None:
        """A list with an entry for each layer, or None where the field is no list; an entry more of each head is left out."""
        value = self.given.get(name)
        if not isinstance(value, list):
            return None
        if len(value) < layers or len(value) > layers + 16:
            raise InputError(f"{name} has {len(value)} entries; expected one for each of {layers} layers")
        for entry in value:
            if not isinstance(entry, str | int) or (allowed is not None and entry not in allowed):
                raise InputError(f"{name} holds {_short(entry)}; expected {', '.join(map(str, allowed or ('a number', 'a word')))}")
        return value[:layers]


def _short(value: Any) -> str:
    try:
        return repr(value)[:60]
    except ValueError:  # whole numbers of thousands of digits are not printed
        return f"{type(value).__name__!s} of many digits"
