"""Sealed forecasts: with date and hash, appended once, scored by what came, refused where a row was changed."""

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from workbench import catalogue, tables
from workbench.cli import app
from workbench.demand.forecast import sealed
from workbench.errors import InputError


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("sealed") / "sealed.csv"
    sealed.seal(path)
    return path


def test_what_is_sealed_is_sealed_once(file):
    rows = pl.read_csv(file)
    assert rows.columns == list(sealed.COLUMNS)
    assert rows["id"].n_unique() == rows.height >= 30
    assert (rows["p10"] <= rows["p50"]).all()
    assert (rows["p50"] <= rows["p90"]).all()
    assert (rows["target"] > rows["known_until"]).all()
    assert sealed.seal(file).height == 0
    assert pl.read_csv(file).equals(rows)
    assert sealed.score(file).height == 0  # no time has come


def test_later_rows_score_it(file):
    """A forecast of 2026Q2 made from what was known at the end of 2025, against the quarter as it came."""
    actual = catalogue.table("capex")
    before = actual.filter(~pl.col("period").is_in(["2026Q1", "2026Q2"]))
    early = file.parent / "early.csv"
    with tables.instead({"capex": before}):
        sealed.seal(early)
    found = sealed.score(early).filter(pl.col("series").str.starts_with("capex of 4"))
    assert found["target"].to_list() == [2026.5]
    cash = actual.filter((pl.col("period") == "2026Q2") & (pl.col("basis") == "cash"))["capex_usd_b"].sum()
    assert found["outcome"][0] == pytest.approx(cash * 1e9)
    row = pl.read_csv(early).filter(pl.col("series").str.starts_with("capex of 4") & (pl.col("target") == 2026.5)).row(0, named=True)
    assert found["inside_80"][0] == (row["p10"] <= cash * 1e9 <= row["p90"])
    told, came = np.log([row[f"p{q}"] for q in (10, 25, 50, 75, 90)]), np.log(cash * 1e9)
    pinball = [max(q * (came - t), (q - 1) * (came - t)) for q, t in zip(sealed.QUANTILES, told, strict=True)]
    assert found["crps"][0] == pytest.approx(2 * np.mean(pinball))


def test_a_changed_row_is_refused(file):
    rows = pl.read_csv(file, infer_schema=False)
    for tampered in (rows.with_columns(p50=pl.lit("1")), rows.slice(1), rows.reverse()):
        path = file.parent / "tampered.csv"
        tampered.write_csv(path)
        with pytest.raises(InputError, match="is not as it was sealed"):
            sealed.score(path)
    rows.drop("seal").write_csv(file.parent / "short.csv")
    with pytest.raises(InputError, match=r"columns id.*; expected id, series"):
        sealed.score(file.parent / "short.csv")
    with pytest.raises(InputError, match=r"missing\.csv"):
        sealed.score(file.parent / "missing.csv")


def test_what_ships_is_as_it_was_sealed():
    assert sealed.score(tables.DATA / "sealed_forecasts.csv").height >= 0
    assert catalogue.table("sealed_forecasts").height >= 30


def test_the_command_seals_and_scores(file, tmp_path):
    run = CliRunner()
    path = tmp_path / "mine.csv"
    path.write_bytes(file.read_bytes())
    scored = run.invoke(app, ["forecasts", "score", str(path)])
    assert scored.exit_code == 0
    assert "inside_80" in scored.output
    assert run.invoke(app, ["forecasts", "seal", str(path)]).exit_code == 0
    assert path.read_bytes() == file.read_bytes()  # all of it was sealed before
    with pytest.raises(InputError, match="forecasts open: expected seal or score"):
        run.invoke(app, ["forecasts", "open", str(path)], catch_exceptions=False)


def test_a_file_that_is_not_there_is_told_with_the_command_that_writes_it(tmp_path):
    with pytest.raises(InputError, match=r"none.csv: No such file.*; workbench forecasts seal .*none.csv writes such a file"):
        sealed.score(tmp_path / "none.csv")
