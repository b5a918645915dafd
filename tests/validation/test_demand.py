import json

import polars as pl
import pytest

from workbench import catalogue, validation
from workbench.cli import app
from workbench.validation import demand
from workbench.validation.demand_facts import years

SHIPPED = catalogue.path("measured/demand.csv")


@pytest.fixture(scope="module")
def cases():
    return demand.read(SHIPPED)


@pytest.fixture(scope="module")
def report():
    return validation.validate("demand", by="route")


def case(what, inputs, unit, group="", kind="arithmetic"):
    row = {"id": None, "group": group, "kind": kind, "what": what, "inputs": json.dumps(inputs), "unit": unit, "source": "test"}
    return demand.predict(pl.DataFrame([row], schema_overrides={"id": pl.String}))[0]


def test_every_shipped_case_comes_out_inside_its_own_bounds(report):
    total = report.table().row(-1, named=True)
    assert total["predicted"] == total["rows"] == total["within_tolerance"]
    bounds = demand.read(SHIPPED)
    for p in report.rows.iter_rows(named=True):
        row = bounds.row(p["position"], named=True)
        assert row["low"] - 1e-12 <= p["predicted"] <= row["high"] + 1e-12


def test_most_cases_are_computed_and_few_are_facts_looked_up(report):
    routes = dict(report.rows["by"].value_counts().iter_rows())
    assert routes["fact"] <= 0.1 * report.rows.height
    assert {"arithmetic", "table", "model", "backtest", "numerical"} <= set(routes)


def test_predictions_never_see_what_was_published(cases):
    cheap = cases.filter(~pl.col("route").is_in(["backtest", "numerical"]))
    blind = cheap.drop(*demand.MEASURED).with_columns(id=pl.int_range(pl.len()).cast(pl.String))
    seen = [p.value for p in demand.predict(cheap)]
    assert [p.value for p in demand.predict(blind)] == seen
    assert sorted(p.value for p in demand.predict(blind[::-1])) == sorted(seen)


@pytest.mark.parametrize(
    ("what", "inputs", "unit", "expected"),
    [
        ("Google TPU stock ratio end 2025 / end 2024", {}, "x", 3812878 / 951445),
        ("Google DeepMind used end 2024", {}, "H100e", 420334),
        ("Microsoft Nvidia compute end 2025", {}, "H100e", 3151494),
        ("all vendors: sold in 2025", {}, "H100e", 19737835 - 6531926),
        ("Meta cash capex 2025", {}, "USD B", 12.94 + 16.54 + 18.83 + 21.38),
        ("Amazon capex 2025Q3: total incl. finance leases minus cash PP&E", {}, "USD B", 36.07 - 35.1),
        ("four hyperscalers' cash capex growth 2025 over 2024", {}, "x", 376.06 / 228.34),
        ("Inflection-2.5 revision", {}, "x", 0.8),
        ("HBM shipped 2026E / 2025", {}, "x", 3.75 / 2.21),
        ("GB300 equivalents", {"hbm3e": 2.88, "hbm4": 2.88, "u": 3, "gb": 288}, "GB300e", 4e7),
        ("potential sessions", {"gb300e": 1e6, "G": 5, "K": 6, "S": 30, "f": 0.5}, "sessions", 5e5),
        ("growth 415 to 945", {"a": 415, "b": 945, "years": 6}, "x/yr", (945 / 415) ** (1 / 6)),
        ("doubling time", {"a": 1, "b": 8, "months": 36}, "months", 12),
        ("a reply", {"tokens": 500, "active": 1e11, "peak": 989.4e12, "util": 0.1, "watts": 1050}, "Wh", 0.2948),
        ("tokens of a month as H100e", {"tokens": 3.2e15, "active": 1e11, "util": 0.2}, "H100e", 614867),
        ("messages per WAU per day", {"msgs_week": 18e9, "wau": 7e8}, "messages", 3.673),
        ("fresh share, WEKA", {}, "fraction", 0.0373),
        ("average power", {"msgs": 2.4e9, "wh": 0.5}, "GW", 0.05),
        ("largest run", {"c0": 1e25, "g": 3, "years": 2}, "FLOP", 9e25),
        ("IEA global 2035 base", {}, "TWh", 1200),
    ],
)  # fmt: skip
def test_siblings_of_the_cases_are_computed(what, inputs, unit, expected):
    found = case(what, inputs, unit)
    assert found.skipped is None
    assert found.value == pytest.approx(expected, rel=2e-3)
    assert found.low <= found.value <= found.high


def test_takeoff_preset_and_year_are_read_from_the_words():
    assert case("aggressive preset, largest training run 2024", {}, "FLOP", "ftm").value > case("same, 2024", {}, "FLOP", "ftm").value


def test_what_cannot_be_told_is_skipped_with_a_reason():
    assert case("weight of the moon", {}, "kg", "astronomy").skipped == "no formula for: astronomy, weight of the moon"
    assert "that snapshot was not published" in case("OLS growth, July 2026 vintage", {}, "x/yr").skipped
    assert "of 16 quarters are known" in case("four hyperscalers' cash capex 2031", {}, "USD B").skipped
    assert "the words name no year or quarter" in case("capex", {}, "USD B").skipped
    assert "inputs and words do not tell what it needs" in case("growth", {"a": 0, "b": 1}, "x").skipped


def test_broken_inputs_are_no_crash():
    row = pl.DataFrame(
        {
            "id": ["1"],
            "group": ["g"],
            "kind": ["k"],
            "what": ["capex 2024 of Meta"],
            "inputs": ["{not json"],
            "unit": ["USD B"],
            "source": ["s"],
        }
    )
    assert demand.predict(row)[0].value == pytest.approx(6.4 + 8.17 + 8.26 + 14.43)


def test_a_list_of_figures_is_as_many_predictions(report):
    rows = report.rows.filter(pl.col("id") == "L08")
    assert rows["predicted"].to_list() == pytest.approx([10, 10, 10.526], abs=1e-3)
    assert rows["measured"].to_list() == [10.0, 10.0, 10.5]


def test_bounds_are_kept_apart_from_the_value():
    row = {"expected": "10", "low": 9.0, "high": 13.0}
    assert demand.measured(row, demand.Prediction(0, "expected", 12.0)) == (10.0, 3.0)
    assert demand.measured(row, demand.Prediction(0, "expected", 9.5)) == (10.0, 1.0)
    assert demand.measured(row | {"expected": None, "low": 4.0, "high": 16.0}, demand.Prediction(0, "expected", 9.0)) == (8.0, 8.0)


def test_years_of_words():
    assert years("from 2024 to end 2030, 1999") == [2024, 2030]


def test_command_line(tmp_path):
    from typer.testing import CliRunner

    out = tmp_path / "out.json"
    few = tmp_path / "cases.csv"
    demand.read(SHIPPED).filter(pl.col("id").is_in(["S01", "K01"])).drop("route").write_csv(few)
    result = CliRunner().invoke(app, ["validate", "demand", str(few), "--json", str(out)])
    assert result.exit_code == 0, result.output
    rows = json.loads(out.read_text())
    assert [r["quantity"] for r in rows] == ["expected", "expected"]
    assert {"position", "id", "predicted", "low", "high", "measured", "source", "skipped"} <= set(rows[0])
