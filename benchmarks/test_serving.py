"""Operating points of serving a second, on one thread: the frontier of a million points, and points in no order."""

import numpy as np
import pytest

from workbench import catalogue, chips
from workbench.chips.serving import constants as calibration
from workbench.chips.serving import frontier as frontier_model
from workbench.chips.serving.loops import closed_loop
from workbench.chips.serving.work import demand_of
from workbench.fabric import Cluster

GROUP = "one operating point"
NAMES = ("H100", "H200", "B200", "GB200", "GB300", "MI300X", "MI325X", "MI355X")


@pytest.mark.benchmark(group=GROUP)
def test_frontier_of_a_million_points(benchmark):
    """Chips x formats x layouts x prompts together or apart x users."""
    llm, users = catalogue.llm("DeepSeek-R1"), np.unique(np.round(np.geomspace(1, 16_384, 400)))
    clusters = [Cluster(catalogue.chip(name), 64, "InfiniBand NDR") for name in NAMES]
    points = users.size * len(frontier_model.TP) * len(frontier_model.ATTENTION_DP) * (1 + len(frontier_model.RATIOS))
    points *= sum(sum(p in c.chip.peaks for p in ("fp4", "fp8", "bf16")) for c in clusters)
    benchmark.extra_info["cases"] = points
    benchmark.extra_info["points"] = f"{points:,}"
    frontier = benchmark.pedantic(
        chips.slo_frontier, (llm, clusters, chips.Load(1, 1024, 1024)), {"concurrency": users}, rounds=3, warmup_rounds=1
    )
    benchmark.extra_info["s"] = f"{benchmark.stats.stats.min:.2f}"
    assert points >= 1_000_000
    assert frontier["chip"].n_unique() >= 5


@pytest.mark.benchmark(group=GROUP)
def test_points_in_no_order(benchmark):
    rng, n = np.random.default_rng(0), 1_000_000
    llm, cluster = catalogue.llm("Llama-3.1-70B"), Cluster(catalogue.chip("H100"), 64, "InfiniBand NDR")
    tp, users, s_in, s_out = 2.0 ** rng.integers(0, 4, n), rng.integers(1, 512, n), rng.integers(16, 8192, n), rng.integers(16, 2048, n)
    c = calibration.basis(llm, "H100", "fp8").constants

    def run():
        for at in range(0, n, 8192):
            part = slice(at, at + 8192)
            load = chips.Load(users[part], s_in[part], s_out[part])
            closed_loop(demand_of(llm, cluster, chips.ServingPlan(tp[part]), load), c)

    benchmark.extra_info["cases"] = n
    benchmark.pedantic(run, rounds=3, warmup_rounds=1)


@pytest.mark.benchmark(group=GROUP)
def test_one_at_a_time(benchmark):
    llm, cluster = catalogue.llm("Llama-3.1-70B"), Cluster(catalogue.chip("H100"), 64, "InfiniBand NDR")
    benchmark(chips.serving, llm, cluster, chips.ServingPlan(4), chips.Load(64, 1024, 1024))
