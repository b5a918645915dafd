"""Latency and throughput of a replica: `serving`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench import catalogue, formats
from workbench.arrays import broadcast
from workbench.catalogue import Chip, Cost
from workbench.checks import POSITIVE, takes
from workbench.chips.machine import Machine
from workbench.chips.serving import constants as calibration
from workbench.chips.serving.constants import Origin
from workbench.chips.serving.loops import Array, Point, closed_loop, open_loop, percentiles
from workbench.chips.serving.plan import REASONS, Load, ServingPlan, numbers_of, why_not
from workbench.chips.serving.work import Demand
from workbench.errors import InputError
from workbench.fabric import Cluster
from workbench.llm import LLM


@dataclass(frozen=True, repr=False)
class Serving(Point):
    """Operating point of a replica; arrays broadcast over plan, load and chips. Where `feasible` is False, rates are 0 and times inf."""

    feasible: NDArray[np.bool_]  #: the layout can be, weights and one request fit, and arrivals can be served
    why: NDArray[np.int8]  #: position in `plan.REASONS` of the rule that is broken, 0 where none
    missing_bytes: Array  #: memory that lacks for the weights and one request, whole replica [B]
    tpot_low: Array  #: ends of the 80 % intervals [s]
    tpot_high: Array
    ttft_low: Array
    ttft_high: Array
    rate_low: Array  #: output tokens a second and chip
    rate_high: Array
    ttft_p99: Array | None = None  #: 99th percentiles in the open loop [s]; None in a closed one, of which the model says means alone
    tpot_p99: Array | None = None

    @property
    def reason(self) -> NDArray[np.str_]:
        """Why a point is not feasible, in words; empty where it is."""
        return np.array(REASONS)[self.why]


@takes(speed=POSITIVE)
def serving(
    llm: LLM | str | Path, cluster: Cluster, plan: ServingPlan, load: Load, *, framework: str = "", speed: ArrayLike = 1.0
) -> Serving:
    """Latency and throughput of a replica of `llm`.

    A decode step takes the longer of weights (experts that the batch touches) and arithmetic, 30 % of the shorter, the key-value cache,
    collectives over `workbench.fabric`, and overheads of layer, step and sequence [1]_. In a closed loop, others' prompts interrupt tokens.
    Raises `InputError` for a precision that the chip lacks, or a model with fewer experts than a token visits.

    Parameters
    ----------
    llm : LLM or str
        A model, its name in the catalogue, or the path of its ``config.json``.
    cluster : Cluster
        Its chip and fabric; the number of chips does not matter as long as a replica fits in. May be an array.
    plan : ServingPlan
    load : Load
    framework : str
        TensorRT-LLM, vLLM or SGLang; the mean of all if not given, with a wider interval.
    speed : array_like
        Of rates over what is predicted: 1, or a draw from its interval.

    Examples
    --------
    >>> h100 = Cluster(catalogue.chip("H100"), 8, "InfiniBand NDR")
    >>> found = serving("Llama-3.1-70B", h100, ServingPlan([1, 4], "bf16"), Load(64, 1024, 256))
    >>> [str(why).split(":")[0] for why in found.reason]
    ['weights and one request do not fit', '']
    >>> bool(found.tpot_low[1] < found.tpot[1] < found.tpot_high[1])
    True

    References
    ----------
    .. [1] Pope et al. (2023), "Efficiently Scaling Transformer Inference", sections 2 and 3.
    """
    llm = catalogue.llm(llm)
    broadcast(n_chips=cluster.n_chips, speed=speed, **numbers_of(plan, load))
    if llm.experts_per_token > llm.experts:
        raise InputError(f"{llm.name} sends a token to {llm.experts_per_token} experts and has {llm.experts}")
    origin = origin_of(llm, cluster.chip, plan.precision, framework)
    c, demand = calibration.constants(origin), demand_of(llm, cluster, plan, load)
    why = why_not(llm, cluster, plan, load, demand.missing_bytes)
    tails: dict[str, Array] = {}
    if load.rate is None:
        point = closed_loop(demand, c)
    else:
        asked = np.asarray(load.rate, dtype=float)
        point = open_loop(demand, c, asked)
        tails = dict(zip(("ttft_p99", "tpot_p99"), percentiles(demand, point, asked), strict=True))
        behind = point.tokens_per_second < 0.999 * asked * demand.output_tokens
        why = np.where((why == 0) & behind, np.int8(len(REASONS) - 1), why)
    can, v = why == 0, np.asarray(speed, dtype=float)
    times, rates = np.where(can, 1 / v, np.inf), np.where(can, v, 0.0)
    values = {
        "batch": np.where(can, point.batch, 0.0),
        "tokens_per_second": point.tokens_per_second * rates,
        "tokens_per_second_per_chip": point.tokens_per_second_per_chip * rates,
        **{name: getattr(point, name) * times for name in ("step", "prompt", "tpot", "ttft")},
        **{name: tail * times for name, tail in tails.items()},
    }
    bands = (("tpot", "tpot", "tpot_ms"), ("ttft", "ttft", "ttft_ms"), ("rate", "tokens_per_second_per_chip", "output_tok_s_per_gpu"))
    for band, name, quantity in bands:
        width = calibration.half_width(quantity, origin)
        values |= {f"{band}_low": values[name] * np.exp(-width), f"{band}_high": values[name] * np.exp(width)}
    values |= {"feasible": can, "why": why, "missing_bytes": demand.missing_bytes}
    return Serving(**dict(zip(values, np.broadcast_arrays(*values.values()), strict=True)))


def demand_of(llm: LLM, cluster: Cluster, plan: ServingPlan, load: Load) -> Demand:
    """What a replica is asked for, before any constant. Raises `InputError` for a format that the chip lacks."""
    return Demand.of(llm, Machine.of(cluster, formats.FORMATS[plan.precision]), plan, load)


def origin_of(llm: LLM, chip: Chip, precision: str, framework: str) -> Origin:
    """What the constants are looked up by."""
    number = formats.named(precision, "weights")
    return Origin(chip.name, number.weights, framework, model=calibration.measured_as(llm), mixture=bool(llm.experts))


def serving_speed(chip: Chip | str, precision: str, llm: LLM | str = "", framework: str = "") -> Cost:
    """Output tokens over what `serving` predicts: 1, with the 80 % interval of what was measured of such a system.

    Parameters
    ----------
    chip : Chip or str
    precision : str
        Of the weights.
    llm : LLM or str
        A model; one that is not in the catalogue counts as not measured.
    framework : str
        As `serving`.

    Examples
    --------
    >>> known, unknown = serving_speed("H100", "fp8", "Llama-3.1-70B"), serving_speed("Maia 100", "bf16")
    >>> known.high < unknown.high
    True
    """
    number = formats.named(precision, "weights")
    if isinstance(llm, LLM) or llm in catalogue.names("llms"):
        llm = calibration.measured_as(catalogue.llm(llm))
    origin = Origin(catalogue.chip(chip).name, number.weights, framework, model=llm)
    width = calibration.half_width("output_tok_s_per_gpu", origin)
    rows = sum(n for (level, _), n in calibration.shipped().rows.items() if level == "all")
    source = f"{rows:,} published operating points; workbench calibrate serving"
    meaning = "output tokens of a serving system over what is predicted"
    return Cost("serving_speed", 1.0, float(np.exp(-width)), float(np.exp(width)), "1", meaning, source, "80 % interval")
