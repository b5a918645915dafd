"""From executed notebooks to pages that work anywhere: one file each, charts interactive, nothing asked of the network."""

import os
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
import nbformat
from markupsafe import Markup

from workbench import __version__, catalogue, files, tables
from workbench.charts.render import MIME as VEGALITE
from workbench.charts.render import paint
from workbench.errors import InputError, refused
from workbench.notebook import surface
from workbench.notebook.runtime import RESULTS_MIME
from workbench.notebook.stored import Run, code_cells, declared_by, read, run_of, tags
from workbench.units import significant

TEMPLATES = Path(__file__).parent / "templates"
VEGALITE_VERSION = "6.1"  #: version of Vega-Lite that draws the charts of pages
#: Kinds of output from best to plainest. Scripts and widgets are left out: they want a kernel or the network.
SHOWN = [VEGALITE, "text/html", "text/markdown", "image/svg+xml", "image/png", "image/jpeg", "text/latex", "text/plain"]
#: Characters of an output that a page shows: text, and HTML, which may be a picture that comes with its scripts.
LONGEST, LONGEST_HTML = 200_000, 4_000_000
#: Outputs that a page does not show: records, and what wants a kernel.
LEFT_OUT = {RESULTS_MIME, "application/vnd.jupyter.widget-view+json"}
HEADING = re.compile(r"^#+ +(.+?)[ #]*$", re.MULTILINE)
#: The title of a page with the values of parameters and results, in a comment below the heading: ``<!-- title: What does {n:,} cost? -->``.
TITLE, FILLED = re.compile(r"<!-- *title: *(.+?) *-->"), re.compile(r"\{(\w+)(?::([^{}]*))?\}")
THUMBNAIL = 0.7  #: pixels of a gallery's picture per CSS pixel of the chart
PAPERMILL_ERROR = "papermill-error-cell-tag"  #: tag of the cells by which papermill says that a run stopped; a page says it in its own way


@dataclass(frozen=True)
class Value:
    """A parameter as a page shows it."""

    name: str
    value: str
    unit: str
    meaning: str
    default: str

    @property
    def changed(self) -> bool:
        return self.value != self.default


def publish(notebook: str | Path, html: str | Path, gallery: str = "") -> None:
    """Write the executed notebook as one HTML file that needs no network, with a link to the `gallery` that it is part of.

    The answer and the first picture are on top, the parameters and the code behind a click. Charts are interactive and fall back to their
    picture. Raises `InputError` for a notebook that is missing, unreadable or not executed, or a page that cannot be written.
    """
    from nbconvert import HTMLExporter
    from pygments.formatters import HtmlFormatter

    nb = read(notebook)
    nb.cells = [cell for cell in nb.cells if PAPERMILL_ERROR not in cell.metadata.get("tags", [])]
    run = run_of(nb, str(notebook), Path(str(notebook)).stem)
    baked = [output["data"][surface.MIME] for cell in code_cells(nb) for output in cell.outputs if surface.MIME in output.get("data", {})]
    nb.cells = [cell for cell in nb.cells if "surface" not in tags(cell)]
    for cell in code_cells(nb):
        cell.outputs = _cut([output for output in cell.outputs if not LEFT_OUT & output.get("data", {}).keys()])
    outputs = [output for cell in code_cells(nb) for output in cell.outputs]
    raised = [f"{output.ename}: {output.evalue}"[:1000] for output in outputs if output.output_type == "error"]
    died = nb.metadata.get("workbench", {}).get("error")
    dark = f"@media screen and (prefers-color-scheme: dark) {{{HtmlFormatter(style='github-dark').get_style_defs('.highlight')}}}"
    page = {
        "title": title(nb, notebook, run.parameters | run.results), "errors": raised or [str(died)] * bool(died),
        "style": asset("style.css") + HtmlFormatter(style="xcode").get_style_defs(".highlight") + dark,
        **{"parameters": _parameters(nb), "sources": _sources(nb, run), "made": _made(nb)}, "surface": baked[-1] if baked else None,
        "script": asset("page.js") + (asset("sliders.js") if baked else ""),
        **{"notebook": link(notebook, html), "vegalite": VEGALITE, "version": __version__, "gallery": gallery, "name": run.name},
        "bundle": bundle("draw.js") if any(VEGALITE in output.get("data", {}) for output in outputs) else "",
    }  # fmt: skip
    _answer_first(nb)
    exporter = HTMLExporter(
        extra_template_paths=[str(TEMPLATES)], template_file="page.html.j2", filters={"aligned": aligned, "readable": _readable},
        exclude_anchor_links=True, embed_images=True,
    )  # fmt: skip
    exporter.config.NbConvertBase.display_data_priority = SHOWN
    resources = {"page": page, "metadata": {"path": str(Path(notebook).parent)}}
    with refused(f"{notebook}: cannot be shown", (Exception,)):  # nbconvert raises whatever an odd output makes it stumble over
        text = exporter.from_notebook_node(nb, resources)[0]
    files.write(html, text)


def _answer_first(nb: nbformat.NotebookNode) -> None:
    """Move what the cell tagged ``headline`` and the first picture show to the top, before a mark; the heading is the title."""
    cells, top = code_cells(nb), []
    answer = next((c for c in cells if "headline" in tags(c)), None)
    picture = next((c for c in cells if any({VEGALITE, "image/png"} & o.get("data", {}).keys() for o in c.outputs)), None)
    for cell, name in ((answer, "headline"), (picture, "picture")):
        if cell is not None and cell.outputs:
            top.append(deepcopy(cell))
            top[-1].source, cell.outputs, cell.metadata["moved"] = "", [], name
    for cell in nb.cells:
        if cell.cell_type == "markdown" and HEADING.search(cell.source):
            cell.source = HEADING.sub("", cell.source, count=1)
            break
    nb.cells, nb.nbformat_minor = [*top, nbformat.v4.new_raw_cell(), *nb.cells], max(5, nb.nbformat_minor)
    for number, cell in enumerate(nb.cells):
        cell["id"] = f"c{number}"


def index(runs: Iterable[Run], html: str | Path, since: Mapping[str, str] = {}) -> None:
    """Write the page of the runs: question, answer, picture, parameters, how each ended, what moved `since`. Raises as `publish`."""
    files.write(html, rendered("index.html.j2", cards=[_card(run, html) | {"since": since.get(run.name)} for run in runs]))


def rendered(template: str, **values: Any) -> str:
    """A template filled with values, the style of pages and the version."""
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True)
    environment.filters["aligned"], environment.filters["digits"] = aligned, lambda number: significant(number, 4)
    return environment.get_template(template).render(style=Markup(asset("style.css")), version=__version__, **values)


def _card(run: Run, html: str | Path) -> dict[str, Any]:
    nb = read(run.notebook)
    values = _parameters(nb)
    bundles = (output.get("data", {}) for cell in code_cells(nb) for output in cell.outputs)
    picture: dict[str, Any] = next((data for data in bundles if {VEGALITE, "image/png"} & data.keys()), {})
    thumbnail = picture.get("image/png", "")
    if spec := picture.get(VEGALITE):  # smaller, and without the title, whose letters would be too small
        thumbnail = b64encode(paint({name: part for name, part in spec.items() if name != "title"}, THUMBNAIL)).decode()
    return {
        "name": run.name, "question": title(nb, run.notebook, run.parameters | run.results), "headline": run.headline,
        "thumbnail": thumbnail, "alt": picture.get("text/plain", ""), "link": link(run.page, html), "error": run.error,
        "parameters": values, "changed": ", ".join(f"{v.name} = {v.value}" for v in values if v.changed),
    }  # fmt: skip


def _cut(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """The outputs of a cell without what is too long for a page, and with a word of it."""
    kept, room = [], dict.fromkeys((output.get("name") for output in outputs), LONGEST)  # what is printed comes in pieces
    for output in outputs:
        data = output.get("data", {})
        if output.output_type == "stream":
            there, room[output.name] = max(0, room[output.name]), room[output.name] - len(output.text)
            output.text = output.text[:there]
        elif output.output_type == "error":
            output.traceback = [_short("\n".join(output.traceback))]
        for kind in data.keys() & {"text/plain", "text/markdown", "text/latex"}:
            data[kind] = _short(data[kind])
        if len(data.get("text/html", "")) > LONGEST_HTML:
            data["text/html"] = f"<p>{_left_out(len(data['text/html']))}</p>"
        kept += [] if output.get("text") == "" else [output]
    return kept + [nbformat.v4.new_output("stream", name=name, text=_left_out(-left)) for name, left in room.items() if left < 0]


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}\n{_left_out(len(text) - LONGEST)}"


def _left_out(n: int) -> str:
    return f"[{n:,} more characters are left out here; the notebook has them]"


def title(nb: nbformat.NotebookNode, path: str | Path, values: Mapping[str, Any] | None = None) -> str:
    """The title that the first heading declares, filled with `values` and else names; or the heading's text, or the name of the file."""
    for cell in nb.cells:
        if cell.cell_type == "markdown" and (heading := HEADING.search(cell.source)):
            if form := TITLE.search(cell.source):
                return FILLED.sub(lambda field: _filled(field[1], field[2] or "", values or {}), form[1])
            return re.sub(r"\*\*|`|\[(.+?)\]\(.+?\)", r"\1", heading[1])
    return Path(path).stem


def _filled(name: str, form: str, values: Mapping[str, Any]) -> str:
    try:
        return format(values[name], form)
    except (KeyError, ValueError, TypeError):  # varied, or of another kind
        return str(values.get(name, f"[{name.replace('_', ' ')}]"))


def _sources(nb: nbformat.NotebookNode, run: Run) -> list[tuple[str, str, str, str]]:
    """What the named parameters rest on, and the tables that the notebook names: name, table, source, date."""
    rows = []
    for name, p in declared_by(nb).items():
        table = p.table or ""
        try:
            key, frame = catalogue.key_of(table, str(run.parameters.get(name))), tables.load(table)
        except (InputError, KeyError):  # no name of a table, or a path
            continue
        row = frame.row(catalogue.names(table).index(key), named=True)
        rows.append((key, table, str(row.get("source") or ""), str(row.get("as_of") or "")))
    read = re.findall(r"\bdata/(\w+)\.csv|catalogue\.table\(.{0,2}\"(\w+)|catalogue\.(cost|chip)\(", str(nb.cells))
    for table in sorted({name or asked or f"{kind}s" for name, asked, kind in read} & set(tables.table_names())):
        frame = tables.load(table)
        newest = frame["as_of"].drop_nulls().max() if "as_of" in frame.columns else ""
        rows.append((f"data/{table}.csv", table, f"{frame.height:,} rows, each with its source", str(newest or "")))
    return list(dict.fromkeys(rows))


def link(to: str | Path, page: str | Path) -> str:
    """Address of a file from a page, as a link."""
    return quote(Path(os.path.relpath(to, os.path.dirname(page) or ".")).as_posix())


def _parameters(nb: nbformat.NotebookNode) -> list[Value]:
    """The declared parameters with the values that the notebook ran with; none where it declares none."""
    given = nb.metadata.get("papermill", {}).get("parameters", {})
    declared = declared_by(nb).items()
    return [Value(name, _shown(given.get(name, p.default)), p.shown_unit, p.meaning, _shown(p.default)) for name, p in declared]


def _made(nb: nbformat.NotebookNode) -> list[tuple[str, str]]:
    """When, how and from what the notebook ran, as far as it says so."""
    ran, own = nb.metadata.get("papermill", {}), nb.metadata.get("workbench", {})
    moment, seconds = str(ran.get("end_time") or own.get("finished") or ""), own.get("seconds") or ran.get("duration")
    took = f" in {seconds:.3g} s" if isinstance(seconds, int | float) else ""
    said = {"Run": f"on {moment[:16].replace('T', ' ')} UTC{took}" if moment else took.strip()}
    said["With"] = f"workbench {own['workbench']}" if own.get("workbench") else f"papermill {ran['version']}" if ran.get("version") else ""
    said |= {"Code and data": own.get("code_and_data") or "", "Python": own.get("python") or ""}
    made_from = own.get("made_from")
    said |= made_from if isinstance(made_from, dict) else {}
    return [(str(name), str(text)) for name, text in said.items() if text]


def _shown(value: object) -> str:
    """A value as a reader writes it: large floats as 1.56e+13."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def aligned(text: str) -> bool:
    """Whether the text lines up columns by spaces, which only letters of one width keep."""
    return re.search(r"\S {2,}\S", text) is not None


def _readable(html: str) -> str:
    """A table of polars without the quotes around its texts, with words as headings, and numbers of six digits at most, on the right."""
    if 'class="dataframe"' not in html:
        return html
    html = re.sub(r"<th>(\w+)</th>", lambda m: f"<th>{m[1].replace('_', ' ')}</th>", html)
    html = re.sub(r"<td>&quot;(.*?)(?:&quot;)?</td>", r"<td>\1</td>", html.replace("<td>null</td>", "<td></td>"))
    html = re.sub(r"<td>(-?\d+)</td>", r'<td class="number">\1</td>', html)
    return re.sub(r"<td>(-?\d+(?:\.\d+)?(?:e[-+]?\d+)?)</td>", lambda m: f'<td class="number">{significant(float(m[1]), 6)}</td>', html)


@cache
def bundle(*scripts: str) -> str:
    """Vega, Vega-Lite and Vega-Embed with scripts of the templates that draw the charts of a page, as one script."""
    import vl_convert

    script: str = vl_convert.javascript_bundle("".join(map(asset, scripts)), vl_version=VEGALITE_VERSION)
    return script.replace("</script", "<\\/script")


def asset(name: str) -> str:
    """Text of a file of the templates."""
    return (TEMPLATES / name).read_text(encoding="utf8")
