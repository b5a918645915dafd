"""What readers start from: a file as text or rows, fields by the names that tools have for them, what was left out and why."""

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from workbench import catalogue, tables
from workbench.errors import DataError, UnknownName

Row = dict[str, Any]
MOST = 1e30  #: no count, rate or time of a file is larger
STATISTICS = {"avg": "mean", "p50": "median"}
NUMBER = re.compile(r"([-+]?(?:\d{1,3}(?:,\d{3})+(?:\.\d*)?|[\d.]+(?:e[-+]?\d+)?)) *(?:W|MiB|%)?", re.IGNORECASE)


class Refused(ValueError):
    """Why a row, or a file, is left out."""


@dataclass(frozen=True)
class Found:
    """Rows of a file as the standard CSV has them, what of it was left out, by line and reason, and what was assumed."""

    rows: list[Row]
    left_out: list[tuple[int, str]] = field(default_factory=list)
    notes: tuple[str, ...] = ()

    def said(self) -> list[str]:
        """What was left out, a line a reason, and what was assumed."""
        lines: dict[str, list[int]] = {}
        for line, why in self.left_out:
            lines.setdefault(why, []).append(line)
        spans = {why: f"line {at[0]}" + (f" to {at[-1]}" if len(at) > 1 else "") for why, at in lines.items()}
        return [f"left out: {len(at)} ({spans[why]}): {why}" for why, at in lines.items()] + list(self.notes)


@dataclass(frozen=True)
class Source:
    """A file, and what its reader was told that the file does not say."""

    path: Path
    told: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def text(self) -> str:
        """Its text. Raises `DataError` where it cannot be read."""
        try:
            data = self.path.read_bytes()
        except OSError as error:
            raise DataError(self.path, "no such file" if not self.path.exists() else f"cannot be read ({error.strerror})") from None
        code = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
        return data.decode(code, "replace").replace("\r\n", "\n").replace("\r", "\n")

    @property
    def is_json(self) -> bool:
        """Whether it is meant as JSON: lines of a log may begin with a bracket too."""
        return self.path.suffix in (".json", ".jsonl") or bool(re.match(r"\s*(\{|\[\s*[\[{\]])", self.text))

    @cached_property
    def objects(self) -> list[tuple[int, Row]]:
        """Objects of JSON, JSON lines or YAML with their lines, those of a list in an answer of an interface; none of another file."""
        if not self.is_json and self.path.suffix not in (".yaml", ".yml"):
            return []
        try:
            found = _parsed(self.text, self.path.suffix)
        except Exception as error:  # of JSON, of YAML, of numbers and depths that are none
            said = f"{error.msg} in line {error.lineno}" if isinstance(error, json.JSONDecodeError) else str(error).partition("\n")[0]
            raise DataError(self.path, f"not {'JSON' if self.is_json else 'YAML'}: {said}") from None
        if len(found) == 1 and isinstance(found[0][1], dict):
            inner = next((v for k in ("data", "history", "rows") if isinstance(v := found[0][1].get(k), list) and v), None)
            found = [(1, inner)] if inner and isinstance(inner[0], dict) else found
        every = [(line, one) for line, value in found for one in (value if isinstance(value, list) else [value])]
        return every if all(isinstance(one, dict) for _, one in every) else []

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Names of its columns: the header of a CSV, or the keys of the first object."""
        if self.objects:
            return tuple(flat(self.objects[0][1]))
        return tuple(name.strip().strip('"') for name in self.text[:20_000].lstrip("\n").partition("\n")[0].split(","))

    def rows(self) -> Iterator[tuple[int, Row]]:
        """Rows of a CSV or objects with their lines. Raises `DataError` for what is neither."""
        if self.objects:
            yield from ((line, flat(one)) for line, one in self.objects)
            return
        cells = tables.read_cells(self.path)
        yield from ((at, dict(zip(cells, row, strict=True))) for at, row in enumerate(zip(*cells.values(), strict=True), 2))

    def has(self, kind: str, *fields: str) -> bool:
        """Whether it has columns for the fields of a kind, for one of those with ``|`` between them."""
        there = known(kind, self.columns)
        return all(any(name in there for name in names.split("|")) for names in fields)


def _parsed(text: str, suffix: str) -> list[tuple[int, Any]]:
    """What is in JSON or YAML, or in each line of JSON lines, with the line."""
    if suffix in (".yaml", ".yml"):
        import yaml

        return [(1, yaml.safe_load(text))]
    try:
        return [(1, json.loads(text))]
    except json.JSONDecodeError as error:
        if error.msg != "Extra data" and suffix != ".jsonl":
            raise
        return [(at, json.loads(line)) for at, line in enumerate(text.split("\n"), 1) if line.strip()]


def flat(tree: Any, depth: int = 6) -> Row:
    """Values of nested objects, their keys with points between; of lists the first entries."""
    found: Row = {}
    for key, value in tree.items():
        parts = dict(enumerate(value[:4])) if isinstance(value, list) else value
        inner = flat(parts, depth - 1) if isinstance(parts, dict) and depth else {}
        inner |= {} if isinstance(value, dict) else {"": value}
        found |= {f"{key}.{name}" if name else str(key): one for name, one in inner.items()}
    return found


@lru_cache(maxsize=256)
def known(kind: str, names: tuple[str, ...]) -> dict[str, tuple[str, float | None]]:
    """Of each field of a kind the first of `names` that table ``file_fields`` has for it, and its factor; None of text."""
    found: dict[str, tuple[str, float | None]] = {}
    for row in catalogue.table("file_fields").filter(kind=kind).iter_rows(named=True):
        for name in names:
            if match := re.fullmatch(row["pattern"], name, re.IGNORECASE):
                stat = match.groupdict().get("stat", "").lower()
                found.setdefault(row["field"].format(stat=STATISTICS.get(stat, stat)), (name, row["factor"]))
    return found


def values(kind: str, row: Row) -> Row:
    """Fields of a row, numbers in our units; blanks are left out. Raises `Refused` for a number that is none."""
    there = {name: value for name, value in row.items() if value not in (None, "", "N/A")}
    found = known(kind, tuple(there))
    return {f: clean(there[n]) if factor is None else number(n, there[n]) * factor for f, (n, factor) in found.items()}


def rows_of(entries: Iterable[tuple[int, Any]], make: Callable[[Any], Row | None], *notes: str) -> Found:
    """The row that `make` makes of each entry, or why it is refused; None for what is no row."""
    rows, left = [], []
    for line, entry in entries:
        try:
            rows.append(make(entry))
        except Refused as why:
            left.append((line, str(why)))
    return Found([row for row in rows if row is not None], left, notes)


def number(name: str, value: Any, least: float = 0.0, whole: bool = False) -> float:
    """A cell as a number, less the watts, MiB or % behind it. Raises `Refused` for what is none, or none that can be."""
    match = NUMBER.fullmatch(value.strip()[:100]) if isinstance(value, str) else None
    try:
        found = math.nan if isinstance(value, bool | None) else float(match[1].replace(",", "") if match else value)
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if not least <= found <= MOST or (whole and found % 1):
        kind = "a whole number" if whole else "a number"
        raise Refused(f"{name} is {str(value)[:40]!r}; expected {kind} from {least:g} to {MOST:g}")
    return found


def clean(value: Any) -> str:
    """Text without halves of surrogate pairs, not too long."""
    return str("" if value is None else value).encode("utf8", "replace").decode()[:200]


def chip_named(words: Any) -> str:
    """Name in the catalogue of a chip that a driver or a file names; its own if there is none."""
    plain = re.sub(r"\s+", " ", clean(words)).strip()
    formless = re.sub(r"[-_ ](?:sxm\d?|nvl\d+|trt|atom)(?![a-z0-9])", "", plain, flags=re.IGNORECASE)  # its memory stays in the name
    for name in (plain, plain if "pcie" in plain.lower() else formless):
        with suppress(UnknownName):
            return catalogue.chip(name.replace("_", " ")).name
    return plain
