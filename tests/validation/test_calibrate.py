"""What ``workbench calibrate`` writes is what ``WORKBENCH_DATA`` reads, for every kind that is calibrated."""

import numpy as np
import polars as pl
import pytest

from workbench import catalogue, chips, cli, tables, validation
from workbench.chips.training import fit
from workbench.errors import DataError, InputError
from workbench.fabric import Cluster, Tier, collective_time

#: A few rows of the shipped sample, and the tables that they give.
FEW = {
    "collectives": (pl.col("chip") == "H100", {"collectives", "collectives_evidence"}),
    "gemm": (pl.int_range(pl.len()) > 170, {"gemm", "gemm_errors", "gemm_evidence"}),
    "serving": (pl.int_range(pl.len()) < 5, {"serving", "serving_evidence"}),
    "training": (pl.col("source_key") == "megatron-bridge", {"training", "training_evidence"}),
    "training-memory": (pl.int_range(pl.len()) < 8, {"training_memory"}),
}


@pytest.fixture
def calibrate(tmp_path, monkeypatch):
    """Runs ``workbench calibrate KIND FILE --out mine`` on some rows; gives the file and the folder."""

    def call(kind, rows):
        file, out = tmp_path / "rows.csv", tmp_path / "mine"
        rows.write_csv(file)
        monkeypatch.setattr("sys.argv", ["workbench", "calibrate", kind, str(file), "--out", str(out)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        assert left.value.code == 0
        return file, out

    return call


def sample(kind):
    return tables.read_text(catalogue.path(f"measured/{kind.replace('-', '_')}.csv"))


@pytest.mark.parametrize("kind", FEW)
def test_what_is_written_is_read_and_used(calibrate, monkeypatch, kind):
    which, names = FEW[kind]
    file, out = calibrate(kind, sample(kind).filter(which))
    found = validation.calibrate(kind, file)
    before = validation.validate(kind, file).rows
    assert {path.name for path in (out / "calibration").iterdir()} == {f"{name}.csv" for name in found} == {f"{name}.csv" for name in names}
    monkeypatch.setenv("WORKBENCH_DATA", str(out))
    for name, table in found.items():
        table_name = f"calibration/{name}"
        read, ours = catalogue.table(table_name), tables.shipped(table_name)
        names = tables.names(table, table_name)
        own = [pl.Series([name in names for name in tables.names(frame, table_name)]) for frame in (read, ours)]
        assert read.filter(own[0]).select(table.columns).equals(table)  # to the last bit
        assert read.filter(~own[0]).equals(ours.filter(~own[1]))
    after = validation.validate(kind, file).rows
    errors = [(rows["predicted"] / rows["measured"]).log().abs().drop_nans().mean() for rows in (before, after)]
    assert after["predicted"].count() == before["predicted"].count()
    assert not after.select("predicted", "low", "high").equals(before.select("predicted", "low", "high"))
    assert errors[1] < 0.9 * errors[0]


@pytest.mark.parametrize("kind", FEW)
def test_a_folder_may_be_calibrated_anew_while_it_is_in_use(calibrate, monkeypatch, kind):
    rows = sample(kind).filter(FEW[kind][0])
    _, out = calibrate(kind, rows)
    monkeypatch.setenv("WORKBENCH_DATA", str(out))
    file, _ = calibrate(kind, rows)
    assert validation.validate(kind, file).rows["predicted"].count() > 0


def test_a_log_of_ones_own_leaves_other_chips_as_they_were(calibrate, monkeypatch):
    def seconds(chip):
        return float(collective_time("all_reduce", np.array([2.0**28]), [Tier(8, 450e9, "scale-up", chip)]).seconds[0])

    before = {chip: seconds(chip) for chip in ("H100", "GB300", "never measured")}
    _, out = calibrate("collectives", sample("collectives").filter(FEW["collectives"][0]).with_columns(time_us=pl.lit("777.0")))
    monkeypatch.setenv("WORKBENCH_DATA", str(out))
    assert {chip for chip in before if seconds(chip) != before[chip]} == {"H100"}


def test_many_rows_replace_what_ships_with_its_intervals(calibrate, monkeypatch):
    monkeypatch.setattr(fit, "OWN", 20)
    monkeypatch.setattr(fit, "FOLDS", 2)
    _, out = calibrate("training", sample("training").filter(pl.col("source_key").is_in(["megatron-bridge", "llm-foundry", "internevo"])))
    assert {path.stem for path in (out / "calibration").iterdir()} == {"training", "training_evidence", "training_errors"}
    assert tables.read(out / "calibration" / "training.csv", "calibration/training").height < catalogue.table("calibration/training").height
    cases = tables.read(out / "calibration" / "training_errors.csv", "calibration/training_errors")["case"].to_list()
    assert {"InternEvo|version", "framework not measured"} <= set(cases)


@pytest.mark.parametrize(
    ("kind", "rows", "said"),
    [
        ("gemm", sample("gemm").head(3), "no row of it can be calibrated on"),
        ("collectives", sample("collectives").with_columns(quality=pl.lit("suspect")), "no row of it can be calibrated on"),
        ("training", sample("training").with_columns(chip=pl.lit("H1000")), "nothing to calibrate on"),
        ("training-memory", sample("training-memory").with_columns(mem_gb=pl.lit("")), "nothing to calibrate on"),
        ("serving", sample("serving").with_columns(mode=pl.lit("magic")), "nothing to calibrate on"),
    ],
)
def test_a_file_that_gives_nothing_is_refused(tmp_path, kind, rows, said):
    rows.write_csv(tmp_path / "rows.csv")
    with pytest.raises((DataError, InputError), match=said):
        validation.calibrate(kind, tmp_path / "rows.csv")


def test_tables_that_could_not_be_read_back_are_not_written(tmp_path):
    rows = sample("gemm").head(12)
    twice = pl.concat([rows.with_columns(precision=pl.lit(name)) for name in ("FP16", "fp16")])
    twice.write_csv(tmp_path / "rows.csv")
    with pytest.raises(
        DataError, match=r"gemm\.csv, row 5, column 'level, key, constant': not written: 'system\|A100\|fp16\|.*' is already the key of"
    ):
        validation.write_tables(validation.calibrate("gemm", tmp_path / "rows.csv"), tmp_path / "mine")
    assert not (tmp_path / "mine").exists()


def step():
    return chips.training_step("Llama-3-8B", Cluster("H100", 8), chips.TrainingPlan(), 8)


@pytest.mark.parametrize(
    ("table", "line", "call"),
    [
        ("training", "framework,mine,matmuls", step),
        ("training_memory", "framework,mine,gradients", step),
        (
            "collectives",
            "ranks,scale-up|all_reduce|H100|eight,step_ll",
            lambda: collective_time("all_reduce", 1e6, [Tier(8, 450e9, "scale-up", "H100")]),
        ),
    ],
)
def test_a_node_that_no_model_has_is_named(tmp_path, monkeypatch, table, line, call):
    (tmp_path / "calibration").mkdir()
    (tmp_path / "calibration" / f"{table}.csv").write_text(f"level,key,constant,offset,rows,source,as_of\n{line},0,1,x,2026\n")
    monkeypatch.setenv("WORKBENCH_DATA", str(tmp_path))
    with pytest.raises(InputError, match=r"node '.*(matmuls|gradients|eight)'.*expected"):
        call()


def test_addresses_are_refused_before_anything_is_fitted(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["workbench", "calibrate", "gemm", "rows.csv", "--out", "s3://bucket/mine"])
    with pytest.raises(SystemExit):
        cli.main()
    assert capsys.readouterr().err == "error: --out s3://bucket/mine: a folder is expected, because WORKBENCH_DATA names one\n"
    assert list(tmp_path.iterdir()) == []
