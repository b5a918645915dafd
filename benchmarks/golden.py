"""Every number that the workbench gives, written to a file, and two such files compared: does a rebuild move a figure?

    python benchmarks/golden.py write FILE [--code CHECKOUT] [--measured FOLDER] [--only PART ...]
    python benchmarks/golden.py compare OLD NEW [--rtol 1e-9] [--rename PATTERN=REPLACEMENT ...]

Written are the predictions of every kind of ``workbench validate``, with their interval or why there is none; what every notebook
records and its headline; and the calls of ``golden_calls.py``. ``--code`` runs the package, the facts and the
notebooks of another checkout. Of names that a rebuild changes, ``--rename`` gives the new ones of the old file (a regular expression).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parents[1]
FOLDERS = (HERE.parent / "shared" / "measured", HERE / "data" / "measured")  #: all measurements, where they lie beside the checkout
#: Kinds that are scored on the cases that ship.
CASES = ("energy", "demand", "scaling", "topology")
#: Files that each kind reads, of those that the folder holds.
FILES = {kind: (kind,) for kind in CASES} | {
    "collectives": ("collectives", "collectives_new"),
    "gemm": ("gemm",),
    "serving": ("serving",),
    "training": ("training", "training_new"),
    "training-memory": ("training", "training_new", "training_memory", "training_failed", "training_failed_new"),
}
PARTS = (*FILES, "notebooks", "calls")
RESULTS_MIME = "application/vnd.workbench.results.v1+json"
FAILED = "failed"  #: name of the reason where a notebook or a call stopped
Figures = dict[str, Any]


def numbers(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every number and text in arrays, frames, results and containers, by its path."""
    if hasattr(value, "to_dicts"):  # a polars frame
        value = value.to_dicts()
    elif hasattr(value, "tolist"):  # numpy's
        value = value.tolist()
    elif hasattr(value, "__dataclass_fields__"):
        value = {field: getattr(value, field) for field in value.__dataclass_fields__}
    if isinstance(value, dict):
        value = value.items()
    elif isinstance(value, list | tuple):
        value = enumerate(value)
    else:
        yield name, value if value is None or isinstance(value, bool | int | float) else str(value)
        return
    for key, one in value:
        yield from numbers(one, f"{name} {key}".lstrip())


def predictions(kind: str, file: Path) -> Figures:
    """What a kind of validation predicts of a file: a number with its interval, or the reason why there is none."""
    from workbench import validation

    figures: Figures = {}
    seen: dict[tuple[int, str], int] = {}
    for row in validation.validate(kind, file).rows.iter_rows(named=True):
        at = row["position"], row["quantity"]
        part = seen[at] = seen.get(at, -1) + 1  # a column may hold several numbers
        name = f"row {row['position']} {row['quantity']}" + (f" part {part}" if part else "")
        figures[name] = row["skipped"] if row["predicted"] is None else row["predicted"]
        figures |= {f"{name} {end}": row[end] for end in ("low", "high") if row[end] is not None}
    return figures


def notebook(path: Path) -> Figures:
    """What a notebook with its own parameters records, and what its headline says."""
    import nbformat
    from nbclient import NotebookClient

    nb = nbformat.read(path, 4)
    NotebookClient(nb, timeout=600, kernel_name="python3", extra_arguments=["--log-level=ERROR"]).execute(cwd=str(path.parent))
    figures: Figures = {}
    for cell in (cell for cell in nb.cells if cell.cell_type == "code"):
        for output in cell.outputs:
            figures |= dict(numbers(output.get("data", {}).get(RESULTS_MIME, {})))
        if "headline" in cell.metadata.get("tags", []):
            figures["headline"] = "".join(output.text for output in cell.outputs if output.get("name") == "stdout").strip()
    return figures


def tried(figures: Callable[[], Figures]) -> Figures:
    """The figures, or the error that stopped them: one that stops must not hide what the others say."""
    try:
        return figures()
    except Exception as error:
        return {FAILED: f"{type(error).__name__}: {error}".strip().splitlines()[-1]}


def write(file: Path, code: Path, measured: Path, only: list[str]) -> int:
    """Write the figures of the checkout `code`; 1 if a notebook or a call stopped."""
    start = time.perf_counter()
    os.environ["PYTHONPATH"] = os.pathsep.join([str(code), *filter(None, [os.environ.get("PYTHONPATH")])])  # for the notebooks' kernels
    sys.path.insert(0, str(code))
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # sums in one order; before numpy is loaded
    os.environ.pop("WORKBENCH_DATA", None)  # a user's facts are not ours
    if (external := measured.parent / "external").is_dir():
        os.environ.setdefault("WORKBENCH_EXTERNAL", str(external))
    import workbench

    if not Path(workbench.__file__).is_relative_to(code):
        raise SystemExit(f"{code}: holds no workbench; {workbench.__file__} would be used")
    figures: dict[str, Figures] = {}
    for kind in filter(only.__contains__, FILES):
        folder = code / "data" / "cases" if kind in CASES else measured
        for path in (folder / f"{stem}.csv" for stem in FILES[kind]):
            if path.is_file():
                figures[f"{kind} {path.name}"] = tried(lambda kind=kind, path=path: predictions(kind, path))
    if "calls" in only:
        from golden_calls import calls

        for name, call in calls().items():
            figures[f"call: {name}"] = tried(lambda call=call: dict(numbers(call())))
    if "notebooks" in only:
        paths = sorted((code / "notebooks").glob("*.ipynb"))
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            figures |= zip((f"notebook {p.stem}" for p in paths), pool.map(lambda p: tried(lambda: notebook(p)), paths), strict=True)
    git = subprocess.run(["git", "-C", code, "describe", "--always", "--dirty", "--abbrev=40"], capture_output=True, text=True)
    head = {"commit": git.stdout.strip(), "workbench": workbench.__version__, "python": sys.version.split()[0]}
    head["seconds"] = f"{time.perf_counter() - start:.0f}"
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.{os.getpid()}")
    part.write_text(json.dumps({"head": head, "figures": figures}, indent=0, sort_keys=True))
    os.replace(part, file)
    stopped = {name: found[FAILED] for name, found in figures.items() if FAILED in found}
    print(f"{file}: {sum(map(len, figures.values())):,} figures in {len(figures)} parts, {json.dumps(head)}")
    for name, why in stopped.items():
        print(f"{name}: stopped: {why}")
    return bool(stopped)


def distance(old: Any, new: Any) -> float:
    """Relative change of a number; infinite between numbers and texts, and between texts that differ."""
    if any(isinstance(v, bool) or not isinstance(v, int | float) for v in (old, new)):
        return 0.0 if old == new and isinstance(old, bool) == isinstance(new, bool) else math.inf
    if old == new or (math.isnan(old) and math.isnan(new)):
        return 0.0
    change = abs(new - old) / max(abs(old), abs(new))
    return change if math.isfinite(change) else math.inf


def differences(old: Figures, new: Figures, rtol: float) -> dict[str, list[tuple[float, str, Any, Any]]]:
    """What moved, appeared, vanished or says another thing, the worst first. A reason instead of a number is a number that vanished."""
    found: dict[str, list[tuple[float, str, Any, Any]]] = {"moved": [], "appeared": [], "vanished": [], "says another thing": []}
    for name in old.keys() | new.keys():
        was, now = old.get(name), new.get(name)
        if name in old and name in new and (change := distance(was, now)) <= rtol:
            continue
        told, tells = (isinstance(v, int | float) for v in (was, now))
        if name not in old or (name in new and tells and not told):
            what, change = "appeared", math.inf
        elif name not in new or (told and not tells):
            what, change = "vanished", math.inf
        else:
            what = "moved" if told else "says another thing"
        found[what].append((change, name, was, now))
    return {what: sorted(rows, key=lambda row: (-row[0], row[1])) for what, rows in found.items() if rows}


def compare(old: Path, new: Path, rtol: float, renames: list[str], worst: int = 5) -> int:
    """Print what differs, part by part; 1 if anything does."""
    before, after = (json.loads(path.read_text()) for path in (old, new))
    pairs = [rename.split("=", 1) for rename in renames]

    def renamed(name: str) -> str:
        for pattern, replacement in pairs:
            name = re.sub(pattern, replacement, name)
        return name

    figures = {renamed(part): {renamed(name): value for name, value in found.items()} for part, found in before["figures"].items()}
    print(f"{old}: {before['head']}\n{new}: {after['head']}")
    differ = False
    for part in sorted(figures.keys() | after["figures"].keys()):
        was, now = figures.get(part, {}), after["figures"].get(part, {})
        found = differences(was, now, rtol)
        differ |= bool(found)
        counts = ", ".join(f"{len(rows):,} {what}" for what, rows in found.items()) or "equal"
        print(f"{part}: {len(was.keys() & now.keys()):,} figures compared: {counts}")
        for what, rows in found.items():
            for change, name, a, b in rows[:worst]:
                print(f"    {what}: {name}: {a!r} -> {b!r}" + (f" ({change:.1e})" if math.isfinite(change) else ""))
    return differ


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    writing = commands.add_parser("write")
    writing.add_argument("file", type=Path)
    writing.add_argument("--code", type=Path, default=HERE, help="checkout whose package, facts and notebooks run; this one")
    writing.add_argument("--measured", type=Path, default=next((f for f in FOLDERS if f.is_dir()), FOLDERS[-1]), help="%(default)s")
    writing.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    comparing = commands.add_parser("compare")
    comparing.add_argument("old", type=Path)
    comparing.add_argument("new", type=Path)
    comparing.add_argument("--rtol", type=float, default=1e-9)
    comparing.add_argument("--rename", action="append", default=[], metavar="PATTERN=REPLACEMENT")
    given = parser.parse_args()
    if given.command == "compare":
        return compare(given.old, given.new, given.rtol, given.rename)
    return write(given.file, given.code.resolve(), given.measured.resolve(), given.only)


if __name__ == "__main__":
    sys.exit(main())
