"""Language models as architectures: parameters, key-value cache and arithmetic that follow from their dimensions.

``catalogue.llm("DeepSeek-V3")`` returns an `LLM` of the catalogue; `read_hugging_face` reads one from a ``config.json``.
Counts hold every weight matrix, the biases of query, key and value, two norms a layer and the final one. They leave out other biases,
norms inside attention, learned positions, multi-token-prediction layers and image encoders: below 1 % of any model of the catalogue.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import cache, cached_property
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from workbench.arrays import Arrays
from workbench.checks import NOT_NEGATIVE
from workbench.errors import InputError
from workbench.units import card, count, human


def _derived(meaning: str, formula: Callable[[Any], Any]) -> Any:
    """A quantity that follows from the dimensions, computed once."""
    found = cached_property(formula)
    found.__doc__ = meaning
    return found


@dataclass(frozen=True, kw_only=True, repr=False)
class Transformer(Arrays):
    """Dimensions of a decoder-only transformer: numbers of one, or arrays with a row a model. What does not apply is 0.

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

    @staticmethod
    def stack(models: Sequence[Transformer]) -> Transformer:
        """Many models as one, a row each."""
        return Transformer(**{f.name: np.array([float(getattr(m, f.name)) for m in models]) for f in fields(Transformer)})

    value_dim = _derived("Width of a head's values.", lambda m: m.v_head_dim + (m.v_head_dim == 0) * m.head_dim)
    query = _derived("Width of all queries.", lambda m: m.heads * m.head_dim)
    value = _derived("Width of the result of attention, before its last product.", lambda m: m.heads * m.value_dim)
    key_value = _derived(
        "Width of keys and values together; 0 with latent attention.", lambda m: (m.kv_lora_rank == 0) * 2 * m.kv_heads * m.head_dim
    )
    latent = _derived(
        "Width of latent attention's compressed keys and values with their rotary part, else 0.",
        lambda m: (m.kv_lora_rank > 0) * (m.kv_lora_rank + m.qk_rope_head_dim),
    )
    expanded = _derived(
        "Width that latent attention expands keys and values to, else 0.",
        lambda m: (m.kv_lora_rank > 0) * (m.heads * m.qk_nope_head_dim + m.value),
    )
    cached = _derived(
        "Numbers that a token adds to the key-value cache, all layers, inside every window.", lambda m: m.layers * (m.key_value + m.latent)
    )
    shared_width = _derived("Inner width of all shared experts of a mixture layer.", lambda m: m.shared_experts * m.shared_ffn)
    moe_share = _derived("Mixtures of experts over all layers.", lambda m: m.moe_layers / m.layers)
    inner_width = _derived(
        "Inner width of the feed-forward layers that a token goes through, in the mean of the layers.",
        lambda m: (1 - m.moe_share) * m.ffn + m.moe_share * (m.experts_per_token * m.moe_ffn + m.shared_width),
    )

    @cached_property
    def attention_params(self) -> Any:
        """Weights of the attention of a layer."""
        to_query = (self.q_lora_rank == 0) * self.hidden * self.query + self.q_lora_rank * (self.hidden + self.query)
        to_keys = self.hidden * (self.key_value + self.latent) + self.kv_lora_rank * self.expanded
        return to_query + to_keys + self.value * self.hidden

    @cached_property
    def shared_params(self) -> Any:
        """Weights of all layers outside routed experts, norms and biases."""
        dense = (self.layers - self.moe_layers) * self._feed_forward(self.ffn)
        always_on = self.hidden * self.experts + self._feed_forward(self.shared_width)
        return self.layers * self.attention_params + dense + self.moe_layers * always_on

    expert_params = _derived(
        "Parameters of all routed experts of all layers.", lambda m: m.moe_layers * m.experts * m._feed_forward(m.moe_ffn)
    )
    embedding_params = _derived(
        "Parameters of the input embedding, of which a token reads one row; also the head where they are tied.",
        lambda m: m.vocab * m.hidden,
    )
    non_embedding_params = _derived(
        "Parameters outside the input embedding and the head.", lambda m: m.shared_params + m.expert_params + m._vectors
    )
    params = _derived("All parameters.", lambda m: m.non_embedding_params + m.embedding_params * (2 - m.tied_embeddings))
    active_params = _derived(
        "Parameters without the experts that a token does not visit; of a dense model all. Embedding and head are included.",
        lambda m: m.params - m.moe_layers * (m.experts - m.experts_per_token) * m._feed_forward(m.moe_ffn),
    )
    read_params = _derived(
        "Parameters that every token reads: all but routed experts and an embedding that is not the head too.",
        lambda m: m.params - m.expert_params - m._lookup,
    )
    used_params = _derived(
        "Parameters that a token is multiplied with or adds: active ones but an embedding that is not the head too.",
        lambda m: m.active_params - m._lookup,
    )

    def attended(self, context: Any) -> Any:
        """Tokens that a token attends to in a context, in the mean of the layers: a sliding layer stops at its window."""
        if not np.any(self.sliding_layers):
            return context
        return context + self.sliding_layers / self.layers * (np.minimum(context, self.sliding_window) - context)

    _lookup = _derived("Parameters of an embedding that is not the head too.", lambda m: (1 - m.tied_embeddings) * m.embedding_params)

    @cached_property
    def _vectors(self) -> Any:
        """Norm weights and attention biases, which take part in no matrix product."""
        bias = self.attention_bias * self.head_dim * (self.heads + 2 * self.kv_heads)
        return self.layers * (2 * self.hidden + bias) + self.hidden

    def _feed_forward(self, width: Any) -> Any:
        return self.ffn_matrices * self.hidden * width


@dataclass(frozen=True, kw_only=True, repr=False)
class LLM(Transformer):
    """A model of the catalogue: a transformer with a name. Each field is the column of table ``llms`` of that name."""

    name: str
    attention: str  #: mha, gqa, mqa or mla
    context: int  #: tokens
    publisher: str | None = None
    release: str | None = None
    params_published: float | None = None
    active_published: float | None = None
    source: str | None = None
    note: str | None = None

    def __repr__(self) -> str:
        if any(map(np.ndim, vars(self).values())):  # many at once
            return f"LLM({self.name})"
        shared = f" and {self.shared_experts} shared" if self.shared_experts else ""
        return card(
            f"{self.name}{f' ({self.publisher})' if self.publisher else ''}",
            parameters=count(self.params) + (f", {count(self.active_params)} active" if self.experts else ""),
            layers=f"{self.layers} of width {self.hidden:,}, {self.heads} heads, {self.attention} attention",
            experts=f"{self.experts_per_token} of {self.experts}{shared} in {self.moe_layers} layers" if self.experts else None,
            context=f"{self.context:,} tokens, {human(self.kv_bytes_per_token(), 'B')} of bf16 cache per token",
            source=shorten(self.source or "", 100, placeholder=" ..."),
        )

    def kv_bytes_per_token(self, bytes_per_element: ArrayLike = 2) -> Any:
        """Key-value cache that a token adds while it is inside every window [B].

        2 layers kv_heads head_dim bytes_per_element; MLA: layers (kv_lora_rank + qk_rope_head_dim) bytes_per_element [1]_. A number in
        bf16 has 2 bytes, in fp8 1.

        Examples
        --------
        >>> from workbench import catalogue
        >>> int(catalogue.llm("DeepSeek-V3").kv_bytes_per_token(2))
        70272

        References
        ----------
        .. [1] DeepSeek-AI (2024), DeepSeek-V2, table 1, arXiv:2405.04434.
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
        return self.cached * self.attended(NOT_NEGATIVE("context", context)) * NOT_NEGATIVE("bytes_per_element", bytes_per_element)

    def forward_flop_per_token(self, context: ArrayLike = 0) -> Any:
        """Arithmetic of a token that attends to `context` tokens in the forward pass, a multiply-add counted as 2 [FLOP].

        2 (active matrices without the embedding lookup, with the head) + 2 heads (head_dim + v_head_dim) context a layer: the
        products of the query with `context` keys and of the scores with as many values, 4 heads head_dim context where both widths
        agree [1]_. Causal prefill of s tokens averages a context of s / 2. MLA is counted with keys and values expanded, as in
        training and prefill; a sliding layer attends to at most its window.

        Examples
        --------
        >>> from workbench import catalogue
        >>> gpt3 = catalogue.llm("GPT-3-175B")
        >>> round(float(gpt3.forward_flop_per_token(2048 / 2)) / gpt3.params, 2)  # 2 a parameter, and attention
        2.03

        References
        ----------
        .. [1] Chowdhery et al. (2022), PaLM, appendix B, arXiv:2204.02311.
        """
        scores = (self.query + self.value) * self.layers * self.attended(NOT_NEGATIVE("context", context))
        return 2 * (self.used_params - self._vectors) + 2 * scores


#: Supported values of `model_type`, with what they leave to the defaults of their class in Hugging Face transformers.
_TYPES: dict[str, dict[str, Any]] = {
    **{t: {} for t in ("llama", "mistral", "mixtral", "phi3", "phimoe", "qwen3", "qwen3_moe", "olmo2", "nemotron", "gptj", "minimax_m2")},
    **{t: {} for t in ("deepseek", "deepseek_v2", "deepseek_v3", "kimi_k2", "kimi_k25", "glm4_moe", "llama4_text")},
    **{t: {"attention_bias": True} for t in ("qwen2", "qwen2_moe", "gpt_oss", "gpt_neox", "phi")},
    **{t: {"tie_word_embeddings": True} for t in ("gemma", "gemma2", "cohere")},
    **{t: {"tie_word_embeddings": True, "attention_bias": True} for t in ("gpt2", "opt", "starcoder2")},
    "gemma3_text": {"tie_word_embeddings": True, "vocab_size": 262208, "max_position_embeddings": 131072, "head_dim": 256}
    | {"num_attention_heads": 8, "num_key_value_heads": 4},
}
_PLAIN_FFN = {"gpt2", "gptj", "gpt_neox", "opt", "phi", "starcoder2", "nemotron"}
_EXPERT_IS_FFN = {"mixtral", "phimoe", "minimax_m2", "gpt_oss", "llama4_text"}  #: intermediate_size is that of an expert
_ALL_SLIDE = {"mistral", "mixtral", "phi3", "phimoe", "starcoder2"}
_FULL_EVERY = {"gemma2": 2, "gpt_oss": 2, "gemma3_text": 6, "llama4_text": 4}  #: one layer in so many attends to everything


def read_hugging_face(path: str | Path) -> LLM:
    """The language model that a Hugging Face ``config.json`` describes; of a multimodal model the language part.

    `path` is the file or the folder that holds it. Chunked attention is taken as a sliding window as long as its chunk.

    Raises `InputError` for a file that is missing or no JSON object; for a field that is missing or wrong, naming path, field, value
    and what is allowed; for an architecture that `LLM` cannot express (linear or sparse attention, state-space layers).
    """
    file = Path(path) / "config.json" if Path(path).is_dir() else Path(path)
    try:
        kind, c = _parse(file)
    except InputError as error:
        raise InputError(f"{file}: {error}") from None
    kv_heads, mla = c.kv_heads or c.heads, c.kv_lora_rank is not None
    mixture = [c.experts > 0 and i >= c.first_dense and (i + 1) % c.moe_every == 0 and i not in c.mlp_only for i in range(c.layers)]
    moe_ffn = (c.ffn if kind in _EXPERT_IS_FFN else c.moe_ffn) if any(mixture) else 0
    if moe_ffn is None:
        raise InputError(f"{file}: moe_intermediate_size is missing; expected the inner width of one of {c.experts} experts")
    shared = (1 if kind == "llama4_text" or c.shared_ffn else c.shared_experts) if any(mixture) else 0
    if c.layer_types is not None:
        sliding = sum(t != "full_attention" for t in c.layer_types)
    elif kind in _FULL_EVERY:
        sliding = c.layers - c.layers // (c.full_every or _FULL_EVERY[kind])
    else:
        sliding = c.layers if kind in _ALL_SLIDE else 0
    slides = sliding > 0 and c.window is not None and c.window < c.context
    same = "layers hidden heads vocab context experts tied_embeddings attention_bias"
    latent = "q_lora_rank kv_lora_rank qk_nope_head_dim qk_rope_head_dim v_head_dim"
    return LLM(
        name=file.resolve().parent.name if file.name == "config.json" else file.stem,
        attention="mla" if mla else "mha" if kv_heads == c.heads else "mqa" if kv_heads == 1 else "gqa",
        **{field: value for field in (f"{same} {latent}" if mla else same).split() if (value := getattr(c, field)) is not None},
        kv_heads=kv_heads,
        head_dim=c.qk_nope_head_dim + c.qk_rope_head_dim if mla else c.head_dim or c.hidden // c.heads,
        ffn=0 if all(mixture) else c.dense_ffn or c.ffn,
        ffn_matrices=2 if kind in _PLAIN_FFN else 3,
        experts_per_token=c.experts_per_token if any(mixture) else 0,
        shared_experts=shared,
        moe_ffn=moe_ffn,
        shared_ffn=(c.shared_ffn or moe_ffn) if shared else 0,
        moe_layers=sum(mixture),
        sliding_window=c.window if slides else 0,
        sliding_layers=sliding if slides else 0,
        source=str(file),
    )


def _parse(file: Path) -> tuple[str, Any]:
    """`model_type` and checked fields of a config.json. Raises `InputError` with the reason, without the path."""
    from pydantic import ValidationError

    try:
        found = json.loads(file.read_text(encoding="utf8"))
    except FileNotFoundError:
        raise InputError("no such file; expected a Hugging Face config.json or the folder that holds one") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"not a readable JSON file: {error}") from None
    if not isinstance(found, dict):
        raise InputError(f"expected a JSON object, found {type(found).__name__}")
    if isinstance(found.get("text_config"), dict):
        found = {k: found[k] for k in ("model_type", "tie_word_embeddings") if k in found} | found["text_config"]
    kind = found.get("model_type")
    if not isinstance(kind, str) or kind not in _TYPES:
        raise InputError(f"model_type is {kind!r}; supported are {', '.join(sorted(_TYPES))}")
    try:
        return kind, _schema().model_validate(_TYPES[kind] | {k: v for k, v in found.items() if v is not None}, context=kind)
    except ValidationError as error:
        first = error.errors()[0]
        field, reason = ".".join(str(part) for part in first["loc"]), first["msg"].replace("Input should be", "expected")
        if first["type"] == "value_error":  # of the whole config: it names its fields
            raise InputError(reason.removeprefix("Value error, ")) from None
        wrong = "missing; expected a whole number" if first["type"] == "missing" else f"{repr(first['input'])[:60]}; {reason}"
        raise InputError(f"{field} is {wrong}") from None


@cache
def _schema() -> Any:
    """The fields of a config.json that `LLM` needs, under all their names. Built on first use, because pydantic loads slowly."""
    from typing import Literal

    from pydantic import AliasChoices, BaseModel, Field, ValidationInfo, model_validator

    def size(*names: str, low: int = 1, high: int = 10**9, default: Any = None) -> Any:
        return Field(default, validation_alias=AliasChoices(*names), ge=low, le=high)

    class Config(BaseModel, strict=True):
        layers: int = size("num_hidden_layers", "n_layer", high=10_000, default=...)
        hidden: int = size("hidden_size", "n_embd", default=...)
        heads: int = size("num_attention_heads", "n_head", default=...)
        vocab: int = size("vocab_size", default=...)
        context: int = size("max_position_embeddings", "n_positions", default=...)
        ffn: int | None = size("intermediate_size", "n_inner", "ffn_dim")
        kv_heads: int | None = size("num_key_value_heads")
        head_dim: int | None = size("head_dim")
        q_lora_rank: int | None = size("q_lora_rank")
        kv_lora_rank: int | None = size("kv_lora_rank")
        qk_nope_head_dim: int | None = size("qk_nope_head_dim")
        qk_rope_head_dim: int | None = size("qk_rope_head_dim")
        v_head_dim: int | None = size("v_head_dim")
        experts: int = size("num_local_experts", "n_routed_experts", "num_experts", low=0, default=0)
        experts_per_token: int = size("num_experts_per_tok", low=0, default=0)
        moe_ffn: int | None = size("moe_intermediate_size")
        shared_experts: int = size("n_shared_experts", low=0, default=0)
        shared_ffn: int = size("shared_expert_intermediate_size", low=0, default=0)
        dense_ffn: int | None = size("intermediate_size_mlp")
        first_dense: int = size("first_k_dense_replace", low=0, default=0)
        moe_every: int = size("interleave_moe_layer_step", "decoder_sparse_step", default=1)
        moe_layer_freq: Literal[1] = 1
        mlp_only: list[int] = Field([], validation_alias="mlp_only_layers")
        window: int | None = size("sliding_window", "attention_chunk_size")
        use_sliding_window: Literal[False] = False  # Qwen2: which layers slide then differs by release
        full_every: int | None = size("sliding_window_pattern", "_sliding_window_pattern")
        layer_types: list[Literal["full_attention", "sliding_attention", "chunked_attention"]] | None = None
        tied_embeddings: bool = Field(False, validation_alias="tie_word_embeddings")
        attention_bias: bool = Field(False, validation_alias=AliasChoices("use_bias", "enable_bias", "attention_bias"))

        @model_validator(mode="after")
        def consistent(self, info: ValidationInfo) -> Config:
            if self.ffn is None and info.context in ("gpt2", "gptj"):
                self.ffn = 4 * self.hidden
            latent = (self.qk_nope_head_dim, self.qk_rope_head_dim, self.v_head_dim)
            for wrong, reason in (
                (self.ffn is None, "intermediate_size is missing; expected a whole number above 0"),
                (self.heads % (self.kv_heads or 1), f"num_key_value_heads is {self.kv_heads}; expected a divisor of {self.heads} heads"),
                (
                    self.hidden % self.heads and not self.head_dim and not self.kv_lora_rank,
                    f"head_dim is missing; hidden_size {self.hidden} is no multiple of {self.heads} heads",
                ),
                (self.kv_lora_rank and None in latent, "kv_lora_rank needs qk_nope_head_dim, qk_rope_head_dim and v_head_dim"),
                (
                    not min(1, self.experts) <= self.experts_per_token <= self.experts,
                    f"num_experts_per_tok is {self.experts_per_token}; expected 1 to {self.experts} experts",
                ),
                (
                    self.layer_types and len(self.layer_types) != self.layers,
                    f"layer_types has {len(self.layer_types or ())} entries; expected one for each of {self.layers} layers",
                ),
            ):
                if wrong:
                    raise ValueError(reason)
            return self

    return Config
