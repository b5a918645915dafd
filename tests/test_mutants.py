"""Damaged notebooks, grids, sweeps and outputs: read, or refused in a message of ours; never a traceback."""

import copy
import json
import random
import re

import nbformat
import polars as pl
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tests.conftest import PARAMETERS
from workbench.batch import expand
from workbench.batch.results import COLUMNS
from workbench.batch.tell import findings
from workbench.batch.tell.report import report
from workbench.errors import WorkbenchError
from workbench.notebook import parameters, publish
from workbench.notebook.runtime import RESULTS_MIME
from workbench.notebook.stored import run_of_bytes

ODD = [None, True, -1, 0, 1.5, 10**30, 1e308, "", "x", "\ud800", "\0", "2026-13-45", [], ["x"], [[]], {}, {"x": 1}]
ODD_TEXT = ["", *":,#[]{}\"'\\\n\t\0\ufeff_|-", "'''", "..", "in ", "1_", "9" * 400, "None"]


def odd_node(rng, tree):
    """A copy of a tree of JSON with one node that is another, missing, or twice there."""
    tree = copy.deepcopy(tree)
    places = []
    stack = [tree]
    while stack:
        node = stack.pop()
        for key in list(node) if isinstance(node, dict) else range(len(node)):
            places.append((node, key))
            if isinstance(node[key], dict | list):
                stack.append(node[key])
    node, key = rng.choice(places)
    if rng.random() < 0.2:
        del node[key]
    elif rng.random() < 0.1:
        other, place = rng.choice(places)
        node[key] = copy.deepcopy(other[place])
    else:
        node[key] = rng.choice(ODD)
    return tree


def odd_text(rng, text):
    """A text with a few characters replaced, inserted or cut out."""
    for _ in range(rng.randint(1, 3)):
        at, other = rng.randrange(len(text) + 1), rng.choice(ODD_TEXT)
        text = text[:at] + other + text[at + rng.choice([0, 0, 1, 5, 40]) :]
    return text


def odd_bytes(rng, data):
    data = data or b"x"
    if rng.random() < 0.1:
        return data.decode("utf8", "replace").encode(rng.choice(["utf-16", "latin-1", "utf-8-sig"]), "replace")
    at = rng.randrange(len(data))
    return data[:at] + rng.choice([b"", b"\xff", b"\0", bytes([rng.randrange(256)])]) + data[at + rng.choice([0, 1, 9]) :]


def executed():
    """A notebook that ran: with every kind of output."""
    data = {
        "image/png": "iVBORw0KGgo=",
        "text/html": "<b>x</b>",
        "text/plain": "x",
        publish.VEGALITE: {"mark": "bar", "data": {"values": []}},
    }
    outputs = [
        new_output("stream", name="stdout", text="The answer is 4\n"),
        new_output("display_data", data, metadata={"image/png": {"width": 9}}),
        new_output("execute_result", {"text/plain": "4"}, execution_count=2),
        new_output("display_data", {RESULTS_MIME: {"scalars": {"n": 4}, "frames": {"f": {"columns": ["x"], "rows": [[1]]}}}}),
        new_output("error", ename="ValueError", evalue="no", traceback=["-> 1", "no"]),
    ]
    cells = [
        new_markdown_cell("# How many?"),
        new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}, execution_count=1),
        new_code_cell("print(n)\nrecord(n=n)", metadata={"tags": ["headline"]}, execution_count=2, outputs=outputs),
    ]
    moment = "2026-01-02T03:04:05+00:00"
    about = {
        "papermill": {"parameters": {"n": 4}, "duration": 1.5, "end_time": moment},
        "kernelspec": {"name": "python3", "display_name": "P"},
    }
    return new_notebook(cells=cells, metadata=about | {"workbench": {"workbench": "0.1.0", "seconds": 1.5, "finished": moment}})


def as_json(rng, tree):
    data = json.dumps(odd_node(rng, tree)).encode()
    return odd_bytes(rng, data) if rng.random() < 0.2 else data


def refusals(rng, mutants, read):
    """How many of the mutants are refused; any other error is raised."""
    refused = []
    for _ in range(mutants):
        try:
            read(rng)
        except WorkbenchError as error:
            refused.append(str(error))
    assert all(refused)
    return len(refused)


def test_notebooks_and_their_parameters(tmp_path):
    path, tree = tmp_path / "x.ipynb", json.loads(nbformat.writes(executed()))

    def read(rng):
        path.write_bytes(as_json(rng, tree))
        parameters.of_notebook(path)
        expand.read(path)

    assert refusals(random.Random(1), 150, read) > 30
    assert refusals(random.Random(2), 150, lambda rng: parameters.declared(odd_text(rng, PARAMETERS))) > 50


GRID = "n: [1, 2, 30]\nlabel: {low: 1, high: 8, n: 4, log: true}\nother: 2026-11-12\nx: 1e9\ny: 0x1f\n"


def test_grids(make_notebook, tmp_path):
    notebook, path = make_notebook(tmp_path), tmp_path / "grid.yaml"

    def read(rng):
        text = odd_text(rng, rng.choice([GRID, "n: {low: 1, high: 8, n: 4}\nlabel: [a, b]\n", "n: [1, 2]\n"])).encode("utf8", "replace")
        path.write_bytes(odd_bytes(rng, text) if rng.random() < 0.2 else text)
        expand.plan(notebook, grid=path)

    assert refusals(random.Random(3), 100, read) > 30


def test_outputs(tmp_path):
    path, tree = tmp_path / "x.ipynb", json.loads(nbformat.writes(executed()))

    def read(rng):
        path.write_bytes(as_json(rng, tree))
        run_of_bytes(path.read_bytes(), str(path), "x")
        publish.publish(path, tmp_path / "x.html")

    assert refusals(random.Random(4), 20, read) > 5


def test_folders_of_sweeps(tmp_path, monkeypatch):
    monkeypatch.setattr(findings, "pictures", lambda *_: [])
    row = dict.fromkeys(COLUMNS) | {"status": "done", "seconds": 1.5, "attempts": 1, "workbench": "0.1.0"}
    rows = [row | {"run": f"{i:020x}", "params.n": i, "params.label": "x", "results.n": i * 1.5, "results.label": "x"} for i in range(3)]
    runs = pl.DataFrame(rows, schema_overrides=COLUMNS)
    about = {"notebook": "x", "count": 3, "swept": ["n"], "sha256": "0", "created": "2026-01-02T03:04:05+00:00", "workbench": "0.1.0"}
    notebook = json.loads(nbformat.writes(executed()))

    def odd_runs(rng):
        name = rng.choice(runs.columns)
        changed = [runs.drop(name), runs.rename({name: rng.choice(["x", "results.", "params.z"])}), runs.clear(), runs[:1]]
        changed.append(runs.with_columns(pl.lit(rng.choice(["x", None, 3, True, [1]])).alias(name)))
        return rng.choice(changed)

    def read(rng):
        which = rng.randrange(4)
        (tmp_path / "sweep.json").write_bytes(as_json(rng, about) if which == 0 else json.dumps(about).encode())
        (tmp_path / "notebook.ipynb").write_bytes(as_json(rng, notebook) if which == 1 else json.dumps(notebook).encode())
        (odd_runs(rng) if which == 2 else runs).write_parquet(tmp_path / "results.parquet")
        if which == 3:  # cut off; polars may take the whole process along where bytes in the midst are others
            table = (tmp_path / "results.parquet").read_bytes()
            (tmp_path / "results.parquet").write_bytes(table[: rng.choice([0, 3, 100, len(table) - 1])])
        report(tmp_path)

    assert refusals(random.Random(5), 30, read) > 5


@pytest.mark.parametrize("cells", [["a"], [{}], [{"cell_type": "code"}], [{"cell_type": "code", "source": 3}], [[]], "x", None])
def test_cells_that_are_none(tmp_path, cells):
    (tmp_path / "x.ipynb").write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    with pytest.raises(WorkbenchError, match=re.escape(f"{tmp_path / 'x.ipynb'}: not a notebook")):
        parameters.of_notebook(tmp_path / "x.ipynb")
