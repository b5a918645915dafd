"""Lists of layers: each kind has the weights, the cache and the arithmetic that its equations say, and hybrids the sum of theirs."""

import json

import numpy as np
import pytest

from workbench import catalogue, chips
from workbench.chips.serving.plan import Load, ServingPlan
from workbench.errors import InputError
from workbench.fabric import Cluster
from workbench.llm import Transformer, of_config, read_hugging_face

H, V = 64, 100  #: width and vocabulary of all of them
PLAIN = {"hidden_size": H, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "vocab_size": V}
PLAIN |= {"intermediate_size": 96, "max_position_embeddings": 4096}
EMBEDDED, FEED, ATTENTION = 2 * V * H, 3 * H * 96, H * (64 + 2 * 32 + 64)
NORMS = 4 * 2 * H + H
MLA = {"q_lora_rank": 24, "kv_lora_rank": 32, "qk_nope_head_dim": 8, "qk_rope_head_dim": 8, "v_head_dim": 12, "num_key_value_heads": 4}
LATENT = H * 24 + 24 * 64 + H * 40 + 32 * (4 * 8 + 48) + 48 * H
INDEX = {"index_n_heads": 3, "index_head_dim": 8, "index_topk": 16}
INDEXER = 24 * 24 + H * 8 + H * 3
DELTA = {"linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 8, "linear_value_head_dim": 8}
DELTA |= {"linear_conv_kernel_dim": 4, "full_attention_interval": 4}
GATED = H * (16 + 16 + 32) + H * 32 + H * 8 + 64 * 4 + 32 * H
MAMBA2 = {"mamba_num_heads": 8, "mamba_head_dim": 16, "ssm_state_size": 16, "n_groups": 2, "conv_kernel": 4}
STATE_SPACE = H * (128 + 192 + 8) + 192 * 4 + 128 * H
V4 = {"num_key_value_heads": 1, "head_dim": 32, "q_lora_rank": 24, "o_lora_rank": 16, "o_groups": 2, "sliding_window": 8}
V4 |= INDEX | {"compress_ratios": [0, 4, 128, 4], "num_local_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 48}
V4_WINDOW = H * 24 + 24 * 128 + H * 32 + 128 * 16 + 2 * 16 * H
V4_FOUR = 2 * (2 * H * 64 + 4 * 64) // 2 + (2 * H * 16 + 4 * 16) + 24 * 24 + H * 3
V4_WIDE = 2 * H * 32 + 128 * 32
KIMI = MLA | {"linear_attn_config": {"full_attn_layers": [4], "num_heads": 4, "head_dim": 16, "short_conv_kernel_size": 4}}
KDA = 4 * H * 64 + H * 4 + 3 * 64 * 4 + 2 * (H * 16 + 16 * 64)
RWKV = {"model_type": "rwkv5", "hidden_size": H, "num_hidden_layers": 2, "vocab_size": V, "head_size": 16, "context_length": 4096}
MAMBA = {"model_type": "mamba", "hidden_size": H, "num_hidden_layers": 2, "vocab_size": V, "state_size": 16, "expand": 2, "conv_kernel": 4}
MAMBA |= {"time_step_rank": 4}
SELECTIVE = H * 256 + 128 * 4 + 128 * (4 + 32) + 4 * 128 + 128 * 16 + 128 * H
EXPERTS = {"num_local_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 48}
EXPERT = 3 * H * 48
RECURRENT = {"lru_width": 32, "attention_window_size": 100, "layer_pattern": "MML"}
XLSTM = {"model_type": "xlstm", "hidden_size": H, "num_hidden_layers": 2, "num_heads": 4, "vocab_size": V, "max_position_embeddings": 4096}
ZAMBA = {"model_type": "zamba2", "hidden_size": H, "num_attention_heads": 4, "num_key_value_heads": 4, "attention_head_dim": 32}
ZAMBA |= {"intermediate_size": 96, "vocab_size": V, "max_position_embeddings": 4096, "layers_block_type": ["mamba", "hybrid"] * 2}
ZAMBA |= {"mamba_d_state": 16, "mamba_ngroups": 2, "n_mamba_heads": 8, "mamba_headdim": 16, "mamba_d_conv": 4, "adapter_rank": 8}
SHARED_BLOCK = 2 * H * 3 * 128 + 128 * H + FEED
LONGCAT = {k: v for k, v in PLAIN.items() if k != "num_hidden_layers"} | MLA | {"model_type": "longcat_flash", "num_layers": 2}
LONGCAT |= {"n_routed_experts": 8, "zero_expert_num": 4, "moe_topk": 3, "expert_ffn_hidden_size": 48}
SAMBA = PLAIN | {"model_type": "phi4flash", "num_hidden_layers": 8, "sliding_window": 100, "mamba_d_state": 16, "mamba_expand": 2}
HEADS = {"layer_types": ["full_attention", "sliding_attention"] * 2, "sliding_window": 100, "num_attention_heads_per_layer": [4, 8] * 2}
IMAGES = {"model_type": "ernie4_5_moe_vl", "moe_num_experts": [8, 8], "moe_intermediate_size": [48, 24], "moe_k": 2}
PLAIN_CACHE = 4 * 64  #: numbers that a token adds, all layers

#: Name, configuration, parameters but embeddings and norms, of which a token visits, numbers kept of 1000 tokens, bytes of state.
KINDS = [
    ("full", PLAIN, 4 * (ATTENTION + FEED), None, 1000 * PLAIN_CACHE, 0),
    ("sliding", PLAIN | {"sliding_window": 100, "sliding_window_pattern": 2}, 4 * (ATTENTION + FEED), None, 2 * 64 * 1100, 0),
    ("latent", PLAIN | MLA, 4 * (LATENT + FEED), None, 4 * 40 * 1000, 0),
    ("sparse latent", PLAIN | MLA | INDEX, 4 * (LATENT + INDEXER + FEED), None, 4 * 48 * 1000, 0),
    (
        "an indexer for two layers",
        PLAIN | MLA | INDEX | {"indexer_types": ["full", "shared"] * 2},
        4 * (LATENT + FEED) + 2 * INDEXER,
        None,
        (4 * 40 + 2 * 8) * 1000,
        0,
    ),
    ("gated delta", PLAIN | DELTA, ATTENTION + 3 * GATED + 4 * FEED, None, 64 * 1000, 3 * (4 * 32 * 8 + 2 * 64 * 3)),
    (
        "Mamba-2, experts and attention alone",
        {k: v for k, v in PLAIN.items() if k != "num_hidden_layers"} | MAMBA2 | EXPERTS | {"hybrid_override_pattern": "ME*-M"},
        2 * STATE_SPACE + ATTENTION + FEED + 8 * EXPERT + 8 * H,
        2 * STATE_SPACE + ATTENTION + FEED + 2 * EXPERT + 8 * H,
        64 * 1000,
        2 * (4 * 128 * 16 + 2 * 192 * 3),
    ),
    (
        "compressed",
        PLAIN | V4,
        4 * V4_WINDOW + 2 * V4_FOUR + V4_WIDE + 4 * (8 * EXPERT + 8 * H),
        4 * V4_WINDOW + 2 * V4_FOUR + V4_WIDE + 4 * (2 * EXPERT + 8 * H),
        4 * 32 * 8 + 1000 * (2 * (32 + 8) / 4 + 32 / 128),
        0,
    ),
    ("Kimi delta", PLAIN | KIMI, LATENT + 3 * KDA + 4 * FEED, None, 40 * 1000, 3 * (4 * 64 * 16 + 2 * 192 * 3)),
    (
        "lightning",
        PLAIN | {"attn_type_list": [0, 0, 0, 1]},
        ATTENTION + 3 * 5 * H * 64 + 4 * FEED,
        None,
        64 * 1000,
        3 * 4 * 64 * 16,
    ),
    ("Mamba", MAMBA, 2 * SELECTIVE, None, 0, 2 * (4 * 128 * 16 + 2 * 128 * 3)),
    ("RWKV", RWKV, 2 * (5 * H * H + H * H + 2 * H * 224), None, 0, 2 * (4 * H * 16 + 2 * 2 * H)),
    ("shared caches", PLAIN | {"num_kv_shared_layers": 2}, 4 * (ATTENTION + FEED), None, 2 * 64 * 1000, 0),
    ("to an image", PLAIN | {"cross_attention_layers": [1]}, 4 * (ATTENTION + FEED), None, 3 * 64 * 1000, 0),
    (
        "first dense, then experts and a shared one",
        PLAIN | EXPERTS | {"first_k_dense_replace": 1, "n_shared_experts": 1},
        4 * ATTENTION + FEED + 3 * (9 * EXPERT + 8 * H),
        4 * ATTENTION + FEED + 3 * (3 * EXPERT + 8 * H),
        1000 * PLAIN_CACHE,
        0,
    ),
    (
        "experts in every other layer, which work in half the width",
        PLAIN | EXPERTS | {"mlp_layer_types": ["dense", "sparse"] * 2, "moe_latent_size": 32},
        4 * ATTENTION + 2 * FEED + 2 * (8 * EXPERT // 2 + 8 * H + 2 * H * 32),
        4 * ATTENTION + 2 * FEED + 2 * (2 * EXPERT // 2 + 8 * H + 2 * H * 32),
        1000 * PLAIN_CACHE,
        0,
    ),
    (
        "blocks of a search",
        {
            **{k: v for k, v in PLAIN.items() if k not in ("num_key_value_heads", "intermediate_size", "num_hidden_layers")},
            "block_configs": [
                {"attention": {"no_op": False, "n_heads_in_group": 2}, "ffn": {"ffn_mult": 6.0}},
                {"attention": {"no_op": True, "n_heads_in_group": None}, "ffn": {"ffn_mult": 12.0}},
                {"attention": {"replace_with_linear": True}, "ffn": {"replace_with_linear": True}},
                {"attention": {"replace_with_linear": True}, "ffn": {"no_op": True}},
            ],
        },
        ATTENTION + 3 * H * (256 + 512) + 3 * H * H,
        None,
        64 * 1000,
        0,
    ),
    (
        "gated recurrence",
        PLAIN | RECURRENT,
        3 * (3 * H * 32 + 32 * 4 + 2 * 32 * 32 // 4) + ATTENTION + 4 * FEED,
        None,
        64 * 100,
        3 * (4 * 32 + 2 * 32 * 3),
    ),
    ("matrix memory", XLSTM, 2 * (H * (2 * 32 + 3 * 64 + 8) + 3 * H * 192), None, 0, 2 * 4 * (32 * 64 // 4 + 32)),
    (
        "a block used again",
        ZAMBA,
        4 * STATE_SPACE + 2 * (H * H + 8 * (H + 2 * 96)) + SHARED_BLOCK,
        None,
        2 * 1000 * 2 * 128,
        4 * (4 * 128 * 16 + 2 * 192 * 3),
    ),
    (
        "layers of two halves, experts that do nothing",
        LONGCAT,
        4 * LATENT + 4 * FEED + 2 * (8 * EXPERT + 12 * H),
        4 * LATENT + 4 * FEED + 2 * (2 * EXPERT + 12 * H),
        4 * 40 * 1000,
        0,
    ),
    (
        "a half that reads one cache",
        SAMBA,
        3 * SELECTIVE + 3 * ATTENTION + 2 * H * 128 + 2 * H * 64 + 8 * FEED,
        None,
        64 * 1000 + 2 * 64 * 100,
        3 * (4 * 128 * 16 + 2 * 128 * 3),
    ),
    ("layers again", PLAIN | {"total_ut_steps": 3}, 4 * (ATTENTION + FEED), None, 3 * 1000 * PLAIN_CACHE, 0),
    ("heads by layer", PLAIN | HEADS, 2 * ATTENTION + 2 * H * (256 + 64) + 4 * FEED, None, 2 * 64 * 1100, 0),
    (
        "widths by factors",
        {k: v for k, v in PLAIN.items() if k != "intermediate_size"} | {"ffn_multipliers": [1.0, 3.0], "ffn_dim_divisor": 32},
        4 * (ATTENTION + 3 * H * 128),
        None,
        1000 * PLAIN_CACHE,
        0,
    ),
    (
        "experts for images",
        PLAIN | IMAGES,
        4 * (ATTENTION + 8 * EXPERT + 8 * H + 8 * EXPERT // 2),
        4 * (ATTENTION + 2 * EXPERT + 8 * H),
        1000 * PLAIN_CACHE,
        0,
    ),
]
NAMES = [name for name, *_ in KINDS]


@pytest.mark.parametrize(("name", "config", "weights", "active", "kept", "state"), KINDS, ids=NAMES)
def test_a_layer_of_each_kind_by_hand(name, config, weights, active, kept, state):
    llm = of_config(config, name=name)
    assert llm.params - llm._vectors - (EMBEDDED if not llm.tied_embeddings else V * H) == weights
    assert llm.active_params - llm.params == (0 if active is None else active - weights)
    assert llm.cache_kept(1000) == pytest.approx(kept)
    assert llm.other.state == state
    assert sum(n for n, _, _ in llm.runs) == llm.layers
    assert sum(llm.weight_parts.values()) == pytest.approx(llm.params)


@pytest.mark.parametrize("config", [config for _, config, *_ in KINDS], ids=NAMES)
def test_a_longer_context_never_costs_less(config):
    llm, context = of_config(config), np.array([1.0, 10, 100, 1000, 4000, 1e6])
    for quantity in (llm.kv_bytes(context), llm.forward_flop_per_token(context), llm.cache_read(context), llm.scores(context, decode=True)):
        assert np.all(np.diff(quantity) >= 0)
    assert np.all(llm.cache_kept(context) <= llm.cached * context + 1e-9)


@pytest.mark.parametrize("config", [config for _, config, *_ in KINDS], ids=NAMES)
def test_many_models_at_once_are_each_of_them(config):
    models = [of_config(config), of_config(PLAIN)]
    both = Transformer.stack(models)
    for i, llm in enumerate(models):
        assert both.params[i] == pytest.approx(llm.params)
        for quantity in ("cache_kept", "cache_read", "attended", "scores"):
            assert np.broadcast_to(getattr(both, quantity)(300.0), 2)[i] == pytest.approx(getattr(llm, quantity)(300.0)), quantity


def test_the_cache_grows_in_full_layers_alone():
    llm, full = of_config(PLAIN | DELTA), of_config(PLAIN)
    assert 4 * llm.kv_bytes([1, 1000, 100_000]) == pytest.approx(full.kv_bytes([1, 1000, 100_000]))
    grown = llm.forward_flop_per_token(2000) - llm.forward_flop_per_token(1000)
    assert 4 * grown == full.forward_flop_per_token(2000) - full.forward_flop_per_token(1000)
    assert llm.forward_flop_per_token(0) > 2 * (llm.used_params - llm._vectors)  # a state is updated whatever the context


def test_arithmetic_of_sparse_attention_is_bounded_but_for_its_index():
    dense, sparse = of_config(PLAIN | MLA), of_config(PLAIN | MLA | INDEX)
    assert sparse.scores(16) - dense.scores(16) == 4 * 3 * 8 * 16  # all is selected: the index comes on top
    assert sparse.scores(5016) - sparse.scores(1016) == 4 * 3 * 8 * 4000
    assert sparse.scores(1016) == 4 * (4 * 2 * 40 * 16 + 3 * 8 * 1016)  # what selects meets the latent vectors, in prefill too
    assert sparse.cache_kept(5000) == 4 * 48 * 5000
    assert sparse.cache_read(5000) == 4 * (40 * 16 + 8 * 5000)


def test_decode_of_latent_attention_meets_the_latent_vectors():
    llm = of_config(PLAIN | MLA)
    assert llm.scores(100) == 100 * 4 * 4 * (16 + 12)
    assert llm.scores(100, decode=True) == 100 * 4 * 4 * 2 * 40


def test_layers_of_one_part_and_parallel_blocks_are_summed_once():
    assert of_config(PLAIN).parts == 2
    assert of_config(PLAIN | {"parallel_attn": True}).parts == 1
    alone = of_config(KINDS[NAMES.index("Mamba-2, experts and attention alone")][1])
    assert (alone.layers, alone.parts) == (5, 1)
    assert alone.kinds() == {"Mamba-2": 2, "experts": 1, "full": 1, "dense": 1}


def test_two_hundred_million_layers_are_refused_at_once():
    for many in ({"num_hidden_layers": 200_000_000}, {"hybrid_override_pattern": "M" * 20_000}):
        with pytest.raises(ValueError, match="expected less than or equal to 10000"):
            of_config(PLAIN | many)


def test_a_projected_embedding_is_as_narrow_as_it_is():
    # OPT-350m: 24 layers of width 1024, embeddings of 512, 331.2 million parameters (its card)
    opt = {"model_type": "opt", "hidden_size": 1024, "word_embed_proj_dim": 512, "num_hidden_layers": 24, "num_attention_heads": 16}
    llm = of_config(opt | {"ffn_dim": 4096, "vocab_size": 50272, "max_position_embeddings": 2048})
    assert llm.params == pytest.approx(331.2e6, rel=2e-3)


def test_heads_for_more_tokens_stand_beside():
    # MiMo-7B: 7.83 billion with its head, 7.62 without (its card)
    llm = catalogue.llm("MiMo-7B")
    assert llm.mtp_layers == 0  # the row says dimensions alone
    one = of_config(PLAIN | {"num_nextn_predict_layers": 1})
    assert one.params == of_config(PLAIN).params
    assert one.mtp_params == ATTENTION + FEED + 2 * H * H


def test_a_params_json_of_mistral(tmp_path):
    # Mistral Nemo: 12.25 billion parameters
    path = tmp_path / "params.json"
    params = {"dim": 5120, "n_layers": 40, "head_dim": 128, "hidden_dim": 14336, "n_heads": 32, "n_kv_heads": 8, "vocab_size": 131072}
    path.write_text(json.dumps(params))
    assert catalogue.llm(path).params == catalogue.llm("Mistral-Nemo-12B").params
    assert catalogue.llm(tmp_path).params == pytest.approx(12.25e9, rel=1e-3)


def test_what_a_class_fills_is_filled():
    # LLaVA 1.5 7B: its file says the vocabulary alone; 6.74 billion of Vicuna 7B
    llava = {"model_type": "llava", "text_config": {"model_type": "llama", "max_position_embeddings": 4096, "vocab_size": 32064}}
    assert of_config(llava).params == pytest.approx(6.74e9, rel=1e-3)


#: A configuration as Transformers 5 writes it, and what the publisher's file says.
V4_RATES = {"compress_rates": {"compressed_sparse_attention": 4, "heavily_compressed_attention": 128}}
V4_TYPES = ["sliding_attention", "compressed_sparse_attention", "heavily_compressed_attention", "compressed_sparse_attention"]
REWRITTEN = [
    ({k: v for k, v in V4.items() if k != "compress_ratios"} | V4_RATES | {"layer_types": V4_TYPES, "mlp_layer_types": ["moe"] * 4}, V4),
    (MLA | INDEX | {"layer_types": ["indexed_attention"] * 4}, MLA | INDEX),
    (
        MLA | {"layer_types": ["linear_attention"] * 3 + ["full_attention"], "linear_num_heads": 4, "linear_head_dim": 16},
        KIMI,
    ),
    (
        {
            "layer_types": ["sliding_attention", "full_attention"] * 2,
            "sliding_window": 100,
            "per_layer_config": {"01": {"head_dim": 32}, "03": {"head_dim": 32}},
        },
        {"layer_types": ["sliding_attention", "full_attention"] * 2, "sliding_window": 100, "global_head_dim": 32},
    ),
    (EXPERTS | {"moe_layers": [1, 3]}, EXPERTS | {"mlp_layer_types": ["dense", "sparse"] * 2}),
    (EXPERTS | {"moe_layers": [0, 1, 2, 3]}, EXPERTS),
    (EXPERTS | {"is_moe": False}, {}),
    ({"model_type": "falcon", "multi_query": True, "num_key_value_heads": 4}, {"model_type": "falcon", "num_key_value_heads": 1}),
    ({"hidden_act": "xielu", "model_type": "apertus"}, {"hidden_act": "relu2"}),
    ({"hidden_act": "relu2", "model_type": "bitnet"}, {}),
    (DELTA | {"model_type": "qwen3_5_text"}, DELTA | {"attn_output_gate": True}),
    ({"layer_group_size": 3, "model_type": "bailing_moe_linear"}, {"attn_type_list": [0, 0, 1, 1]}),
]


@pytest.mark.parametrize(("written", "published"), REWRITTEN)
def test_files_of_either_writer_say_the_same(written, published):
    ours, same = of_config(PLAIN | written), of_config(PLAIN | published)
    assert (ours.params, ours.active_params, ours.kinds()) == (same.params, same.active_params, same.kinds())
    assert ours.kv_bytes(1000) == same.kv_bytes(1000)


#: Dimensions of published models and the parameters that their cards print: what the class fills is not among the fields.
CARDS = [
    (
        4.07e9,
        {"model_type": "minicpm3", "q_lora_rank": 768, "kv_lora_rank": 256, "qk_nope_head_dim": 64, "qk_rope_head_dim": 32},
        (2560, 62, 40),
    ),
    (7.63e9, {"model_type": "rwkv6", "head_size": 64, "vocab_size": 65536, "intermediate_size": 14336}, (4096, 32, 64)),
    (2.95e9, {"model_type": "rwkv7", "head_size": 64, "vocab_size": 65536, "intermediate_size": 10240}, (2560, 32, 40)),
    (3.08e9, {"model_type": "smollm3", "num_key_value_heads": 4, "vocab_size": 128256, "intermediate_size": 11008}, (2048, 36, 16)),
    (13.0e9, {"model_type": "jais", "activation_function": "swiglu", "vocab_size": 84992, "n_inner": 13653}, (5120, 40, 40)),
    (
        1.17e9,
        {"model_type": "lfm2", "full_attn_idxs": [2, 5, 8, 10, 12, 14], "conv_L_cache": 3, "num_key_value_heads": 8}
        | {"block_ff_dim": 12288, "block_auto_adjust_ff_dim": True, "vocab_size": 65536},
        (2048, 16, 32),
    ),
]


@pytest.mark.parametrize(("params", "config", "sizes"), CARDS)
def test_published_counts_with_what_a_class_fills(params, config, sizes):
    hidden, layers, heads = sizes
    plain = {"hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads, "max_position_embeddings": 4096}
    if not {"n_inner", "block_ff_dim"} & config.keys():
        plain["intermediate_size"] = 6400
    plain["vocab_size"] = 73448
    assert of_config(plain | config).params == pytest.approx(params, rel=5e-3)


def test_xglm_has_names_of_its_own():
    # XGLM 7.5B
    xglm = {"model_type": "xglm", "d_model": 4096, "ffn_dim": 16384, "num_layers": 32, "attention_heads": 32, "vocab_size": 256008}
    assert of_config(xglm | {"max_position_embeddings": 2048}).params == pytest.approx(7.49e9, rel=5e-3)


@pytest.mark.parametrize(
    ("kind", "said", "params"),
    [
        ("mistral", {"vocab_size": 32064}, 7.24e9),  # LLaVA 1.6 on Mistral 7B
        ("mistral", {"hidden_size": 5120, "head_dim": 128, "num_hidden_layers": 40, "vocab_size": 131072}, 12.25e9),  # Pixtral 12B
        # PaliGemma
        ("gemma", {"hidden_size": 2048, "intermediate_size": 16384, "num_attention_heads": 8, "num_hidden_layers": 18}, 2.51e9),
        ("gemma2", {}, 2.61e9),  # PaliGemma 2 3B
        ("phi", {"intermediate_size": 8192}, 1.42e9),  # Phi-1.5
    ],
)
def test_the_language_part_of_a_file_says_what_differs_from_its_class(kind, said, params):
    said = said | ({"num_key_value_heads": 1} if kind == "gemma" else {})
    assert of_config({"model_type": "llava_next", "text_config": {"model_type": kind, **said}}).params == pytest.approx(params, rel=5e-3)


def test_damaged_configs_of_every_kind_are_read_or_refused(read_mutants):
    for name, config, *_ in KINDS:
        whole = json.dumps(config | {"quantization_config": {"quant_method": "gptq", "bits": 4, "ignore": ["model.layers.0*"]}}).encode()
        for llm in read_mutants(read_hugging_face, whole, "config.json", n=60):
            assert 0 < llm.active_params <= llm.params, name
            assert np.isfinite([llm.forward_flop_per_token(1e4), llm.kv_bytes(1e4), llm.weight_bytes()]).all()
            assert repr(llm)


def test_prompts_of_a_sparse_model_do_not_grow_as_those_of_a_dense_one():
    cluster = Cluster("B300", 8, "InfiniBand XDR")
    plan, lengths = ServingPlan(8, "fp8", "fp8"), np.array([65_536, 524_288])
    time = chips.serving("GLM-5.2", cluster, plan, Load(1, lengths, 256)).prompt
    dense = chips.serving(of_config(PLAIN | {"max_position_embeddings": 1 << 20}), cluster, ServingPlan(2), Load(1, lengths, 256)).prompt
    assert 8 <= time[1] / time[0] < 16 < dense[1] / dense[0]


@pytest.mark.parametrize("config", [config for _, config, *_ in KINDS], ids=NAMES)
def test_a_step_of_every_kind_of_layer_is_trained(config):
    cluster, plan = Cluster("H100", 8, "InfiniBand NDR"), chips.TrainingPlan(tp=2)
    step = chips.training_step(of_config(config), cluster, plan, global_batch=64, sequence=512)
    assert step.feasible
    assert 0 < step.mfu < 1
    assert 0 < chips.serving(of_config(config), cluster, ServingPlan(2), Load(8, 100, 100)).tpot < 1


def test_a_state_is_memory_and_traffic_of_each_sequence():
    cluster, plan = Cluster("H200", 8, "InfiniBand NDR"), ServingPlan(8, "fp8", "fp8")
    llm = catalogue.llm("Qwen3.5-397B-A17B")
    short, long = chips.serving(llm, cluster, plan, Load(np.inf, np.array([1000, 30_000]), 1000)).batch
    copies = 8 / 2  # two key-value heads over eight ranks
    grown = [copies * llm.kv_bytes(n, 1) + llm.other.state for n in (1600, 30_600)]
    assert short / long == pytest.approx(grown[1] / grown[0], rel=0.15)


def test_what_is_used_again_is_computed_again():
    once, thrice = of_config(PLAIN), of_config(PLAIN | {"total_ut_steps": 3})
    body = 4 * (ATTENTION + FEED)
    assert thrice.forward_flop_per_token(0) == once.forward_flop_per_token(0) + 2 * 2 * body
    assert thrice.scores(1000) == 3 * once.scores(1000)
    shared = of_config(PLAIN | {"loop_num": 3, "loop_window_size": 64})  # the later ones read the cache of the first
    assert shared.cache_kept(1000) == once.cache_kept(1000)
    zamba = of_config(ZAMBA)
    assert zamba.other.updates - of_config(ZAMBA | {"num_mem_blocks": 2}).other.updates == SHARED_BLOCK


def test_a_file_of_version_5_says_on_the_outside_what_is_tied():
    inner = {"model_type": "qwen2_vl", "tie_word_embeddings": True, "text_config": PLAIN | {"tie_word_embeddings": False}}
    assert not of_config(inner).tied_embeddings
    for version in ("5.2.0", "10.0.0"):
        assert of_config(inner | {"transformers_version": version}).tied_embeddings
    for version in ("4.57.1", "unknown", None):
        assert not of_config(inner | {"transformers_version": version}).tied_embeddings


#: Classes that leave open what a model has, or compute it by rules of their own, and the field that a file of theirs has to say.
LEFT_OPEN = {
    "deepseek_ocr2_text": "num_experts_per_tok is missing",
    "deepseek_v4": "layer_types is missing; expected the kind of each of 43 layers",
    "dots3_note_text": "layer_types is missing; expected the kind of each of 46 layers",
    "ernie4_5_vl_moe_text": "moe_intermediate_size is missing",
    "glm4_moe": "head_dim is missing",
    "glm4v_moe_text": "head_dim is missing",
    "nemotron_h": "num_hidden_layers is missing",
    "qwen3_omni_moe_text": "head_dim is missing",
    "zamba2": "intermediate_size is missing",
}


@pytest.mark.parametrize("kind", catalogue.table("llm_classes")["model_type"].to_list())
def test_every_class_of_the_table_is_read(kind):
    """A file that names its class alone is the model that the class describes, or lacks what the class leaves open."""
    if kind in LEFT_OPEN:
        with pytest.raises(InputError, match=LEFT_OPEN[kind]):
            of_config({"model_type": kind})
    else:
        assert 0 < of_config({"model_type": kind}).params < 1.2e12


@pytest.mark.parametrize(
    ("kind", "layers", "params"),
    [
        # layers that the class makes, and the parameters of its model, both in Transformers 5.24
        ("minimax", {"lightning": 16, "full": 16}, 47.37e9),
        ("granitemoehybrid", {"Mamba-2": 32}, 38.60e9),
        ("lfm2", {"full": 32}, 2.705e9),
        ("olmo_hybrid", {"gated delta": 24, "full": 8}, 7.431e9),
        ("step3p5", {"full": 45}, 195.8e9),
        ("mimo_v2_flash", {"full": 9, "sliding": 39}, 308.8e9),
        ("bailing_hybrid", {"Kimi delta": 35, "latent": 7}, 124.4e9),
        ("kimi_linear", {"Kimi delta": 21, "latent": 6}, 49.13e9),
        ("beam", {"sliding": 43, "full": 9}, 501.3e9),
        ("flint", {"full": 14, "sliding": 35}, 39.79e9),
        ("lfm3", {"convolution": 13, "full": 6, "sliding": 5}, 1.729e9),
    ],
)
def test_layers_that_a_class_makes_are_filled(kind, layers, params):
    llm = of_config({"model_type": kind})
    assert llm.kinds() == layers
    assert llm.params == pytest.approx(params, rel=1e-3)


def test_a_file_says_its_layers_and_not_its_class():
    mimo = {"model_type": "mimo_v2_flash", "num_hidden_layers": 4}
    assert of_config(mimo).kinds() == {"full": 1, "sliding": 3}
    assert of_config(mimo | {"hybrid_layer_pattern": [1, 1, 0, 0]}).kinds() == {"sliding": 2, "full": 2}
    assert of_config({"model_type": "beam", "num_hidden_layers": 4}).kinds() == {"sliding": 3, "full": 1}
    delta = {"model_type": "lara_mini", "num_hidden_layers": 4, "full_attention_interval": 2}
    assert of_config(delta).kinds() == {"gated delta": 2, "full": 2}
    inkling = {"model_type": "inkling_text", "num_hidden_layers": 3, "local_layer_ids": [0]}
    assert of_config(inkling).kinds() == {"sliding": 1, "full": 2}


def test_a_null_of_the_file_holds_in_layers_that_differ():
    """Without a width of the heads in the file that of the class is not filled, in no layer."""
    config = PLAIN | {"model_type": "qwen3", "head_dim": None, "num_key_value_heads": [2, 4, 4, 4]}
    widths = of_config(config).other.scores, of_config(config | {"head_dim": 16}).other.scores
    assert widths[0] == widths[1] == 2 * 4 * 16
