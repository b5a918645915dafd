"""What has a time: traces of requests, hourly files of grids, logs of power; and training runs for scaling laws, which have none."""

import datetime
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from workbench import catalogue
from workbench.errors import DataError, InputError
from workbench.readers.source import Found, Refused, Row, Source, chip_named, known, number, rows_of, values

UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
GAP, SECONDS = 50.0, 30.0  #: a gap is so many times the mean time between requests, and half a minute at least
EPOCH = (1e9, 4.2e9)  #: seconds since 1970 of 2001 to 2100; a thousand times that are milliseconds
DMON = re.compile(r"^#\s*(?:entity|gpu)\b.*\s(?:power|powr|pwr)\b", re.IGNORECASE | re.MULTILINE)
AT_WORK = 50.0  #: a sample of at least so much utilisation counts as at work [%]
#: Units of columns that CAISO, Electricity Maps and WattTime document.
PUBLISHED = {"MW": 1e-3, "carbonIntensity": 1.0, "MOER": 0.45359237, "value": 0.45359237}
FIGURES = ("electricity_usd_per_kwh", "carbon_g_per_kwh", "marginal_carbon_g_per_kwh")


def trace(source: Source) -> Found:
    """Requests in order of time since the first [s]; gaps are told."""
    there = known("trace", source.columns)
    at, sizes = there["time"][0], {way: there[way][0] for way in ("input_tokens", "output_tokens")}

    def make(row: Row) -> Row | None:
        if all(cell in (None, "") for cell in row.values()):
            return None
        tokens = {way: number(column, row.get(column), whole=True) for way, column in sizes.items()}
        return {"time_s": _moment(at, row.get(at), dated=False)} | tokens

    found = rows_of(source.rows(), make)
    if not (rows := found.rows):
        return found
    unit, how = _unit_of_time(source, at, max(abs(row["time_s"]) for row in rows))
    notes, ordered = [f"{at} in {unit}, {how}"], sorted(rows, key=lambda row: row["time_s"])
    notes += ["the requests were not in order of time, and are"] if ordered != rows else []
    rows = [row | {"time_s": (row["time_s"] - ordered[0]["time_s"]) * UNITS[unit]} for row in ordered]
    times = [row["time_s"] for row in rows]
    usual = max(GAP * times[-1] / len(times), SECONDS)
    if gaps := [(b - a, a) for a, b in itertools.pairwise(times) if b - a > usual]:
        longest, start = max(gaps)
        notes.append(f"{len(gaps)} gaps of more than {usual:.3g} s, the longest {longest:.4g} s from {start:.6g} s on")
    if none := sum(row["output_tokens"] == 0 for row in rows):
        notes.append(f"{none} requests without output tokens: they failed, or were not recorded")
    return Found(rows, found.left_out, (f"{len(rows)} requests in {times[-1]:.6g} s", *notes))


def _unit_of_time(source: Source, name: str, largest: float) -> tuple[str, str]:
    """Unit of a column of time: told, by its name, by dates of our century, as Mooncake has it."""
    if told := source.told.get("time_unit"):
        if told not in UNITS:
            raise Refused(f"--time-unit {told}: expected one of {', '.join(UNITS)}")
        return str(told), "as told"
    if named := re.search(r"_(ms|us|ns|s)$", name):
        return named[1], "by its name"
    for unit, size in UNITS.items():
        if EPOCH[0] <= largest * size < EPOCH[1]:
            return unit, "since 1970, by its size"
    if "hash_ids" in source.columns and "chat_id" not in source.columns:  # traces with chats count seconds
        return "ms", "as traces of Mooncake have it; --time-unit says another"
    if largest > 366 * 86400:
        raise Refused(f"{name} up to {largest:.4g} is more than a year of seconds: --time-unit says one of {', '.join(UNITS)}")
    return "s", "which nothing says; --time-unit says another"


def _moment(name: str, cell: Any, dated: bool = True) -> float:
    """Seconds since 1970 of a date and time, without a zone in UTC; a number as it is, unless all are dates."""
    text = str(cell).strip()
    if not dated and not re.match(r"\d{4}[-/]\d\d?[-/]\d", text):
        return number(name, cell, least=-1e18)
    if re.match(r"\d\d?/\d\d?/\d{4}", text) and not name.lower().startswith("mtu"):  # ENTSO-E puts the day first
        raise Refused(f"{name} is {text[:40]!r}: day or month first? expected YYYY-MM-DD")
    plain = re.sub(r"^(\d\d)[./](\d\d)[./](\d{4})", r"\3-\2-\1", re.split(r"\s+-\s+", text)[0]).replace("/", "-")
    try:
        moment = datetime.datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", plain))
        return (moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)).timestamp()
    except (ValueError, OverflowError):
        raise Refused(f"{name} is {text[:40]!r}; expected a date and time") from None


def hours(source: Source) -> Found:
    """Hours of prices [USD/kWh] and carbon [g/kWh] in order; gaps, and hours that occur twice, are reported."""
    there = known("hours", source.columns)
    if "value" in there and not set(FIGURES) & set(there):  # of WattTime, or of what --unit says
        there[FIGURES[0 if known("price unit", (str(source.told.get("unit")).lower(),)) else 2]] = there["value"]
    if "part" in there:  # of CAISO: energy, congestion and losses apart
        there = {name: there[name] for name in ("time", "part", FIGURES[0]) if name in there}
    at, columns = there["time"][0], {name: there[name][0] for name in FIGURES if name in there}
    units = {name: _unit(source, name, column) for name, column in columns.items()}

    def make(row: Row) -> Row | None:
        if "part" in there and row.get(there["part"][0]) != "LMP":
            return None
        return {"time": _moment(at, row.get(at))} | {n: number(c, row.get(c), least=-1e6) * units[n][0] for n, c in columns.items()}

    found = rows_of(source.rows(), make)
    found.rows.sort(key=lambda row: row["time"])
    steps = [b["time"] - a["time"] for a, b in itertools.pairwise(found.rows)]
    step = sorted(steps)[len(steps) // 2] if steps else 3600.0
    notes = [f"{columns[name]} as {name}, {how}" for name, (_, how) in units.items()]
    counts = {"before a gap": sum(s > step for s in steps), "twice there": steps.count(0)}
    notes += [f"{n} steps of {step:g} s are {what}" for what, n in counts.items() if n]
    rows = [row | {"time": datetime.datetime.fromtimestamp(row["time"], datetime.UTC).isoformat()} for row in found.rows]
    return Found(rows, found.left_out, tuple(notes))


def _unit(source: Source, figure: str, column: str) -> tuple[float, str]:
    """What makes the figure of a cell, and how that is known: by the option, the header, another column, or the publisher."""
    price, kind = figure == FIGURES[0], known("hours", source.columns).get("unit", ("",))[0]
    beside = next((row.get(kind) for _, row in source.rows()), "") if kind else ""
    for text, how in ((source.told.get("unit"), "as told"), (column, "by the header"), (beside, f"by column {kind}")):
        plain = re.sub(r"[\[\]()\s]+", " ", str(text or "").lower())
        for name, (_, factor) in known("price unit" if price else "carbon unit", (plain,)).items():
            if name not in ("USD", "g_per_kwh"):
                rates = catalogue.table("currencies").filter(pl.col("currency") == name).sort("period")
                if rates.is_empty():
                    raise Refused(f"no rate of {name} in table currencies; give the prices in USD")
                rate, period = float(rates["usd_per_unit"][-1]), rates["period"][-1]
                return rate * (factor or 1.0), f"{how}, at {rate:g} USD per {name} of {period}"
            return factor or 1.0, how
    published = PUBLISHED.get(column)
    if published is None or (column == "value" and "point_time" not in source.columns):
        raise Refused(f"column {column!r} has no unit: --unit says it, as {'USD/MWh or EUR/MWh' if price else 'g/kWh or lb/MWh'}")
    return published, "in the unit of its publisher"


def hourly(path: str | Path, figure: str) -> list[float]:
    """One figure of a `Site`, hour by hour. Raises `InputError` for a file without it, or one that does not have every hour once."""
    source = Source(Path(path))
    try:
        found = hours(source) if source.has("hours", "time", figure) else Found([])
    except (Refused, DataError) as why:
        raise InputError(f"{figure} = {str(path)!r}, taken for an hourly file: {why}") from None
    if not found.rows or found.left_out or any(" steps of " in note for note in found.notes):
        lacks = "; ".join(found.said()) or "no column of time and of it"
        raise InputError(f"{figure} = {str(path)!r}: not every hour once: {lacks}")
    return [row[figure] for row in found.rows]


def requests(path: str | Path) -> dict[str, float]:
    """Of a trace mean prompt and answer [tokens] and arrivals per second; requests without an answer only arrive. Raises `InputError`."""
    source = Source(Path(path))
    try:
        rows = trace(source).rows if source.has("trace", "time", "input_tokens", "output_tokens") else []
    except (Refused, DataError) as why:
        raise InputError(f"trace = {str(path)!r}: {why}") from None
    answered = [row for row in rows if row["output_tokens"]]
    if not answered or not rows[-1]["time_s"]:
        raise InputError(f"trace = {str(path)!r}: no answered requests over a time, in columns of time, input and output tokens")
    means = {way: sum(row[way] for row in answered) / len(answered) for way in ("input_tokens", "output_tokens")}
    return means | {"rate": (len(rows) - 1) / rows[-1]["time_s"]}


def power(source: Source) -> Found:
    """A row an accelerator: mean, largest, and mean of what was measured at work [W]."""
    there = known("power", source.columns)

    def make(row: Row) -> Row:
        v = values("power", row)
        time = _moment(there["time"][0], row.get(there["time"][0])) if "time" in there else None
        chip = chip_named(v.get("chip") or source.told.get("chip"))
        return {"index": v.get("index", "0"), "chip": chip, "power": number("power", v.get("watts")), "busy": v.get("busy"), "time": time}

    found = rows_of(source.rows() if "watts" in there else _dmon(source), make)
    types = {"index": pl.String, "chip": pl.String, "power": pl.Float64, "busy": pl.Float64, "time": pl.Float64}
    watts, time, at_work = pl.col("power"), pl.col("time"), pl.col("power").filter(pl.col("busy") >= AT_WORK)
    rows = pl.DataFrame(found.rows, schema=types).group_by("index", maintain_order=True).agg(
        pl.col("chip").first(), samples=pl.len(), seconds=time.max() - time.min(), mean_power_w=watts.mean(),
        largest_power_w=watts.max(), samples_at_work=at_work.len(), power_at_work_w=at_work.mean(),
    )  # fmt: skip
    return Found(rows.select("chip", pl.exclude("chip")).to_dicts(), found.left_out, (f"at work: utilisation of at least {AT_WORK:g} %",))


def _dmon(source: Source) -> Iterator[tuple[int, Row]]:
    """Rows of ``dcgmi dmon`` or ``nvidia-smi dmon``, under the header that they repeat."""
    names: list[str] = []
    for at, line in enumerate(source.text.split("\n"), 1):
        if line.startswith("#"):
            names = line.lstrip("# ").split()[1:] if re.search(r"entity|\bgpu\b", line, re.IGNORECASE) else names
        elif match := re.match(r"\s*(?:GPU )?(\d{1,4})\s+(.*)$", line[:1000]):
            yield at, dict(zip(names, match[2].split(), strict=False)) | {"id": match[1]}


def runs(source: Source) -> Found:
    """Training runs with parameters, tokens (of compute: over 6 parameters) and loss."""
    there = known("scaling", source.columns)

    def make(row: Row) -> Row:
        v = values("scaling", row)
        n, loss = (number(name, v.get(name), least=1e-9) for name in ("params", "loss"))
        tokens = v.get("tokens") or number("compute", v.get("compute")) / (6 * n)
        return {"params": n, "tokens": number("tokens", tokens, least=1e-9), "loss": loss}

    how = "tokens" if "tokens" in there else "compute"
    return rows_of(source.rows(), make, f"tokens by column {there[how][0]}{' over 6 parameters' if how == 'compute' else ''}")
