"""Prose keeps to the words of docs/style.md."""

import ast
import importlib
import inspect
import json
import re

import pytest

from workbench.tables import DATA

ROOT = DATA.parent
STYLE = ROOT / "docs" / "style.md"
LEFT = re.findall(r"^\| (.+?) \| .+ \|$", STYLE.read_text(encoding="utf8"), flags=re.M)
REPLACED = [word for cell in LEFT[1:] for word in cell.split(", ")]
FORM = re.compile("|".join(rf"(?<!\w){re.escape(word)}(?!\w)" for word in REPLACED), flags=re.I)
PAGES = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "data/README.md")),
    *(page for page in sorted(ROOT.glob("docs/**/*.md")) if page != STYLE),
    *sorted(ROOT.glob("notebooks/*.ipynb")),
]
#: What `make docs` makes its reference of.
FACES = ("catalogue", "scaling", "fabric", "chips", "energy", "fleet", "demand", "uncertainty", "charts", "batch", "validation", "notebook")


def prose(path):
    """What a reader sees: a page; of a notebook its text, the comments of its parameters and the strings of its code."""
    if path.suffix == ".md":
        yield path.read_text(encoding="utf8")
        return
    for cell in json.loads(path.read_text(encoding="utf8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown" or "parameters" in cell["metadata"].get("tags", []):
            yield source
        else:
            yield from (n.value for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Constant) and isinstance(n.value, str))


def test_the_list_is_read():
    assert {"herd", "stands", "a chip-hour", "-p NAME VALUE"} <= set(REPLACED)
    assert FORM.findall("It stands at 2 USD a token: -p NAME VALUE; understand, -p NAME=VALUE") == ["stands", "USD a", "-p NAME VALUE"]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_prose_holds_no_replaced_word(path):
    found = {f"{m[0]!r} in ...{text[max(0, m.start() - 40) : m.end() + 40]!r}" for text in prose(path) for m in FORM.finditer(text)}
    assert not found, f"words that docs/style.md replaces: {'; '.join(sorted(found))}"


@pytest.mark.parametrize("face", FACES)
def test_the_reference_holds_no_replaced_word(face):
    module = importlib.import_module(f"workbench.{face}")
    texts = {
        name: inspect.getdoc(getattr(module, name)) or "" for name in dir(module) if callable(getattr(module, name)) and name[0] != "_"
    }
    found = {(name, m[0]) for name, text in texts.items() for m in FORM.finditer(text)}
    assert not found


def test_messages_and_help_hold_no_replaced_word():
    found = []
    for path in sorted((ROOT / "workbench").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))):
            if isinstance(node, ast.Raise) or (isinstance(node, ast.keyword) and node.arg == "help"):
                words = [n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
                found += [
                    f"{path.name}:{node.value.lineno if isinstance(node, ast.keyword) else node.lineno} {m[0]!r}"
                    for w in words
                    for m in FORM.finditer(w)
                ]
    assert not found
