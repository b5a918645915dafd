"""The docs as `make docs` builds them: code that runs, commands that are there, links that lead somewhere, nothing that is fetched."""

import importlib
import importlib.util
import re
import shlex
import subprocess
import sys
from html.parser import HTMLParser
from urllib.parse import unquote

import click
import pytest
import typer

from workbench.cli import app
from workbench.tables import DATA

ROOT = DATA.parent
FACES = ("catalogue", "scaling", "fabric", "chips", "energy", "fleet", "demand", "uncertainty", "charts", "batch", "validation")
PAGES = sorted(page for page in (ROOT / "docs").rglob("*.md"))
SHELL = re.compile(r"^```sh\n(.*?)^```$", re.M | re.S)
SPEC = importlib.util.spec_from_file_location("docs", ROOT / "tools" / "docs.py")
docs = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(docs)


class Page(HTMLParser):
    """Addresses and anchors of a page."""

    def __init__(self, html):
        super().__init__()
        self.links, self.fetched, self.anchors = [], [], set()
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.anchors |= {given[name] for name in ("id", "name") if given.get(name)}
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        elif tag in ("script", "link", "img", "iframe") and (address := given.get("src") or given.get("href")):
            self.fetched.append(address)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The site: its code has run, its tables are made, and a link to a page or an anchor that is not there would have stopped it."""
    site = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(site)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=docs_environment())
    assert done.returncode == 0, done.stdout + done.stderr
    return {path.relative_to(site).as_posix(): path for path in site.rglob("*") if path.is_file()}


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda page: page.name)
def test_names_of_packages_on_a_page_are_on_their_faces(page):
    """`chips.serving` is there; a name that a page puts in quotes and that no face shows has gone, or is the house's own."""
    code = re.sub(r"```.*?```", "", page.read_text(encoding="utf8"), flags=re.S)
    for package, name in re.findall(rf"`(?:workbench\.)?({'|'.join(FACES)})\.([A-Za-z_]+)", code):
        if page.name != "design.md" and name not in ("csv", "ipynb", "py"):
            assert name in dir(importlib.import_module(f"workbench.{package}")), f"{package}.{name}"
            assert name in getattr(importlib.import_module(f"workbench.{package}"), "__all__", [name]), f"{package}.{name}"


def docs_environment():
    import os

    return os.environ | {"NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}


def test_pages_lead_to_each_other_and_fetch_nothing(built):
    pages = {name: Page(path.read_text(encoding="utf8")) for name, path in built.items() if name.endswith(".html") and name != "404.html"}
    assert len(pages) >= len(PAGES)  # and the code on them has run
    for name, page in pages.items():
        for address in page.fetched:
            assert not re.match(r"(https?:)?//", address), f"{name} fetches {address}"
        for address in (*page.links, *page.fetched):
            if re.match(r"[a-z]+:", address):
                continue
            place, _, anchor = address.partition("#")
            there = (built[name].parent / unquote(place)).resolve() if place else built[name]
            assert there.is_file(), f"{name} leads to {address}"
            if anchor and there.suffix == ".html":
                where = pages[there.relative_to(built["index.html"].parent).as_posix()]
                assert unquote(anchor) in where.anchors | {"__codelineno"} or anchor.startswith("__"), f"{name} leads to {address}"


def test_every_model_shows_its_errors(built):
    for model in ("scaling", "fabric", "training", "serving", "energy", "fleet", "demand"):
        html = built[f"models/{model}.html"].read_text(encoding="utf8")
        assert html.count("<table>") >= 2, model
        for word in ("Equations", "Assumptions", "Errors", "Limits", "Sources"):
            assert f"<strong>{word}" in html, f"{model} says nothing of {word}"


def test_the_reference_shows_units_and_every_public_name(built):
    html = built["reference/chips.html"].read_text(encoding="utf8")
    assert "time per output token [s]" in html  # the comment of a field
    for face in ("scaling", "fabric", "chips", "energy", "fleet", "demand", "uncertainty", "charts"):
        page = built[f"reference/{face}.html"].read_text(encoding="utf8")
        module = importlib.import_module(f"workbench.{face}")
        named = [name for name in module.__all__ if not name.isupper()]
        assert [name for name in named if f".{name}" not in page] == []


def questions():
    text = (ROOT / "docs" / "questions.md").read_text(encoding="utf8")
    return {part.splitlines()[0]: part for part in re.split(r"^## ", text, flags=re.M)[1:]}


def test_ten_questions_are_answered_in_three_steps(built):
    import ast

    assert len(questions()) == 10
    answered = built["questions.html"].read_text(encoding="utf8")
    for title, part in questions().items():
        (code,) = docs.BLOCK.findall(part)
        steps = [node for node in ast.parse(code).body if not isinstance(node, ast.Import | ast.ImportFrom)]
        made_up = 2 if "config" in title else 0  # the file that the page writes for itself
        assert len(steps) - made_up - ("print(" in code) <= 3, title
    sections = answered.split("<h2")[1:]
    assert len(sections) == 10
    assert all("<table>" in s or "answer" in s or "data:image/png" in s for s in sections)


def test_own_or_rent_is_answered_as_python_does(built):
    from workbench import fleet

    own = f"{float(fleet.ownership_cost('H100').per_chip_hour):.2f}"
    assert f"Owning costs {own} USD" in built["questions.html"].read_text(encoding="utf8")


def commands():
    for page in [*PAGES, ROOT / "README.md"]:
        for block in SHELL.findall(page.read_text(encoding="utf8")):
            for line in block.splitlines():
                words = shlex.split(line, comments=True)
                if words[:1] == ["workbench"]:
                    until = next((i for i, word in enumerate(words) if word in (">", "&&", "|")), len(words))
                    yield pytest.param(words[1:until], id=f"{page.stem}: {line.strip()[:60]}")


@pytest.mark.parametrize("words", list(commands()))
def test_a_command_of_the_docs_is_understood(words):
    group = typer.main.get_command(app)
    command = group.commands[words[0]]
    with command.make_context(words[0], words[1:], parent=click.Context(group)) as context:
        assert context.command is command


def test_text_of_data_never_becomes_markup():
    import polars as pl

    made = docs.grid(pl.DataFrame({"name": ["<script>alert(1)</script>", "a|b", "[x](http://y)"]}))
    assert "<script>" not in made.replace("\\<", "")
    assert "\\|" in made
    assert "\\[x\\]" in made
