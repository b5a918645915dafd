"""The house keeps its floors: a lower one never imports a higher one, and no module outgrows one sitting."""

import ast
import importlib
import json
import re
import subprocess
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter

import pytest

from workbench.tables import DATA

PACKAGE = DATA.parent / "workbench"
FLOORS = [
    {"arrays", "checks", "errors", "files", "formats", "interrupts", "units"},
    {"tables", "llm", "rows"},
    {"catalogue"},
    {"readers"},
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
    {"tools"},
    {"cli", "__main__"},
]
#: These know no model; of the models only demand, which is scored as it is computed, knows uncertainty.
APART = {"uncertainty", "charts"}


def imports(path):
    for node in ast.walk(parsed(path)):
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
NAMES = {".".join(p.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): p for p in MODULES}

#: State of a module: what is made of the catalogue's tables; whether Ctrl-C was heard, and said.
STATE = {
    "workbench.tables._MADE",
    "workbench.interrupts.heard",
    "workbench.interrupts.said",
}
CHANGES = {"add", "append", "clear", "discard", "extend", "insert", "pop", "popitem", "remove", "setdefault", "update"}


@cache
def parsed(path):
    return ast.parse(path.read_text(encoding="utf8"))


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


#: Floors inside packages of more than one room.
ROOMS = {"demand": [{"uses"}, {"forecast"}, {"market"}, {"bottom_up"}]}


@pytest.mark.parametrize("package", ROOMS)
def test_rooms_of_a_package_import_downwards(package):
    floors = {room: i for i, rooms in enumerate(ROOMS[package]) for room in rooms}
    for path in (PACKAGE / package).rglob("*.py"):
        own = path.relative_to(PACKAGE / package).parts[0].removesuffix(".py")
        for name in re.findall(rf"from workbench\.{package}[. ](?:import )?(\w+)", path.read_text(encoding="utf8")):
            assert own == "__init__" or floors[name] <= floors[own], f"{path.name} in {own} must not import {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_a_module_is_read_in_one_sitting(path):
    assert len(path.read_text(encoding="utf8").splitlines()) <= 450


def modules_of(path):
    """Modules that a module imports, wherever in it, for types only too."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (inner if (inner := f"{node.module}.{a.name}") in NAMES else node.module for a in node.names)


def test_imports_close_no_circle():
    graph = {name: {other for other in modules_of(path) if other != name} for name, path in NAMES.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" is imported by ".join(error.args[1]))


def changed(tree):
    """Names that functions of a module change in place, or declare global."""
    for function in ast.walk(tree):
        if isinstance(function, ast.Global):
            yield from function.names
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        for node in ast.walk(function):
            targets = [t for t in getattr(node, "targets", [getattr(node, "target", None)]) if isinstance(t, ast.Subscript)]
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CHANGES:
                targets.append(node.func)
            yield from (t.value.id for t in targets if isinstance(t.value, ast.Name))


def test_modules_hold_no_state():
    found = set()
    for module, path in NAMES.items():
        own = {
            target.id
            for node in parsed(path).body
            if isinstance(node, ast.Assign | ast.AnnAssign)
            for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
            if isinstance(target, ast.Name)
        }
        found |= {f"{module}.{name}" for name in own.intersection(changed(parsed(path)))}
    assert found == STATE


def test_no_block_of_ten_lines_stands_twice():
    seen, twice = {}, []
    for path in MODULES:
        lines = [
            (number, line.strip())
            for number, line in enumerate(path.read_text(encoding="utf8").splitlines(), start=1)
            if line.strip() and not line.lstrip().startswith("#")
        ]
        for i in range(len(lines) - 9):
            block, here = tuple(line for _, line in lines[i : i + 10]), f"{path.relative_to(PACKAGE)}:{lines[i][0]}"
            if block in seen:
                twice.append(f"{seen[block]} and {here}: {block[0]}")
            seen[block] = here
    assert twice == []


def beside_faces(path):
    """Imports and attributes of a notebook's code that stand on no face."""
    code = "\n".join(
        "".join(cell["source"]) for cell in json.loads(path.read_text(encoding="utf8"))["cells"] if cell["cell_type"] == "code"
    )
    faces, whole = {}, set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.startswith("workbench."))
            whole |= {a.asname or a.name for a in node.names if a.name == "workbench"}
        elif isinstance(node, ast.ImportFrom) and str(node.module).partition(".")[0] == "workbench":
            shown = getattr(importlib.import_module(str(node.module)), "__all__", None)
            for a in node.names:
                if node.module.count(".") > 1 or (shown is not None and a.name not in shown):
                    yield f"{node.module}.{a.name}"
                elif node.module == "workbench" and f"workbench.{a.name}" in NAMES:
                    faces[a.asname or a.name] = importlib.import_module(f"workbench.{a.name}")
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in faces:
            face = faces[node.value.id]
            if node.attr not in getattr(face, "__all__", [node.attr]):
                yield f"{face.__name__}.{node.attr}"
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute) and ast.unparse(node.value.value) in whole:
            face = importlib.import_module(f"workbench.{node.value.attr}")
            yield from [] if node.attr in getattr(face, "__all__", [node.attr]) else [f"{face.__name__}.{node.attr}"]


def test_notebooks_import_faces_only():
    found = {(path.stem, name) for path in (PACKAGE.parent / "notebooks").glob("*.ipynb") for name in beside_faces(path)}
    assert found == set()


def test_validators_import_faces_only():
    """What is scored is what a user can call; only how rows are declared is shared with the rooms of the models."""
    inner = {name for name in NAMES if name.count(".") > 1} - {"workbench.calibration.forms"}
    found = {(path.name, name) for path in (PACKAGE / "validation").glob("*.py") for name in inner.intersection(modules_of(path))}
    assert {(path, name) for path, name in found if not name.startswith("workbench.validation.")} == set()


def loaded_by(code):
    result = subprocess.run([sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"], capture_output=True, text=True, check=True)
    return set(result.stdout.split())


def test_import_loads_nothing_heavy():
    assert not loaded_by("import workbench") & {"numpy", "polars", "scipy", "altair", "pydantic", "typer"}


def test_command_line_help_loads_no_model():
    assert not loaded_by("import workbench.cli") & {"numpy", "polars", "scipy", "altair", "papermill", "workbench.catalogue"}
