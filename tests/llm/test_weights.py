"""Memory of weights: what quantization_config and the names of repositories say, and the sizes of published checkpoints."""

import csv
import json
from pathlib import Path

import pytest

from workbench import catalogue
from workbench.errors import InputError
from workbench.llm import of_config

CONFIGS = Path(__file__).parent / "configs"
DENSE = {"hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 96, "vocab_size": 100}
DENSE |= {"max_position_embeddings": 512}
MIXED = DENSE | {
    "num_local_experts": 8,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 48,
    "first_k_dense_replace": 1,
    "n_shared_experts": 1,
}
GROUP = {"num_bits": 4, "type": "int", "symmetric": False, "group_size": 32}


def bits(config, **quantization):
    return of_config(config | {"quantization_config": quantization}).quantization.bits


@pytest.mark.parametrize(
    ("quantization", "attention"),
    [
        ({"quant_method": "fp8"}, 8),
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, 8 + 32 / 128**2),  # a scale in 32 bits a block
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, 4 + 8 / 16),
        ({"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True}, 4 + (16 + 4) / 128),
        ({"quant_method": "gptq", "bits": 8, "group_size": 32}, 8 + (16 + 8) / 32),
        ({"quant_method": "compressed-tensors", "config_groups": {"g": {"weights": GROUP, "targets": ["Linear"]}}}, 4 + 20 / 32),
        ({"quant_method": "compressed-tensors", "config_groups": {"g": {"weights": GROUP | {"symmetric": True}}}}, 4 + 16 / 32),
        ({"quant_method": "compressed-tensors", "config_groups": {"g": {"weights": {"num_bits": 8, "type": "float"}}}}, 8),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, 4.5),
    ],
)
def test_scales_and_zero_points_are_counted(quantization, attention):
    found = bits(DENSE, **quantization)
    assert found == dict.fromkeys(("attention", "dense", "shared", "experts"), attention)


def test_parts_that_are_left_out_stay_in_sixteen_bits():
    ignored = [
        "lm_head",
        "model.layers.0*",
        "model.layers.2.self_attn*",
        "model.layers.4*",
        "re:.*shared_experts.*",
        "model.layers.1.mlp.gate",
    ]
    found = bits(MIXED, quant_method="fp8", ignore=ignored)
    assert found == {"attention": 12, "dense": 16, "shared": 16, "experts": 8}  # layers 0 and 2 of four; 4 predicts more tokens


def test_formats_by_module():
    groups = {
        "a": {"weights": {"num_bits": 8, "type": "float"}, "targets": ["model.layers.1.self_attn.q_proj"]},
        "b": {"weights": {"num_bits": 4, "type": "float", "group_size": 16}, "targets": ["model.layers.1.mlp.experts", "lm_head"]},
    }
    found = bits(MIXED, quant_method="modelopt", config_groups=groups)
    assert found == {"attention": 8, "dense": 16, "shared": 16, "experts": 4.5, "head": 4.5}
    both = {"weights": {"num_bits": 4, "type": "float", "group_size": 16}, "targets": ["re:.*ffn.*(gate|up|down)_proj$"]}
    found = bits(MIXED, quant_method="compressed-tensors", config_groups={"a": both})
    assert found == {"attention": 16, "dense": 4.5, "shared": 4.5, "experts": 4.5}
    layers = {"model.layers.1.mlp.experts.0.up": {"quant_algo": "NVFP4"}, "model.layers.1.self_attn.k_proj": {"quant_algo": "MXFP8"}}
    found = bits(MIXED, quant_algo="MIXED_PRECISION", quantized_layers=layers)
    assert found == {"attention": 8.25, "dense": 16, "shared": 16, "experts": 4.5}


@pytest.mark.parametrize(
    ("config", "name", "expected"),
    [
        (
            {"quant_method": "quark", "global_quant_config": {"weight": {"dtype": "fp4", "group_size": 32, "scale_format": "e8m0"}}},
            "mxfp4",
            4.25,
        ),
        ({"quant_method": "quark", "global_quant_config": {"weight": {"dtype": "fp8_e4m3", "group_size": None}}}, "fp8", 8),
        (
            {"quant_method": "torchao", "quant_type": {"default": {"_data": {"group_size": 128}, "_type": "Int4WeightOnly"}}},
            "int4",
            4 + 16 / 128,
        ),
        ({"quant_method": "hqq", "quant_config": {"weight_quant_params": {"nbits": 4, "group_size": 64}}}, "int4", 4.5),
        ({"bits": 4, "group_size": 64}, "int4", 4.5),  # MLX
        ({"quant_method": "bitnet"}, "int4", 2),
        ({"quant_method": "eetq", "weights": "int8"}, "int8", 8),
        ({"quant_method": "modelopt", "quantization": {"quant_algo": "NVFP4"}}, "nvfp4", 4.5),
        ({"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}, "int4", 4.5),
    ],
)
def test_formats_of_other_tools(config, name, expected):
    weights = of_config(DENSE | {"quantization_config": config}).quantization
    assert (weights.name, weights.bits["dense"]) == (name, expected)


def test_sizes_of_published_checkpoints():
    # OpenAI (2025), gpt-oss model card, table 1: checkpoints of 12.8 and 60.8 GiB
    found = json.loads((CONFIGS / "gpt-oss-20b.json").read_text()) | {"quantization_config": {"quant_method": "mxfp4"}}
    assert of_config(found).weight_bytes() / 2**30 == pytest.approx(12.8, rel=0.01)
    assert catalogue.llm("openai/gpt-oss-120b").weight_bytes("mxfp4") / 2**30 == pytest.approx(
        60.8, rel=0.05
    )  # of the matrices of all parts
    # NVIDIA DGX Spark and vLLM pages: Llama 3.1 8B takes 16.06 GB in bf16
    assert catalogue.llm("Llama-3.1-8B").weight_bytes() == pytest.approx(16.06e9, rel=1e-3)


def test_an_input_embedding_counts_in_memory_and_not_in_what_a_token_reads():
    llm = of_config(DENSE)
    assert llm.weight_bytes("bf16") == 2 * llm.params
    assert llm.weight_bytes("fp8") == 2 * llm.params - (llm.weight_parts["attention"] + llm.weight_parts["dense"])
    assert llm.read_params == llm.params - 100 * 64


@pytest.mark.parametrize(
    ("name", "row", "weights"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", "Llama-3.1-8B", None),
        ("google/gemma-3-27b-it", "Gemma-3-27B", None),
        ("Qwen/Qwen3-235B-A22B-Instruct-2507-FP8", "Qwen3-235B-A22B", "fp8"),
        ("deepseek-ai/DeepSeek-R1-0528", "DeepSeek-R1", None),
        ("nvidia/DeepSeek-R1-0528-NVFP4-v2", "DeepSeek-R1", "nvfp4"),
        ("Qwen/Qwen3-8B-AWQ", "Qwen3-8B", "int4"),
        ("RedHatAI/Meta-Llama-3.1-8B-Instruct-quantized.w4a16", "Llama-3.1-8B", "int4"),
        ("meta-llama/Llama-4-Scout-17B-16E-Instruct", "Llama-4-Scout", None),
        ("nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-NVFP4", "Nemotron-3-Nano-30B-A3B", "nvfp4"),
        ("zai-org/GLM-5.2-FP8", "GLM-5.2", "fp8"),
        ("amd/Llama-3.1-405B-Instruct-MXFP4-Preview", "Llama-3.1-405B", "mxfp4"),
        ("microsoft/Phi-3-medium-4k-instruct", "Phi-3-medium", None),
        ("nvidia/Llama-3_3-Nemotron-Super-49B-v1_5-FP8", "Nemotron-Super-49B", "fp8"),
        ("zai-org/GLM-5-FP8", "GLM-5", "fp8"),  # an alias
        ("deepseek-ai/DeepSeek-V3-0324", "DeepSeek-V3", None),
        ("nvidia/DeepSeek-V4-Pro-NVFP4", "DeepSeek-V4-Pro", "nvfp4"),
        ("deepseek-ai/DeepSeek-V3.2-Exp", "DeepSeek-V3.2", None),
        # names that published measurements use
        ("Qwen/Qwen3.5-9B", "Qwen3.5-9B", None),
        ("QwQ-32B", "QwQ-32B", None),
        ("Qwen/Qwen3-Next-80B-A3B-Instruct-FP8", "Qwen3-Next-80B-A3B", "fp8"),
        ("zai-org/GLM-4.5-FP8", "GLM-4.5", "fp8"),
        ("zai-org/GLM-4.5V-FP8", "GLM-4.5-Air", "fp8"),
        ("Hunyuan Hy3", "Hy3", None),
        ("moonlight-16b-a3b", "Moonlight-16B-A3B", None),
        ("MiniMaxAI/MiniMax-M2", "MiniMax-M2", None),
        ("NVIDIA-Nemotron-Nano-9B-v2", "Nemotron-Nano-9B-v2", None),
        ("codegemma-1.1-2b", "Gemma-2B", None),
        ("gemma-3-12b-it", "Gemma-3-12B", None),
        ("CodeLlama-34b-hf", "CodeLlama-34B", None),
        ("Mistral-7B-Instruct-v0.3", "Mistral-7B-v0.3", None),
    ],
)
def test_repositories_of_the_hub_are_rows(name, row, weights):
    llm = catalogue.llm(name)
    assert llm.name == row
    assert (llm.quantization and llm.quantization.name) == weights
    if weights:
        assert f"in {weights} (its name)" in repr(llm)
        assert llm.weight_bytes() < llm.weight_bytes("bf16")


@pytest.mark.parametrize(
    ("name", "row", "context"),
    [
        # max_position_embeddings of their config.json
        ("microsoft/Phi-3-mini-128k-instruct", "Phi-3-mini", 131_072),
        ("microsoft/Phi-3-medium-128k-instruct", "Phi-3-medium", 131_072),
        ("microsoft/Phi-3-mini-4k-instruct", "Phi-3-mini", 4096),
        ("gradientai/Llama-3-8B-Instruct-262k", "Llama-3-8B", 262_144),
        ("togethercomputer/LLaMA-2-7B-32K", "Llama-2-7B", 32_768),
        ("nvidia/Nemotron-H-56B-Base-8K", "Nemotron-H-56B", 8192),
        ("MiniMaxAI/MiniMax-M1-80k", "MiniMax-M1", 10_240_000),  # 80k are of its thinking
    ],
)
def test_a_context_in_a_name_is_the_context(name, row, context):
    long, known = catalogue.llm(name), catalogue.llm(row)
    assert long.name == row
    assert long.context == context
    assert (long.params, long.kv_bytes(4000)) == (known.params, known.kv_bytes(4000))


def test_a_context_that_is_no_power_of_two_is_refused():
    with pytest.raises(InputError, match="a context of 80k tokens is near no power of two; expected its row"):
        catalogue.llm("org/Llama-3-8B-80k")


@pytest.mark.parametrize("name", ["deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", "Qwen/Qwen3-VL-8B-Instruct", "8B-Instruct", "org/"])
def test_another_model_is_taken_for_none(name):
    with pytest.raises(InputError, match="unknown language model"):
        catalogue.llm(name)


@pytest.mark.parametrize("name", catalogue.names("llms"))
def test_counts_of_a_row_are_the_published_ones(name):
    """Within 1 % and 2 %, or to the digits printed; with embedding and head, or without one or both."""
    llm = catalogue.llm(name)
    ways = llm.embedding_params * (2 - llm.tied_embeddings)
    for ours, printed, off in ((llm.params, llm.params_published, 0.01), (llm.active_params, llm.active_published, 0.02)):
        if printed:
            unit = 10 ** (len(str(int(printed))) - len(f"{printed:e}".split("e")[0].rstrip("0").replace(".", "")))
            counts = [ours - out for out in (0, llm.embedding_params, ways)]
            as_printed = [abs(n / printed - 1) <= off or round(printed / unit) in (int(n / unit), round(n / unit)) for n in counts]
            assert any(as_printed), (ours, printed)


def test_a_row_that_says_otherwise_than_its_config_is_refused(tmp_path, monkeypatch):
    row = next(row for row in catalogue.table("llms").iter_rows(named=True) if row["llm"] == "GLM-5")
    with (tmp_path / "llms.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        writer.writeheader()
        writer.writerow(row | {"layers": 77, "tied_embeddings": "false", "attention_bias": "false"})
    monkeypatch.setenv("WORKBENCH_DATA", str(tmp_path))
    with pytest.raises(InputError, match="GLM-5: layers is 77 and 78 by its config"):
        catalogue.llm("GLM-5")


def test_a_row_of_ones_own_is_dimensions_or_a_config(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_DATA", str(tmp_path))
    with (tmp_path / "llms.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["llm", "config", "layers", "hidden", "source", "as_of"])
        writer.writerow(["mine", json.dumps(MIXED), "", "", "me", "2026"])
        writer.writerow(["broken", json.dumps({"hidden_size": 64}), "", "", "me", "2026"])
        writer.writerow(["bare", "", 4, 64, "me", "2026"])
    assert catalogue.llm("mine").params == of_config(MIXED).params
    assert catalogue.llm("Llama-3.1-8B").layers == 32
    with pytest.raises(InputError, match="table llms, broken, column config: num_hidden_layers is missing"):
        catalogue.llm("broken")
    with pytest.raises(InputError, match="bare: nothing in heads, kv_heads, head_dim, vocab, attention, context; or give the fields"):
        catalogue.llm("bare")


def test_rows_hold_what_their_config_says():
    for row in catalogue.table("llms").iter_rows(named=True):
        if row["config"]:
            read, known = of_config(json.loads(row["config"])), catalogue.llm(row["llm"])
            assert (read.params, read.layers, read.attention) == (known.params, row["layers"], row["attention"])


def test_the_page_of_architectures_says_what_the_models_do():
    page = (Path(__file__).parents[2] / "docs" / "architectures.md").read_text(encoding="utf8")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line.count("|") == 8]
    named = {name: row for name, *row in rows}
    assert {n for n in catalogue.names("llms") if catalogue.llm(n).params_published} <= named.keys()
    for name, (_, ours, _, cached, at_128k, state) in named.items():
        if name in catalogue.names("llms"):
            llm = catalogue.llm(name)
            figures = [float(n.replace(",", "")) for cell in (ours, cached, at_128k, state) for n in cell.split(" / ")]
            active = [llm.active_params / 1e9] if llm.experts else []
            right = [llm.params / 1e9, *active, llm.kv_bytes_per_token() / 1e3, llm.kv_bytes(1 << 17) / 1e9, llm.other.state / 1e6]
            assert figures == pytest.approx(right, rel=2e-3, abs=0.05), name


@pytest.mark.parametrize(
    ("name", "flop", "cache", "size"), [("DeepSeek-V4-Pro", 0.27, 0.10, 865e9), ("DeepSeek-V4-Flash", 0.10, 0.07, 160e9)]
)
def test_compressed_attention_costs_what_its_publisher_says(name, flop, cache, size):
    # card of DeepSeek-V4-Pro: per token at 1M tokens, over DeepSeek-V3.2 (in FLOP of eight bits, cache partly in eight); size of the files
    llm, before, million = catalogue.llm(name), catalogue.llm("DeepSeek-V3.2"), 1 << 20
    flops = [m.forward_flop_per_token(million) for m in (llm, before)]
    assert flops[0] / flops[1] == pytest.approx(flop, abs=0.025)
    assert llm.kv_bytes(million) / before.kv_bytes(million) == pytest.approx(cache, abs=0.015)
    row = next(row for row in catalogue.table("llms").iter_rows(named=True) if row["llm"] == name)
    files = {"quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128], "scale_fmt": "ue8m0"}, "expert_dtype": "fp4"}
    read = of_config(json.loads(row["config"]) | files)
    assert read.quantization.name == "mxfp4"
    assert read.weight_bytes() + read.mtp_params * 4.25 / 8 == pytest.approx(size, rel=0.01)
