"""Public functions as tools over the Model Context Protocol: schemas from signatures and docstrings, answers with units and sources.

A tool takes what its function takes, an object (a cluster, a plan, a load) as a JSON object of its fields, and refuses in its words.
"""

import dataclasses
import inspect
import itertools
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from typing import Any

import anyio
import mcp
import numpy as np
import polars as pl
from mcp.server.lowlevel import Server
from mcp.types import CallToolResult, ListToolsResult, TextContent

from workbench import __version__, catalogue
from workbench.errors import InputError, UnknownName, WorkbenchError
from workbench.llm import Transformer
from workbench.validation import calls

TOOLS = {  #: the public functions that are tools, by package: facts first, then what a planner asks
    "catalogue": "names table chip llm link cost region rent",
    "scaling": "optimal_allocation law_spread inference_aware_optimum data_constrained_optimum training_flop",
    "fabric": "collective_time goodput", "chips": "training_run training_step search_layouts serving slo_frontier matrix_product",
    "energy": "site sites energy_bill server_power power_chain", "fleet": "ownership_cost rent_or_own factory_inputs",
    "demand": "outlook long_run_cost scoreboard",
}  # fmt: skip
CALLS = {f"{face}_{name}": f"{face}.{name}" for face, names in TOOLS.items() for name in names.split()}
#: Objects that an argument may be, by the name that its annotation has for them.
MADE = {"Cluster": "fabric.Cluster"} | {name: f"chips.{name}" for name in ("TrainingPlan", "ServingPlan", "Load", "Choices")}
JSON = {"str": "string", "Path": "string", "int": "integer", "float": "number", "bool": "boolean", "Mapping": "object", "None": "null"}
NAMED = ("chips", "llms", "links", "regions", "grids", "laws", "costs")  #: tables of facts that an argument may name
ROWS, FUTURES = 200, 256  #: rows of a frame, and entries of the last or the first axis, that an answer spells out


@cache
def schema(call: str) -> dict[str, Any]:
    """JSON schema of the arguments of a public function, or of the fields of an object."""
    properties: dict[str, Any] = {}
    required, text = [], inspect.getdoc(calls.public(call)) or ""
    meant = {n: " ".join(m.split()) for names, m in re.findall(r"^(\w[\w, ]*) : .*((?:\n .+)*)", text, re.M) for n in names.split(", ")}
    meant |= _units(calls.public(call)) if inspect.isclass(calls.public(call)) else {}
    parameters = {n: p for n, p in inspect.signature(calls.public(call)).parameters.items() if p.kind is not p.VAR_KEYWORD}
    for name, p in parameters.items():
        words = re.findall(r"\w+", str(p.annotation))
        kinds = [{"type": JSON[word]} for word in words if word in JSON] + [schema(MADE[word]) for word in words if word in MADE]
        if "ArrayLike" in words:
            kinds += [{"type": kind} for kind in ("number", "string", "boolean", "array")]
        if p.kind is p.VAR_POSITIONAL or {"Sequence", "tuple"} & set(words):
            kinds = [{"type": "array"}, *kinds]
        properties[name] = {"anyOf": kinds, "description": meant.get(name, "")}
        if p.default is p.empty and p.kind is not p.VAR_POSITIONAL:
            required.append(name)
        elif isinstance(p.default, str | int | float) and p.default == plain(p.default):
            properties[name]["default"] = p.default
    more = len(parameters) < len(inspect.signature(calls.public(call)).parameters)
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": more}


def python_call(call: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """A call as plain data (`validation.calls`): objects among the arguments become calls themselves."""
    parameters = inspect.signature(calls.public(call)).parameters
    for name, p in parameters.items():
        if p.kind is p.VAR_POSITIONAL and set(arguments) <= {name}:
            return {"call": call, "arguments": list(arguments.get(name, []))}

    def made(value: Any, kinds: list[str]) -> Any:
        if isinstance(value, list):
            return [made(one, kinds) for one in value]
        if not kinds and isinstance(value, dict) and "call" in value:
            raise InputError(f"{json.dumps(value):.60}: no argument of a tool is a call")
        if not isinstance(value, dict) or not kinds:
            return value
        fitting = [kind for kind in kinds if value.keys() <= inspect.signature(calls.public(kind)).parameters.keys()]
        return python_call((fitting or kinds)[0], value)

    words = {name: re.findall(r"\w+", str(p.annotation)) for name, p in parameters.items()}
    return {"call": call, "arguments": {n: made(v, [MADE[w] for w in words.get(n, ()) if w in MADE]) for n, v in arguments.items()}}


def plain(value: Any) -> Any:
    """A result as JSON: records by field, with units; frames by row; many futures by their 5, 50 and 95 % points; infinities as text."""
    if isinstance(value, pl.DataFrame):
        rows = plain(value.head(ROWS).to_dicts())
        return rows if value.height <= ROWS else {"rows": rows, "left_out": value.height - ROWS}
    if isinstance(value, Transformer):
        return {"card": str(value), "source": getattr(value, "source", None)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        own = [f.name for f in dataclasses.fields(value) if f.name not in ("index", "order")]  # of evidence; what is near follows
        own += [name for kind in type(value).__mro__ for name, p in vars(kind).items() if isinstance(p, property)]
        return {name: plain(getattr(value, name)) for name in own if name[0] != "_"} | {"units": _units(type(value))}
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        axis = -1 if value.shape[-1:] > (FUTURES,) else 0
        if value.shape[axis:][:1] > (FUTURES,) and value.dtype.kind in "fiu":
            low, median, high = plain(np.quantile(value, [0.05, 0.5, 0.95], axis=axis, method="inverted_cdf"))
            return {"futures": np.shape(value)[axis], "low": low, "median": median, "high": high}
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return value if isinstance(value, str | int | None) or (isinstance(value, float) and np.isfinite(value)) else str(value)


@cache
def _units(kind: type) -> dict[str, str]:
    """What the comments of a record's fields say, with their units; ends of intervals share the comment before them."""
    text = "".join(inspect.getsource(base) for base in kind.__mro__[::-1] if dataclasses.is_dataclass(base))
    fields = re.findall(r"^    (\w+): [^#\n]*?(?:#: (.+))?$", text, re.M)
    notes = itertools.accumulate(fields, lambda last, f: f if f[1] or not f[0].endswith(("low", "high")) else (f[0], last[1]))
    return {name: note for name, note in notes if note}


def _sources(arguments: Mapping[str, Any]) -> dict[str, str]:
    """Sources of the facts that arguments name."""
    found = {}
    for name, table in itertools.product(re.findall(r'"([^"]+)"', json.dumps(arguments)), NAMED):
        with suppress(UnknownName):
            found[f"{table}: {name}"] = catalogue.table(table)["source"][catalogue.names(table).index(catalogue.key_of(table, name))]
    return found


def answer(tool: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What a tool says: the Python call, what it gives, and the sources of the facts that it names. Raises as the call does."""
    if tool not in CALLS:
        raise UnknownName("tool", tool, CALLS)
    case = python_call(CALLS[tool], arguments)
    told = {"call": calls.in_python(case), "answer": plain(calls.value(case, {}))}
    return told | {"sources": _sources(arguments), "workbench": __version__}


async def _list(context: Any, asked: Any) -> ListToolsResult:
    texts = {tool: re.split(r"\n(?:Parameters|Examples)\n", inspect.getdoc(calls.public(call)) or "")[0] for tool, call in CALLS.items()}
    return ListToolsResult(tools=[mcp.Tool(name=t, description=text, input_schema=schema(CALLS[t])) for t, text in texts.items()])


async def _call(context: Any, asked: Any) -> CallToolResult:
    try:
        told = await anyio.to_thread.run_sync(answer, asked.name, asked.arguments or {})
    except (WorkbenchError, TypeError) as error:
        return CallToolResult(content=[TextContent(text=str(error))], is_error=True)
    return CallToolResult(content=[TextContent(text=json.dumps(told))], structured_content=told)


def server() -> Server[Any]:
    """The server; it reads facts and computes, and writes nothing."""
    return Server("workbench", version=__version__, on_list_tools=_list, on_call_tool=_call)


def serve() -> None:
    """Serve over standard input and output until the host closes them."""

    async def run() -> None:
        async with mcp.stdio_server() as (incoming, outgoing):
            await (own := server()).run(incoming, outgoing, own.create_initialization_options())

    anyio.run(run)
