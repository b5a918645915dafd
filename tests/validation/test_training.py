import numpy as np
import polars as pl
import pytest

from workbench import catalogue, validation
from workbench.chips.training import fit
from workbench.chips.training import measured as training_rows
from workbench.chips.training.constants import POOL
from workbench.chips.training.time import CONSTANTS, seconds
from workbench.validation import gemm, training, training_memory
from workbench.validation.report import read


@pytest.fixture(scope="module")
def rows():
    return read(catalogue.path("measured/training.csv"), training)


def test_shipped_sample_is_predicted_within_what_is_claimed():
    table = validation.validate("training", by="source_key").table()
    total = table.filter(table["source_key"] == "all").row(0, named=True)
    assert total["predicted"] >= 0.98 * total["rows"]
    apart = table.filter(~pl.col("source_key").is_in(["all", "nanotron"]) & (pl.col("rows") >= 8))
    assert apart["mean_error_%"].max() < 7
    assert apart["mean_error_%"].mean() < 4
    assert total["coverage_%"] >= 75


def test_predictions_never_see_what_was_measured(rows):
    blind = rows.drop(list(training.MEASURED), strict=False)
    assert [p.value for p in training.predict(blind)] == [p.value for p in training.predict(rows)]
    nonsense = rows.with_columns(step_s=pl.lit(1.0), tok_s_chip=pl.lit(1.0))
    assert [p.value for p in training.predict(nonsense)] == [p.value for p in training.predict(rows)]


def test_left_out_rows_are_worse_than_fitted_ones_and_still_useful():
    shipped = validation.validate("training", by="source_key")
    left_out = [validation.validate("training", by="source_key", leave_out=column) for column in ("configuration", "source_key")]
    means = [shipped.beside(report).row(-1, named=True) for report in left_out]
    assert all(mean["source_key"] == "mean of groups of 8 rows and more" for mean in means)
    assert means[0]["mean"] == means[1]["mean"] < means[0]["mean_left_out"] < means[1]["mean_left_out"] < 40


def test_a_configuration_is_never_on_both_sides(rows):
    found, _ = training_rows.read(rows)
    groups = training_rows.groups(rows, found, "configuration", fit.FOLDS)
    keys = [training_rows.configuration(rows.row(int(at), named=True)) for at in found.position]
    assert all(len({g for g, k in zip(groups, keys, strict=True) if k == key}) == 1 for key in set(keys))


def test_fit_recovers_constants_that_it_was_given(rows):
    found, _ = training_rows.read(rows)
    work = training_rows.works(found)
    rng = np.random.default_rng(0)
    shift = np.zeros(len(POOL.names))
    shift[[POOL.names.index(name) for name in ("matmul", "attention", "tp")]] = (-0.15, 0.2, 0.3)
    made = seconds(work, POOL.named(np.tile(POOL.prior + shift, (len(found.llms), 1))))
    made = made * np.exp(0.01 * rng.standard_normal(made.size))
    fitted = fit.steps(found, made).fit(np.arange(made.size))
    again = seconds(work, POOL.named(fitted.logs(found.origins)))
    assert np.median(np.abs(again / made - 1)) < 0.01
    base = fitted.offsets["all", "all"]
    assert base[POOL.names.index("matmul")] == pytest.approx(-0.15, abs=0.08)
    assert 0 < fitted.free < len(fitted.offsets) * len(POOL.names)


def test_calibration_round_trips_through_its_table(rows, tmp_path, monkeypatch):
    tables = training.calibrate(rows)
    (tmp_path / "calibration").mkdir()
    for name, table in tables.items():
        table = table.with_columns(source=pl.lit("a test"), as_of=pl.lit("2026-11-21"), note=pl.lit(""))
        table.write_csv(tmp_path / "calibration" / f"{name}.csv")
    monkeypatch.setenv("WORKBENCH_DATA", str(tmp_path))
    own = validation.validate("training", by="source_key").table().row(-1, named=True)
    assert own["mean_error_%"] < 8


def test_unknown_names_are_skipped_with_the_nearest(rows):
    odd = rows.head(4).with_columns(
        model=pl.Series(["llama3-8b", "gpt-oss-999b", "llama3-8b", "llama3-8b"]),
        chip=pl.Series(["H100 SXM", "H100 SXM", "H1000", "H100 SXM"]),
        layers=pl.Series([None, None, None, None], dtype=pl.Float64),
        gbs=pl.Series([64.0, 64.0, 64.0, None]),
        experts=pl.lit(0.0),
    )
    predictions = training.predict(odd)
    reasons = [p.skipped for p in predictions]
    assert reasons[0] is None
    assert predictions[0].value > 0
    assert "unknown LLM 'gpt-oss-999b'; nearest: gpt-oss-" in reasons[1]
    assert "unknown chip 'H1000'; nearest: H100" in reasons[2]
    assert reasons[3] == "gbs is not stated"


def test_constants_have_a_meaning_and_a_prior():
    assert all(c.meaning and c.prior > 0 and c.spread > 0 for c in CONSTANTS)


def test_memory_of_the_shipped_sample():
    table = validation.validate("training-memory", by="source_key").table()
    assert table.filter(pl.col("source_key") != "nanotron")["mean_error_%"].max() < 12
    assert table.row(-1, named=True)["predicted"] >= 0.98 * table.row(-1, named=True)["rows"]


def test_a_file_of_failures_needs_no_memory_column(rows, tmp_path):
    failed = rows.head(5).drop("step_s", "mem_gb", "tok_s_chip")
    failed.write_csv(tmp_path / "failed.csv")
    report = validation.validate("training-memory", tmp_path / "failed.csv", by="source_key")
    assert report.rows["predicted"].count() == 5
    assert report.rows["measured"].count() == 0


def test_products_are_predicted():
    table = validation.validate("gemm", by="chip").table()
    assert table.row(-1, named=True)["mean_error_%"] < 15
    assert gemm.calibrate(read(catalogue.path("measured/gemm.csv"), gemm))["gemm"].height >= 4


def test_memory_of_many_rows_is_fitted_with_its_intervals(monkeypatch):
    monkeypatch.setattr(fit, "OWN", 100)
    found = training_memory.calibrate(read(catalogue.path("measured/training_memory.csv"), training_memory))
    assert {"training_memory", "training_memory_errors"} == set(found)
    assert {"stack not measured", "nanotron"} <= set(found["training_memory_errors"]["case"])
