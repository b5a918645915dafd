"""Dimensions of a transformer as numbers or, for many models at once, arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from workbench.catalogue import LLM


@dataclass(frozen=True)
class Shape:
    """What the cost of a layer depends on. Where only some layers are mixtures, quantities are means over the layers."""

    layers: Any
    hidden: Any
    query: Any  #: width of all queries, heads x dim
    key_value: Any  #: width of keys and values together; 0 with latent attention
    value: Any  #: width of the attention's result
    heads: Any
    key_dim: Any
    value_dim: Any
    query_rank: Any  #: of latent attention, else 0
    latent: Any  #: compressed key-value width of latent attention, else 0
    rope: Any
    expanded: Any  #: width that latent attention expands keys and values to, else 0
    ffn: Any
    matrices: Any  #: of a feed-forward layer, 2 or 3
    vocab: Any
    tied: Any
    experts: Any
    topk: Any
    expert_ffn: Any
    shared_ffn: Any
    moe_share: Any  #: of the layers
    window: Any  #: of sliding layers, 0 without
    window_share: Any  #: of the layers

    @classmethod
    def of(cls, llm: LLM) -> Shape:
        """The shape of a model of the catalogue."""
        latent = llm.kv_lora_rank or 0
        value_dim = llm.v_head_dim or llm.head_dim
        return cls(
            layers=llm.layers,
            hidden=llm.hidden,
            query=llm.heads * llm.head_dim,
            key_value=0 if latent else 2 * llm.kv_heads * llm.head_dim,
            value=llm.heads * value_dim,
            heads=llm.heads,
            key_dim=llm.head_dim,
            value_dim=value_dim,
            query_rank=llm.q_lora_rank or 0,
            latent=latent,
            rope=(llm.qk_rope_head_dim or 0) if latent else 0,
            expanded=llm.heads * ((llm.qk_nope_head_dim or 0) + value_dim) if latent else 0,
            ffn=llm.ffn,
            matrices=llm.ffn_matrices,
            vocab=llm.vocab,
            tied=float(llm.tied_embeddings),
            experts=llm.experts,
            topk=llm.experts_per_token,
            expert_ffn=llm.moe_ffn,
            shared_ffn=llm.shared_experts * llm.shared_ffn,
            moe_share=llm.moe_layers / llm.layers,
            window=llm.sliding_window or 0,
            window_share=(llm.sliding_layers or 0) / llm.layers,
        )

    @classmethod
    def stack(cls, llms: Sequence[LLM]) -> Shape:
        """The shapes of many models, a row each."""
        shapes = {llm: cls.of(llm) for llm in dict.fromkeys(llms)}
        return cls(**{f.name: np.array([float(getattr(shapes[llm], f.name)) for llm in llms]) for f in fields(cls)})

    def context(self, sequence: Any) -> Any:
        """Tokens that a token attends to in the mean of a causal sequence and of the layers."""
        full = sequence / 2
        return (1 - self.window_share) * full + self.window_share * np.minimum(full, self.window)

    def products(self, tp: Any) -> list[tuple[Any, Any, Any]]:
        """Dense products of a layer as (share of the layers, columns n, inner k), split over `tp` chips; absent ones have a share of 0."""
        h, dense, compressed = self.hidden, 1 - self.moe_share, np.minimum(self.latent, 1)
        from_query = np.where(np.asarray(self.query_rank) > 0, self.query_rank, h)
        return [
            (1 - compressed, (self.query + self.key_value) / tp, h),
            (compressed * np.minimum(self.query_rank, 1), self.query_rank, h),
            (compressed, self.query / tp, from_query),
            (compressed, self.latent + self.rope, h),
            (compressed, self.expanded / tp, self.latent),
            (1.0, h, self.value / tp),
            (dense * np.minimum(self.ffn, 1), (self.matrices - 1) * self.ffn / tp, h),
            (dense * np.minimum(self.ffn, 1), h, self.ffn / tp),
            (self.moe_share * np.minimum(self.shared_ffn, 1), (self.matrices - 1) * self.shared_ffn / tp, h),
            (self.moe_share * np.minimum(self.shared_ffn, 1), h, self.shared_ffn / tp),
        ]

    @property
    def attention_params(self) -> Any:
        """Weights of a layer's attention."""
        h = self.hidden
        plain = h * (self.query + self.key_value)
        low_rank = np.where(np.asarray(self.query_rank) > 0, self.query_rank * (h + self.query), h * self.query)
        latent = low_rank + h * (self.latent + self.rope) + self.latent * self.expanded
        return np.where(np.asarray(self.latent) > 0, latent, plain) + h * self.value

    @property
    def shared_params(self) -> Any:
        """Weights of a layer outside its routed experts, in the mean of the layers."""
        always_on = self.hidden * self.experts + self.matrices * self.hidden * self.shared_ffn
        return self.attention_params + (1 - self.moe_share) * self.matrices * self.hidden * self.ffn + self.moe_share * always_on

    @property
    def expert_params(self) -> Any:
        """Weights of a layer's routed experts, in the mean of the layers."""
        return self.moe_share * self.experts * self.matrices * self.hidden * self.expert_ffn
