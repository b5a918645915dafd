"""What a replica is, what it is asked for, and why it cannot be."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from workbench import formats
from workbench.arrays import Array, first_true
from workbench.checks import COUNT, NOT_NEGATIVE, Rule, check_fields
from workbench.fabric import Cluster
from workbench.llm import LLM
from workbench.readers import requests

#: Why an operating point cannot be, in the order of the tests. 0 is one that can.
REASONS = (
    "", "more chips than the cluster has", "tp does not divide the attention heads",
    "the key-value heads are neither a multiple nor a divisor of tp", "pp is more than the layers", "beyond the context window",
    "weights and one request do not fit: see missing_bytes", "more requests arrive than are served: the queue is unstable",
)  # fmt: skip


@dataclass(frozen=True)
class ServingPlan:
    """How replicas are laid out: `tp` x `pp` x `attention_dp` chips hold the weights once; experts are spread over all of them.

    Examples
    --------
    >>> ServingPlan(tp=[1, 8], precision="nvfp4", attention_dp=4).chips.tolist()
    [4.0, 32.0]
    """

    tp: ArrayLike = 8  #: tensor parallel degree
    precision: str = "fp8"  #: of the weights
    kv_precision: str = "fp8"  #: of the key-value cache
    pp: ArrayLike = 1  #: pipeline stages
    attention_dp: ArrayLike = 1  #: groups that share the experts and split the sequences
    replicas: ArrayLike = 1  #: that share the load evenly

    def __post_init__(self) -> None:
        formats.named(self.precision, "weights")
        formats.named(self.kv_precision, "cache", "kv_precision")
        check_fields(self, tp=COUNT, pp=COUNT, attention_dp=COUNT, replicas=COUNT)

    @property
    def chips(self) -> Array:
        """Chips of all replicas."""
        return np.asarray(np.prod(np.broadcast_arrays(self.tp, self.pp, self.attention_dp, self.replicas), axis=0, dtype=float))


@dataclass(frozen=True)
class Load:
    """Demand on all replicas together: a closed loop with `concurrency`, or `rate` arrivals per second.

    Infinite concurrency serves as many as fit: the offline maximum.

    Examples
    --------
    >>> Load(concurrency=[1, 64], input_tokens=1024, output_tokens=256, prefix_hit_rate=1.5)
    Traceback (most recent call last):
    workbench.errors.InputError: prefix_hit_rate = 1.5: expected 0 or more and less than 1
    """

    concurrency: ArrayLike  #: requests in flight; at a rate the most there are, without a limit if 1
    input_tokens: ArrayLike
    output_tokens: ArrayLike
    prefix_hit_rate: ArrayLike = 0.0  #: of the input, found in a prefix cache
    rate: ArrayLike | None = None  #: requests per second
    draft_tokens: ArrayLike = 0  #: tokens drafted per step and verified in the next; 0 without speculative decoding
    #: Probability that a drafted token is accepted: a step gives (1 - a^(draft_tokens + 1)) / (1 - a) tokens [Leviathan, 2023], the field's
    #: acceptance length. If not given, those that were measured of the model count, or of all in the mean (``data/acceptance.csv``).
    acceptance_rate: ArrayLike | None = None
    draft_share: ArrayLike | None = None  #: time of drafting a token over that of a step; if not given of one layer and the head
    #: Of a run at the rate, the first of which finds an empty server; a steady state if not given. In a closed loop inf alone, which has no
    #: start: what medians tell; if not given the mean of runs as they are measured, where all users send their first request at once.
    requests: ArrayLike | None = None

    def __post_init__(self) -> None:
        rules = {"concurrency": Rule(least=1, infinite=True)}
        rules |= dict.fromkeys(("input_tokens", "output_tokens"), Rule(least=1)) | {"requests": Rule(least=1, infinite=True)}
        rules |= {"prefix_hit_rate": Rule(least=0, below=1), "rate": Rule(above=0, infinite=True), "draft_tokens": NOT_NEGATIVE}
        check_fields(self, **rules, acceptance_rate=rules["prefix_hit_rate"], draft_share=NOT_NEGATIVE)

    @classmethod
    def of_trace(cls, path: str | Path, **given: Any) -> Load:
        """The load of a trace of requests, as ``workbench read`` takes it: mean prompt and answer, at the mean rate of arrivals.

        Examples
        --------
        >>> from tempfile import NamedTemporaryFile
        >>> with NamedTemporaryFile("w", suffix=".csv") as file:
        ...     _ = file.write("time_s,input_tokens,output_tokens\\n0,900,90\\n1,1100,110\\n4,1000,100"), file.flush()
        ...     Load.of_trace(file.name).rate
        0.5
        """
        return cls(**{"concurrency": 1} | requests(path) | given)


def why_not(llm: LLM, cluster: Cluster, plan: ServingPlan, load: Load, missing: Any, others: Any = 0.0) -> Any:
    """Position in `REASONS` of the first rule that each point breaks, 0 where none; the queue is not tested here.

    `others` is chips of replicas beside these. Engines split heads evenly over tensor-parallel ranks, those of keys and values evenly or
    each over whole groups of ranks; with latent attention every rank holds the one cache. A pipeline's stages may be uneven.
    """
    tp = np.asarray(plan.tp, dtype=float)
    tests = (
        plan.chips + others > np.asarray(cluster.n_chips), llm.heads % tp != 0,
        (llm.kv_lora_rank == 0) & (llm.kv_heads % tp != 0) & (tp % llm.kv_heads != 0), np.asarray(plan.pp) > llm.layers,
        np.asarray(load.input_tokens) + np.asarray(load.output_tokens) > llm.context, missing > 0,
    )  # fmt: skip
    return first_true(tests)


def numbers_of(*parts: ServingPlan | Load) -> dict[str, Any]:
    """What of plan and load may be an array, by name."""
    return {f.name: value for x in parts for f in fields(x) if not isinstance(value := getattr(x, f.name), str | None)}
