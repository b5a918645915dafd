import polars as pl

from workbench import catalogue, validation
from workbench.validation import collectives
from workbench.validation.report import read


def test_shipped_collectives_are_predicted_within_the_noise():
    report = validation.validate("collectives", by="collective")
    total = report.table().row(-1, named=True)
    assert total["predicted"] >= 0.9 * total["rows"]
    assert total["median_error_%"] <= 5
    assert 70 <= total["coverage_%"] <= 95


def test_every_shipped_count_is_exact():
    total = validation.validate("topology").table().row(-1, named=True)
    assert total["within_tolerance"] == total["predicted"] == total["rows"] == 27


def test_answers_are_never_seen():
    frame = read(catalogue.path("measured/collectives.csv"), collectives)
    blind = frame.drop(*(c for c in collectives.MEASURED if c in frame.columns))
    assert [p.value for p in collectives.predict(blind)] == [p.value for p in collectives.predict(frame)]


def test_doubtful_rows_are_left_out_with_their_reason():
    frame = read(catalogue.path("measured/collectives.csv"), collectives)
    doubtful = frame.with_columns(quality=pl.lit("suspect: no P2P?"))
    assert {p.skipped for p in collectives.predict(doubtful)} == {"quality of the row: suspect"}


def test_tables_are_predicted_by_others_where_every_row_is_usable():
    path = catalogue.path("measured/collectives.csv")
    rows = read(path, collectives).filter(pl.col("fabric").str.contains("A3") & (pl.col("collective") != "alltoall"))
    found = collectives.predict_without(rows, "table_id")
    assert [p.position for p in found] == list(range(rows.height))
    assert all(p.value > 0 for p in found)
