"""Context parallelism: how ranks that split a sequence exchange keys and values. A new way is a row of `VARIANTS`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from workbench.chips.exchange import Exchange
from workbench.llm import Transformer


@dataclass(frozen=True)
class Variant:
    """A way to exchange keys and values."""

    #: Of a layer's forward pass [s]: model, fabric, tensor and context parallel degree, tokens of a rank.
    seconds: Callable[[Transformer, Exchange, Any, Any, Any], Any]
    hidden: bool  #: behind the attention to the pieces that are there already


def _ring(model: Transformer, exchange: Exchange, tp: Any, cp: Any, tokens: Any) -> Any:
    """Keys and values of all pieces come round."""
    keys = 2.0 * tokens * cp * (model.key_value + model.latent) / tp
    return exchange.seconds("all_gather", keys, cp, tp)


def _all_to_all(model: Transformer, exchange: Exchange, tp: Any, cp: Any, tokens: Any) -> Any:
    """Each rank gets some heads of the whole sequence, and gives their results back."""
    heads = 2.0 * tokens * (model.query + model.key_value + model.expanded) / tp
    return 2 * exchange.seconds("alltoall", heads, cp, tp)


VARIANTS = {"ring": Variant(_ring, hidden=True), "all-to-all": Variant(_all_to_all, hidden=False)}
