"""What a package shows: every name is there, said once, in order, and explained."""

import importlib
import inspect
import pkgutil
import re

import pytest

import workbench
from workbench.tables import DATA

#: What shows an example for each of its functions.
SHOWN = (
    "batch",
    "catalogue",
    "charts",
    "chips",
    "demand",
    "energy",
    "fabric",
    "fleet",
    "notebook",
    "scaling",
    "uncertainty",
    "units",
    "validation",
)
#: Names on the faces of all packages: few, and final.
MOST = 120
#: Rooms without a face: what is in them is used by the house alone.
INNER = {"calibration", "llm", "readers"}
PACKAGES = [found.name for found in pkgutil.iter_modules(workbench.__path__) if found.ispkg and found.name not in INNER]
FACES = ["workbench", *(f"workbench.{name}" for name in PACKAGES)]


def order(name):
    """Constants, classes, functions: as `ruff` sorts names."""
    return not name.isupper(), not name[0].isupper(), name


def test_no_package_is_forgotten():
    assert set(PACKAGES) <= set(workbench.__all__) == set(dir(workbench))
    for name in PACKAGES:  # asked for, as a module that others have imported is an attribute by chance
        assert workbench.__getattr__(name) is importlib.import_module(f"workbench.{name}")
    with pytest.raises(AttributeError, match="no attribute 'atlantis'"):
        workbench.atlantis  # noqa: B018


@pytest.mark.parametrize("face", FACES)
def test_every_name_is_there_once_and_explained(face):
    module = importlib.import_module(face)
    assert module.__doc__
    assert module.__all__ == sorted(set(module.__all__), key=order)
    assert set(module.__all__) <= set(dir(module))
    for name in module.__all__:
        value = getattr(module, name)
        if inspect.isfunction(value) or inspect.isclass(value):
            # a dataclass without a docstring gets its signature
            assert value.__doc__ and not value.__doc__.startswith(f"{name}("), f"{face}.{name} has no docstring"  # noqa: PT018


@pytest.mark.parametrize("name", SHOWN)
def test_every_function_has_an_example(name):
    """That the examples run is seen by ``pytest --doctest-modules``."""
    module = importlib.import_module(f"workbench.{name}")
    shown = getattr(module, "__all__", None) or [n for n, value in vars(module).items() if inspect.isfunction(value) and n[0] != "_"]
    functions = {n: getattr(module, n) for n in shown if inspect.isfunction(getattr(module, n))}
    assert functions
    assert [n for n, function in functions.items() if ">>> " not in (function.__doc__ or "")] == []


def used():
    """Words of what a user has in hand: notebooks, pages but those of the reference, commands, and published results as calls."""
    root = DATA.parent
    pages = [root / "README.md", *(page for page in root.glob("docs/**/*.md") if page.parent.name != "reference")]
    files = [*pages, *root.glob("notebooks/*.ipynb"), *root.glob("workbench/c[lo]*.py"), *root.glob("data/cases/*.csv")]
    return set(re.findall(r"\w+", " ".join(file.read_text(encoding="utf8") for file in files)))


def test_every_name_is_used_by_a_notebook_a_page_a_command_or_a_case():
    words = used() | {"FORMS"}  # by which `validate` finds what a file holds
    for face in FACES[1:]:
        assert set(getattr(importlib.import_module(face), "__all__", ())) - words == set(), face


def test_the_faces_show_what_is_used():
    assert sum(len(getattr(importlib.import_module(f"workbench.{name}"), "__all__", ())) for name in PACKAGES) <= MOST


def test_tab_shows_what_a_user_wants_of_the_catalogue():
    assert set(dir(workbench.catalogue)) >= {"chip", "chips", "llm", "llms", "link", "cost", "names", "table"}
    assert len(dir(workbench.catalogue)) <= 14
