import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench import catalogue, fabric
from workbench.errors import InputError
from workbench.fabric import Cluster, Tier, calibration, collective_time, curve, tiers_of
from workbench.fabric.curve import RULES, work

NODE = [Tier(8, 450e9, "scale-up", "H100")]


def test_nvls_busbw_of_eight_h100():
    # nccl-tests on 8 H100 with NVLS: 473 to 480 GB/s of busbw at large messages, about 13 us at 8 bytes
    large = collective_time("all_reduce", 8 * 2**30, NODE)
    assert large.busbw / 1e9 == pytest.approx(476, rel=0.06)
    assert collective_time("all_reduce", 8, NODE).seconds == pytest.approx(13e-6, rel=0.6)


def test_a_rack_of_gb300_behaves_as_one_domain():
    # Azure's baseline on NVL72: 937 GB/s of all-reduce busbw (in-network reduction)
    tiers = tiers_of(Cluster(catalogue.chip("GB300"), 72))
    assert collective_time("all_reduce", 16 * 2**30, tiers).busbw / 1e9 == pytest.approx(937, rel=0.25)


@settings(deadline=None)
@given(st.sampled_from(list(RULES)), st.sampled_from(["H100", "B200", "unheard-of"]), st.sampled_from([2, 4, 8]))
def test_time_never_falls_with_bytes_and_has_no_jumps(op, chip, n):
    size = np.geomspace(8, 1e10, 400)
    t = collective_time(op, size, [Tier(n, 450e9, "scale-up", chip)]).seconds
    steps = np.diff(np.log(t))
    assert steps.min() >= 0
    assert steps.max() <= 1.05 * np.log(size[1] / size[0])  # nothing is worse than proportional: no jump where protocols change


def test_more_domains_take_longer():
    chip = catalogue.chip("H100")
    n = np.array([8, 16, 64, 512, 4096])
    t = collective_time("all_reduce", 2**30, tiers_of(Cluster(chip, 4096, "InfiniBand NDR"), n)).seconds
    assert np.all(np.diff(t) > 0)


def test_one_rank_has_nothing_to_do():
    assert collective_time("all_gather", 1e6, [Tier(1, 450e9)]).seconds == 0


def test_equal_outer_tiers_may_be_swapped():
    inner, a, b = NODE[0], Tier(4, 50e9, "InfiniBand"), Tier(4, 50e9, "InfiniBand")
    one, other = (collective_time("all_reduce", 1e8, [inner, *outer]).seconds for outer in ((a, b), (b, a)))
    assert one == other


def test_ring_all_reduce_is_reduce_scatter_and_all_gather():
    # Thakur et al. (2005), section 4.5: steps and bytes add up
    s, n = np.array([1e6]), np.array([8.0])
    halves = [work(op, s, n) for op in ("reduce_scatter", "all_gather")]
    assert work("all_reduce", s, n) == tuple(x + y for x, y in zip(*halves, strict=True))


@given(st.floats(1, 1e12), st.integers(2, 4096))
def test_no_algorithm_sends_less_than_it_must(size, ranks):
    s, n = np.array([size]), np.array([float(ranks)])
    for op, least in (("all_reduce", 1.0), ("all_gather", (ranks - 1) / ranks), ("reduce_scatter", (ranks - 1) / ranks)):
        for between in (False, True):
            steps, volume = work(op, s, n, between=between)
            assert volume[0] >= size * least * (1 - 1e-12)
            assert steps[0] >= 1


def test_the_soft_minimum_lies_below_every_protocol_and_near_the_best():
    size = np.geomspace(8, 1e10, 100)
    together = curve.seconds(curve.PRIOR, 14, size, 450e9)
    each = []
    for p in range(3):
        alone = curve.PRIOR + np.where(np.arange(3) == p, 0.0, 50.0)[None, :]
        alone[2] = np.where(np.arange(3) == p, curve.PRIOR[2], -50.0)
        each.append(curve.seconds(alone, 14, size, 450e9))
    best = np.min(each, axis=0)
    assert np.all(together <= best * (1 + 1e-9))
    assert np.all(together >= best * 3 ** (-1 / 8) * (1 - 1e-9))


def test_the_interval_is_wider_where_less_was_measured():
    known = collective_time("all_reduce", 1e9, NODE, version="2.27.3")
    new = collective_time("all_reduce", 1e9, [Tier(8, 450e9, "scale-up", "H400")])
    assert known.low < known.seconds < known.high
    assert new.high / new.low > 1.3 * known.high / known.low


def test_the_nearest_measurements_stand_beside_the_answer():
    known = collective_time("all_reduce", [1e6, 1e9], NODE, version="2.27.3").evidence
    assert (known.distance, known.differs) == (0, ())
    assert known.rows == known.near["rows"][0] > 0
    assert known.near.select("operation", "chip", "ranks", "version").row(0) == ("all_reduce", "H100", "8", "2.27")
    far = collective_time("all_reduce", 1e9, Cluster("H100", [16, 4096], "EFA v2 P5")).evidence  # of the larger
    assert (far.rows, far.differs) == (0, ("domains",))
    assert far.near["kind"][0] == "EFA"


def test_the_transport_is_that_of_the_clusters_fabric():
    assert [tiers_of(Cluster("H100", 64, name))[1].kind for name in ("EFA v2 P5", "GCP TCPXO A3 Mega", "InfiniBand NDR")] == [
        "EFA", "TCPXO", "InfiniBand",
    ]  # fmt: skip


def test_a_token_goes_once_to_each_node_or_to_each_expert():
    # of n groups, 8 experts drawn at random lie in n (1 - (1 - 1/n)^8) on average (DeepEP, tests/): 1.99 of two nodes, 5.25 of eight ranks
    steps, volume = work("dispatch", 1.0, 2.0, 8.0, True, 8)
    assert (steps, volume) == pytest.approx((8, 1.99 / 2), rel=2e-3)
    assert work("combine", 1.0, 8.0, top_k=8)[1] == pytest.approx(5.25 * 7 / 8, rel=1e-3)
    assert work("dispatch_low_latency", 1.0, 2.0, between=True, top_k=8)[1] == 4
    tiers = [*NODE, Tier(2, 50e9, "InfiniBand", "H100")]
    once, each = (collective_time(op, 4096 * 7168, tiers, top_k=8).seconds for op in ("dispatch", "dispatch_low_latency"))
    assert once < each


def test_dispatch_over_two_nodes_as_deepep_measured_it():
    # DeepEP, docs/legacy.md: H800, 4096 tokens of 7168 in fp8 to 8 experts over 16 ranks, 43 GB/s of RDMA: 1.99 copies in 1.40 ms
    message = 4096 * 7168 * (1 + 4 / 128)
    t = collective_time("dispatch", message, [Tier(8, 200e9, "scale-up", "H800"), Tier(2, 50e9, "InfiniBand", "H800")], top_k=8)
    assert t.seconds == pytest.approx(1.40e-3, rel=0.15)


def test_what_no_transport_is_told_of_has_what_all_share():
    # the constants of an all-gather on an unknown fabric lie among those of known ones
    of = {kind: float(collective_time("all_gather", 1e9, [*NODE, Tier(8, 50e9, kind, "H100")]).seconds) for kind in calibration.TRANSPORTS}
    assert min(of.values()) <= of["other"] <= max(of.values())


def test_twenty_racks_as_measured_and_more_with_a_wider_band():
    # CoreWeave, nccl-tests README: 20 racks of 72 GB200, all-reduce of 16 GiB at 406 GB/s of busbw
    racks = collective_time("all_reduce", 2**34, Cluster("GB200", [1440, 2880, 14400], "InfiniBand NDR"))
    assert racks.busbw[0] / 1e9 == pytest.approx(406, rel=0.1)
    assert np.all(np.diff(racks.high / racks.low) > 0)


def test_rails_taper_and_placement_change_the_answer():
    def ms(op, **how):
        return float(collective_time(op, 2**30, Cluster("H100", 512, "RoCE 400G", **how)).seconds) * 1e3

    for op, most in (("all_reduce", 1.02), ("alltoall", 1.5)):  # a pod of 256 chips sends little of an all-reduce above itself
        whole, packed, scattered = ms(op), ms(op, taper=0.5, pod=256), ms(op, taper=0.5, pod=8)
        assert 0.97 * whole < packed < most * whole
        assert 1.7 * whole < scattered < 2.1 * whole
        assert ms(op, rails=0.5) == pytest.approx(scattered, rel=1e-9)


def test_domains_must_be_whole():
    cluster = Cluster(catalogue.chip("GB300"), 4608)
    with pytest.raises(InputError, match="n_chips = 100: GB300 comes in domains of 72; the nearest whole number of them has 72 chips"):
        tiers_of(cluster, 100)
    inner, outer = tiers_of(cluster)
    assert (inner.size, outer.size) == (72, 64)


@pytest.mark.parametrize("op", ["allreduce", "all-reduce", "All Reduce", "AllReduce", "all_reduce_perf"])
def test_an_operation_is_known_however_it_is_spelt(op):
    assert collective_time(op, 1e6, NODE).busbw == collective_time("all_reduce", 1e6, NODE).busbw


def test_a_cluster_stands_for_its_tiers():
    cluster = Cluster("GB300", [144, 4608])
    whole, tiers = collective_time("alltoall", 1e9, cluster), collective_time("alltoall", 1e9, tiers_of(cluster))
    assert whole.seconds.tolist() == tiers.seconds.tolist()
    assert repr(whole).startswith("CollectiveTime(seconds=[0.0")
    assert whole.frame().columns == ["seconds", "low", "high", "algbw", "busbw"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: collective_time("all_sum", 1, NODE), "op = 'all_sum': expected one of all_reduce"),
        (lambda: collective_time("all_reduce", 0, NODE), "message_bytes = 0"),
        (lambda: collective_time("all_reduce", 1, []), "tiers is empty"),
        (lambda: Tier(0, 1e9), "size = 0"),
        (lambda: Tier(2.5, 1e9), "size = 2.5"),
        (lambda: Tier(8, 0), "bandwidth = 0"),
        (lambda: Tier(8, 1e9, "carrier pigeon"), "kind = 'carrier pigeon'"),
        (lambda: collective_time("all_reduce", [1, 2, 3], [Tier([2, 4, 8, 16], 1e9)]), r"shape \(3,\) and size of tier 0 of shape \(4,\)"),
        (lambda: tiers_of(Cluster(catalogue.chip("H100"), 64), np.inf), "n_chips = inf"),
        (lambda: fabric.goodput(0, checkpoint=1, restart=1), "n_chips = 0"),
    ],
)
def test_bad_input_is_named(wrong, said):
    with pytest.raises(InputError, match=said):
        wrong()


@pytest.mark.parametrize("op", ["all_reduce", "all_gather", "reduce_scatter", "alltoall"])
@pytest.mark.parametrize("chip", ["A100", "H100", "H200", "B200", "GB300", "unheard-of"])
def test_more_ranks_take_longer(op, chip):
    size, rate = np.geomspace(8, 1.6e10, 60)[:, None], 450e9 if chip == "unheard-of" else catalogue.chip(chip).scaleup_bandwidth
    n = np.array([2, 3, 4, 5, 6, 7, 8, 12, 16, 72])
    t = collective_time(op, size, [Tier(n, rate, "scale-up", chip)]).seconds
    grows = np.diff(np.log(t), axis=1)
    # beyond what was measured, and where nothing was, always; within it up to the noise of tables and the start of NVLS above four chips
    assert grows[:, -3:].min() >= 0
    assert grows.min() > (-1e-12 if chip == "unheard-of" else -0.10)
    assert np.all(t >= size * (n - 1) / n / rate)  # the wire


@pytest.mark.parametrize("ranks", [2, 4, 8])
def test_cards_of_a_host_talk_over_pcie_as_measured(ranks):
    # 53 to 54 GB/s a direction between two RTX PRO 6000 (RTX 6000 PRO wiki, pcie-bandwidth.md); less among eight (nccl-tests)
    t = collective_time("reduce_scatter", 2.0**30, Cluster("RTX PRO 6000", ranks, "InfiniBand NDR"))
    assert 20e9 < float(t.busbw) < 60e9
    unmeasured = collective_time("all_reduce", 2.0**30, Cluster("H100 NVL", ranks, "InfiniBand NDR"))
    assert float(unmeasured.busbw) < 63e9  # not the 147 GB/s of an NVLink that is not there


def test_short_messages_of_slingshot_cost_more_a_step_and_no_others_do():
    def time(kind, message):
        return float(collective_time("alltoall", message, [Tier(4, 300e9, "scale-up", "A100"), Tier(8, 12.5e9, kind, "A100")]).seconds)

    assert time("Slingshot", 32 * 128) > 1.5 * time("Slingshot", 32 * 256)  # 128 and 256 B a peer, 192 of which are inline
    assert time("InfiniBand", 32 * 128) < 1.1 * time("InfiniBand", 32 * 256)


def test_cards_on_pcie_have_wider_intervals():
    def width(chip, rate):
        t = collective_time("reduce", 2.0**24, [Tier(8, rate, "scale-up", chip)])
        return float(t.high / t.low)

    assert width("L40S", 31e9) > width("H100", 450e9)
