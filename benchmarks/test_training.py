"""Layouts of a training job a second, beside llm-analysis from PyPI (`pip install llm-analysis`), on one thread in the same run."""

import contextlib
import itertools
from dataclasses import replace

import numpy as np
import pytest

from workbench import catalogue, chips
from workbench.fabric import Cluster

GROUP = "one layout of a training job"


@pytest.fixture(scope="module")
def h100():
    return lambda n: Cluster(catalogue.chip("H100"), n, "InfiniBand NDR")


def gpt3(size):
    full = catalogue.llm("GPT-3-175B")
    return full if size == "175B" else replace(full, name="GPT-3-13B", layers=40, hidden=5120, heads=40, kv_heads=40, ffn=20480)


@pytest.mark.benchmark(group=GROUP)
@pytest.mark.parametrize(("size", "n", "least"), [("13B", 8, 217_056), ("175B", 512, 6_582_816)])
def test_search(benchmark, h100, size, n, least):
    """As many layouts as the smallest search of calculon's examples (8 GPUs) and one of its larger ones (512 GPUs)."""
    choices = chips.Choices(envelope="any", **({} if size == "13B" else {"vp": tuple(range(1, 25)), "most_cp": 64}))
    found = benchmark.pedantic(chips.search_layouts, (gpt3(size), h100(n), n), {"choices": choices, "top": 20}, rounds=3, warmup_rounds=1)
    benchmark.extra_info["cases"] = found.evaluated
    benchmark.extra_info["layouts"] = f"{found.evaluated:,}"
    benchmark.extra_info["s"] = f"{benchmark.stats.stats.min:.2f}"
    assert found.evaluated >= least


@pytest.mark.benchmark(group=GROUP)
def test_unordered_layouts(benchmark, h100):
    """A million layouts in no order, where nothing can be shared between them."""
    rng, n = np.random.default_rng(0), 1_000_000
    plan = chips.TrainingPlan(
        tp=2 ** rng.integers(0, 4, n), pp=2 ** rng.integers(0, 5, n), micro_batch=2 ** rng.integers(0, 3, n), zero=rng.integers(0, 2, n)
    )
    benchmark.extra_info["cases"] = n
    benchmark.pedantic(
        chips.training_step, (gpt3("175B"), h100(512), plan, 512), {"sequence": 2048, "detail": False}, rounds=3, warmup_rounds=1
    )


@pytest.mark.benchmark(group=GROUP)
def test_one_at_a_time(benchmark, h100):
    cluster, llm, plan = h100(512), gpt3("175B"), chips.TrainingPlan(tp=8, pp=8)
    benchmark(chips.training_step, llm, cluster, plan, 512, sequence=2048)


@pytest.mark.benchmark(group=GROUP)
def test_llm_analysis(benchmark):
    """The peer: a call a layout, degrees and micro-batches of the same job; it raises where memory does not suffice."""
    analysis = pytest.importorskip("llm_analysis.analysis")
    config = pytest.importorskip("llm_analysis.config")
    model = config.ModelConfig(name="gpt3-13b", num_layers=40, n_head=40, hidden_dim=5120, vocab_size=50257, max_seq_len=2048)
    gpu = config.get_gpu_config_by_name("a100-sxm-80gb")
    plans = [(tp, pp, mb) for tp, pp, mb in itertools.product((1, 2, 4, 8), (1, 2, 4, 8), (1, 2, 4)) if tp * pp <= 8]

    def run():
        done = 0
        for tp, pp, mb in plans:
            parallel = config.ParallelismConfig(tp_size=tp, pp_size=pp, dp_size=8 // (tp * pp))
            peer = analysis.LLMAnalysis(model, gpu, parallelism_config=parallel, flops_efficiency=0.5, hbm_memory_efficiency=0.8)
            with contextlib.suppress(Exception):
                peer.training(batch_size_per_gpu=mb, gradient_accumulation_steps=1, seq_len=2048)
            done += 1
        return done

    benchmark.extra_info["cases"] = len(plans)
    assert benchmark.pedantic(run, rounds=3, warmup_rounds=1) == len(plans)
