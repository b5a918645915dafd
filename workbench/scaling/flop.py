"""Training compute under each definition in use. Mixing them moves the exponent of a law by up to .13."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.arrays import broadcast
from workbench.checks import POSITIVE, takes
from workbench.errors import InputError
from workbench.llm import LLM

#: Definitions of training FLOP, and who uses them.
DEFINITIONS = {
    "6ND": "6 N D, N all parameters that a token uses, embeddings included (Hoffmann et al. 2022)",
    "6ND non-embedding": "6 N D, N without embedding and head (Kaplan et al. 2020)",
    "6ND with head": "6 N D, N with the head, without the embedding lookup (Porian et al. 2024)",
    "MD": "M D, M = 72 layers d^2 + 12 layers d sequence non-embedding FLOP per token (DeepSeek-AI 2024)",
    "attention": "6 N D with the head, plus attention over the sequence",
    "Hoffmann F": "term by term (Hoffmann et al. 2022, appendix F), embedding and logits left out, as its table A4 was computed",
}


@takes(tokens=POSITIVE, sequence=POSITIVE)
def training_flop(
    model: ArrayLike | LLM, tokens: ArrayLike, definition: str = "6ND", sequence: ArrayLike | None = None
) -> NDArray[np.float64]:
    """Training compute C: forward once, backward twice.

    Parameters
    ----------
    model : array_like or LLM
        Number of parameters that a token uses, which is enough for "6ND"; every other definition needs the architecture.
    tokens : array_like
        Training tokens D.
    definition : str
        One of `DEFINITIONS`.
    sequence : array_like, optional
        Tokens per sequence, for the definitions that count attention.

    Returns
    -------
    ndarray
        [FLOP], broadcast.

    Raises
    ------
    InputError
        For an architecture or a sequence that is missing.

    References
    ----------
    .. [1] Kaplan et al. (2020), section 2.1. .. [2] Hoffmann et al. (2022), appendix F. .. [3] DeepSeek-AI (2024), section 3.2.

    Examples
    --------
    >>> float(training_flop(405e9, 15.6e12))  # Llama 3.1 405B
    3.7908e+25
    """
    if definition not in DEFINITIONS:
        raise InputError(f"definition = {definition!r}: expected one of {', '.join(DEFINITIONS)}")
    if not isinstance(model, LLM):
        if definition != "6ND":
            raise InputError(f"{definition!r} counts by architecture: give an LLM, not a number of parameters")
        n = POSITIVE("model", model)
        broadcast(model=n, tokens=tokens)
        return np.asarray(6 * n * tokens)
    if sequence is None:
        if definition in ("MD", "attention", "Hoffmann F"):
            raise InputError(f"{definition!r} counts attention: give sequence, the tokens of one")
        sequence = 1
    return np.multiply(_per_token(model, definition, np.asarray(sequence, dtype=float)), tokens)


def _per_token(llm: LLM, definition: str, s: Any) -> Any:
    """Training FLOP per token."""
    lookup = 0 if llm.tied_embeddings else llm.embedding_params
    if definition == "6ND":
        return 6 * llm.active_params
    if definition == "6ND non-embedding":
        return 6 * (llm.active_params - llm.embedding_params - lookup)
    if definition == "6ND with head":
        return 6 * (llm.active_params - lookup)
    if definition == "MD":
        return 72 * llm.layers * llm.hidden**2 + 12 * llm.layers * llm.hidden * s
    if definition == "attention":
        return 3 * llm.forward_flop_per_token(s / 2)
    # appendix F: a layer's query, key and value; logits; softmax; values; output; feed-forward
    width = llm.heads * llm.head_dim
    attention = 2 * 3 * llm.hidden * width + 2 * s * width + 3 * llm.heads * s + 2 * s * width + 2 * width * llm.hidden
    return 3 * llm.layers * (attention + 2 * llm.ffn_matrices * llm.hidden * llm.ffn)
