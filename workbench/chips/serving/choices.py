"""What a frontier chooses among: layouts as they were published of such models on such chips, or all that engines run; and speculation."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from workbench import catalogue
from workbench.chips.serving.constants import INDEX
from workbench.chips.serving.plan import Load
from workbench.errors import UnknownName
from workbench.fabric import Cluster
from workbench.llm import LLM

Array = NDArray[np.float64]
_SIDE = re.compile(r"(\d+) x tp(\d+) pp(\d+) dp(\d+)")
#: Which of the replicas of a published layout are meant, of how many it has.
SIDES = {"aggregated": (0, 1), "prefill": (0, 2), "decode": (1, 2)}
#: Tokens drafted a step that are tried where acceptance was published of a model of the same family.
DRAFTS = (1, 3)


def published(llm: LLM, cluster: Cluster) -> list[list[tuple[float, ...]]]:
    """Layouts of the class: of models with experts, or without, on chips with links of their own, or without, in domains no larger.

    Each has one side, or prefill and decode: replicas, tp, pp, attention_dp.
    """
    kind, chip = "moe" if llm.experts else "dense", cluster.chip
    rows = catalogue.made_of(INDEX, _classes)
    return [sides for k, links, domain, sides in rows if (k, links) == (kind, bool(chip.scaleup_bandwidth)) and domain <= chip.near[0]]


def _classes(index: pl.DataFrame) -> list[tuple[str, bool, int, list[tuple[float, ...]]]]:
    found = []
    for kind, name, layout in index.select("kind", "chip", "layout").unique(maintain_order=True).iter_rows():
        try:
            chip = catalogue.chip(name)
        except UnknownName:  # of a user's own index
            continue
        sides = [tuple(map(float, side)) for side in _SIDE.findall(layout or "")]
        found.append((kind, bool(chip.scaleup_bandwidth), chip.near[0], sides))
    return found


def layouts(llm: LLM, cluster: Cluster, degrees: Any, what: str, within: str) -> tuple[Array, NDArray[np.bool_]]:
    """Of all combinations of tp, pp and attention_dp those that an engine runs, and whether the class has as many ranks of each, or more.

    Heads split evenly over ranks, and layers over stages; groups that split the sequences share experts, so that a dense model has one. A
    replica keeps to its scale-up domain unless it was published, or spreads experts alone (wide expert parallelism).
    """
    t, p, d = (x.ravel() for x in np.meshgrid(*(np.ravel(np.asarray(x, dtype=float)) for x in degrees), indexing="ij"))
    at, n = SIDES[what]
    most = np.array(sorted({sides[at][1:] for sides in published(llm, cluster) if len(sides) == n})).reshape(-1, 3)
    known = (np.stack([t, p, d], axis=-1)[:, None] <= most).all(axis=-1).any(axis=-1)
    chips, domain = t * p * d, cluster.chip.near[0]
    heads = (llm.heads % t == 0) & ((llm.kv_lora_rank > 0) | (llm.kv_heads % t == 0) | (t % llm.kv_heads == 0))
    runs = heads & (llm.layers % p == 0) & ((d == 1) | (llm.experts > 0)) & (chips <= np.max(cluster.n_chips))
    near = (t <= domain) & ((chips <= domain) | (t * p == 1)) & ((p == 1) | (d == 1))
    good = runs & (known if within == "measured" else near | known)
    return np.stack([t, p, d])[:, good], known[good]


def speculation(llm: LLM, load: Load, draft_tokens: Any) -> tuple[Array, Array]:
    """Tokens drafted a step that are tried, and the rate at which each stands: as published of the family, else as the load has it."""
    own = float(np.asarray(load.acceptance_rate))
    if draft_tokens is None and np.any(load.draft_tokens):
        return np.array([float(np.asarray(load.draft_tokens))]), np.array([own])
    family = catalogue.table("acceptance").filter(pl.col("model").str.split("-").list.first() == llm.name.split("-")[0])
    lengths = dict(family.group_by("draft_tokens").agg(pl.col("acceptance_length").mean()).iter_rows())
    tried = np.ravel(np.asarray([0, *(d for d in DRAFTS if d in lengths)] if draft_tokens is None else draft_tokens, dtype=float))
    a = np.linspace(0, 0.999, 1000)
    return tried, np.array([np.interp(lengths[d], (1 - a ** (d + 1)) / (1 - a), a) if d in lengths else own for d in tried])
