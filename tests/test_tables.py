"""A table that breaks its declaration does not load, and says where and why."""

from concurrent.futures import ThreadPoolExecutor

import polars as pl
import pytest

from workbench import catalogue, tables
from workbench.errors import DataError, UnknownName

ROW = {
    "chip": "Own 1",
    "vendor": "Us",
    "release": "2026",
    "status": "announced",
    "bf16_tflops": "1000",
    "hbm_gb": "96",
    "hbm_gb_per_s": "4000",
    "price_usd": "9000",
    "source": "data sheet",
    "as_of": "2026-11",
}


def write(path, *rows):
    pl.DataFrame(list(rows)).write_csv(path)
    return path


@pytest.fixture
def chips(tmp_path):
    return tmp_path / "chips.csv"


@pytest.mark.parametrize("table", tables.table_names())
def test_every_shipped_table_keeps_to_its_declaration(table):
    frame = tables.load(table)
    assert frame.columns == [c.column for c in tables.declaration(table)]
    assert frame.height > 0
    header = (tables.DATA / f"{table}.csv").read_text(encoding="utf8").splitlines()[0]
    assert header == ",".join(frame.columns), "a shipped table holds every declared column, in order"


@pytest.mark.parametrize("table", [t for t in tables.table_names() if t != "external"])
def test_every_shipped_row_has_a_source_and_a_date(table):
    frame = tables.load(table)
    assert frame["source"].str.len_chars().min() > 10
    assert frame["as_of"].str.contains(r"^20\d\d").all()
    assert not frame["source"].str.to_lowercase().str.contains(r"from memory|remembered").any(), (
        "what nobody has read in its source does not enter"
    )


@pytest.mark.parametrize("column", ["vendor", "hbm_gb", "source"])
def test_missing_column(chips, column):
    write(chips, {k: v for k, v in ROW.items() if k != column})
    with pytest.raises(DataError, match=rf"chips\.csv, column '{column}': the column is missing"):
        tables.read(chips, "chips")


def test_all_missing_columns_at_once(chips):
    write(chips, {k: v for k, v in ROW.items() if k not in ("vendor", "hbm_gb", "as_of")})
    told = r"column 'vendor': the column is missing; it holds company that designs and sells it; so are hbm_gb, as_of"
    with pytest.raises(DataError, match=told):
        tables.read(chips, "chips")


def test_unknown_column_names_the_nearest(chips):
    write(chips, ROW | {"hbm_gbps": "4000"})
    with pytest.raises(DataError, match=r"column 'hbm_gbps': table 'chips' has no such column; nearest: hbm_gb"):
        tables.read(chips, "chips")


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("price_usd", "-9000", "'-9000' is outside its range: expected a number from 10 to 1e"),
        ("hbm_gb", "96 GB", "'96 GB' is not a number from"),
        ("hbm_gb", "nan", "'nan' is not a number"),
        ("hbm_gb", "inf", "'inf' is not a number"),
        ("hbm_gb", "", "is blank"),
        ("scaleup_domain", "7.5", "'7.5' is not a whole number"),
        ("status", "rumoured", "'rumoured' is not one of shipping, announced"),
    ],
)
def test_bad_cell_is_named_with_row_and_column(chips, column, value, reason):
    write(chips, ROW | {"scaleup_domain": "8"}, ROW | {"chip": "Own 2", "scaleup_domain": "8", column: value})
    with pytest.raises(DataError) as raised:
        tables.read(chips, "chips")
    assert raised.value.row == 3  # as an editor counts: the header is row 1
    assert raised.value.column == column
    assert raised.value.reason.startswith(reason)
    assert str(chips) in str(raised.value)


def test_duplicate_key_whatever_its_case(chips):
    write(chips, ROW, ROW | {"chip": "OWN 1"})
    with pytest.raises(DataError, match=r"row 3, column 'chip': 'OWN 1' is already the key of an earlier row"):
        tables.read(chips, "chips")


def test_sparse_peak_marked_dense_by_the_vendors_own_sparse_figure(chips):
    write(chips, ROW | {"bf16_tflops": "1979", "sparse_bf16_tflops": "1979"})
    with pytest.raises(DataError, match=r"row 2, column 'bf16_tflops': 1979 is not the dense peak.*dense is about 989"):
        tables.read(chips, "chips")


def test_sparse_peak_of_a_chip_we_know(chips, monkeypatch):
    write(chips, ROW | {"chip": "H100", "bf16_tflops": str(2 * catalogue.chip("H100").peak("bf16") / 1e12)})
    monkeypatch.setenv("WORKBENCH_DATA", str(chips.parent))
    with pytest.raises(DataError, match=r"twice the dense peak .* of H100: this is the sparse figure"):
        tables.load("chips")


def test_narrow_format_slower_than_a_wide_one(chips):
    write(chips, ROW | {"fp8_tflops": "500"})
    with pytest.raises(DataError, match=r"column 'fp8_tflops': 500 is below the bf16 peak 1000"):
        tables.read(chips, "chips")


def test_price_outside_its_own_band(chips):
    write(chips, ROW | {"price_low_usd": "10000", "price_high_usd": "12000"})
    with pytest.raises(DataError, match=r"column 'price_low_usd': 10000 does not bracket price_usd = 9000"):
        tables.read(chips, "chips")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"chip,vendor\nA,B,C,D\n", "row 2: 4 cells where the header has 2"),
        (b"chip,chip\nA,B\n", "column 'chip': the column occurs more than once"),
        (b'chip,vendor\nC,D\nA,"B\n', "row 3: not a readable UTF-8 CSV from here on: .* is a quote left open"),
        (b"chip;vendor\nA;B\n", "cells are separated by ';'; expected commas"),
        (b"chip,vendor,\nA,B,x\n", "row 2: 'x' is in a column without a name"),
        (b"chip,vendor\n\xff\xfe\x00bad,B\n", "not a readable UTF-8 CSV|missing"),
    ],
)
def test_file_that_is_no_csv(chips, content, reason):
    chips.write_bytes(content)
    with pytest.raises(DataError, match=reason):
        tables.read(chips, "chips")


def test_windows_line_ends_and_byte_order_mark(chips):
    text = write(chips, ROW).read_text()
    chips.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert tables.read(chips, "chips")["price_usd"].to_list() == [9000.0]


def test_empty_lines_and_columns_at_the_ends_are_none(chips):
    text = write(chips, ROW).read_text()
    chips.write_text("\n" + "".join(f"{line},,\n" for line in text.splitlines()) + "\n\n")
    assert tables.read(chips, "chips")["price_usd"].to_list() == [9000.0]


def test_missing_file_and_unknown_table(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        tables.read(tmp_path / "chips.csv", "chips")
    with pytest.raises(UnknownName, match=r"unknown table 'chip'; nearest: chips"):
        tables.load("chip")


def test_users_rows_are_added_and_win_by_key(chips, monkeypatch):
    ours = catalogue.chip("H100").price
    monkeypatch.setenv("WORKBENCH_DATA", str(chips.parent))
    write(chips, ROW, ROW | {"chip": "h100", "price_usd": "12345"})
    assert catalogue.chip("Own 1").hbm_bytes == 96e9
    assert catalogue.chip("H100").price == 12345
    assert tables.load("chips")["chip"].str.to_lowercase().is_unique().all()
    write(chips, ROW | {"price_usd": "8000"})  # an edited file is read again
    assert catalogue.chip("Own 1").price == 8000
    monkeypatch.delenv("WORKBENCH_DATA")
    assert catalogue.chip("H100").price == ours


def test_users_folder_that_does_not_exist(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="WORKBENCH_DATA names a folder that does not exist"):
        catalogue.chip("H100")


def test_a_file_of_the_user_that_is_no_table(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_DATA", str(tmp_path))
    (tmp_path / "gridz.csv").write_text("grid\n")
    with pytest.raises(DataError, match=r"gridz\.csv: unknown table 'gridz'; nearest: grids"):
        catalogue.chip("H100")


def dictionary():
    """Every table with its columns, units, ranges and meanings."""
    for table in tables.table_names():
        yield from (f"### `{table}.csv`", "", "| column | unit | allowed | meaning |", "|---|---|---|---|")
        for c in filter(
            lambda c: c.meaning or not c.column.endswith("_tflops"), tables.declaration(table)
        ):  # a peak that `formats` alone names
            name = f"**{c.column}** (key)" if c.key else c.column if c.required else f"{c.column} (optional)"
            allowed = c.allowed.removesuffix(f" {c.unit}") if c.unit else c.allowed
            yield f"| {name} | {c.unit or ''} | {allowed} | {c.meaning} |"
        yield ""


def test_data_dictionary_says_what_the_schema_says():
    text = (tables.DATA / "README.md").read_text(encoding="utf8")
    assert text[text.index("### ") :] == "\n".join(dictionary())
    for file in sorted(tables.DATA.rglob("*.csv")):
        assert file.relative_to(tables.DATA).as_posix() in text


def test_what_stands_instead_of_a_table_is_read_within_and_gone_after():
    ours = tables.load("costs")
    two, one = ours.head(2), ours.head(1)
    with tables.instead({"costs": two}):
        assert tables.load("costs") is two
        with tables.instead({"costs": one}), tables.instead({}):
            assert tables.load("costs") is one
            assert tables.load("chips").height > 1
        assert tables.load("costs") is two
    assert tables.load("costs") is ours


def test_what_stood_instead_is_gone_after_an_error():
    ours = tables.load("costs")
    with pytest.raises(ZeroDivisionError), tables.instead({"costs": ours.head(1)}):
        1 / 0  # noqa: B018
    assert tables.load("costs") is ours


def test_models_follow_what_stands_instead_and_other_threads_do_not():
    shipped = catalogue.cost("pue_microsoft").value
    dearer = catalogue.table("costs").with_columns(pl.col("value") * 2)
    with ThreadPoolExecutor(1) as pool, tables.instead({"costs": dearer}):
        assert catalogue.cost("pue_microsoft").value == 2 * shipped
        assert pool.submit(lambda: catalogue.cost("pue_microsoft").value).result() == shipped
    assert catalogue.cost("pue_microsoft").value == shipped
