"""Pictures say what they find, in words too, and are the same on every run."""

import itertools
import math
import os
import re
import statistics
import struct
import subprocess
import sys
import zlib

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench import charts
from workbench.charts import runs, theme
from workbench.charts.frames import Varied, sample
from workbench.charts.render import MIME, VERSION, alt_text, compact, render
from workbench.errors import InputError

PARTS = pl.DataFrame({"part": ["Chips", "Energy", "Rebate"], "usd": [60.0, 30.0, -10.0]})
SWINGS = pl.DataFrame(
    {"input": ["Price", "PUE"], "low": [80.0, 99.0], "high": [130.0, 104.0], "at_low": ["$20 k", "1.0"], "at_high": ["$40 k", "1.3"]}
)
LABELS = {"label": "input", "low": "low", "high": "high", "low_label": "at_low", "high_label": "at_high"}


def waterfall(frame=PARTS, **changed):
    return charts.waterfall(
        frame, **{"label": "part", "value": "usd", "title": "Chips cost most", "subtitle": "Source: a test.", "unit": "M USD"} | changed
    )


def tornado(frame=SWINGS, **changed):
    given = {"base": 100.0, "title": "Price decides", "subtitle": "One at a time.", "unit": "USD/h"}
    return charts.tornado(frame, **LABELS | given | changed)


@pytest.mark.parametrize(
    ("chart", "finding", "words"),
    [
        (waterfall(), "Chips cost most", ["Chips 60", "Energy 30", "\N{MINUS SIGN}10", "M USD"]),
        (tornado(), "Price decides", ["Price from $20 k to $40 k: 80 to 130", "USD/h"]),
    ],
)
def test_the_title_is_the_finding_and_the_alt_text_says_it_all(chart, finding, words):
    spec = chart.to_dict()
    assert spec["title"]["text"] == [finding]
    assert spec["title"]["subtitle"]
    said = alt_text(spec)
    assert said.startswith(finding)
    assert all(word in said for word in words)


def test_waterfall_stacks_the_parts_and_ends_at_their_sum():
    rows = [row for data in waterfall().to_dict()["datasets"].values() for row in data if "kind" in row]
    assert [(r["start"], r["end"]) for r in rows] == [(0, 60), (60, 90), (90, 80), (0, 80)]
    assert [r["kind"] for r in rows] == ["adds", "adds", "takes away", "total"]


def test_tornado_puts_the_largest_swing_on_top():
    shuffled = tornado(SWINGS[::-1]).to_dict()
    axis = next(layer["encoding"]["y"]["sort"] for layer in shuffled["layer"] if "y" in layer["encoding"])
    assert axis == ["Price", "PUE"]


def test_a_chart_leaves_as_specification_picture_and_words():
    bundle, metadata = render(tornado().to_dict())
    assert set(bundle) == {MIME, "image/png", "text/plain"}
    assert bundle["image/png"].startswith(b"\x89PNG")
    assert len(bundle["image/png"]) > 5_000
    assert 500 < metadata["image/png"]["width"] <= theme.WIDTH + 20
    assert render(tornado().to_dict())[0] == bundle  # the same bytes on every run


def pixels(png):
    """Height x width x 4 of a PNG as vl-convert or `compact` writes it, by the specification (W3C, third edition)."""
    chunks, at = {}, 8
    while at < len(png):
        length, kind = struct.unpack(">I4s", png[at : at + 8])
        chunks[kind] = chunks.get(kind, b"") + png[at + 8 : at + 8 + length]
        at += 12 + length
    width, height, depth, colour = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    channels = {3: 1, 6: 4}[colour]
    lines = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, -1)
    assert depth == 8
    assert set(lines[:, 0]) <= {0, 1}
    values = lines[:, 1:].reshape(height, width, channels).copy()
    sub = lines[:, 0] == 1
    values[sub] = np.cumsum(values[sub], axis=1, dtype=np.uint8)
    if colour == 6:
        return values
    table = np.full((256, 4), 255, np.uint8)
    known = np.frombuffer(chunks[b"PLTE"], np.uint8).reshape(-1, 3)
    table[: len(known), :3] = known
    table[: len(chunks.get(b"tRNS", b"")), 3] = list(chunks.get(b"tRNS", b""))
    return table[values[..., 0]]


GRADIENT = {
    "data": {"sequence": {"start": 0, "stop": 400, "as": "x"}},
    "mark": "tick",
    "encoding": {
        "x": {"field": "x", "type": "quantitative"},
        "color": {"field": "x", "type": "quantitative", "scale": {"scheme": "turbo"}},
    },
}


@pytest.mark.parametrize(
    ("spec", "numbered"),
    [
        (waterfall().to_dict(), True),
        ({"data": {"values": [{}]}, "mark": "point", "background": None}, True),  # see-through
        (GRADIENT, False),  # more than 256 colours
    ],
)
def test_compacting_keeps_the_picture(spec, numbered):
    import vl_convert

    png = vl_convert.vegalite_to_png(spec, vl_version="5.21")
    small = compact(png)
    assert (b"PLTE" in small) == numbered
    assert len(small) < len(png)
    assert compact(small) == small
    np.testing.assert_array_equal(pixels(small), pixels(png))


def test_a_picture_does_not_depend_on_installed_fonts(tmp_path):
    """vl-convert brings the font along; it would take an installed copy, and open its file anew for every letter."""
    nothing = tmp_path / "fonts.conf"
    nothing.write_text(f"<fontconfig><dir>{tmp_path}</dir></fontconfig>")
    code = f"import sys; from workbench.charts.render import paint; sys.stdout.buffer.write(paint({waterfall().to_dict()!r}))"
    environment = {k: v for k, v in os.environ.items() if k != "FONTCONFIG_FILE"}
    usual, bare = (
        subprocess.check_output([sys.executable, "-c", code], env=environment | fonts) for fonts in ({}, {"FONTCONFIG_FILE": str(nothing)})
    )
    assert usual == bare


def test_the_palette_is_okabe_and_itos():
    assert theme.PALETTE[:4] == ["#0072B2", "#E69F00", "#009E73", "#D55E00"]  # Color Universal Design (2008)


@given(st.lists(st.floats(0.01, 1e9), min_size=1, max_size=8))
def test_any_positive_parts_make_a_picture(values):
    frame = pl.DataFrame({"part": [f"p{i}" for i in range(len(values))], "usd": values})
    spec = waterfall(frame).to_dict()
    low, high = spec["layer"][1]["encoding"]["x"]["scale"]["domain"]
    assert low <= 0 < high
    assert high >= sum(values) * 0.999


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: waterfall(value="eur"), "no column 'eur'; it has part, usd"),
        (lambda: waterfall(PARTS.clear()), "no rows"),
        (lambda: waterfall(PARTS.with_columns(usd=pl.lit(float("nan")))), "row 0: nan is no finite number"),
        (lambda: waterfall(PARTS.with_columns(part=pl.lit("same"))), "'same' names more than one row"),
        (lambda: waterfall(total_label="Chips"), "is also the name of a part"),
        (lambda: tornado(base=float("inf")), "base = inf"),
        (lambda: tornado(SWINGS.with_columns(low=pl.lit("x"))), "expected numbers"),
    ],
)
def test_bad_input_is_named(wrong, said):
    with pytest.raises(InputError, match=said):
        wrong()


CURVES = pl.DataFrame(
    {"x": [1.0, 10.0, 100.0] * 3, "y": [3.0, 2.0, 1.0, 3.1, 2.1, 1.01, 9.0, 5.0, 2.0], "who": ["a"] * 3 + ["b"] * 3 + ["c"] * 3}
)


def curves(frame=CURVES, **changed):
    given = {"x": "x", "y": "y", "series": "who", "x_unit": "size [B]", "y_unit": "time [s]", "title": "All fall", "subtitle": "A test."}
    return charts.lines(frame, **given | changed)


def test_lines_are_named_at_their_ends_without_covering_each_other():
    spec = curves(y_log=True).to_dict()
    labels = spec["datasets"][spec["layer"][-1]["data"]["name"]]
    ends = sorted(row["y"] for row in labels)
    assert [row["who"] for row in labels] == ["a", "b", "c"]
    span = spec["layer"][0]["encoding"]["y"]["scale"]["domain"]
    gaps = [math.log(b / a) / math.log(span[1] / span[0]) * 320 for a, b in itertools.pairwise(ends)]
    assert min(gaps) >= 14.5  # px: a and b end within 1 % of each other
    assert spec["layer"][0]["encoding"]["x"]["axis"]["values"] == [1, 10, 100]
    assert "c 2 at 100" in spec["description"]


def test_lines_carry_bands_and_marks():
    banded = CURVES.with_columns(low=pl.col("y") * 0.9, high=pl.col("y") * 1.1)
    spec = curves(banded, low="low", high="high", points=CURVES[:1]).to_dict()
    kinds = ["area", "line", "point", "point", "text"]  # the first points show under the pointer
    assert [layer["mark"]["type"] for layer in spec["layer"]] == kinds
    assert spec["layer"][1]["encoding"]["y"]["scale"]["domain"][1] > 9.9
    assert all(layer["encoding"][axis]["stack"] is None for layer in spec["layer"] for axis in "xy")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: curves(y="z"), "no column 'z'"),
        (lambda: curves(CURVES.with_columns(x=pl.col("x") - 1)), "column 'x', row 0: 0.0 cannot be put on a logarithmic axis"),
        (lambda: curves(CURVES.with_columns(y=pl.lit(float("inf")))), "inf cannot be put on an axis"),
        (lambda: curves(CURVES.clear()), "no rows"),
        (lambda: curves(pl.DataFrame({"x": [1.0] * 9, "y": [1.0] * 9, "who": list("abcdefghi")})), "9 lines: a picture tells 8 apart"),
    ],
)
def test_lines_that_cannot_be_drawn_are_refused(wrong, said):
    with pytest.raises(InputError, match=said):
        wrong()


def test_stacked_bars_end_at_their_sums():
    frame = pl.DataFrame({"what": ["a", "a", "b", "b"], "part": ["x", "y", "x", "y"], "s": [1.0, 2.0, 3.0, 0.5]})
    chart = charts.stacked(frame, label="what", part="part", value="s", unit="s", title="b takes longer", subtitle="made up")
    assert "a: 3, most of it y (2); b: 3.5, most of it x (3)" in chart.description
    data = next(iter(chart.to_dict()["datasets"].values()))
    assert max(row.get("end", 0) for row in data) == 3.5


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        ({"what": ["a"], "part": ["x"], "s": [-1.0]}, "column 's', row 0: -1.0 is no size of a part"),
        ({"what": ["a", "a"], "part": ["x", "x"], "s": [1.0, 1.0]}, "is given twice"),
        ({"what": ["a"], "part": ["x"]}, "the frame has no column 's'"),
        ({"what": ["a"] * 9, "part": list("abcdefghi"), "s": [1.0] * 9}, "9 parts: a picture tells 8 apart"),
    ],
)
def test_bars_that_cannot_be_stacked_are_refused(frame, said):
    with pytest.raises(InputError, match=re.escape(said)):
        charts.stacked(pl.DataFrame(frame), label="what", part="part", value="s", unit="s", title="t", subtitle="s")


RUNS = pl.DataFrame(
    {
        "run": [f"r{i}" for i in range(24)],
        "price": [1.0 + i for i in range(24)],
        "chips": [10.0 ** (1 + i % 4) for i in range(24)],
        "link": ["copper", None, "light"] * 8,
        "usd": [None if i % 8 == 5 else 2.0 * i for i in range(24)],
    }
)
AXES = {"price": "price [USD]", "chips": "chips", "link": "link"}


def swept(kind, frame=RUNS, **changed):
    given = {"axes": AXES, "value": "usd", "unit": "USD/h", "row": "run", "title": "Price decides", "subtitle": "A test."} | changed
    return getattr(runs, kind)(frame, **given)


def heat(frame=RUNS, **changed):
    given = {"x": "chips", "y": "link", "value": "usd", "x_unit": "chips", "y_unit": "link", "unit": "USD/h"} | changed
    return runs.heatmap(frame, **{"title": "Few chips, few dollars", "subtitle": "A test."} | given)


def rows(spec, column):
    return [row for data in spec["datasets"].values() for row in data if column in row]


@pytest.mark.parametrize("chart", [swept("multiples"), heat()])
def test_pictures_of_sweeps_are_drawn_by_the_vega_lite_of_pages_and_the_same_on_every_run(chart):
    import vl_convert

    spec = chart.to_dict()
    assert vl_convert.vegalite_to_vega(spec, vl_version=VERSION)["marks"]
    assert render(spec)[1]["image/png"]["width"] <= theme.WIDTH + 20
    assert not re.search(r"param_\w|view_\d", str(spec))
    assert chart.copy().to_dict() == spec
    assert "A test." in spec["title"]["subtitle"][0]


def test_small_multiples_show_medians_of_neighbours_and_runs_without_a_value():
    spec = swept("multiples").to_dict()
    assert len(spec["concat"]) == 3
    middles = [row for row in rows(spec, "middle") if row.get("axis 1") == 10]
    usd = [v for v in RUNS.filter(pl.col("chips") == 10)["usd"] if v is not None]
    assert middles[0]["middle"] == pytest.approx(statistics.median(usd))
    assert sum(row["value"] is None for row in rows(spec, "row")) == 3
    assert spec["concat"][1]["layer"][0]["encoding"]["x"]["scale"]["type"] == "log"
    assert "; 3 without a value" in spec["description"]


def test_a_heat_map_averages_its_cells_and_marks_those_without_a_value():
    frame = pl.DataFrame({"a": [1, 1, 2, 2], "b": ["x", "x", "x", "y"], "v": [1.0, 3.0, None, 7.0]})
    spec = heat(frame, x="a", y="b", value="v").to_dict()
    cells = {(row["x"], row["y"]): (row["value"], row["text"]) for row in rows(spec, "runs")}
    assert cells == {("1", "x"): (2, "2"), ("2", "x"): (None, "\N{MULTIPLICATION X}"), ("2", "y"): (7, "7")}
    assert "lowest 2 at 1 and x, highest 7 at 2 and y; 1 cells without a value" in spec["description"]


def test_a_large_heat_map_is_binned_and_says_so():
    n = 70
    frame = pl.DataFrame([{"a": float(i), "b": 1.01**k, "v": float(i + k)} for i in range(n) for k in range(n)])
    spec = heat(frame, x="a", y="b", value="v").to_dict()
    assert len(rows(spec, "runs")) <= 60 * 60
    assert sum(row["runs"] for row in rows(spec, "runs")) == n * n
    assert "Numbers in bins, the mean of each is shown." in spec["title"]["subtitle"][0]


@given(st.lists(st.floats(-1e12, 1e12), min_size=3, max_size=40, unique=True))
def test_labels_tell_different_numbers_apart(values):
    labels = Varied.of(pl.DataFrame({"x": values}), "x", "x").levels
    assert len(set(labels)) == len({float(f"{value:.6g}") for value in values})


@given(st.integers(3, 3_000), st.integers(3, 400))
def test_a_sample_holds_the_ends_and_nothing_twice(n, most):
    values = pl.Series([math.sin(i * i) for i in range(n)])
    chosen = sample(values, most)
    assert len(chosen) == len(set(chosen)) == min(n, most)
    assert {values.arg_min(), values.arg_max()} <= set(chosen)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: swept("multiples", value="eur"), "no column 'eur'; it has run, price"),
        (lambda: swept("multiples", axes={}), "0 panels: expected 1 to 9"),
        (lambda: swept("multiples", axes={"prize": "prize"}), "no column 'prize'"),
        (lambda: swept("multiples", RUNS.with_columns(usd=pl.lit(None, pl.Float64))), "no row has a value in column 'usd'"),
        (lambda: swept("multiples", RUNS.with_columns(price=pl.lit(math.inf))), "column 'price', row 0: inf is no finite number"),
        (lambda: swept("multiples", axes={f"a{i}": "a" for i in range(10)}), "10 panels: expected 1 to 9"),
        (lambda: heat(value="eur"), "no column 'eur'"),
        (lambda: heat(RUNS.filter(pl.col("usd").is_null())), "no row has a value"),
        (lambda: heat(pl.DataFrame({"chips": [f"t{i}" for i in range(61)], "link": "a", "usd": 1.0})), "chips: 61 different texts"),
    ],
)
def test_sweeps_that_cannot_be_drawn_are_refused(wrong, said):
    with pytest.raises(InputError, match=re.escape(said)):
        wrong()
