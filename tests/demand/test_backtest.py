"""Backtests use nothing that came later, and the scoreboard beats the bars that simple models set."""

import numpy as np
import polars as pl
import pytest
from scipy.special import ndtri

from workbench import catalogue, demand
from workbench.demand.forecast import scores
from workbench.demand.forecast.history import Series
from workbench.demand.forecast.trend import TrendPrior
from workbench.errors import InputError, UnknownName

RNG = np.random.default_rng(5)


@pytest.fixture(scope="module")
def board():
    return demand.scoreboard()


def entry(board, test, model):
    return board.filter((pl.col("test") == test) & (pl.col("model") == model)).row(0, named=True)


def series(values, name="s", kind="flow"):
    v = np.asarray(values, dtype=float)
    t = 2020 + np.arange(v.size) / 4
    return Series(name, "USD", kind, t, v, tuple(f"{name}{i}" for i in range(v.size)))


def forecasts(errors, name="s", model="m", start=2020.0):
    """Standard normal forecasts a year ahead, a quarter apart, that missed by `errors`."""
    n = len(errors)
    samples = np.tile(ndtri((np.arange(999) + 0.5) / 999), (n, 1))
    origins = start + np.arange(n) / 4
    return scores.Backtest(name, model, origins, origins + 1, samples, np.array(errors, dtype=float))


def test_the_protocol_is_that_of_the_bars(board):
    # the published run: n = 8 and 4 (to 2026Q1), here 9; the best simple model .227 with 4 of 8 covered; log-linear covered none; for capex
    # every model was low, for chips every undamped one high
    capex, chips = "capex of four, 4 quarters ahead", "AI chip stock, 4 quarters ahead"
    damped = entry(board, capex, "damped")
    assert (damped["n"], round(9 * damped["coverage_90"])) == (9, 5)
    assert damped["crps"] == pytest.approx(0.222, abs=0.003)
    assert entry(board, capex, "log-linear")["coverage_90"] == entry(board, chips, "log-linear")["coverage_90"] == 0
    assert entry(board, chips, "drift")["n"] == 4
    simple = board.filter((pl.col("test") == capex) & ~pl.col("model").str.contains("local"))
    assert (simple["bias"] > 0.2).all()
    undamped = board.filter((pl.col("test") == chips) & pl.col("model").is_in(["drift", "log-linear"]))
    assert (undamped["bias"] < -0.3).all()
    # yearly records: n = 10, .320 to .327 by simple models, all covered
    record = entry(board, "frontier record, 1 year ahead", "drift")
    assert (record["n"], record["coverage_90"]) == (10, 1.0)
    assert record["crps"] == pytest.approx(0.32, abs=0.005)


@pytest.mark.parametrize(
    ("test", "model", "least"),
    [
        ("capex of four, 4 quarters ahead", "local trend", 0.17),
        ("AI chip stock, 4 quarters ahead", "local trend", 0.07),
        ("frontier record, 1 year ahead", "compound Poisson", 0.32),
        ("notable models, 1 year ahead", "trend, half-life 4 years, conformal", 1.0),
    ],
)
def test_bars(board, test, model, least):
    score = entry(board, test, model)
    assert score["crps"] <= least
    assert score["coverage_90_high"] > 0.85  # no forecaster that n shows to be over-confident
    assert score["coverage_is_85_to_95"] != "no"


def test_more_forecasts_than_the_headlines(board):
    for test, n in (("capex of each company, 4 quarters ahead", 36), ("chips of each vendor, 4 quarters ahead", 12)):
        ours = entry(board, test, "local trend")
        assert ours["n"] == n
        assert ours["coverage_90"] >= 0.85
        simple = board.filter((pl.col("test") == test) & ~pl.col("model").str.contains("local"))
        assert ours["crps"] < simple["crps"].min()
    notable = entry(board, "notable models, 1 year ahead", "trend, half-life 4 years, conformal")
    assert 0.85 <= notable["coverage_90"] <= 0.95
    assert notable["n"] > 60


def test_scores_hold_for_other_priors():
    # the bars are beaten by any reasonable prior, not by one that was chosen for them
    for prior in (
        TrendPrior(persistence=(0.6,)),
        TrendPrior(persistence=(0.9,)),
        TrendPrior(noise=0.07),
        TrendPrior(growth_deviation=0.2),
    ):
        tests = scores.quarterly(prior)
        assert tests["capex of four, 4 quarters ahead"][0].score()["crps"] < 0.205
        assert tests["AI chip stock, 4 quarters ahead"][0].score()["crps"] < 0.11


def test_no_forecast_sees_what_came_later():
    values = np.exp(np.cumsum(RNG.normal(0.05, 0.1, 14)))
    other = series(np.exp(np.cumsum(RNG.normal(0.05, 0.1, 14))), "other")
    later = values.copy()
    later[9:] *= 3  # from the tenth point on

    def run(v, o):
        return scores.rolling(series(v), scores.local_trend([series(v), o], n=256), "local trend", 4)

    changed_other = series(np.r_[other.values[:9], other.values[9:] * 5], "other")
    a, b = run(values, other), run(later, changed_other)
    early = a.origins <= a.origins[0] + 1.0  # origins at points 5 to 9
    assert np.array_equal(a.samples[early], b.samples[early])
    assert not np.array_equal(a.samples[~early], b.samples[~early])


def test_bands_are_widened_by_known_outcomes_only():
    errors = [3.0] * 12
    test = forecasts(errors)
    wide = scores.inflate(test)
    width = np.ptp(wide.samples, axis=1) / np.ptp(test.samples, axis=1)
    assert width[:4] == pytest.approx(width[0])  # no outcome is known before the first target
    assert np.all(np.diff(width[4:]) >= 0)
    assert width[-1] > 1.2
    swapped = errors[:8] + [50.0] * 4  # these outcomes came after the last origin
    assert np.array_equal(scores.inflate(forecasts(swapped)).samples, wide.samples)
    assert np.median(wide.samples, axis=1) == pytest.approx(np.median(test.samples, axis=1), abs=1e-9)


def test_other_series_are_evidence():
    calm, wild = forecasts([0.1] * 12, "calm"), forecasts([8.0] * 12, "wild", start=2010.0)
    alone, told = scores.inflate(calm), scores.inflate(calm, [wild])
    assert np.ptp(told.samples[0]) > 3 * np.ptp(alone.samples[0])
    # a calibrated forecaster is left about as it is
    right = forecasts(RNG.normal(size=200))
    assert np.ptp(scores.inflate(right).samples[-1]) == pytest.approx(np.ptp(right.samples[-1]), rel=0.25)


def test_scores_of_a_known_forecast():
    test = forecasts(RNG.normal(size=2000))
    score = test.score()
    assert score["crps"] == pytest.approx(1 / np.sqrt(np.pi), abs=0.02)  # of a standard normal, on average
    assert score["coverage_90"] == pytest.approx(0.9, abs=0.02)
    assert score["coverage_is_85_to_95"] == "yes"
    assert forecasts([5.0] * 50).score()["coverage_is_85_to_95"] == "no"
    assert forecasts([0.0] * 3).score()["coverage_is_85_to_95"] == "too few to tell"


def test_pooled_bands_hold_about_what_they_say(board):
    """Every series from origins of 2024Q1 on; the interval is as if outcomes were independent, which they are not quite."""
    pooled = entry(board, scores.POOLED, "local trend")
    assert pooled["n"] >= 60
    assert 0.7 <= pooled["coverage_80"] <= 0.9


@pytest.mark.parametrize("kind", list(scores.KINDS))
def test_series_that_are_disclosed_now_and_then(board, kind):
    rows = board.filter(pl.col("test") == f"{kind}, two quarters or more ahead")
    assert rows["model"].to_list()[:2] == ["local trend", "local trend, conformal"]
    assert rows["n"].n_unique() == 1
    ours, best = rows["crps"][0], rows.filter(~pl.col("model").str.contains("local")).sort("crps").row(0, named=True)
    # no simple model is better by more than twice the error of the difference, where n allows to tell
    assert rows["n"][0] < 3 or ours - best["crps"] < 2 * best["crps_beyond_error"]
    assert rows["n"][0] < 3 or ours < best["crps"]  # as long as no disclosure says otherwise


def test_one_backtest_for_every_spacing():
    gaps = series(np.arange(1.0, 15)).take(np.array([0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11]))
    ahead = []
    test = scores.rolling(gaps, lambda past, steps: ahead.append(steps) or np.zeros(8), "none", 4)
    assert test.targets - test.origins == pytest.approx(np.array(ahead) / 4)
    assert min(ahead) == 4
    assert scores.rolling(gaps, lambda past, steps: np.zeros(8), "none", 4, since=2021.5).origins.min() >= 2021.5


def test_a_new_disclosure_updates_the_scoreboard(tmp_path, monkeypatch):
    rows = catalogue.table("capex").filter((pl.col("period") == "2026Q2") & (pl.col("basis") == "cash"))
    new = rows.with_columns(
        id=pl.col("id").str.replace("2026Q2", "2026Q3"), period=pl.lit("2026Q3"), end_date=pl.lit("2026-09-30"), as_of=pl.lit("2026-11-09")
    )
    new.write_csv(tmp_path / "capex.csv")
    monkeypatch.setenv("WORKBENCH_DATA", str(tmp_path))
    assert scores.quarterly()["capex of four, 4 quarters ahead"][0].observed.size == 10


def test_bad_input():
    with pytest.raises(InputError, match=r"s: 6 points; expected at least 5, and one 4 quarters after that"):
        scores.rolling(series(np.arange(1.0, 7)), lambda past, steps: np.zeros(8), "none", 4)
    with pytest.raises(InputError, match=r"samples\[0, 0\] = nan"):
        scores.rolling(series(np.arange(1.0, 10)), lambda past, steps: np.full(8, np.nan), "none", 4)
    with pytest.raises(InputError, match=r"expected samples of \(forecasts, n\)"):
        scores.rolling(series(np.arange(1.0, 10)), lambda past, steps: 0.0, "none", 4)
    with pytest.raises(InputError, match="nothing to score"):
        forecasts([]).score()
    with pytest.raises(InputError, match="expected one model"):
        scores.together([forecasts([1.0]), forecasts([1.0], model="other")], "both")
    with pytest.raises(UnknownName, match="unknown test of the scoreboard 'notable'"):
        demand.scoreboard("notable")
    assert set(scores.simple_models()) == {"last value", "drift", "drift of two years", "log-linear", "damped"}
