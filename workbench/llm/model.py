"""Language models as architectures: parameters, key-value cache and arithmetic that follow from their layers.

``catalogue.llm("DeepSeek-V3")`` returns an `LLM` of the catalogue; `read_hugging_face` reads one from a ``config.json``. Layers of the
main attention are said by dimensions, which may be arrays; what layers of other kinds need is their sum, `Transformer.other`.
Counts hold every weight matrix, the biases of query, key and value, two norms per layer and the final one. They leave out other biases,
norms inside attention, heads for multi-token prediction (`LLM.mtp_params`) and image encoders.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from textwrap import shorten
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from workbench.arrays import Arrays
from workbench.checks import NOT_NEGATIVE
from workbench.llm.mixing import Mixing
from workbench.llm.quantized import SIXTEEN, Quantization, of_format
from workbench.units import card, count, human


def _derived(meaning: str, formula: Callable[[Any], Any]) -> Any:
    """A quantity that follows from the dimensions, computed once."""
    found = cached_property(formula)
    found.__doc__ = meaning
    return found


NOTHING = Mixing()


@dataclass(frozen=True, kw_only=True, repr=False)
class Transformer(Arrays):
    """Dimensions of a decoder-only transformer: numbers of one, or arrays with a row per model. What does not apply is 0.

    Examples
    --------
    >>> plain = Transformer(layers=2, hidden=64, heads=4, kv_heads=2, head_dim=16, vocab=100, ffn=256)
    >>> plain.params
    136000
    """

    layers: Any
    hidden: Any  #: width of the residual stream
    heads: Any  #: of queries
    kv_heads: Any
    head_dim: Any  #: query-key width of a head; for MLA without plus with rotary
    vocab: Any
    ffn: Any = 0  #: inner width of a dense feed-forward layer; 0 if every layer is a mixture
    ffn_matrices: Any = 3  #: 3 gated, 2 plain
    q_lora_rank: Any = 0
    kv_lora_rank: Any = 0  #: above 0 for latent attention (MLA)
    qk_nope_head_dim: Any = 0
    qk_rope_head_dim: Any = 0
    v_head_dim: Any = 0  #: width of a head's values; 0 if it is that of its keys
    experts: Any = 0  #: routed experts a mixture layer; 0 for a dense model
    experts_per_token: Any = 0
    shared_experts: Any = 0
    moe_ffn: Any = 0  #: inner width of one routed expert
    shared_ffn: Any = 0  #: inner width of one shared expert
    moe_layers: Any = 0
    sliding_window: Any = 0  #: tokens
    sliding_layers: Any = 0
    tied_embeddings: Any = False
    attention_bias: Any = False
    sparse_tokens: Any = 0  #: that sparse attention selects
    sparse_layers: Any = 0  #: of the main attention that read no more
    moe_hidden: Any = 0  #: width that routed experts work in; 0 if it is that of the residual stream
    bare_layers: Any = 0  #: without a feed-forward part
    single_layers: Any = 0  #: of one part, attention or feed-forward, or with both side by side: one sum over tensor-parallel ranks
    embedding_width: Any = 0  #: of a row of the embedding; 0 if it is that of the residual stream
    lookups: Any = 0  #: parameters of more tables of which a token reads a row: learned positions, embeddings of each layer
    other: Mixing = NOTHING  #: layers without the main attention, and what else the dimensions do not say

    @staticmethod
    def stack(models: Sequence[Transformer]) -> Transformer:
        """Many models as one, a row each."""

        def rows(kind: type, records: list[Any]) -> dict[str, Any]:
            return {f.name: np.array([float(getattr(r, f.name)) for r in records]) for f in fields(kind) if f.name != "other"}

        return Transformer(**rows(Transformer, list(models)), other=Mixing(**rows(Mixing, [m.other for m in models])))

    value_dim = _derived("Width of a head's values.", lambda m: m.v_head_dim + (m.v_head_dim == 0) * m.head_dim)
    query = _derived("Width of all queries.", lambda m: m.heads * m.head_dim)
    value = _derived("Width of the result of attention, before its last product.", lambda m: m.heads * m.value_dim)
    key_value = _derived("Width of keys and values, latent 0.", lambda m: (m.kv_lora_rank == 0) * m.kv_heads * (m.head_dim + m.value_dim))
    latent = _derived("Width of compressed keys and values, or 0.", lambda m: (m.kv_lora_rank > 0) * (m.kv_lora_rank + m.qk_rope_head_dim))
    expanded = _derived("Width that these expand to, or 0.", lambda m: (m.kv_lora_rank > 0) * (m.heads * m.qk_nope_head_dim + m.value))
    main_layers = _derived("Layers of the main attention.", lambda m: m.layers - m.other.layers)
    main_share = _derived("Layers of the main attention over all.", lambda m: m.main_layers / m.layers)
    other_width = _derived("`other.weights` of a layer and unit of width.", lambda m: m.other.weights / (m.layers * m.hidden))
    parts = _derived("Parts of a layer, attention and feed-forward, in a row, in the mean.", lambda m: 2 - m.single_layers / m.layers)
    cached = _derived(
        "Numbers that a token adds to the key-value cache, all layers, inside every window.",
        lambda m: m.main_layers * (m.key_value + m.latent) + m.other.kept + m.other.kept_windowed,
    )
    shared_width = _derived("Inner width of all shared experts of a mixture layer.", lambda m: m.shared_experts * m.shared_ffn)
    moe_share = _derived("Mixtures of experts over all layers.", lambda m: m.moe_layers / m.layers)
    inner_width = _derived(
        "Inner width of the feed-forward layers that a token goes through, in the mean of the layers.",
        lambda m: m.dense_share * m.ffn + m.moe_share * (m.experts_per_token * m.moe_ffn + m.shared_width),
    )
    dense_share = _derived("Layers with a dense feed-forward part over all.", lambda m: 1 - m.moe_share - m.bare_layers / m.layers)
    expert_hidden = _derived("Width that routed experts work in.", lambda m: m.moe_hidden + (m.moe_hidden == 0) * m.hidden)

    @cached_property
    def attention_params(self) -> Any:
        """Weights of the attention of a layer."""
        to_query = (self.q_lora_rank == 0) * self.hidden * self.query + self.q_lora_rank * (self.hidden + self.query)
        to_keys = self.hidden * (self.key_value + self.latent) + self.kv_lora_rank * self.expanded
        return to_query + to_keys + self.value * self.hidden

    @cached_property
    def shared_params(self) -> Any:
        """Weights of all layers outside routed experts, norms and biases."""
        dense = (self.layers - self.moe_layers - self.bare_layers) * self._feed_forward(self.ffn)
        always_on = self.hidden * self.experts + self._feed_forward(self.shared_width)
        return self.main_layers * self.attention_params + self.other.weights + dense + self.moe_layers * always_on

    expert_params = _derived("Parameters of all routed experts of all layers.", lambda m: m.moe_layers * m.experts * m._expert)
    embedding_params = _derived(
        "Parameters of the input embedding, of which a token reads one row; also the head where they are tied.",
        lambda m: m.vocab * (m.embedding_width + (m.embedding_width == 0) * m.hidden),
    )
    non_embedding_params = _derived("Without embedding and head.", lambda m: m.shared_params + m.expert_params + m._vectors + m.lookups)
    params = _derived("All parameters.", lambda m: m.non_embedding_params + m.embedding_params * (2 - m.tied_embeddings))
    active_params = _derived(
        "Parameters without the experts that a token does not visit and `lookups`. Embedding and head are included.",
        lambda m: m.params - m.lookups - m.moe_layers * (m.experts - m.experts_per_token) * m._expert,
    )
    read_params = _derived(
        "Parameters that every token reads: all but routed experts and an embedding that is not the head too.",
        lambda m: m.params - m.lookups - m.expert_params - m._lookup,
    )
    used_params = _derived(
        "Parameters that a token is multiplied with or adds: active ones but an embedding that is not the head too.",
        lambda m: m.active_params - m._lookup,
    )

    def attended(self, context: Any) -> Any:
        """Tokens that a token attends to in a context, in the mean of the layers, of the arithmetic of the main attention."""
        if not np.any(self.sliding_layers) and not np.any(self.sparse_layers) and not np.any(self.other.layers + self.other.scores):
            return context
        return self.scores(context) / (self.layers * (self.query + self.value))

    def scores(self, context: Any, decode: bool = False) -> Any:
        """Multiply-adds of a token with those it attends to in a context, all layers.

        Latent attention expands keys and values in training and prefill; in decode its queries meet the latent vectors, as those do that
        select tokens, unless a context is so short that it takes less to meet all of it [DeepSeek-V3.2, 2.1].
        """
        windowed, selected = np.minimum(context, self.sliding_window), np.minimum(context, self.sparse_tokens)
        expanded = self.query + self.value
        latent = np.where(np.asarray(self.latent) > 0, 2.0 * self.heads * self.latent, expanded)
        chosen = latent * selected if decode else np.minimum(expanded * context, latent * selected)
        o = self.other
        return (latent if decode else expanded) * (self._main(context, windowed) - self.sparse_layers * context) + (
            self.sparse_layers * chosen + o.scores * context + o.scores_windowed * windowed + o.scores_selected * selected
        )

    def cache_kept(self, context: Any) -> Any:
        """Numbers that a sequence of so many tokens keeps in the cache, all layers: a sliding layer keeps at most its window."""
        windowed = np.minimum(context, self.sliding_window)
        main = (self.key_value + self.latent) * self._main(context, windowed)
        return main + self.other.kept * context + self.other.kept_windowed * windowed

    def cache_read(self, context: Any) -> Any:
        """Numbers of the cache that a token reads in a context, all layers: sparse attention reads what it selects."""
        windowed, selected = np.minimum(context, self.sliding_window), np.minimum(context, self.sparse_tokens)
        o, main = self.other, self._main(context, windowed) - self.sparse_layers * (context - selected)
        return (self.key_value + self.latent) * main + (o.read * context + o.read_windowed * windowed + o.read_selected * selected)

    def _main(self, context: Any, windowed: Any) -> Any:
        """Tokens of a context within reach of the main attention, summed over its layers."""
        return self.main_layers * context - self.sliding_layers * (context - windowed)

    @cached_property
    def weight_parts(self) -> dict[str, Any]:
        """Parameters by part, as formats treat them: embedding, head, attention, dense, shared, experts and the rest."""
        parts = {
            "embedding": self.embedding_params + self.lookups, "head": self._lookup,
            "attention": self.main_layers * self.attention_params + self.other.weights,
            "dense": (self.layers - self.moe_layers - self.bare_layers) * self._feed_forward(self.ffn),
            "shared": self.moe_layers * self._feed_forward(self.shared_width), "experts": self.expert_params,
        }  # fmt: skip
        return parts | {"rest": self.params - sum(parts.values())}

    def weight_memory(self, precision: str, quantization: Quantization | None = None) -> tuple[Any, Any]:
        """Memory of all but routed experts, which every attention rank holds, and of routed experts [B], with matrices in `precision`."""
        same = quantization is not None and quantization.name == precision
        bits = quantization.bits if same and quantization else of_format(precision).bits
        held = {part: n * bits.get(part, SIXTEEN) / 8 for part, n in self.weight_parts.items()}
        return sum(held.values()) - held["experts"], held["experts"]

    _lookup = _derived("Parameters of an embedding that is not the head too.", lambda m: (1 - m.tied_embeddings) * m.embedding_params)

    @cached_property
    def _vectors(self) -> Any:
        """Norm weights and attention biases, which take part in no matrix product."""
        bias = self.attention_bias * self.head_dim * (self.heads + 2 * self.kv_heads)
        return self.layers * (2 * self.hidden + bias) + self.hidden

    _expert = _derived("Parameters of one routed expert.", lambda m: m.ffn_matrices * m.expert_hidden * m.moe_ffn)

    def _feed_forward(self, width: Any) -> Any:
        return self.ffn_matrices * self.hidden * width


@dataclass(frozen=True, kw_only=True, repr=False)
class LLM(Transformer):
    """A model of the catalogue: a transformer with a name. Each field is the column of table ``llms`` of that name."""

    name: str
    attention: str  #: mha, gqa, mqa or mla; none without any
    context: int  #: tokens
    publisher: str | None = None
    release: str | None = None
    params_published: float | None = None
    active_published: float | None = None
    source: str | None = None
    note: str | None = None
    runs: tuple[tuple[int, str, str], ...] = ()  #: of equal layers: how many, how they mix tokens, their feed-forward part
    mtp_layers: int = 0  #: heads for multi-token prediction
    mtp_params: float = 0  #: of these heads, which `params` leaves out
    quantization: Quantization | None = None  #: formats of the weights in the file or by the name

    def __repr__(self) -> str:
        if any(np.ndim(getattr(self, f.name)) for f in fields(Transformer) if f.name != "other"):  # many at once
            return f"LLM({self.name})"
        shared = f" and {self.shared_experts} shared" if self.shared_experts else ""
        return card(
            f"{self.name}{f' ({self.publisher})' if self.publisher else ''}",
            parameters=count(self.params) + (f", {count(self.active_params)} active" if self.experts else ""),
            layers=f"{self.layers} of width {self.hidden:,}, {self.heads} heads, {self.attention} attention",
            kinds=", ".join(f"{n} {kind}" for kind, n in self.kinds().items()) if self.kinds().keys() - {"full", "latent"} else None,
            experts=f"{self.experts_per_token} of {self.experts}{shared} in {self.moe_layers} layers" if self.experts else None,
            context=f"{self.context:,} tokens, {human(self.kv_bytes_per_token(), 'B')} of bf16 cache per token",
            state=f"{human(self.other.state, 'B')} per sequence" if self.other.state else None,
            ahead=f"{self.mtp_layers} more tokens predicted by {count(self.mtp_params)} parameters beside" if self.mtp_params else None,
            weights=f"{human(self.weight_bytes(), 'B')} in {(q := self.quantization).name} ({q.said})" if self.quantization else None,
            source=shorten(self.source or "", 100, placeholder=" ..."),
        )

    def kinds(self) -> dict[str, int]:
        """Layers by how they mix tokens, those of a feed-forward part alone by that; nothing for a model known by its dimensions alone."""
        found: Counter[str] = Counter()
        for n, mixer, feed in self.runs:
            found[feed if mixer == "no mixer" else mixer] += n
        return dict(found)

    def weight_bytes(self, precision: str | None = None) -> float:
        """Memory of the weights [B]: in their own formats, 16-bit where they have none, or with the layers' matrices in `precision`.

        Scales and zero points are counted, embeddings, head, routers and norms stay in 16 bits unless the file says otherwise.

        Examples
        --------
        >>> from workbench import catalogue
        >>> round(catalogue.llm("Llama-3.1-70B").weight_bytes("fp8") / 1e9, 1)
        72.7
        """
        own = self.quantization
        return sum(self.weight_memory(precision or (own.name if own else "bf16"), own))

    def kv_bytes_per_token(self, bytes_per_element: ArrayLike = 2) -> Any:
        """Key-value cache that a token adds while it is inside every window [B].

        2 layers kv_heads head_dim bytes_per_element; MLA: layers (kv_lora_rank + qk_rope_head_dim) bytes_per_element [DeepSeek-AI (2024),
        DeepSeek-V2, table 1, arXiv:2405.04434]. A number in bf16 has 2 bytes, in fp8 1.

        Examples
        --------
        >>> from workbench import catalogue
        >>> int(catalogue.llm("DeepSeek-V3").kv_bytes_per_token(2))
        70272
        """
        return self.cached * NOT_NEGATIVE("bytes_per_element", bytes_per_element)

    def kv_bytes(self, context: ArrayLike, bytes_per_element: ArrayLike = 2) -> Any:
        """Key-value cache of a sequence of `context` tokens [B]; a sliding layer keeps at most its window. Arguments broadcast.

        Examples
        --------
        >>> from workbench import catalogue
        >>> catalogue.llm("Llama-3.1-8B").kv_bytes([1000, 2000]).tolist()
        [131072000.0, 262144000.0]
        """
        return self.cache_kept(NOT_NEGATIVE("context", context)) * NOT_NEGATIVE("bytes_per_element", bytes_per_element)

    def forward_flop_per_token(self, context: ArrayLike = 0) -> Any:
        """Arithmetic of a token that attends to `context` tokens in the forward pass, a multiply-add counted as 2 [FLOP].

        2 (active matrices without the embedding lookup, with the head) + 2 heads (head_dim + v_head_dim) context per layer: the products
        of the query with `context` keys and of the scores with as many values, 4 heads head_dim context where both widths agree [Chowdhery
        et al. (2022), PaLM, appendix B, arXiv:2204.02311]. Causal prefill of s tokens averages a context of s / 2. MLA is counted with
        keys and values expanded, as in training and prefill; a sliding layer attends to at most its window, sparse attention to what its
        indexer selects, and a layer of linear attention updates a state, whatever the context.

        Examples
        --------
        >>> from workbench import catalogue
        >>> gpt3 = catalogue.llm("GPT-3-175B")
        >>> round(float(gpt3.forward_flop_per_token(2048 / 2)) / gpt3.params, 2)  # 2 per parameter, and attention
        2.03
        """
        scores = self.scores(NOT_NEGATIVE("context", context)) + self.other.updates
        return 2 * (self.used_params - self._vectors) + 2 * scores
