"""Install the oldest release that pyproject.toml allows of every dependency, and run the tests and a notebook on them.

    python tools/lower_bounds.py [PYTEST ARGUMENTS ...]        instead of the whole of tests/

``make lower-bounds`` calls it. What a bound's release breaks, or a bound that is no release, is mended by raising the bound. What our
dependencies depend on comes in its newest release, as it would for a user.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def lowest(project: dict[str, Any]) -> list[str]:
    """``name==release`` of the lower bound of every dependency, those of tests and sweeps too."""
    extras = project["optional-dependencies"]
    needed = [*project["dependencies"], *(need for name in ("test", "scale", "agents", "docs") for need in extras[name])]
    return [need.replace(">=", "==") for need in needed if not need.startswith(project["name"])]


def main(arguments: list[str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))["project"]
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python, constraints = Path(folder) / "bin" / "python", Path(folder) / "lowest.txt"
        constraints.write_text("\n".join(lowest(project)) + "\n")

        def run(*command: str | Path) -> None:
            subprocess.run([python, "-m", *command], cwd=ROOT, check=True)

        run("pip", "install", "--quiet", "--constraint", constraints, "--editable", ".[test]")
        run("pytest", "-q", "-p", "no:cacheprovider", *(arguments or ["tests"]))
        run("workbench", "run", "ai_factory", "--out", Path(folder) / "out")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except subprocess.CalledProcessError as error:
        sys.exit(f"stopped at: {' '.join(map(str, error.cmd))}")
