"""Series of one definition."""

import dataclasses

import numpy as np
import polars as pl
import pytest
from scipy.stats import linregress, t

from workbench import catalogue
from workbench.demand.forecast import history
from workbench.demand.forecast.history import SuspectData
from workbench.errors import InputError, UnknownName


def test_dates():
    assert [history.year(text) for text in ("2025Q4", "2025", "2026-01-01", "2025-07")] == [
        2026,
        2026,
        2026,
        pytest.approx(2025.5417, abs=1e-4),
    ]
    with pytest.raises(InputError, match=r"date '2025Q5': expected YYYY, YYYYQn"):
        history.year("2025Q5")
    for text in ("2026-13", "2026-00", "9999-12-31", 2026, None):
        with pytest.raises(InputError, match=f"date {text!r}: expected"):
            history.year(text)


def test_a_series_is_of_positive_values_one_a_row():
    meta = history.capex("Meta")
    with pytest.raises(InputError, match=r"values\[1\] = -1: expected more than 0"):
        dataclasses.replace(meta.take(slice(0, 2)), values=np.array([1.0, -1.0]))
    with pytest.raises(InputError, match="capex of Meta: 2 rows; expected as many times and values"):
        dataclasses.replace(meta, rows=("a", "b"))


def test_yearly_capex_of_four_hyperscalers():
    capex = history.capex()  # cases K01 and K02: sums of the companies' cash flow statements
    year = np.ceil(capex.times) - 1  # a quarter stands at its end
    assert capex.values[year == 2025].sum() == pytest.approx(376.1e9, abs=1e9)
    assert capex.values[year == 2024].sum() == pytest.approx(228.3e9, abs=2e9)
    assert history.reporting() == ["Alphabet", "Amazon", "Meta", "Microsoft"]


def test_chip_stock_of_all_vendors():
    stock = history.chip_stock()  # cases C04, C05, C06 (Epoch AI, ai-chip-counts)
    at = dict(zip(stock.times.tolist(), stock.values.tolist(), strict=True))
    assert at[2026.0] / at[2025.0] == pytest.approx(3.02, abs=0.01)
    assert at[2025.0] / at[2024.0] == pytest.approx(4.08, abs=0.01)
    fit = linregress(stock.times, np.log(stock.values))
    reach = t.ppf(0.95, 10) * fit.stderr
    assert np.exp(fit.slope + np.array([0, -reach, reach])) == pytest.approx([4.01, 3.71, 4.34], abs=0.01)
    assert stock.times.size == 12


def test_snapshots_of_notable_models():
    old, new = (history.notable_models(vintage=v) for v in ("2025-06", "2026-07"))
    figure = {s: dict(zip(m.rows, m.values.tolist(), strict=True)) for s, m in (("old", old), ("new", new))}
    assert "Grok 4" not in figure["old"]
    # cases D03 to D05: revisions between the snapshots
    for model, factor in (("AlphaGo Zero", 0.0019), ("GPT-4.5", 1.81), ("Grok 3", 0.754)):
        assert figure["new"][model] / figure["old"][model] == pytest.approx(factor, rel=0.01)


def test_running_top_models_grow_as_published():
    # cases T07 and T08, on the rows of the full list that the table holds (72 of 73, 65 of 75)
    for most_rank, since, low, high in ((5, 2010, 4.16, 4.74), (10, 2018, 4.26, 5.19)):
        top = history.notable_models(most_rank=most_rank)
        kept = top.times >= since
        assert low < np.exp(linregress(top.times[kept], np.log(top.values[kept])).slope) < high


def test_total_needs_one_unit_and_common_times():
    meta = history.capex("Meta")
    assert history.total([meta, meta], "twice").values == pytest.approx(2 * meta.values)
    with pytest.raises(InputError, match=r"sum: units H100e, USD do not add"):
        history.total([meta, history.chip_stock("Nvidia")], "sum")
    with pytest.raises(InputError, match="no time that all of"):
        history.total([meta.take(slice(0, 3)), meta.take(slice(4, 6))], "sum")


def test_frame_and_unknown_names():
    frame = history.users("ChatGPT", "weekly active").frame()
    assert frame.columns == ["name", "unit", "kind", "times", "values", "rows"]
    assert frame["unit"].unique().to_list() == ["users"]
    with pytest.raises(UnknownName, match=r"unknown company 'Amazn'; nearest: Amazon"):
        history.capex("Amazn")
    with pytest.raises(UnknownName, match="unknown vintage '2024'"):
        history.notable_models(vintage="2024")


def test_chained_duplicates_are_refused(monkeypatch):
    rows = catalogue.table("capex")
    again = rows.filter(pl.col("id") == "Meta 2024Q1 cash").with_columns(id=pl.lit("Meta 2024Q1 other"))
    monkeypatch.setattr(history.catalogue, "table", lambda name: pl.concat([rows, again]))
    with pytest.raises(SuspectData, match=r"Meta 2024Q1 other: the series already has 'Meta 2024Q1 cash' at that time"):
        history.capex("Meta")
