"""Logs of nccl-tests and rccl-tests as frames with the columns of the measurements that `validate collectives` reads."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from workbench import catalogue
from workbench.errors import DataError, UnknownName
from workbench.fabric.algorithms import RULES, busbw_factor
from workbench.units import GIGA

#: Programs of the tests and the operations that they time.
PROGRAMS = {f"{op}_perf": op for op in RULES}
#: size, count, type, [redop, root,] then time, algbw, busbw, wrong out of place and in place.
NUMBERS = r"(\d{1,15}(?:\.\d*)?)\s+(\d{1,15}(?:\.\d*)?)\s+(\d{1,15}(?:\.\d*)?)\s+(\S+)"
ROW = re.compile(rf"^\s*(\d{{1,15}})\s+(\d{{1,15}})\s+([a-z]\w*)\s+(?:\S+\s+-?\d+\s+)?{NUMBERS}(?:\s+{NUMBERS})?\s*$")
COLUMNS = (
    "table_id", "collective", "bytes", "n_gpus", "chip", "library", "time_us", "algbw_GBps", "busbw_GBps", "in_place_time_us", "quality",
    "source",
)  # fmt: skip


@dataclass(frozen=True)
class Log:
    """What was read, and what was left out and why."""

    rows: pl.DataFrame
    left_out: tuple[str, ...]


def is_log(path: str | Path) -> bool:
    """Whether a file looks like the output of the tests rather than a CSV."""
    try:
        head = Path(path).read_text(encoding="utf8", errors="replace")[:20_000]
    except OSError:
        return False
    return bool(re.search(r"# nThread|# rank\s+\d+|out-of-place", head, re.IGNORECASE))


def measurements(path: str | Path) -> pl.DataFrame | None:
    """Rows of a log as those of a CSV of measurements, over InfiniBand, with the domain and links of its chip; None for another file."""
    if not is_log(path):
        return None
    log = read_log(path)
    for reason in log.left_out:
        print(f"{path}: left out: {reason}", file=sys.stderr)
    chips = links().select("chip", scaleup_domain_gpus="domain")
    rows = log.rows.join(chips, on="chip", how="left").with_columns(pl.col("bytes", "n_gpus").cast(pl.Float64), fabric=pl.lit("InfiniBand"))
    if unknown := [name for name in rows["chip"].unique() if name not in set(chips["chip"])]:
        print(f"{path}: {unknown[0]!r} is no chip of the catalogue: domains of eight are taken", file=sys.stderr)
    return rows.with_columns(scale_up_GBps_per_dir=pl.lit(None, pl.Float64), nic_Gbps_per_gpu=pl.lit(None, pl.Float64))


def links() -> pl.DataFrame:
    """Of every chip of the catalogue: those that its links, or the host, join, their rate and that of its NIC [GB/s]."""
    chips = [catalogue.chip(name) for name in catalogue.names("chips")]
    columns = {"chip": [chip.name for chip in chips], "domain": [float(chip.near[0]) for chip in chips]}
    columns |= {"scaleup_gb_per_s": [chip.near[1] / GIGA for chip in chips]}
    return pl.DataFrame(columns | {"scaleout_gb_per_s": [(chip.scaleout_bandwidth or np.nan) / GIGA for chip in chips]}).fill_nan(None)


def read_log(path: str | Path) -> Log:
    """Read the output of one or more runs of nccl-tests or rccl-tests.

    The number of ranks is taken from the list of ranks, and compared with busbw / algbw, which nccl-tests computes from it; where they
    differ, the ratio wins and the row says so.

    Parameters
    ----------
    path : path
        Text as printed; Windows line ends, times before the line and truncated ends are coped with.

    Raises
    ------
    DataError
        For a file that is missing, or holds no row of results.
    """
    file = Path(path)
    if not file.is_file():
        raise DataError(file, "no such file")
    text = file.read_text(encoding="utf8", errors="replace").replace("\r\n", "\n").replace("\r", "\n")
    op, ranks, chip, library, left, rows = None, 0, "", "nccl-tests", [], []
    for number, line in enumerate(text.split("\n"), start=1):
        for program, name in PROGRAMS.items():
            if re.search(rf"\b{program}\b", line):
                op, ranks = name, 0
        if match := re.search(r"(?:NCCL|RCCL) version[: ]+([\d.]+)", line):
            library = f"nccl-tests, NCCL {match[1]}"
        if match := re.search(r"#\s+Rank\s+(\d{1,7})\b.*?device\s+\S+\s+(?:\[[^\]]*\]\s+)?(.*)$", line, re.IGNORECASE):
            ranks = 1 if int(match[1]) == 0 else max(ranks, int(match[1]) + 1)
            chip = chip or _chip(match[2])
            continue
        match = ROW.match(line)
        if not match:
            if re.match(r"^\s*\d+\s+\d+\s+\w+", line):
                left.append(f"line {number}: not a whole row of results")
            continue
        if op is None:
            left.append(f"line {number}: no program named before it, so the operation is not known")
            continue
        size, time, algbw, busbw = int(match[1]), float(match[4]), float(match[5]), float(match[6])
        inferred, quality = _ranks(op, algbw, busbw), "ok"
        n = ranks or inferred
        if inferred and n and abs(inferred - n) > max(1, 0.1 * n):
            quality, n = f"ok; the log lists {ranks} ranks but busbw / algbw says {inferred}", inferred
        if not n:
            left.append(f"line {number}: the number of ranks is neither listed nor told by busbw / algbw")
            continue
        if size == 0 or time == 0:
            left.append(f"line {number}: size or time is 0")
            continue
        in_place = float(match[8]) if match[8] else None
        rows.append((file.stem, op, size, n, chip, library, time, algbw, busbw, in_place, quality, file.name))
    if not rows:
        raise DataError(file, "no row of results; expected the output of nccl-tests (size, count, type, time, algbw, busbw)")
    return Log(pl.DataFrame(rows, schema=list(COLUMNS), orient="row"), tuple(left))


def _ranks(op: str, algbw: float, busbw: float) -> int:
    """Ranks that busbw / algbw tells, 0 where it does not: too slow to have digits, or an operation whose ratio is 1."""
    if algbw < 1 or op in ("broadcast", "reduce", "sendrecv"):
        return 0
    factor = float(busbw_factor(op, pl.Series([2.0]).to_numpy())[0]) * 2  # 2 for all-reduce, 1 for the others
    share = busbw / algbw / factor
    return round(1 / (1 - share)) if 0 < share < 1 - 1e-6 and 1 / (1 - share) < 0.2 * algbw / 0.01 else 0


def _chip(words: str) -> str:
    """The chip that a driver's name stands for; the name itself if it is not in the catalogue."""
    try:
        return catalogue.chip(words).name
    except UnknownName:
        return words.strip()
