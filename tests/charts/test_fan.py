"""Pictures of what may come: fans, shares over time, indices."""

import datetime as dt

import numpy as np
import polars as pl
import pytest

from workbench import charts
from workbench.charts import theme
from workbench.charts.render import render
from workbench.errors import InputError
from workbench.uncertainty.summaries import bands

QUARTERS = [2026.5, 2026.75, 2027.0]
FUTURES = np.array([[1.0, 2, 3], [1, 3, 9], [1, 4, 27]])  # three quarters, three futures
FAN = bands(FUTURES, levels=(0.5, 0.9)).frame(quarter=QUARTERS)
SEEN = pl.DataFrame({"quarter": [2026.0, 2026.25], "value": [0.5, 1.0]})


def fan(frame=FAN, **changed):
    given = {"x": "quarter", "x_unit": "quarter", "y_unit": "compute [H100e]", "title": "It grows", "subtitle": "A test"}
    return charts.fan(frame, **given | changed)


def test_a_fan_draws_the_widest_band_first_and_says_its_end():
    spec = fan(observed=SEEN).to_dict()
    assert [layer["mark"]["type"] for layer in spec["layer"]] == ["area", "area", "line", "point", "point", "text"]
    assert [layer["transform"][0]["filter"] for layer in spec["layer"][:3]] == [
        "datum['level'] === 0.9",
        "datum['level'] === 0.5",
        "datum['level'] === 0.9",
    ]
    assert "4 (1.3 to 24.7) at 2027" in spec["description"]
    assert spec["title"]["subtitle"] == ["A test. Line: median; shades hold 50 and 90\N{NO-BREAK SPACE}% of the futures; points: observed."]
    low, high = spec["layer"][0]["encoding"]["y"]["scale"]["domain"]
    assert low < 0.5
    assert high > 24.7
    assert spec["layer"][0]["encoding"]["x"]["scale"]["domain"] == [2026, 2027]


def test_long_names_of_series_stand_apart_and_fit():
    both = pl.concat([FAN.with_columns(what=pl.lit(n)) for n in ("Demand at today's price, all classes of work together", "Supply")])
    chart = fan(both, series="what", y_log=True)
    spec = chart.to_dict()
    labels = spec["datasets"][spec["layer"][-1]["data"]["name"]]
    assert labels[0]["label"] == "Demand at today's price, all\nclasses of work together"
    low, high = spec["layer"][0]["encoding"]["y"]["scale"]["domain"]
    for layer in spec["layer"]:  # on a logarithmic axis the Vega-Lite of JupyterLab adds up the positions of series otherwise
        assert layer["encoding"]["x"]["stack"] is layer["encoding"]["y"]["stack"] is None
    places = [np.log(row["median"] / low) / np.log(high / low) * 320 for row in labels]
    assert abs(places[0] - places[1]) >= 29.5  # px: both end at the same median, and take two lines
    bundle, metadata = render(spec)
    assert metadata["image/png"]["width"] <= theme.WIDTH + 20
    assert len(bundle["image/png"]) > 5_000


def test_dates_stand_as_years():
    dated = FAN.with_columns(quarter=pl.Series([dt.date(2026, 7, 1), dt.date(2026, 10, 1), dt.date(2028, 1, 1)] * 2))
    spec = fan(dated).to_dict()
    assert spec["layer"][0]["encoding"]["x"]["scale"]["domain"] == [pytest.approx(2026 + 181 / 365, abs=0.01), 2028]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: fan(x="month"), "no column 'month'"),
        (lambda: fan(FAN.clear()), "no rows"),
        (lambda: fan(pl.concat([FAN, FAN[:1]])), "is given twice"),
        (lambda: fan(FAN.with_columns(low=pl.col("high") + 1)), "at quarter = 2026.5: low .* do not rise"),
        (lambda: fan(FAN.with_columns(low=pl.col("low") - 5), y_log=True), "column 'low', row 0: .* logarithmic"),
        (lambda: fan(pl.concat([FAN.with_columns(s=pl.lit(n)) for n in "abcde"]), series="s"), "5 series: a picture shows at most 4"),
        (lambda: fan(FAN.with_columns(s=pl.lit("a")), series="s", observed=SEEN.with_columns(s=pl.lit("b"))), "observed names 'b'"),
        (lambda: fan(observed=SEEN.drop("value")), "no column 'value'"),
    ],
)
def test_fans_that_cannot_be_drawn_are_refused(wrong, said):
    with pytest.raises(InputError, match=said):
        wrong()


SHARES = pl.DataFrame({"q": [1.0, 1, 2, 2], "what": ["chips", "power"] * 2, "p": [0.7, 0.2, 0.1, 0.9]})


def shares(frame=SHARES, **changed):
    given = {"x": "q", "part": "what", "value": "p", "x_unit": "quarter", "y_unit": "probability", "title": "Power", "subtitle": "A test."}
    return charts.shares(frame, **given | changed)


def test_shares_lie_on_each_other():
    spec = shares().to_dict()
    rows = next(iter(spec["datasets"].values()))
    assert [(r["what"], r["start"], r["end"]) for r in rows] == [
        ("chips", 0, 0.7),
        ("power", 0.7, 0.9),
        ("chips", 0, 0.1),
        ("power", 0.1, 1.0),
    ]
    assert "chips 70 % to 10 %; power 20 % to 90 %" in spec["description"]
    assert spec["layer"][0]["encoding"]["color"]["legend"]["columns"] >= 2


def test_long_names_of_parts_take_lines_of_the_legend():
    long = SHARES.with_columns(what=pl.col("what") + " energised at sites with a grid connection of their own")
    spec = shares(long).to_dict()
    assert spec["layer"][0]["encoding"]["color"]["legend"]["columns"] == 1
    assert render(spec)[1]["image/png"]["width"] <= theme.WIDTH + 20


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: shares(SHARES.with_columns(p=pl.col("p") + 0.5)), "chips at q = 1.0: 1.2 is no share"),
        (lambda: shares(SHARES.with_columns(p=pl.lit(0.6))), "shares at q = 1.0 add up to 1.2"),
        (lambda: shares(SHARES[:3]), "power: a share at 1 of 2 places"),
        (lambda: shares(pl.concat([SHARES, SHARES[:1].with_columns(p=pl.lit(0.0))])), "is given twice"),
        (lambda: shares(part="who"), "no column 'who'"),
    ],
)
def test_shares_that_cannot_be_drawn_are_refused(wrong, said):
    with pytest.raises(InputError, match=said):
        wrong()


def test_indices_are_bars_to_the_total_divided_at_the_first_order():
    found = pl.DataFrame({"input": ["b", "a", "c"], "first_order": [0.1, 0.5, -0.01], "total_order": [0.3, 0.6, 0.02]})
    spec = charts.indices(found, title="a decides", subtitle="A test.", of="the price").to_dict()
    rows = [r for data in spec["datasets"].values() for r in data if "part" in r]
    ends = {(r["label"], r["part"]): r["end"] for r in rows}
    assert list(dict.fromkeys(r["label"] for r in rows)) == ["a", "b", "c"]
    assert [ends[k, "alone (first order)"] for k in "abc"] == [0.5, 0.1, 0]
    assert [ends[k, "with others (to total)"] for k in "abc"] == [0.6, 0.3, 0.02]
    assert spec["layer"][1]["encoding"]["x"]["axis"]["title"] == "share of the variance of the price"
    with pytest.raises(InputError, match="'a' names more than one row"):
        charts.indices(found.with_columns(input=pl.lit("a")), title="", subtitle="")
