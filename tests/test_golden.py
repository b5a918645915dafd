"""The file of all figures, by which a rebuild is held to the old numbers: it is written, compared, and its list of calls is current."""

import importlib.util
import json
import subprocess
import sys

import pytest

from workbench.tables import DATA

FOLDER = DATA.parent / "benchmarks"


def load(name):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


golden = load("golden")


def test_what_differs_is_told_apart():
    old = {
        "same": 1.0,
        "rounding": 1.0,
        "moved": 2.0,
        "more": 1e-30,
        "why": "no chip",
        "gone": 3.0,
        "lost": 4.0,
        "nan": float("nan"),
        "yes": True,
    }
    new = {
        "same": 1,
        "rounding": 1 + 1e-12,
        "moved": 2.0002,
        "more": 2e-30,
        "why": "no price",
        "now": 5.0,
        "lost": "no chip",
        "nan": float("nan"),
    }
    found = golden.differences(old, new | {"yes": False, "said": 6.0}, 1e-9)
    names = {what: [name for _, name, _, _ in rows] for what, rows in found.items()}
    assert names == {
        "moved": ["yes", "more", "moved"],
        "appeared": ["now", "said"],
        "vanished": ["gone", "lost"],
        "says another thing": ["why"],
    }
    assert found["moved"][2][0] == pytest.approx(1e-4, rel=1e-3)
    assert golden.differences(old, old, 0.0) == {}


def test_a_written_file_equals_itself_and_not_a_changed_one(tmp_path, capsys):
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    command = [sys.executable, FOLDER / "golden.py", "write", first, "--only", "topology", "--measured", DATA / "measured"]
    subprocess.run(command, check=True, capture_output=True)
    held = json.loads(first.read_text())
    assert held["head"]["workbench"]
    figures = held["figures"]["topology topology.csv"]
    assert figures["row 0 expected"] == 16  # leaf switches of a SuperPOD of two units: NVIDIA, table 4
    figures["row 0 expected"] = 17
    second.write_text(json.dumps(held))
    assert golden.compare(first, first, 0.0, []) == 0
    assert golden.compare(first, second, 1e-9, []) == 1
    assert "moved: row 0 expected: 16.0 -> 17 (5.9e-02)" in capsys.readouterr().out
    second.write_text(first.read_text().replace("topology.csv", "networks.csv"))
    assert golden.compare(first, second, 1e-9, []) == 1
    assert golden.compare(first, second, 1e-9, ["topology.csv=networks.csv"]) == 0


def test_every_call_gives_figures():
    for name, call in load("golden_calls").calls().items():
        figures = dict(golden.numbers(call()))
        assert any(isinstance(value, float) for value in figures.values()), name
