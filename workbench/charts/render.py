"""How a chart leaves the kernel: interactive for JupyterLab, a picture for everything else, its alt text for plain text."""

import os
import struct
import tempfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

#: What JupyterLab 4 draws by itself, without network. Altair 6 writes Vega-Lite 6; what the workbench uses of it is in 5 too.
MIME = "application/vnd.vegalite.v5+json"
SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json"
VERSION = "5.21"  #: Vega-Lite that draws our pictures and pages
SCALE = 2  #: pixels of the picture a CSS pixel, for sharp screens

#: Where Linux keeps fonts, and the file names of the one that vl-convert brings along.
FONTS = ("/usr/share/fonts", "/usr/local/share/fonts", "~/.fonts", "~/.local/share/fonts")
BROUGHT_ALONG, SUFFIXES = "LiberationSans-", (".ttf", ".ttc", ".otf", ".otc")
SIGNATURE = b"\x89PNG\r\n\x1a\n"
#: A pixel in place of a picture: where a bundle has none JupyterLab paints one, and draws the chart again, without end if it is too wide.
BLANK = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAAC0lEQVR4nGNgAAIAAAUAAXpeqz8AAAAASUVORK5CYII="


def render(spec: dict[str, Any], **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """MIME bundle and metadata of a Vega-Lite specification: the same bytes on every run."""
    spec = {**spec, "$schema": SCHEMA}
    if painter is None:
        return {MIME: spec, "image/png": BLANK, "text/plain": alt_text(spec)}, {}
    png = painter(spec)
    width, height = (pixels // SCALE for pixels in struct.unpack(">II", png[16:24]))  # from the PNG's header
    return {MIME: spec, "image/png": png, "text/plain": alt_text(spec)}, {"image/png": {"width": width, "height": height}}


def paint(spec: dict[str, Any], scale: float = SCALE) -> bytes:
    """A Vega-Lite specification as PNG, `scale` pixels a CSS pixel."""
    import vl_convert

    _draw_with_own_font()
    return compact(vl_convert.vegalite_to_png(spec, vl_version=VERSION, scale=scale))


#: What paints the pictures: whoever has a process whose V8 runs already may have it do that. None: they leave with `BLANK`.
painter: Callable[[dict[str, Any]], bytes] | None = paint


@cache
def _draw_with_own_font() -> None:
    """Hide the installed copy of the font that vl-convert brings along.

    It would take the installed one, and open its file anew for every letter: half the time of a picture. Other fonts stay, for letters
    that this one lacks. What decides is read once, with the first picture.
    """
    import vl_convert

    if "FONTCONFIG_FILE" in os.environ:
        return
    with suppress(OSError), tempfile.TemporaryDirectory() as folder:
        files = (file for fonts in FONTS for file in sorted(Path(fonts).expanduser().rglob("*")) if file.suffix.lower() in SUFFIXES)
        for i, file in enumerate(file for file in files if not file.name.startswith(BROUGHT_ALONG)):
            (Path(folder) / f"{i}{file.suffix}").symlink_to(file)
        listed = Path(folder) / "fonts.conf"
        listed.write_text(f"<fontconfig><dir>{folder}</dir></fontconfig>")
        os.environ["FONTCONFIG_FILE"] = str(listed)
        try:
            vl_convert.svg_to_png("<svg xmlns='http://www.w3.org/2000/svg' width='1' height='1'/>")
        finally:
            os.environ.pop("FONTCONFIG_FILE", None)


def compact(png: bytes) -> bytes:
    """The same picture in a sixth of the bytes: vl-convert writes for speed, while notebooks are kept and sent."""
    chunks: dict[bytes, bytes] = {}
    at = len(SIGNATURE)
    while at < len(png):
        length, kind = struct.unpack(">I4s", png[at : at + 8])
        chunks[kind] = chunks.get(kind, b"") + png[at + 8 : at + 8 + length]
        at += 12 + length
    lines = zlib.decompress(chunks.pop(b"IDAT"))
    head, lines = _numbered(chunks[b"IHDR"], lines)
    chunks = head | {kind: body for kind, body in chunks.items() if kind not in head} | {b"IDAT": zlib.compress(lines)}
    chunks[b"IEND"] = chunks.pop(b"IEND")  # the last one
    checked = (kind + body for kind, body in chunks.items())
    return SIGNATURE + b"".join(struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in checked)


def _numbered(header: bytes, lines: bytes) -> tuple[dict[bytes, bytes], bytes]:
    """Header, table and lines of a picture whose colours are numbers into a table; as given if they are too many or it is another kind."""
    width, height, depth, kind = struct.unpack(">IIBB", header[:10])
    same, sub = ({b"IHDR": header}, lines), 1  # each byte is the difference from the pixel before: what vl-convert writes
    if (depth, kind) != (8, 6) or set(lines[:: 1 + 4 * width]) != {sub}:
        return same
    steps = np.frombuffer(lines, np.uint8).reshape(height, 1 + 4 * width)[:, 1:].reshape(height, width, 4)
    pixels = np.add.accumulate(steps, axis=1, dtype=np.uint8).view(np.uint32).ravel()
    starts = np.flatnonzero(np.r_[True, pixels[1:] != pixels[:-1]])  # of runs of one colour: they are few
    colours, numbers = np.unique(pixels[starts], return_inverse=True)
    if len(colours) > 256:
        return same
    numbered = np.zeros((height, 1 + width), np.uint8)  # a line starts with 0: no differences
    numbered[:, 1:] = np.repeat(numbers.astype(np.uint8), np.diff(starts, append=pixels.size)).reshape(height, width)
    table = colours.view(np.uint8).reshape(-1, 4)
    head = {b"IHDR": header[:8] + bytes([8, 3, 0, 0, 0]), b"PLTE": table[:, :3].tobytes()}
    if (table[:, 3] < 255).any():
        head[b"tRNS"] = table[:, 3].tobytes()
    return head, numbered.tobytes()


def alt_text(spec: dict[str, Any]) -> str:
    """What the chart says in words: its description, or else its title."""
    title = spec.get("title", "")
    text = spec.get("description") or (title.get("text", "") if isinstance(title, dict) else title)
    return " ".join(text) if isinstance(text, list) else text or "chart"
