"""A sweep on a terminal: the plan, the progress bar, the summary."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import polars as pl
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn, TimeRemainingColumn

from workbench.batch.driver import Sweep
from workbench.batch.executors import cores, runs_at_once
from workbench.batch.expand import Plan
from workbench.batch.results import read_results
from workbench.batch.tell.words import duration
from workbench.errors import InputError
from workbench.units import significant

OVERHEAD = 0.2  #: time that a run takes beside its cells [s]: the kernel, the messages, the file
STARTUP = 4.0  #: until the first run begins [s]
NAMED = 10  #: runs that failed, as many as the summary names


def plan_lines(plan: Plan, out: str, jobs: int | None, scheduler: str | None) -> list[str]:
    """The plan in words: what is swept, how many runs, how long they may take."""
    lines = [f"{plan.notebook.name}: {len(plan):,} {'run' if len(plan) == 1 else 'runs'}"]
    for name in plan.sets and next(iter(plan.sets.values())):
        values = list(dict.fromkeys(chosen[name] for chosen in plan.sets.values()))
        shown = ", ".join(map(repr, values if len(values) <= 6 else [*values[:2], ...])).replace("Ellipsis", "...")
        last = f", {values[-1]!r} ({len(values):,} values)" if len(values) > 6 else ""
        unit = plan.notebook.declared[name].shown_unit
        lines.append(f"  {name} = {shown}{last}{f' [{unit}]' if unit else ''}")
    done, other, seconds, basis = _expected(plan, out)
    left, each = len(plan) - done, f"({significant(seconds)} s per run: {basis})"
    if done:
        lines.append(f"{done:,} are done in {out}, {left:,} are left")
    if other:
        lines.append(f"{other:,} runs of other code or data in {out} are run again")
    if scheduler:
        lines.append(f"estimated time: {duration(seconds * left)}, shared by the workers of {scheduler} {each}")
    elif left:
        parallel = runs_at_once(jobs)
        lines.append(f"estimated time: {duration(STARTUP + seconds * left / min(parallel, cores(), left))}, {parallel} at a time {each}")
    return lines


def _expected(plan: Plan, out: str) -> tuple[int, int, float, str]:
    """Runs done already, those done with other code or data, seconds expected of each other, and why."""
    done = other = 0
    with suppress(InputError):
        runs = read_results(out).runs.filter(pl.col("status") == "done")
        ours = runs.filter(pl.col("run").is_in(list(plan.sets)))["code_and_data"] == plan.notebook.code_and_data
        done, other = int(ours.sum()), int((~ours).sum())
        if runs.height:
            return done, other, sum(runs["seconds"].to_list()) / runs.height, f"mean of {runs.height:,} runs in {out}"
    if plan.notebook.seconds is not None:
        return done, other, plan.notebook.seconds + OVERHEAD, "as long as its cells took when it was last saved"
    return done, other, OVERHEAD, "for the kernel alone; the notebook does not say how long its cells take"


@contextmanager
def progress_bar(name: str) -> Iterator[Callable[[int, int, int], None]]:
    """A bar with the rate and the time left; call it with runs finished, runs not done, and all runs."""
    counts = "{task.description}", BarColumn(), MofNCompleteColumn(), "{task.fields[failed]}", "{task.fields[rate]}"
    times = TimeElapsedColumn(), "left", TimeRemainingColumn()
    console = Console(stderr=True)
    bar = Progress(*counts, *times, console=console, speed_estimate_period=60, disable=not console.is_terminal)
    task = bar.add_task(name, total=None, failed="", rate="")

    def show(finished: int, failed: int, total: int) -> None:
        bar.start()  # not before: what is refused shows no bar
        rate = f"{significant(speed)} runs/s" if (speed := bar.tasks[task].speed) else ""
        bar.update(task, completed=finished, total=total, failed=f"[red]{failed:,} failed[/red]" if failed else "", rate=rate)

    try:
        yield show
    finally:
        bar.stop()


def summary_lines(done: Sweep) -> list[str]:
    """What came of a sweep: counts, time, where, and each failure once with its traceback."""
    runs = done.results.runs
    counts = ", ".join(f"{n:,} {status}" for status, n in sorted(done.statuses.items(), key=lambda kv: (kv[0] != "done", kv[0])))
    fresh = runs.height - done.kept
    rate = f", {significant(fresh / done.seconds)} runs/s" if fresh and done.seconds else ""
    earlier = f" ({done.kept:,} of them before)" if done.kept else ""
    earlier += f" ({done.again:,} of other code or data were run again)" if done.again else ""
    lines = [f"{runs.height:,} of {len(done.plan):,} runs finished{earlier}: {counts or 'none'}; {duration(done.seconds)}{rate}"]
    failed = runs.filter(pl.col("status") != "done")
    for row in failed.head(NAMED).iter_rows(named=True):
        chosen = ", ".join(f"{name}={value!r}" for name, value in done.plan.sets[row["run"]].items() if name in done.plan.swept)
        lines.append(f"{row['status']}: {chosen or 'declared values'}: {row['error']} ({row['notebook'] or 'no notebook'})")
    if failed.height > NAMED:
        lines.append(f"... and {failed.height - NAMED:,} more: status, error and traceback are columns of results.parquet")
    told = failed.filter(pl.col("traceback").is_not_null()).unique("error", keep="first", maintain_order=True)
    for row in told.head(3).iter_rows(named=True):
        lines += ["", f"{row['run']}:", row["traceback"]]
    lines.append(f"{done.out}/results.parquet")
    if done.stopped:
        lines.append(f"stopped ({done.stopped}); {len(done.plan) - runs.height:,} runs are left: --resume goes on")
    return lines
