"""Goodput, sites and the bill."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench import fabric, tables
from workbench.calibration import evidence
from workbench.errors import InputError
from workbench.fabric.goodput import CASES, ERRORS, optimal_interval
from workbench.fabric.wan import round_trip
from workbench.validation import calibrate


def test_llama_3s_interruptions_and_uptime():
    # Llama 3, table 5: 419 interruptions in 54 days on 16,384 H100; more than 90 % effective training time
    g = fabric.goodput(16_384, checkpoint=30, restart=600)
    assert g.mtbf / 3600 == pytest.approx(3.09, rel=0.01)
    assert 0.85 < g.share < 0.95


def test_daly_beats_every_other_interval():
    best = fabric.goodput(1e5, checkpoint=60, restart=300)
    for factor in (0.5, 0.8, 1.25, 2):
        assert fabric.goodput(1e5, checkpoint=60, restart=300, interval=best.interval * factor).share <= best.share * (1 + 1e-4)
    assert optimal_interval(1, 1e6) == pytest.approx(np.sqrt(2e6), rel=0.01)  # Young's limit


@given(st.floats(10, 1e6), st.floats(1, 600), st.floats(0, 3600))
def test_goodput_is_a_share_and_falls_with_scale(n, checkpoint, restart):
    g = fabric.goodput(np.array([n, 2 * n]), checkpoint=checkpoint, restart=restart)
    assert np.all((g.share >= 0) & (g.share <= 1))
    assert g.share[1] <= g.share[0]
    assert g.share + g.checkpoints + g.failures == pytest.approx([1, 1])


def test_sites():
    base = {"gradient_bytes": 800e9, "step_seconds": 10.0, "sites": 2, "bandwidth": 1e12}
    near, far = (fabric.across_sites(**base, distance=d) for d in (0, 1e6))
    assert near.exchange == pytest.approx(0.8)
    assert far.exchange - near.exchange == pytest.approx(float(round_trip(1e6))) == pytest.approx(9.8e-3)
    assert fabric.across_sites(**base, distance=1e6, overlap=0.5).loss == 0
    assert fabric.across_sites(**base, distance=1e6, every=100).loss < far.loss / 50


def test_bandwidth_inverts_the_loss():
    args = {"gradient_bytes": 800e9, "step_seconds": 10.0, "sites": 4, "distance": 5e5}
    needed = fabric.bandwidth_for(0.02, **args)
    assert fabric.across_sites(**args, bandwidth=needed).loss == pytest.approx(0.02)
    assert np.isinf(fabric.bandwidth_for(1e-6, **args))


def test_the_bill_follows_the_counts():
    tree = fabric.fat_tree(np.array([4608, 100_000]), 144, 100e9)
    b = fabric.bill(tree, switch_usd=50_000, optic_usd=1000, cable_usd=50, nic_usd=1500, switch_watts=3000, nic_watts=30)
    assert b.usd["switches"].tolist() == (tree.switches * 50_000).tolist()
    assert b.total_watts[0] == pytest.approx(100 * 3000 + 2 * 9216 * 17 + 4608 * 30)
    per_chip = b.total_usd / b.topology.endpoints
    assert per_chip[1] > per_chip[0]  # a third tier
    assert b.usd_per_bandwidth()[0] == b.total_usd[0] / (2304 * 100e9)
    copper = fabric.bill(tree, switch_usd=1, optic_usd=1, cable_usd=1, nic_usd=1, switch_watts=1, copper_endpoints=1.0)
    assert copper.usd["optics"][0] == 2 * 4608


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: fabric.across_sites(1, 1, sites=0, bandwidth=1, distance=1), "sites = 0"),
        (lambda: fabric.across_sites(1, 1, sites=2, bandwidth=1, distance=1, overlap=2), "overlap = 2"),
        (lambda: fabric.bandwidth_for(0.1, -1, 1, sites=2, distance=1), "gradient_bytes = -1"),
        (lambda: fabric.bandwidth_for(0.1, 1, -1, sites=2, distance=1), "step_seconds = -1"),
        (lambda: fabric.bandwidth_for(0.1, 1, 1, sites=-2, distance=1), "sites = -2"),
        (lambda: fabric.bandwidth_for(0.1, 1, 1, sites=2, distance=1, every=np.nan), "every = nan"),
        (lambda: round_trip(-1), "distance = -1"),
        (
            lambda: fabric.bill(fabric.fat_tree(8, 64, 1), switch_usd=-1, optic_usd=1, cable_usd=1, nic_usd=1, switch_watts=1),
            "switch_usd = -1",
        ),
    ],
)
def test_bad_input_is_named(wrong, said):
    with pytest.raises(InputError, match=said):
        wrong()


def simulated(n, checkpoint, restart, rate, detection=0.0, partial=1.0, years=2.0):
    """Share of the time that makes lasting progress, failure by failure: what a failure stops works, writes, fails and comes back."""
    rng, mean = np.random.default_rng(0), 365.25 * 86400 / (n * rate * partial)
    tau = float(optimal_interval(checkpoint, mean))
    clock = done = 0.0
    while clock < years * 365.25 * 86400:
        up = rng.exponential(mean)
        done += tau * np.floor(up / (tau + checkpoint))
        clock += up
        down = detection + restart
        while (again := rng.exponential(mean)) < down:  # it may fail while it comes back
            clock += again
        clock += down
    return done / clock


@pytest.mark.parametrize(
    "case",
    [
        {"n": 16_384, "checkpoint": 30, "restart": 600, "rate": 0.173},
        {"n": 16_384, "checkpoint": 0.5, "restart": 120, "rate": 0.173, "detection": 60},
        {"n": 100_000, "checkpoint": 30, "restart": 600, "rate": 0.173},
        {"n": 500_000, "checkpoint": 0.5, "restart": 120, "rate": 0.173, "detection": 60, "partial": 0.1},
    ],
)
def test_goodput_is_that_of_simulated_failures(case):
    how = fabric.Resilience(detection=case.get("detection", 0.0), partial=case.get("partial", 1.0))
    told = fabric.goodput(case["n"], checkpoint=case["checkpoint"], restart=case["restart"], failure_rate=case["rate"], resilience=how)
    assert told.share == pytest.approx(simulated(**case), abs=0.015)


def test_large_jobs_lose_little_when_state_is_in_memory_and_failures_stop_a_part():
    state = fabric.storage(405e9, [16_384, 100_000, 500_000], method="in-memory")
    how = fabric.Resilience(detection=60, partial=0.1, spares=[128, 512, 2048])
    jobs = fabric.goodput([16_384, 100_000, 500_000], checkpoint=state.stall, restart=120, resilience=how)
    assert np.all(jobs.share > [0.97, 0.95, 0.8])
    assert np.all((jobs.low < jobs.share) & (jobs.share < jobs.high))
    state = fabric.storage(405e9, 16_384)
    llama = fabric.goodput(16_384, state=state)  # Llama 3: more than 90 %
    assert 0.9 < llama.share < llama.high
    assert llama.low < 0.9
    by_hand = fabric.goodput(16_384, checkpoint=state.stall, restart=300 + state.load)
    assert by_hand.share == pytest.approx(float(llama.share))
    assert llama.low < fabric.goodput(16_384, state=state, restart=600).share < llama.share
    # ByteRobust, arXiv 2509.16293: 97 % of three months on 9,600 chips
    assert fabric.goodput(9600).share == pytest.approx(0.97, abs=0.01)
    # FT-HSDP, arXiv 2602.00277: 44 % with stalls of 10 minutes and 80 % of 3 at 100,000 chips lie in the interval of published fleets
    stalls = fabric.goodput(100_000, restart=[600, 180])
    assert np.all((stalls.low < [0.44, 0.8]) & (stalls.high > [0.44, 0.8]))


def test_each_thing_that_goes_wrong_costs():
    def share(**how):
        return float(fabric.goodput(16_384, resilience=fabric.Resilience(**how)).share)

    best = share()
    assert share(slowdown=0.05) == pytest.approx(0.95 * best)
    assert share(maintenance=0.02) == pytest.approx(0.98 * best)
    # 6 silent corruptions in 54 days (Llama 3, table 5), each noticed after 6 hours: 1.5 days of 54
    assert share(corruption_rate=6 / 54 * 365.25 / 16_384) == pytest.approx(best / (1 + 36 / 54 / 24), rel=1e-6)
    assert share(spares=0) < share(spares=4) < share(spares=64) == pytest.approx(best)
    assert share(detection=300) < best < share(partial=0.25)
    with pytest.raises(InputError, match="partial = 0"):
        fabric.Resilience(partial=0)


def test_checkpoints_as_published():
    # TorchSnapshot, benchmarks/ddp: 20 GB to local disks from 8 A100 in 3.38 s, from 32 in 1.29 s
    local = fabric.storage(20e9, [8, 32], bytes_per_param=1, medium="local NVMe", method="synchronous")
    assert local.stall.tolist() == pytest.approx([3.38, 1.29], rel=0.3)
    # dgxc-benchmarking: 105 GB of a checkpoint of Llama 3.1 8B
    assert fabric.storage(8.03e9, 8).bytes == pytest.approx(105e9, rel=0.1)
    # DLRover: 0.2 s for GLM-65B on 1,536 H800, in memory
    assert fabric.storage(65e9, 1536, method="in-memory").stall == pytest.approx(0.2, rel=0.2)
    waits = [float(fabric.storage(405e9, 512, method=how).stall) for how in ("in-memory", "asynchronous", "synchronous")]
    assert waits[0] == waits[1] < waits[2]
    with pytest.raises(InputError, match="medium = 'floppy'"):
        fabric.storage(8e9, 8, medium="floppy")


def test_a_step_starves_where_data_come_too_slowly():
    slow = fabric.storage(8e9, 64, medium="NAS", tokens_per_second=[1e6, 50e6], bytes_per_token=4)
    assert slow.read.tolist() == [4e6, 200e6]
    assert slow.starved.tolist() == [0, 0.5]
    tree = fabric.fat_tree(4608, 144, 100e9)
    prices = {"switch_usd": 1, "optic_usd": 1, "cable_usd": 1, "nic_usd": 1, "switch_watts": 1}
    bill = fabric.bill(tree, **prices, storage_bytes=slow.capacity, storage_usd_per_tb=100)
    assert bill.usd["storage"] == pytest.approx(3 * 14 * 8e9 / 1e12 * 100)


def test_what_is_not_given_of_failures_widens_the_time_between_them():
    # rates of failures of Llama 3, BLOOM, 504 B200 and OPT-175B: 90 restarts in 56 days on 1,024 A100 are the most of these
    known, unknown = fabric.goodput([1024, 16_384], failure_rate=0.3), fabric.goodput([1024, 16_384])
    assert (known.mtbf_low == known.mtbf).all()
    assert (known.mtbf_high == known.mtbf).all()
    assert (unknown.mtbf_low < unknown.mtbf).all()
    assert (unknown.mtbf < unknown.mtbf_high).all()
    assert float(unknown.mtbf_low[0]) == pytest.approx(56 * 86_400 / 90, rel=0.01)


@pytest.mark.parametrize("method", ["synchronous", "asynchronous", "in-memory"])
def test_times_of_checkpoints_have_intervals(method):
    found = fabric.storage(70e9, [8, 1024], medium="local NVMe", method=method)
    for name in ("stall", "save", "load", "startup"):
        value, low, high = (getattr(found, name + end) for end in ("", "_low", "_high"))
        assert (low < value).all()
        assert low * high == pytest.approx(value**2)


def test_half_widths_of_storage_are_those_that_the_command_makes(tmp_path):
    lines = ["system,method,storage,size_gb,params_b,n_chips,save_block_s,save_total_s,load_s,startup_s,restart_s,source"]
    lines += [f"a,,,,405.9,{512 * (i + 1)},,,,{486 * ratio},,source {i % 2}" for i, ratio in enumerate((0.7, 1.0, 1.1, 1.6))]
    lines += [f"a,synchronous,NVMe,20,,8,,{20 / 4.8 * ratio},,,,b" for ratio in (0.9, 1.0, 1.25)]
    lines += ["a,in-memory,host memory,20,,8,0.5,,,,,b"]
    (tmp_path / "rows.csv").write_text("\n".join(lines))
    made = calibrate("goodput", tmp_path / "rows.csv")["storage_errors"]
    assert made["case"].to_list() == list(CASES)
    width = dict(made.select("case", "half_width").iter_rows())
    assert width["saves and loads"] == pytest.approx(np.log(1.25), abs=1e-4)  # the largest of three
    assert width["starts"] > np.log(1.6)  # by the other source alone
    job = fabric.storage(405e9, 1024, method="synchronous")
    shipped = {case: evidence.half_width(ERRORS, [case]) for case in CASES}
    assert np.log(job.save_high / job.save) == pytest.approx(shipped["saves and loads"])
    assert np.log(job.startup_high / job.startup) == pytest.approx(shipped["starts"])
    with tables.instead({ERRORS: made}):
        assert np.log(fabric.storage(405e9, 1024).startup_high / job.startup) == pytest.approx(width["starts"])
