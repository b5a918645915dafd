"""Counts of a folder of configurations against published ones: what is read, what is refused, and how far the counts are off.

    python benchmarks/configurations.py FOLDER [LOG]

LOG is a CSV whose column ``tried`` names the files and ``right value`` what was published ("230B / 10B"); beside the folder by default.
Published counts leave out what they like: the nearest is taken of all parameters, those without the input embedding, and those without
embedding and head.
"""

from __future__ import annotations

import csv
import re
import sys
from pathlib import Path

from workbench import catalogue
from workbench.errors import InputError


def published(log: Path) -> dict[str, list[float]]:
    """Total and maybe active parameters by file."""
    found = {}
    with log.open(newline="", encoding="utf8") as rows:
        for row in csv.DictReader(rows):
            if name := re.search(r"([\w.+-]+\.json)", row["tried"]):
                found[name[1]] = [float(n) * 1e9 for n in re.findall(r"([\d.]+)B", row["right value"])]
    return found


def main(folder: Path, log: Path) -> None:
    """Print a line for each file, and the distribution of errors."""
    right = published(log) if log.is_file() else {}
    refused, errors = [], {"total": [], "active": []}
    for file in sorted(folder.glob("*.json")):
        try:
            llm = catalogue.llm(file)
        except InputError as error:
            refused.append(f"{file.name}: {str(error).partition(': ')[2]}")
            continue
        counts = {"total": llm.params, "active": llm.active_params}
        line = f"{file.stem:60} {llm.params / 1e9:9.3f} {llm.active_params / 1e9:8.3f}"
        for (kind, ours), printed in zip(counts.items(), right.get(file.name, ()), strict=False):
            out = (0, llm.embedding_params, llm.embedding_params * (2 - llm.tied_embeddings)) if kind == "active" else (0,)
            off = min(abs((ours - n) / printed - 1) for n in out)
            errors[kind].append(off)
            line += f"  {kind} {printed / 1e9:g} off {off:.1%}"
        print(line)
    print(f"\nread: {len(list(folder.glob('*.json'))) - len(refused)}; refused: {len(refused)}", *refused, sep="\n  ")
    for kind, off in errors.items():
        within = ", ".join(f"{sum(e <= bound for e in off)} within {bound:.1%}" for bound in (0.001, 0.005, 0.01, 0.02, 0.05))
        print(f"{kind}: {len(off)} published; {within}; the largest {max(off, default=0):.1%}")


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    main(folder, Path(sys.argv[2]) if len(sys.argv) > 2 else folder.parent / "LOG.csv")
