"""From a sweep to one page that works anywhere: what it found, in words and pictures, every run in a table, and what went wrong."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
from altair.utils.schemapi import debug_mode
from markupsafe import Markup

from workbench import __version__, files, readers, tables, validation
from workbench.batch.tell import findings, outcome
from workbench.batch.tell.outcome import Outcome
from workbench.batch.tell.words import Label, duration, label, say
from workbench.errors import InputError, UnknownName
from workbench.notebook import publish

VIEWS = 30  #: results with pictures of their own
PAGES = 24  #: runs that are published as pages beside their notebooks: that takes 0.15 s and 1 MB each
PLACE = r"(?m)^-+> .*$"  #: errors of one kind were raised at the same place: the line that IPython points at
KINDS, NAMED = 30, 12  #: kinds of failure, and runs of each, that are named


def report(path: str | Path, html: str | Path | None = None, result: str | None = None, told: Any = None) -> str | Path:
    """Write one page on an executed notebook, on a sweep, or on what another tool measured.

    Parameters
    ----------
    path : path
        An executed notebook, the folder of a sweep (finished or not), a folder of notebooks that papermill executed, or a file that
        `workbench read` knows as measurements: a result of a serving benchmark, a log of collectives or of training.
    html : path, optional
        The page, that of a notebook also at an address; without it ``report.html`` in the folder, or beside the notebook under its name.
    result : str, optional
        Recorded result that the page opens with; without it the first number of the notebook's record that is not the same in all runs.

    told : mapping, optional
        What a file of measurements does not say, as `validate` has it: chip, tp, precision.

    Returns
    -------
    path
        Of the page, to which links to runs are relative. Failed runs and extremes of a sweep (24 at most) are published beside theirs.

    Raises
    ------
    InputError
        For a path that is neither, a sweep without a finished run, a file that cannot be read, or a page that cannot be written.
    UnknownName
        For a result that no run recorded as a number.

    Examples
    --------
    >>> report("runs/ai_factory", result="usd_per_chip_hour")  # doctest: +SKIP
    PosixPath('runs/ai_factory/report.html')
    >>> report("s3://bucket/runs")
    Traceback (most recent call last):
    workbench.errors.InputError: s3://bucket/runs: reports are made of folders; copy it to one
    """
    if "://" in str(path):
        raise InputError(f"{path}: reports are made of folders; copy it to one")
    path, address = Path(path), "://" in str(html)
    if path.suffix == ".ipynb" or path.is_file():
        if result is not None:
            raise InputError(f"--result {result}: {path} is one run; its page shows every result")
        place = str(html) if html is not None and address else Path(html or path.with_suffix(".html"))
        _measured(path, place, told or {}) if path.suffix != ".ipynb" else publish.publish(path, place)
        return place
    if address:
        raise InputError(f"{html}: the page of a sweep links to its runs; write it to a folder, and copy it with {path}")
    sweep = outcome.read(path)
    page = Path(html) if html is not None else path / "report.html"
    names = sorted(sweep.numbers, key=lambda n: n in sweep.swept)  # what was set is no finding
    if result is not None:
        if result not in names:
            raise UnknownName("result", result, names)
        names = [result, *(n for n in names if n != result)]
    links = _links(sweep, names[:VIEWS], page)
    files.write(page, _page(sweep, names, links, page))
    return page


def _measured(path: Path, page: str | Path, told: Mapping[str, Any]) -> None:
    """Write the page of a file of measurements: each figure beside what is predicted, its interval, and what that rests on."""
    found = readers.read(path, told)
    kind = next((kind.measured for kind in readers.KINDS if found and kind.name == found.kind), "")
    if found is None or kind not in ("collectives", "serving", "training"):
        raise readers.unknown(path)
    scored = validation.validate(kind, path, told=told)
    frame = found.frame.drop({*scored.rows["quantity"], "group", "source"}, strict=False).drop(pl.selectors.matches("_ms$|GBps$"))
    both, apart = scored.rows.drop_nulls(["predicted", "measured"]), [c for c in frame.columns if frame[c].n_unique() > 1]
    inside = both["measured"].is_between(both["low"], both["high"]).sum()
    rows, shared = frame.select(apart).to_dicts(), frame.drop(apart).row(0, named=True)
    shown = {"path": path, "kind": kind, "found": found, "scored": scored, "both": both, "inside": inside, "rows": rows, "shared": shared}
    files.write(page, publish.rendered("measured.html.j2", **shown, made=tables.code_and_data()))


def _links(sweep: Outcome, names: list[str], page: Path) -> dict[str, str]:
    """Where the page finds each run: its own page if it has one, or else its notebook. Failed runs and extremes get a fresh page."""
    place = sweep.folder if sweep.about else Path()  # of papermill alone: paths are as given, and the folder is not ours to write into
    notebooks = {run: place / path for run, path in sweep.runs.select("run", "notebook").rows() if path}
    if sweep.about:
        wanted = [*sweep.failed["run"][: PAGES // 2]]
        for name in names:
            wanted += sweep.ranked(name)["run"].gather([0, -1]).to_list()
        for run in list(dict.fromkeys(wanted))[:PAGES]:
            if (notebook := notebooks.get(run)) is None:
                continue
            own = notebook.with_suffix(".html")
            try:
                if not own.is_file() or own.stat().st_mtime < notebook.stat().st_mtime:
                    publish.publish(notebook, own)
            except (InputError, OSError):  # it keeps its notebook alone
                own.unlink(missing_ok=True)
    return {run: publish.link(own if (own := n.with_suffix(".html")).is_file() else n, page) for run, n in notebooks.items()}


def _page(sweep: Outcome, names: list[str], links: dict[str, str], page: Path) -> str:
    store = findings.Columns()
    views = [_view(sweep, name, links, store, first=i == 0) for i, name in enumerate(names[:VIEWS])]
    failures = _failures(sweep, links)
    example = "status=failed"  #: a comparison that can be typed into the filter
    if names:
        middle: Any = sweep.runs[f"results.{names[0]}"].median()
        example = f"{_column(names[0], 'results', sweep.swept)}<{float(middle):.3g}"
    return publish.rendered(
        "report.html.j2", sweep=sweep, views=views,
        counts=dict(sweep.runs.group_by("status").len().sort(pl.col("status") != "done", "status").rows()),
        last=_moment(last) if (last := sweep.runs["finished"].max()) else "",
        left_out=max(0, len(names) - VIEWS),
        often=sweep.failed["error"].fill_null("no error said").value_counts(sort=True, name="n").rows()[:1],
        **{"failures": failures[:KINDS], "failures_left": len(failures[KINDS:]), "example": example},
        **{"pages": sum(link.endswith(".html") for link in links.values()), "linked": len(links)},
        table=os.path.relpath(sweep.folder / "results.parquet", page.parent) if sweep.about else "the notebooks",
        swept=[_swept(sweep, name) for name in sweep.swept], fixed=_fixed(sweep), provenance=_provenance(sweep),
        columns=findings.script(store.blocks), data=findings.script(_table(sweep, links)),
        bundle=Markup(publish.bundle("draw.js", "report.js")),
    )  # fmt: skip


def _view(sweep: Outcome, name: str, links: dict[str, str], store: findings.Columns, first: bool) -> dict[str, Any]:
    values = sweep.runs[f"results.{name}"].drop_nulls()
    same, unit = values.n_unique() == 1, label(name).unit
    ends: list[dict[str, Any]] = []
    for title, i in () if same else (("Lowest", 0), ("Highest", -1)):
        row = sweep.ranked(name).row(i, named=True)
        given = [(p, findings.where(sweep, p, row[f"params.{p}"])) for p in sweep.swept[:12]]
        ends.append({"name": title, "value": say(row[f"results.{name}"], unit), "run": row["run"]})
        ends[-1] |= {"link": links.get(row["run"]), "set": given}
    with debug_mode(False):  # Altair checks each part of a chart as it is made: that takes as long as all else together
        drawn = [] if same else findings.pictures(sweep, name)
    called = name if label(name).text == unit or not unit else f"{name} [{unit}]"
    about = {"column": _column(name, "results", sweep.swept), "label": called, "same": same, "ends": ends}
    figures = [findings.figure(chart, store, picture=first) for chart in drawn]
    return about | {"sentences": findings.sentences(sweep, name), "figures": figures}


def _failures(sweep: Outcome, links: dict[str, str]) -> list[dict[str, Any]]:
    """Runs that did not end well, by what they said, the most frequent first."""
    first = pl.col("error").fill_null("").str.split("\n").list.first()
    failed = sweep.failed.with_columns(said=first, kind=pl.coalesce(pl.col("traceback").str.extract_all(PLACE).list.last(), first))
    groups = []
    for (status, _), runs in failed.group_by("status", "kind", maintain_order=True):
        named = []
        for row in runs[:NAMED].iter_rows(named=True):
            chosen = ", ".join(f"{p} = {findings.where(sweep, p, row[f'params.{p}'])}" for p in sweep.swept)
            named.append({"run": row["run"], "link": links.get(row["run"]), "set": chosen})
        said = {"error": runs["said"][0] or "no error said", "alike": runs["said"].n_unique() - 1, "traceback": runs["traceback"][0]}
        groups.append(said | {"count": runs.height, "status": status, "runs": named, "where": findings.where_failed(sweep, runs)})
    return sorted(groups, key=lambda g: -g["count"])


def _table(sweep: Outcome, links: dict[str, str]) -> dict[str, Any]:
    """The table of runs by column."""
    columns = [_listed("run", "run", sweep.runs["run"]), _listed("status", "run", sweep.runs["status"])]
    for name in sweep.swept:
        columns.append(_listed(_column(name, "params"), "swept", sweep.runs[f"params.{name}"], sweep.label(name), sweep.meaning(name)))
    for name in sorted(sweep.results, key=lambda n: sweep.done[f"results.{n}"].n_unique() == 1):
        columns.append(_listed(_column(name, "results", sweep.swept), "result", sweep.runs[f"results.{name}"], label(name)))
    columns.append(_listed("seconds", "about", sweep.runs["seconds"].round(2), Label("", "s")))
    if sweep.failed.height:
        columns.append(_listed("error", "about", sweep.runs["error"].str.slice(0, 200)))
    return {"columns": columns, "links": [links.get(run) for run in sweep.runs["run"]]}


def _listed(name: str, kind: str, values: pl.Series, called: Label | None = None, meaning: str = "") -> dict[str, Any]:
    number, about = values.dtype.is_numeric(), {"unit": called.unit if called else "", "meaning": meaning}
    shown = values.cast(pl.Float64).round_sig_figs(9) if values.dtype.is_float() else values if number else values.cast(pl.String)
    return {"name": name, "kind": kind, **about, "number": number, "values": shown.to_list()}


def _column(name: str, of: str, taken: tuple[str, ...] = ()) -> str:
    """Name of a column, apart from those that every table has and those taken."""
    return f"{of}.{name}" if name in ("run", "status", "seconds", "error", *taken) else name


def _swept(sweep: Outcome, name: str) -> publish.Value:
    values = sweep.runs[f"params.{name}"]
    different = values.unique(maintain_order=True)
    texts = [findings.text(v) for v in (different.sort() if values.dtype.is_numeric() else different)]
    said = ", ".join(texts) if len(texts) <= 8 else f"{len(texts):,} values from {texts[0]} to {texts[-1]}"
    if len(texts) > 8 and not values.dtype.is_numeric():
        said = f"{', '.join(texts[:6])} and {len(texts) - 6:,} more"
    return publish.Value(name, said, sweep.label(name).unit, sweep.meaning(name), "")


def _fixed(sweep: Outcome) -> list[publish.Value]:
    """Parameters that all runs share, with the value that they ran with."""
    names = [c.removeprefix("params.") for c in sweep.runs.columns if c.startswith("params.")]
    values = {name: findings.text(sweep.runs[f"params.{name}"][0]) for name in names if name not in sweep.swept}
    defaults = values | {name: findings.text(p.default) for name, p in sweep.declared.items()}
    return [publish.Value(n, value, sweep.label(n).unit, sweep.meaning(n), defaults[n]) for n, value in values.items()]


def _provenance(sweep: Outcome) -> list[tuple[str, str]]:
    runs, about = sweep.runs, sweep.about
    seconds = float(runs["seconds"].sum())
    more = f"; {again:,} took more than one attempt" if (again := int((runs["attempts"] > 1).sum())) else ""
    ended = runs["finished"].drop_nulls()
    ran_with = {"workbench": "workbench", "Code and data": "code_and_data", "Python": "python"}
    said = [
        ("Notebook", f"{sweep.name}, content sha256 {about['sha256']}" if "sha256" in about else sweep.name),
        ("Runs", f"{sweep.count:,} planned, {runs.height:,} ended, {sweep.done.height:,} of them well{more}"),
        ("Time", f"{duration(seconds)} in all, {seconds / runs.height:.3g} s per run"),
        ("When", f"{_moment(ended.min())} to {_moment(ended.max())}" if len(ended) else ""),
        ("Made", _moment(about["created"]) if about.get("created") else ""),
        *((name, ", ".join(runs[of].drop_nulls().unique().sort())) for name, of in ran_with.items()),
        ("This page", f"{_moment(datetime.now(UTC))}, workbench {__version__}"),
    ]  # fmt: skip
    return [(name, text) for name, text in said if text]


def _moment(moment: Any) -> str:
    """A time to the minute, as UTC."""
    try:
        moment = datetime.fromisoformat(str(moment))
    except ValueError:
        return str(moment)
    moment = moment.astimezone(UTC) if moment.tzinfo else moment
    return f"{moment:%Y-%m-%d %H:%M} UTC"
