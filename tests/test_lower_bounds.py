"""What ``make lower-bounds`` installs: one release of every dependency, the oldest allowed."""

import importlib.util
import re
import tomllib

from packaging.version import Version

from workbench.tables import DATA

ROOT = DATA.parent


def test_every_dependency_states_its_oldest_release():
    spec = importlib.util.spec_from_file_location("lower_bounds", ROOT / "tools" / "lower_bounds.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))["project"]
    lowest = tool.lowest(project)
    assert all(re.fullmatch(r"[A-Za-z0-9-]+==[0-9.]+", need) for need in lowest)
    pinned = dict(line.lower().split("==") for line in (ROOT / "constraints.txt").read_text(encoding="utf8").split())
    for need in lowest:
        name, release = need.split("==")
        newest = pinned.get(name) or pinned[name.replace("-", "_")]  # the list spells names as their authors do
        assert Version(release) <= Version(newest), f"{need}: make test installs {newest}"
