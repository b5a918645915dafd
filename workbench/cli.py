"""The `workbench` command. Everything heavy is imported inside the command that needs it."""

from __future__ import annotations

import functools
import inspect
import itertools
import math
import os
import sys
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from workbench import __version__
from workbench.errors import InputError, WorkbenchError

if TYPE_CHECKING:
    import polars as pl

app = typer.Typer(
    help="Decide about AI infrastructure: facts with sources, models with errors, notebooks with answers.",
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
)  # fmt: skip

VALUES = """Values of a parameter: a,b,c (one with a comma in double quotes, as in CSV); low:high:n or low:high:n:log, n numbers; low:high
or low:high:log, a range to sample. May be repeated: each value runs with each of the others."""
KINDS = """What was measured: collectives, gemm, goodput, runs, serving, training or training-memory; or published cases: those of demand,
energy, scaling or topology, or all cases; or decisions: what the models choose among measured options."""
LONG = ("aliases", "source", "note", "meaning", "as_of")  #: columns too long for a terminal; `--csv` and a single row show them


def _version(asked: bool) -> None:
    if asked:
        print(f"workbench {__version__}")
        raise typer.Exit


@app.callback()
def _main(version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False) -> None:
    pass


@app.command()
def show(
    table: Annotated[str | None, typer.Argument(help="A table of the catalogue, or llm or chip for a card; none: list the tables.")] = None,
    name: Annotated[str | None, typer.Argument(help="One row, by its key or an alias; a model also by its config.json.")] = None,
    csv: Annotated[bool, typer.Option("--csv", help="Print every column as CSV.")] = False,
    stale: Annotated[bool, typer.Option("--stale", help="With facts: the tables of facts by age of their newest row.")] = False,
) -> None:
    """Show a table of the catalogue, or one of its rows; `show facts --stale`: which tables are old."""
    from workbench import catalogue, tables

    if stale:
        if table not in (None, "facts"):
            raise InputError(f"{table} --stale: expected workbench show facts --stale, which lists every table")
        ages = tables.ages(date.today())
        _print_rows(ages.columns, ages.rows())
        return
    if table is None:
        firsts = {t: ", ".join(catalogue.names(t)[:3]) for t in tables.table_names()}
        rows = [(t, catalogue.table(t).height, shorten(names, 37, placeholder=" ...")) for t, names in firsts.items()]
        _print_rows(["table", "rows", "for example"], rows)
        return
    if table in ("llm", "chip") and name is not None:
        _show_llm(name) if table == "llm" else print(catalogue.chip(name))
        return
    frame = catalogue.table(table)
    if name is not None:
        frame = frame.slice(catalogue.names(table).index(catalogue.key_of(table, name)), 1)
    if csv:
        print(frame.write_csv(), end="")
    elif name is not None:
        units = {c.column: c.unit or "" for c in tables.declaration(table)}
        cells = [(column, value, units[column]) for column, value in frame.row(0, named=True).items() if value is not None]
        _print_rows(["column", "value", "unit"], cells, fold=True)
    else:
        _print_table(frame, table)


class _Run(TyperCommand):
    """``-p NAME VALUE``, as papermill has it, means ``-p NAME=VALUE``; typer knows only options of one word."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        words, joined = iter(args), []
        for word in words:
            joined.append(word)
            if word in ("-p", "--parameter") and (name := next(words, None)) is not None:
                joined.append(name if "=" in name else "=".join([name, *itertools.islice(words, 1)]))
        return super().parse_args(ctx, joined)


@app.command(cls=_Run)
def run(
    notebook: Annotated[str, typer.Argument(help="Name of a shipped notebook (ai_factory) or path of an .ipynb.")],
    parameter: Annotated[list[str] | None, typer.Option("-p", "--parameter", metavar="NAME=VALUE", help="Set a value; repeatable.")] = None,
    out: Annotated[str, typer.Option(help="Folder for the executed notebook and its HTML, or s3://, gs://, az:// address.")] = "out",
    list_parameters: Annotated[bool, typer.Option("--parameters", help="Print what the notebook declares and stop.")] = False,
) -> None:
    """Run a notebook with other parameters, and publish it as HTML beside it."""
    from workbench.notebook.parameters import of_notebook
    from workbench.notebook.run import execute, find

    if list_parameters:
        declared = [(p.name, repr(p.default), p.meaning, p.allowed) for p in of_notebook(find(notebook)).values()]
        _print_rows(["parameter", "default", "meaning", "allowed"], declared, fold=True)
        return
    done = execute(notebook, out, _pairs(parameter or []), progress=sys.stderr.isatty())
    if done.error:
        raise InputError(f"{done.name} stopped: {done.error}\nwhat it did until then: {done.page}")
    print(done.headline, f"{done.notebook}\n{done.page}", sep="\n")


@app.command()
def sweep(
    notebook: Annotated[str, typer.Argument(help="Name of a shipped notebook (ai_factory) or path of an .ipynb.")],
    parameter: Annotated[list[str] | None, typer.Option("-p", "--parameter", metavar="NAME=VALUES", help=VALUES)] = None,
    grid: Annotated[Path | None, typer.Option(help="YAML file: NAME: value, \\[values] or {low, high, n, log}; text is text.")] = None,
    zip_: Annotated[list[str] | None, typer.Option("--zip", metavar="A,B", help="Parameters that advance together; repeatable.")] = None,
    samples: Annotated[int | None, typer.Option(help="Sobol points over the ranges to sample; without ranges, over all declared.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the scrambling of the samples.")] = 0,
    jobs: Annotated[int | None, typer.Option("-j", "--jobs", help="Runs at a time; default: one more than cores.")] = None,
    scheduler: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Dask scheduler, tcp://host:8786; --out must be shared.")] = None,
    out: Annotated[str | None, typer.Option(help="Folder of the sweep, or s3://, gs://, az:// address; default: runs/NOTEBOOK.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the sweep in --out: run what is missing or failed.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan, the count and the estimated time, and stop.")] = False,
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="Start no run after the first that fails.")] = False,
    max_runs: Annotated[int, typer.Option(help="Refuse a larger sweep.")] = 10_000,
    retries: Annotated[int, typer.Option(help="How often a run is tried again whose kernel or worker died.")] = 2,
    cell_timeout: Annotated[float | None, typer.Option(metavar="SECONDS", help="Longest time of a cell.")] = None,
    timeout: Annotated[float | None, typer.Option(metavar="SECONDS", help="Longest time of a run.")] = None,
    memory: Annotated[str | None, typer.Option(metavar="SIZE", help="Limit of a run's private memory, such as 2GB.")] = None,
    kernel: Annotated[str | None, typer.Option(help="Name of the kernel; default: the warm one, or the notebook's.")] = None,
) -> None:
    """Run a notebook with every set of many parameters, and gather what it records in one table."""
    from workbench import batch, interrupts
    from workbench.batch.tell import show

    texts = _pairs(parameter or [])
    groups = [[name.strip() for name in names.split(",")] for names in zip_ or []]
    asked: dict[str, Any] = {"grid": grid, "zip": groups, "samples": samples, "seed": seed, "max_runs": max_runs}
    how: dict[str, Any] = {"jobs": jobs, "scheduler": scheduler, "resume": resume, "fail_fast": fail_fast, "retries": retries}
    how |= {"cell_timeout": cell_timeout, "timeout": timeout, "memory": memory, "kernel": kernel}
    place = out or f"runs/{Path(notebook).stem}"
    if dry_run:
        print(*show.plan_lines(batch.plan(notebook, texts, **asked), place, jobs, scheduler), sep="\n")
        return
    with show.progress_bar(Path(notebook).stem) as progress:
        try:
            done = batch.sweep(notebook, texts, **asked, **how, out=place, progress=progress)
        except KeyboardInterrupt:
            interrupts.end("interrupted; --resume goes on with what is finished")
    if done.stopped == "interrupted":
        finished = f"{done.results.runs.height:,} of {len(done.plan):,} runs are finished and kept"
        interrupts.end(f"interrupted; {finished} in {place}: --resume goes on")
    print(*show.summary_lines(done), sep="\n")
    if done.statuses.keys() - {"done"}:
        raise typer.Exit(1)


def _pairs(words: list[str]) -> dict[str, str]:
    """``NAME=VALUE`` words as a mapping."""
    values: dict[str, str] = {}
    for word in words:
        name, given, value = word.partition("=")
        if not given:
            raise InputError(f"-p {name}: a name and a value are expected")
        if name in values:
            raise InputError(f"-p {name} is given twice: {values[name]!r} and {value!r}")
        values[name] = value
    return values


TOLD: dict[str, tuple[type, str]] = {  #: what files may not say, each with its help: options of the commands that read files
    "program": (str, "Operation of a log that names no program: all_reduce, alltoall, ..."),
    "chip": (str, "Accelerator that a file does not name."), "n_chips": (int, "Ranks of a log, or chips of a server or a run."),
    "domain": (int, "Ranks that share links within a domain of a log."),
    "fabric": (str, "Network between domains: InfiniBand NDR, RoCE, EFA, Slingshot, or the name of a network that you calibrated."),
    "nic_gbps": (float, "Rate of a rank's network card in Gbit/s."), "model": (str, "Model that a result or a log does not name."),
    "tp": (int, "Tensor-parallel degree."), "pp": (int, "Pipeline-parallel degree."),
    "precision": (str, "Format of the weights: bf16, fp8, awq, w4a16, ..."), "framework": (str, "Software of a server: vLLM, SGLang, ..."),
    "input_len": (float, "Mean tokens of a prompt."), "output_len": (float, "Mean tokens of an answer."),
    "time_unit": (str, "Unit of the times of a trace: s, ms, us or ns."),
    "unit": (str, "Unit of prices or carbon without one: EUR/MWh, g/kWh, lb/MWh, ..."),
    "as": (str, "Name to write results under: of a network, a law or a chip."),
}  # fmt: skip


def _told(command: Any) -> Any:
    """The command with the options of `TOLD`, which it gets as one mapping of those that were given."""
    kept = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != "told"]
    for name, (kind, text) in TOLD.items():
        option = typer.Option(f"--{name.replace('_', '-')}", help=text)
        kept.append(inspect.Parameter(f"_{name}", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option]))

    @functools.wraps(command)
    def called(**given: Any) -> Any:
        return command(told={name: value for name in TOLD if (value := given.pop(f"_{name}")) is not None}, **given)

    called.__signature__ = inspect.Signature(kept)  # type: ignore[attr-defined]
    called.__annotations__ = {p.name: p.annotation for p in kept}
    return called


@app.command()
@_told
def report(
    path: Annotated[str, typer.Argument(help="An executed notebook, a sweep, a folder of notebooks that papermill executed, or a result.")],
    result: Annotated[str | None, typer.Option(help="Recorded result that the page opens with; default: the first that varies.")] = None,
    out: Annotated[str | None, typer.Option(metavar="FILE.html", help="Default: report.html in the folder, or by the notebook.")] = None,
    told: Any = None,
) -> None:
    """Write one self-contained page on a run, a sweep, or a result or log of another tool beside its prediction."""
    from workbench import batch

    page = batch.report(path, out, result, told)
    print(page.resolve() if isinstance(page, Path) else page)


@app.command()
def tour(
    out: Annotated[str, typer.Option(help="Folder for the executed notebooks and index.html, or s3://, gs://, az:// address.")] = "out",
) -> None:
    """Run every notebook with its own parameters and publish them with an index, which says what moved since the previous tour."""
    from workbench import files
    from workbench.batch import diff
    from workbench.batch.tell import show
    from workbench.notebook import publish
    from workbench.notebook.run import execute_all, shipped

    names, runs = shipped(), []
    since = diff.since(out, names)
    with show.progress_bar("notebooks") as progress:
        for done in execute_all(names, out, "index.html"):
            runs.append(done)
            progress(len(runs), sum(bool(run.error) for run in runs), len(names))
    index = files.place(out, "index.html")
    publish.index(runs, index, {done.name: since(done) for done in runs})
    for done in runs:
        print(f"{done.name} ({done.seconds:.1f} s)", done.error or done.headline, "", sep="\n")
    print(index.resolve() if isinstance(index, Path) else index)
    if failed := [done.name for done in runs if done.error]:
        raise InputError(f"{len(failed)} of {len(runs)} notebooks stopped: {', '.join(failed)}")


@app.command()
def warm() -> None:
    """Keep warm kernels ready for commands that run one notebook (papermill -k workbench), until Ctrl-C.

    Set WORKBENCH_WARM to the printed path for the commands that are to use them.
    """
    from workbench.kernel import provisioner

    provisioner.serve()


@app.command()
@_told
def read(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="A log, a result, a trace, hours, a system, or a folder of them.")],
    told: Any = None,
) -> None:
    """Say what kind of file it is, and print its rows as the standard CSV."""
    from workbench import readers

    found = readers.read(path, told)
    if found is None:
        raise readers.unknown(path)
    print(f"{path}: {found.kind}", *found.said, sep="\n", file=sys.stderr)
    print(found.frame.write_csv(), end="")


@app.command()
@_told
def validate(
    kind: Annotated[str, typer.Argument(help=KINDS)],
    file: Annotated[list[Path] | None, typer.Argument(help="CSV of measurements or cases, logs, results, a folder; none: shipped.")] = None,
    by: Annotated[str, typer.Option(help="Column to group the table by.")] = "source",
    leave_out: Annotated[str | None, typer.Option(help="Column whose values are also scored by constants of the other rows.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write predictions of all rows as JSON, with --leave-out both.")] = None,
    calls: Annotated[bool, typer.Option("--calls", help="Print the Python call of every row in place of the table.")] = False,
    told: Any = None,
) -> None:
    """Score a model against measurements: predicted against measured, by source."""
    _one_thread()
    from workbench import validation
    from workbench.validation.report import aligned

    if kind == "decisions" and calls:
        raise InputError("validate decisions: --calls is for the other kinds")
    decided = kind == "decisions"
    report: Any = validation.decide(file or (), leave_out) if decided else validation.validate(kind, file, by=by, told=told)
    left_out = validation.validate(kind, file, by=by, leave_out=leave_out, told=told) if leave_out and not decided else None
    print(report.calls() if calls else report)
    if left_out:
        print(f"\nthe same, each {leave_out} by models calibrated on the others alone:\n", left_out, sep="\n")
        print("\nerrors in percent as shipped, and of rows that nothing was fitted to:\n")
        print(*aligned(report.beside(left_out)), sep="\n")
    if json:
        (left_out or report).write_json(json)
        print(f"per-row results: {json}")


@app.command()
@_told
def calibrate(
    kind: Annotated[str, typer.Argument(help="Measurements of collectives, gemm, goodput, scaling, serving, training or training-memory.")],
    file: Annotated[list[Path], typer.Argument(help="CSV of measurements, logs or results; several are fitted together.")],
    out: Annotated[str, typer.Option(help="Folder of tables; set WORKBENCH_DATA to it to use them.")] = "calibrated",
    told: Any = None,
) -> None:
    """Fit the constants of a model to measurements, and write them as tables of the catalogue."""
    _one_thread()
    from workbench import validation

    if "://" in out:
        raise InputError(f"--out {out}: a folder is expected, because WORKBENCH_DATA names one")
    for path, table in validation.write_tables(validation.calibrate(kind, *file, told=told), out).items():
        laws = [f"{row['law']}: {row['note']}" for row in table.to_dicts() if path.name == "laws.csv"]
        print(*laws, f"{table.height} rows: {path}", sep="\n")


@app.command()
def forecasts(
    action: Annotated[str, typer.Argument(help="seal: forecast every series and append to FILE with date and hash; score: what came.")],
    file: Annotated[Path, typer.Argument(help="CSV of sealed forecasts.")] = Path("sealed_forecasts.csv"),
) -> None:
    """Seal forecasts of capital expenditure, chips, tokens, power, rents and users, or score those whose outcome is known."""
    from workbench.demand.forecast import sealed

    if action not in ("seal", "score"):
        raise InputError(f"forecasts {action}: expected seal or score")
    frame = sealed.seal(file) if action == "seal" else sealed.score(file)
    shown = frame.select("series", "target", "p10", "p50", "p90", "seal") if action == "seal" else frame
    _print_rows(["", *shown.columns], ((str(i), *row) for i, row in enumerate(shown.iter_rows(), 1)))


@app.command()
def diff(
    old: Annotated[str, typer.Argument(help="An executed notebook, a sweep, or a folder of executed notebooks.")],
    new: Annotated[str, typer.Argument(help="What came later: another run or sweep of the same notebook.")],
    why: Annotated[bool, typer.Option("--why", help="Of two single runs: run again with each input set back, one at a time.")] = False,
) -> None:
    """Compare two runs or sweeps: which results moved, by how much, and because of which input or table."""
    from workbench.batch.diff import lines

    for line in lines(old, new, why):
        print(line)


@app.command()
def mcp() -> None:
    """Serve the catalogue and the questions of a planner as tools to an agent's host, over standard input and output."""
    try:
        from workbench import tools
    except ModuleNotFoundError as error:
        raise InputError(f"workbench mcp: {error}; pip install 'ai-workbench[agents]'") from None
    tools.serve()


def main() -> None:
    """Entry point: a refused input is one clear message, not a traceback."""
    try:
        app()
    except WorkbenchError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


#: Share of device memory that engines fill where nothing else is asked for, and contexts that a card shows.
FILLED, SHOWN = 0.9, {"8k": 2**13, "128k": 2**17, "1M": 2**20}


def _show_llm(name: str) -> None:
    """Card of a model: counts, cache of a sequence, memory by format, chips that hold it."""
    from workbench import catalogue, formats
    from workbench.units import human

    llm = catalogue.llm(name)
    chips = sorted((catalogue.chip(chip) for chip in catalogue.names("chips")), key=lambda chip: chip.hbm_bytes)
    print(llm, end="\n\n")
    sequences = [(context, *(human(llm.kv_bytes(n, b) + llm.other.state, "B") for b in (2, 1))) for context, n in SHOWN.items()]
    _print_rows(["context", "cache and state, bf16", "cache fp8"], sequences)
    own = llm.quantization.name if llm.quantization else None
    rows = []
    for precision in dict.fromkeys((*([own] if own else ()), "bf16", "fp8", "nvfp4", "int4")):
        runs = [chip for chip in chips if chip.runs(formats.peak_of(precision))]
        weights = llm.weight_bytes(precision)
        held = weights + llm.kv_bytes(SHOWN["8k"]) + llm.other.state
        needed = {chip.name: math.ceil(held / (FILLED * chip.hbm_bytes)) for chip in runs}
        one = [chip for chip, n in needed.items() if n == 1][:6]
        rows.append((precision, human(weights, "B"), ", ".join(one or [f"{n} {chip}" for chip, n in list(needed.items())[-4:]])))
    _print_rows(["weights in", "memory", "chips that hold it and 8k tokens"], rows, fold=True)


def _one_thread() -> None:
    """Fits solve many small systems, for which a second thread of the linear algebra costs more than it brings. Before numpy is loaded."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.10g}"
    return "" if value is None else str(value)


def _print_table(frame: pl.DataFrame, name: str) -> None:
    """As many columns as the terminal is wide, and a line that says which are left out."""
    from rich.console import Console

    room = Console().width
    shown: dict[str, list[str]] = {}
    for column in frame.columns:
        cells = [_cell(v) for v in frame[column].to_list()]
        width = max(map(len, [column, *cells])) + 2
        if column not in LONG and any(cells) and width <= room:
            shown[column], room = cells, room - width
    _print_rows(list(shown), zip(*shown.values(), strict=True))
    if left := [c for c in frame.columns if c not in shown]:
        print(f"{frame.height} rows; left out: {', '.join(left)}")
        print(f"all columns: workbench show {name} --csv; one row: workbench show {name} NAME")


def _print_rows(header: list[str], rows: Iterable[tuple[object, ...]], fold: bool = False) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    grid = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1))
    for column in header:
        grid.add_column(column, no_wrap=not fold, overflow="fold" if fold else "ellipsis")
    for row in rows:
        grid.add_row(*map(_cell, row))
    Console().print(grid, markup=False)
