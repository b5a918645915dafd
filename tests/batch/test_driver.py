"""Sweeps from end to end: what is finished is whole and kept, whatever is killed, full or in the way."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import nbformat
import papermill
import polars as pl
import psutil
import pytest

from tests.batch.conftest import check_sweep
from workbench import __version__, batch, tables
from workbench.batch import driver
from workbench.batch.tell import show
from workbench.errors import InputError
from workbench.notebook.parameters import ParameterError

FILL = "x = bytearray(400_000_000); x[::4096] = b'x' * len(x[::4096])"
ODD = [
    'it\'s "quoted"',
    "two\nlines\r\n",
    "{n} {{}} %s",
    "$(touch hit) `touch hit`",
    "é中\U0001f600\u2028",
    "\\n \\",
    "'''\"\"\"; import os; open('hit', 'x')",
    "",
]


def test_a_sweep_leaves_tables_frames_and_notebooks(small_notebook, tmp_path):
    code = "import polars as pl\nworkbench.record(frame=pl.DataFrame({'x': [n, n + 1]}), big=n * 10.5, kind='a' * n)"
    done = batch.sweep(small_notebook(code), {"n": "1,2,3"}, out=tmp_path / "out", jobs=2)
    assert done.statuses == {"done": 3}
    assert done.stopped is None
    results = batch.read_results(tmp_path / "out")
    assert results.runs.equals(done.results.runs)
    assert results.runs["params.n"].to_list() == [1, 2, 3]  # in the order of the plan
    assert results.runs["results.big"].to_list() == [10.5, 21.0, 31.5]
    assert results.runs["workbench"].to_list() == [__version__] * 3
    assert results.runs["attempts"].to_list() == [1, 1, 1]
    assert (results.runs["seconds"] > 0).all()
    keys = results.runs["run"].to_list()
    assert results.frames["frame"].rows() == [(keys[0], 1), (keys[0], 2), (keys[1], 2), (keys[1], 3), (keys[2], 3), (keys[2], 4)]
    check_sweep(tmp_path / "out", [1, 2, 3])
    said = json.loads((tmp_path / "out" / "sweep.json").read_text())
    assert (said["notebook"], said["swept"], said["count"], said["workbench"]) == ("small", ["n"], 3, __version__)
    assert next((p["name"], p["type"], p["low"], p["high"], p["default"]) for p in said["parameters"]) == ("n", "int", 1, 100, 4)
    assert nbformat.read(tmp_path / "out" / "notebook.ipynb", 4).cells[1].source.startswith("n: int")
    assert batch.gather(tmp_path / "out" / "runs").runs.sort("params.n").drop("notebook").equals(results.runs.drop("notebook"))


def test_odd_texts_arrive_unchanged_and_never_run(small_notebook, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = batch.sweep(small_notebook(), grid={"label": ODD}, out="out", jobs=2)
    assert done.results.runs["params.label"].to_list() == ODD
    assert done.results.runs["results.label"].to_list() == ODD
    assert not (tmp_path / "hit").exists()
    assert all(re.fullmatch(r"[0-9a-f]{20}\.ipynb", p.name) for p in (tmp_path / "out" / "runs").iterdir())


def test_parameters_are_injected_as_papermill_does(small_notebook, tmp_path):
    path = small_notebook()
    papermill.execute_notebook(path, tmp_path / "papermill.ipynb", parameters={"n": 7, "label": "x"}, progress_bar=False)
    batch.sweep(path, {"n": "7", "label": "x"}, out=tmp_path / "out", jobs=1)
    theirs = nbformat.read(tmp_path / "papermill.ipynb", 4)
    ours = nbformat.read(next((tmp_path / "out" / "runs").iterdir()), 4)
    plain = [[(c.source.replace('"', "'"), c.metadata.get("tags") or []) for c in nb.cells] for nb in (ours, theirs)]
    assert plain[0] == plain[1]
    assert ours.metadata.papermill.parameters == theirs.metadata.papermill.parameters


def test_a_failed_run_is_kept_and_stops_no_other(count_notebook, marks, tmp_path):
    path = count_notebook("if n == 2: raise RuntimeError('unlucky')")
    done = batch.sweep(path, {"n": "1,2,3"}, out=tmp_path / "out", jobs=1)
    assert done.statuses == {"done": 2, "failed": 1}
    row = done.results.runs.row(1, named=True)
    assert (row["status"], row["error"], row["results.n"]) == ("failed", "RuntimeError: unlucky", None)
    assert "raise RuntimeError('unlucky')" in row["traceback"]
    assert any(c.outputs and c.outputs[-1].output_type == "error" for c in nbformat.read(tmp_path / "out" / row["notebook"], 4).cells[1:])
    again = batch.sweep(path, {"n": "1,2,3"}, out=tmp_path / "out", jobs=1, resume=True)
    assert again.kept == 2
    assert again.statuses == {"done": 2, "failed": 1}
    assert marks() == [1, 2, 2, 3]  # what failed is run again, and nothing else


def test_fail_fast_starts_no_other(count_notebook, marks, tmp_path):
    done = batch.sweep(count_notebook("1 / 0"), {"n": "1:20:20"}, out=tmp_path / "out", jobs=1, fail_fast=True)
    assert done.stopped == "failed"
    assert marks() == [1]
    assert done.statuses == {"failed": 1}


@pytest.mark.parametrize(
    ("code", "limits", "status", "error"),
    [
        ("import time; time.sleep(60)", {"cell_timeout": 0.5}, "timeout", "a cell took more than 0.5 s"),
        ("import time; time.sleep(60)", {"timeout": 3}, "timeout", "took more than 3 s"),
        (f"{FILL}\nimport time; time.sleep(60)", {"memory": "300MB"}, "memory", "GB of the 0.3 GB allowed"),
        ("import os; os._exit(3)", {"retries": 0}, "died", "the kernel died"),
    ],
)  # fmt: skip
def test_limits_of_a_run(small_notebook, tmp_path, code, limits, status, error):
    start = time.monotonic()
    done = batch.sweep(small_notebook(code), out=tmp_path / "out", jobs=1, **limits)
    row = done.results.runs.row(0, named=True)
    assert row["status"] == status
    assert error in row["error"]
    assert time.monotonic() - start < 40
    nbformat.validate(nbformat.read(tmp_path / "out" / row["notebook"], 4))
    assert batch.gather(tmp_path / "out" / "runs").runs["status"].to_list() == [status]


def test_kernels_that_die_are_tried_again(count_notebook, marks, tmp_path):
    code = f"import os\nif len([m for m in os.listdir(r'{tmp_path / 'marks'}') if m.startswith(f'{{n}}-')]) < 3: os.kill(os.getpid(), 9)"
    done = batch.sweep(count_notebook(code), {"n": "1,2"}, out=tmp_path / "out", jobs=2)
    assert done.statuses == {"done": 2}
    assert done.results.runs["attempts"].to_list() == [3, 3]
    assert marks() == [1, 1, 1, 2, 2, 2]


def test_resume_runs_what_is_missing(count_notebook, marks, tmp_path):
    path, out = count_notebook(), tmp_path / "out"
    batch.sweep(path, {"n": "1,2"}, out=out, jobs=1)
    (out / "results.parquet").unlink()  # as after a driver that was killed: what the notebooks say counts
    done = batch.sweep(path, {"n": "1,2,3"}, out=out, jobs=1, resume=True)
    assert done.kept == 2
    next((out / "runs").iterdir()).write_text("{broken")
    (out / "results.parquet").unlink()
    batch.sweep(path, {"n": "1,2,3"}, out=out, jobs=1, resume=True)
    assert len(marks()) == 4
    check_sweep(out, [1, 2, 3])


def test_resume_with_other_parameters_does_not_drop_what_is_done(count_notebook, marks, tmp_path):
    path, out = count_notebook(), tmp_path / "out"
    batch.sweep(path, {"n": "1,2"}, out=out, jobs=1)
    with pytest.raises(InputError, match=r"has runs of other parameters \(1\), which this sweep would drop"):
        batch.sweep(path, {"n": "2,3"}, out=out, jobs=1, resume=True)
    check_sweep(out, [1, 2])
    assert marks() == [1, 2]


def test_resume_with_other_tables_of_the_user_runs_it_all(count_notebook, marks, tmp_path, monkeypatch):
    (own := tmp_path / "own").mkdir()
    monkeypatch.setenv("WORKBENCH_DATA", str(own))
    grid = next(iter(tables.load("grids").iter_rows(named=True)))
    for price in (0.05, 0.06):
        pl.DataFrame([grid | {"price_usd_per_kwh": price}]).write_csv(own / "grids.csv")
        done = batch.sweep(count_notebook(), {"n": "1,2"}, out=tmp_path / "out", jobs=1, resume=True)
        assert done.kept == 0
    assert marks() == [1, 1, 2, 2]
    assert batch.sweep(count_notebook(), {"n": "1,2"}, out=tmp_path / "out", jobs=1, resume=True).kept == 2


@pytest.fixture
def shipped_prices(tmp_path, monkeypatch):
    """A function that has the workbench ship other tables; kernels are not told, only what the sweep hashes."""
    monkeypatch.setattr(tables, "DATA", tmp_path / "data")

    def ship(price):
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / "prices.csv").write_text(f"chip,usd\nX,{price}\n")

    ship(1)
    return ship


def test_resume_with_other_shipped_tables_or_code_never_mixes(count_notebook, marks, tmp_path, monkeypatch, shipped_prices):
    path, out = count_notebook(), tmp_path / "out"

    def swept(numbers):  # threads: worker processes would not know of the other tables
        with ThreadPoolExecutor(1) as executor:
            return batch.sweep(path, {"n": numbers}, out=out, jobs=1, resume=True, executor=executor)

    swept("1,2")
    before = set(batch.read_results(out).runs["code_and_data"])
    shipped_prices(3)
    assert any("2 runs of other code or data" in line for line in show.plan_lines(batch.plan(path, {"n": "1,2,3"}), out, 1, None))
    done = swept("1,2,3")
    assert (done.kept, done.again) == (0, 2)
    assert "(2 of other code or data were run again)" in show.summary_lines(done)[0]
    runs = check_sweep(out, [1, 2, 3])
    assert runs["code_and_data"].n_unique() == 1
    assert not before & set(runs["code_and_data"])
    assert marks() == [1, 1, 2, 2, 3]
    with pytest.raises(InputError, match=r"has runs of other parameters \(2\)"):  # nor is a row lost
        swept("3")
    (code := tmp_path / "code").mkdir()
    monkeypatch.setattr(tables, "_HERE", code)  # of a package that has other modules
    (out / "results.parquet").unlink()
    assert (swept("1,2,3").again, len(marks())) == (3, 8)
    assert swept("1,2,3").kept == 3


def workers():
    """An executor whose one worker is a process of its own, which knows nothing of this one."""
    return ProcessPoolExecutor(1, get_context("spawn"))


def test_workers_of_other_code_or_tables_are_refused(count_notebook, marks, tmp_path, shipped_prices):
    with (
        workers() as executor,
        pytest.raises(InputError, match="code or tables of the workbench are not those that the sweep began with"),
    ):
        batch.sweep(count_notebook(), {"n": "1"}, out=tmp_path / "out", jobs=1, executor=executor)
    assert marks() == []


def test_the_hash_of_code_and_data_is_of_contents_and_quick(tmp_path, monkeypatch):
    start = time.perf_counter()
    ours = tables.code_and_data()
    assert time.perf_counter() - start < 0.5  # some 10 ms on a machine that is not busy
    copies = {"_HERE": tmp_path / "clone" / "workbench", "DATA": tmp_path / "clone" / "data"}
    for name, to in copies.items():
        shutil.copytree(getattr(tables, name), to, ignore=shutil.ignore_patterns("__pycache__"))
        monkeypatch.setattr(tables, name, to)
    assert tables.code_and_data() == ours
    (copies["_HERE"] / "units.py").touch()
    assert tables.code_and_data() == ours
    with (copies["_HERE"] / "units.py").open("a") as module:
        module.write("\n")
    assert tables.code_and_data() != ours


def test_a_damaged_table_of_results_is_made_again_from_the_notebooks(count_notebook, marks, tmp_path):
    batch.sweep(count_notebook(), {"n": "1,2"}, out=tmp_path / "out", jobs=1)
    (tmp_path / "out" / "results.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(InputError, match=r"results\.parquet: cannot be read as a table of a sweep"):
        batch.read_results(tmp_path / "out")
    assert batch.sweep(count_notebook(), {"n": "1,2"}, out=tmp_path / "out", jobs=1, resume=True).kept == 2
    assert marks() == [1, 2]


def test_resume_of_a_changed_notebook_runs_it_all(count_notebook, marks, tmp_path):
    batch.sweep(count_notebook(), {"n": "1,2"}, out=tmp_path / "out", jobs=1)
    done = batch.sweep(count_notebook("x = 1"), {"n": "1,2"}, out=tmp_path / "out", jobs=1, resume=True)
    assert done.kept == 0
    assert marks() == [1, 1, 2, 2]
    assert batch.read_results(tmp_path / "out").runs.height == 2


def test_killed_kernels_and_a_driver_killed_twice_lose_nothing(make_notebook, tmp_path):
    path = make_notebook(tmp_path, "import os, random\nif random.SystemRandom().random() < 0.1: os.kill(os.getpid(), 9)")
    command = [sys.executable, "-m", "workbench", "sweep", path, "-p", "n=1:60:60", "--out", "out", "-j", "2", "--retries", "9", "--resume"]
    runs = tmp_path / "out" / "runs"
    for at_least in (10, 30):
        with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
            while not runs.is_dir() or len(list(runs.glob("[!.]*"))) < at_least:
                assert process.poll() is None
                time.sleep(0.02)
            family = psutil.Process(process.pid).children(recursive=True)
            process.send_signal(signal.SIGKILL)
        assert psutil.wait_procs(family, timeout=10)[1] == []  # nothing goes on without its driver
        assert batch.read_results(tmp_path / "out").runs["run"].is_unique().all()
    assert subprocess.run(command, cwd=tmp_path, capture_output=True).returncode == 0
    check_sweep(tmp_path / "out", range(1, 61))


def test_ctrl_c_lets_what_nearly_is_done_finish(count_notebook, marks, tmp_path, monkeypatch):
    """Runs that take longer are ended, and remain to be resumed: see `tests/test_interrupts.py`."""
    monkeypatch.setattr(driver, "GRACE", 30)

    def interrupt(finished, failed, total):
        if finished == 1:
            signal.raise_signal(signal.SIGINT)

    done = batch.sweep(count_notebook("import time; time.sleep(0.3)"), {"n": "1:9:9"}, out=tmp_path / "out", jobs=2, progress=interrupt)
    assert done.stopped == "interrupted"
    assert done.results.runs.height == len(marks()) <= 4
    check_sweep(tmp_path / "out", marks())


def test_results_are_readable_while_the_sweep_runs(small_notebook, tmp_path, monkeypatch):
    monkeypatch.setattr(driver, "WRITE_EVERY", 0.0)
    monkeypatch.setattr(driver, "WRITE_SHARE", 1.0)
    seen = []

    def look(finished, failed, total):
        if finished:
            seen.append(batch.read_results(tmp_path / "out").runs.height)

    batch.sweep(small_notebook(), {"n": "1:5:5"}, out=tmp_path / "out", jobs=1, progress=look)
    assert seen[0] == 1
    assert seen == sorted(seen)
    assert seen[-1] >= 4


@pytest.mark.parametrize("kind", [ThreadPoolExecutor, ProcessPoolExecutor])
def test_any_executor_will_do(small_notebook, tmp_path, kind):
    with kind(2) as executor:
        batch.sweep(small_notebook(), {"n": "1:4:4"}, out=f"file://{tmp_path}/out", executor=executor, jobs=2)
    check_sweep(tmp_path / "out", [1, 2, 3, 4])


def test_a_sweep_into_an_address_of_fsspec(count_notebook, marks, tmp_path):
    out = f"memory://{tmp_path.name}/sweep"
    with ThreadPoolExecutor(2) as executor:
        batch.sweep(count_notebook(), {"n": "1,2"}, out=out, executor=executor, jobs=2)
        done = batch.sweep(count_notebook(), {"n": "1,2,3"}, out=out, executor=executor, jobs=2, resume=True)
        with pytest.raises(InputError, match="holds a sweep of small"):
            batch.sweep(count_notebook(), {"n": "1,2,3"}, out=out, executor=executor)
    assert done.kept == 2
    assert batch.read_results(out).runs["params.n"].to_list() == [1, 2, 3]
    assert marks() == [1, 2, 3]


def test_workers_that_cannot_see_the_place_say_so(small_notebook, tmp_path):
    reason = r"cannot read memory://.*/notebook.ipynb .*; can every worker\?\n0 of 1 runs are finished and kept"
    with workers() as executor, pytest.raises(InputError, match=reason):
        batch.sweep(small_notebook(), out=f"memory://{tmp_path.name}/unseen", jobs=1, executor=executor)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 600 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", place], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"needs the right to mount a tmpfs: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_a_full_disk_stops_the_sweep_and_keeps_what_is_done(make_notebook, small_disk, tmp_path):
    path = make_notebook(tmp_path, "print('x' * 100_000)")
    with pytest.raises(InputError, match=r"No space left on device[^\n]*\n\d of 40 runs are finished and kept; resume with --resume"):
        batch.sweep(path, {"n": "1:40:40"}, out=small_disk / "out", jobs=1)
    done = list((small_disk / "out" / "runs").glob("[!.]*"))
    assert len(done) >= 2
    for notebook in done:
        nbformat.validate(nbformat.read(notebook, 4))
    assert not list((small_disk / "out" / "runs").glob(".*"))
    subprocess.run(["mount", "-o", "remount,size=20m", small_disk], check=True)
    again = batch.sweep(path, {"n": "1:40:40"}, out=small_disk / "out", jobs=2, resume=True)
    assert again.kept >= len(done) - 1
    check_sweep(small_disk / "out", range(1, 41))


def test_a_read_only_folder_is_refused_before_work_starts(count_notebook, marks, small_disk):
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(InputError, match=r"out: cannot be written \(Read-only file system\)"):
        batch.sweep(count_notebook(), {"n": "1,2"}, out=small_disk / "out", jobs=1)
    assert marks() == []


def test_places_that_are_refused_before_work_starts(count_notebook, marks, make_notebook, tmp_path):
    path = count_notebook()

    def refused(out, reason, notebook=path, **asked):
        with pytest.raises(InputError, match=reason):
            batch.sweep(notebook, {"n": "1,2"}, out=out, jobs=1, **asked)

    (tmp_path / "file").write_text("")
    refused(tmp_path / "file", r"file: cannot be the folder of a sweep \(it is a file\)")
    refused(tmp_path / "file" / "out", "out: cannot be")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("")
    refused(tmp_path / "other", r"other: holds something other than a sweep \(thesis.tex\)")
    assert marks() == []

    batch.sweep(path, {"n": "1"}, out=tmp_path / "out", jobs=1)
    refused(tmp_path / "out", "out: holds a sweep of small of .*; --resume goes on with it")
    another = make_notebook(tmp_path, name="another")
    refused(tmp_path / "out", "holds a sweep of another notebook, small", notebook=another, resume=True)
    (tmp_path / "out" / "sweep.json").write_text("{}")
    refused(tmp_path / "out", "sweep.json: cannot be read as that of a sweep", resume=True)
    assert marks() == [1]


def test_two_drivers_do_not_share_a_folder(small_notebook, tmp_path):
    path, clashes = small_notebook("import time; time.sleep(1)"), []

    def start_another(finished, failed, total):
        if not clashes:
            with pytest.raises(InputError, match="out: another sweep is running there"):
                batch.sweep(path, {"n": "1,2"}, out=tmp_path / "out", jobs=1, resume=True)
            clashes.append(finished)

    batch.sweep(path, {"n": "1,2"}, out=tmp_path / "out", jobs=2, progress=start_another)
    assert clashes == [0]
    check_sweep(tmp_path / "out", [1, 2])


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"parameters": {"n": "0,1"}}, "n = 0: expected a whole number from 1 to 100"),
        ({"retries": -1}, "retries = -1"),
        ({"timeout": 0}, "timeout = 0: expected seconds above 0"),
        ({"cell_timeout": -1.0}, "cell_timeout = -1.0: expected seconds above 0"),
        ({"memory": "much"}, "memory = 'much': expected a size such as 500MB"),
        ({"kernel": "no-such"}, "no kernel named 'no-such' is installed"),
        ({"parameters": {"n": "1:100:100"}, "max_runs": 99}, "100 runs .* are more than the 99"),
    ],
)
def test_refusals(count_notebook, marks, tmp_path, asked, reason):
    with pytest.raises((InputError, ParameterError), match=reason):
        batch.sweep(count_notebook(), out=tmp_path / "out", jobs=1, **asked)
    assert marks() == []


@pytest.mark.parametrize(("text", "size"), [("2GB", 2e9), ("1.5 GiB", 1.5 * 2**30), ("500m", 5e8), (1000, 1000), ("7", 7), ("3kB", 3000)])
def test_sizes_of_memory(text, size):
    assert driver._limits(text) == {"memory": size}


def test_a_sweep_outside_the_main_thread(small_notebook, tmp_path):
    found = []
    thread = threading.Thread(target=lambda: found.append(batch.sweep(small_notebook(), out=tmp_path / "out", jobs=1)))
    thread.start()
    thread.join()
    assert found[0].statuses == {"done": 1}
    assert isinstance(found[0].results.runs, pl.DataFrame)
    assert os.path.isdir(tmp_path / "out")
