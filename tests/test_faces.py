"""What a package shows: every name is there, said once, in order, and explained."""

import importlib
import inspect
import pkgutil

import pytest

import workbench

PACKAGES = [found.name for found in pkgutil.iter_modules(workbench.__path__) if found.ispkg]
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
