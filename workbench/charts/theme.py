"""How every picture looks: colours, type, sizes, and the title, subtitle and alt text that each one carries."""

from __future__ import annotations

import textwrap
from functools import cache
from typing import Any, TypeVar

import altair as alt

from workbench.charts.render import render
from workbench.errors import InputError

#: Okabe and Ito's palette, told apart by readers with any kind of colour blindness (Color Universal Design, 2008).
BLUE, ORANGE, GREEN, VERMILLION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
SKY, PURPLE, YELLOW, BLACK = "#56B4E9", "#CC79A7", "#F0E442", "#000000"
PALETTE = [BLUE, ORANGE, GREEN, VERMILLION, SKY, PURPLE, YELLOW, BLACK]
INK, MUTED, HAIRLINE = "#1F2933", "#52606D", "#E4E7EB"

#: Families of the same widths: the first travels with vl-convert, so that pictures are the same everywhere; a browser has another.
FONT = '"Liberation Sans", Arial, Helvetica, sans-serif'
TITLE_SIZE, TEXT_SIZE = 17, 12
WIDTH = 680  #: px of a whole picture, axis labels included
TITLE_LINE, SUBTITLE_LINE = 70, 108  #: characters that fit into it

Chart = TypeVar("Chart", alt.LayerChart, alt.ConcatChart)


@alt.theme.register("workbench", enable=False)
def _theme() -> alt.theme.ThemeConfig:
    text: Any = {"labelFont": FONT, "titleFont": FONT, "labelFontSize": TEXT_SIZE, "titleFontSize": TEXT_SIZE}
    ink: Any = {"labelColor": INK, "titleColor": MUTED, "titleFontWeight": "normal"}
    lines: Any = {"gridColor": HAIRLINE, "domain": False, "domainColor": MUTED, "tickColor": MUTED}
    return {
        "config": {
            "background": "white",
            "font": FONT,
            "padding": {"left": 2, "right": 10, "top": 6, "bottom": 6},
            "view": {"stroke": None},
            "range": {"category": PALETTE},
            "axis": {**text, **ink, **lines, "titlePadding": 10, "labelFlush": False},
            "legend": {**text, **ink, "orient": "top", "symbolType": "square", "offset": 8},
            "text": {"font": FONT, "fontSize": TEXT_SIZE, "color": INK},
            "title": {
                "anchor": "start",
                "frame": "bounds",
                "font": FONT,
                "fontSize": TITLE_SIZE,
                "fontWeight": "bold",
                "color": INK,
                "lineHeight": TITLE_SIZE + 5,
                "subtitleFont": FONT,
                "subtitleFontSize": TEXT_SIZE + 0.5,
                "subtitleColor": MUTED,
                "subtitleLineHeight": TEXT_SIZE + 5,
                "subtitlePadding": 6,
                "offset": 14,
            },
        }
    }


def enable() -> None:
    """Show Altair charts in this session in the workbench's theme, in JupyterLab without network and as pictures elsewhere.

    The functions of this package do it when first used; call it before other Altair charts, or to come back from another renderer.

    Examples
    --------
    >>> enable()
    """
    alt.renderers.register("workbench", render)
    alt.renderers.enable("workbench")
    alt.theme.enable("workbench")


def color(field: str, names: list[str], of: str, **more: Any) -> alt.Color:
    """A colour for each of `names`. Raises `InputError` for more (of lines, parts) than a picture tells apart."""
    if len(names) > len(PALETTE):
        raise InputError(f"{len(names)} {of}: a picture tells {len(PALETTE)} apart")
    return alt.Color(f"{field}:N", **more).scale(domain=names, range=PALETTE[: len(names)])


@cache
def _enable_once() -> None:
    enable()


def finish(chart: Chart, title: str, subtitle: str, said: str) -> Chart:
    """`chart` with its finding as title, wrapped to the width, its explanation as subtitle, and both it and what is `said` as alt text."""
    _enable_once()
    description = f"{title}. {said}"
    title, subtitle = (text.replace(" %", "\N{NO-BREAK SPACE}%") for text in (title, subtitle))
    heading = alt.Title(text=textwrap.wrap(title, TITLE_LINE), subtitle=textwrap.wrap(subtitle, SUBTITLE_LINE))
    return chart.properties(title=heading, description=description)
