import numpy as np
import polars as pl
import pytest

from workbench import catalogue, chips, demand, energy, fabric, fleet, scaling, validation
from workbench.chips.training import constants as calibration
from workbench.chips.training import fit, measured
from workbench.chips.training.constants import POOL
from workbench.chips.training.time import CONSTANTS, terms
from workbench.validation import score

SAMPLE = catalogue.path("measured/training.csv")
NAMES = {"np": np, "catalogue": catalogue, "chips": chips, "demand": demand, "energy": energy, "fabric": fabric, "fleet": fleet}


@pytest.fixture(scope="module")
def rows():
    return score.read("training", SAMPLE)[1]


@pytest.fixture(scope="module")
def shipped():
    return validation.validate("training", by="source_key")


def test_shipped_sample_is_predicted_within_what_is_claimed(shipped):
    table = shipped.table()
    total = table.filter(table["source_key"] == "all").row(0, named=True)
    assert total["predicted"] >= 0.96 * total["rows"]  # the layout of six is not stated
    apart = table.filter(~pl.col("source_key").is_in(["all", "nanotron"]) & (pl.col("rows") >= 8))
    assert apart["mean_error_%"].max() < 9
    assert apart["mean_error_%"].mean() < 4
    assert total["coverage_%"] >= 75


def test_what_is_scored_is_what_its_call_gives(shipped):
    known = shipped.rows.filter(pl.col("predicted").is_not_null())
    for call, predicted in known.sample(min(200, known.height), seed=1).select("call", "predicted").iter_rows():
        assert eval(call, NAMES | {"scaling": scaling}) == pytest.approx(predicted, rel=1e-9)


def test_a_fit_sees_the_time_of_the_public_call(shipped, rows):
    found = fit.Rows.of(rows)
    near = [calibration.resolve(origin).origin for origin in found.origins]
    own, _ = terms(found.works(), POOL.named(POOL.shipped().logs(near)))
    public = {row["position"]: row["predicted"] for row in shipped.rows.iter_rows(named=True)}
    both = [(time, public[run.position]) for time, run in zip(own, found.runs, strict=True) if public[run.position] is not None]
    assert len(both) > 150
    assert np.transpose(both)[0] == pytest.approx(np.transpose(both)[1], rel=1e-9)


def test_predictions_never_see_what_was_measured(rows):
    form = score.KINDS["training"][0]
    assert set(measured.FIGURES) <= set(form.measured)
    asked = form.ask(rows.drop(list(form.measured), strict=False))
    assert [one.call for one in asked] == [one.call for one in form.ask(rows)]


def test_left_out_rows_are_worse_than_fitted_ones_and_still_useful(shipped, monkeypatch):
    monkeypatch.setattr(fit, "FOLDS", 3)
    left_out = [validation.validate("training", by="source_key", leave_out=column) for column in ("configuration", "chip")]
    means = [shipped.beside(report).row(-1, named=True) for report in left_out]
    assert means[0]["mean"] == means[1]["mean"] < means[0]["mean_left_out"] < means[1]["mean_left_out"] < 40


def test_a_configuration_is_never_on_both_sides(rows):
    groups = score.KINDS["training"][0].groups(rows, "configuration")
    of = {}
    for run in measured.read(rows)[0]:
        of.setdefault(run.configuration, set()).add(int(groups[run.position]))
    assert all(len(sides) == 1 for sides in of.values())
    assert len(set(groups.tolist())) == fit.FOLDS


def test_fit_recovers_constants_that_it_was_given(rows):
    found = fit.Rows.of(rows)
    work = found.works()
    rng = np.random.default_rng(0)
    shift = np.zeros(len(POOL.names))
    shift[[POOL.names.index(name) for name in ("matmul", "attention", "tp")]] = (-0.15, 0.2, 0.3)
    made, _ = terms(work, POOL.named(np.tile(POOL.prior + shift, (len(found.runs), 1))))
    made = made * np.exp(0.01 * rng.standard_normal(made.size))
    step = pl.Series(np.full(rows.height, np.nan)).scatter([run.position for run in found.runs], made)
    fitted = fit.steps(rows.with_columns(step_s=step), found).fit(np.arange(made.size))
    again, _ = terms(work, POOL.named(fitted.logs(found.origins)))
    assert np.median(np.abs(again / made - 1)) < 0.01
    base = fitted.offsets["all", "all"]
    assert base[POOL.names.index("matmul")] == pytest.approx(-0.15, abs=0.08)
    assert 0 < fitted.free < len(fitted.offsets) * len(POOL.names)


def test_calibration_round_trips_through_its_tables(tmp_path, monkeypatch):
    found = validation.calibrate("training", SAMPLE)
    assert {"training", "training_evidence"} == set(found)  # too few rows for intervals of their own
    validation.write_tables(found, tmp_path)
    monkeypatch.setenv("WORKBENCH_DATA", str(tmp_path))
    own = validation.validate("training", by="source_key").table().row(-1, named=True)
    assert own["mean_error_%"] < 8


def test_many_rows_are_fitted_with_their_intervals(monkeypatch, rows):
    monkeypatch.setattr(fit, "OWN", 100)
    monkeypatch.setattr(fit, "FOLDS", 2)
    cases = fit.calibrated(rows, fit.steps, fit.of_steps)["training_errors"]["case"].to_list()
    assert {"Megatron-Bridge|version", "NeMo|framework", "NeMo|nothing", "chip not measured", "size not measured"} <= set(cases)


@pytest.mark.parametrize(
    ("stack", "framework", "version"),
    [
        ("NeMo v25.04.01", "NeMo", "25.04.01"),
        ("Megatron-DeepSpeed Feb 2022 (Jean Zay, 8xA100 80GB nodes)", "Megatron-DeepSpeed", "2022"),
        ("Composer FSDP + FlashAttention (Triton/2) 2023", "llm-foundry", "2023"),
        ("NGC Pytorch 24.09, NGC HugeCTR 24.09, NVIDIA Nemo 24.09", "NeMo", "24.09"),
        ("torchtitan + torchao", "torchtitan", ""),
        ("Meta internal", "Meta internal", ""),
        ("ours v2.1 (compiled)", "ours", "2.1"),
        (None, "", ""),
    ],
)
def test_software_as_a_user_names_it(stack, framework, version):
    assert measured.software(stack) == (framework, version)


def test_unknown_names_are_skipped_with_the_nearest(rows):
    odd = rows.head(5).with_columns(
        model=pl.Series(["llama3-8b", "gpt-oss-999b", *["llama3-8b"] * 3]),
        chip=pl.Series(["H100 SXM", "H100 SXM", "H1000", "H100 SXM", "H100 SXM"]),
        layers=pl.Series([None] * 5, dtype=pl.Float64),
        gbs=pl.Series([64.0, 64.0, 64.0, None, 64.0]),
        precision=pl.Series(["bf16"] * 4 + ["fp4 or fp8"]),
        experts=pl.lit(0.0),
    )
    runs, reasons = measured.read(odd)
    assert [run.position for run in runs] == [0]
    assert "unknown language model 'gpt-oss-999b'; nearest: gpt-oss-" in reasons[1]
    assert "unknown chip 'H1000'; nearest: H100" in reasons[2]
    assert reasons[3] == "gbs is not stated"
    assert reasons[4] == "precision is fp4 or fp8: not one that training runs in"


def row(**given):
    blank = dict.fromkeys((*measured.TEXT, *measured.NUMBERS))
    stated = {
        "model": "llama3-8b",
        "chip": "H100 SXM",
        "precision": "bf16",
        "n_chips": 64.0,
        "tp": 1.0,
        "gbs": 128.0,
        "seq": 8192.0,
        "stack": "NeMo v25.02",
    }
    return blank | stated | given


def test_what_is_computed_again_and_not_stated_is_asked_each_way():
    def asked(kind, **given):
        (one,) = score.KINDS[kind][0].ask(pl.DataFrame([row(**given)], infer_schema_length=None))
        return one

    plain, each = (asked("training", recompute=text, stack="MaxText") for text in ("none", None))
    assert (plain.read, plain.low, plain.high) == ("unlimited.seconds", "unlimited.low", "unlimited.high")
    assert (each.read, each.low, each.high) == ("unlimited.seconds[0]", "unlimited.low[0]", "unlimited.high[2]")
    assert each.call["arguments"]["plan"]["arguments"]["recompute"] == ["none", "selective", "full"]
    assert asked("training").read == "unlimited.seconds"  # NeMo computes nothing again unless it is told
    memory = asked("training-memory", stack="MaxText", mem_kind="peak of rank 0")
    assert (memory.low, memory.high) == tuple(
        f'memory.logged["rank 0 reserved"]["{end}"][{at}] * 1e-9' for end, at in (("low", 2), ("high", 0))
    )
    assert asked("training-memory").read == 'memory.logged["allocated"]["total"] * 1e-9'  # as NeMo prints it


def test_a_row_says_what_a_user_would():
    def call(**given):
        (run,), _ = measured.read(pl.DataFrame([row(**given)], infer_schema_length=None))
        return run.call()["arguments"]

    plain = call()
    assert plain["llm"] == "Llama-3-8B"
    assert plain["cluster"]["arguments"] == {"chip": "H100", "n_chips": 64}
    assert (plain["framework"], plain["version"]) == ("NeMo", "25.02")
    assert plain["plan"]["arguments"] == {}
    assert call(training_kind="LoRA SFT", mbs=1.0)["plan"]["arguments"] == {"trained": 0.01}
    assert call(chip="H100 SXM (96GB)")["cluster"]["arguments"]["chip"] == "H100 96GB"  # another memory: another chip
    assert call(tp=1.0, pp=3.0, n_chips=48.0, mbs=1.0)["plan"]["arguments"] == {"pp": 3, "uneven": True}
    assert call(layers=16.0)["llm"]["arguments"]["layers"] == 16
    assert call(seq=16384.0)["llm"]["arguments"]["context"] == 16384
    assert call(training_kind="lora", precision="bfloat16", mbs=1.0) == call(training_kind="LoRA SFT", mbs=1.0)
    for text, zero in {"ZeRO-3": 3, "FULL_SHARD": 3, "HSDP": 3, "zero stage 2": 2, "Distributed Optimizer": 1, "none": 0}.items():
        assert call(dp_shard=text)["plan"]["arguments"].get("zero", 1) == zero
    assert call(dp_shard="zero1 over 8")["plan"]["arguments"]["shard"] == 8
    assert call(recompute="Full")["plan"]["arguments"]["recompute"] == "full"
    assert call(notes="FSDP eager")["plan"]["arguments"] == {"fused": False}
    assert call(notes="compile, async TP")["plan"]["arguments"] == {"tp_overlap": True}


def test_how_ranks_of_nanotron_wait_is_read_off_the_layout():
    widths = {"layers": 32.0, "hidden": 4096.0, "heads": 32.0, "ffn": 14336.0, "vocab": 128256.0}

    def waits(**given):
        told = row(stack="Nanotron v0.5", seq=4096.0, dp_shard="zero1", **widths, **given)
        (run,), _ = measured.read(pl.DataFrame([told], infer_schema_length=None))
        return run.plan.get("scattered", False)

    assert not waits(tp=8.0, mbs=1.0)
    assert waits(tp=8.0, pp=2.0, mbs=1.0)  # a pipeline
    assert waits(tp=8.0, mbs=1.0, n_chips=512.0)  # an earlier version
    assert not waits(tp=8.0, mbs=8.0)
    assert waits(tp=8.0, mbs=16.0)  # what products gathered does not fit
    assert not waits(tp=1.0, mbs=2.0)


def test_what_was_measured_is_read_in_the_unit_that_it_is_stated_in():
    flop = 3 * catalogue.llm("Llama-3-8B").forward_flop_per_token(4096) * 128 * 8192
    assert measured.step_from_rate(row(tok_s_chip=1000.0)) == pytest.approx(128 * 8.192 / 64)
    assert measured.step_from_rate(row(tflops_chip=500.0, flops_def="model FLOP")) == pytest.approx(flop / (64 * 500e12))
    assert measured.step_from_rate(row(tflops_chip=500.0, flops_def="full or half attention not stated")) is None
    assert measured.step_from_rate(row()) is None
    assert measured.step_of(row(tflops_chip=500.0)) is None  # nothing is fitted to it
    assert measured.memory_of(row(mem_gb=40.0)) == 40
    assert measured.memory_of(row(mem_gb=40.0, mem_kind="peak GiB")) == pytest.approx(42.95, abs=0.01)
    assert measured.memory_of(row(mem_gb=40.0, stack="Nanotron v0.5")) == pytest.approx(42.95, abs=0.01)  # trainer.py: / 1024**3
    assert measured.memory_of(row(mem_gb=40.0, stack="torchtitan", mem_kind="GB as printed")) == 40
    assert measured.memory_of(row(mem_gb=40.0, notes="cross-entropy fusion; mem in GiB")) == pytest.approx(42.95, abs=0.01)


def test_results_of_mlperf_are_read(tmp_path):
    head = "benchmark,framework,chip,precision,notes,duplicate_of,n_chips,global_batch,sequence,tp,pp,vp,cp,dp,mbs,step_s_median,mem_gib\n"
    lora = "llama2_70b_lora,NVIDIA NeMo Framework Release 25.09,B200,fp8,,{},8,8,8192,{},,,,,1,1.5,100\n"
    file = tmp_path / "mlperf.csv"
    file.write_text(
        head
        + lora.format("", "2")
        + lora.format("another", "2")
        + lora.format("", "")
        + lora.format("", "2").replace("llama2_70b_lora", "bert")
    )
    steps, memory = (validation.validate(kind, file).rows for kind in ("training", "training-memory"))
    assert steps["measured"][0] == 1.5
    assert 0.3 < steps["predicted"][0] < 5
    assert "trained=0.01" in steps["call"][0]
    assert "version='25.09'" in steps["call"][0]
    assert steps["skipped"][1:].to_list() == ["a copy of another row", "its layout is not stated", "bert trains no language model"]
    assert memory["measured"][0] == pytest.approx(107.37, abs=0.01)


def test_constants_have_a_meaning_and_a_prior():
    assert all(c.meaning and c.prior > 0 and c.spread > 0 for c in CONSTANTS)


def test_memory_of_the_shipped_sample():
    table = validation.validate("training-memory", by="source_key").table()
    assert table.filter(pl.col("source_key") != "nanotron")["mean_error_%"].max() < 12
    assert table.row(-1, named=True)["predicted"] >= 0.98 * table.row(-1, named=True)["rows"]


def test_a_file_of_failures_needs_no_memory_column(rows, tmp_path):
    rows.head(5).drop("step_s", "mem_gb", "tok_s_chip").write_csv(tmp_path / "failed.csv")
    report = validation.validate("training-memory", tmp_path / "failed.csv", by="source_key")
    assert report.rows["predicted"].count() == 5
    assert report.rows["measured"].count() == 0


def test_memory_of_many_rows_is_fitted_with_its_intervals(monkeypatch):
    monkeypatch.setattr(fit, "OWN", 100)
    found = validation.calibrate("training-memory", catalogue.path("measured/training_memory.csv"))
    assert {"training_memory", "training_memory_errors"} == set(found)
    assert {"framework not measured", "Nanotron"} <= set(found["training_memory_errors"]["case"])
