"""Architectures: counts that follow from dimensions agree with what publishers print, from the table and from a config.json."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench import catalogue
from workbench.errors import InputError
from workbench.llm import of_config, read_hugging_face

CONFIGS = Path(__file__).parent / "configs"


@pytest.mark.parametrize(
    ("name", "total", "active"),
    [
        ("Llama-3.1-405B", 405e9, 405e9),  # Grattafiori et al. (2024), table 3
        ("DeepSeek-V3", 671e9, 37e9),  # DeepSeek-AI (2024), abstract, arXiv:2412.19437
        ("DeepSeek-V2", 236e9, 21e9),  # DeepSeek-AI (2024), abstract, arXiv:2405.04434
        ("Mixtral-8x7B", 46.7e9, 12.9e9),  # Mistral AI, Mixtral of experts, announcement
        ("GPT-3-175B", 175e9, 175e9),  # Brown et al. (2020), table 2.1
        ("gpt-oss-20b", 20.9e9, 4.2e9),  # OpenAI (2025), model card, table 1: 20.91 B; active with the embeddings counted
    ],
)
def test_counts_agree_with_the_publisher(name, total, active):
    llm = catalogue.llm(name)
    assert llm.params == pytest.approx(total, rel=0.01)
    assert llm.active_params == pytest.approx(active, rel=0.02)


def test_every_published_count_is_met():
    for name in catalogue.names("llms"):
        llm = catalogue.llm(name)
        assert 0 < llm.active_params <= llm.params
        if llm.params_published:
            assert llm.params == pytest.approx(llm.params_published, rel=0.06), name  # names are rounded: Phi-3-small "7B" has 7.4


def test_key_value_cache_of_a_token():
    # DeepSeek-V3: 61 layers x (512 + 64) numbers = 70,272 B in bf16; Llama 3.1 405B: 126 x 2 x 8 x 128 x 2 B = 516 kB
    assert catalogue.llm("DeepSeek-V3").kv_bytes_per_token(2) == 70_272
    assert catalogue.llm("Llama-3.1-405B").kv_bytes_per_token(2) == 516_096


@pytest.mark.parametrize(
    ("config", "row"),
    [
        ("llama-2-7b", "Llama-2-7B"),
        ("llama-3.1-405b", "Llama-3.1-405B"),
        ("mixtral-8x7b", "Mixtral-8x7B"),
        ("deepseek-v3", "DeepSeek-V3"),
        ("llama-4-maverick", "Llama-4-Maverick"),
        ("qwen3-30b-a3b", "Qwen3-30B-A3B"),
        ("gpt-oss-20b", "gpt-oss-20b"),
    ],
)
def test_a_config_gives_the_same_model_as_the_table(config, row):
    read, known = catalogue.llm(CONFIGS / f"{config}.json"), catalogue.llm(row)
    assert read.name == config
    for count in ("params", "active_params", "attention", "layers", "experts", "moe_layers", "context", "tied_embeddings"):
        assert getattr(read, count) == getattr(known, count), count
    lengths = np.array([1, 1000, 30_000])
    assert read.kv_bytes(lengths).tolist() == known.kv_bytes(lengths).tolist()
    assert read.forward_flop_per_token(4096) == known.forward_flop_per_token(4096)


def test_a_folder_with_a_config_is_enough(tmp_path):
    folder = tmp_path / "my-model"
    folder.mkdir()
    (folder / "config.json").write_text((CONFIGS / "llama-2-7b.json").read_text())
    assert read_hugging_face(folder).name == "my-model"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model_type": "bert"}, "model_type is 'bert', an encoder: expected a causal language model; describe what is served in a row"),
        ({"model_type": "t5"}, "model_type is 't5', an encoder with a decoder"),
        ({"is_encoder_decoder": True}, "an encoder with a decoder"),
        ({"layer_types": ["full_attention"] * 31 + ["sparkling"]}, "layer_types holds 'sparkling'; known kinds of layers are"),
        ({"layer_types": ["full_attention"] * 31}, "layer_types has 31 entries; expected one for each of 32 layers"),
        ({"compress_ratios": 2.5, "sliding_window": 8}, "compress_ratios holds 2.5; expected whole numbers of tokens"),
        ({"H_cycles": 2}, "L_cycles is missing; expected a whole number"),
        ({"model_type": "doge", "is_moe": True}, "is_moe is true: experts of single rows"),
        ({"ffn_multipliers": [0.5, -1]}, "ffn_multipliers is -1; expected a number above 0 and below 100"),
        ({"quantization_config": {"quant_method": "magic"}}, "quant_method is 'magic'; known are fp8, nvfp4"),
        ({"intermediate_size": [14336] * 31 + ["x"]}, "intermediate_size is 'x'; expected a whole number"),
        ({"hidden_size": "wide"}, "hidden_size is 'wide'"),
        ({"num_hidden_layers": None}, "num_hidden_layers is missing"),
        ({"num_hidden_layers": 0}, "num_hidden_layers is 0"),
        ({"num_key_value_heads": 5}, "num_key_value_heads is 5; expected a divisor of 32 heads"),
        (
            {"num_hidden_layers": 200_000_000},
            "num_hidden_layers is 200000000; expected less than or equal to 10000",
        ),  # not a list of so many
        ({"num_layers_per_stack": 200_000_000}, "num_layers_per_stack is 200000000; expected less than or equal to 5000"),
        ({"num_hidden_layers": 10**22}, "num_hidden_layers is 1000"),
        ({"hidden_size": 10**400}, "hidden_size is 1000"),
        ({"model_type": "bailing_moe"}, "moe_intermediate_size is missing; expected the inner width of one of 8 experts"),
        ({"num_key_value_heads": [4, 8]}, "num_key_value_heads has 2 entries; expected one for each of 32 layers"),
        ({"intermediate_size": [14336] * 31}, "intermediate_size has 31 entries; expected one for each of 32 layers"),
        ({"per_layer_config": {"99": {"head_dim": 64}}}, "per_layer_config has a layer '99'; expected numbers from 0 to 31"),
        ({"per_layer_config": {"\u00b2": {"head_dim": 64}}}, "per_layer_config has a layer"),
        ({"num_experts_per_tok": 9}, "num_experts_per_tok is 9; expected 1 to 8 experts"),
    ],
)
def test_a_bad_config_is_refused_with_path_field_and_value(tmp_path, change, said):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads((CONFIGS / "mixtral-8x7b.json").read_text()) | change))
    with pytest.raises(InputError, match=said) as raised:
        catalogue.llm(path)
    assert str(path) in str(raised.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not a readable JSON file"),
        ("[" * 100_000, "not a readable JSON file"),
        ("[]", "expected a JSON object"),
        (None, "no such file"),
    ],
)
def test_what_is_no_config_is_refused(tmp_path, text, said):
    path = tmp_path / "config.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=said):
        catalogue.llm(path)


@given(st.integers(1, 100_000), st.integers(1, 10_000), st.sampled_from(["gpt-oss-120b", "Llama-3.1-8B", "DeepSeek-V3", "Gemma-2-9B"]))
def test_a_longer_context_never_costs_less(context, more, name):
    llm = catalogue.llm(name)
    short, long = llm.kv_bytes(np.array([context, context + more]))
    assert short <= long <= (context + more) * llm.kv_bytes_per_token()
    assert llm.forward_flop_per_token(context) <= llm.forward_flop_per_token(context + more)


def test_negative_lengths_are_refused():
    with pytest.raises(InputError, match="context"):
        catalogue.llm("Llama-3.1-8B").kv_bytes(-1)


def test_a_renamed_family_is_known_by_its_fields(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads((CONFIGS / "llama-2-7b.json").read_text()) | {"model_type": "alpaca_next"}))
    assert catalogue.llm(path).params == catalogue.llm("Llama-2-7B").params


def test_a_file_in_the_cache_of_the_hub_has_the_name_of_its_repository(tmp_path):
    folder = tmp_path / "models--meta-llama--Llama-2-7b-hf"
    for name in ("blobs", "snapshots/abc"):
        (folder / name).mkdir(parents=True)
    (folder / "blobs" / "f00d").write_text((CONFIGS / "llama-2-7b.json").read_text())
    (folder / "snapshots" / "abc" / "config.json").symlink_to(folder / "blobs" / "f00d")
    read = catalogue.llm(folder / "snapshots" / "abc" / "config.json")
    assert (read.name, read.publisher) == ("Llama-2-7b-hf", "meta-llama")


@pytest.mark.parametrize("config", ["mixtral-8x7b", "deepseek-v3", "gpt-oss-20b"])
def test_damaged_configs_are_read_or_refused(read_mutants, config):
    for llm in read_mutants(read_hugging_face, (CONFIGS / f"{config}.json").read_bytes(), "config.json", n=200):
        assert 0 < llm.active_params <= llm.params
        assert np.isfinite(llm.forward_flop_per_token(1e4))
        assert llm.kv_bytes(1e4) > 0


def test_a_family_of_ones_own_is_a_few_rows(tmp_path, monkeypatch):
    rows = ["family,field,value,source,as_of", "mynew,tie_word_embeddings,true,my own,2026-11"]
    rows.append("mynew,max_position_embeddings,99,my own,2026-11")
    (tmp_path / "llm_families.csv").write_text("\n".join(rows) + "\n")
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 256, "vocab_size": 100}
    with pytest.raises(InputError, match="max_position_embeddings is missing"):
        of_config(sizes | {"model_type": "mynewer"}, name="t")
    monkeypatch.setenv("WORKBENCH_DATA", str(tmp_path))
    own = of_config(sizes | {"model_type": "mynewer"}, name="t")
    assert (own.context, own.tied_embeddings) == (99, True)


def test_grok_2_is_no_captioner(tmp_path):
    """config.json of xai-org/grok-2: its model_type is git; its weights are 539 GB in bf16."""
    c = {"model_type": "git", "architectures": ["Grok1ForCausalLM"], "hidden_size": 8192, "intermediate_size": 32768, "vocab_size": 131072}
    c |= {"num_hidden_layers": 64, "num_attention_heads": 64, "num_key_value_heads": 8, "head_dim": 128, "residual_moe": True}
    c |= {"moe_intermediate_size": 16384, "num_local_experts": 8, "num_experts_per_tok": 2, "max_position_embeddings": 131072}
    (tmp_path / "config.json").write_text(json.dumps(c))
    llm = catalogue.llm(tmp_path / "config.json")
    assert (llm.params, llm.active_params) == (pytest.approx(269.5e9, rel=1e-3), pytest.approx(114.9e9, rel=1e-3))
    assert (llm.ffn_matrices, llm.attention_bias, llm.lookups) == (3, False, 0)


def test_the_text_part_of_a_captioner_is_a_decoder(tmp_path):
    """git-base of Microsoft: layers as BERT's, which see the image as a prefix; its vision part is not counted."""
    c = {"model_type": "git", "architectures": ["GitForCausalLM"], "hidden_size": 768, "intermediate_size": 3072, "vocab_size": 30522}
    c |= {"num_hidden_layers": 6, "num_attention_heads": 12, "max_position_embeddings": 1024, "tie_word_embeddings": False}
    (tmp_path / "config.json").write_text(json.dumps(c))
    by_hand = 2 * 30522 * 768 + 1024 * 768 + 6 * (4 * 768**2 + 2 * 768 * 3072)
    assert catalogue.llm(tmp_path / "config.json").params == pytest.approx(by_hand, rel=1e-3)
