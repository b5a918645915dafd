"""The scoreboard: every forecast of demand's history against what came, beside the simple models and the bars to beat.

A pure function of the tables: a new disclosure is a new row there, and the next call scores it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from workbench.arrays import Array, take
from workbench.demand.forecast import history, trend
from workbench.demand.forecast.backtest import Backtest, Forecaster, inflate, local_trend, rolling, simple_models, together
from workbench.demand.forecast.history import Series, beyond_authority
from workbench.demand.uses import adoption
from workbench.errors import UnknownName

MODEL = "local trend"
STEPS = 4  #: quarters ahead of the quarterly tasks
HALF_LIFE = 4.0  #: age at which a model counts half in the trend of notable models [year]
TREND = f"trend, half-life {HALF_LIFE:g} years"
#: Points that the first scored forecast of a series has: those of the published runs of the same test.
FIRST = {"flow": 9, "stock": 5}
LAUNCH = {"ChatGPT": "2022-11-30", "Gemini app": "2023-03-21"}  #: public releases


@dataclass(frozen=True)
class Bar:
    """Best simple model of the published run of a test, to beat."""

    crps: float
    coverage_90: float | None
    n: int


#: Measured once on the snapshots of July 2026 by the simple models; natural logarithm, but log10 for models and records.
BARS = {
    "capex of four, 4 quarters ahead": Bar(0.227, 0.50, 8),
    "AI chip stock, 4 quarters ahead": Bar(0.181, 0.25, 4),
    "notable models, 1 year ahead": Bar(1.009, 0.902, 388),
    "notable models, vintage of June 2025": Bar(0.547, 1.0, 33),
    "frontier record, 1 year ahead": Bar(0.320, 1.0, 10),
}


def quarterly(prior: trend.TrendPrior | None = None) -> dict[str, list[Backtest]]:
    """Backtests of capital expenditure and chips by task: the local trend with and without conformal bands, then the simple models."""
    companies = [history.capex(c) for c in history.reporting()]
    vendors = [history.chip_stock(v) for v in history.vendors()]
    wholes = {"capex of four, 4 quarters ahead": history.capex(), "AI chip stock, 4 quarters ahead": history.chip_stock()}
    parts = [*companies, *(v for v in vendors if v.values.size >= FIRST["stock"] + STEPS)]
    mine = local_trend([*companies, *vendors], prior)
    evidence = [rolling(s, mine, MODEL, STEPS) for s in parts]  # whole and parts tell the same story: only parts are evidence
    out: dict[str, list[Backtest]] = {}
    for task, whole in wholes.items():
        raw = rolling(whole, mine, MODEL, STEPS)
        simple = [_roll(whole, f, name) for name, f in simple_models().items()]
        out[task] = [_scored(whole, inflate(raw, evidence)), _scored(whole, raw), *simple]
    widened = [inflate(e, [o for o in evidence if o is not e]) for e in evidence]
    for task, kind in (("capex of each company, 4 quarters ahead", "flow"), ("chips of each vendor, 4 quarters ahead", "stock")):
        of_kind = [i for i, s in enumerate(parts) if s.kind == kind]
        groups: list[Sequence[Backtest]] = [[_scored(parts[i], which[i]) for i in of_kind] for which in (widened, evidence)]
        groups += [[_roll(parts[i], f, name) for i in of_kind] for name, f in simple_models().items()]
        out[task] = [together(g, task) for g in groups]
    return out


def records() -> list[Backtest]:
    """Backtests of the largest training run at the end of each year from 2017 on, forecast at the end of the year before [log10]."""
    seen = history.notable_models()
    start, last = int(seen.times.min()) + 1, int(seen.times.max())
    ends = {y: trend.records(seen.times, seen.values, float(y)) for y in range(start, last + 1)}
    years = range(2016, last)

    def line(y: int) -> Array:  # the record at the end of each year so far
        return np.array([ends[k].levels[-1] for k in range(start, y + 1)])

    models: dict[str, Callable[[int], Array]] = {
        "compound Poisson": lambda y: trend.record_ahead(ends[y], 1.0),
        "last value": lambda y: trend.last_value(line(y), 1),
        "drift": lambda y: trend.drift(line(y), 1),
        "log-linear": lambda y: trend.log_linear(np.arange(line(y).size), line(y), line(y).size),
    }
    origins = np.array(years, dtype=float)
    observed = np.array([ends[y + 1].levels[-1] for y in years])
    beyond = np.array([bool(beyond_authority(seen.times[seen.times < y], 1.0)) for y in years])
    return [
        Backtest("frontier record", name, origins, origins + 1, np.array([f(y) for y in years]), observed, beyond)
        for name, f in models.items()
    ]


def notable(most_rank: int | None = 10) -> list[Backtest]:
    """Backtests from 2017 on of each notable model's training compute by a trend over the models of the years before its own [log10].

    Of models that ranked so or better at release; None: of every row of the table, whose choice of rows changes in 2018 and 2025.
    """
    seen = history.notable_models(most_rank=most_rank)
    log, year = np.log10(seen.values), np.floor(seen.times)

    def test(name: str, age: float) -> Backtest:
        parts = []
        for y in range(2017, int(year.max()) + 1):
            old, new = year < y, year == y
            if not new.any():
                continue
            samples = trend.log_linear(seen.times[old], log[old], seen.times[new], half_life=age)
            reach = np.asarray(beyond_authority(seen.times[old], seen.times[new] - seen.times[old].max()))
            parts.append(Backtest("notable models", name, np.full(new.sum(), float(y)), seen.times[new], samples, log[new], reach))
        return together(parts, "notable models")

    recent = test(TREND, HALF_LIFE)
    return [inflate(recent), recent, test("log-linear", np.inf)]


def real_time(most_rank: int | None = 10) -> list[Backtest]:
    """Fit on the snapshot of June 2025, score on the models that came after it, as the newest snapshot holds them [log10]."""
    old, new = history.notable_models(vintage="2025-06", most_rank=most_rank), history.notable_models(most_rank=most_rank)
    end = history.year("2025-07-01")
    new, old = new.take(np.flatnonzero(new.times >= end)), old.take(np.flatnonzero(old.times < end))
    out = []
    for name, age in ((TREND, HALF_LIFE), ("log-linear", np.inf)):
        samples = trend.log_linear(old.times, np.log10(old.values), new.times, half_life=age)
        beyond = np.asarray(beyond_authority(old.times, new.times - end))
        out.append(Backtest("notable models", name, np.full(new.times.size, end), new.times, samples, np.log10(new.values), beyond))
    return out


def users(product: str = "ChatGPT", metric: str = "weekly active", *, ahead: float = 0.25) -> list[Backtest]:
    """Backtests of users: from each disclosure on, the first count at least `ahead` years later; the average of laws, and each law."""
    seen, launch = history.users(product, metric), history.year(LAUNCH[product])
    pairs = [
        (i, j) for i in range(4, seen.times.size) if (j := int(np.searchsorted(seen.times, seen.times[i - 1] + ahead))) < seen.times.size
    ]
    tests: dict[str, list[Array]] = {"average of laws": [], **{law: [] for law in adoption.LAWS}}
    for i, j in pairs:
        model = adoption.adopt(adoption.observed(seen.times[:i], seen.values[:i]), launch)
        tests["average of laws"].append(model.log_counts(seen.times[j])[0])
        for fit in model.fits:
            tests[fit.law].append(adoption.Adoption((fit,), np.ones(1)).log_counts(seen.times[j])[0])
    before, after = (np.array(p) for p in zip(*pairs, strict=True))
    origins, targets, came = seen.times[before - 1], seen.times[after], np.log(seen.values[after])
    beyond = np.array([bool(beyond_authority(seen.times[:i], seen.times[j] - seen.times[i - 1])) for i, j in pairs])
    return [Backtest(f"{product}: {metric}", name, origins, targets, np.array(x), came, beyond) for name, x in tests.items()]


#: What the board holds beside the quarterly tasks, the unit of its scores, and how it is tested.
TESTS: dict[str, tuple[str, Callable[[], list[Backtest]]]] = {
    "frontier record, 1 year ahead": ("log10", records),
    "notable models, 1 year ahead": ("log10", notable),
    "notable models of any rank, 1 year ahead": ("log10", lambda: notable(most_rank=None)),
    "notable models, vintage of June 2025": ("log10", real_time),
    "notable models of any rank, vintage of June 2025": ("log10", lambda: real_time(most_rank=None)),
    "ChatGPT weekly users, a quarter or more ahead": ("ln", users),
}


def scoreboard(*names: str) -> pl.DataFrame:
    """Every test by every model: CRPS beside its bar, coverage with the interval that n allows, bias and n.

    Parameters
    ----------
    *names : str
        Tests of `TESTS`; by default these and all quarterly tasks, of capital expenditure and chips.

    Returns
    -------
    polars.DataFrame
        Columns test, series, model, n, crps, unit, bar_crps, bar_coverage_90, bar_n, coverage_50, coverage_90 (with its 90 % interval low
        and high), coverage_is_85_to_95 (yes, no, too few to tell), bias (outcome less median), beyond_authority (forecasts too far ahead).

    Raises
    ------
    UnknownName
        For a test that the board does not have.

    Examples
    --------
    >>> scoreboard("notable models, 1 year ahead").select("model", "n").rows()[1]
    ('trend, half-life 4 years', 68)
    """
    tests: dict[str, tuple[str, list[Backtest]]] = {} if names else {task: ("ln", tests) for task, tests in quarterly().items()}
    for name in names or TESTS:
        if name not in TESTS:
            raise UnknownName("test of the scoreboard", name, TESTS)
        tests[name] = TESTS[name][0], TESTS[name][1]()
    rows = []
    for task, (unit, models) in tests.items():
        bar = BARS.get(task)
        beside = {"bar_crps": bar and bar.crps, "bar_coverage_90": bar and bar.coverage_90, "bar_n": bar and bar.n}
        rows += [{"test": task, **m.score(), "unit": unit, **beside} for m in models]
    return pl.DataFrame(rows)


def _scored(series: Series, test: Backtest) -> Backtest:
    start = series.times[FIRST[series.kind] - 1]
    return take(test, test.origins >= start - 1e-9)


def _roll(series: Series, forecast: Forecaster, name: str) -> Backtest:
    return rolling(series, forecast, name, STEPS, least=FIRST[series.kind])
