"""Prices, disclosures and forecasts: dates in order, no leap without a note, one currency, derived prices by their rule."""

import json
import re
from datetime import date
from itertools import groupby, pairwise
from statistics import median

import polars as pl
import pytest

from workbench import catalogue, tables
from workbench.errors import InputError, UnknownName

#: Sold inside devices alone, or as a service: no price of the part is to be had.
IN_DEVICES = {
    "M4",
    "M4 Max",
    "Ryzen AI Max+ 395",
    "Snapdragon X Elite",
    "Snapdragon X2 Elite Extreme",
    "Core Ultra 7 258V",
    "Snapdragon 8 Gen 3",
}
AS_A_SERVICE = {"Groq LPU v1", "SN40L", "Inferentia1"}
#: Compute dies of chips whose cost is derived from memory and silicon.
DIES = {name: 1 for name in ("Trainium1", "Inferentia2", "Maia 100", "Maia 200", "Microsoft Cobalt 100", "Microsoft Cobalt 200")}
DIES |= {"Trainium2": 2, "Trainium3": 2}


def series(name, by, time, value):
    """Rows of each series, in order of time: key, then (time, value, note)."""
    frame = catalogue.table(name).sort(*by, time, maintain_order=True)
    for key, rows in groupby(frame.iter_rows(named=True), key=lambda r: tuple(r[c] for c in by)):
        yield key, [(r[time], r[value], r["note"] or "") for r in rows]


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("rent_history", "date"),
        ("disclosures", "end"),
        ("forecasts", "made_on"),
        ("token_prices", "since"),
        *((t, "as_of") for t in tables.table_names() if t != "external" and "/" not in t),
    ],
)
def test_dates_are_years_months_or_days_that_have_been(name, column):
    for text in tables.load(name)[column].drop_nulls():
        assert tables.DATE.fullmatch(text), text
        date.fromisoformat(text + "-01-01"[len(text) - 4 :])
        assert column != "as_of" or text <= date.today().isoformat()


def test_rents_are_of_known_chips_and_one_a_day():
    frame = catalogue.table("rent_history")
    assert set(frame["chip"]) <= set(catalogue.names("chips"))
    assert not frame.select("chip", "tariff", "provider", "date").is_duplicated().any()
    assert set(frame.filter(chip="H100")["tariff"]) == {"on-demand", "spot", "1 year", "3 years", "mixed"}
    assert frame.filter(chip="H100", tariff="on-demand")["date"].str.slice(0, 4).unique().sort().to_list() == [
        "2023",
        "2024",
        "2025",
        "2026",
    ]


@pytest.mark.parametrize(
    ("name", "by", "time", "value", "most"),
    [
        ("rent_history", ["chip", "tariff", "provider"], "date", "usd_per_gpu_h", 1.6),
        ("disclosures", ["entity", "quantity", "unit"], "end", "value", 2.5),
    ],
)
def test_no_series_leaps_without_a_note(name, by, time, value, most):
    for key, rows in series(name, by, time, value):
        for (_, before, _), (when, now, note) in pairwise(rows):
            if before > 0 and now > 0 and not 1 / most < now / before < most:
                assert "times the row before" in note, (*key, when)


def test_a_spot_hour_is_cheaper_than_one_on_demand():
    frame = catalogue.table("rent_history").filter(pl.col("date").str.starts_with("2026"))
    for chip in ("H100", "H200", "B200"):
        spot, asked = (frame.filter(chip=chip, tariff=t)["usd_per_gpu_h"].median() for t in ("spot", "on-demand"))
        assert spot < asked


def test_every_chip_on_sale_has_a_price_band():
    chips = catalogue.table("chips").filter(pl.col("status") == "shipping")
    bare = chips.filter(pl.any_horizontal(pl.col("price_low_usd", "price_usd", "price_high_usd", "price_basis").is_null()))
    assert set(bare["chip"]) == IN_DEVICES | AS_A_SERVICE
    priced = chips.filter(pl.col("price_usd").is_not_null())
    assert (priced["price_low_usd"] < priced["price_usd"]).all()
    assert (priced["price_high_usd"] > priced["price_usd"]).all()


def test_the_cost_of_a_chip_of_ones_own_follows_from_memory_silicon_and_margin():
    prices = {r["chip"]: r for r in catalogue.table("hardware_prices").filter(basis="derived", kind="owner's cost").iter_rows(named=True)}
    assert set(prices) == set(DIES)
    memory, margin = catalogue.cost("hbm_usd_per_gb"), catalogue.cost("design_house_margin")
    for name, dies in DIES.items():
        gb = catalogue.table("chips").filter(chip=name)["hbm_gb"].sum()  # processors have none
        silicon = catalogue.cost(f"asic_silicon_{'one_die' if dies == 1 else 'two_dies'}_usd")
        for column, end in (("low_usd", "low"), ("price_usd", "value"), ("high_usd", "high")):
            expected = (gb * getattr(memory, end) + getattr(silicon, end)) / (1 - getattr(margin, end))
            assert prices[name][column] == pytest.approx(expected, abs=6), (name, column)
        if gb:
            assert catalogue.chip(name).price == prices[name]["price_usd"]


def test_the_rule_of_silicon_gives_what_epoch_finds_of_tpus():
    # made of 4,600 to 5,500 USD (TPU v7, two dies, 192 GB) and 1,600 to 1,900 (TPU v6e, one, 32 GB): Epoch AI, tpu_estimates.ipynb
    memory = catalogue.cost("hbm_usd_per_gb").value
    for gb, silicon, made in ((192, "two_dies", 5030), (32, "one_die", 1744), (95, "one_die", 2583)):
        assert gb * memory + catalogue.cost(f"asic_silicon_{silicon}_usd").value == pytest.approx(made, rel=0.15)


def like(name, other):
    """Price of a chip as that of another, by the geometric mean of what its peak and its memory are of the other's."""
    a, b = (catalogue.table("chips").row(by_predicate=pl.col("chip") == n, named=True) for n in (name, other))
    return b["price_usd"] * (a["bf16_tflops"] / b["bf16_tflops"] * a["hbm_gb"] / b["hbm_gb"]) ** 0.5


def test_a_price_like_another_follows_from_peak_and_memory():
    rows = catalogue.table("hardware_prices").filter(pl.col("like").is_not_null())
    assert rows.height == 17
    for r in rows.iter_rows(named=True):
        assert r["price_usd"] == pytest.approx(like(r["chip"], r["like"]), rel=0.01)
        assert r["high_usd"] / r["price_usd"] == pytest.approx(1.75, rel=0.01)
        assert r["price_usd"] / r["low_usd"] == pytest.approx(1.75, rel=0.01)


def test_published_prices_lie_within_the_band_of_that_rule():
    pairs = [("H200", "H100"), ("MI325X", "MI300X"), ("MI355X", "MI350X"), ("B300", "B200"), ("GB300", "GB200"), ("RTX 4090", "RTX 5090")]
    pairs += [("RTX 4090", "RTX 3090"), ("MI250X", "MI250"), ("H100 PCIe", "H100"), ("A100 PCIe", "A100"), ("L20", "A10"), ("L4", "A10")]
    pairs += [("T4", "L4"), ("RTX A6000", "RTX 3090"), ("A100 40GB", "A100"), ("MI300X", "MI250X"), ("H20", "H100")]
    off = [max(r := like(a, b) / catalogue.chip(a).price, 1 / r) for a, b in pairs]
    assert median(off) < 1.35
    assert sum(x < 1.75 for x in off) >= 0.9 * len(pairs)


def test_hardware_prices_name_what_they_are_of():
    frame = catalogue.table("hardware_prices")
    others = {"TPU (all)", "TPU v4i", "K80", "P40", "RTX 6000 Ada", "Blackhole p100", "Blackhole p150", "P100 16GB"}
    assert set(frame["chip"]) <= {*catalogue.names("chips"), *catalogue.names("cpus"), *others}
    each = {r["id"]: r["price_usd"] / r["chips"] for r in frame.iter_rows(named=True)}
    assert each["Rubin estimate rack 2026-05"] == pytest.approx(108_377, rel=1e-3)  # with CPUs, switches and cooling
    rack = frame.row(by_predicate=pl.col("id") == "Rubin estimate rack 2026-05", named=True)
    assert rack["memory_share"] * rack["price_usd"] == pytest.approx(2_001_600, rel=1e-3)  # Morgan Stanley


def test_cached_tokens_are_cheaper_and_output_dearer():
    frame = catalogue.table("token_prices")
    assert (frame["usd_per_million_cached_input"].fill_null(0) <= frame["usd_per_million_input"]).all()
    assert (frame["usd_per_million_output"] >= frame["usd_per_million_input"]).all()
    peak, off = (frame.filter(model="DeepSeek-V4-Pro", tariff=t).row(0, named=True) for t in ("peak", "off-peak"))
    for column in ("usd_per_million_input", "usd_per_million_cached_input", "usd_per_million_output"):
        assert peak[column] == pytest.approx(2 * off[column])


def test_money_that_was_disclosed_is_in_one_currency_a_series():
    units = {u for u in catalogue.table("disclosures")["unit"].drop_nulls() if "10^" in u or "USD" in u}
    assert units == {"10^9 USD", "10^9 TWD", "10^9 USD/GW", "10^6 USD/MW-year", "10^9 GB", "USD/GPU-h"} & units
    assert set(catalogue.table("disclosures").filter(unit="10^9 TWD")["entity"]) == {"TSMC"}
    for key, rows in series("disclosures", ["entity", "quantity"], "end", "unit"):
        assert len({unit for _, unit, _ in rows}) == 1, key


def test_a_backlog_grows_and_was_known_after_its_quarter():
    for entity in ("AWS", "CoreWeave", "Google Cloud", "Microsoft", "Oracle"):
        rows = catalogue.table("disclosures").filter(
            (pl.col("topic") == "backlog") & (pl.col("entity") == entity) & (pl.col("unit") == "10^9 USD")
        )
        main = rows.filter(pl.col("quantity") == rows["quantity"].mode()[0]).sort("end")
        assert main["value"].is_sorted(), entity
        assert (main["as_of"] >= main["end"]).all()


def test_forecasts_that_are_scored_have_an_outcome():
    frame = catalogue.table("forecasts")
    assert (frame["outcome"].is_not_null() == (frame["status"] == "scored")).all()
    assert frame.filter(status="scored").height == 39
    assert (frame["made_on"] == frame["as_of"]).all()


def test_more_drafts_are_kept_the_more_are_made():
    for key, rows in series("acceptance", ["model", "method", "thinking"], "draft_tokens", "acceptance_length"):
        assert all(1 < length <= drafts + 1 for drafts, length, _ in rows), key
        assert all(now > 0.94 * before for (_, before, _), (_, now, _) in pairwise(rows)), key  # measured: it may fall a little


def test_what_was_known_then():
    whole = catalogue.table("rent_history")
    dates = ("2023", "2024-06", "2026-05-20", "2026-12")
    heights = [catalogue.table("rent_history", as_of=a).height for a in dates]
    assert heights == sorted(heights)
    assert heights[-1] == whole.height
    assert catalogue.table("rent_history", as_of="2024-06")["as_of"].max() <= "2024-06-30"
    guided = catalogue.table("capex", as_of="2026-05").filter(company="Amazon", kind="guidance")["capex_usd_b"].to_list()
    assert guided == [200]  # 220 since July
    with tables.instead({"capex": pl.DataFrame({"as_of": ["2026", "2026-08", "2026-08-15"]})}):
        assert [catalogue.table("capex", as_of=a).height for a in ("2026-08-14", "2026-08-15", "2026-08", "2026-11", "2026")] == [
            0,
            1,
            2,
            2,
            3,
        ]


@pytest.mark.parametrize("as_of", ["2026-8", "August 2026", "2026-13", "26", "2026-08-32"])
def test_a_date_that_is_none(as_of):
    with pytest.raises(InputError, match=r"as_of = .*: expected a year, a month or a day, as 2026, 2026-08 or 2026-08-31"):
        catalogue.table("rent_history", as_of=as_of)


def test_a_date_that_is_no_text():
    with pytest.raises(InputError, match=r"as_of = 2026\.5: expected text$"):
        catalogue.table("rent_history", as_of=2026.5)


def test_a_table_without_dates():
    with pytest.raises(InputError, match="the rows of table 'external' have no dates"):
        catalogue.table("external", as_of="2026")


def test_the_rent_of_a_month():
    rent = catalogue.rent("H100")
    lists = catalogue.table("rent_history").filter(chip="H100", tariff="on-demand", kind="price list", date="2026-10-24")
    assert rent.value == lists["usd_per_gpu_h"].median()
    assert rent.ends == (2.58, 6.155)
    assert "2026-10: median of price lists (16)" in rent.meaning
    assert catalogue.rent(catalogue.chip("H100"), "1 year").value == 2.65
    assert "indices" in catalogue.rent("B200").meaning
    with pytest.raises(
        InputError, match=r"tariff = 'monthly': no rent of H100 by it; known tariffs: 1 year, 3 years, mixed, on-demand, spot"
    ):
        catalogue.rent("H100", "monthly")
    with pytest.raises(InputError, match=r"no rent of Maia 100 by it as of 2026; known tariffs: none"):
        catalogue.rent("Maia 100", as_of="2026")
    with pytest.raises(UnknownName, match="unknown chip 'H1000'"):
        catalogue.rent("H1000")


def test_the_fleet_is_priced_at_the_newest_rent_of_a_contract():
    cells = json.loads((tables.NOTEBOOKS / "fleet_economics.ipynb").read_text(encoding="utf8"))["cells"]
    lines = [line for cell in cells for line in cell["source"]]
    told = {
        name: float(line.split("=")[1].split("#")[0])
        for line in lines
        for name in ("usd_per_h100_hour", "memory_shock")
        if line.startswith(f"{name}: ")
    }
    assert told["usd_per_h100_hour"] == round(catalogue.rent("H100", "1 year").value, 2)
    assert told["memory_shock"] == catalogue.cost("memory_price_rise").value


def test_ages_of_tables():
    ages = tables.ages(date(2026, 12, 1))
    assert ages["days"].is_sorted(descending=True)
    assert "chips" in ages["table"].to_list()
    assert not ages["table"].str.contains("/").any()
    row = ages.row(by_predicate=pl.col("table") == "rent_history", named=True)
    assert (row["newest"], row["days"]) == ("2026-10-24", 38)


def test_every_table_has_a_licence():
    page = (tables.DATA / "README.md").read_text(encoding="utf8")
    said = page.split("## Licences")[1].split("## Columns")[0]
    words = set(re.findall(r"[\w/]+", said))
    assert [t for t in tables.table_names() if not words & {t, t.split("/")[0], t.split("/")[-1]}] == []
    zones = next(line for line in said.splitlines() if "Electricity Maps" in line)
    assert "ODbL" in zones  # share alike: in a table of its own
    assert not any("electricitymaps" in str(s).lower() for t in ("grids", "regions") for s in catalogue.table(t)["source"])
    assert not catalogue.table("servers")["source"].str.contains("facts_2026").any()
