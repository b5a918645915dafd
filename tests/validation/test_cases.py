"""Published cases as calls of public functions: those that ship come out, and a file of one's own is refused row by row with the reason."""

import json
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from workbench import validation
from workbench.cli import app
from workbench.errors import DataError
from workbench.validation import cases, score

FILES = ("demand", "energy", "scaling", "topology")
PUE = '{"call": "catalogue.cost", "arguments": {"name": "pue_microsoft"}, "read": "value"}'


@pytest.fixture(scope="module")
def shipped():
    return cases.read(cases.shipped("cases"))


@pytest.fixture(scope="module")
def report():
    return validation.validate("cases", by="file")


def row(**cells):
    return dict.fromkeys(cases.TEXT) | {"id": "1", "expected": "1", "source": "test"} | cells


def answers(frame):
    return [answer for _, answer in score.answers(cases.FORM, frame, Path("mine.csv"), cases.ask(frame))]


def predicted(call, arguments="{}", read=None):
    return answers(pl.DataFrame([row(call=call, arguments=arguments, read=read)], schema=dict.fromkeys(cases.TEXT, pl.String)))[0]


def test_shipped_cases_hold_but_those_whose_note_says_why_not(shipped, report):
    rows = report.rows.with_columns(note=shipped["note"])
    unanswered = rows.filter(pl.col("predicted").is_null())
    assert unanswered["skipped"].str.contains("chinchilla").all()  # the points are not ours to ship
    assert rows["predicted"].count() >= 130
    off = rows.filter((pl.col("predicted") - pl.col("measured")).abs() > pl.col("tolerance") + 1e-12 * pl.col("measured").abs())
    wrong = rows.filter(pl.col("note").fill_null("").str.starts_with("known wrong"))
    assert set(off["id"]) == set(wrong["id"]) == {"H3-67B.N", "H3-67B.D"}


def test_ids_are_unique_and_every_case_has_a_source(shipped):
    assert shipped["id"].n_unique() == shipped.height
    assert shipped["source"].null_count() == 0
    assert set(shipped["file"]) == set(FILES)


@pytest.mark.parametrize("kind", FILES)
def test_a_kind_is_its_file_of_cases(kind, shipped, report):
    mine = validation.validate(kind).rows
    assert mine.equals(validation.validate("cases", cases.shipped(kind)).rows)
    whole = report.rows.filter(pl.col("by") == kind)
    assert mine.select("id", "predicted", "measured").equals(whole.select("id", "predicted", "measured"))


def test_predictions_never_see_what_was_published(shipped):
    some = shipped.filter(pl.col("file").is_in(["energy", "topology"]))
    blind = some.drop(*cases.MEASURED).with_columns(id=pl.int_range(pl.len()).cast(pl.String))
    assert [a.value for a in answers(blind[::-1])][::-1] == [a.value for a in answers(some)]


@pytest.mark.parametrize(
    ("call", "arguments", "read", "value"),
    [
        ("fleet.annuity", '{"capital": 1e6, "rate": 0, "years": 4}', None, 250_000),
        ("fleet.annuity", '{"capital": [1e6, 2e6], "rate": 0, "years": 4}', "[1] / 1e3", 500),
        ("fleet.annuity", "[1e6, 0, 4]", "* 1e-6", 0.25),
        ("catalogue.chip", '{"name": "H100"}', "tdp", 700),
        (".peak", '{"self": {"call": "catalogue.chip", "arguments": {"name": "H100"}}, "precision": "bf16"}', "/ 1e12", 989),
        ("fabric.optical_switches", '{"cubes": 64}', "", 48),
        ("catalogue.table", '{"name": "chips"}', '["tdp_w"][0] * 0', 0),
        ("fleet.annuity", f'{{"capital": {PUE}, "rate": 0, "years": 1}}', "", 1.17),
        ("energy.server_power", '{"chip": "H100"}', "rated", 1274.7),
    ],
)  # fmt: skip
def test_calls_are_read_as_written(call, arguments, read, value):
    found = predicted(call, arguments, read)
    assert found.skipped is None
    assert found.value == pytest.approx(value)


@pytest.mark.parametrize(
    ("call", "arguments", "read", "said"),
    [
        ("scaling.optimal_allocatoin", "{}", "", "unknown public function '.*'; nearest: scaling.optimal_allocation"),
        ("scaling._public", "{}", "", "unknown public function"),
        ("scaling.optima.law_spread", "{}", "", "unknown public function"),
        ("os.system", '["true"]', "", "unknown public function 'os.system'"),
        ("catalogue.tables.read", '["x"]', "", "unknown public function"),
        ("", "{}", "", "unknown public function ''"),
        ("fleet.annuity", "{not json", "", "arguments are no JSON"),
        ("fleet.annuity", '{"capital": NaN, "rate": 0, "years": 1}', "", "arguments are no JSON: NaN is no number"),
        ("fleet.annuity", "3", "", "expected an object by name, or a list by position"),
        ("fleet.annuity", '{"capital": 1}', "", "annuity: missing a required argument: .rate.; it takes capital, rate, years"),
        ("fleet.annuity", '{"capital": 1, "rate": 0, "years": 1, "life": 2}', "", "annuity: got an unexpected keyword argument .life."),
        ("fleet.annuity", '{"capital": 1, "rate": 0, "years": -1}', "", "years = -1: expected more than 0"),
        ("fleet.annuity", '{"capital": 1, "rate": 0, "years": {"call": "os.getcwd"}}', "", "unknown public function 'os.getcwd'"),
        ("fleet.annuity", '{"capital": [1, 2], "rate": 0, "years": 1}', "", r"ndarray of shape \(2,\), not one number"),
        ("catalogue.chip", '{"name": "H100"}', "name", "str of shape"),
        ("catalogue.chip", '{"name": "H100"}', "peak", "not one number"),
        ("catalogue.chip", '{"name": "H100"}', "colour", "catalogue.chip: AttributeError.*colour"),
        ("catalogue.chip", '{"name": "H100"}', "__class__", "read = '__class__': expected attributes"),
        ("catalogue.chip", '{"name": "H100"}', "tdp + 1", "read = 'tdp . 1': expected attributes"),
        ("catalogue.chip", '{"name": "H100"}', "peak('bf16')", "expected attributes"),
        (".peak", '{"self": {"call": "catalogue.chip", "arguments": {"name": "H100"}}}', "", ".peak: TypeError.*missing"),
        (".__init__", '{"self": {"call": "catalogue.chip", "arguments": {"name": "H100"}}}', "", "no public method of self"),
        (".write_csv", '{"self": {"call": "catalogue.table", "arguments": {"name": "chips"}}}', "", "no public method of .* DataFrame"),
        (".upper", '{"self": "h100"}', "", "no public method of self, which is of type str"),
    ],
)  # fmt: skip
def test_what_is_no_public_call_is_refused_with_the_reason(call, arguments, read, said):
    found = predicted(call, arguments, read)
    assert found.value is None
    assert pl.Series([found.skipped]).str.contains(said)[0], found.skipped


def written(tmp_path, *rows, columns=cases.TEXT):
    path = tmp_path / "mine.csv"
    pl.DataFrame(list(rows), schema=dict.fromkeys(cases.TEXT, pl.String)).select(columns).write_csv(path)
    return path


GOOD = row(call="fleet.annuity", arguments='{"capital": 1e6, "rate": 0, "years": 4}', expected="252000", rtol="0.01")


def test_one_bad_row_leaves_the_others(tmp_path):
    bad = [GOOD | {"id": "2", "arguments": "{"}, GOOD | {"id": "3", "expected": "lots"}, GOOD | {"id": "4", "expected": None}]
    rows = validation.validate("cases", written(tmp_path, GOOD, *bad, GOOD | {"id": "5", "rtol": "0.001", "atol": "10"})).rows
    assert rows["predicted"].to_list() == [250_000, None, None, None, 250_000]
    assert rows["skipped"].is_null().to_list() == [True, False, False, False, True]
    assert rows["skipped"][2] == rows["skipped"][3] == "what was measured, or the error allowed, is no number"
    assert rows["tolerance"].to_list()[::4] == [2520, 262]
    table = validation.validate("cases", tmp_path / "mine.csv").table().row(-1, named=True)
    assert (table["rows"], table["predicted"], table["within_tolerance"]) == (5, 2, 1)


@pytest.mark.parametrize("kind", ["cases", *FILES])
def test_a_file_in_another_form_is_one_line(tmp_path, kind):
    with pytest.raises(DataError, match=r"column 'rtol': no column rtol; a file of cases has id, call, arguments, read, expected, rtol"):
        validation.validate(kind, written(tmp_path, GOOD, columns=[c for c in cases.TEXT if c != "rtol"]))
    (tmp_path / "old.csv").write_text("id,law,kind,inputs,quantity,expected,tolerance,source\na,b,c,N=1,L,1,1%,d\n")
    with pytest.raises(DataError, match="no column call; a file of cases has id, call, arguments, read, expected, rtol"):
        validation.validate(kind, tmp_path / "old.csv")


def test_without_the_points_the_rest_still_comes_out(monkeypatch, tmp_path):
    monkeypatch.setenv("WORKBENCH_EXTERNAL", str(tmp_path))
    rows = validation.validate("scaling").rows
    assert rows["predicted"].count() >= 49
    assert rows["skipped"].str.contains("WORKBENCH_EXTERNAL is set but has no chinchilla_points").sum() > 15


def test_command_line(tmp_path):
    out, file = tmp_path / "out.json", written(tmp_path, GOOD)
    result = CliRunner().invoke(app, ["validate", "cases", str(file), "--by", "file", "--json", str(out)])
    assert result.exit_code == 0, result.output
    assert "mine" in result.output
    rows = json.loads(out.read_text())
    assert [(r["id"], r["predicted"], r["measured"]) for r in rows] == [("1", 250_000, 252_000)]
    whole = CliRunner().invoke(app, ["validate", "cases", "--by", "file"])
    assert all(name in whole.output for name in FILES)
