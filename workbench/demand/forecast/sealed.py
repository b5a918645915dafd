"""Sealed forecasts: what is forecast today, with its date and a hash, for rows of later to score."""

import hashlib
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl

from workbench import __version__
from workbench.demand.forecast import history, scores
from workbench.demand.forecast.history import Series
from workbench.errors import InputError

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
AHEAD = (2, 4)  #: quarters from the newest point of a series
COLUMNS = ("id", "series", "unit", "known_until", "target", *(f"p{100 * q:.0f}" for q in QUANTILES), "source", "as_of", "seal")


def _series() -> dict[str, tuple[Series, scores.Forecaster]]:
    """Every series that is forecast, with its forecaster."""
    companies, vendors = [history.capex(c) for c in history.reporting()], [history.chip_stock(v) for v in history.vendors()]
    mine = scores.local_trend([*companies, *vendors])
    found = {s.name: (s, mine) for s in (history.capex(), history.chip_stock(), *companies)}
    for prior, kind in scores.KINDS.values():
        found |= {s.name: (s, scores.local_trend((), prior)) for s in kind()}
    return found


def seal(file: str | Path) -> pl.DataFrame:
    """Forecast every series two and four quarters beyond its newest point, and append to `file` what was not sealed there before."""
    rows = _read(file) if Path(file).exists() else []
    before = rows[-1]["seal"] if rows else ""
    today, known = date.today().isoformat(), {row["id"] for row in rows}
    new = []
    for name, (series, forecast) in _series().items():
        for steps in AHEAD:
            until, target = float(series.times[-1]), float(series.times[-1]) + steps / 4
            key = f"{name}, {steps} quarters after {until:.2f}"
            if key in known:
                continue
            values = np.exp(np.quantile(forecast(series, steps), QUANTILES))
            row = dict(zip(COLUMNS, [key, name, series.unit, f"{until:.4f}", f"{target:.4f}", *(f"{v:.5g}" for v in values)], strict=False))
            row |= {"source": f"workbench {__version__}, demand.forecast.sealed", "as_of": today}
            new.append(row | {"seal": (before := _hash(row, before))})
    frame = pl.DataFrame([*rows, *new], schema=dict.fromkeys(COLUMNS, pl.String))
    frame.write_csv(file)
    return frame.tail(len(new)) if new else frame.clear()


def score(file: str | Path) -> pl.DataFrame:
    """Sealed forecasts whose time has come, beside what came: outcome, whether inside the 80 % band, CRPS of the logarithm by quantiles.

    Raises `InputError` where a row is not as it was sealed.
    """
    found, series = [], {name: s for name, (s, _) in _series().items()}
    for row in _read(file):
        seen = series.get(row["series"])
        target = float(row["target"])
        if seen is None or not (at := np.flatnonzero(np.abs(seen.times - target) <= 0.13)).size:
            continue
        came = float(seen.values[at[np.abs(seen.times[at] - target).argmin()]])
        told = np.log([float(row[c]) for c in COLUMNS[5:10]])
        miss = np.log(came) - told
        pinball = np.maximum(np.array(QUANTILES) * miss, (np.array(QUANTILES) - 1) * miss)
        found.append({
            "series": row["series"], "sealed": row["as_of"], "target": target, "median": float(row["p50"]), "outcome": came,
            "inside_80": bool(told[0] <= np.log(came) <= told[-1]), "crps": 2 * float(pinball.mean()),
        })  # fmt: skip
    numbers = dict.fromkeys(("target", "median", "outcome"), pl.Float64)
    return pl.DataFrame(found, schema={"series": pl.String, "sealed": pl.String} | numbers | {"inside_80": pl.Boolean, "crps": pl.Float64})


def _read(file: str | Path) -> list[dict[str, str]]:
    try:
        rows = pl.read_csv(file, infer_schema=False).to_dicts()
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError(f"{file}: {error}; workbench forecasts seal {file} writes such a file") from None
    before = ""
    for row in rows:
        if tuple(row) != COLUMNS:
            raise InputError(f"{file}: columns {', '.join(row)}; expected {', '.join(COLUMNS)}")
        if row["seal"] != (before := _hash({k: v for k, v in row.items() if k != "seal"}, before)):
            raise InputError(f"{file}: row {row['id']!r} is not as it was sealed, or one before it is missing")
    return rows


def _hash(row: dict[str, str], before: str) -> str:
    """Of a row and of the one before it: a row that is changed, moved or taken out later breaks the chain."""
    return hashlib.sha256("\n".join([before, *(row[c] for c in COLUMNS[:-1])]).encode()).hexdigest()[:16]
