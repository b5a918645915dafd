"""A notebook as it is stored: read, and, if it was executed, asked how that ended and what it recorded. Nothing is run."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import InputError, refused
from workbench.notebook import parameters
from workbench.notebook.parameters import Parameter
from workbench.notebook.runtime import RESULTS_MIME

if TYPE_CHECKING:
    import nbformat  # takes 0.8 s, most of it for a grammar of its own dependencies

_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


@dataclass(frozen=True)
class Run:
    """One executed notebook: how it ended, with which parameters, and what it recorded."""

    name: str  #: of the notebook, or in a sweep of its parameter set
    notebook: str | Path = ""  #: path or address; in a sweep relative to its folder; empty if none was left
    status: str = "done"  #: done | failed | timeout | memory | died
    seconds: float | None = None
    attempts: int = 1
    finished: datetime | None = None
    error: str | None = None  #: what it raised, or why it was not run to its end
    traceback: str | None = None
    workbench: str | None = None  #: version
    code_and_data: str | None = None  #: hash of the package's modules and of all tables, the user's among them
    python: str | None = None
    parameters: dict[str, Any] = field(default_factory=dict)  #: declared ones and others that were given
    headline: str = ""  #: what the cell tagged so printed
    results: dict[str, Any] = field(default_factory=dict)  #: recorded scalars
    frames: dict[str, dict[str, Any]] = field(default_factory=dict)  #: recorded frames as columns and rows

    @property
    def page(self) -> str | Path:
        """Where its page is: beside the notebook."""
        page = f"{str(self.notebook).removesuffix('.ipynb')}.html"
        return page if isinstance(self.notebook, str) else Path(page)

    def __repr__(self) -> str:
        how = self.status if self.error is None else f"{self.status}: {self.error}"
        given = ", ".join(f"{name}={value!r}" for name, value in self.parameters.items())
        return f"Run({self.name}({given}) {how}; {len(self.results)} results, {len(self.frames)} frames)"


#: What a runner writes of itself into ``metadata.workbench``.
_SAID = {f.name for f in fields(Run)} - {"name", "notebook", "parameters", "headline", "results", "frames"}


def read(path: str | Path, executed: bool = True) -> nbformat.NotebookNode:
    """The notebook at a path or an address. Raises `InputError` for one that is missing, unreadable, or not executed where it should be."""
    import nbformat

    nb = parse(parameters.stored_bytes(path), path)
    with refused(f"{path}: not a notebook", (Exception,)):
        nbformat.validate(nb)
    if executed:
        _check_executed(nb, path)
    return nb


def parse(data: bytes, path: str | Path) -> nbformat.NotebookNode:
    """The notebook that these bytes are, in the form of nbformat 4; `path` is for messages. Raises `InputError` for what is none."""
    import nbformat

    with refused(f"{path}: not a notebook", (Exception,)):  # nbformat raises whatever its conversion stumbles over
        nb = nbformat.reads(data.decode("utf8"), as_version=4)
    return nb


def code_cells(nb: Mapping[str, Any]) -> list[Any]:
    """Its code cells."""
    return [cell for cell in nb["cells"] if cell["cell_type"] == "code"]


def tags(cell: Mapping[str, Any]) -> list[str]:
    """Tags of a cell."""
    return list(cell["metadata"].get("tags", []))


def was_run(cell: Mapping[str, Any]) -> bool:
    """Whether a cell was run to its end, which papermill does not say of one whose kernel died."""
    if not "".join(cell["source"]).strip() or "skip-execution" in tags(cell):
        return True
    times = cell["metadata"].get("execution", {})
    return cell["execution_count"] is not None and (not times or "shell.execute_reply" in times)


def run_of_bytes(data: bytes, path: str, name: str) -> Run:
    """The run that an executed notebook is, from its bytes. Raises `InputError` for what is no executed notebook."""
    with refused(f"{path}: not a notebook", (Exception,)):  # of a form that nbformat lets pass
        run = run_of(parse(data, path), path, name)
    return run


def run_of(nb: Mapping[str, Any], path: str, name: str) -> Run:
    """The run that an executed notebook is.

    The workbench writes status, seconds and versions into ``metadata.workbench``; where others ran it, they follow from what papermill
    wrote, and from the outputs: a cell that raised, without leave to, is a failed run.
    """
    _check_executed(nb, path)
    code, papermill = code_cells(nb), nb["metadata"].get("papermill", {})
    about: dict[str, Any] = {"seconds": papermill.get("duration"), "finished": papermill.get("end_time")}
    about["python"] = nb["metadata"].get("language_info", {}).get("version")
    raised = [o for c in code if "raises-exception" not in tags(c) for o in c["outputs"] if o["output_type"] == "error"]
    if raised:
        about |= {"status": "failed", "error": f"{raised[-1]['ename']}: {raised[-1]['evalue']}"}
        about["traceback"] = _ANSI.sub("", "\n".join(raised[-1]["traceback"]))
    elif papermill.get("exception") or not all(was_run(cell) for cell in code):
        about |= {"status": "died", "error": "the notebook was not run to its end"}
    about |= {name: value for name, value in nb["metadata"].get("workbench", {}).items() if name in _SAID}
    if isinstance(about["finished"], str):
        moment = datetime.fromisoformat(about["finished"])
        about["finished"] = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)

    given = papermill.get("parameters", {})
    declared = declared_by(nb)
    values = {name: p.default for name, p in declared.items()} | dict(given)
    values |= {name: float(v) for name, v in values.items() if name in declared and declared[name].type == "float" and v is not None}
    results, frames = dict[str, Any](), dict[str, dict[str, Any]]()
    for output in (o for c in code for o in c["outputs"]):
        if stored := output.get("data", {}).get(RESULTS_MIME):
            results |= stored["scalars"]
            frames |= json.loads(json.dumps(stored["frames"]))  # without nbformat's classes, which who receives them would import
    headline = "".join(o["text"] for c in code if "headline" in tags(c) for o in c["outputs"] if o.get("name") == "stdout").strip()
    return Run(name, path, **about, parameters=values, headline=headline, results=results, frames=frames)


def _check_executed(nb: Mapping[str, Any], path: str | Path) -> None:
    code = code_cells(nb)
    if code and "workbench" not in nb["metadata"] and not any(cell["execution_count"] or cell["outputs"] for cell in code):
        raise InputError(f"{path}: not executed: none of its {len(code)} code cells has run")


def declared_by(nb: Mapping[str, Any]) -> dict[str, Parameter]:
    """Parameters of the cell tagged so; none of a notebook that declares them in another form."""
    with suppress(InputError):
        return parameters.of_cells(nb["cells"], "")
    return {}
