"""What `make docs` makes while MkDocs reads the pages: results of the code on them, tables from data and scores, entries of the reference.

A block of Python on a page runs, each page with names of its own, and what it prints or ends with stands below it.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import importlib
import inspect
import io
import re
import textwrap
from datetime import date
from pathlib import Path
from typing import Any

import altair as alt
import polars as pl

from workbench import catalogue, demand, fleet, tables, validation

ROOT = Path(__file__).parents[1]
REPOSITORY = re.compile(r"\]\(\.\./(data/README\.md|CONTRIBUTING\.md|CHANGELOG\.md|README\.md)(#[\w-]*)?\)")
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.M | re.S)
MARK = re.compile(r"^<!-- (table|api|file): (.+?) -->$", re.M)
#: What the docs have in place of a file of the repository.
PAGES = {
    "data/README.md": "data/dictionary.md",
    "CONTRIBUTING.md": "how-to/add_a_chip.md",
    "CHANGELOG.md": "data/changes.md",
    "README.md": "index.md",
}


def run(code: str, names: dict[str, Any]) -> tuple[str, Any]:
    """What a block prints, and the value of the expression that it ends with."""
    tree, said = ast.parse(textwrap.dedent(code)), io.StringIO()
    last = ast.Expression(tree.body.pop().value) if isinstance(tree.body[-1], ast.Expr) else None
    with contextlib.redirect_stdout(said):
        exec(compile(tree, "docs", "exec"), names)
        value = eval(compile(last, "docs", "eval"), names) if last else None
        if value is not None and not isinstance(value, alt.TopLevelMixin | pl.DataFrame):
            print(value)
    return said.getvalue().rstrip(), value


def shown(markdown: str) -> str:
    """A page with the results of its blocks below them."""
    names: dict[str, Any] = {}

    def below(block: re.Match[str]) -> str:
        said, value = run(block[1], names)
        text = f"\n\n```{{.text .answer}}\n{said}\n```" if said else ""
        if isinstance(value, pl.DataFrame):
            text += f"\n\n{grid(value.head(12))}"
        if isinstance(value, alt.TopLevelMixin):
            import vl_convert

            png = base64.b64encode(vl_convert.vegalite_to_png(value.to_dict(), vl_version="5.21", scale=1.5)).decode()
            title = value.title.text if value.title else "chart"
            text += f"\n\n![{title if isinstance(title, str) else ' '.join(title)}](data:image/png;base64,{png})"
        return block[0] + text

    return BLOCK.sub(below, markdown)


def grid(frame: pl.DataFrame) -> str:
    """A frame as a table of Markdown; text of others never becomes markup."""

    def cell(value: Any) -> str:
        text = "" if value is None else f"{value:,.4g}" if isinstance(value, float) else str(value)
        return re.sub(r"([\\`*_{}\[\]<>|#])", r"\\\1", text)

    lines = [[cell(c) for c in frame.columns], ["---"] * frame.width, *([cell(v) for v in row] for row in frame.iter_rows())]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def table(what: str) -> str:
    """A table made at build: errors of a calibration, scores of a kind, ages of the facts, sources."""
    kind, _, name = what.partition(" ")
    if kind == "errors":
        frame = pl.read_csv(tables.DATA / "calibration" / f"{name}_errors.csv")
        frame = frame.select("case", "rows", *(c for c in frame.columns if c.endswith("error_percent")), "half_width")
        return grid(
            frame.with_columns(
                pl.col("case").str.replace_all("|", ", ", literal=True), half_width=100 * (pl.col("half_width").exp() - 1)
            ).rename({"half_width": "half width of the 80 % interval, percent"})
        )
    if kind == "validate":
        frame = validation.validate(name).table()
        return grid(frame.select(c for c in frame.columns if frame[c].count()))
    if kind == "sources":
        frame = catalogue.table(name).group_by("source", maintain_order=True).len("rows").sort("rows", descending=True, maintain_order=True)
        return grid(frame.head(12))
    made = {
        "sizes": sizes,
        "ages": lambda: tables.ages(date.today()).drop("days"),
        "scoreboard": lambda: demand.scoreboard().select("test", "model", "n", "crps", "coverage_90", "bias", "unit"),
        "ownership": fleet.ownership_errors,
        "sites": lambda: pl.read_csv(tables.DATA / "calibration" / "sites.csv").select("constant", "key", "value", "error", "rows", "note"),
        "laws": lambda: catalogue.table("laws").select("law", "counts", "compute_low", "compute_high", "source"),
    }
    return grid(made[what]())


def sizes() -> pl.DataFrame:
    """Lines of each package and single module, and the names that its face shows."""
    rows = []
    for path in sorted((ROOT / "workbench").iterdir()):
        files = sorted(path.rglob("*.py")) if path.is_dir() else [path] * (path.suffix == ".py" and path.name[0] != "_")
        if files:
            shown = getattr(importlib.import_module(f"workbench.{path.stem}"), "__all__", ())
            rows.append(
                (path.stem, len(files), sum(len(file.read_text(encoding="utf8").splitlines()) for file in files), len(shown) or None)
            )
    return pl.DataFrame(rows, schema=["package or module", "modules", "lines", "names on its face"], orient="row")


def api(face: str) -> str:
    """Entries of what a package shows, and of the records that its functions return."""
    module, wanted = importlib.import_module(f"workbench.{face}"), []
    for name in getattr(module, "__all__", None) or [n for n in dir(module) if inspect.isfunction(getattr(module, n))]:
        value = inspect.unwrap(getattr(module, name)) if callable(getattr(module, name)) else None
        if not (inspect.isfunction(value) or inspect.isclass(value)) or not value.__module__.startswith("workbench."):
            continue
        wanted.append(f"{value.__module__}.{value.__qualname__}")
        back = value.__globals__.get(str(value.__annotations__.get("return"))) if inspect.isfunction(value) else None
        if inspect.isclass(back) and back.__module__.startswith("workbench."):
            wanted.append(f"{back.__module__}.{back.__qualname__}")
    return "\n\n".join(f"::: {path}" for path in dict.fromkeys(wanted))


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """The page as MkDocs is to read it."""
    deep = "../" * page.file.src_uri.count("/")

    def filled(mark: re.Match[str]) -> str:
        kind, what = mark.groups()
        if kind == "file":
            text = re.sub(r"\A# .*\n", "", (ROOT / what).read_text(encoding="utf8"))
            return re.sub(r"\[([^\]]*)\]\((?!https?:)[^)]*\)", r"\1", text)  # places in the repository, not on this site
        return table(what) if kind == "table" else api(what)

    markdown = REPOSITORY.sub(lambda link: f"]({deep}{PAGES[link[1]]})", markdown)
    return shown(MARK.sub(filled, markdown))


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """The page as it is written: nothing is fetched."""
    return output.replace("https://unpkg.com/iframe-worker/shim", "../" * page.file.src_uri.count("/") + "worker.js")
