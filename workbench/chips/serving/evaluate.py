"""Latency, throughput and power of replicas: `serving`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench import catalogue
from workbench.arrays import Array, broadcast
from workbench.calibration.evidence import Evidence
from workbench.checks import takes
from workbench.chips import watts
from workbench.chips.serving import nearby
from workbench.chips.serving.constants import Basis, basis
from workbench.chips.serving.loops import Point, offline, operate, percentiles
from workbench.chips.serving.plan import REASONS, Load, ServingPlan, numbers_of, why_not
from workbench.chips.serving.work import Demand, demand_of
from workbench.errors import InputError
from workbench.fabric import Cluster
from workbench.llm import LLM

NEAR_LIMIT = 0.5  #: of what is served at most, from which on what arrives is as in runs that measure that limit
#: What has an interval: its name, the name of its ends, and the measured quantity that left-out rows showed it of.
BANDS = (
    *(("tpot", "tpot", "tpot_ms"), ("ttft", "ttft", "ttft_ms"), ("tokens_per_second_per_chip", "rate", "output_tok_s_per_gpu")),
    *(("watts_per_chip", "watts", "power_w_per_gpu"), ("joules_per_token", "joules", "energy_j_per_out_token")),
    *(("ttft_p99", "ttft_p99", "ttft_p99_ms"), ("tpot_p99", "tpot_p99", "tpot_p99_ms"), ("prompt", "prompt", "output_tok_s_per_gpu")),
)


@dataclass(frozen=True, repr=False)
class Serving(Point):
    """Operating point of replicas; arrays broadcast over plan, load and chips. Where `feasible` is False, rates are 0 and times inf."""

    feasible: NDArray[np.bool_]  #: the layout is possible, weights and one request fit, and arrivals can be served
    why: NDArray[np.int8]  #: position in `plan.REASONS` of the rule that is broken, 0 where none
    missing_bytes: Array  #: memory missing for the weights and one request, whole replica [B]
    tpot_low: Array  #: low end of the 80 % interval of `tpot` [s]
    tpot_high: Array  #: high end of the 80 % interval of `tpot` [s]
    ttft_low: Array  #: low end of the 80 % interval of `ttft` [s]
    ttft_high: Array  #: high end of the 80 % interval of `ttft` [s]
    prompt_low: Array  #: low end of the 80 % interval of `prompt` [s]
    prompt_high: Array  #: high end of the 80 % interval of `prompt` [s]
    rate_low: Array  #: low end of the 80 % interval of `tokens_per_second_per_chip` [1/s]
    rate_high: Array  #: high end of the 80 % interval of `tokens_per_second_per_chip` [1/s]
    evidence: Evidence = field(repr=False)  #: the nearest measured rows, and how far away they are
    ttft_p99: Array | None = None  #: 99th percentiles in the open loop [s]; None in a closed one, of which the model says means alone
    ttft_p99_low: Array | None = None  #: low end of its 80 % interval [s]
    ttft_p99_high: Array | None = None  #: high end of its 80 % interval [s]
    tpot_p99: Array | None = None  #: as `ttft_p99` [s]
    tpot_p99_low: Array | None = None  #: low end of its 80 % interval [s]
    tpot_p99_high: Array | None = None  #: high end of its 80 % interval [s]
    watts_per_chip: Array | None = None  #: of the chip alone [W]; None where its TDP was not published
    watts_low: Array | None = None  #: low end of its 80 % interval [W]
    watts_high: Array | None = None  #: high end of its 80 % interval [W]
    joules_per_token: Array | None = None  #: of output, at the chips [J]
    joules_low: Array | None = None  #: low end of its 80 % interval [J]
    joules_high: Array | None = None  #: high end of its 80 % interval [J]

    @property
    def reason(self) -> NDArray[np.str_]:
        """Why a point is not feasible, in words; empty where it is."""
        return np.array(REASONS)[self.why]


@takes()
def serving(
    llm: LLM | str | Path, cluster: Cluster, plan: ServingPlan, load: Load, *, framework: str = "", version: str = "",
    prefill: ServingPlan | None = None,
) -> Serving:  # fmt: skip
    """Latency, throughput and power of replicas of `llm`.

    A decode step takes the longer of weights (experts that the batch touches) and arithmetic, 30 % of the shorter, the key-value cache,
    collectives over `workbench.fabric`, and overheads of layer, step and sequence [1]_. In a closed loop, others' prompts interrupt tokens.
    Constants are those of the measured system nearest to the arguments (of equally near ones with as many rows, to a factor of
    four, the newest); nearby rows of the same model, chip, format and framework shift its times. `evidence` shows both.
    Raises `InputError` for a precision that the chip lacks, or a model with fewer experts than a token visits.

    Parameters
    ----------
    llm : LLM or str
        A model, its name in the catalogue, or the path of its ``config.json``.
    cluster : Cluster
        Its chip and fabric; the number of chips does not matter as long as all replicas fit in. May be an array.
    plan, load : ServingPlan, Load
    framework : str
        TensorRT-LLM, vLLM, SGLang or ATOM; if not given that of the nearest measured system, with a wider interval.
    version : str
        Of the framework: for one that was not measured, the nearest; if not given, that of the nearest measured system.
    prefill : ServingPlan, optional
        Separate replicas for prompts (disaggregated serving); those of `plan` then decode.

    Examples
    --------
    >>> h100 = Cluster(catalogue.chip("H100"), 8, "InfiniBand NDR")
    >>> found = serving("Llama-3.1-70B", h100, ServingPlan([1, 4], "bf16"), Load(64, 1024, 256))
    >>> [str(why).split(":")[0] for why in found.reason]
    ['weights and one request do not fit', '']
    >>> bool(found.tpot_low[1] < found.tpot[1] < found.tpot_high[1])
    True
    >>> serving("Llama-3.1-70B", h100, ServingPlan(4), Load(64, 1024, 256), framework="vLLM").evidence.distance
    0.0

    References
    ----------
    .. [1] Pope et al. (2023), "Efficiently Scaling Transformer Inference", sections 2 and 3.
    """
    llm = catalogue.llm(llm)
    apart = {f"prefill.{name}": value for name, value in numbers_of(prefill).items()} if prefill else {}
    broadcast(n_chips=cluster.n_chips, **numbers_of(plan, load), **apart)
    if llm.experts_per_token > llm.experts:
        raise InputError(f"{llm.name} sends a token to {llm.experts_per_token} experts and has {llm.experts}")
    if prefill and load.rate is not None:
        raise InputError("rate and prefill: disaggregated serving is modelled at a concurrency, not at a rate; leave one out")
    if load.requests is not None and load.rate is None and np.any(np.isfinite(load.requests)):
        raise InputError("requests: they are those of a run with arrivals at a rate; give the rate, or a concurrency alone")
    demand, prompt = demand_of(llm, cluster, plan, load), demand_of(llm, cluster, prefill, load) if prefill else None
    near, c, end_of = _grounds((llm, cluster.chip.name, plan.precision, framework, version), load, prefill is not None, demand)
    why = why_not(llm, cluster, plan, load, demand.missing_bytes, prefill.chips if prefill else 0.0)
    if prefill and prompt:
        why = np.where(why == 0, why_not(llm, cluster, prefill, load, prompt.missing_bytes, plan.chips), why)

    def widest(quantity: str) -> Any:
        """End of an interval over its middle, farther where drafts or a domain's end add what is not known."""
        wide = [np.where(where, end_of(quantity, kind), 1.0) for kind, where in demand.kinds.items() if np.any(where)]
        return reduce(np.maximum, wide, end_of(quantity))

    point = operate(demand, prompt, c)
    tails: dict[str, Array] = {}
    if load.rate is not None:
        tails = dict(zip(("ttft_p99", "tpot_p99"), percentiles(demand, point, c), strict=True))
        room = widest("output_tok_s_per_gpu")  # what the model does not know of its capacity is no overload
        behind = point.tokens_per_second * room < 0.999 * np.asarray(load.rate, dtype=float) * demand.output_tokens
        why = np.where((why == 0) & behind & ~demand.limit & ~np.isfinite(demand.requests), np.int8(len(REASONS) - 1), why)
    can = why == 0
    times, rates = np.where(can, 1.0, np.inf), np.where(can, 1.0, 0.0)
    values = {
        "batch": np.where(can, point.batch, 0.0), "tokens_per_second": point.tokens_per_second * rates,
        "tokens_per_second_per_chip": point.tokens_per_second_per_chip * rates,
        **{name: getattr(point, name) * times for name in ("step", "prompt", "tpot", "ttft")},
        **{name: tail * times for name, tail in tails.items()},
    }  # fmt: skip
    if cluster.chip.tdp is not None:
        drawn = watts.drawn(cluster.chip, near.origin, *demand.used(point.batch, demand.half_way, point.tpot))
        values |= {"watts_per_chip": np.where(can, drawn, 0.0), "joules_per_token": drawn / point.tokens_per_second_per_chip * times}
    for name, band, quantity in BANDS:
        if name in values:
            end = widest(quantity)
            values |= {f"{band}_low": values[name] / end, f"{band}_high": values[name] * end}
    values |= {"feasible": can, "why": why, "missing_bytes": demand.missing_bytes}
    return Serving(evidence=near.evidence, **dict(zip(values, np.broadcast_arrays(*values.values()), strict=True)))


def _grounds(asked: Any, load: Load, apart: bool, demand: Demand) -> tuple[Basis, dict[str, Any], Callable[..., Any]]:
    """The nearest measured system, its constants, and ends of intervals.

    Without a limit to requests, of systems measured so. Arrivals were measured at their limit alone: where fewer arrive, times are those of
    a system that was measured in a closed loop. Evidence is one for a call: that of the limit.
    """
    endless = np.isinf(np.asarray(load.concurrency, dtype=float))
    mode = "disaggregated" if apart else "open" if load.rate is not None else "offline" if endless.all() else "closed"
    near, c = _near(asked, mode, demand)
    if mode == "open" and near.evidence.index.cell(near.evidence, "mode") == "open":
        other, theirs = _near(asked, "closed", demand)
        where = np.asarray(load.rate, dtype=float) * demand.output_tokens < NEAR_LIMIT * offline(demand, theirs).tokens_per_second
    elif mode == "closed" and endless.any():
        (other, theirs), where = _near(asked, "offline", demand), endless
    else:
        return near, c, near.end
    mixed = {name: np.where(where, theirs[name], value) for name, value in c.items()}
    return near, mixed, lambda *of: np.where(where, other.end(*of), near.end(*of))


def _near(asked: tuple[LLM, str, str, str, str], mode: str, demand: Demand) -> tuple[Basis, dict[str, Any]]:
    """The nearest system measured so, and its constants as rows near by shift them."""
    c = (near := basis(*asked, mode)).constants
    *logs, known = nearby.shifts(near.origin, mode, demand)
    c |= {name: c[name] * np.exp(log) for name, log in zip(nearby.LEFT, logs, strict=True)}
    return replace(near, evidence=replace(near.evidence, nearby=known), close=np.greater_equal(known, nearby.CLOSE)), c
