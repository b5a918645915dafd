import dataclasses

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench import catalogue, tables
from workbench.chips import Load, ServingPlan, serving, slo_frontier
from workbench.chips.serving import constants as calibration
from workbench.chips.serving import nearby
from workbench.chips.serving.loops import Queue, closed_loop, offline, open_loop
from workbench.chips.serving.work import CONSTANTS, demand_of
from workbench.errors import InputError, UnknownName
from workbench.fabric import Cluster

H100 = Cluster(catalogue.chip("H100"), 64, "InfiniBand NDR")
#: Constants of a machine without overheads, which streams and computes as its data sheet says.
IDEAL = {name: 1.0 for name in calibration.POOL.names} | {
    name: 0.0
    for name in (
        *("start", "volume", "layer", "mixture", "step", "sequence", "mix", "first", "turns", "gather", "burst"),
        *("dispatch", "swap", "draft", "passed", "routed"),
    )
}
IDEAL["feed"] = np.inf


@pytest.fixture(scope="module")
def llama():
    return catalogue.llm("Llama-3.1-70B")


def test_one_user_and_long_output_is_bandwidth_bound(llama):
    # 70.6 G weights but the input embedding at one byte, the head at two, over 4 chips of 3.35 TB/s: about 5.3 ms
    demand = demand_of(llama, H100, ServingPlan(4, "fp8", "fp8"), Load(1, 16, 4096))
    weights = llama.params - llama.vocab * llama.hidden
    kv = llama.kv_bytes(16 + 2048, 1)
    arithmetic = 0.3 * 2 * weights / (4 * 1979e12)
    wide = llama.vocab * llama.hidden + (2 * llama.layers + 1) * llama.hidden  # head and norms: another byte each
    assert closed_loop(demand, IDEAL).tpot == pytest.approx((weights + wide + kv) / (4 * 3.35e12) + arithmetic, rel=1e-9)


def test_no_constant_is_outside_its_bound():
    bounds = {c.name: c.most for c in CONSTANTS}
    of_rates = ("stream", "experts", "cache", "compute", "prefill", "grouped", "attention", "hidden")
    assert all(bounds[name] < 1 for name in of_rates)
    for row in catalogue.table(calibration.INDEX).iter_rows(named=True):
        at = ("chip", "precision", "framework", "version", "measured_by", "model", "kind")
        values = calibration.POOL.of(calibration.Origin(**{name: row[name] or "" for name in at}))
        assert all(0 < value <= bounds[name] for name, value in values.items())


def test_a_chip_with_little_arithmetic_for_its_memory_reaches_more_of_it(llama):
    reached = {}
    for name in ("H20", "H100"):
        demand = demand_of(llama, Cluster(catalogue.chip(name), 8, "InfiniBand NDR"), ServingPlan(1, "fp8", "fp8"), Load(1, 16, 16))
        plain, fed = (demand._products(IDEAL | {"feed": feed}, 0.7) for feed in (np.inf, 2000.0))
        reached[name] = plain / fed
        assert fed == pytest.approx(plain + llama.used_params / (2000 * demand.bandwidth), rel=1e-9)
    assert reached["H100"] < reached["H20"] < 1


def test_prompts_hide_the_exchange_of_experts_beyond_a_domain():
    # LMSYS, large-scale expert parallelism (May 2025): 7,209 to 6,439 tokens/s per H100 in prefill over EP32, two micro-batches
    demand = demand_of(catalogue.llm("DeepSeek-V3"), H100, ServingPlan(1, attention_dp=32), Load(1, 4096, 1))
    assert demand.ep_crosses
    c = IDEAL | {"swap": 2.0, "hidden": 0.5, "feed": 2000.0}
    assert demand.prefill(c) == pytest.approx(demand.prefill(c | {"swap": 1.0, "hidden": 0.1}))  # neither counts there
    exchange = demand._exchanged(c | {"hidden": 0.0}, 128.0, 0.0)
    assert demand.prefill(c) < 2 * exchange


def test_power_counts_weights_of_any_format_alike(llama):
    use = [demand_of(llama, H100, ServingPlan(4, p, "fp8"), Load(8, 1024, 256)).used(8.0, 1152.0, 0.02) for p in ("bf16", "fp8")]
    assert use[0] == pytest.approx(use[1])
    assert use[0][1] > 2 * llama.read_params / 4 / (0.02 * 3.35e12)


def test_no_step_beats_the_memory(llama):
    fast = IDEAL | {"scale": 0.1}
    demand = demand_of(llama, H100, ServingPlan(4, "fp8", "fp8"), Load(1, 16, 4096))
    read = llama.weight_bytes("fp8") - 2 * llama.vocab * llama.hidden + llama.kv_bytes(16 + 2048, 1)
    assert closed_loop(demand, fast).step == pytest.approx(read / (4 * 3.35e12), rel=1e-6)


def test_weights_of_four_bits_are_expanded_where_a_chip_lacks_them(llama):
    narrow, wide = (demand_of(llama, H100, ServingPlan(4, name), Load(1, 1024, 64)) for name in ("nvfp4", "bf16"))
    assert narrow.peak == wide.peak == H100.chip.peaks["bf16"]
    assert narrow.read < 0.35 * wide.read


def test_a_chip_of_eight_bits_expands_four_to_eight_and_one_of_four_bits_has_a_quarter_for_the_rest():
    phone, spark = Cluster("Snapdragon 8 Gen 3", 1), Cluster("GB10", 1)
    four, eight = (demand_of(catalogue.llm("Llama-3.1-8B"), phone, ServingPlan(1, name), Load(1, 1024, 64)) for name in ("int4", "int8"))
    assert four.peak == eight.peak == 2 * eight.peak16 == phone.chip.peaks["int8"]
    assert four.read < 0.62 * eight.read  # the head has sixteen bits in both
    assert demand_of(catalogue.llm("Llama-3.1-8B"), spark, ServingPlan(1, "nvfp4"), Load(1, 1024, 64)).peak16 == spark.chip.peaks["fp4"] / 4
    found = slo_frontier("Llama-3.1-8B", phone, Load(1, 512, 128), precisions=("int4", "int8", "fp8", "bf16"), concurrency=1, within="any")
    assert set(found["precision"]) == {"int4"}  # the fastest; eight bits run, too, sixteen do not
    with pytest.raises(InputError, match="has no bf16 peak; it has fp32, fp4"):
        serving("Llama-3.1-8B", spark, ServingPlan(1, "int4"), Load(1, 512, 128))


@pytest.mark.parametrize(
    ("chip", "precision", "published"),
    [("Snapdragon 8 Gen 3", "int4", 20), ("M4", "int4", 20.87), ("Groq LPU v1", "bf16", 750)],
)
def test_chips_that_nobody_measured_serve_as_published_within_their_interval(chip, precision, published):
    # Qualcomm: 20 tokens/s; normiebench, issue 3 (llama.cpp, q4_k_m); Cerebras at launch: 1,800 tokens/s, 2.4 times as fast as Groq
    plan = ServingPlan(8, precision, pp=16) if chip.startswith("Groq") else ServingPlan(1, precision)
    found = serving("Llama-3.1-8B", Cluster(chip, 128), plan, Load(1, 512, 128))
    assert found.tpot_low < 1 / published < found.tpot_high


@pytest.mark.parametrize(
    ("model", "precision", "context", "mebibytes"),
    [("Qwen3-8B", "bf16", 2049, 15947), ("Qwen3-4B", "bf16", 16_384, 10_011), ("Qwen3-32B", "bf16", 16_384, 66_632)],
)
def test_weights_and_cache_are_what_a_device_holds(model, precision, context, mebibytes):
    # Qwen3 documentation, speed benchmark, Transformers: memory in all, printed as MB that are MiB
    llm = catalogue.llm(model)
    assert llm.weight_bytes(precision) + float(llm.kv_bytes(context, 2)) == pytest.approx(mebibytes * 2**20, rel=0.08)


def test_a_long_prompt_alone_takes_its_arithmetic():
    # Qwen3-4B on one H20: 2 n 4.0e9 + 2 n^2/2 36 layers 32 heads 2 x 128 = 1.7e15 FLOP for 63,488 tokens, 12 s at 148 TFLOP/s
    h20 = Cluster(catalogue.chip("H20"), 8, "InfiniBand NDR")
    long = dataclasses.replace(catalogue.llm("Qwen3-4B"), context=1 << 17)
    point = serving(long, h20, ServingPlan(1, "bf16", "bf16"), Load(1, 63_488, 2048), framework="SGLang")
    assert 12 < point.prompt < 60
    assert point.ttft < 1.5 * point.prompt


def test_a_limit_to_requests_in_flight_is_answered_beyond_what_is_served_for_good(llama):
    rate = {"input_tokens": 1024, "output_tokens": 256, "rate": 500.0}
    run, crowd = (serving(llama, H100, ServingPlan(8), Load(100, **rate)), serving(llama, H100, ServingPlan(8), Load(100, 1024, 256)))
    assert run.feasible
    assert float(run.tpot) == pytest.approx(float(crowd.tpot))
    assert not serving(llama, H100, ServingPlan(8), Load(1, **rate)).feasible


RUN = {"concurrency": 1, "input_tokens": 4096, "output_tokens": 64}


@pytest.mark.parametrize(("n", "use"), [(30, 0.5), (30, 0.98), (300, 0.98), (300, 1.0), (300, 1.4), (2000, 0.8)])
def test_prompts_of_a_run_wait_as_simulated(llama, n, use):
    # Lindley's recursion, a prompt after the other, in the mean of many runs
    c = IDEAL | {"admission": 1e9}
    demand = demand_of(llama, H100, ServingPlan(8), Load(**RUN, rate=1.0, requests=n))
    prompt = float(demand.prefill(c))
    between, wait, total = np.random.default_rng(0).exponential(prompt / use, (4000, n - 1)), np.zeros(4000), np.zeros(4000)
    for gap in between.T:
        wait = np.maximum(wait + prompt - gap, 0.0)
        total += wait
    queue = Queue.of(dataclasses.replace(demand, rate=use / prompt), c)
    assert float(queue.chance + queue.wait()) == pytest.approx(total.mean() / n, rel=0.04)


def test_a_long_run_is_the_steady_state_and_a_burst_the_wait_for_all_before(llama):
    c = calibration.basis(llama, "H100", "fp8").constants
    steady, run = (demand_of(llama, H100, ServingPlan(8), Load(**RUN, rate=0.7, requests=n)) for n in (None, 1e6))
    steady, run = (dataclasses.replace(one, rate=0.7 / one.prefill(c)) for one in (steady, run))
    assert float(open_loop(run, c).ttft) == pytest.approx(float(open_loop(steady, c).ttft), rel=0.01)
    assert float(open_loop(run, c).batch) == pytest.approx(float(open_loop(steady, c).batch), rel=0.02)
    burst = serving(llama, H100, ServingPlan(8), Load(**RUN, rate=np.inf, requests=[1, 40, 80]))
    assert burst.feasible.all()
    assert burst.ttft[2] - burst.ttft[0] == pytest.approx(79 / 2 * float(burst.prompt[0]), rel=0.05)
    assert (burst.ttft_p99[1:] > 1.5 * burst.ttft[1:]).all()
    assert not serving(llama, H100, ServingPlan(8), Load(**RUN, rate=np.inf)).feasible


def test_beyond_what_the_cache_admits_the_wait_grows_with_the_run(llama):
    n = np.array([50, 500, 5000])
    found = serving(llama, H100, ServingPlan(2), Load(1, 1024, 1024, rate=100.0, requests=n))
    assert (np.diff(found.ttft) > 0).all()
    assert float(found.batch[2]) < n[2]  # as many as fit
    assert found.ttft[2] / found.ttft[1] > 8
    best = serving(llama, H100, ServingPlan(2), Load(np.inf, 1024, 1024)).tokens_per_second
    assert float(found.tokens_per_second[2]) == pytest.approx(float(best), rel=0.5)


def test_requests_of_a_run_need_their_rate(llama):
    with pytest.raises(InputError, match="requests: they are those of a run with arrivals at a rate"):
        serving(llama, H100, ServingPlan(8), Load(4, 1024, 256, requests=100))


def test_prompts_of_users_who_start_at_once_wait_for_each_other_in_the_mean_of_a_run(llama):
    users = np.array([1, 8, 64])
    with tables.instead({nearby.TABLE: tables.load(nearby.TABLE).clear()}):  # what rows near by say differs by users
        mean, steady = (serving(llama, H100, ServingPlan(8), Load(users, 1024, 256, requests=n)).ttft for n in (None, np.inf))
    assert mean[0] == pytest.approx(steady[0])
    later = (mean - steady)[1:]
    assert (later > 0).all()
    assert later[1] / later[0] == pytest.approx(63 / 7)
    assert (mean <= steady + (users - 1) / 2 * serving(llama, H100, ServingPlan(8), Load(users, 1024, 256)).prompt * 2).all()


def test_prompts_apart_wait_for_those_of_the_start_by_replica(llama):
    cluster, load = Cluster(catalogue.chip("H100"), 64, "InfiniBand NDR"), Load(64, 1024, 1024)
    one, four = (serving(llama, cluster, ServingPlan(8), load, prefill=ServingPlan(8, replicas=n)) for n in (1, 4))
    assert one.ttft > four.ttft


def test_acceptance_is_that_of_the_model_or_the_mean_of_all():
    # data/acceptance.csv: Kimi-K2.5 with EAGLE3 yields 1.83 (thinking) and 1.80 tokens a step with one drafted
    plan, load = ServingPlan(8, "fp8"), Load(1, 1024, 256, draft_tokens=[0, 1, 4])
    h200 = Cluster(catalogue.chip("H200"), 64, "InfiniBand NDR")
    known = demand_of(catalogue.llm("Kimi-K2.5"), h200, plan, load).acceptance_length
    assert known[:2] == pytest.approx([1.0, 1.815])
    other = demand_of(catalogue.llm("Mixtral-8x7B"), h200, plan, load).acceptance_length
    assert (np.diff(other) > 0).all()
    assert other[1] != known[1]


def test_published_point(llama):
    # InferenceX, Llama-3.3-70B in fp8 on one H200 with TensorRT-LLM, 16 users, 8192 in, 1024 out at .9 of it: 39.3 ms a token
    h200 = Cluster(catalogue.chip("H200"), 8, "InfiniBand NDR")
    point = serving(llama, h200, ServingPlan(1, "fp8", "fp8"), Load(16, 7372, 921), framework="TensorRT-LLM")
    assert point.tpot_low < 39.3e-3 < point.tpot_high
    assert point.tpot == pytest.approx(39.3e-3, rel=0.3)


def test_model_that_does_not_fit_is_a_result_with_the_missing_bytes(llama):
    point = serving(llama, H100, ServingPlan(1, "bf16", "bf16"), Load(8, 1024, 128))
    assert not point.feasible
    assert point.tokens_per_second == 0
    assert point.tpot == np.inf
    # 141 GB of weights, input embedding included, and 0.4 GB of cache against 0.94 * 85.5 - 2 GB
    assert point.missing_bytes == pytest.approx(141.1e9 + 0.38e9 - 78.4e9, rel=0.01)


def test_cache_limits_the_batch(llama):
    point = serving(llama, H100, ServingPlan(4, "fp8", "bf16"), Load([16, 10_000], 4096, 1024))
    assert point.batch[0] == 16
    free = 4 * (0.94 * H100.chip.hbm_bytes - 2e9) - llama.weight_bytes("fp8")
    assert point.batch[1] == pytest.approx(free / llama.kv_bytes(4096 + 0.6 * 1024, 2), rel=0.4)
    assert point.ttft[1] > 10 * point.ttft[0]  # who does not fit waits


def test_mixture_reads_only_the_experts_its_batch_touches():
    mixtral = catalogue.llm("Mixtral-8x7B")
    one, many = (closed_loop(demand_of(mixtral, H100, ServingPlan(8), Load(b, 16, 16)), IDEAL).tpot for b in (1, 64))
    assert one < 0.45 * many  # 2 of 8 experts against all of them


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 512), st.integers(1, 8192), st.integers(2, 2048))
def test_more_users_are_slower_for_each_and_faster_for_all(llama, users, s_in, s_out):
    few, more = (serving(llama, H100, ServingPlan(8), Load(n, s_in, s_out)) for n in (users, users + 1))
    if more.batch < users + 1:
        return  # the cache is full: from here on users wait
    assert more.tpot >= few.tpot * (1 - 1e-12)
    assert more.tokens_per_second >= few.tokens_per_second * (1 - 1e-9)  # level where prompts alone count


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 256), st.integers(16, 4096), st.integers(2, 1024))
def test_littles_law_holds(llama, users, s_in, s_out):
    point = serving(llama, H100, ServingPlan(8), Load(users, s_in, s_out))
    seconds = point.ttft + (s_out - 1) * point.tpot
    assert float(point.tokens_per_second / s_out * seconds) == pytest.approx(users)


def test_twice_the_rates_and_half_the_latencies_halve_every_time(llama):
    plan, load = ServingPlan(4), Load(32, 1024, 256)
    c = calibration.basis(llama, "H100", "fp8", "vLLM").constants
    fast = c | {name: c[name] / 2 for name in ("start", "layer", "mixture", "step", "sequence", "first", "volume")}
    chip = dataclasses.replace(H100.chip, hbm_bandwidth=2 * H100.chip.hbm_bandwidth, peaks={k: 2 * v for k, v in H100.chip.peaks.items()})
    before = closed_loop(demand_of(llama, H100, plan, load), c)
    after = closed_loop(demand_of(llama, Cluster(chip, 64, "InfiniBand NDR"), plan, load), fast)
    assert float(after.tpot) == pytest.approx(float(before.tpot) / 2)
    assert float(after.ttft) == pytest.approx(float(before.ttft) / 2)


def test_many_users_tend_to_the_offline_maximum(llama):
    c = calibration.basis(llama, "H100", "fp8").constants | {"mix": 1.0, "first": 0.0, "turns": 0.0, "burst": 0.0}
    demand = demand_of(llama, H100, ServingPlan(8), Load(np.inf, 512, 512))
    best, loop = offline(demand, c, 1e9), closed_loop(demand, c)
    assert float(loop.tokens_per_second) == pytest.approx(float(best.tokens_per_second), rel=0.01)


def test_the_open_loop_carries_what_arrives_until_it_cannot(llama):
    rates = np.array([0.1, 1.0, 5.0, 500.0])
    point = serving(llama, H100, ServingPlan(8), Load(1, 1024, 256, rate=rates))
    assert point.tokens_per_second[:3] == pytest.approx(rates[:3] * 256, rel=1e-3)
    assert (np.diff(point.tpot[:3]) > 0).all()
    assert not point.feasible[3]  # an unstable queue
    assert (point.ttft_p99[:3] >= point.ttft[:3]).all()
    assert (point.tpot_p99[:3] >= point.tpot[:3]).all()
    assert (point.ttft_p99_low < point.ttft_p99)[:3].all()
    assert (point.tpot_p99 < point.tpot_p99_high)[:3].all()


def test_speculation_helps_few_users_and_not_many(llama):
    # Leviathan et al. (2023): (1 - a^(g + 1)) / (1 - a) tokens a step; memory-bound steps verify for free, compute-bound ones do not;
    # engines take time of their own to draft
    c = calibration.basis(llama, "H100", "fp8").constants

    def gain(users, acceptance=0.7, draft=0.0):
        loads = (Load(users, 16, 512, draft_tokens=g, acceptance_rate=acceptance) for g in (0, 3))
        plain, drafted = (closed_loop(demand_of(llama, H100, ServingPlan(8), load), c | {"draft": draft}) for load in loads)
        return float(plain.tpot / drafted.tpot)

    expected = (1 - 0.7**4) / (1 - 0.7)
    assert 0.85 * expected < gain(1) < expected
    assert gain(512) < gain(1)
    assert gain(1, draft=c["draft"]) < gain(1)
    assert gain(1, acceptance=0.0) < 1


def test_a_drafted_token_takes_the_time_of_a_layer_and_of_the_head(llama):
    loads = [Load(1, 16, 512, draft_tokens=1, acceptance_rate=0.0, draft_share=share) for share in (0.0, None)]
    free, whole = (closed_loop(demand_of(llama, H100, ServingPlan(8, "fp8"), load), IDEAL).tpot for load in loads)
    head = 2 * llama.vocab * llama.hidden / 8 / 3.35e12
    assert whole == pytest.approx(free * (1 + 1 / llama.layers) + head, rel=1e-9)


def test_other_text_gains_a_share_of_published_curves_and_stated_rates_count_as_they_are(llama):
    loads = (Load(1, 16, 512, draft_tokens=3), Load(1, 16, 512, draft_tokens=3, acceptance_rate=0.7))
    for load, moves in zip(loads, (True, False), strict=True):
        demand = demand_of(llama, H100, ServingPlan(8, "fp8"), load)
        most, half = (closed_loop(demand, IDEAL | {"accepted": share}).tpot for share in (1.0, 0.5))
        length = float(demand.acceptance_length)
        assert half / most == pytest.approx(length / (1 + (length - 1) / 2) if moves else 1.0, rel=1e-9)


def test_a_state_is_kept_after_every_drafted_token():
    linear = catalogue.llm("Qwen3.5-27B")
    plain, drafted = (demand_of(linear, H100, ServingPlan(8), Load(64, 16, 512, draft_tokens=g, draft_share=0.0)) for g in (0, 1))
    moved = drafted.decode(IDEAL | {"passed": 0.0}, 64, 16) * drafted.acceptance_length - plain.decode(IDEAL, 64, 16)
    assert moved > 0.9 * 64 * linear.other.state / 8 / 3.35e12  # and arithmetic of twice the tokens


def test_a_cached_prefix_saves_its_prefill(llama):
    cold, warm = (serving(llama, H100, ServingPlan(8), Load(64, 8000, 200, prefix_hit_rate=h)) for h in (0.0, 0.9))
    assert warm.ttft < 0.5 * cold.ttft
    assert warm.prompt < 0.2 * cold.prompt


def test_open_loop_prompts_wait_longer_when_the_queue_is_busy(llama):
    c = calibration.basis(llama, "H100", "fp8", mode="open").constants
    demand = demand_of(llama, H100, ServingPlan(8), Load(1, 4096, 16))
    busy = 0.9 / demand.prefill(c)
    calm, full = (open_loop(dataclasses.replace(demand, rate=rate), c) for rate in (busy / 10, busy))
    assert full.ttft > calm.ttft + 2 * demand.prefill(c)


def test_broadcasting_equals_single_calls(llama):
    tp, users = np.array([[2], [4], [8]]), np.array([1, 16, 256, 4096])
    grid = serving(llama, H100, ServingPlan(tp, "fp8"), Load(users, 1024, 256))
    assert grid.tpot.shape == (3, 4)
    single = serving(llama, H100, ServingPlan(8, "fp8"), Load(256, 1024, 256))
    assert grid.tokens_per_second_per_chip[2, 2] == pytest.approx(float(single.tokens_per_second_per_chip))


def test_a_model_of_the_same_dimensions_counts_as_measured():
    assert calibration.measured_as(catalogue.llm("Llama-3.3-70B")) == "Llama-3.1-70B"
    assert calibration.measured_as(catalogue.llm("GPT-3-175B")) == "GPT-3-175B"


def test_what_was_not_measured_has_a_wider_interval():
    known = serving("Llama-3.1-70B", H100, ServingPlan(8), Load(8, 512, 128))
    unknown = serving("Llama-3.1-70B", Cluster("Maia 100", 8), ServingPlan(8, "bf16"), Load(8, 512, 128))
    assert known.rate_high / known.rate_low <= unknown.rate_high / unknown.rate_low


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda llm: serving(llm, Cluster(catalogue.chip("A100"), 8), ServingPlan(8, "fp8"), Load(1, 1, 1)), "has no fp8 peak"),
        (lambda llm: ServingPlan(8, "fp7"), "precision = 'fp7': expected one of fp32, bf16, fp16, fp8"),
        (lambda llm: ServingPlan(0), "tp = 0: expected a whole number 1 or more"),
        (lambda llm: ServingPlan([1, 2], pp=[1, 2, 4]), r"tp of shape \(2,\) and pp of shape \(3,\) do not broadcast"),
        (lambda llm: ServingPlan(8, "fp8", "mxfp6"), "kv_precision = 'mxfp6': expected one of fp32, bf16, fp16, fp8, mxfp8, fp4, mxfp4"),
        (lambda llm: ServingPlan(8, "tf32"), "precision = 'tf32': expected one of fp32, bf16, fp16, fp8"),
        (lambda llm: serving(llm, H100, ServingPlan([1, 2]), Load([1, 2, 4], 1, 1)), r"tp of shape \(2,\) and concurrency of shape \(3,\)"),
        (lambda llm: Load(0, 1, 1), "concurrency = 0: expected 1 or more"),
        (lambda llm: Load(1, np.inf, 1), "input_tokens = inf: expected 1 or more"),
        (lambda llm: Load(1, 1, 0), "output_tokens = 0: expected 1 or more"),
        (lambda llm: Load(1, 1, 1, draft_tokens=np.inf), "draft_tokens = inf: expected 0 or more"),
        (lambda llm: Load(1, 1, 1, draft_share=np.inf), "draft_share = inf: expected 0 or more"),
        (lambda llm: Load(1, 1, 1, prefix_hit_rate=1.0), "prefix_hit_rate = 1: expected 0 or more and less than 1"),
        (lambda llm: Load(1, 1, 1, rate=0), "rate = 0: expected more than 0"),
    ],
)
def test_bad_input(llama, call, reason):
    with pytest.raises(InputError, match=reason):
        call(llama)


def test_a_pipeline_raises_throughput_and_not_the_speed_of_a_token(llama):
    flat, deep = (serving(llama, H100, ServingPlan(4, pp=pp), Load(np.array([1, 256]), 128, 512)) for pp in (1, 2))
    assert deep.tpot[0] >= flat.tpot[0] * 0.99  # one token still crosses every layer
    assert deep.tokens_per_second[1] > 1.1 * flat.tokens_per_second[1]


def test_reasons_are_words(llama):
    small = serving(llama, H100, ServingPlan(1, "bf16", "bf16"), Load(8, 1024, 128))
    late = serving(llama, H100, ServingPlan(8), Load(1, 1024, 256, rate=500.0))
    assert "do not fit" in str(small.reason)
    assert "unstable" in str(late.reason)
    assert late.ttft_p99 == np.inf
    assert serving(llama, H100, ServingPlan(8), Load(1, 1024, 256)).ttft_p99 is None  # the closed loop says means alone
    with pytest.raises(InputError, match="sends a token to 9 experts and has 8"):
        serving(dataclasses.replace(catalogue.llm("Mixtral-8x7B"), experts_per_token=9), H100, ServingPlan(8), Load(1, 1, 1))


@pytest.mark.parametrize(
    ("name", "plan", "tokens", "reason"),
    [
        # 64 heads: vLLM stops at tp 3, 5 and 6 [vllm, 11147]; 8 of keys and values
        *(("Llama-3.1-70B", {"tp": tp}, 1024, "tp does not divide the attention heads") for tp in (3, 5, 6, 7)),
        ("Qwen2.5-7B", {"tp": 8}, 1024, "tp does not divide the attention heads"),
        ("Qwen2.5-7B", {"tp": 7}, 1024, "the key-value heads are neither a multiple nor a divisor of tp"),
        ("Llama-3.1-8B", {"tp": 1, "pp": 33}, 1024, "pp is more than the layers"),
        ("Llama-3.1-70B", {"tp": 64, "pp": 2}, 1024, "more chips than the cluster has"),
        ("Llama-3.1-70B", {"tp": 8}, 131_000, "beyond the context window"),
    ],
)
def test_what_cannot_be_is_a_result_of_its_own_entry(name, plan, tokens, reason):
    llm, good = catalogue.llm(name), {"tp": 4, "pp": 1}
    alone = serving(llm, H100, ServingPlan(precision="fp8", **plan), Load(4, tokens, 256))
    assert (alone.feasible, alone.tpot, alone.tokens_per_second, str(alone.reason)) == (False, np.inf, 0, reason)
    both = serving(llm, H100, ServingPlan(precision="fp8", **{k: [good[k], v] for k, v in plan.items()}), Load(4, [1024, tokens], 256))
    assert both.feasible.tolist() == [True, False]
    assert both.reason.tolist() == ["", reason]
    fine = serving(llm, H100, ServingPlan(precision="fp8", **{k: good[k] for k in plan}), Load(4, 1024, 256))
    assert both.tpot[0] == fine.tpot


def test_an_unknown_framework_is_named(llama):
    with pytest.raises(UnknownName, match="unknown serving framework 'vllm2'; nearest: vLLM"):
        serving(llama, H100, ServingPlan(8), Load(1, 1, 1), framework="vllm2")
    with pytest.raises(InputError, match=r"version = '0\.19': give its framework too"):
        serving(llama, H100, ServingPlan(8), Load(1, 1, 1), version="0.19")


def test_replicas_share_the_load(llama):
    one, four = (serving(llama, H100, ServingPlan(4, replicas=n), Load(16 * n, 1024, 256)) for n in (1, 4))
    assert (float(four.tpot), float(four.tokens_per_second_per_chip)) == (float(one.tpot), float(one.tokens_per_second_per_chip))
    assert float(four.tokens_per_second) == pytest.approx(4 * float(one.tokens_per_second))
    assert "more chips" in str(serving(llama, H100, ServingPlan(4, replicas=17), Load(1, 1024, 256)).reason)


def test_prompts_on_replicas_of_their_own_never_interrupt_a_token(llama):
    # TPOT is the step alone; throughput is the lesser of what decodes and what the prompts let through, over the chips of both
    plan, load, few = ServingPlan(4, replicas=2), Load([8, 4096], 4096, 256), ServingPlan(4)
    apart = serving(llama, H100, plan, load, prefill=few)
    assert (apart.tpot == apart.step).all()
    assert apart.tokens_per_second / apart.tokens_per_second_per_chip == pytest.approx(12)
    assert (apart.tokens_per_second <= 256 / apart.prompt).all()
    more = serving(llama, H100, plan, load, prefill=dataclasses.replace(few, replicas=2))
    assert (more.ttft <= apart.ttft).all()
    assert (more.tokens_per_second >= apart.tokens_per_second).all()
    assert "do not fit" in str(serving(llama, H100, ServingPlan(8), Load(1, 1, 1), prefill=ServingPlan(1, "bf16")).reason)
    with pytest.raises(InputError, match="rate and prefill"):
        serving(llama, H100, plan, Load(1, 1, 1, rate=1.0), prefill=few)


def test_without_a_limit_it_is_the_offline_maximum_entry_by_entry(llama):
    both = serving(llama, H100, ServingPlan(8), Load([64, np.inf], 512, 512))
    each = [serving(llama, H100, ServingPlan(8), Load(n, 512, 512)) for n in (64, np.inf)]
    for name in ("tpot", "ttft", "tokens_per_second", "tpot_low", "rate_high", "watts_per_chip"):
        assert getattr(both, name) == pytest.approx([float(getattr(one, name)) for one in each], rel=1e-12), name


def test_power_is_between_idle_and_the_limit(llama):
    point = serving(llama, H100, ServingPlan(8), Load([1, 512], 1024, 1024))
    assert ((point.watts_per_chip > 0.1 * H100.chip.tdp) & (point.watts_per_chip <= H100.chip.tdp)).all()
    assert point.watts_per_chip[1] > point.watts_per_chip[0]
    assert point.joules_per_token == pytest.approx(point.watts_per_chip / point.tokens_per_second_per_chip)
    assert ((point.joules_low < point.joules_per_token) & (point.joules_per_token < point.joules_high)).all()
    unknown = dataclasses.replace(H100.chip, tdp=None)
    assert serving(llama, Cluster(unknown, 64), ServingPlan(8), Load(1, 1, 1)).watts_per_chip is None


def test_what_is_not_said_is_that_of_the_nearest_and_newest():
    index = catalogue.table(calibration.INDEX)
    llm, plan, load = "gpt-oss-120b", ServingPlan(8, "fp4"), Load(64, 1024, 1024)
    b200 = Cluster("B200", 8)
    exact = index.filter(
        (pl.col("model") == llm) & (pl.col("chip") == "B200") & (pl.col("mode") == "closed") & (pl.col("framework") == "vLLM")
    )
    newest = calibration.ranks(exact["date"].fill_null("").to_list())
    found = serving(llm, b200, plan, load, framework="vLLM").evidence
    assert (found.distance, found.differs, found.rows) == (0.0, (), exact["rows"].sum())
    assert found.near["date"][0] == exact["date"][int(np.argmax(newest))]
    assert serving(llm, b200, plan, load).evidence.distance == 0.0
    measured = exact["version"].drop_nulls()[0]
    said = serving(llm, b200, plan, load, framework="vLLM", version=measured)
    assert said.evidence.near["version"][0] == measured
    later = serving(llm, b200, plan, load, framework="vLLM", version="99.0").evidence
    assert (later.differs, later.distance < 1) == (("version",), True)
    far = serving("GPT-3-175B", Cluster("Maia 100", 64), ServingPlan(8, "bf16"), load).evidence
    assert ({"model", "chip"} <= set(far.differs), far.rows) == (True, 0)


def test_constants_have_priors_and_levels():
    named = calibration.Origin("H100", "fp8", "vLLM", measured_by="own", kind="dense")
    assert calibration.POOL.nodes(named)["cell"] == "vLLM|own||H100|fp8"
    assert all(c.prior > 0 and c.spread > 0 and c.meaning for c in calibration.CONSTANTS)


@pytest.fixture
def beside():
    """A system that was measured, what is asked at one of its places, and where rows near by were; others far away."""
    row = catalogue.table(nearby.TABLE).filter(mode="closed", framework="vLLM", model="Llama-3.1-70B", chip="H100").row(0, named=True)
    users, asked, written, tp, groups, _ = 2.0 ** np.array(row["place"].split(), dtype=float)
    origin = calibration.Origin("H100", row["precision"], "vLLM", row["version"] or "", model="Llama-3.1-70B")
    return origin, ServingPlan(tp, row["precision"], attention_dp=groups), Load(users, asked, written)


def test_rows_near_by_shift_times_and_far_ones_do_not(llama, beside):
    origin, plan, load = beside
    moved = [float(x) for x in nearby.shifts(origin, "closed", demand_of(llama, H100, plan, load))]
    assert max(map(abs, moved[:2])) > 0.01
    assert moved[2] > nearby.CLOSE
    arrivals = dataclasses.replace(load, rate=1.0)
    assert nearby.shifts(origin, "open", demand_of(llama, H100, plan, arrivals)) == pytest.approx(moved)  # at most so many in flight
    assert not np.any(nearby.shifts(origin, "open", demand_of(llama, H100, plan, dataclasses.replace(arrivals, concurrency=1))))
    far = dataclasses.replace(load, concurrency=2.0**14, input_tokens=2.0**40, output_tokens=2.0**40)
    assert np.abs(nearby.shifts(origin, "closed", demand_of(llama, H100, plan, far))).max() < 0.05
    for other in ({"chip": "?"}, {"model": "?"}, {"precision": "?"}, {"framework": "?"}):
        assert not np.any(nearby.shifts(dataclasses.replace(origin, **other), "closed", demand_of(llama, H100, plan, load)))


def test_shifts_do_not_depend_on_what_else_is_asked(llama, beside):
    origin, plan, load = beside
    many = dataclasses.replace(plan, tp=np.array([1.0, 2.0, 8.0])[:, None, None])
    users, asked = 2.0 ** np.arange(0, 9, 0.75), np.array([100.0, 1000.0, 30_000.0])[:, None]
    grid = nearby.shifts(origin, "closed", demand_of(llama, H100, many, dataclasses.replace(load, concurrency=users, input_tokens=asked)))
    for i, j, k in ((0, 0, 0), (1, 2, 5), (2, 1, 11)):
        one = dataclasses.replace(load, concurrency=users[k], input_tokens=float(asked[j, 0]))
        alone = nearby.shifts(origin, "closed", demand_of(llama, H100, dataclasses.replace(plan, tp=float(many.tp[i, 0, 0])), one))
        for of_all, of_one in zip(grid, alone, strict=True):
            assert np.broadcast_to(of_all, (3, 3, users.size))[i, j, k] == pytest.approx(float(of_one), abs=1e-12)


def test_intervals_are_narrower_where_rows_are_near_and_the_evidence_says_so(llama, beside):
    _, plan, load = beside
    near = serving(llama, H100, plan, load, framework="vLLM")
    far = serving(llama, H100, plan, dataclasses.replace(load, input_tokens=16.0, output_tokens=60_000.0), framework="vLLM")
    assert float(near.tpot_high / near.tpot) < float(far.tpot_high / far.tpot)
    assert float(near.evidence.nearby) > nearby.CLOSE > float(far.evidence.nearby)
    assert "rows near by shift times" in near.evidence.said()


def test_a_process_passes_through_rows_and_says_less_between_them(llama):
    origin = calibration.Origin("H100", "fp8", "vLLM", "1.0", model="Llama-3.1-70B")
    load = Load(2.0 ** np.array([3.0, 5.0]), 1024, 256)
    demand = demand_of(llama, H100, ServingPlan(8), load)
    made = nearby.table([origin] * 2, ["closed"] * 2, demand, np.array([[0.2, 0.1], [-0.2, np.nan]]))
    with tables.instead({nearby.TABLE: made}):
        scale, first, _ = nearby.shifts(
            origin, "closed", demand_of(llama, H100, ServingPlan(8), dataclasses.replace(load, concurrency=2.0 ** np.arange(1, 8)))
        )
    assert scale[[2, 4]] == pytest.approx([0.19, -0.19], abs=0.02)
    assert scale[3] == pytest.approx(0, abs=1e-3)
    assert abs(scale[0]) < abs(scale[1]) < scale[2]
    assert (first > 0).all()


@pytest.mark.parametrize("chip", ["H100", "B200"])
def test_a_user_alone_is_not_answered_by_saturated_arrivals(chip):
    """Of Llama 3.1 8B in 8 bits on these chips MLPerf Server alone was measured, which tells little of one user's time per token."""
    cluster, alone = Cluster(catalogue.chip(chip), 8), Load(1, 1024, 1024)
    eight, sixteen = (serving("Llama-3.1-8B", cluster, ServingPlan(1, p), alone) for p in ("fp8", "bf16"))
    assert eight.evidence.near["mode"][0] == sixteen.evidence.near["mode"][0] == "closed"
    assert eight.tpot < min(1.1 * sixteen.tpot, 1 / 200)  # half the weights to read; 98 and 84 tokens/s by constants of saturated runs
    few, many, both = (
        serving("Llama-3.1-8B", cluster, ServingPlan(1, "fp8"), Load(np.inf, 1024, 1024, rate=r)) for r in (0.01, 99, [0.01, 99])
    )
    assert few.evidence.near["mode"][0] == many.evidence.near["mode"][0] == "open"
    assert few.tpot == pytest.approx(float(eight.tpot), rel=0.02)  # who comes alone is served as who is alone
    np.testing.assert_array_equal(both.tpot, [few.tpot, many.tpot])
