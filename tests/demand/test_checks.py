"""The errors that this field's figures are full of are found where they stand, and growth is not taken for one."""

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.integrate import quad

from audits import AUDITS, path_total, total_against_path
from workbench import catalogue
from workbench.demand.forecast import history
from workbench.demand.forecast.history import SuspectData
from workbench.errors import DataError, InputError
from workbench.tables import read


def changed(table, row, **cells):
    frame = catalogue.table(table)
    assert row in frame["id"].to_list()
    return frame.with_columns(**{c: pl.when(pl.col("id") == row).then(pl.lit(v)).otherwise(pl.col(c)).alias(c) for c, v in cells.items()})


def found(table, rows=None):
    return {(f.row, f.check) for f in AUDITS[table](catalogue.table(table) if rows is None else rows)}


@pytest.fixture
def table_is(monkeypatch):
    """What `history` reads in the place of a table."""
    return lambda rows: monkeypatch.setattr(history.catalogue, "table", lambda name: rows)


def test_what_the_shipped_tables_hold():
    # the revision of AlphaGo Zero between snapshots (case D03) and China's total of 2025 (case I10) are in the sources themselves
    assert {one for table in AUDITS for one in found(table)} == {
        ("AlphaGo Zero", "ratio"),
        ("China national total 2025 2025-12", "total against path"),
    }


@pytest.mark.parametrize(
    ("row", "cells"),
    [
        # two machine translations: 130T for 1.3 quadrillion tokens a month, 100B for 10B a minute
        ("Google all products+API 2025-10", {"value": 1.3e14, "tokens_per_month": 1.3e14}),
        ("Google customers' API 2026-02", {"value": 1e11, "tokens_per_month": 4.383e15}),
    ],
)
def test_translation_slips_of_tokens(row, cells):
    rows = changed("tokens", row, **cells)
    assert (row, "tenfold") in found("tokens", rows)


def test_a_rate_in_another_unit_than_it_says():
    rows = changed("tokens", "OpenAI API 2026-03", unit="tokens/day")
    assert ("OpenAI API 2026-03", "ratio") in found("tokens", rows)


@pytest.mark.parametrize(("row", "value"), [("OpenAI ARR 2024-12", 60e9), ("OpenAI ARR 2025-12", 200e9)])
def test_revenue_that_its_compute_does_not_carry(row, value):
    # 2, 6 and 20 billion USD a year ran on .2, .6 and 1.9 GW (case L08); a page prints 60 and 200
    assert not found("users")
    assert (row, "ratio") in found("users", changed("users", row, value=value))


def test_a_quarter_of_amazon_in_another_unit(table_is):
    rows = changed("capex", "Amazon 2025Q4 cash", capex_usd_b=0.796)  # as a page printed it, for 39.52
    assert {("Amazon 2025Q4 cash", "tenfold"), ("Amazon 2025 cash", "sum of parts")} <= found("capex", rows)
    table_is(rows)
    with pytest.raises(SuspectData, match=r"Amazon 2025Q4 cash: 0\.796 is .* times below its neighbours"):
        history.capex("Amazon")
    with pytest.raises(SuspectData, match="Amazon 2025Q4 cash") as raised:
        history.capex()  # a total names its bad part
    assert [f.row for f in raised.value.findings] == ["Amazon 2025Q4 cash"]


def test_leases_under_the_name_of_cash():
    # 37.5 with leases in 2025Q4, then 30.9 cash in 2026Q1, was reported as a fall of 6.6 billion USD (case K04)
    assert ("Microsoft 2025Q4 cash", "ratio") in found("capex", changed("capex", "Microsoft 2025Q4 cash", capex_usd_b=37.5))


def test_a_total_against_its_own_path():
    # case I10: 1T, 30T and 100T tokens a day at the start, middle and end of 2025 give 1.22e16; the published total is 2.11e16
    path = path_total([2025, 2025.5, 2026], np.array([1e12, 30e12, 100e12]) * 365, 2025, 2026)
    assert path == pytest.approx(1.22e16, rel=0.01)
    assert (
        "1.7 times" in total_against_path("x", 2.11e16, [2025, 2025.5, 2026], np.array([1e12, 30e12, 100e12]) * 365, 2025, 2026)[0].reason
    )
    assert not found("tokens", changed("tokens", "China national total 2025 2025-12", value=1.3e16, tokens_per_month=1.3e16 / 12))


def test_other_contradictions():
    assert ("Nvidia all 2025Q3 cumulative", "never falls") in found(
        "chip_stock", changed("chip_stock", "Nvidia all 2025Q3 cumulative", h100e=8e6)
    )
    assert ("Nvidia B300 2025Q4 quarter", "ratio") in found(
        "chip_stock", changed("chip_stock", "Nvidia B300 2025Q4 quarter", h100e=1.879e5)
    )
    assert ("Nvidia all 2025Q4 cumulative", "sum of parts") in found(
        "chip_stock", changed("chip_stock", "Nvidia all 2025Q4 cumulative", chips=12.5e6)
    )
    row = "Nvidia compute revenue FY25Q1"
    assert (row, "tenfold") in found("supply_drivers", changed("supply_drivers", row, value=1.944e11))
    assert ("IEA, global, energy 2030, base (Energy and AI, Apr 2025)", "sum of parts") in found(
        "power_projections", changed("power_projections", "IEA, China, energy 2030, base table", value=27.7)
    )
    assert ("Oracle Nvidia 2024", "tenfold") in found("compute_owners", changed("compute_owners", "Oracle Nvidia 2024", h100e=26877900.0))


def test_the_same_time_twice():
    again = history.one_value(["a", "b", "c"], [2025.0, 2025.25, 2025.0])
    assert [(f.row, f.reason) for f in again] == [("c", "the series already has 'a' at that time; keep one definition")]


@given(st.lists(st.floats(-0.3, 0.9), min_size=4, max_size=20), st.integers(1, 100))
@example([0.0, 0.5, 0.890625, 0.0], 2)
@example([0.0, 0.75, 0.875, 0.0], 2)
def test_growth_is_no_slip_and_a_slip_in_it_is(steps, place):
    y = np.exp(np.cumsum(steps))  # a quarter may lose a quarter or more than double
    t, rows = 2020 + np.arange(y.size) / 4, [f"r{i}" for i in range(y.size)]
    assert not history.tenfold(rows, t, y)
    i = 1 + place % (y.size - 2)
    wrong = y.copy()
    wrong[i] *= 10
    assert [f.row for f in history.tenfold(rows, t, wrong)] == [rows[i]]


def test_two_slips_are_both_named():
    y = np.ones(9) * np.array([1, 1, 10, 1, 1, 1, 0.1, 1, 1])
    assert {f.row for f in history.tenfold(list("abcdefghi"), np.arange(9.0), y)} == {"c", "g"}


@given(st.lists(st.floats(0.1, 10), min_size=2, max_size=5), st.floats(-1, 1), st.floats(0.1, 3))
def test_path_total_is_the_integral(rates, start, span):
    t = np.arange(len(rates)) * 0.7

    def rate(x):
        i = min(max(np.searchsorted(t, x) - 1, 0), t.size - 2)
        return rates[i] * (rates[i + 1] / rates[i]) ** ((x - t[i]) / 0.7)

    exact = quad(rate, start, start + span, points=[x for x in t if start < x < start + span] or None)[0]
    assert path_total(t, rates, start, start + span) == pytest.approx(exact, rel=1e-6)


def test_a_band_that_does_not_hold_its_value(tmp_path):
    catalogue.table("capex").head(1).with_columns(low_usd_b=pl.lit(9.0)).write_csv(tmp_path / "capex.csv")
    with pytest.raises(DataError, match=r"column 'low_usd_b': 9 does not bracket capex_usd_b = 6\.45"):
        read(tmp_path / "capex.csv", "capex")


def test_bad_input():
    with pytest.raises(InputError, match=r"b: 0: expected more than 0"):
        history.tenfold(["a", "b", "c"], [1, 2, 3], [1, 0, 1])
