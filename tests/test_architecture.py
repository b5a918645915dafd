"""The house keeps its floors: a lower one never imports a higher one, and no module outgrows one sitting."""

import ast
import subprocess
import sys

import pytest

from workbench.tables import DATA

PACKAGE = DATA.parent / "workbench"
FLOORS = [
    {"arrays", "checks", "errors", "files", "units"},
    {"tables", "llm"},
    {"catalogue"},
    {"calibration"},
    {"scaling", "fabric"},
    {"chips"},
    {"energy"},
    {"fleet"},
    {"demand"},
    {"validation"},
    {"notebook"},
    {"kernel"},
    {"batch"},
    {"cli", "interrupts", "__main__"},
]
#: These know no model; of the models only demand, which is scored as it is computed, knows uncertainty.
APART = {"uncertainty", "charts"}


def imports(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))):
        if isinstance(node, ast.Import):
            names = [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{a.name}" for a in node.names]
        else:
            continue
        yield from (parts[1] for name in names if (parts := name.split("."))[0] == "workbench" and len(parts) > 1)


def floor(name):
    return next((i for i, names in enumerate(FLOORS) if name in names), None)


MODULES = sorted(p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_imports_point_down(path):
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    assert own in APART or floor(own) is not None, f"{own} has no floor: add it to FLOORS"
    for name in set(imports(path)) - {own, "__version__", "_loaded"}:
        if own in APART:
            assert name in {"errors", "units", "files", "arrays", "checks"}, f"{own} must not import {name}"
        elif name in APART:
            assert floor(own) >= floor("demand" if name == "uncertainty" else "validation"), f"the model {own} must not import {name}"
        else:
            assert floor(name) <= floor(own), f"{own} must not import {name}, which stands above it"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_a_module_is_read_in_one_sitting(path):
    assert len(path.read_text(encoding="utf8").splitlines()) <= 450


def loaded_by(code):
    result = subprocess.run([sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"], capture_output=True, text=True, check=True)
    return set(result.stdout.split())


def test_import_loads_nothing_heavy():
    assert not loaded_by("import workbench") & {"numpy", "polars", "scipy", "altair", "pydantic", "typer"}


def test_command_line_help_loads_no_model():
    assert not loaded_by("import workbench.cli") & {"numpy", "polars", "scipy", "altair", "papermill", "workbench.catalogue"}
