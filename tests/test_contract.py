"""Every public model function, by every kind of input: see `contract.harness`."""

import importlib
import inspect

import pytest

from contract.harness import check, kinds_of

PACKAGES = ("scaling", "fabric", "chips", "energy", "fleet", "demand", "uncertainty")
TABLES = {name: importlib.import_module(f"contract.{name}") for name in PACKAGES}
CASES = [case for table in TABLES.values() for case in table.CASES]


@pytest.mark.parametrize(("case", "kind"), [pytest.param(c, k, id=f"{c.name}-{k}") for c in CASES for k in kinds_of(c)])
def test_contract(case, kind):
    check(case, kind)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_function_is_held_to_it(package):
    face, table = importlib.import_module(f"workbench.{package}"), TABLES[package]
    public = {name for name in face.__all__ if inspect.isfunction(getattr(face, name))}
    named = {case.name.split(".")[1] for case in table.CASES}
    assert public - named - table.WITHOUT.keys() == set()
    assert not {name for name in table.WITHOUT if name in named or not hasattr(face, name)}
