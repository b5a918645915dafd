# ruff: noqa: E501  (one formula a line)
"""Published counts of fabrics against `fabric.topology`, and the arithmetic of failures and bounds around them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import polars as pl

from workbench import catalogue, fabric
from workbench.errors import WorkbenchError
from workbench.fabric.topology import Topology
from workbench.units import GIGA, HOUR, TERA
from workbench.validation.report import Prediction

TEXT = ("group", "case", "inputs", "quantity", "unit", "source")
NUMBERS = ("expected",)
MEASURED = ("expected", "note")
NUMBER = r"\d[\d,]*\.?\d*(?:e\d+)?"


def predict(rows: pl.DataFrame) -> list[Prediction]:
    """The count of every row that follows from its inputs, or that nothing is computed there."""
    found = []
    for position, row in enumerate(rows.iter_rows(named=True)):
        try:
            value = _value(row)
        except WorkbenchError as error:
            found.append(Prediction(position, "expected", skipped=str(error)))
            continue
        reason = None if value is not None else f"a fact of {row['group']} stated by its source: nothing to compute"
        found.append(Prediction(position, "expected", value, skipped=reason))
    return found


def measured(row: dict[str, Any], prediction: Prediction) -> tuple[float | None, float | None]:
    """The published count, exact; shares and rates within half a unit of the digits printed."""
    expected = row["expected"]
    if expected is None:
        return None, None
    digits = len(f"{expected:.10g}".partition(".")[2])
    return expected, 0.0 if row["unit"] == "count" else 0.5001 * 10.0**-digits if digits < 6 else 1e-9 * abs(expected)


def _value(row: dict[str, Any]) -> float | None:
    words = {k: row[k] or "" for k in ("group", "case", "inputs", "quantity")}
    text = f"{words['case']}; {words['inputs']}"
    quantity = words["quantity"].lower()
    tree = _fat_tree(words["group"], text)
    if tree is not None and (count := _count(tree, quantity)) is not None:
        return count
    for group, asked, formula in _FORMULAS:
        if re.search(group, words["group"]) and re.search(asked, quantity):
            value = formula(words, text)
            return None if value is None else float(value)
    return None


def _number(pattern: str, text: str) -> float | None:
    match = re.search(pattern, text)
    return float(match[1].replace(",", "")) if match else None


def _fat_tree(group: str, text: str) -> Topology | None:
    """The fat tree that a row's words describe."""
    radix = _number(rf"(?:radix|switch) ({NUMBER}) x", text)
    port = _number(r"x (\d+)G", text)
    if "Q3400" in text and radix is None:
        radix, port = 144.0, 800.0
    if radix is None or port is None:
        return None
    rate = port / 8 * GIGA
    units, nodes, rails = (
        _number(r"SU=(\d+)", text),
        _number(r"(\d+) (?:slots|nodes)(?:/SU)? ?x \d+ rails", text),
        _number(r"x (\d+) rails", text),
    )
    if units and nodes and rails:
        return fabric.fat_tree(units * nodes * rails, radix, rate, group=nodes)
    chips = _number(rf"GPUs=({NUMBER})", text) or _number(rf"({NUMBER}) GPUs", text)
    planes = {"two": 2, "four": 4, "eight": 8}.get(match[1], 1) if (match := re.search(r"(two|four|eight) planes", text)) else 1
    return None if chips is None else fabric.fat_tree(chips, radix, rate, planes=planes)


def _count(tree: Topology, quantity: str) -> float | None:
    planes = float(tree.endpoint_cables / tree.endpoints) if tree.endpoints else 1.0
    if "800g" in quantity and "cables" in quantity:  # a cable of two 400G links counts once
        planes = 2.0
    named = {
        "leaf switches": tree.leaf, "leaf": tree.leaf, "spine switches": tree.spine, "spine": tree.spine, "core": tree.core, "core switches": tree.core,
        "spine-leaf cables": tree.leaf_cables, "leaf-spine cables": tree.leaf_cables, "node-leaf cables": tree.endpoint_cables, "spine-core cables": tree.spine_cables,
        "leaf-spine cables (800g)": tree.leaf_cables / planes, "node-leaf cables (800g)": tree.endpoint_cables / planes,
        "leaf + spine by the superpod rule": tree.switches,
    }  # fmt: skip
    return float(named[quantity]) if quantity in named else None


def _superpod_nodes(words: dict[str, str], text: str) -> float | None:
    """Nodes of whole units, less the slot that the management of the fabric takes where the case says so."""
    return _number(r"\((\d+) nodes", text)


def _torus_size(text: str) -> tuple[int, ...] | None:
    match = re.search(r"(\d+(?:x\d+)+)(?! cubes)", text)
    return tuple(int(d) for d in match[1].split("x")) if match else None


def _torus(words: dict[str, str], text: str) -> Any:
    size = _torus_size(text)
    rate = _number(rf"({NUMBER}) GB/s", text) or 1.0
    return None if size is None or "cubes" in text else fabric.torus(size, rate * GIGA)


def _chips_of_torus(words: dict[str, str], text: str) -> float | None:
    torus = _torus(words, text)
    return None if torus is None else float(torus.endpoints)


def _dragonfly(words: dict[str, str], text: str, what: str) -> float | None:
    found = {name: _number(rf"\b{name}=(\d+)", text) for name in "aph"}
    a, h = found["a"], found["h"]
    if a is None or h is None:
        return None
    net = fabric.dragonfly(int(a), int(found["p"] or h), int(h), 1.0)
    return a * h + 1 if what == "groups" else float(net.endpoints)


def _chip_hours(words: dict[str, str], text: str) -> float | None:
    """``16,384 GPUs x 54 d x 24 h / 35`` as a product and a quotient."""
    product, _, divisor = words["inputs"].partition("/")
    factors = [float(x.replace(",", "")) for x in re.findall(NUMBER, product)]
    result = 1.0
    for factor in factors:
        result *= factor
    count = _number(rf"({NUMBER})", divisor)
    return None if not factors or count is None else result / count


def _flap_hours(words: dict[str, str], text: str) -> float | None:
    seconds, chips = _number(rf"({NUMBER}) s x", text), _number(rf"s x ({NUMBER})", text)
    return None if seconds is None or chips is None else seconds * chips / HOUR


def _alltoall_bound(words: dict[str, str], text: str) -> float | None:
    n, rate = _number(r"n=(\d+)", words["quantity"].lower()), _number(rf"b=({NUMBER})", words["quantity"].lower())
    return None if n is None or rate is None else n / (n - 1) * rate


Formula = Callable[[dict[str, str], str], Any]
_FORMULAS: tuple[tuple[str, str, Formula], ...] = (
    (r"superpod-h100", r"^compute\+ufm cables", lambda w, t: None if (n := _superpod_nodes(w, t)) is None else n * 8 + 4),
    (r"superpod-h100", r"^gpus$", lambda w, t: None if (n := _superpod_nodes(w, t)) is None else n * 8),
    (r"superpod-b300-xdr", r"^gpus$", lambda w, t: None if (n := _superpod_nodes(w, t)) is None else n * 8),
    (r"superpod-gb200", r"nvlink5 links per gpu", lambda w, t: catalogue.table("links").filter(pl.col("link") == "NVLink 5")["lanes"][0]),
    (r"superpod-gb200", r"bidirectional nvlink tb/s per gpu", lambda w, t: 2 * (catalogue.link("NVLink 5").bandwidth or 0) / TERA),
    (r"superpod-gb200", r"^gpus at \d+ racks", lambda w, t: (_number(r"at (\d+) racks", w["quantity"]) or 0) * (catalogue.chip("GB200").scaleup_domain or 0)),
    (r"superpod-gb200", r"nvswitch chips per rack", lambda w, t: catalogue.table("links").filter(pl.col("link") == "NVSwitch NVL72")["lanes"][0]),
    (r"meta-24k", r"cross-pod", lambda w, t: (_number(r"(\d+)G per GPU", t) or 0) / 8 / (_number(r"(\d+):1", t) or 1)),
    (r"tpu-v4", r"optical circuit switches|ocs count", lambda w, t: fabric.optical_switches(64, side=int(_number(r"(\d+)x\d+x\d+ cubes", t) or 4))),
    (r"tpu-v\d", r"bisection", lambda w, t: None if (x := _torus(w, t)) is None else x.bisection / TERA),
    (r"tpu-v\d", r"^chips", _chips_of_torus),
    (r"fat-tree", r"hosts k\^2/2", lambda w, t: None if (k := _number(r"k=(\d+)", t)) is None else k * k / 2),
    (r"fat-tree", r"hosts k\^3/4", lambda w, t: None if (k := _number(r"k=(\d+)", t)) is None else k**3 / 4),
    (r"fat-tree", r"switches 5k\^2/4", lambda w, t: None if (k := _number(r"k=(\d+)", t)) is None else 5 * k * k / 4),
    (r"dragonfly", r"^groups", lambda w, t: _dragonfly(w, t, "groups")),
    (r"dragonfly", r"^hosts", lambda w, t: _dragonfly(w, t, "hosts")),
    (r"azure-gb300", r"^nvl72 racks", lambda w, t: None if (n := _number(rf"({NUMBER}) GPUs", t)) is None else fabric.Cluster(catalogue.chip("GB300"), n).n_domains),
    (r"azure-gb300", r"scale-out gb/s per gpu", lambda w, t: (catalogue.link("InfiniBand XDR").bandwidth or 0) * 8 / GIGA),
    (r"azure-gb300", r"nvlink tb/s per rack", lambda w, t: round(72 * 2 * (catalogue.link("NVLink 5").bandwidth or 0) / TERA, -1)),
    (r"reliability-llama3", r"gpu-hours per", _chip_hours),
    (r"reliability-llama3", r"hours between", _chip_hours),
    (r"reliability-flaps", r"gpu-hours per flap", _flap_hours),
    (r"collective-bounds", r"busbw bound", _alltoall_bound),
)  # fmt: skip
