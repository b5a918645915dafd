"""Logs of nccl-tests and rccl-tests, as printed by any version under any launcher, and the JSON of ``-J``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from workbench import catalogue
from workbench.errors import UnknownName
from workbench.readers.source import Found, Refused, Row, Source, chip_named, number

READS = "expected rows of size, count, type, time, algbw, busbw"
#: Operations that are modelled, with busbw / algbw of very many ranks; 0 where that says nothing of the ranks.
OPERATIONS = {"all_reduce": 2, "all_gather": 1, "reduce_scatter": 1, "alltoall": 1, "broadcast": 0, "reduce": 0, "sendrecv": 0}
OTHERS = ("alltoallv", "gather", "scatter", "hypercube")
_NAMES = "|".join(sorted((*OPERATIONS, *OTHERS), key=len, reverse=True))
PROGRAM = re.compile(rf"(?<![a-z])({_NAMES})_perf|(?:^|[\s/])(\w{{1,40}})_perf\b")
TYPES = r"u?int\d{1,2}|u?char|half|float\w{0,12}|double|bfloat16|bf16|fp8\w{0,12}|f8\w{0,12}"
ROW = re.compile(rf"(?<![\w.])(\d{{1,15}})\s+(\d{{1,15}})\s+({TYPES})(?:\s+([^\s]{{1,40}}.*))?$")
RANK = re.compile(r"#\s+Rank\s+(\d{1,7})\b(.*?)\bdevice\s+\S+\s+(?:\[[^\]]*\]\s+)?(.*)$", re.IGNORECASE)
NUMBER = re.compile(r"\d{1,15}(\.\d*)?(e[-+]\d{1,2})?")
LAYOUT = ("size", "count", "type", "redop", "root", *("time", "algbw", "busbw", "#wrong") * 2)
#: Networks that NCCL says it uses, and the transport that they are.
NETWORKS = {"ib": "InfiniBand", "aws libfabric": "EFA", "fasttrak": "TCPXO", "gpudirecttcpx_v7": "TCPX", "socket": "other"}
#: What nothing says is taken as.
FABRIC = "InfiniBand"


@dataclass
class Run:
    """One run of a program: what stands before its rows."""

    op: str | None = None
    hosts: dict[int, str] = field(default_factory=dict)
    chip: str = ""
    launched: int = 0  #: ranks by the command line and nGpus; 0 where neither says
    library: str = "nccl-tests"
    network: str = ""
    layout: tuple[str, ...] = LAYOUT
    rows: list[tuple[int, Row]] = field(default_factory=list)


def knows(source: Source) -> bool:
    """Whether it is the output of the tests."""
    if source.is_json:
        return bool(source.objects) and {"config", "results"} <= source.objects[0][1].keys()
    if {"collective", "n_gpus"} <= set(source.columns):  # a CSV of measurements, whose sources may name programs
        return False
    return bool(re.search(r"# nThread|#\s+rank\s+\d+|out-of-place|_perf\b", source.text[:40_000], re.IGNORECASE)) or bool(
        any(ROW.search(line) for line in source.text[:40_000].split("\n")[:200])
    )


def read(source: Source) -> Found:
    """Rows of every run in the file."""
    left: list[tuple[int, str]] = []
    runs = list(_saved(source) if source.is_json else _printed(source, left))
    notes: list[str] = []
    rows = [row for run in runs for row in _rows(source, run, left, notes)]
    if not rows and not left:
        left.append((1, f"no row of results; {READS}: did the run end before its first?"))
    return Found(rows, sorted(left), tuple(dict.fromkeys(notes)))


def _printed(source: Source, left: list[tuple[int, str]]) -> Iterator[Run]:
    run, named, told = Run(), None, 0
    for at, line in enumerate(source.text.split("\n"), 1):
        line = line[:4000]
        if "_perf" in line and "concluded" not in line and (found := {a or b for a, b in PROGRAM.findall(line)}):
            named = found.pop() if len(found) == 1 else None
            ranks = re.search(r"(?:-np|-n|--ntasks(?:=|\s))\s*(\d{1,7})\b", line.partition("_perf")[0])
            told = int(ranks[1]) if ranks else 0
            if run.rows or run.hosts:
                yield run
                run = Run(chip="", library=run.library, network=run.network, layout=run.layout)
            run.op, run.launched = named, max(run.launched, told)
        elif match := re.search(r"# nThread (\d{1,4}) nGpus (\d{1,4})", line):
            if run.rows or run.hosts:
                yield run
                run = Run(library=run.library, network=run.network)
            own = int(match[1]) * int(match[2])
            run.launched = (run.launched or told or (1 if own > 1 else 0)) * own
        elif match := RANK.search(line):
            if int(match[1]) == 0 and run.hosts and run.rows:
                yield run
                run = Run(library=run.library, network=run.network)
            host = re.search(r"\bon\s+(\S+)", match[2])
            run.hosts[int(match[1])] = host[1] if host else ""
            run.chip = run.chip or chip_named(match[3])
        elif match := re.search(r"(?:NCCL|RCCL) version[: ]+([\d.]+\d)|nccl-library=(\d{5})\b", line):
            run.library = f"nccl-tests, NCCL {match[1] or _version(int(match[2]))}"
        elif match := re.search(r"NCCL INFO Using network (\w[\w ]*\w)|NET/OFI Selected [Pp]rovider is (\w+)", line):
            run.network = match[1] or match[2]
        elif re.search(r"\bsize\b.*\bcount\b.*\balgbw\b", line):
            words = line[line.index("size") :].replace("# ", " ").split()
            run.layout = tuple(words)
        elif match := ROW.search(line):
            try:
                run.rows.append((at, _cells(run.layout, match)))
            except Refused as why:
                left.append((at, str(why)))
        elif re.search(rf"(?<![\w.])\d{{1,15}}\s+\d{{1,15}}\s+(?:{TYPES})\b", line) or re.match(r"^\s*\d+\s+\d+\s+\w+", line):
            left.append((at, "not a whole row of results"))
    yield run


def _cells(layout: tuple[str, ...], match: re.Match[str]) -> Row:
    """The cells of a row by the header above it; older programs leave the reduction or the root blank."""
    names, words = [*layout[3:]], (match[4] or "").split()
    if "cputime" in names:
        raise Refused("the times are those of the processor (-C 1): run it without")
    if words and NUMBER.fullmatch(words[0]):
        names = [name for name in names if name not in ("redop", "root")]
    elif "root" in names and (len(words) < 2 or not re.fullmatch(r"-?\d+", words[1]) or len(words) == len(names) - 1):
        names.remove("root")
    halves = [words[i : i + 4] for i, name in enumerate(names) if name == "time"]  # out of place, in place; messages may follow
    whole = [len(half) == 4 and all(map(NUMBER.fullmatch, half[:3])) and (half[3].upper() == "N/A" or _wrong(half[3])) for half in halves]
    if not any(whole[:1]) or (len(halves) > 1 and not whole[1] and re.match(r"\d(?!\d{3}-)", " ".join(halves[1]))):
        raise Refused("not a whole row of results")
    time, algbw, busbw = map(float, halves[0][:3])
    quality = f"suspect: {halves[0][3]} values are wrong" if "#wrong" in names and re.fullmatch(r"[1-9]\d*", halves[0][3]) else "ok"
    return _row(int(match[1]), time, algbw, busbw, float(halves[1][0]) if all(whole[1:2]) and len(halves) > 1 else None, words[0], quality)


def _wrong(word: str) -> bool:
    return bool(re.fullmatch(r"\d[\d.]*(e[-+]?\d+)?|nan|inf", word, re.IGNORECASE))


def _row(size: int, time: float, algbw: float, busbw: float, in_place: float | None, redop: str, quality: str) -> Row:
    if algbw >= 0.1 and size and time and not 0.8 < size / time / 1e3 / algbw < 1.25:
        raise Refused("algbw is not size over time: columns of another unit or order")
    return {
        **{"bytes": float(size), "time_us": time, "algbw_GBps": algbw, "busbw_GBps": busbw, "in_place_time_us": in_place},
        **{"redop": redop, "quality": quality},
    }


def _saved(source: Source) -> Iterator[Run]:
    """Runs as ``-J`` writes them."""
    for line, saved in source.objects:
        config, results = saved.get("config"), saved.get("results")
        if not isinstance(config, dict) or not isinstance(results, list):
            raise Refused("config or results is no object of nccl-tests -J")
        found = PROGRAM.search(" ".join(str(word) for word in saved.get("args") or ()) if isinstance(saved.get("args"), list) else "")
        devices = [d for d in config.get("devices") or () if isinstance(d, dict)] if isinstance(config.get("devices"), list) else []
        run = Run(found and (found[1] or found[2]), {i: str(d.get("hostname") or "") for i, d in enumerate(devices)})
        run.chip = chip_named(str(devices[0].get("device_info") or "")) if devices else ""
        version = saved.get("nccl_version")
        run.library += f", NCCL {_version(version)}" if isinstance(version, int) and 9999 < version < 10**6 else ""
        for one in results:
            run.rows.append((line, _result(one)))
        yield run


def _result(one: Any) -> Row:
    try:
        out, inside = one["out_of_place"], one.get("in_place") or {}
        cells = [number(name, out[name]) for name in ("time", "alg_bw", "bus_bw")]
        again = inside.get("time")
        return _row(
            int(number("size", one["size"], whole=True)),
            *cells,
            None if again is None else number("time", again),
            str(one.get("redop") or ""),
            f"suspect: {out['nwrong']} values are wrong" if out.get("nwrong") else "ok",
        )
    except (TypeError, LookupError, AttributeError):
        raise Refused("a result lacks size, or time, alg_bw and bus_bw out of place") from None


def _rows(source: Source, run: Run, left: list[tuple[int, str]], notes: list[str]) -> Iterator[Row]:
    """Rows of a run that say what, between how many and where."""
    told = source.told
    op = run.op or _told_program(told.get("program")) or _by_name(source, run, notes)
    chip = chip_named(str(told["chip"])) if told.get("chip") else run.chip
    listed = max(run.hosts, default=-1) + 1
    inferred = _ranks(op, run) if op else 0
    ranks, quality = int(told.get("n_chips") or listed or run.launched or inferred), ""
    if inferred and ranks and abs(inferred - ranks) > max(1, 0.1 * ranks) and not told.get("n_chips"):
        quality, ranks = f"; the log says {ranks} ranks but busbw / algbw says {inferred}", inferred
    domain = told.get("domain") or _domain(run, chip, ranks)
    fabric = told.get("fabric") or next((kind for name, kind in NETWORKS.items() if name == run.network.lower()), None)
    if op in OPERATIONS and ranks and domain and ranks > domain and not fabric:
        notes.append(f"no network named: {FABRIC} is taken between domains; --fabric says another")
    for line, row in run.rows:
        if why := _lacks(op, ranks, row):
            left.append((line, why))
            continue
        yield {
            **{"table_id": source.path.stem, "collective": op, "bytes": row["bytes"], "n_gpus": float(ranks)},
            **{"scaleup_domain_gpus": None if domain is None else float(domain), "chip": chip, "scale_up_GBps_per_dir": None},
            **{"nic_Gbps_per_gpu": told.get("nic_gbps"), "fabric": fabric or FABRIC, "library": run.library, "time_us": row["time_us"]},
            **{name: row[name] for name in ("algbw_GBps", "busbw_GBps", "in_place_time_us")},
            **{"quality": row["quality"] + quality, "source": source.path.name},
        }


def _lacks(op: str | None, ranks: int, row: Row) -> str | None:
    """Why a row is left out."""
    if op is None:
        return "no program is named before it, so the operation is not known: --program all_reduce, or another, says it"
    if op not in OPERATIONS:
        return f"{op} is not modelled; operations that are: {', '.join(OPERATIONS)}"
    if not ranks:
        return "the number of ranks is neither listed nor told by busbw / algbw: --n-chips says it"
    return "size or time is 0" if row["bytes"] == 0 or row["time_us"] == 0 else None


def _told_program(name: Any) -> str | None:
    """The operation of ``--program``."""
    if not name:
        return None
    plain = re.sub(r"[-\s]", "_", str(name).rpartition("/")[2].lower()).partition("_perf")[0]
    same = next((op for op in (*OPERATIONS, *OTHERS) if op.replace("_", "") == plain.replace("_", "")), None)
    if same is None:
        raise Refused(f"--program {name}: expected one of {', '.join(OPERATIONS)}")
    return same


def _by_name(source: Source, run: Run, notes: list[str]) -> str | None:
    """The operation of a run without program name: what only one of them prints, or the file is named after."""
    best = max((row for _, row in run.rows), key=lambda row: row["algbw_GBps"], default=None)
    if best and best["redop"] == "sum" and best["algbw_GBps"] > 0.2 and best["busbw_GBps"] > 1.1 * best["algbw_GBps"]:
        return "all_reduce"
    plain = re.sub(r"[-_.\s]", "", source.path.stem.lower())
    found = {op for op in (*OPERATIONS, *OTHERS) if op.replace("_", "") in plain}
    found = {op for op in found if not any(op != other and op.replace("_", "") in other.replace("_", "") for other in found)}
    if len(found) != 1:
        return None
    notes.append(f"no program named: {min(found)} is taken, as the file is called; --program says another")
    return found.pop()


def _ranks(op: str, run: Run) -> int:
    """Ranks that busbw / algbw tells in the fastest row, 0 where it does not: too slow to have digits, or an operation whose ratio is 1."""
    rows = [row for _, row in run.rows if row["algbw_GBps"] >= 1]
    if not OPERATIONS.get(op) or not rows:
        return 0
    best = max(rows, key=lambda row: row["algbw_GBps"])
    share = best["busbw_GBps"] / best["algbw_GBps"] / OPERATIONS[op]
    return round(1 / (1 - share)) if 0 < share < 1 - 1e-6 and 1 / (1 - share) < 0.2 * best["algbw_GBps"] / 0.01 else 0


def _domain(run: Run, chip: str, ranks: int) -> float | None:
    """Ranks that exchange without a network: those on a host, at most those that the chip's links join; a rack's where it joins hosts."""
    try:
        found = catalogue.chip(chip)
    except UnknownName:
        return None
    near, hosts = found.near[0], [*run.hosts.values()]
    if near > found.host_chips or not all(hosts) or not hosts or len(hosts) < ranks:
        return near
    return min(max(hosts.count(host) for host in set(hosts)), near)


def _version(code: int) -> str:
    """``2.29.2`` of 22902."""
    return f"{code // 10000}.{code // 100 % 100}.{code % 100}"
