"""The driver of a sweep: plans, hands runs to workers, keeps a table of what is done, and stops so that it can go on later.

What a run left in ``runs/`` is the truth; the tables beside it are written anew now and then, so that they can be read meanwhile, and what
they lack after a driver was killed is read from the notebooks.
"""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from workbench import __version__
from workbench.batch import executors, expand, results
from workbench.batch.expand import Grid, Plan
from workbench.batch.results import Results
from workbench.errors import InputError, refused
from workbench.files import Store
from workbench.kernel import provisioner
from workbench.notebook.kernels import WARM, kernel_name
from workbench.notebook.run import Task
from workbench.notebook.stored import Run, run_of_bytes

GRACE = 0.7  #: so long may runs that have begun go on after Ctrl-C [s]
#: The tables are written at most this often [s], and seldom enough that writing takes at most this share of the time.
WRITE_EVERY, WRITE_SHARE = 2.0, 0.04


@dataclass(frozen=True)
class Sweep:
    """What a call of `sweep` did."""

    plan: Plan
    out: str
    results: Results
    kept: int  #: runs that were done before
    again: int  #: runs that were done before with other code or data, and so were not kept
    seconds: float
    stopped: str | None  #: why not all was run: "interrupted", "failed", or None

    def __repr__(self) -> str:
        return f"Sweep({self.plan} in {self.out}: {', '.join(f'{n:,} {status}' for status, n in self.statuses.items()) or 'none finished'})"

    @property
    def statuses(self) -> dict[str, int]:
        """Runs by status, those of earlier calls included."""
        return dict(Counter(self.results.runs["status"].to_list()))


def sweep(
    notebook: str | Path, parameters: Mapping[str, str] | None = None, *, out: str | Path,
    grid: Grid = None, zip: Iterable[Iterable[str]] = (), samples: int | None = None, seed: int = 0, max_runs: int = 10_000,
    jobs: int | None = None, scheduler: str | None = None, executor: Executor | None = None,
    resume: bool = False, fail_fast: bool = False, retries: int = 2,
    cell_timeout: float | None = None, timeout: float | None = None, memory: int | str | None = None,
    kernel: str | None = None, progress: Callable[[int, int, int], None] | None = None,
) -> Sweep:  # fmt: skip
    """Run a notebook with every parameter set of a plan.

    Raises `InputError`, before work starts, as `plan`, and for a folder of another sweep or that cannot be written, a scheduler that does
    not answer, a limit that is none; later for what no run survives, such as a full disk: what is finished stays.

    Parameters
    ----------
    notebook, parameters, grid, zip, samples, seed, max_runs
        As of `plan`.
    out : path or address
        Folder of the sweep: new or empty, or with `resume` that of a sweep of the same notebook.
    jobs : int
        Runs at a time on this machine; default: one more than cores.
    scheduler : str
        Address of a Dask scheduler whose workers run instead; `out` must be a place that they share.
    executor : concurrent.futures.Executor
        Runs instead; `jobs` then says how many it runs at a time.
    resume : bool
        Run only what is missing or was not done for the same cells, parameters, code and data (`tables.code_and_data`).
    fail_fast : bool
        After the first run that is not done, start no other.
    retries : int
        How often a run is tried again whose kernel or worker died.
    cell_timeout, timeout : float
        Limits of a cell and of a run [s].
    memory : int or str
        Limit of the private memory of a run's kernel [bytes], or as ``"2GB"``.
    kernel : str
        Name of the kernel; default: the warm kernel where it is installed, or the notebook's own.
    progress : callable
        Called with the number of runs finished, of those of this call that are not done, and of all: at the start and after every run.

    Examples
    --------
    >>> sweep("ai_factory", {"n_chips": "1000,2000", "pue": "1.1:1.3:3"}, out="runs/ai_factory")  # doctest: +SKIP
    Sweep(Plan(ai_factory: 6 runs over n_chips, pue) in runs/ai_factory: 6 done)
    >>> sweep("ai_factory", {"pue": "1.1:1.4"}, out="runs/ai_factory")
    Traceback (most recent call last):
    workbench.notebook.parameters.ParameterError: pue = 1.1:1.4: a range to sample; give --samples N, or low:high:n for a grid
    """
    start, tell = time.perf_counter(), progress or (lambda *_: None)
    limits = _limits(memory, cell_timeout=cell_timeout, timeout=timeout)
    if retries < 0:
        raise InputError(f"retries = {retries}: expected 0 or more")
    planned = expand.plan(notebook, parameters, grid=grid, zip=zip, samples=samples, seed=seed, max_runs=max_runs)
    store = Store.at(out)
    created = _check_folder(store, planned, resume)
    with executors.workers(jobs, scheduler, executor) as pool, _alone(store), _interruptible() as interrupted:
        earlier, again = _opened(store, planned, created)
        table, have = _Table(store, earlier), set(earlier.runs["run"])
        waiting = deque(
            Task(key, f"runs/{key}.ipynb", chosen, kernel, os.getcwd(), planned.notebook.code_and_data, **limits)
            for key, chosen in planned.sets.items()
            if key not in have
        )
        here = waiting and scheduler is None and executor is None
        if here and provisioner.VARIABLE not in os.environ and kernel_name(kernel, planned.notebook.kernel) == WARM:
            with suppress(provisioner.ColdStart):
                provisioner.start(steady=True)  # all kernels of one code, whatever changes meanwhile
        tell(len(table), table.failed, len(planned))

        def stopped() -> bool:
            return bool(interrupted) or (fail_fast and table.failed > 0)

        def left() -> bool:
            return bool(interrupted) and time.monotonic() > interrupted[0] + GRACE

        try:
            run = partial(executors.run_one, store.url, planned.notebook.sha256)
            for task, future in executors.completed(pool, run, waiting, stopped, left, ahead=1 if fail_fast else 2):
                done = _outcome(task, future)
                if done.status == "died" and task.attempt <= retries:
                    waiting.append(replace(task, attempt=task.attempt + 1))
                    continue
                table.add(done)
                tell(len(table), table.failed, len(planned))
            if interrupted:
                pool.stop()
            table.write(list(planned.sets))
        except BaseException as error:
            pool.stop()
            if not isinstance(error, InputError | BrokenExecutor | OSError):
                raise
            with suppress(OSError):
                table.write()
            raise InputError(f"{error}\n{len(table):,} of {len(planned):,} runs are finished and kept; resume with --resume") from None
    reason = None if len(table) == len(planned) else "interrupted" if interrupted else "failed"
    return Sweep(planned, store.url, table.results, len(have), again, time.perf_counter() - start, reason)


class _Table:
    """The results so far, and those not yet written."""

    def __init__(self, store: Store, earlier: Results):
        self.store, self.results, self.failed = store, earlier, 0
        self._fresh, self._write_at = list[Run](), 0.0

    def __len__(self) -> int:
        return self.results.runs.height + len(self._fresh)

    def add(self, run: Run) -> None:
        self._fresh.append(run)
        self.failed += run.status != "done"
        if time.monotonic() >= self._write_at:
            self.write()

    def write(self, order: list[str] | None = None) -> None:
        """Write the tables, runs in the order given or of their end. They are whole at any time, whoever is killed."""
        start = time.monotonic()
        joined, self._fresh = self.results.joined(self._fresh), []
        self.results = joined.ordered(order) if order else joined
        self.results.write(self.store)
        self._write_at = start + max(WRITE_EVERY, (time.monotonic() - start) / WRITE_SHARE)


def _outcome(task: Task, future: Future[Run]) -> Run:
    """What a run came to; a run whose worker is gone has died. Raises what no other run would survive either."""
    try:
        return future.result()
    except CancelledError:
        raise InputError("the scheduler is gone, and the runs that it had are lost") from None
    except Exception as error:
        if type(error).__name__ != "KilledWorker":  # of Dask
            raise
        about: dict[str, Any] = {"status": "died", "error": str(error), "workbench": __version__, "code_and_data": task.code_and_data}
        return Run(task.name, **about, attempts=task.attempt, finished=datetime.now(UTC), parameters=task.parameters)


def _check_folder(store: Store, planned: Plan, resume: bool) -> str:
    """When the sweep there was made, or now; refuse a place that holds something else."""
    with refused(f"{store}: cannot be the folder of a sweep"):
        names = store.names()
    if store.folder and store.folder.exists() and not store.folder.is_dir():
        raise InputError(f"{store}: cannot be the folder of a sweep (it is a file)")
    if "sweep.json" not in names:
        if names:
            raise InputError(f"{store}: holds something other than a sweep ({', '.join(names[:3])}); give a new folder")
        return datetime.now(UTC).isoformat(timespec="seconds")
    try:
        found = json.loads(store.read("sweep.json"))
        name, created = str(found["notebook"]), str(found["created"])
        alike = found["sha256"] == planned.notebook.sha256 and "code_and_data" in found  # older ones named runs in another way
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{store}/sweep.json: cannot be read as that of a sweep") from None
    if name != planned.notebook.name:
        raise InputError(f"{store}: holds a sweep of another notebook, {name}; give another folder")
    if not resume:
        raise InputError(f"{store}: holds a sweep of {name} of {created[:16]}; --resume goes on with it, or give another folder")
    others = set(_tables(store).runs["run"]) - planned.sets.keys()
    if alike and others:
        why = f"has runs of other parameters ({len(others):,}), which this sweep would drop from its table"
        raise InputError(f"{store}: {why}; give their values too, or another folder")
    return created


def _tables(store: Store) -> Results:
    """The tables of the folder; none where they cannot be read: the notebooks say the same."""
    try:
        return results.read_tables(store)
    except InputError:
        return results.NOTHING


def _opened(store: Store, planned: Plan, created: str) -> tuple[Results, int]:
    """Make the folder that of this plan, and return what it holds already: what the tables say, then what was finished after them.

    Runs of other code or data do not count; the second is their number.
    """
    notebook = planned.notebook
    described: dict[str, Any] = {"notebook": notebook.name, "parameters": [asdict(p) for p in notebook.declared.values()]}
    described |= {"sha256": notebook.sha256, "workbench": __version__, "code_and_data": notebook.code_and_data}
    described |= {"swept": list(planned.swept), "count": len(planned), "created": created}
    with refused(f"{store}: cannot be written"):
        store.write("sweep.json", json.dumps(described, indent=1, ensure_ascii=False).encode())
        store.write("notebook.ipynb", notebook.text.encode("utf8", "replace"))
        store.sweep_up("runs")
        store.sweep_up("frames")
    there = {name.removesuffix(".ipynb") for name in store.names("runs") if name.endswith(".ipynb")} & planned.sets.keys()
    tables = _tables(store)
    done = tables.runs.filter((pl.col("status") == "done") & (pl.col("code_and_data") == notebook.code_and_data))["run"].to_list()
    typed = {f"params.{p.name}": results.TYPES[p.type] for p in notebook.declared.values()}  # before the first run is done
    kept = Results(pl.DataFrame(schema=results.COLUMNS | typed), {}) + tables.only(there.intersection(done))
    later, again = list[Run](), 0
    for key in sorted(there - set(kept.runs["run"])):
        with suppress(InputError):  # a notebook that cannot be read is run again
            run = run_of_bytes(store.read(f"runs/{key}.ipynb"), f"runs/{key}.ipynb", key)
            ours = run.code_and_data == notebook.code_and_data
            later += [run] if ours and run.status == "done" else []
            again += not ours
    return kept.joined(later), again


def _limits(memory: int | str | None, **seconds: float | None) -> dict[str, Any]:
    """What a task may take: times as given, and the size in bytes."""
    for name, value in seconds.items():
        if value is not None and not value > 0:
            raise InputError(f"{name} = {value}: expected seconds above 0")
    if memory is None:
        return seconds
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kMGT]?)(i?)B?\s*", str(memory), re.IGNORECASE)
    size = float(match[1]) * (1024 if match[3] else 1000) ** " kmgt".index(match[2].lower() or " ") if match else 0.0
    if size < 1:
        raise InputError(f"memory = {memory!r}: expected a size such as 500MB, 2GB or 1.5GiB")
    return seconds | {"memory": int(size)}


@contextmanager
def _alone(store: Store) -> Iterator[None]:
    """Hold the folder for this driver, where the file system can say so."""
    if not store.folder or os.name == "nt":
        yield
        return
    import fcntl

    with refused(f"{store}: cannot be written"):
        store.folder.mkdir(parents=True, exist_ok=True)
        lock = (store.folder / ".lock").open("w")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{store}: another sweep is running there") from None
        except OSError:
            pass  # a file system without locks
        yield


@contextmanager
def _interruptible() -> Iterator[list[float]]:
    """When Ctrl-C (or SIGTERM) was heard: the first is noted, so that what nearly is done can finish; the second stops at once."""
    heard: list[float] = []

    def hear(number: int, frame: Any) -> None:
        if heard:
            raise KeyboardInterrupt
        heard.append(time.monotonic())

    if threading.current_thread() is not threading.main_thread():
        yield heard
        return
    before = {number: signal.signal(number, hear) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield heard
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
