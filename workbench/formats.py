"""Number formats: one row each, for every model that computes, stores or sends numbers in them.

A new format is a row of `FORMATS`; one that runs at a peak of its own has a column ``<peak>_tflops`` in ``data/chips.csv`` as well.
"""

from dataclasses import dataclass
from typing import Any

from workbench.errors import InputError


@dataclass(frozen=True)
class Format:
    """A number format: its size, the peak it runs at, and where it is used."""

    name: str
    bits: float  #: of a number, with its share of the scales of its block
    peak: str  #: the peak of a chip that its products run at; weights in four-bit integers are expanded, to sixteen bits where it can
    training: str = ""  #: name that its training steps were measured under; empty where products of training do not run in it
    weights: str = ""  #: the same of serving with weights in it
    cache: bool = False  #: whether a key-value cache may hold it
    #: Of a number of a token on its way to experts and back [B]: sent in eight bits, returned in sixteen; both in sixteen in wide formats.
    wire_bytes: float = 1.5

    @property
    def bytes(self) -> float:
        """Of a number in memory, with its share of the scales [B]."""
        return self.bits / 8


#: By name. Blocks of the OCP microscaling formats are 32 numbers with a scale of 8 bits, of NVFP4 16; ``fp4`` and the integers count none.
FORMATS = {
    f.name: f
    for f in (
        Format("fp32", 32, "fp32", weights="fp32", cache=True, wire_bytes=2.0),
        Format("bf16", 16, "bf16", training="bf16", weights="bf16", cache=True, wire_bytes=2.0),
        Format("fp16", 16, "bf16", training="bf16", weights="fp16", cache=True, wire_bytes=2.0),
        Format("fp8", 8, "fp8", training="fp8", weights="fp8", cache=True),
        Format("mxfp8", 8.25, "fp8", training="mxfp8", weights="fp8", cache=True),
        Format("mxfp6", 6.25, "fp8", weights="fp8"),
        Format("fp4", 4, "fp4", weights="fp4", cache=True),
        Format("mxfp4", 4.25, "fp4", weights="fp4", cache=True),
        Format("nvfp4", 4.5, "fp4", training="nvfp4", weights="fp4", cache=True),
        Format("int8", 8, "int8", training="int8", weights="int8", cache=True),
        Format("int4", 4, "bf16", weights="int4", cache=True),
    )
}
#: Peaks that a data sheet may print.
PEAKS = tuple(dict.fromkeys(("fp64", "fp64_matrix", "fp32", "tf32", *(f.peak for f in FORMATS.values()))))
#: Of these, floating-point products from wide to narrow: none is slower than the one before.
LADDER = tuple(p for p in PEAKS if p == "tf32" or any(f.peak == p and f.bits <= 16 and not p.startswith("int") for f in FORMATS.values()))


def names(use: str) -> tuple[str, ...]:
    """Formats for a use: training, weights or cache, the widest first."""
    return tuple(name for name, f in FORMATS.items() if getattr(f, use))


def named(name: Any, use: str, argument: str = "precision") -> Format:
    """The format `name`. Raises `InputError` naming the argument unless it is one for that use.

    Examples
    --------
    >>> named("nvfp4", "training").peak
    'fp4'
    >>> named("fp7", "training")
    Traceback (most recent call last):
    workbench.errors.InputError: precision = 'fp7': expected one of bf16, fp16, fp8, mxfp8, nvfp4, int8
    """
    choices = names(use)
    if not isinstance(name, str) or name not in choices:
        raise InputError(f"{argument} = {name!r}: expected one of {', '.join(choices)}")
    return FORMATS[name]


def peak_of(name: str) -> str:
    """Peak that a format runs at; a peak is its own. Raises `InputError` for neither."""
    if name not in FORMATS and name not in PEAKS:
        raise InputError(f"precision = {name!r}: expected one of {', '.join(dict.fromkeys((*FORMATS, *PEAKS)))}")
    return FORMATS[name].peak if name in FORMATS else name
