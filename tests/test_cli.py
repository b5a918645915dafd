"""The command line as users call it."""

import json
import os
import subprocess
import sys

import pytest

from workbench import __version__, catalogue, validation


@pytest.fixture
def workbench(tmp_path):
    def call(*args, **env):
        command = [sys.executable, "-m", "workbench", *map(str, args)]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=os.environ | {"COLUMNS": "120"} | env)

    return call


def test_version_and_help(workbench):
    assert workbench("--version").stdout == f"workbench {__version__}\n"
    help_text = workbench("--help").stdout
    assert all(command in help_text for command in ("show", "run", "tour", "validate"))


def test_show_lists_the_tables(workbench):
    assert all(name in workbench("show").stdout for name in ("chips", "llms", "regions"))


def test_show_fits_the_terminal_and_says_what_it_left_out(workbench):
    shown = workbench("show", "chips")
    assert "GB300" in shown.stdout
    assert "left out: " in shown.stdout
    assert "workbench show chips --csv" in shown.stdout
    assert max(map(len, shown.stdout.splitlines()[:-2])) <= 120


def test_show_lists_tables_by_age(workbench):
    lines = workbench("show", "facts", "--stale").stdout.splitlines()
    assert lines[0].split() == ["table", "rows", "oldest", "newest", "days"]
    days = [int(line.split()[-1].replace(",", "")) for line in lines[2:] if line.strip()]
    assert days == sorted(days, reverse=True)
    assert "rent_history" in " ".join(lines)


def test_show_one_row_by_an_alias_with_its_source(workbench):
    shown = workbench("show", "chips", "h100 sxm").stdout
    assert "H100" in shown
    assert "bf16_tflops" in shown
    assert "TFLOP/s" in shown
    assert "source" in shown


def test_show_a_chip_as_a_card_by_the_name_of_a_machine_or_of_a_partition(workbench):
    assert "memory     85.5 GB, 3.35 TB/s" in workbench("show", "chip", "p5.48xlarge").stdout
    assert "H200 MIG 1g.18gb" in workbench("show", "chip", "nvidia h200 mig 1g.18gb").stdout


def test_show_csv_reads_back(workbench, tmp_path):
    from workbench import tables

    (tmp_path / "chips.csv").write_text(workbench("show", "chips", "--csv").stdout)
    assert tables.read(tmp_path / "chips.csv", "chips").equals(tables.load("chips"))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["show", "chip", "GB30"], "error: unknown chip 'GB30'; nearest: GB300"),
        (["show", "chip"], "error: unknown table 'chip'; nearest: chips"),
        (["show", "chips", "--stale"], "error: chips --stale: expected workbench show facts --stale"),
        (["show", "chips", "GB30"], "error: unknown chip 'GB30'; nearest: GB300"),
        (["run", "ai_fabric"], "error: unknown notebook 'ai_fabric'; nearest: ai_factory"),
        (["run", "ai_factory", "-p", "n_chip", "8"], "error: n_chip: the notebook declares no such parameter; nearest: n_chips"),
        (["run", "ai_factory", "-p", "n_chips", "-8"], "error: n_chips = -8: expected a whole number"),
        (["run", "ai_factory", "-p", "chip", "GB30"], "error: chip = 'GB30': unknown chip 'GB30'; nearest: GB300"),
        (["run", "ai_factory", "-p", "n_chips=-8"], "error: n_chips = -8: expected a whole number"),
        (["run", "ai_factory", "-p", "mfu=0.3", "-p", "mfu", "0.4"], "error: -p mfu is given twice"),
        (["run", "ai_factory", "-p", "mfu"], "error: -p mfu: a name and a value are expected"),
        (["validate", "enrgy"], "energy"),
        (["validate", "energy", "nowhere.csv"], "nowhere.csv: no such file"),
    ],
)
def test_refusals_are_one_clear_message(workbench, tmp_path, args, message):
    result = workbench(*args)
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_users_broken_table_is_refused_with_path_row_and_column(workbench, tmp_path):
    (tmp_path / "chips.csv").write_text(
        "chip,vendor,release,status,hbm_gb,hbm_gb_per_s,source,as_of\nA,Us,2026,shipping,96,4000,x,2026\nB,Us,2026,shipping,96 GB,1,x,26\n"
    )
    result = workbench("show", "chips", WORKBENCH_DATA=str(tmp_path))
    assert result.returncode == 2
    assert f"{tmp_path / 'chips.csv'}, row 3, column 'hbm_gb': '96 GB' is not a number" in result.stderr


def test_run_with_a_parameter_prints_the_headline_and_leaves_a_page(workbench, small_notebook, tmp_path):
    result = workbench("run", small_notebook(), "-p", "n=9", "-p", "label", "a=b", "--out", "results")  # papermill's two words too
    assert result.returncode == 0, result.stderr
    assert "The answer is 9 'a=b'" in result.stdout
    assert (tmp_path / "results" / "small.html").is_file()


def test_run_that_fails_says_where_it_stopped(workbench, small_notebook, tmp_path):
    result = workbench("run", small_notebook("1 / 0"), "--out", "results")
    assert result.returncode == 2
    assert "error: small stopped: ZeroDivisionError: division by zero" in result.stderr
    assert (tmp_path / "results" / "small.failed.html").is_file()


def test_run_prints_what_a_notebook_declares(workbench):
    declared = workbench("run", "ai_factory", "--parameters").stdout
    assert "n_chips" in declared
    assert "4608" in declared


def test_validate_energy_and_its_json(workbench, tmp_path):
    result = workbench("validate", "energy", "--json", "energy.json")
    assert result.returncode == 0, result.stderr
    assert "median" in result.stdout
    rows = json.loads((tmp_path / "energy.json").read_text())
    assert [r["position"] for r in rows] == list(range(len(rows)))
    assert all({"id", "quantity", "predicted", "low", "high", "measured", "source", "skipped"} <= r.keys() for r in rows)
    assert all((r["predicted"] is None) == bool(r["skipped"]) for r in rows)


def test_calibrate_writes_tables_that_validate_then_uses(workbench, tmp_path):
    sample = catalogue.path("measured/gemm.csv")
    done = workbench("calibrate", "gemm", sample, "--out", "mine")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "mine" / "calibration" / "gemm.csv").exists()
    own = workbench("validate", "gemm", "--by", "chip", WORKBENCH_DATA=str(tmp_path / "mine"))
    assert "mean_error_%" in own.stdout
    assert own.returncode == 0
    assert "nothing of the kind topology is calibrated" in workbench("calibrate", "topology", sample).stderr


def test_validate_leaves_out_only_when_asked_to(workbench, tmp_path):
    plain = workbench("validate", "gemm")
    asked = workbench("validate", "gemm", "--leave-out", "shape", "--json", tmp_path / "rows.json")
    assert "left_out" not in plain.stdout
    assert asked.stdout.startswith(plain.stdout)
    assert all(words in asked.stdout for words in ("mean_left_out", "mean of groups of 8 rows and more"))
    left_out = validation.validate("gemm", leave_out="shape").rows["predicted"].to_list()
    assert [row["predicted"] for row in json.loads((tmp_path / "rows.json").read_text())] == left_out
