"""Collectives a second, beside NCCL's own tuning equations restated for the same shapes in numpy. One thread."""

import numpy as np
import pytest

from workbench import fabric
from workbench.fabric import Tier

N = 200_000
SIZES = np.geomspace(8, 1.6e10, N)


@pytest.mark.benchmark(group="all-reduce over two tiers")
def test_collective_time(benchmark):
    tiers = [Tier(8, 450e9, "scale-up", "H100"), Tier(64, 50e9, "InfiniBand")]
    benchmark.extra_info["cases"] = N
    t = benchmark(fabric.collective_time, "all_reduce", SIZES, tiers)
    benchmark.extra_info["evaluations_a_second"] = f"{N / benchmark.stats.stats.median:,.0f}"
    assert t.seconds.shape == (N,)


@pytest.mark.benchmark(group="all-reduce over two tiers")
def test_nccl_tuning_restated(benchmark):
    """t = latency + bytes / bandwidth for ring, tree and NVLS tree in three protocols, the smallest taken (src/graph/tuning.cc)."""
    n, nodes, local, network = 512, 64, 370.8e9, 48e9

    def tuned(size):
        base = {"ring": (6.6e-6, 14e-6, 8.4e-6), "tree": (6.8e-6, 14e-6, 8.4e-6), "nvls": (18e-6,) * 3}
        inside, across = (0.6e-6, 1.9e-6, 3.4e-6), (2.7e-6, 4e-6, 14e-6)
        share = (0.5, 0.92, 1.0)
        best = np.full(size.shape, np.inf)
        for p in range(3):
            ring = base["ring"][p] + (2 * (n - 1) - 2 * (nodes - 1)) * inside[p] + 2 * (nodes - 1) * across[p]
            best = np.minimum(best, ring + size * 2 * (n - 1) / n / (8 * network * share[p]))
            tree = base["tree"][p] + 2 * ((n / nodes - 1) * inside[p] + np.log2(nodes) * across[p])
            dip = np.where((size > 2**19) & (size < 2**21), 0.5, 1.0)
            best = np.minimum(best, tree + size / (0.92 * dip * share[p] * 8 * network / 2))
        nvls = base["nvls"][2] + inside[2] + 2 * np.log2(nodes) * 20.9e-6
        return np.minimum(best, nvls + size / min(local * 0.85, 8 * network / 2))

    benchmark.extra_info["cases"] = N
    benchmark(tuned, SIZES)
    benchmark.extra_info["evaluations_a_second"] = f"{N / benchmark.stats.stats.median:,.0f}"
