"""Logs of nccl-tests and rccl-tests, as printed by any version under any launcher, and the JSON of ``-J``."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from workbench import catalogue
from workbench.errors import UnknownName
from workbench.readers.source import Found, Refused, Row, Source, chip_named, number

#: Operations that are modelled, with busbw / algbw of very many ranks; 0 where that says nothing of the ranks.
OPERATIONS = {"all_reduce": 2, "all_gather": 1, "reduce_scatter": 1, "alltoall": 1, "broadcast": 0, "reduce": 0, "sendrecv": 0}
NAMES = sorted((*OPERATIONS, "alltoallv", "gather", "scatter", "hypercube"), key=len, reverse=True)
PROGRAM = re.compile(rf"(?<![a-z])({'|'.join(NAMES)})_perf|(?:^|[\s/])(\w{{1,40}})_perf\b")
TYPES = r"u?int\d{1,2}|u?char|half|float\w{0,12}|double|bfloat16|bf16|fp8\w{0,12}|f8\w{0,12}"
ROW = re.compile(rf"(?<![\w.])(\d{{1,15}})\s+(\d{{1,15}})\s+({TYPES})\b(?:\s+(\S.*))?$")
RANK = re.compile(r"#\s+Rank\s+(\d{1,7})\b(?:.*?\bon\s+(\S+))?.*?\bdevice\s+\S+\s+(?:\[[^\]]*\]\s+)?(.*)$", re.IGNORECASE)
LIBRARY = re.compile(r"(?:NCCL|RCCL) version[: ]+([\d.]+\d)|nccl-library=(\d{5})\b")
NETWORK = re.compile(r"NCCL INFO Using network (\w[\w ]*\w)|NET/OFI Selected [Pp]rovider is (\w+)")
NUMBER = re.compile(r"\d{1,15}(\.\d*)?(e[-+]\d{1,2})?")
WRONG = re.compile(r"\d[\d.]*(e[-+]?\d+)?|nan|inf|n/a", re.IGNORECASE)
LAYOUT = ("redop", "root", *("time", "algbw", "busbw", "#wrong") * 2)
#: Networks that NCCL says it uses, and the transport that they are; InfiniBand is taken where nothing says one.
NETWORKS = {"ib": "InfiniBand", "aws libfabric": "EFA", "efa": "EFA", "fasttrak": "TCPXO", "gpudirecttcpx_v7": "TCPX", "socket": "other"}
PARTIAL = "not a whole row of results"


@dataclass
class Run:
    """One run of a program: what precedes its rows."""

    op: str | None = None
    hosts: dict[int, str] = field(default_factory=dict)  #: by rank
    chip: str = ""
    launched: int = 0  #: ranks by the command line and nGpus; 0 where neither says
    library: str = "nccl-tests"
    network: str = ""
    layout: tuple[str, ...] = LAYOUT
    rows: list[tuple[int, Row]] = field(default_factory=list)


def knows(source: Source) -> bool:
    """Whether it is the output of the tests, and no CSV of measurements whose sources name programs."""
    if source.is_json:
        return bool(source.objects) and {"config", "results"} <= source.objects[0][1].keys()
    head = source.text[:40_000]
    marked = re.search(r"# nThread|#\s+rank\s+\d+|out-of-place|_perf\b", head, re.IGNORECASE) or any(map(ROW.search, head.split("\n")))
    return bool(marked) and not {"collective", "n_gpus"} <= set(source.columns)


def read(source: Source) -> Found:
    """Rows of every run in the file."""
    left: list[tuple[int, str]] = []
    notes: list[str] = []
    rows = [row for run in list(_saved(source) if source.is_json else _printed(source, left)) for row in _rows(source, run, left, notes)]
    if not rows and not left:
        left.append((1, "no row of size, count, type, time, algbw, busbw: did the run end before its first?"))
    return Found(rows, sorted(left), tuple(dict.fromkeys(notes)))


def _printed(source: Source, left: list[tuple[int, str]]) -> Iterator[Run]:
    run, told = Run(), 0
    for at, line in enumerate(source.text.split("\n"), 1):
        line = line[:4000]
        named = [] if "concluded" in line else PROGRAM.findall(line)
        start, rank, own = named or (), RANK.search(line), re.search(r"# nThread (\d{1,4}) nGpus (\d{1,4})", line)
        if run.rows and (start or own or (rank and int(rank[1]) == 0)):  # the next run, of no name yet
            yield run
            run, told = Run(library=run.library, network=run.network), 0
        if start:
            run.op = named[0][0] or named[0][1] if len(set(named)) == 1 else None
            ranks = re.search(r"(?:-np|-n|--ntasks(?:=|\s))\s*(\d{1,7})\b", line.partition("_perf")[0])
            run.launched = told = int(ranks[1]) if ranks else told
        elif own:
            each = int(own[1]) * int(own[2])
            run.hosts, run.launched = {}, (told or each > 1) * each
        elif rank:
            run.hosts[int(rank[1])], run.chip = rank[2] or "", run.chip or chip_named(rank[3])
        elif match := LIBRARY.search(line):
            run.library = f"nccl-tests, NCCL {match[1] or _version(int(match[2]))}"
        elif match := NETWORK.search(line):
            run.network = match[1] or match[2]
        elif re.search(r"\bsize\b.*\bcount\b.*\btype\b.*\balgbw\b", line):
            run.layout = tuple(line.partition("type")[2].replace("# ", " ").split())
        elif match := ROW.search(line):
            try:
                run.rows.append((at, _cells(run.layout, match)))
            except Refused as why:
                left.append((at, str(why)))
        elif re.match(r"^\s*\d+\s+\d+\s+\w+", line):
            left.append((at, PARTIAL))
    yield run


def _cells(layout: tuple[str, ...], match: re.Match[str]) -> Row:
    """The cells of a row by the header above it; older programs leave the reduction or the root blank, and messages may follow."""
    names, words = [*layout], (match[4] or "").split()
    if "cputime" in names:
        raise Refused("the times are those of the processor (-C 1): run it without")
    if words and NUMBER.fullmatch(words[0]):
        names = [name for name in names if name not in ("redop", "root")]
    elif "root" in names and (len(words) < 2 or not re.fullmatch(r"-?\d+", words[1]) or len(words) == len(names) - 1):
        names.remove("root")
    halves = [words[i : i + 4] for i, name in enumerate(names) if name == "time"]  # out of place, in place
    whole = [len(half) == 4 and all(map(NUMBER.fullmatch, half[:3])) and WRONG.fullmatch(half[3]) for half in halves]
    if not any(whole[:1]) or (len(halves) > 1 and not whole[1] and re.match(r"\d(?!\d{3}-)", " ".join(halves[1]))):
        raise Refused(PARTIAL)
    bad = halves[0][3] if "#wrong" in names and re.fullmatch(r"[1-9]\d*", halves[0][3]) else ""
    return _row([float(match[1]), *map(float, halves[0][:3])], float(halves[1][0]) if any(whole[1:2]) else None, words[0], bad)


def _row(cells: list[float], in_place: float | None, redop: str, wrong: Any) -> Row:
    size, time, algbw, busbw = cells
    if algbw >= 0.1 and size and time and not 0.8 < size / time / 1e3 / algbw < 1.25:
        raise Refused("algbw is not size over time: columns of another unit or order")
    quality = f"suspect: {wrong} values are wrong" if wrong else "ok"
    measured = {"bytes": size, "time_us": time, "algbw_GBps": algbw, "busbw_GBps": busbw, "in_place_time_us": in_place}
    return measured | {"redop": redop, "quality": quality}


def _saved(source: Source) -> Iterator[Run]:
    """Runs as ``-J`` writes them."""
    for line, saved in source.objects:
        try:
            devices = [d for d in saved["config"].get("devices") or () if isinstance(d, dict)]
            named = PROGRAM.search(" ".join(map(str, saved.get("args") or ())))
            run = Run(named and (named[1] or named[2]), {i: str(d.get("hostname") or "") for i, d in enumerate(devices)})
            run.chip = chip_named(devices[0].get("device_info")) if devices else ""
            version = saved.get("nccl_version")
            run.library += f", NCCL {_version(version)}" if isinstance(version, int) and 9999 < version < 10**6 else ""
            for one in saved["results"]:
                out, inside = one["out_of_place"], (one.get("in_place") or {}).get("time")
                cells = [number(name, part[name]) for part, name in ((one, "size"), (out, "time"), (out, "alg_bw"), (out, "bus_bw"))]
                again = None if inside is None else number("time", inside)
                run.rows.append((line, _row(cells, again, str(one.get("redop") or ""), out.get("nwrong"))))
        except (TypeError, LookupError, AttributeError):
            raise Refused("a result lacks size, or time, alg_bw and bus_bw out of place, as nccl-tests -J has them") from None
        yield run


def _rows(source: Source, run: Run, left: list[tuple[int, str]], notes: list[str]) -> Iterator[Row]:
    """Rows of a run that say what, between how many and where."""
    told = source.told
    op = (run.op if run.op in NAMES else None) or _told(told.get("program")) or run.op or _by_name(source, run, notes)
    chip = chip_named(told["chip"]) if told.get("chip") else run.chip
    listed, inferred, quality = max(run.hosts, default=-1) + 1, _ranks(op, run), ""
    ranks = int(told.get("n_chips") or listed or run.launched or inferred)
    if inferred and abs(inferred - ranks) > max(1, 0.1 * ranks) and not told.get("n_chips"):
        quality, ranks = f"; the log says {ranks} ranks but busbw / algbw says {inferred}", inferred
    domain, rate = (told["domain"], None) if told.get("domain") else _domain(run, chip, ranks)
    fabric = told.get("fabric") or NETWORKS.get(run.network.lower())
    if op in OPERATIONS and domain and ranks > domain and not fabric:
        notes.append("no network named: InfiniBand is taken between domains; --fabric says another")
    why = None if op in OPERATIONS else f"{op} is not modelled; operations that are: {', '.join(OPERATIONS)}"
    why = why if op else "no program is named before it, so the operation is not known: --program all_reduce, or another, says it"
    why = why or (None if ranks else "the number of ranks is neither listed nor told by busbw / algbw: --n-chips says it")
    for line, row in run.rows:
        if reason := why or (None if row["bytes"] and row["time_us"] else "size or time is 0"):
            left.append((line, reason))
            continue
        yield {name: value for name, value in row.items() if name != "redop"} | {
            **{"table_id": source.path.stem, "collective": op, "n_gpus": float(ranks), "chip": chip, "library": run.library},
            **{"scaleup_domain_gpus": domain and float(domain), "nic_Gbps_per_gpu": told.get("nic_gbps"), "fabric": fabric or "InfiniBand"},
            **{"quality": row["quality"] + quality, "source": source.path.name, "scale_up_GBps_per_dir": rate},
        }


def _told(name: Any) -> str | None:
    """The operation of ``--program``."""
    plain = re.sub(r"[-_\s]", "", str(name or "").rpartition("/")[2].lower().partition("_perf")[0])
    same = next((op for op in NAMES if op.replace("_", "") == plain), None)
    if name and same is None:
        raise Refused(f"--program {name}: expected one of {', '.join(OPERATIONS)}")
    return same


def _by_name(source: Source, run: Run, notes: list[str]) -> str | None:
    """The operation of a run without program name: what only one of them prints, or the one that the file is named after."""
    best = max((row for _, row in run.rows), key=lambda row: row["algbw_GBps"], default=None)
    if best and best["redop"] == "sum" and best["algbw_GBps"] > 0.2 and best["busbw_GBps"] > 1.1 * best["algbw_GBps"]:
        return "all_reduce"
    found = set(re.findall("|".join(op.replace("_", "") for op in NAMES), re.sub(r"[-_.\s]", "", source.path.stem.lower())))
    op = _told(found.pop()) if len(found) == 1 else None
    notes += [f"no program named: {op} is taken, as the file is called; --program says another"] if op else []
    return op


def _ranks(op: str | None, run: Run) -> int:
    """Ranks that busbw / algbw tells in the fastest row, 0 where it does not: too slow to have digits, or an operation whose ratio is 1."""
    best = max((row for _, row in run.rows), key=lambda row: row["algbw_GBps"], default={"algbw_GBps": 0.0})
    if not OPERATIONS.get(op or "") or best["algbw_GBps"] < 1:
        return 0
    share = best["busbw_GBps"] / best["algbw_GBps"] / OPERATIONS[op or ""]
    return round(1 / (1 - share)) if 0 < share < 1 - 1e-6 and 1 / (1 - share) < 20 * best["algbw_GBps"] else 0


def _domain(run: Run, chip: str, ranks: int) -> tuple[float | None, float | None]:
    """Ranks that exchange without a network: those on a host, at most those that the chip's links join; a rack's where it joins hosts.

    On one host that the links do not join as a whole, all do over PCIe, whose rate [GB/s] comes with them.
    """
    try:
        found = catalogue.chip(chip)
    except UnknownName:
        return None, None
    near, hosts = found.near[0], [*run.hosts.values()]
    counted = all(hosts) and len(hosts) >= max(ranks, 1) and near <= found.host_chips
    if counted and near < ranks and len(set(hosts)) == 1:
        return ranks, found.pcie_bandwidth / 1e9
    return min(max(map(hosts.count, set(hosts))), near) if counted else near, None


def _version(code: int) -> str:
    """``2.29.2`` of 22902."""
    return f"{code // 10000}.{code // 100 % 100}.{code % 100}"
