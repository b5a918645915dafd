"""Training compute under each definition in use. Mixing them moves the exponent of a law by up to .13."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from workbench import catalogue
from workbench.arrays import Array, broadcast
from workbench.checks import POSITIVE, takes
from workbench.errors import InputError
from workbench.llm import LLM


def _appendix_f(llm: LLM, s: Any) -> Any:
    """A layer's query, key and value; logits; softmax; values; output; feed-forward."""
    width = llm.heads * llm.head_dim
    attention = 2 * 3 * llm.hidden * width + 2 * s * width + 3 * llm.heads * s + 2 * s * width + 2 * width * llm.hidden
    return 3 * llm.layers * (attention + 2 * llm.ffn_matrices * llm.hidden * llm.ffn)


#: Training FLOP per token of a model and a sequence, by each definition.
DEFINITIONS: dict[str, Callable[[LLM, Any], Any]] = {
    "6ND": lambda llm, s: 6 * llm.active_params,  # all parameters that a token uses, embeddings included (Hoffmann et al. 2022)
    "6ND non-embedding": lambda llm, s: 6 * (llm.used_params - llm.embedding_params),  # (Kaplan et al. 2020)
    "6ND with head": lambda llm, s: 6 * llm.used_params,  # without the embedding lookup (Porian et al. 2024)
    "MD": lambda llm, s: 72 * llm.layers * llm.hidden**2 + 12 * llm.layers * llm.hidden * s,  # non-embedding (DeepSeek-AI 2024)
    "attention": lambda llm, s: 3 * llm.forward_flop_per_token(s / 2),  # 6 N D with the head, plus attention over the sequence
    "Hoffmann F": _appendix_f,  # Hoffmann et al. 2022, embedding and logits left out, as its table A4 was computed
}


@takes(tokens=POSITIVE, sequence=POSITIVE)
def training_flop(
    model: ArrayLike | LLM | str | Path, tokens: ArrayLike, definition: str = "6ND", sequence: ArrayLike | None = None
) -> Array:
    """Training compute C [FLOP]: forward once, backward twice. Arrays broadcast.

    Raises `InputError` for an architecture or a sequence that is missing. [Kaplan et al. (2020), section 2.1; Hoffmann et al. (2022),
    appendix F; DeepSeek-AI (2024), section 3.2]

    Parameters
    ----------
    model : array_like, or LLM, its name or the path of its config.json
        Number of parameters that a token uses, which is enough for "6ND"; every other definition needs the architecture.
    tokens : array_like
        Training tokens D.
    definition : str
        One of `DEFINITIONS`.
    sequence : array_like, optional
        Tokens per sequence, for the definitions that count attention.

    Examples
    --------
    >>> float(training_flop(405e9, 15.6e12))  # Llama 3.1 405B
    3.7908e+25
    >>> round(float(training_flop("Llama-3.1-405B", 15.6e12, "attention", sequence=8192)) / 1e25, 2)
    3.94
    """
    if definition not in DEFINITIONS:
        raise InputError(f"definition = {definition!r}: expected one of {', '.join(DEFINITIONS)}")
    model = catalogue.llm(model) if isinstance(model, str | Path) else model
    if not isinstance(model, LLM):
        if definition != "6ND":
            raise InputError(f"{definition!r} counts by architecture: give an LLM, not a number of parameters")
        n = POSITIVE("model", model)
        broadcast(model=n, tokens=tokens)
        return np.asarray(6 * n * tokens)
    if sequence is None and definition in ("MD", "attention", "Hoffmann F"):
        raise InputError(f"{definition!r} counts attention: give sequence, the tokens of one")
    return np.multiply(DEFINITIONS[definition](model, np.asarray(1 if sequence is None else sequence, dtype=float)), tokens)
