"""Fields of a configuration under all the names that their classes give them, checked; and what each family fills by default."""

from __future__ import annotations

from typing import Any

import polars as pl

from workbench import tables
from workbench.errors import InputError

MOST, HUGE = {"layers": 10_000}, 10**9  #: most layers of a model; of anything else, the most that is plausible
#: Experts of these families have an inner width of their own, which is never that of a dense layer.
OWN_WIDTH = ("qwen", "deepseek", "glm", "kimi", "bailing", "ernie", "gemma4")


def names_of(meaning: str) -> tuple[str, ...]:
    """Names of what is the same, the first that is there; a name means itself."""
    return tables.made_of("file_fields", _names).get(("llm", meaning), (meaning,))


def kinds() -> dict[str, str]:
    """Kinds of layers by their names in files."""
    return {name: kind for (what, kind), names in tables.made_of("file_fields", _names).items() if what == "llm layer" for name in names}


def _names(frame: pl.DataFrame) -> dict[tuple[str, str], tuple[str, ...]]:
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for kind, field, pattern in frame.select("kind", "field", "pattern").iter_rows():
        found[kind, field] = (*found.get((kind, field), ()), *pattern.replace("\\", "").split("|"))
    return found


def family(kind: str) -> dict[str, Any]:
    """What the classes of a family leave out of its files or compute in their own way, by the longest beginning of ``model_type``."""
    begin, whole = tables.made_of("llm_families", _families).values()
    return begin.get(max((name for name in begin if kind.startswith(name)), key=len, default=""), {}) | whole.get(kind, {})


def _families(frame: pl.DataFrame) -> dict[str, dict[str, dict[str, Any]]]:
    """Fields by the beginning of a ``model_type``, and by the whole of it: of a multimodal file the language part says what differs."""
    found: dict[str, dict[str, dict[str, Any]]] = {"beginning": {}, "whole": {}}
    for name, match, field, value in frame.select("family", "match", "field", "value").iter_rows():
        fields = found[match].setdefault(name, {})
        if field and value:
            fields[field] = {"true": True, "false": False}.get(value, int(value) if value.isdigit() else value)
    return found


class Fields:
    """A configuration, read by meaning. Raises `InputError` naming the field, its value and what is allowed."""

    def __init__(self, found: dict[str, Any]) -> None:
        given = {k: v for k, v in found.items() if v is not None}
        for inner in (given.get(k) for k in ("ffn_config", "attn_config")):
            if isinstance(inner, dict):
                given = {k: v for k, v in inner.items() if v is not None} | given
        self.kind = str(given.get("model_type", ""))
        self.given = given
        self.defaults = {k: v for k, v in family(self.kind).items() if found.get(k, v) is not None}  # null is what the file says
        if "kv_lora_rank" in given:  # a file of the family that says its own, and by silence that queries are not compressed
            self.defaults = {k: v for k, v in self.defaults.items() if "lora" not in k}

    def __contains__(self, name: str) -> bool:
        return name in self.given

    def get(self, name: str, default: Any = None) -> Any:
        """A field as it is, or as its class fills it."""
        return self.given.get(name, self.defaults.get(name, default))

    def flag(self, *names: str) -> bool:
        """Whether any of the fields is true."""
        from_file = [n for n in names if n in self.given]
        values = {n: self.get(n, False) for n in from_file or names}
        for name, value in values.items():
            if not isinstance(value, bool):
                raise InputError(f"{name} is {_short(value)}; expected true or false")
        return any(values.values())

    def has(self, meaning: str) -> bool:
        """Whether the file or its class says it, under any name."""
        return any(n in self.given or n in self.defaults for n in names_of(meaning))

    def size(self, meaning: str, default: Any = None, *, low: int = 1) -> Any:
        """A whole number by its meaning or name: of a list with an entry for each layer the one that all have, of widths their mean.

        Without a default it must be there.
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
            if meaning in ("ffn", "moe_ffn") or len(set(value)) == 1:
                mean = sum(value) / len(value)
                return int(mean) if mean == int(mean) else mean
            raise InputError(f"{name} is {_short(value)}; expected one number for all layers")
        self._check(name, value, low, meaning)
        return value

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


def _short(value: Any) -> str:
    try:
        return repr(value)[:60]
    except ValueError:  # whole numbers of thousands of digits are not printed
        return f"{type(value).__name__!s} of many digits"
