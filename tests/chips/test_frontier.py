from dataclasses import replace
from fractions import Fraction

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from scipy import stats

from workbench import catalogue, chips
from workbench.errors import InputError, UnknownName
from workbench.fabric import Cluster

CLUSTERS = [Cluster(catalogue.chip(name), 64, "InfiniBand NDR") for name in ("H100", "GB200")]
PRICES = {"H100": 2.35, "GB200": 4.0}
LOAD = chips.Load(1, 1024, 1024)


@pytest.fixture(scope="module")
def frontier():
    return chips.slo_frontier(catalogue.llm("Llama-3.1-70B"), CLUSTERS, LOAD, usd_per_chip_hour=PRICES, pue=1.2)


def test_nothing_on_the_frontier_is_beaten(frontier):
    for _, part in frontier.group_by("chip"):
        part = part.sort("tokens_per_s_user", descending=True)
        assert (part["tokens_per_s_chip"].diff().drop_nulls() > 0).all()


def test_the_frontier_holds_the_best_of_every_point(frontier):
    every = chips.slo_frontier(catalogue.llm("Llama-3.1-70B"), CLUSTERS, LOAD, usd_per_chip_hour=PRICES, pue=1.2, every=True)
    assert every.height > 2 * frontier.height
    for slo in (10, 50, 100):
        promised = pl.col("tokens_per_s_user") >= slo
        best = every.filter(promised).group_by("chip").agg(pl.col("tokens_per_s_chip").max()).sort("chip")
        ours = frontier.filter(promised).group_by("chip").agg(pl.col("tokens_per_s_chip").max()).sort("chip")
        assert ours["tokens_per_s_chip"].to_numpy() == pytest.approx(best["tokens_per_s_chip"].to_numpy())


def test_money_and_joules_follow_from_the_rate(frontier):
    row = frontier.filter(pl.col("chip") == "H100").row(0, named=True)
    assert row["usd_per_million_tokens"] == pytest.approx(2.35 / (row["tokens_per_s_chip"] * 3600) * 1e6)
    assert row["joules_per_token"] == pytest.approx(row["watts_chip"] * 1.2 / row["tokens_per_s_chip"])
    assert row["tokens_per_watt_per_dollar"] == pytest.approx(row["tokens_per_s_chip"] / (row["watts_chip"] * 1.2 * 2.35))


def test_pue_may_be_an_array():
    llm, given = catalogue.llm("Llama-3.1-8B"), {"usd_per_chip_hour": PRICES, "concurrency": [1, 16], "tp": [1, 2], "attention_dp": 1}
    both = chips.slo_frontier(llm, CLUSTERS, LOAD, pue=[1.1, 1.4], **given)
    for pue in (1.1, 1.4):
        alone = chips.slo_frontier(llm, CLUSTERS, LOAD, pue=pue, **given)
        assert_frame_equal(both.filter(pl.col("pue") == pue).drop("pue"), alone)
    best = chips.cheapest_chip(both, chips.SLO(10), "joules_per_token")
    assert best.group_by("pue").len()["len"].to_list() == [2, 2]


def test_layouts_that_no_engine_runs_are_not_on_the_frontier():
    # 28 heads and 4 of keys and values: vLLM stops at tp 8 [vllm, 11147]; 3 does not divide 28, 7 neither divides 4 nor is a multiple; 28
    # heads split over 28 chips lie beyond a scale-up domain, which nobody published
    llm, h100 = catalogue.llm("Qwen2.5-7B"), CLUSTERS[:1]
    for within in ("measured", "any"):
        found = chips.slo_frontier(
            llm, h100, LOAD, tp=[1, 2, 3, 4, 7, 8, 16, 28], concurrency=[1, 64], usd_per_chip_hour=PRICES, within=within, every=True
        )
        assert set(found["tp"]) == {1, 2, 4}
        assert set(found["attention_dp"]) == {1}  # a dense model has no experts to share
        assert all(llm.layers % pp == 0 for pp in set(found["pp"]))
        assert chips.cheapest_chip(found, chips.SLO(1))["tp"][0] in (1, 2, 4)


def test_a_promise_costs(frontier):
    loose, tight = (chips.cheapest_chip(frontier, chips.SLO(s)) for s in (10.0, 100.0))
    assert loose["usd_per_million_tokens"][0] < tight["usd_per_million_tokens"][0]
    assert loose["chip"].n_unique() == loose.height


def test_bad_input(frontier):
    with pytest.raises(InputError, match=r"A100 40GB: it runs none of precisions; those that it runs: .*bf16.*fp4"):
        chips.slo_frontier("Llama-3.1-8B", [Cluster("A100 40GB", 8)], LOAD, precisions=["fp8"])
    with pytest.raises(UnknownName, match="unknown chip 'H1000'"):
        chips.slo_frontier("Llama-3.1-8B", CLUSTERS, LOAD, usd_per_chip_hour={"H1000": 2.0})
    with pytest.raises(InputError, match="within = 'published': expected one of measured, any"):
        chips.slo_frontier("Llama-3.1-8B", CLUSTERS, LOAD, within="published")
    with pytest.raises(InputError, match="confidence = 1: expected more than 0 and less than 1"):
        chips.slo_frontier("Llama-3.1-8B", CLUSTERS, LOAD, confidence=1)
    with pytest.raises(InputError, match="money needs usd_per_chip_hour"):
        chips.cheapest_chip(frontier.with_columns(usd_per_million_tokens=pl.lit(None, dtype=pl.Float64)), chips.SLO(10))
    with pytest.raises(InputError, match=r"fits on none of H100: .*(chips or fewer; within=.any. tries others|do not fit)"):
        chips.slo_frontier(catalogue.llm("DeepSeek-R1"), [Cluster(catalogue.chip("H100"), 2)], LOAD)
    with pytest.raises(InputError, match=r"pue = 0\.9"):
        chips.slo_frontier(catalogue.llm("Llama-3.1-70B"), CLUSTERS, LOAD, pue=0.9)
    with pytest.raises(InputError, match="ttft = 0: expected more than 0"):
        chips.SLO(10, ttft=0)
    with pytest.raises(InputError, match=r"tokens_per_second: expected one number, not an array of shape \(2,\)"):
        chips.SLO([10, 20])
    with pytest.raises(InputError, match="precisions = 'fp7': expected one of fp32, bf16, fp16"):
        chips.slo_frontier(catalogue.llm("Llama-3.1-70B"), CLUSTERS, LOAD, precisions=("fp8", "fp7"))
    with pytest.raises(InputError, match=r"usd_per_chip_hour\[H100\] = -3: expected 0 or more"):
        chips.slo_frontier(catalogue.llm("Llama-3.1-70B"), CLUSTERS, LOAD, usd_per_chip_hour={"H100": -3})
    with pytest.raises(InputError, match="input_tokens: expected one number"):
        chips.slo_frontier(catalogue.llm("Llama-3.1-70B"), CLUSTERS, chips.Load(1, [10, 20], 5))
    assert np.isfinite(frontier["tokens_per_s_chip"].to_numpy()).all()


def test_what_a_resource_is_worth_depends_on_the_load():
    chip, load = CLUSTERS[0].chip, chips.Load(np.array([1, 5000]), 1024, 1024)

    def gain(**more):
        served = (chips.serving("Llama-3.1-70B", Cluster(c, 64), chips.ServingPlan(2), load) for c in (chip, replace(chip, **more)))
        base, richer = (point.tokens_per_second for point in served)
        return (richer / base - 1) / 1e-4

    bandwidth, memory = gain(hbm_bandwidth=1.0001 * chip.hbm_bandwidth), gain(hbm_bytes=1.0001 * chip.hbm_bytes)
    peak = gain(peaks={name: 1.0001 * rate for name, rate in chip.peaks.items()})
    assert bandwidth[0] > peak[0]
    assert memory[0] == pytest.approx(0, abs=1e-6)  # one user fits
    assert memory[1] > 0.1  # thousands wait for memory
    assert all((value < 2).all() for value in (bandwidth, memory, peak))


FEW = {"concurrency": [1, 16, 128], "every": True, "usd_per_chip_hour": PRICES}


@pytest.fixture(scope="module")
def experts():
    """DeepSeek-R1 on two kinds of chips."""
    return {within: chips.slo_frontier("DeepSeek-R1", CLUSTERS, LOAD, within=within, **FEW) for within in ("measured", "any")}


def test_each_point_is_what_serving_says(experts):
    """Oracle: one call of `serving` a row."""
    plain = experts["any"].filter(draft_tokens=0)
    rows = pl.concat([plain.filter(prefill=kind).sample(12, seed=1) for kind in ("aggregated", "disaggregated")])
    for row in rows.iter_rows(named=True):
        p, d = Fraction(row["ratio"]).as_integer_ratio()  # workers, as few as may be
        cluster, each = Cluster(row["chip"], 10**6, "InfiniBand NDR"), {"precision": row["precision"]}
        each["kv_precision"] = "bf16" if row["precision"] == "bf16" else "fp8"
        plan = chips.ServingPlan(row["tp"], pp=row["pp"], attention_dp=row["attention_dp"], replicas=d, **each)
        side = chips.ServingPlan(row["prefill_tp"], attention_dp=row["prefill_attention_dp"], replicas=max(p, 1), **each)
        load = chips.Load(row["concurrency"], 1024, 1024)
        side = side if row["prefill"] == "disaggregated" else None
        assert row["chips"] == plan.chips + (side.chips if side else 0)
        point = chips.serving("DeepSeek-R1", cluster, plan, load, prefill=side)
        assert row["tokens_per_s_user"] == pytest.approx(float(1 / point.tpot))
        assert row["tokens_per_s_chip"] == pytest.approx(float(point.tokens_per_second_per_chip))
        assert row["tokens_per_s_chip_low"] == pytest.approx(float(point.rate_low))
        assert row["e2e_s"] == pytest.approx(float(point.ttft + 1023 * point.tpot))
        assert row["evidence_distance"] == point.evidence.distance


def test_what_was_published_bounds_what_is_chosen(experts):
    measured, any_ = experts["measured"], experts["any"]
    assert not measured["extrapolated"].any()
    assert any_["extrapolated"].any()
    h100 = measured.filter(chip="H100")
    assert h100.filter((pl.col("tp") > 1) & (pl.col("attention_dp") > 1)).is_empty()
    small = chips.slo_frontier("Qwen3-30B-A3B", CLUSTERS[:1], LOAD, within="any", **FEW)
    near = small.filter(pl.col("tp") > 1, pl.col("attention_dp") > 1, prefill="aggregated")
    assert near["chips"].max() == 8  # a replica keeps to its domain
    assert small.filter(tp=1)["attention_dp"].max() == 32  # experts alone spread beyond it
    assert measured["draft_tokens"].unique().to_list() == [0]
    assert set(any_["draft_tokens"]) == {0, 1, 3}  # acceptance was published of the family
    own = chips.slo_frontier("DeepSeek-R1", CLUSTERS[:1], chips.Load(1, 1024, 1024, draft_tokens=2, acceptance_rate=0.8), **FEW)
    assert own["draft_tokens"].unique().to_list() == [2]


def test_a_wide_interval_is_no_advantage():
    likely, sure = (chips.slo_frontier("DeepSeek-R1", CLUSTERS, LOAD, confidence=c, **FEW) for c in (0.5, 0.9))
    assert sure.height == likely.height
    assert sure["tokens_per_s_chip"].to_numpy() == pytest.approx(likely["tokens_per_s_chip_low"].to_numpy())
    assert sure["tokens_per_s_user"].to_numpy() == pytest.approx(likely["tokens_per_s_user_low"].to_numpy())
    assert sure["tokens_per_s_chip_high"].to_numpy() == pytest.approx(likely["tokens_per_s_chip_high"].to_numpy())
    assert (sure["ttft_s"] > likely["ttft_s"]).all()


def test_prompts_may_be_worked_on_by_other_chips():
    llm, (h100, gb200) = "DeepSeek-R1", CLUSTERS
    found = chips.slo_frontier(llm, [gb200], LOAD, prefill=[h100], within="any", precisions=["fp8"], ratios=[1, 4], **FEW)
    assert set(found["prefill_chip"]) == {"GB200", "H100"}
    mixed = found.filter(prefill_chip="H100")
    many = mixed.filter(pl.col("concurrency") / pl.col("chips") < 1).sort("ratio")
    row = many.row(0, named=True)
    share = (
        row["prefill_tp"]
        * row["prefill_attention_dp"]
        * row["ratio"]
        / (row["prefill_tp"] * row["prefill_attention_dp"] * row["ratio"] + row["tp"] * row["pp"] * row["attention_dp"])
    )
    usd = share * PRICES["H100"] + (1 - share) * PRICES["GB200"]
    assert row["usd_per_million_tokens"] == pytest.approx(usd / (row["tokens_per_s_chip"] * 3600) * 1e6)
    assert chips.slo_frontier(llm, [gb200], LOAD, within="any", precisions=["fp8"], ratios=[], **FEW)["prefill"].unique().to_list() == [
        "aggregated"
    ]


def test_a_speed_that_nobody_reaches_has_the_nearest(frontier):
    near = chips.cheapest_chip(frontier, chips.SLO(1e6))
    assert near["keeps"].to_list() == [False, False]
    for row in near.iter_rows(named=True):
        fastest = frontier.filter(chip=row["chip"])["tokens_per_s_user"].max()
        assert row["tokens_per_s_user"] == fastest
        assert row["short"] == pytest.approx(1e6 / fastest)
    mixed = chips.cheapest_chip(frontier, chips.SLO(near["tokens_per_s_user"].max() * 0.999))
    assert mixed["keeps"].to_list() == [True, False]


def test_a_percentile_and_the_end_to_end_latency_are_kept(frontier):
    median, tail = (chips.cheapest_chip(frontier, chips.SLO(30, 2.0, percentile=p)).row(0, named=True) for p in (50, 99))
    z = 2.3263478740408408  # of the 99th percentile of a normal distribution
    spread = {name: np.exp(z * catalogue.cost(f"{name}_spread").value) for name in ("ttft", "tpot")}
    assert tail["tokens_per_s_user"] >= 30 * spread["tpot"]
    assert tail["ttft_s"] * spread["ttft"] <= 2.0
    assert tail["tokens_per_s_chip"] < median["tokens_per_s_chip"]
    quick = chips.cheapest_chip(frontier, chips.SLO(e2e=20.0)).row(0, named=True)
    assert quick["e2e_s"] <= 20
    assert quick["e2e_s"] == pytest.approx(quick["ttft_s"] + 1023 / quick["tokens_per_s_user"])


def test_layouts_are_those_of_the_narrowest_class_that_was_published():
    def layouts(llm, chip, n=64, **given):
        found = chips.slo_frontier(llm, [Cluster(chip, n, "InfiniBand NDR")], LOAD, **FEW, ratios=[], **given)
        return set(found.select("tp", "pp", "attention_dp").rows())

    assert layouts("Qwen2.5-7B", "H200 MIG 1g.18gb", 1) == {(1, 1, 1)}  # nothing ran on such a part: what ran on one chip
    assert max(tp for tp, _, _ in layouts("Llama-2-70B", "L40S")) <= 8
    own = layouts("DeepSeek-R1", "B200")
    assert own < layouts("DeepSeek-R1", "B200", within="any")
    assert all(tp * pp * dp <= 8 for tp, pp, dp in own)


def test_chips_of_a_class_lend_each_other_layouts():
    def layouts(llm, chip, **given):
        found = chips.slo_frontier(llm, [Cluster(chip, 64, "InfiniBand NDR")], LOAD, **FEW, ratios=[], **given)
        return set(found.select("tp", "pp", "attention_dp").rows())

    own = layouts("Llama-3.1-405B", "GB300")  # there it was published on two chips a replica alone; on B200 on four and eight
    assert {(2, 1, 1), (4, 1, 1), (8, 1, 1)} <= own
    assert max(tp * pp * dp for tp, pp, dp in layouts("DeepSeek-R1", "H200", precisions=["fp8"])) <= 8  # H100s need two domains, not they


def test_weights_of_four_bits_run_on_chips_without_their_products():
    h100, given = CLUSTERS[:1], {"precisions": ["fp4"], **FEW}
    found = chips.slo_frontier("gpt-oss-120b", h100, LOAD, **given)
    assert not found["extrapolated"].any()
    assert chips.slo_frontier("DeepSeek-R1", h100, LOAD, **FEW)["precision"].unique().sort().to_list() == ["fp4", "fp8"]
    with pytest.raises(InputError, match="no published layout"):  # none of dense models was published so
        chips.slo_frontier("Llama-3.1-70B", h100, LOAD, **given)
    assert chips.slo_frontier("Llama-3.1-70B", h100, LOAD, within="any", **given)["extrapolated"].all()


@pytest.mark.parametrize("confidence", [0.5, 0.9])
def test_the_nearest_says_how_likely_it_reaches_a_speed(confidence):
    found = chips.slo_frontier("Llama-3.1-70B", CLUSTERS[:1], LOAD, confidence=confidence, **FEW)
    fastest = found.sort("tokens_per_s_user").tail(1).row(0, named=True)
    low, high = (np.log(fastest[f"tokens_per_s_user_{end}"]) for end in ("low", "high"))
    for away in (0.5, 1.0, 4.0):  # half widths of the interval beyond its middle
        speed = float(np.exp((low + high) / 2 + away * (high - low) / 2))
        row = chips.cheapest_chip(found, chips.SLO(speed), "tokens_per_s_chip").row(0, named=True)
        assert row["probability"] == pytest.approx(stats.t.sf(away * stats.t.ppf(0.9, 3), 3))
    assert chips.cheapest_chip(found, chips.SLO(0))["probability"][0] == pytest.approx(1)


def test_a_load_that_says_nothing_of_drafts_and_prompts_elsewhere_have_points():
    gb200 = Cluster("GB200", 72)
    found = chips.slo_frontier("DeepSeek-R1", [gb200], chips.Load(1, 8192, 1024), precisions=("fp4",), every=True)
    assert {"aggregated", "disaggregated"} == set(found["prefill"])
    stated = chips.slo_frontier("DeepSeek-R1", [gb200], chips.Load(1, 8192, 1024, acceptance_rate=0.5), precisions=("fp4",), every=True)
    assert stated["tokens_per_s_chip"].to_list() == found["tokens_per_s_chip"].to_list()  # nothing is drafted
    # of the requests in flight some are at their prompts: the cycle of one holds both
    apart = found.filter((pl.col("prefill") == "disaggregated") & (pl.col("concurrency") > 1))
    cycle = apart["ttft_s"] + 1024 / apart["tokens_per_s_user"]
    assert (apart["tokens_per_s_chip"] * apart["chips"] * cycle / (1024 * apart["concurrency"])).is_between(0.98, 1.02).all()
