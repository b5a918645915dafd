"""How every picture looks: colours, type, sizes, and the title, subtitle and alt text that each one carries."""

import re
import textwrap
from functools import cache, partial
from typing import Any, TypeVar

import altair as alt
import polars as pl

from workbench.charts.render import render
from workbench.errors import InputError

#: Okabe and Ito's palette, told apart by readers with any kind of colour blindness (Color Universal Design, 2008).
BLUE, ORANGE, GREEN, VERMILLION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
SKY, PURPLE, BLACK = "#56B4E9", "#CC79A7", "#000000"
#: In place of the palette's yellow, which is not seen on white, and for chips beyond eight: of Paul Tol's muted scheme (2021).
OLIVE, WINE, INDIGO, GREY = "#999933", "#882255", "#332288", "#777777"
PALETTE = [BLUE, ORANGE, GREEN, VERMILLION, SKY, PURPLE, OLIVE, BLACK]
#: The same hues, dark enough for text on white: contrast 4.5 or more (WCAG 2.2, 1.4.3). Others are so themselves.
TEXTS = {ORANGE: "#9C6C00", GREEN: "#008460", VERMILLION: "#BF5400", SKY: "#3A7A9E", PURPLE: "#A15F83", OLIVE: "#787828", GREY: "#6B6B6B"}
#: What has the same colour in every picture: chips, and the work that they do.
OWN = {
    "A100": GREY, "H100": BLUE, "H200": SKY, "B200": ORANGE, "B300": WINE, "GB200": VERMILLION, "GB300": GREEN, "MI300X": PURPLE,
    "MI355X": INDIGO, "TPU": OLIVE, "frontier training": BLUE, "fine-tuning": SKY, "interactive inference": ORANGE,
    "batch inference": VERMILLION, "HPC": GREEN, "agents' tools": PURPLE,
}  # fmt: skip
INK, MUTED, HAIRLINE = "#1F2933", "#52606D", "#E4E7EB"

#: Families of the same widths: the first travels with vl-convert, so that pictures are the same everywhere; a browser has another.
FONT = '"Liberation Sans", Arial, Helvetica, sans-serif'
TITLE_SIZE, TEXT_SIZE = 17, 12
WIDTH = 680  #: px of a whole picture, axis labels included
TITLE_LINE, SUBTITLE_LINE = 70, 108  #: characters that fit into it
NAME = 28  #: characters per line of a name beside bars and lines

Chart = TypeVar("Chart", alt.LayerChart, alt.ConcatChart)


@alt.theme.register("workbench", enable=False)
def _theme() -> alt.theme.ThemeConfig:
    text: Any = {"labelFont": FONT, "titleFont": FONT, "labelFontSize": TEXT_SIZE, "titleFontSize": TEXT_SIZE}
    ink: Any = {"labelColor": INK, "titleColor": MUTED, "titleFontWeight": "normal"}
    lines: Any = {"gridColor": HAIRLINE, "domain": False, "domainColor": MUTED, "tickColor": MUTED}
    title: Any = {"font": FONT, "fontSize": TITLE_SIZE, "fontWeight": "bold", "color": INK, "lineHeight": TITLE_SIZE + 5}
    subtitle: Any = {"subtitleFont": FONT, "subtitleFontSize": TEXT_SIZE + 0.5, "subtitleColor": MUTED}
    subtitle |= {"subtitleLineHeight": TEXT_SIZE + 5, "subtitlePadding": 6}
    config: Any = {
        "background": "white", "font": FONT, "padding": {"left": 2, "right": 10, "top": 6, "bottom": 6},
        "view": {"stroke": None}, "range": {"category": PALETTE},
        "axis": {**text, **ink, **lines, "titlePadding": 10, "labelFlush": False},
        "legend": {**text, **ink, "orient": "top", "symbolType": "square", "offset": 8},
        "text": {"font": FONT, "fontSize": TEXT_SIZE, "color": INK},
        "title": {"anchor": "start", "frame": "bounds", **title, **subtitle, "offset": 14},
    }  # fmt: skip
    return {"config": config}


def enable() -> None:
    """Show Altair charts in this session in the workbench's theme, in JupyterLab without network and as pictures elsewhere.

    The functions of this package do it when first used; call it before other Altair charts, or to come back from another renderer.
    """
    alt.renderers.register("workbench", render)
    alt.renderers.enable("workbench")
    alt.theme.enable("workbench")


def colours(names: list[str], of: str) -> list[str]:
    """A colour for each of `names`: its own, or that of what it begins with, or else the palette's next. Raises as `color`."""
    if len(names) > len(PALETTE):
        raise InputError(f"{len(names)} {of}: a picture tells {len(PALETTE)} apart")
    taken: dict[str, str] = {}
    for name in names:
        own = OWN.get(name) or next((c for key, c in OWN.items() if name.startswith((f"{key} ", f"{key},"))), None)
        if own not in (None, *taken.values()):
            taken[name] = str(own)
    free = (c for c in [*PALETTE, WINE, INDIGO, GREY] if c not in taken.values())
    return [taken.get(name) or next(free) for name in names]


def color(field: str, names: list[str], of: str, **more: Any) -> alt.Color:
    """The colours of `names`. Raises `InputError` for more (of lines, parts) than a picture tells apart."""
    return alt.Color(f"{field}:N", **more).scale(domain=names, range=colours(names, of))


def inks(names: list[str], of: str) -> pl.Series:
    """The colours of `names` as texts have them, in a column of its own, which is drawn as it is."""
    return pl.Series("ink", [TEXTS.get(c, c) for c in colours(names, of)], dtype=pl.String)


INK_OF_ROW = alt.Color("ink:N", scale=None, legend=None)


def hovered(marks: alt.Chart, **encoded: Any) -> alt.Chart:
    """Points on the marks of a chart that show, with their values, where the pointer is nearest."""
    near = alt.selection_point(name="hover", nearest=True, on="pointerover", clear="pointerout", empty=False)
    shown = alt.OpacityValue(0, condition={"param": "hover", "empty": False, "value": 1})
    points = marks.mark_point(filled=True, size=60).encode(opacity=shown, **encoded)
    return points.properties(name="met").add_params(near)


def chosen(field: str) -> dict[str, Any]:
    """Opacity of parts, of which a click on the legend leaves one in full, and the selection that says which."""
    pick = alt.selection_point(name="chosen", fields=[field], bind="legend")
    return {"opacity": alt.OpacityValue(0.15, condition={"param": "chosen", "value": 1}), "pick": pick}


_enable_once = cache(enable)


def finish(chart: Chart, title: str, subtitle: str, said: str) -> Chart:
    """`chart` with its finding as title, wrapped to the width, its explanation as subtitle, and both it and what is `said` as alt text."""
    _enable_once()
    description = f"{title}. {said}"
    title, subtitle = (re.sub(r"(?<=\d) ?%", "\N{NO-BREAK SPACE}%", text) for text in (title, subtitle))
    wrap = partial(textwrap.wrap, break_on_hyphens=False)
    heading = alt.Title(text=wrap(title, TITLE_LINE), subtitle=wrap(subtitle, SUBTITLE_LINE))
    return chart.properties(title=heading, description=description)


def name(label: str) -> str:
    """`label` in lines short enough to fit beside bars and lines."""
    return "\n".join(textwrap.wrap(label, NAME)) or label


def pixels(text: str) -> float:
    """Width of `text` [px] in this font, estimated from three kinds of letters."""
    widths = (0.28 if c in " .,:;'|!()[]/ijlftI" else 0.72 if c.isupper() or c in "mw%" else 0.56 for c in text)
    return TEXT_SIZE * sum(widths)
