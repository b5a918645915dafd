"""Pages work anywhere: one file, no network, the answer in sight, and nothing half-written."""

import re
import shutil
import subprocess

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from workbench.errors import InputError
from workbench.notebook import execute, publish

CHART = """\
import polars as pl
from workbench import charts
parts = pl.DataFrame({"part": ["chips", "power"], "usd": [3.0, 1.0]})
charts.waterfall(parts, label="part", value="usd", title="Chips cost most", subtitle="A test.", unit="USD")
"""
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")
def runs(make_notebook, tmp_path_factory):
    """A finished and a failed run, with their pages and index."""
    folder = tmp_path_factory.mktemp("site")
    good = execute(make_notebook(folder, CHART, "good"), folder / "out", {"n": "7"}, progress=False)
    bad = execute(make_notebook(folder, "raise RuntimeError('no luck <b>')", "bad"), folder / "out", progress=False)
    publish.index([good, bad], folder / "out" / "index.html")
    return folder / "out", good, bad


def test_a_page_asks_nothing_of_the_network(runs):
    for page in runs[0].glob("*.html"):
        html = page.read_text(encoding="utf8")
        assert not re.findall(r"""<(?:script|link|img|iframe)[^>]+(?:src|href)=["']?(?:https?:)?//[^"'>]+""", html), page.name
        assert "@import" not in html
        assert "@font-face" not in html


def test_a_page_shows_answer_parameters_chart_and_hides_code(runs):
    html = runs[1].page.read_text(encoding="utf8")
    assert "The answer is 7" in html
    assert "Chips cost most" in html
    assert html.count("vega-embed") > 0
    assert "image/png;base64" in html
    assert re.search(r"<details[^>]*><summary>Code", html)
    assert "application/vnd.workbench.results" not in html
    assert publish.headline(runs[1].notebook) == "The answer is 7 'plain'"


def test_a_failed_run_says_so_on_its_page_and_in_the_index(runs):
    assert "RuntimeError: no luck &lt;b&gt;" in runs[2].page.read_text(encoding="utf8")
    index = (runs[0] / "index.html").read_text(encoding="utf8")
    assert 'href="good.html"' in index
    assert "The answer is 7" in index
    assert "no luck &lt;b&gt;" in index
    assert "n = 7" in index


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no such notebook"),
        ("{", "not a notebook .*JSON"),
        ("[]", "not a notebook"),
        ('{"cells": 3, "nbformat": 4, "nbformat_minor": 5, "metadata": {}}', "not a notebook"),
    ],
)
def test_what_is_no_executed_notebook_is_refused(tmp_path, content, said):
    path = tmp_path / "x.ipynb"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=said):
        publish.publish(path, tmp_path / "x.html")
    assert not (tmp_path / "x.html").exists()


def test_long_outputs_are_cut_and_say_so(tmp_path):
    pieces = [new_output("stream", name="stdout", text="y" * 150_000) for _ in range(4)]
    data = {"text/html": "<b>" * 2_000_000, "text/plain": "z" * 900_000}
    error = new_output("error", ename="ValueError", evalue="v" * 300_000, traceback=["w" * 300_000])
    cells = [new_code_cell("print()", execution_count=1, outputs=[*pieces, new_output("display_data", data), error])]
    nbformat.write(new_notebook(cells=cells), tmp_path / "x.ipynb")
    publish.publish(tmp_path / "x.ipynb", tmp_path / "x.html")
    html = (tmp_path / "x.html").read_text(encoding="utf8")
    assert len(html) < 800_000
    assert html.count("y" * 1000) == 200
    for left in ("400,000", "6,000,000", "100,000"):
        assert f"[{left} more characters are left out here; the notebook has them]" in html
    assert len((tmp_path / "x.ipynb").read_bytes()) > 6_000_000


def test_a_notebook_that_has_not_run_is_refused(small_notebook, tmp_path):
    with pytest.raises(InputError, match="not executed"):
        publish.publish(small_notebook(), tmp_path / "x.html")


def test_nothing_is_left_where_a_page_cannot_be_written(runs, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot be written"):
        publish.publish(runs[1].notebook, tmp_path / "file" / "x.html")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH")
def test_a_browser_without_network_draws_the_chart(runs):
    def dom(page):
        command = [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            "--virtual-time-budget=8000",
        ]
        return subprocess.run([*command, "--dump-dom", page.as_uri()], capture_output=True, text=True, timeout=60, check=True).stdout

    drawn = dom(runs[1].page)
    assert re.search(r"<svg[^>]*class=\"marks\"|<canvas[^>]*class=\"marks\"", drawn)
    assert "The answer is 7" in dom(runs[0] / "index.html")
