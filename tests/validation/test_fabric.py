import polars as pl
import pytest

from workbench import catalogue, validation
from workbench.validation import collectives, topology
from workbench.validation.report import read


def test_shipped_collectives_are_predicted_within_the_noise():
    report = validation.validate("collectives", by="collective")
    total = report.table().row(-1, named=True)
    assert total["predicted"] >= 0.9 * total["rows"]
    assert total["median_error_%"] <= 5
    assert 70 <= total["coverage_%"] <= 95


def test_every_shipped_count_is_exact():
    total = validation.validate("topology", by="group").table().row(-1, named=True)
    assert total["predicted"] >= 35
    assert total["within_tolerance"] == total["predicted"]


@pytest.mark.parametrize(("kind", "module"), [("collectives", collectives), ("topology", topology)])
def test_answers_are_never_seen(kind, module):
    frame = read(catalogue.path(f"measured/{kind}.csv"), module)
    blind = frame.drop(*(c for c in module.MEASURED if c in frame.columns))
    assert [p.value for p in module.predict(blind)] == [p.value for p in module.predict(frame)]


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
