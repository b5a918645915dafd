"""Fields of a configuration under all the names that their classes give them, checked; and what each family fills by default."""

from __future__ import annotations

import json
from typing import Any

import polars as pl

from workbench import tables
from workbench.errors import InputError

#: Most layers of a model, and of anything else the most that is plausible.
MOST, HUGE = {"layers": 10_000, "num_layers_per_stack": 5_000}, 10**9
#: Experts of these families have an inner width of their own, which is never that of a dense layer.
OWN_WIDTH = ("qwen", "deepseek", "glm", "kimi", "bailing", "ernie", "gemma4")

#: Fields that hold fields of the model.
NESTED = ("ffn_config", "attn_config", "moe", "attention_other_setting", "linear_attn_config", "sparse_attention_config")


def names_in(kind: str) -> dict[str, tuple[str, ...]]:
    """Names in files by meaning: of what layers of a kind have otherwise, or of fields inside another."""
    return tables.made_of("file_fields", _names).get(f"llm {kind}".rstrip(), {})


def names_of(meaning: str) -> tuple[str, ...]:
    """Names of what is the same, the first that is there; a name means itself."""
    return names_in("").get(meaning, (meaning,))


def _names(frame: pl.DataFrame) -> dict[str, dict[str, tuple[str, ...]]]:
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for kind, field, pattern in frame.select("kind", "field", "pattern").iter_rows():
        fields = found.setdefault(kind, {})
        fields[field] = (*fields.get(field, ()), *pattern.replace("\\", "").split("|"))
    return found


def _classes(frame: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """Sizes that the class of a ``model_type`` fills: of a multimodal file the language part says what differs."""
    return {kind: json.loads(fields) for kind, fields in frame.select("model_type", "fields").iter_rows()}


def _families(frame: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """What the classes of a family leave out of its files or compute in their own way, by the beginning of ``model_type``."""
    found: dict[str, dict[str, Any]] = {}
    for name, field, value in frame.select("family", "field", "value").iter_rows():
        fields = found.setdefault(name, {})
        if field and value:
            fields[field] = {"true": True, "false": False}.get(value, int(value) if value.isdigit() else value)
    return found


class Fields:
    """A configuration, read by meaning. Raises `InputError` naming the field, its value and what is allowed."""

    def __init__(self, found: dict[str, Any]) -> None:
        given, self.nulls = {k: v for k, v in found.items() if v is not None}, {k: None for k, v in found.items() if v is None}
        for name in NESTED:
            if isinstance(inner := given.get(name), dict):
                known = {to: inner[n] for to, names in names_in(name).items() for n in names if n in inner} if names_in(name) else inner
                given = {k: v for k, v in known.items() if v is not None} | given
        self.kind = str(given.get("model_type", ""))
        families = tables.made_of("llm_families", _families)
        longest = max((name for name in families if self.kind.startswith(name)), key=len, default="")
        self.given, self.of_family = given, families.get(longest, {})
        filled = self.of_family | tables.made_of("llm_classes", _classes).get(self.kind, {})
        self.defaults = {k: v for k, v in filled.items() if found.get(k, v) is not None}  # null is what the file says
        if "kv_lora_rank" in given:  # a file that says its own, and by silence that queries are not compressed
            self.defaults.pop("q_lora_rank", None)

    def __contains__(self, name: str) -> bool:
        return name in self.given

    def get(self, name: str, default: Any = None) -> Any:
        """A field as it is, or as its class fills it."""
        return self.given.get(name, self.defaults.get(name, default))

    def flag(self, *names: str) -> bool:
        """Whether any of the fields is true."""
        values = {n: self.get(n, False) for n in [n for n in names if n in self.given] or names}
        if wrong := [f"{name} is {_short(value)}" for name, value in values.items() if not isinstance(value, bool)]:
            raise InputError(f"{wrong[0]}; expected true or false")
        return any(values.values())

    def has(self, meaning: str) -> bool:
        """Whether the file or its class says it, under any name."""
        return any(n in self.given or n in self.defaults for n in names_of(meaning))

    def size(self, meaning: str, default: Any = None, *, low: int = 1) -> Any:
        """A whole number by its meaning or name; without a default it must be there.

        Of a list with an entry for each layer the one that all have, of widths their mean, of heads the last.
        """
        names = names_of(meaning)
        name = next((n for said in (self.given, self.defaults) for n in names if n in said), None)
        if name is None:
            if default is None:
                raise InputError(f"{names[0]} is missing; expected a whole number")
            return default
        value = self.get(name)
        if isinstance(value, list) and value and meaning != "layers":
            for each in value:
                self._check(name, each, low, meaning)
            value = self.each(name, self.size("layers", len(value))) or value
            if meaning in ("ffn", "moe_ffn") or len(set(value)) == 1:
                mean = sum(value) / len(value)
                return int(mean) if mean == int(mean) else mean
            if meaning in ("heads", "kv_heads"):
                return value[-1]
            raise InputError(f"{name} is {_short(value)}; expected one number for all layers")
        self._check(name, value, low, meaning)
        return value

    def said(self, name: str) -> bool:
        """Whether the file or its class says it, and not that it is false or none."""
        return any(self.get(n) not in (False, 0, None) for n in names_of(name))

    def value(self, product: str, known: dict[str, Any]) -> Any:
        """A product as tables of layers write it: digits, what is `known`, fields, and after a colon what these are where nobody says."""
        found: Any = 1
        for word in product.split("*"):
            if "/" in word:
                word, _, below = word.partition("/")
                return found * self.value(word, known) / self.value(below, known)
            name, _, default = word.partition(":")
            if name.lstrip("-").isdigit() or name in known:
                found *= known[name] if name in known else int(name)
            elif default and (not self.has(name) or self.get(name) is False):
                found *= self.value(default, known)
            else:
                number = self.get(name)
                found *= factor(number, name) if isinstance(number, float) else number if number is True and default else self.size(name)
        return found

    def _check(self, name: str, value: Any, low: int, meaning: str) -> None:
        high = MOST.get(meaning, HUGE)
        if isinstance(value, bool) or not isinstance(value, int):
            raise InputError(f"{name} is {_short(value)}; expected a whole number")
        if not low <= value <= high:
            bound = f"less than or equal to {high}" if value > high else f"greater than or equal to {low}"
            raise InputError(f"{name} is {_short(value)}; expected {bound}")

    def each(self, name: str, layers: int, allowed: tuple[Any, ...] | None = None) -> list[Any] | None:
        """A list with an entry for each layer, or None where the field is no list; an entry more of each head is left out."""
        value = self.given.get(name)
        if not isinstance(value, list):
            return None
        if len(value) < layers or len(value) > layers + 16:
            raise InputError(f"{name} has {len(value)} entries; expected one for each of {layers} layers")
        for entry in value:
            if not isinstance(entry, str | int) or (allowed is not None and entry not in allowed):
                raise InputError(f"{name} holds {_short(entry)}; expected {', '.join(map(str, allowed or ('a number', 'a word')))}")
        return value[:layers]


def factor(value: Any, name: str) -> float:
    """A number that widths are multiplied with."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 100:
        raise InputError(f"{name} is {_short(value)}; expected a number above 0 and below 100")
    return value


def _short(value: Any) -> str:
    try:
        return repr(value)[:60]
    except ValueError:  # whole numbers of thousands of digits are not printed
        return f"{type(value).__name__!s} of many digits"
