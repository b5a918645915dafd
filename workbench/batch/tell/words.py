"""Names and numbers as a reader says them: a result's unit is in its name, as in ``usd_per_chip_hour`` or ``training_days``."""

from dataclasses import dataclass

from workbench.notebook.parameters import Parameter
from workbench.units import human, significant, usd

#: Words of a name that are units, as they are written.
UNITS = {
    **{"usd": "USD", "musd": "M USD", "s": "s", "ms": "ms", "us": "\N{GREEK SMALL LETTER MU}s", "seconds": "s", "h": "h", "pct": "%"},
    **{word: word for word in ("minutes", "hours", "days", "years", "chips", "tokens", "requests", "users", "watts", "joules", "tonnes")},
    **{"w": "W", "kw": "kW", "mw": "MW", "gw": "GW", "j": "J", "wh": "Wh", "kwh": "kWh", "mwh": "MWh", "gwh": "GWh", "twh": "TWh"},
    **{"gb": "GB", "tb": "TB", "gib": "GiB", "bytes": "B", "gbps": "Gbit/s", "kg": "kg", "t": "t"},
    **{"l": "l", "ml": "Ml", "c": "\N{DEGREE SIGN}C"},
    **{"flop": "FLOP", "flops": "FLOP/s", "tflops": "TFLOP/s", "pflops": "PFLOP/s", "eflops": "EFLOP/s"},
}  # fmt: skip
#: Words at the end of a name that say which value of a band it is.
WHICH = {"p5", "p10", "p25", "p50", "p75", "p90", "p95", "low", "high", "mean", "median", "min", "max"}
PREFIXED = ("FLOP", "FLOP/s", "W", "J", "B")  #: units that take a prefix as a letter before them: 3.69 EFLOP/s


@dataclass(frozen=True)
class Label:
    """What a column is called, and its unit."""

    text: str
    unit: str

    def __str__(self) -> str:
        """As an axis shows it."""
        return f"{self.text} [{self.unit}]" if self.unit and self.text != self.unit else self.text


def label(name: str, declared: Parameter | None = None) -> Label:
    """A result's label from its name, or a parameter's from its name and declaration."""
    words = name.lower().split("_") if name.islower() or "_" in name else [name]
    which = [words.pop()] if len(words) > 1 and words[-1] in WHICH else []
    if "per" in words[1:-1]:
        at = words.index("per", 1)
        head, top, below = words[: at - 1], words[at - 1], words[at + 1 :]
        top = UNITS.get(top, top)
        joint = "-" if len(below) == 2 and below[1] in ("hour", "day", "year") else " "
        bottom = joint.join(UNITS.get(word, word) for word in below)
        unit = f"{top}/{bottom}" if all(word in UNITS for word in below) else f"{top} per {bottom}"
    elif len(words) > 1 and words[-1] in UNITS:
        head, unit = words[:-1], UNITS[words[-1]]
    elif len(words) > 1 and words[0] in ("usd", "musd", "watts", "joules", "seconds"):
        head, unit = words[1:], UNITS[words[0]]
    else:
        head, unit = words, ""
    if declared is not None:
        unit = declared.shown_unit
    text = " ".join([*head, *which])
    return Label(text if head else " ".join([unit, *which]), unit)


def say(value: float, unit: str) -> str:
    """A number with its unit: ``$2.33 per chip-hour``, ``3.69 EFLOP/s``, ``119 days``."""
    if unit == "USD" or unit.startswith(("USD ", "USD/")):
        return f"{usd(value)}{' per ' if '/' in unit else ''}{unit[3:].removeprefix('/')}"
    if unit in PREFIXED:
        return human(value, unit)
    number = human(value) if abs(value) >= 1e5 else significant(value) if abs(value) >= 1e-4 or value == 0 else f"{value:.3g}"
    return f"{number} {unit}".rstrip()


def between(low: float, high: float, unit: str) -> tuple[str, str]:
    """Two numbers with their unit said once: ``$65.4 M``, ``$181 M per year``."""
    first, second = say(low, unit), say(high, unit)
    shared = f" {unit}" if unit and unit not in PREFIXED else ""
    if unit.startswith("USD"):
        shared = first[len(usd(low)) :]
    return first.removesuffix(shared), second


def duration(seconds: float) -> str:
    """Seconds as people say them: ``'48 s'``, ``'3.2 min'``, ``'5.1 h'``."""
    if seconds < 100:
        return f"{significant(seconds)} s"
    return f"{significant(seconds / 60, 2)} min" if seconds < 6000 else f"{significant(seconds / 3600, 2)} h"
