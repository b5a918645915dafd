"""Rows of measured collectives, and the constants of `calibration` fitted to them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from workbench import catalogue, tables
from workbench.arrays import Array
from workbench.calibration import crossval
from workbench.calibration.forms import Asked, Form, Row, asked
from workbench.calibration.pool import Fit, Node, Predict
from workbench.checks import row_numbers
from workbench.errors import InputError, UnknownName
from workbench.fabric import calibration, curve
from workbench.fabric.calibration import INDEX, INNER, OUTER, OWNED, POOL, SIZES, Origin, case, in_domain, minor, shipped, size_class, start
from workbench.fabric.collectives import Tier, collective_time
from workbench.fabric.curve import EXPERTS, RULES, operation, passed_up, work
from workbench.units import GIGA

NOISE = 0.05  #: relative spread of repeats between tables, in a domain and between domains: 3 % where set-ups were repeated
OWN = 500  #: fewer measurements are fitted below the general constants that ship; more replace them all
#: Largest share of the wire that a protocol may take: in-network reduction beats the ring it is counted as by a little in a domain, and by
#: up to two between two domains, where each byte crosses once.
CAPS = {("scale-up", "all_reduce"): 1.15, ("scale-up", ""): 0.97, ("out", "all_reduce"): 1.2, ("out", ""): 1.0, ("pair", "all_reduce"): 2.1}
TEXT = ("table_id", "collective", "chip", "fabric", "library", "quality", "source")
NUMBERS = ("bytes", "n_gpus", "scaleup_domain_gpus", "scale_up_GBps_per_dir", "nic_Gbps_per_gpu", "time_us")
NAMED = "named"  #: column of the name that own measurements between domains are kept under, in place of their transport
#: Words of the column quality that keep a row out of every score and fit.
DOUBTFUL = ("suspect", "noisy", "outlier", "coarse", "context", "degraded", "untuned", "user reports")
READ = ("seconds * 1e6", "low * 1e6", "high * 1e6")
FOLDS = 12  #: in which tables are left out
#: What tells apart the measurements that a row of the index represents.
CALLED = ("op", "top_k", "inner", "outer", "kind", "chip", "version", "inside", "outside")  #: of a call, but for its bytes
GROUP = ("kind", "operation", "chip", "ranks", "domains", "version")


def named(chips: pl.Series) -> pl.Series:
    """Names of the catalogue's rows of chips, which the constants are kept under; another chip keeps its own."""
    known = {}
    for chip in chips.drop_nulls().unique():
        with suppress(UnknownName):
            known[chip] = catalogue.chip(chip).name
    return chips.fill_null("").replace(known)


def prepared(rows: pl.DataFrame) -> pl.DataFrame:
    """Measurements of collectives with what a call takes: ranks in a domain and domains, links, transport, version, or why there is none.

    Rows have the columns `TEXT` and `NUMBERS`. A rate that is not stated is that of the chip in the catalogue.
    """
    domains = (pl.col("n_gpus") / pl.col("scaleup_domain_gpus").fill_null(8)).ceil()  # 128 ranks on racks of 72 are two racks of 64
    own = pl.col(NAMED) if NAMED in rows.columns else pl.lit(None, pl.String)
    known = [(c.name, c.near[1] / GIGA, (c.scaleout_bandwidth or np.nan) / GIGA) for c in map(catalogue.chip, catalogue.names("chips"))]
    links = pl.DataFrame(known, schema=["chip", "scaleup_gb_per_s", "scaleout_gb_per_s"], orient="row").fill_nan(None)
    data = rows.with_columns(chip=named(rows["chip"])).join(links, on="chip", how="left", maintain_order="left")
    data = data.with_columns(
        op=pl.col("collective").replace({"ep_dispatch_lowlat": EXPERTS[2], "ep_combine_lowlat": EXPERTS[3]}),
        top_k=pl.col("top_k").fill_null(1.0) if "top_k" in rows.columns else pl.lit(1.0), outer=domains.cast(pl.Float64),
        inner=(pl.col("n_gpus") / domains).cast(pl.Float64),
        version=pl.col("library").fill_null("").map_elements(minor, return_dtype=pl.String),
        kind=pl.coalesce(own, pl.col("fabric").map_elements(calibration.transport, return_dtype=pl.String, skip_nulls=False)),
        inside=pl.coalesce("scale_up_GBps_per_dir", "scaleup_gb_per_s") * 1e9,
        outside=pl.coalesce(pl.col("nic_Gbps_per_gpu") / 8, "scaleout_gb_per_s") * 1e9,
    )  # fmt: skip
    data = data.with_columns(reason=pl.Series([_reason(row) for row in data.iter_rows(named=True)], dtype=pl.String))
    return data.with_columns(inside=pl.coalesce("inside", "outside"))


def _reason(row: Row) -> str | None:
    """Why nothing is asked for a row."""
    if doubt := next((word for word in DOUBTFUL if word in (row["quality"] or "")), None):
        return f"quality of the row: {doubt}"
    if not row["bytes"] or not row["n_gpus"]:
        return "bytes or n_gpus is not stated"
    try:
        operation(row["op"] or "")
        row_numbers(row, NUMBERS, ("n_gpus", "scaleup_domain_gpus"))
    except InputError as error:
        return str(error)
    if zero := next((name for name in NUMBERS[2:5] if row[name] == 0), None):
        return f"{zero} is 0; leave it blank where it is not known"
    if row["scaleup_domain_gpus"] is None and row["scaleup_gb_per_s"] is None:
        what = f"GPU {row['chip']!r} is none of the catalogue" if row["chip"] else "no GPU is named"
        return f"{what}: --chip says which it is, or --domain how many share its links; a row of chips.csv in WORKBENCH_DATA makes it known"
    if row["n_gpus"] < 2:
        return "one rank"
    if row["inside" if row["outer"] <= 1 else "outside"] is None:
        return "the rate of the link is not stated, and the chip is none of the catalogue"
    return None


def tiers(row: Row) -> list[dict[str, Any]]:
    """Arguments of the tiers of a prepared row."""
    within = {"size": row["inner"], "bandwidth": row["inside"], "kind": "scale-up", "chip": row["chip"]}
    between = {"size": row["outer"], "bandwidth": row["outside"], "kind": row["kind"], "chip": row["chip"]}
    return [within] if row["outer"] <= 1 else [within, between]


def ask(rows: pl.DataFrame, quantity: str = "time_us") -> list[Asked]:
    """The call for each row. Not told apart: the provider, settings of the environment, the algorithm, pods, virtual machines."""
    return asked(prepared(rows), lambda row: (_call(row), {quantity: READ}), lambda row: [quantity])


def _call(row: Row) -> Row:
    if row["reason"]:
        raise InputError(row["reason"])
    joined = [{"call": "fabric.Tier", "arguments": tier} for tier in tiers(row)]
    arguments = {"op": row["op"], "message_bytes": row["bytes"], "tiers": joined}
    arguments |= {"version": row["version"]} if row["version"] else {}
    arguments |= {"top_k": row["top_k"]} if row["top_k"] not in (None, 1) else {}
    return {"call": "fabric.collective_time", "arguments": arguments}


def fit(data: pl.DataFrame, base: Fit | None = None, nodes: Collection[Node] | None = None) -> Fit:
    """Constants of prepared measurements with time_us; of nodes that `base` knows, those in `nodes` are fitted anew."""
    single, several = _split(data)
    nodes = touched(data) if nodes is None else nodes
    fresh = Fit(POOL, {}, {}, {}, 0.0) if base is None else base.without([node for node in base.offsets if node in nodes])
    fitted = _with_elsewhere(_study(single, inner=True).descend(INNER, fresh, nodes))
    return _study(several, inner=False, fit=fitted).descend(OUTER, fitted, nodes)


def touched(data: pl.DataFrame) -> set[Node]:
    """Nodes of measurements at every level."""
    parts = zip(_split(data), (True, False), (INNER, OUTER), strict=True)
    rows = ((levels, _origin(row, inner)) for part, inner, levels in parts for row in part.iter_rows(named=True))
    return {(level, key) for levels, origin in rows for level in levels if (key := POOL.nodes(origin)[level]) and key[0] != "|"}


def calibrate(rows: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Constants, their index of evidence and, of many rows, the intervals that rows left out show.

    Of fewer than `OWN` measurements only what they were made with (chips; operations on a transport), below the constants that ship.
    """
    data = _usable(rows)
    if data.height >= OWN and NAMED not in rows.columns:
        fitted = fit(data)
        return {"collectives": fitted.frame(), "collectives_evidence": _index(data), "collective_errors": _errors(data, fitted)}
    known = shipped()
    nodes = {node for node in touched(data) if node[0] in OWNED or node not in known.offsets}
    nodes = {node for node in nodes if NAMED not in rows.columns or node[0] not in ("pair", "rack")}  # which have no name
    elsewhere = {("elsewhere", key.split("|")[2]) for level, key in nodes if level == "chip"}
    return {"collectives": fit(data, known, nodes).frame(nodes | elsewhere), "collectives_evidence": _index(data)}


def folds(rows: pl.DataFrame, groups: NDArray[Any]) -> Iterator[tuple[NDArray[np.intp], dict[str, pl.DataFrame]]]:
    """Positions of each group of rows, and the tables that the others give: only nodes that it has a part in are fitted anew."""
    usable = _usable(rows)
    at = usable["position"].to_numpy()
    full = fit(usable)
    for group in dict.fromkeys(groups.tolist()):
        out = pl.Series(groups[at] == group)
        rest, gone = usable.filter(~out), usable.filter(out)
        fitted = fit(rest, full, touched(gone)) if gone.height else full
        yield np.flatnonzero(groups == group), {POOL.table: fitted.frame(), INDEX: _index(rest)}


def _usable(rows: pl.DataFrame) -> pl.DataFrame:
    """Prepared rows of good quality that state the time of an operation that is fitted, with their position."""
    data = prepared(rows.with_row_index("position"))
    return data.filter(pl.col("reason").is_null(), pl.col("time_us") > 0, pl.col("op").is_in(list(RULES)))


def _index(data: pl.DataFrame) -> pl.DataFrame:
    """Measurements by what a user can say of them; sources say no date."""
    counts = {"ranks": pl.col("inner").round(), "domains": pl.col("outer")}
    named = data.select(
        "chip", pl.col("version").replace({"": None}), operation="op", measured_by=pl.col("source").fill_null(""),
        kind=pl.when(pl.col("outer") > 1).then("kind").otherwise(pl.lit("scale-up")),
        **{name: count.cast(pl.Int64).cast(pl.String) for name, count in counts.items()},
    )  # fmt: skip
    found = named.group_by(GROUP, maintain_order=True).agg(rows=pl.len().cast(pl.Int64), measured_by=pl.col("measured_by").first())
    return found.with_columns(date=pl.lit(None, pl.String))


def _errors(data: pl.DataFrame, full: Fit) -> pl.DataFrame:
    """Half widths by place, distance and size, of tables left out, of chips and transports, of many domains; the tables counting alike."""
    found: list[tuple[str, float, str]] = []
    data = data.with_columns(
        made_on=pl.when(pl.col("outer") > 1).then("kind").otherwise("chip"),
        part=pl.Series(crossval.folds(data["table_id"].fill_null(""), FOLDS)),
        many=pl.when(pl.col("outer") > 8).then("kind"),
    )
    for label in ("part", "made_on", "many"):
        groups = data.select(label)[label].to_numpy()
        for group in (one for one in dict.fromkeys(groups.tolist()) if one is not None):
            rest, gone = data.filter(pl.Series(groups != group)), data.filter(pl.Series(groups == group))
            with tables.instead({POOL.table: fit(rest, full, touched(gone)).frame(), INDEX: _index(rest)}):
                for _, part in gone.group_by(*CALLED, maintain_order=True):
                    row, size = part.row(0, named=True), part["bytes"].to_numpy()
                    t = collective_time(row["op"], size, [Tier(**tier) for tier in tiers(row)], version=row["version"], top_k=row["top_k"])
                    logs = np.log(t.seconds * 1e6 / part["time_us"].to_numpy())
                    kind = "scale-up" if row["outer"] <= 1 else row["kind"]
                    names = [case(kind, row["chip"], t.evidence.distance, SIZES[i]) for i in size_class(size)] if t.evidence else []
                    found += zip(names, logs.tolist(), part["table_id"], strict=True)
    frame = pl.DataFrame(found, schema=["case", "log", "table_id"], orient="row")
    cases = [(str(key[0]), crossval.evenly(part["log"].to_numpy(), part["table_id"], 5)) for key, part in frame.group_by("case")]
    return crossval.error_table(sorted(cases, key=lambda one: one[0])).drop("mean_error_percent")


def _split(data: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Measurements within a domain, and over several."""
    return data.filter((pl.col("outer") <= 1) & (pl.col("inner") > 1)), data.filter(pl.col("outer") > 1)


def _origin(row: Row, inner: bool) -> Origin:
    if inner:
        return Origin("scale-up", row["op"], row["chip"], str(int(row["inner"])), row["version"])
    return Origin.outside(row["kind"], row["op"], row["chip"], row["outer"], row["inner"])


def _study(data: pl.DataFrame, inner: bool, fit: Fit | None = None) -> crossval.Study:
    """Measurements that one tier bounds; `fit` tells the time of the tier below it."""
    rows = list(data.iter_rows(named=True))
    needs, most = np.zeros((4, len(rows))), np.full((len(rows), len(POOL.names)), np.inf)
    share = [i for i, name in enumerate(POOL.names) if name.startswith("share")]
    tier = "scale-up" if inner else "out"
    for i, row in enumerate(rows):
        op, size, n = row["op"], np.asarray(float(row["bytes"])), np.asarray(row["inner"])
        message, ranks, rate = (size, n, row["inside"]) if inner else (passed_up(op, size, n), row["outer"], row["outside"])
        steps, volume = work(op, message, np.asarray(ranks), 1.0 if inner else n, not inner, row["top_k"])
        needs[:, i] = steps, volume, rate, 0.0 if fit is None else _below(fit, op, row["chip"], n, size, row["inside"], row["top_k"])
        place = "pair" if not inner and op == "all_reduce" and ranks <= 3 else tier
        most[i, share] = np.log(CAPS.get((place, op), CAPS[tier, ""]))

    origins = [_origin(row, inner) for row in rows]
    first = np.array([start(o) for o in origins])

    def part(at: Any) -> Predict:
        (steps, volume, bandwidth, below), more = needs[:, at], first[at]

        def predict(logs: Array) -> Array:
            own = curve.seconds(logs.reshape(more.shape) + more, steps, volume, bandwidth)
            return np.asarray(np.log((own**6 + below**6) ** (1 / 6)))

        return predict

    times = data["time_us"].cast(pl.Float64).to_numpy() * 1e-6
    if inner:
        return crossval.Study(POOL, origins, times, part, NOISE, most=most, tolerance=1e-7)
    many = data.select(n=pl.len().over("table_id") ** -0.5)["n"].to_numpy()  # tables count, not rows
    return crossval.Study(POOL, origins, times, part, NOISE, weigh=lambda at: many[at] / many[at].mean(), most=most, tolerance=1e-6)


def _below(fit: Fit, op: str, chip: str, n: Array, size: Array, rate: float, top_k: float) -> float:
    """Time within a domain, with the constants of the nearest number of ranks that was measured, whatever the version."""
    if n <= 1:
        return 0.0
    known, thetas = in_domain(fit, op, chip, "any")
    theta = thetas[np.argmin(np.abs(np.log(known / n)))] if known.size else thetas
    return float(curve.seconds(theta, *work(op, size, n, top_k=top_k), rate))


def _with_elsewhere(fit: Fit) -> Fit:
    """With what sets a chip apart whatever the operation: its mean offset from the operations that were measured on it."""
    offsets, rows = {node: own for node, own in fit.offsets.items() if node[0] != "elsewhere"}, dict(fit.rows)
    nodes = [(node, node[1].split("|")[2]) for node in fit.offsets if node[0] == "chip"]
    for chip in dict.fromkeys(name for _, name in nodes):
        own = [node for node, name in nodes if name == chip]
        offsets["elsewhere", chip] = np.mean([fit.offsets[node] for node in own], axis=0)
        rows["elsewhere", chip] = sum(fit.rows[node] for node in own)
    errors = fit.errors | {node: np.full(len(POOL.names), np.nan) for node in offsets if node not in fit.errors}
    return replace(fit, offsets=offsets, rows=rows, errors=errors)


MEASURED = ("time_us", "algbw_GBps", "busbw_GBps", "in_place_time_us")
FORM = Form(TEXT, NUMBERS, ask, MEASURED, calibrate=calibrate, folds=folds)
