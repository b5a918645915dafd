"""How a chart leaves the kernel: interactive for JupyterLab, a picture for everything else, its alt text for plain text."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from typing import Any

#: What JupyterLab 4 draws by itself, without network. Altair 6 writes Vega-Lite 6; what the workbench uses of it is in 5 too.
MIME = "application/vnd.vegalite.v5+json"
SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json"
VERSION = "5.21"  #: Vega-Lite that draws our pictures and pages
SCALE = 2  #: pixels of the picture a CSS pixel, for sharp screens


def render(spec: dict[str, Any], **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """MIME bundle and metadata of a Vega-Lite specification: the same bytes on every run."""
    spec = {**spec, "$schema": SCHEMA}
    png = painter(spec)
    width, height = (pixels // SCALE for pixels in struct.unpack(">II", png[16:24]))  # from the PNG's header
    bundle = {MIME: spec, "image/png": png, "text/plain": alt_text(spec)}
    return bundle, {"image/png": {"width": width, "height": height}}


def paint(spec: dict[str, Any]) -> bytes:
    """A Vega-Lite specification as PNG."""
    import vl_convert

    return compact(vl_convert.vegalite_to_png(spec, vl_version=VERSION, scale=SCALE))


#: What paints the pictures; a warm kernel has them painted by a process whose V8 runs already.
painter: Callable[[dict[str, Any]], bytes] = paint


def compact(png: bytes) -> bytes:
    """The same picture in a quarter of the bytes: vl-convert writes for speed, while notebooks are kept and sent."""
    head, data, at = png[:8], b"", 8
    while at < len(png):
        length, kind = struct.unpack(">I4s", png[at : at + 8])
        body, at = png[at + 8 : at + 8 + length], at + 12 + length
        if kind == b"IDAT":
            data += body
        elif kind != b"IEND":
            head += _chunk(kind, body)
    return head + _chunk(b"IDAT", zlib.compress(zlib.decompress(data))) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def alt_text(spec: dict[str, Any]) -> str:
    """What the chart says in words: its description, or else its title."""
    title = spec.get("title", "")
    text = spec.get("description") or (title.get("text", "") if isinstance(title, dict) else title)
    return " ".join(text) if isinstance(text, list) else text or "chart"
