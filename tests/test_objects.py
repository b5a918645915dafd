"""What is no number, given to every public function and class in place of the object that it is annotated with."""

import importlib
import inspect

import numpy as np
import polars as pl
import pytest

from workbench import catalogue, chips, energy, fabric, fleet, scaling
from workbench.errors import InputError, WorkbenchError

#: Of charts only the frames: their texts are titles.
FACES = ("catalogue", "scaling", "fabric", "chips", "energy", "fleet", "demand", "uncertainty", "charts")
WRONG = {
    "text": "GB300",
    "none": None,
    "number": 3,
    "truth": True,
    "list": ["GB300"],
    "array": np.zeros(2),
    "mapping": {"GB300": 1},
    "object": object(),
}
#: Valid arguments by name, where 1 is none.
VALID = {
    **{"llm": "Llama-3.1-8B", "cluster": fabric.Cluster("H100", 8), "plan": chips.ServingPlan(8), "load": chips.Load(8, 1024, 256)},
    **{"law": "Chinchilla", "chip": "H100", "slo": chips.SLO(10), "op": "all_reduce", "place": "swedencentral", "region": "swedencentral"},
    **{"clusters": [fabric.Cluster("H100", 8)], "tiers": fabric.Cluster("H100", 8), "precision": "bf16", "processor": "NVIDIA Grace"},
    **{"places": ["swedencentral"], "name": "H100", "model": lambda **given: 1.0, "inputs": {"a": 1.0}, "base": {"a": 1.0}},
    **{
        "ranges": {"a": (0.5, 2.0)},
        "frame": pl.DataFrame({"x": [1.0]}),
        "work": fleet.work_today("H100", 130_000, 2.35, "Microsoft Cobalt 200", 2700, 2.0)[0],
    },
}


def objects():
    """Every argument of a public function, or field of a public class, that is annotated with more than numbers."""
    for face in FACES:
        module = importlib.import_module(f"workbench.{face}")
        for name in module.__all__:
            call = getattr(module, name)
            if callable(call):
                for p in inspect.signature(call).parameters.values():
                    numbers = set(str(p.annotation).replace("|", " ").split()) & {"ArrayLike", "Any", "float", "int", "bool"}
                    if p.kind is not p.VAR_KEYWORD and not numbers and (face != "charts" or p.name == "frame"):
                        yield pytest.param(call, p, id=f"{face}.{name}-{p.name}")


@pytest.mark.parametrize(("call", "argument"), list(objects()))
def test_another_object_is_refused(call, argument):
    parameters = inspect.signature(call).parameters.values()
    given = {
        p.name: VALID.get(p.name, 1.0)
        for p in parameters
        if p.default is p.empty and p.kind is not p.VAR_POSITIONAL and p.kind is not p.VAR_KEYWORD
    }
    for kind, wrong in WRONG.items():
        try:
            if argument.kind is argument.VAR_POSITIONAL:
                call(wrong)
            else:
                call(**given | {argument.name: wrong})
        except WorkbenchError:
            continue
        except Exception as error:
            pytest.fail(f"{kind}: {type(error).__name__}: {error}")


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            lambda: chips.training_run("Llama-3.1-8B", "GB300", 1e12),
            r"cluster = 'GB300': expected Cluster, as fabric.Cluster\('H100', 8\) makes it",
        ),
        (
            lambda: chips.slo_frontier("Llama-3.1-8B", ["H100"], chips.Load(1, 8, 8)),
            r"clusters = \['H100'\]: expected Cluster or a sequence of Cluster, as fabric.Cluster",
        ),
        (lambda: chips.serving("Llama-3.1-8B", fabric.Cluster("H100", 8), chips.ServingPlan(8), 64), r"load = 64: .*chips.Load\(64, 1024"),
        (lambda: scaling.law_spread(1e25, "Llama 3"), r"names = 'Llama 3': expected a sequence of text"),
        (lambda: energy.sites(["Sweden"]), r"region = \['Sweden'\]: expected a name, as workbench show regions lists them"),
        (lambda: catalogue.llm(None), r"name = None: expected text or Path or LLM, as catalogue.llm\('Llama-3.1-8B'\) makes it"),
        (lambda: fabric.storage(405e9), "storage: missing a required argument: 'n_chips'; it takes params, n_chips, medium"),
    ],
)
def test_the_refusal_names_argument_value_type_and_the_call_that_makes_one(call, said):
    with pytest.raises(InputError, match=said):
        call()
