import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench import catalogue
from workbench.chips import TrainingPlan, gemm, operators, training_step
from workbench.chips.machine import Exchange
from workbench.fabric import Cluster, Tier, collective_time


def test_a_large_product_runs_at_its_rate():
    m = n = k = 65_536
    assert operators.matrix_product(m, n, k, 1e15, tail=1, depth=256) == pytest.approx(2 * m * n * k / 1e15, rel=0.01)


@given(st.integers(1, 8192), st.integers(1, 8192), st.integers(1, 8192))
def test_products_are_symmetric_and_slower_than_their_rate(m, n, k):
    given = {"tail": 1.0, "depth": 256.0}
    assert operators.matrix_product(m, n, k, 1e15, **given) == pytest.approx(operators.matrix_product(n, m, k, 1e15, **given))
    assert operators.matrix_product(m, n, k, 1e15, **given) > 2 * m * n * k / 1e15


def test_a_group_shares_its_last_wave():
    alone = operators.matrix_product(512, 4096, 4096, 1e15, tail=1, depth=256)
    group = operators.grouped_product(32, 512, 4096, 4096, 1e15, tail=1, depth=256)
    assert 2 * 32 * 512 * 4096 * 4096 / 1e15 < group < 32 * alone


def test_attention_counts_scores_and_values():
    # 4 s^2 a d over a full square, half of it causal
    assert operators.attention_flop(4096, 2048, 32, 128, 128) == 0.5 * 4 * 4096**2 * 32 * 128


def test_floor_and_cover_are_soft():
    assert operators.floored(1.0, 0.0) == 1
    assert operators.floored(1.0, 1.0) == pytest.approx(2**0.25)
    assert operators.exposed(1.0, 0.0) == pytest.approx(1, rel=0.01)
    assert 0 < operators.exposed(1.0, 10.0) < 0.01


def test_a_measured_chip_has_its_burst_and_others_none():
    c = gemm.POOL.of(gemm.Origin("B200", "bf16"))
    assert 0.4 < c["efficiency"] < 0.8
    assert c["tail"] > 0
    assert c["depth"] > 0
    measured = gemm.POOL.shipped().rows
    assert measured["system", "B200|bf16"] > 0
    assert not any(level == "system" and key.startswith("Maia 200|") for level, key in measured)


@pytest.mark.parametrize("op", ["all_gather", "reduce_scatter", "all_reduce", "alltoall", "sendrecv"])
def test_the_table_of_the_fabric_is_the_fabric(op):
    exchange = Exchange.of(Cluster(catalogue.chip("H100"), 64, "InfiniBand NDR"))
    ranks, size = np.array([2, 8, 16, 64, 8]), np.array([3e5, 5e6, 7e7, 9e8, 1e10])
    inner, outer = np.minimum(ranks, 8), np.maximum(ranks / 8, 1)
    tiers = [Tier(inner, 450e9, "scale-up", "H100"), Tier(outer, 50e9, "InfiniBand", "H100")]
    assert exchange.seconds(op, size, ranks) == pytest.approx(collective_time(op, size, tiers).seconds, rel=0.08)
    assert (exchange.seconds(op, size, np.ones(5)) == 0).all()


@pytest.mark.parametrize(("op", "slower"), [("all_reduce", 0.97), ("alltoall", 1.1)])  # pods add before they exchange
def test_a_tapered_fabric_is_the_fabric_and_slows_what_leaves_a_pod(op, slower):
    cluster = Cluster("H100", 512, "InfiniBand NDR", taper=0.5, pod=128)
    exchange, size = Exchange.of(cluster), 2.0**28
    assert exchange.seconds(op, size, 512.0) == pytest.approx(float(collective_time(op, size, cluster).seconds), rel=0.02)
    whole = Exchange.of(Cluster("H100", 512, "InfiniBand NDR"))
    assert exchange.seconds(op, size, np.array([8.0, 128.0])).tolist() == whole.seconds(op, size, np.array([8.0, 128.0])).tolist()
    assert exchange.seconds(op, size, 16.0, 8.0) == whole.seconds(op, size, 16.0, 8.0)  # one rank a domain: sixteen are a pod
    assert exchange.seconds(op, size, 32.0, 8.0) > slower * whole.seconds(op, size, 32.0, 8.0)


def test_an_oversubscribed_fabric_slows_training_that_is_scattered():
    plan = TrainingPlan(tp=8, pp=16, micro_batch=1, uneven=True)
    fabrics = {"whole": {}, "packed": {"taper": 0.25, "pod": 2048}, "scattered": {"taper": 0.25, "pod": 8}}
    of = {
        name: float(training_step("Llama-3.1-405B", Cluster("H100", 16384, "InfiniBand NDR", **how), plan, 2048, sequence=8192).seconds)
        for name, how in fabrics.items()
    }
    assert of["whole"] == of["packed"]  # data-parallel ranks of a stage fill a pod
    assert of["scattered"] > 1.05 * of["whole"]


def test_ranks_apart_cross_domains():
    exchange = Exchange.of(Cluster(catalogue.chip("H100"), 64, "InfiniBand NDR"))
    near, far = exchange.seconds("all_reduce", 1e8, 8.0), exchange.seconds("all_reduce", 1e8, 8.0, 8.0)
    assert far > 2 * near
    assert not exchange.crosses(8.0)
    assert exchange.crosses(8.0, 2.0)
