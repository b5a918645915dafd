import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench import catalogue, chips, formats
from workbench.chips.machine import Machine
from workbench.chips.training import constants as calibration
from workbench.chips.training import plan as plans
from workbench.chips.training import time as step
from workbench.chips.training.constants import Origin
from workbench.chips.training.plan import REASONS, Layout
from workbench.chips.training.work import Work
from workbench.errors import InputError, UnknownName
from workbench.fabric import Cluster

LLM = catalogue.llm("Llama-3-8B")
H100 = Cluster(catalogue.chip("H100"), 64, "InfiniBand NDR")


def run(plan=None, llm=LLM, cluster=H100, batch=256, **given):
    return chips.training_step(llm, cluster, plan or chips.TrainingPlan(tp=2, recompute="full"), batch, **given)


def test_published_steps_that_were_fitted_come_back():
    # Megatron-LM, Korthikanti et al. (2022), table 5: 175B on 64 A100 at batch 64: 18.13 s with full recomputation, 13.75 s selective
    llm = dataclasses.replace(catalogue.llm("GPT-3-175B"), vocab=51200)
    a100 = Cluster(catalogue.chip("A100 80GB"), 64, "InfiniBand HDR")
    plan = chips.TrainingPlan(
        tp=8, pp=8, vp=3, zero=0, flash=False, recompute=["full", "selective"], sequence_parallel=[False, True], precision="fp16"
    )
    found = run(plan, llm, a100, 64, framework="Megatron-LM", version="2022", sequence=2048)
    assert found.seconds == pytest.approx([18.13, 13.75], rel=0.06)
    assert (found.low < found.seconds).all()
    assert (found.seconds < found.high).all()


def test_model_flop_of_mfu_are_counted_by_hand():
    # 6 x 8.03e9 parameters less the embedding, and causal attention: 6 L h s with s = 8192
    found = run(chips.TrainingPlan(tp=2, recompute="full"))
    per_token = 6 * (LLM.params - LLM.embedding_params) + 6 * 32 * 4096 * 8192
    assert found.mfu == pytest.approx(float(found.tokens_per_second_per_chip) * per_token / 989e12, rel=1e-3)
    assert found.hfu == pytest.approx(found.mfu * 4 / 3)
    assert run(chips.TrainingPlan(tp=4)).hfu == pytest.approx(run(chips.TrainingPlan(tp=4)).mfu)


def test_parts_add_up():
    plan = chips.TrainingPlan(tp=[1, 2, 4], pp=[1, 2, 4], vp=[1, 2, 4], recompute="full")
    found = run(plan)
    assert sum(found.parts.values()) == pytest.approx(found.seconds)
    assert all((value >= -1e-9).all() for value in found.parts.values())
    assert found.frame()["seconds"].to_list() == found.seconds.tolist()


def test_a_layout_in_an_array_is_the_layout_alone():
    tp, pp = np.array([1, 2, 4, 8]), np.array([[1], [2], [4]])
    many = run(chips.TrainingPlan(tp=tp, pp=pp, recompute="full"))
    assert many.seconds.shape == (3, 4)
    for i, j in ((0, 1), (2, 3), (1, 0)):
        alone = run(chips.TrainingPlan(tp=int(tp[j]), pp=int(pp[i, 0]), recompute="full"))
        assert float(many.seconds[i, j]) == pytest.approx(float(alone.seconds), rel=1e-12)


def test_blocks_do_not_show(monkeypatch):
    plan = chips.TrainingPlan(tp=np.tile([1, 2, 4, 8], 25), micro_batch=np.repeat([1, 2, 4, 1, 2], 20), recompute="full")
    whole = run(plan)
    monkeypatch.setattr("workbench.chips.training.evaluate.BLOCK", 7)
    cut = run(plan)
    assert cut.seconds == pytest.approx(whole.seconds)
    assert cut.memory.total == pytest.approx(whole.memory.total)
    assert cut.parts["matmul"] == pytest.approx(whole.parts["matmul"])


@settings(max_examples=25, deadline=None)
@given(st.sampled_from([1, 2, 4, 8]), st.sampled_from([1, 2, 4]), st.sampled_from([1, 2]), st.floats(1.01, 4))
def test_twice_the_rates_and_half_the_latencies_halve_the_step(tp, pp, cp, factor):
    plan = chips.TrainingPlan(tp=tp, pp=pp, cp=cp, recompute="full")
    layout, slow = Layout.of(plan, 64, 256), Machine.of(H100, formats.FORMATS["bf16"])
    fast = slow
    for resource in ("peak", "hbm_bandwidth", "scale_up", "scale_out", "latency"):
        fast = fast.scaled(resource, factor)
    c = calibration.POOL.of(Origin(chip="H100", precision="bf16"))
    faster = c | {name: c[name] / factor for name in ("launch", "host", "fixed", "gather", "sync")}
    before = step.terms(Work.of(LLM, layout, slow, 64, 8192), c)[0]
    after = step.terms(Work.of(LLM, layout, fast, 64, 8192), faster)[0]
    assert float(after) == pytest.approx(float(before) / factor, rel=1e-9)


def test_more_batch_takes_longer_and_wastes_less_on_the_bubble():
    found = run(chips.TrainingPlan(pp=4, recompute="full"), batch=np.array([64, 128, 256, 512]))
    assert (np.diff(found.seconds) > 0).all()
    assert (np.diff(found.parts["bubble"] / found.seconds) < 0).all()
    assert (np.diff(found.mfu) > 0).all()


def test_the_bubble_is_p_minus_one_over_v_micro_batches():
    # Narayanan et al. (2021), section 2.2: bubble over ideal time (p - 1) / (v m)
    plan = chips.TrainingPlan(pp=4, vp=[1, 2, 4], recompute="full", sequence_parallel=False)
    found = run(plan, batch=256)
    ratio = found.parts["bubble"]
    assert ratio[0] / ratio[1] == pytest.approx(2)
    assert ratio[0] / ratio[2] == pytest.approx(4)


def test_schedules_without_bubble_are_no_slower():
    found = run(chips.TrainingPlan(pp=8, schedule=["1f1b", "zero-bubble", "dualpipe"], recompute="full"))
    assert (found.parts["bubble"][1:] < found.parts["bubble"][0]).all()


def test_recomputing_costs_a_forward_pass():
    found = run(chips.TrainingPlan(tp=8, recompute=["none", "selective", "full"]))
    assert 1 < found.seconds[1] / found.seconds[0] < 1.1  # fused attention keeps no scores: norms and activations are computed again
    assert 1.2 < found.seconds[2] / found.seconds[0] < 1.4


def test_collectives_hidden_behind_products_are_faster_by_what_was_measured():
    # torchtitan, benchmarks/asyncTP_llama3_h100_2025-06: Llama-3-8B on 64 H100, tp 8, 4378 to 4809.4 tokens/s a chip (10 %); 70B 9 %
    plan = chips.TrainingPlan(tp=8, zero=3, micro_batch=12, recompute="selective", tp_overlap=[False, True])
    seconds = run(plan, batch=96, framework="torchtitan").seconds
    assert 1.03 < seconds[0] / seconds[1] < 1.2
    assert float(np.ptp(run(dataclasses.replace(plan, tp=1, micro_batch=1), framework="torchtitan").seconds)) == 0


def test_eager_code_is_slower_by_what_was_measured():
    # torchtitan, benchmarks/llama3_h100_202412: Llama-3-8B on 8 H100, 5762 tokens/s a chip eager, 6667 compiled (16 %)
    plan = chips.TrainingPlan(zero=3, micro_batch=2, recompute="selective", fused=[True, False])
    seconds = run(plan, cluster=Cluster("H100", 8), batch=16, framework="torchtitan").seconds
    assert 1.04 < seconds[1] / seconds[0] < 1.25


def test_adapters_move_bytes_that_full_training_does_not():
    # prime-rl, benchmarks/baselines, Qwen3-4B on 8 H100 at 16k: 4.69 s of full training, 5.38 s of adapters, that have no weight gradient
    full, lora = (run(chips.TrainingPlan(zero=3, recompute="full", trained=t), framework="prime-rl") for t in (1.0, 0.01))
    assert lora.parts["streaming"] > 1.5 * full.parts["streaming"]
    assert lora.parts["matmul"] < 0.8 * full.parts["matmul"]


def test_gradients_summed_one_by_one_cost_latency_for_each_rank_and_layer():
    c, machine = calibration.POOL.of(Origin.of(LLM, "H100", "bf16", "Nanotron")), Machine.of(H100, formats.FORMATS["bf16"])

    def seconds(**given):
        layout = Layout.of(chips.TrainingPlan(tp=2, zero=0, scattered=True, **given), 64, 256)
        return float(
            step.terms(Work.of(LLM, layout, machine, 64, 4096), c)[0]
            - step.terms(Work.of(LLM, layout, machine, 64, 4096), c | {"sum": 0.0})[0]
        )

    assert seconds() == pytest.approx(c["scale"] * c["sum"] * 32 * 32 * (1 + 3 * c["straggler"]))
    assert seconds(pp=4) == pytest.approx(seconds() / 16)  # a fourth of the ranks, and of the layers


def test_stages_alone_wait_for_each_other():
    c, machine = calibration.POOL.of(Origin.of(LLM, "H100", "bf16", "Nanotron")), Machine.of(H100, formats.FORMATS["bf16"])
    layout = Layout.of(chips.TrainingPlan(tp=2, pp=[1, 2, 4, 8]), 512, 1024)
    waits, never = (step.terms(Work.of(LLM, layout, machine, 512, 4096), c | {"sync": s})[0] for s in (1.0, 0.0))
    added = (waits - never) / c["scale"] / (1 + 6 * c["straggler"])
    assert added == pytest.approx([0.0, 8.5, 2 * 17.5, 2 * 35.5])  # of 4, 8, 16 and 32 micro-batches, and half the filling


def test_lower_precision_is_faster_by_what_was_measured():
    # Megatron-Bridge and DGX Cloud measure 1.3 to 1.6 times from bf16 to fp8 on H100
    plan = {p: chips.TrainingPlan(tp=8, precision=p) for p in ("bf16", "fp8")}
    llama = catalogue.llm("Llama-3.1-405B")
    cluster = Cluster(catalogue.chip("H100"), 1024, "InfiniBand NDR")
    plans = {p: dataclasses.replace(v, pp=8, vp=4, cp=2) for p, v in plan.items()}
    both = {p: float(run(v, llama, cluster, 512, framework="NeMo", version="25.02").parts["matmul"]) for p, v in plans.items()}
    assert 1.3 < both["bf16"] / both["fp8"] < 2.0


@pytest.mark.parametrize(
    ("framework", "version"), [("", ""), ("NeMo", ""), ("NeMo", "24.07"), ("NeMo", "25.09"), ("Megatron-Bridge", "26.04")]
)
def test_wide_models_are_faster_in_8_bits_whatever_is_said_of_the_software(framework, version):
    for name, least in (("Llama-3.1-70B", 1.15), ("Llama-3.1-8B", 1.15), ("DeepSeek-V3", 1.0), ("Kimi-K2", 1.0)):
        llm = catalogue.llm(name)
        for chip in ("H100", "B200", "GB300"):
            cluster, ep = Cluster(chip, 64), 8 if llm.experts else 1
            of = {"framework": framework, "version": version, "sequence": 4096}
            whole, half = (run(chips.TrainingPlan(ep=ep, micro_batch=2, precision=p), llm, cluster, 512, **of) for p in ("bf16", "fp8"))
            assert whole.unlimited.seconds >= least * half.unlimited.seconds, (name, chip)


def test_experts_cost_their_tokens_and_their_collectives():
    moe = catalogue.llm("Qwen3-30B-A3B")
    found = run(chips.TrainingPlan(ep=[1, 8], recompute="full"), moe)
    assert found.parts["ep"][0] == 0 < found.parts["ep"][1]
    busy = run(chips.TrainingPlan(ep=8, recompute="full", expert_load=[1, 1.3]), moe)
    assert busy.parts["ep"][1] / busy.parts["ep"][0] == pytest.approx(1.3, rel=0.05)
    assert busy.parts["matmul"][1] > busy.parts["matmul"][0]


def test_less_said_or_measured_is_a_wider_interval():
    def width(chip="H100", **given):
        cluster = Cluster(catalogue.chip(chip), 64, "InfiniBand NDR")
        found = run(cluster=cluster, **given)
        return float(found.high / found.low)

    assert width(framework="NeMo", version="25.02") < width(framework="NeMo") < width() < width("MI210")
    assert width(framework="NeMo") < width(framework="DeepSpeed")  # of which nothing was measured


def test_what_is_not_said_is_the_nearest_measured_and_of_the_newest_version():
    near = calibration.resolve(Origin.of(LLM, "H100", "bf16", "NeMo"))
    versions = near.evidence.index.frame.filter(framework="NeMo", chip="H100", precision="bf16", model=LLM.name)["version"]
    assert near.origin.version == versions.max() > versions.min()
    assert near.missing == ()
    assert (
        near.evidence.rows
        == near.evidence.index.frame.filter(framework="NeMo", chip="H100", precision="bf16", model=LLM.name)["rows"].sum()
    )
    found = run(framework="NeMo")
    assert float(found.seconds) == float(run(framework="NeMo", version=near.origin.version).seconds)
    assert found.evidence.near["framework"].to_list() == ["NeMo"] * 5
    assert calibration.resolve(Origin.of(LLM, "TPU v7", "bf16")).origin.framework == "MaxText"


def test_a_version_that_was_not_measured_counts_as_one_of_its_major_number():
    assert calibration.resolve(Origin.of(LLM, "H100", "bf16", "NeMo", "25.03")).origin.version.startswith("25.")
    unlike = calibration.resolve(Origin.of(LLM, "H100", "bf16", "NeMo", "99.1"))
    assert unlike.origin.version == "99.1"  # no node: the mean of the framework
    assert unlike.missing == ("version",)


def test_a_chip_that_was_not_measured_counts_as_one_of_its_vendor_and_peak():
    v3 = catalogue.llm("DeepSeek-V3")
    near = calibration.resolve(Origin.of(v3, "H800", "fp8"))  # no run on it; mixtures on TPUs are newer
    assert (near.origin.chip, near.evidence.near["chip"][0]) == ("H100", "H100")
    assert "chip" in near.missing  # so that its interval is that of chips left out
    assert calibration.resolve(Origin.of(v3, "Maia 100", "bf16")).origin.chip == "Maia 100"  # nothing like it
    plans = [chips.TrainingPlan(pp=8, ep=64, uneven=True, precision=precision) for precision in ("bf16", "fp8")]
    wide, narrow = (chips.training_step(v3, Cluster("H800", 2048), plan, 16_384, confidence=1e-9).unlimited.seconds for plan in plans)
    assert narrow < wide  # 8 bits are faster


def test_two_chunks_at_once_hide_what_experts_exchange():
    # DeepSeek-AI (2024), arXiv:2412.19437, section 3.2.1: DualPipe overlaps all-to-all of one chunk with the computation of another
    plan = chips.TrainingPlan(pp=16, ep=64, schedule=["1f1b", "dualpipe"], uneven=True)
    step = chips.training_step(
        "DeepSeek-V3", Cluster("H100", 2048), plan, 15_360, sequence=4096, framework="Megatron-Bridge", confidence=1e-9
    )
    assert step.parts["ep"][1] < 0.3 * step.parts["ep"][0]


def test_models_of_one_size_share_what_was_measured():
    assert calibration.resolve(Origin.of(catalogue.llm("Llama-3.3-70B"), "H100", "bf16", "NeMo")).origin.model == "Llama-3-70B"


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        ({"tp": 3}, "tp * pp * cp does not divide the number of chips"),
        ({"tp": 64}, "tp does not divide the attention heads"),
        ({"pp": 64}, "pp * vp is more than the layers"),
        ({"micro_batch": 7}, "micro_batch does not divide the batch"),
        ({"ep": 2}, "an expert degree without experts"),
        ({"vp": 2}, "vp above 1 without a pipeline"),
        ({"pp": 2, "zero": 3}, "a pipeline under ZeRO-2 or 3"),
        ({"shard": 3}, "shard does not divide the data-parallel and context ranks"),
        ({"shard": 128}, "shard does not divide the data-parallel and context ranks"),
    ],
)
def test_a_layout_that_cannot_be_is_a_result_that_names_the_rule(plan, words):
    alone = run(chips.TrainingPlan(**plan))
    assert not alone.feasible
    assert words in str(alone.reason)
    assert (alone.seconds, alone.tokens_per_second_per_chip) == (np.inf, 0)
    name, value = next(iter(plan.items()))
    other = {k: [v, v] for k, v in plan.items() if k != name}
    many = run(chips.TrainingPlan(**{name: [1, value]}, **other))
    assert not many.feasible[1]
    assert np.isinf(many.seconds[1])
    assert many.reason[1] in REASONS[1:]


def test_what_does_not_fit_says_so():
    found = run(chips.TrainingPlan(zero=0, micro_batch=4), catalogue.llm("Llama-3-70B"))
    assert not found.feasible
    assert str(found.reason) == "does not fit in memory"
    assert found.memory.total > 80e9
    assert np.isinf(found.seconds)
    assert found.unlimited.low < found.unlimited.seconds < found.unlimited.high < np.inf
    assert np.isinf(run(chips.TrainingPlan(tp=3)).unlimited.seconds)


def test_experts_may_be_spread_over_tensor_parallel_ranks_too():
    # Megatron-LM with expert tensor parallelism of 1: Qwen3-235B-A22B on 256 H100 ran with tp 2, pp 8, ep 32 [Megatron-Bridge, 25.11]
    moe = Cluster(H100.chip, 256, H100.fabric)
    plan = chips.TrainingPlan(tp=2, pp=8, vp=4, ep=[32, 64], uneven=True, recompute="full")
    found = run(plan, catalogue.llm("Qwen3-235B-A22B"), moe, 8192, sequence=4096)
    assert found.reason.tolist() == ["", "ep does not divide the ranks of a stage"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"tp": 0}, "tp = 0: expected a whole number 1 or more"),
        ({"tp": [1, 2, 2.5]}, r"tp\[2\] = 2.5: expected a whole number"),
        ({"tp": [1, 2, 4], "recompute": ["none", "full"]}, r"tp of shape \(3,\) and recompute of shape \(2,\) do not broadcast"),
        ({"trained": -1}, "trained = -1: expected more than 0 and at most 1"),
        ({"trained": np.nan}, "trained = nan: expected more than 0 and at most 1"),
        ({"shard": 1.5}, "shard = 1.5: expected a whole number 0 or more"),
        ({"flash": "yes"}, "flash = 'yes': expected True or False"),
        ({"flash": np.ma.masked_array([True, True], mask=[False, True])}, "flash = masked_array"),
        ({"sequence_parallel": [True, 2]}, r"sequence_parallel = \[True, 2\]: expected True or False"),
        ({"recompute": "some"}, "recompute = 'some': expected one of none, selective, full"),
        ({"expert_load": 0.9}, "expert_load = 0.9: the busiest rank has at least the mean, 1"),
        ({"zero": 4}, "zero = 4: expected a whole number 0 or more and at most 3"),
        ({"precision": "fp4"}, "precision = 'fp4': expected one of bf16, fp16, fp8, mxfp8, nvfp4, int8"),
        ({"precision": ["bf16", "fp8"]}, r"precision = \['bf16', 'fp8'\]: expected one of"),
    ],
)
def test_bad_plans(given, words):
    with pytest.raises(InputError, match=words):
        chips.TrainingPlan(**given)


def test_bad_arguments():
    with pytest.raises(InputError, match="A100 has no fp8 peak; it has"):
        run(chips.TrainingPlan(precision="fp8"), cluster=Cluster(catalogue.chip("A100 80GB"), 8))
    with pytest.raises(InputError, match="sequence = 10000: Llama-3-8B has a context of 8192"):
        run(sequence=10_000)
    with pytest.raises(UnknownName, match="unknown training framework 'megatron'; nearest: Megatron-LM"):
        run(framework="megatron")
    for batch in (-8, 0, np.nan, 2.5):
        for model in (chips.training_step, chips.elasticities, chips.search_layouts):
            with pytest.raises(InputError, match=f"global_batch = {batch:g}: expected a whole number 1 or more"):
                model(LLM, H100, *([chips.TrainingPlan()] if model is not chips.search_layouts else []), batch)
    with pytest.raises(InputError, match=r"n_chips of shape \(2,\) and tp of shape \(3,\) do not broadcast"):
        run(chips.TrainingPlan(tp=[1, 2, 4]), cluster=Cluster(catalogue.chip("H100"), np.array([8, 16])))


def test_chips_and_sequences_may_be_arrays():
    n, sequence, tp = np.array([[16], [64]]), np.array([2048, 4096, 8192]), np.array([1, 2, 4])
    plan = chips.TrainingPlan(tp=tp, recompute="full", scattered=[True, False, False])
    many = run(plan, cluster=Cluster(H100.chip, n, H100.fabric), sequence=sequence)
    assert many.seconds.shape == (2, 3)
    for i, j in np.ndindex(2, 3):
        single = Cluster(H100.chip, int(n[i, 0]), H100.fabric)
        alone = run(dataclasses.replace(plan, tp=tp[j], scattered=j == 0), cluster=single, sequence=int(sequence[j]))
        assert many.seconds[i, j] == pytest.approx(float(alone.seconds), rel=1e-12)
        assert many.mfu[i, j] == pytest.approx(float(alone.mfu), rel=1e-12)
        assert many.memory.total[i, j] == pytest.approx(float(alone.memory.total), rel=1e-12)


def test_uneven_stages_are_not_taken_in_silence():
    # Megatron-LM: "number of layers should be divisible" [ms-swift, 5737]; Llama 3 405B: 126 layers in 16 stages of 8, the first and the
    # last with one less [2407.21783, section 3.3.2]; DeepSeek-V3: 61 layers in 16 stages
    def feasible(layers, pp, vp=1, uneven=False):
        plan = chips.TrainingPlan(tp=8, pp=pp, vp=vp, recompute="full", uneven=uneven)
        found = run(plan, dataclasses.replace(LLM, layers=layers), Cluster(H100.chip, 8 * pp * 2, H100.fabric), 2 * 3 * pp)
        assert found.feasible or "stages are uneven" in str(found.reason)
        return bool(found.feasible)

    assert not feasible(80, 3)
    assert not feasible(80, 4, 7)
    assert feasible(80, 4, 5)
    assert feasible(126, 16)
    assert not feasible(61, 16)
    assert feasible(61, 16, uneven=True)
    for uneven in (False, True):  # a search takes them, and says so
        few = chips.Choices((1,), (1,), ("full",), (True,), ("1f1b",), ("none",), (1,), uneven=uneven)
        found = chips.search_layouts(dataclasses.replace(LLM, layers=31), Cluster(H100.chip, 8), 64, choices=few).frame
        assert found.filter("uneven")["pp"].unique().sort().to_list() == ([2, 4, 8] if uneven else [])


def test_a_new_way_to_exchange_keys_is_one_row(monkeypatch):
    slow = plans.Variant(lambda model, exchange, tp, cp, tokens: np.where(cp > 1, 1.0, 0.0), hidden=False)
    monkeypatch.setitem(plans.VARIANTS, "slow", slow)
    plan = chips.TrainingPlan(cp=2, context=["ring", "all-to-all", "slow"], recompute="full")
    found = run(plan, batch=64, framework="DeepSpeed")  # of which nothing was measured: its scale is 1
    assert found.parts["cp"][2] == pytest.approx(2 * 32 * 3.0, rel=0.01)  # a second forward, two backward: of 2 micro-batches, 32 layers


def test_elasticities_are_the_derivatives():
    plan = chips.TrainingPlan(tp=[2, 4, 8], pp=[1, 2, 4], recompute="full")
    exact = chips.elasticities(LLM, H100, plan, 256)
    base = run(plan).seconds
    chip = H100.chip
    for resource, better in (
        ("peak", dataclasses.replace(chip, peaks={k: v * 1.0001 for k, v in chip.peaks.items()})),
        ("hbm_bandwidth", dataclasses.replace(chip, hbm_bandwidth=chip.hbm_bandwidth * 1.0001)),
    ):
        faster = run(plan, cluster=Cluster(better, 64, "InfiniBand NDR")).seconds
        assert exact[resource] == pytest.approx(-(faster / base - 1) / 1e-4, rel=1e-3, abs=1e-6)
    assert (sum(exact.values()) < 1).all()  # what is fixed is worth no resource
    assert exact["peak"].min() > 0.5
