"""Small and large models that share the work, and fine-tuned variants on shared or separate replicas."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench import catalogue
from workbench.arrays import Array, Arrays, broadcast
from workbench.checks import COUNT, NOT_NEGATIVE, POSITIVE, SHARE, takes
from workbench.chips.serving.evaluate import serving
from workbench.chips.serving.plan import Load, ServingPlan, numbers_of
from workbench.fabric import Cluster
from workbench.llm import LLM


@dataclass(frozen=True, repr=False)
class Routed(Arrays):
    """Cost and quality of a mix of a small and a large model; arrays broadcast."""

    small_share: Array  #: of requests that the small model answers in the end
    cost: Array  #: of a request, in the unit of the costs given
    quality: Array
    saved: Array  #: of the cost of asking the large model alone


@takes(
    **dict.fromkeys(("small_cost", "large_cost"), NOT_NEGATIVE),
    **dict.fromkeys(("small_quality", "large_quality", "share", "skill"), SHARE),
)
def routed(
    small_cost: ArrayLike, large_cost: ArrayLike, small_quality: ArrayLike, large_quality: ArrayLike, *, share: ArrayLike,
    skill: ArrayLike = 0.0, cascade: bool = False,
) -> Routed:  # fmt: skip
    """What a router that sends `share` of the requests to the small model costs, and how good it is.

    A router without skill sends requests at random: quality is the mean. One of full skill sends the small model those that it answers as
    well as the large one, as long as there are such. A cascade asks the small model first, always, and the large one again with the rest.

    cost = share small + (1 - share) large, of a cascade small + (1 - share) large, without that of the router's decisions

    Parameters
    ----------
    small_cost, large_cost : array_like
        Of a request [any unit].
    small_quality, large_quality : array_like
        Share of requests answered well, 0 to 1.
    share, skill : array_like
        Of requests for the small model, and of the router, 0 to 1.
    cascade : bool
        Ask the small model first.

    Examples
    --------
    >>> routed(1.0, 10.0, 0.6, 0.9, share=[0.0, 0.5], skill=1.0)
    Routed(small_share=[0, 0.5], cost=[10, 5.5], quality=[0.9, 0.9], saved=[0, 0.45])

    References
    ----------
    .. [1] Chen, Zaharia, Zou (2023), "FrugalGPT", arXiv:2305.05176. .. [2] Ong et al. (2024), "RouteLLM", arXiv:2406.18665.
    """
    given = (share, skill, small_quality, large_quality, small_cost, large_cost)
    s, k, low, high, cheap, costly = (np.asarray(x, dtype=float) for x in given)
    at_random = s * low + (1 - s) * high
    as_good = 1 - np.maximum(high - low, 0.0)  # requests on which the small model does no worse
    best = np.where(s <= as_good, np.maximum(high, low), np.maximum(high, low) - (s - as_good))
    quality = (1 - k) * at_random + k * np.maximum(best, at_random)
    cost = (cheap if cascade else s * cheap) + (1 - s) * costly
    with np.errstate(divide="ignore", invalid="ignore"):
        saved = np.where(costly > 0, 1 - cost / costly, 0.0)
    return Routed(*(np.asarray(x) for x in np.broadcast_arrays(s, cost, quality, saved)))


@dataclass(frozen=True, repr=False)
class Adapters(Arrays):
    """Chips for fine-tuned variants of a model, served from one set of weights or from one each; arrays broadcast."""

    shared: Array  #: chips, all variants on the same replicas
    separate: Array  #: chips, a replica or more for each variant
    slowdown: Array  #: of a token by its adapter
    fits: NDArray[np.bool_]  #: adapters and base model fit on a replica


@takes(variants=COUNT, rate=POSITIVE, rank=COUNT)
def adapters(
    llm: LLM | str | Path, cluster: Cluster, plan: ServingPlan, load: Load, *, variants: ArrayLike, rate: ArrayLike, rank: ArrayLike = 16,
    framework: str = "",
) -> Adapters:  # fmt: skip
    """Low-rank adapters on shared weights (multi-LoRA) against a replica for each fine-tuned variant.

    A low-rank adapter of rank r adds r (in + out) parameters to each of a layer's matrices; a step reads those of the variants in its batch
    and multiplies each sequence with its own [1]_. Served separately, every variant needs a replica, however few its requests.

    Parameters
    ----------
    llm, cluster, plan : LLM or str, Cluster, ServingPlan
        The base model or its name, and a replica of it.
    load : Load
        Concurrency of a replica at the target latency, and lengths of requests.
    variants, rate, rank : array_like
        Fine-tuned variants, requests per second of each, and rank of their adapters.

    Examples
    --------
    >>> h100, load = Cluster(catalogue.chip("H100"), 8, "InfiniBand NDR"), Load(64, 1024, 256)
    >>> found = adapters("Llama-3.1-8B", h100, ServingPlan(1), load, variants=[1, 100], rate=0.01)
    >>> found.shared.tolist(), found.separate.tolist()
    ([1.0, 1.0], [1.0, 100.0])

    References
    ----------
    .. [1] Sheng et al. (2023), "S-LoRA: Serving Thousands of Concurrent LoRA Adapters", arXiv:2311.03285.
    """
    llm = catalogue.llm(llm)
    n, asked, r = (np.asarray(x, dtype=float) for x in (variants, rate, rank))
    broadcast(n_chips=cluster.n_chips, **numbers_of(plan, load) | {"variants": n, "rate": asked, "rank": r})
    point = serving(llm, cluster, plan, load, framework=framework)
    requests = point.tokens_per_second / np.asarray(load.output_tokens, dtype=float)  # a second and replica
    kv = 2 * llm.kv_heads * llm.head_dim
    ends = (llm.hidden + llm.query) * 2 + (llm.hidden + kv) + llm.ffn_matrices * (llm.hidden + (llm.ffn or llm.moe_ffn))
    size = 2.0 * r * llm.layers * ends
    different = n * (1 - (1 - 1 / n) ** point.batch)  # variants that a batch holds
    read = different * size / plan.chips / cluster.chip.hbm_bandwidth
    slowdown = 1 + read / np.where(np.isfinite(point.step), point.step, 1.0)
    room = plan.chips * cluster.chip.hbm_bytes * 0.1
    with np.errstate(divide="ignore"):
        shared = np.ceil(np.round(n * asked * slowdown / requests, 9)) * plan.chips
        own = n * np.ceil(np.round(asked / requests, 9)) * plan.chips
    return Adapters(*np.broadcast_arrays(shared, own, slowdown, point.feasible & (different * size <= room)))
