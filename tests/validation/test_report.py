import json
import random
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from workbench import cli, tables, validation
from workbench.calibration.crossval import conformal_half_width
from workbench.errors import DataError, UnknownName, WorkbenchError
from workbench.validation.report import Report
from workbench.validation.score import KINDS, shipped

HEADER = "id,call,arguments,read,expected,rtol,atol,source,note"
GEMM = "chip,precision,m,k,n,peak,source,tflops"
PLACE = '{""call"": ""energy.site"", ""arguments"": {""region"": ""eastus"", ""carbon_g_per_kwh"": 429, ""pue"": 1}}'
BILL = f'{{""place"": {PLACE}, ""it_power"": [4.6332e12], ""step"": 1}}'
ROW = f'a,energy.energy_bill,"{BILL}","carbon[""location""].kg / 1e3",552.1,0.02,,Patterson 2021,'


def first(path):
    """A file, or the first of a folder."""
    return sorted(path.glob("*.csv"))[0] if path.is_dir() else path


def written(tmp_path, *lines):
    path = tmp_path / "mine.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf8")
    return path


def test_a_users_file_is_predicted_and_compared(tmp_path):
    report = validation.validate("energy", written(tmp_path, HEADER, ROW))
    row = report.rows.row(0, named=True)
    assert row["predicted"] == pytest.approx(552.123)
    assert row["measured"] == 552.1
    assert "1" in str(report)


def test_json_is_the_contract(tmp_path):
    out = tmp_path / "new" / "rows.json"
    report = validation.validate("energy")
    report.write_json(out)
    rows = json.loads(out.read_text())
    assert [r["position"] for r in rows] == list(range(len(rows)))
    assert set(rows[0]) == {"position", "id", "quantity", "predicted", "low", "high", "measured", "source", "skipped", "call"}
    assert all(r["call"] or r["skipped"] for r in rows)
    assert all((r["predicted"] is None) == (r["skipped"] is not None) for r in rows)
    assert {r["quantity"] for r in rows} == {"expected"}
    assert [p.name for p in out.parent.iterdir()] == ["rows.json"]


def test_the_table_counts_what_the_rows_say():
    report = validation.validate("energy", by="call")
    table = report.table()
    groups, total = table[:-1], table.row(-1, named=True)
    assert total["rows"] == report.rows.height == groups["rows"].sum()
    assert total["predicted"] == report.rows["predicted"].count() == groups["predicted"].sum()
    ratio = (report.rows["predicted"] / report.rows["measured"]).drop_nulls().drop_nans().to_numpy()
    ratio = ratio[np.isfinite(ratio)]
    assert total["median_error_%"] == pytest.approx(100 * np.median(np.abs(ratio - 1)), abs=0.006)
    assert sum(report.reasons().values()) == report.rows["skipped"].count()


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([GEMM.replace(",tflops", ""), "H100,bf16,1,1,1,989,x"], "column 'tflops'.*missing"),
        ([""], "empty"),
    ],
)
def test_a_bad_file_is_refused_with_its_place(tmp_path, lines, said):
    path = written(tmp_path, *lines)
    with pytest.raises(DataError, match=said) as raised:
        validation.validate("gemm", path)
    assert str(path) in str(raised.value)


def test_a_row_with_text_in_a_number_is_left_out_and_the_rest_runs(tmp_path):
    good = "H100,bf16,4096,4096,4096,989,x,600"
    path = written(tmp_path, GEMM, good, "H100,bf16,1,50.3-100.6,1,989,x,600", "H100,bf16,1,1,1,989,x,lots", good)
    rows = validation.validate("gemm", path).rows
    left_out = ["column 'k': '50.3-100.6' is not a number", "column 'tflops': 'lots' is not a number"]
    assert rows["skipped"].to_list() == [None, *left_out, None]
    assert rows["predicted"].is_not_null().to_list() == [True, False, False, True]
    with pytest.raises(DataError, match=r"row 3: column 'k': '50\.3-100\.6' is not a number"):
        validation.calibrate("gemm", path)


@pytest.mark.parametrize("column", ["read_in_source", "seen"])
def test_what_is_from_memory_is_not_scored_whatever_its_kind(tmp_path, column):
    path = written(tmp_path, f"{GEMM},{column}", *(f"H100,bf16,4096,4096,4096,989,x,600,{said}" for said in ("yes", "memory", "")))
    assert validation.validate("gemm", path).rows["skipped"].to_list() == [None, "not read in its source", None]


def test_unknown_kind_and_column_are_named(tmp_path):
    with pytest.raises(UnknownName, match="unknown kind of measurements 'enegry'; nearest: energy"):
        validation.validate("enegry")
    with pytest.raises(DataError, match="no such column to group by"):
        validation.validate("energy", by="colour")


def test_conformal_half_width_is_the_ranked_residual():
    # n = 9, level .8: the ceil(10 * .8) = 8th smallest
    assert conformal_half_width([0.1 * i * (-1) ** i for i in range(1, 10)]) == pytest.approx(0.8)


def report_of(errors, groups):
    """A report of rows with these errors in percent."""
    rows = {"by": groups, "predicted": [100.0 + e for e in errors], "measured": [100.0] * len(errors), "low": [0.0] * len(errors)}
    more = {"high": pl.lit(1e9), "tolerance": pl.lit(None, dtype=pl.Float64), "call": pl.lit("f()")}
    return Report("made", pl.DataFrame(rows).with_columns(**more), "maker")


def test_a_long_tail_is_told_by_the_rows_that_carry_it():
    # 2 rows of 100 carry 100 of 198 %
    far = report_of([1.0] * 98 + [50.0, 50.0], ["a"] * 98 + ["b"] * 2)
    assert far.tail() == "the mean error is above the median: 2 of 100 rows (2 %) carry half of all error, 2 of them of maker b"
    assert report_of([1.0, 2.0, 3.0], ["a"] * 3).tail() is None
    assert report_of([0.0] * 3, ["a"] * 3).tail() is None


def test_intervals_are_told_by_what_they_hold_and_how_wide_they_are():
    # 3 of 4 hold what was measured, standard error sqrt(.75 * .25 / 4); half widths 2, 1, 3 and 1, of a row that says none nothing
    rows = report_of([0.0] * 5, ["a"] * 5).rows
    low, high = [50.0, 50.0, 25.0, 101.0, None], [450.0, 200.0, 400.0, 404.0, None]
    table = Report("made", rows.with_columns(low=pl.Series(low), high=pl.Series(high)), "maker").table().row(-1, named=True)
    assert (table["coverage_%"], table["+-"], table["half_width_%"]) == (75, 21.7, 150)
    # a row that was asked and is not answered counts as outside: 3 of 5; one that could not be asked does not count
    lost = pl.DataFrame({"predicted": [None, None], "low": [None, None], "call": ["f()", None]}, schema_overrides={"predicted": pl.Float64})
    six = pl.concat(
        [rows.with_columns(low=pl.Series(low), high=pl.Series(high)), lost.with_columns(measured=pl.lit(100.0))], how="diagonal_relaxed"
    )
    assert Report("made", six.with_columns(by=pl.lit("a")), "maker").table().row(-1, named=True)["coverage_%"] == 60


@pytest.fixture
def refusal(monkeypatch, capsys):
    """What the command says of a call that it refuses, in one line."""

    def call(*words):
        monkeypatch.setattr("sys.argv", ["workbench", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        printed = capsys.readouterr()
        assert left.value.code == 2
        assert printed.out == ""
        assert printed.err.startswith("error: ")
        assert printed.err.count("\n") == 1
        return printed.err

    return call


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["serving", "--by", "colour"], "column 'colour': no such column to group by; the file has id, source_group"),
        (["training", "--leave-out", "colour"], "column 'colour': no such column to leave out by; allowed: configuration, "),
        (["training", "--leave-out", "step_s"], "column 'step_s': no such column to leave out by"),
        (["gemm", "--leave-out", "tflops"], "column 'tflops': no such column to leave out by; allowed: shape, chip"),
        (["energy", "--leave-out", "source"], "--leave-out source: what such rows call rests on no constants that are fitted to them"),
    ],
)
def test_what_cannot_be_grouped_or_left_out_is_one_line(refusal, words, said):
    assert said in refusal("validate", *words)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_without_rows_is_one_line(refusal, tmp_path, kind):
    path = written(tmp_path, first(shipped(kind)).read_text(encoding="utf8").splitlines()[0])
    assert refusal("validate", kind, path) == f"error: {path}: no row of measurements below the header\n"


def test_nothing_is_fitted_again_unless_asked_for(monkeypatch):
    forms = tuple(replace(form, folds=lambda *_: pytest.fail("fitted again")) for form in KINDS["gemm"])
    monkeypatch.setitem(KINDS, "gemm", forms)
    assert validation.validate("gemm").rows.height > 0
    with pytest.raises(pytest.fail.Exception, match="fitted again"):
        validation.validate("gemm", leave_out="chip")


#: What stands in place of a number, a word and an input of a row.
ODD_NUMBERS = ("0", "-1", "1e308", "1e-320", "0.5", "200000000", "2" * 22, "1e12", None)
ODD_WORDS = (None, "x", "null", "0", "-1", "[]", "{}", "\u00e9", "NaN", "1e400", "9" * 400, '{"a": 1}')
ODD_INPUTS = (0, -1, 1e308, None, "x", [], {}, True, [1, 2], 10**30, float("nan"), float("inf"), "2023")


def damaged(kind, rows, rng):
    """The rows, each with one cell changed, or one of its inputs."""
    numbers = {name for form in KINDS[kind] for name in form.numbers}
    for row in rows:
        column = rng.choice(list(row))
        if column == "arguments" or ("arguments" in row and rng.random() < 0.5):
            try:
                given = json.loads(row["arguments"])
                given[rng.choice(list(given))] = rng.choice(ODD_INPUTS)
                row["arguments"] = json.dumps(given)
            except (ValueError, TypeError, IndexError):
                row["arguments"] = rng.choice(ODD_WORDS)
        else:
            row[column] = rng.choice(ODD_NUMBERS if column in numbers else ODD_WORDS)
    return rows


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_rows_are_predicted_or_skipped_with_a_reason(tmp_path, kind):
    sample = tables.read_text(first(shipped(kind)))
    path, rng = tmp_path / "rows.csv", random.Random(0)
    rows = pl.DataFrame(damaged(kind, sample.to_dicts(), rng), schema=sample.schema)
    rows.write_csv(path)
    report = validation.validate(kind, path)
    report.write_json(tmp_path / "rows.json")
    assert report.rows["position"].n_unique() == rows.height
    assert report.rows["predicted"].is_null().equals(report.rows["skipped"].is_not_null())
    assert report.rows["predicted"].count() > 0
    if kind in ("serving", "training"):
        validation.decide([path]).write_json(tmp_path / "decisions.json")
    rows.sample(min(80 if kind == "gemm" else 24, rows.height), seed=0).write_csv(path)  # so many that a chip's products are fitted
    assert str(tmp_path) in calibrated(kind, path)


def calibrated(kind, path):
    """Where the tables are that were fitted to a file, or why there are none."""
    try:
        tables = validation.calibrate(kind, path)
        assert not any(column.is_nan().any() for table in tables.values() for column in table.select(pl.col(pl.Float64)))
        return str(list(validation.write_tables(tables, path.parent / "mine")))
    except WorkbenchError as error:
        return str(error)
