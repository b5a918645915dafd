"""Cases of the contract: workbench.chips."""

from dataclasses import replace

from contract.harness import Case
from workbench import catalogue, chips
from workbench.fabric import Cluster

H100 = catalogue.chip("H100")
LLM = catalogue.llm("Llama-3.1-8B")
MIXTURE = catalogue.llm("Mixtral-8x7B")
EIGHT = Cluster(H100, 8, "InfiniBand NDR")
LAYOUT = chips.TrainingPlan(tp=2, recompute="full")
FEW = chips.Choices(
    vp=(1,), zero=(1, 3), recompute=("full",), sequence_parallel=(True,), schedule=("1f1b",), offload=("none",), micro_batch=(1,)
)
LOAD = chips.Load(16, 1024, 256)
FRONTIER = chips.slo_frontier(LLM, [EIGHT, Cluster(catalogue.chip("B200"), 8)], LOAD, usd_per_chip_hour={"H100": 2.0, "B200": 4.0})

JOB = {"n_chips": 8, "global_batch": 64, "sequence": 4096}
JOBS = {"n_chips": (8, 16, 12), "global_batch": (8, 64, 100), "sequence": (1024, 4096, 8192)}
DEGREES = ("tp", "pp", "vp", "cp", "ep", "micro_batch")
LAYOUTS = {
    **dict.fromkeys(DEGREES, (1, 2, 3)),
    "zero": (0, 1, 3),
    "shard": (0, 2, 3),
    "expert_load": (1, 1.2, 2),
    "trained": (0.01, 0.5, 1),
}
REPLICA = {"tp": 4, "pp": 1, "attention_dp": 1, "replicas": 1}
REPLICAS = {"tp": (1, 3, 8), "pp": (1, 2, 33), "attention_dp": (1, 2, 3), "replicas": (1, 2, 7)}
ASKED = {
    "concurrency": 16,
    "input_tokens": 1024,
    "output_tokens": 256,
    "prefix_hit_rate": 0.2,
    "draft_tokens": 2,
    "acceptance_rate": 0.7,
    "draft_share": 0.03,
}
LOADS = {
    "concurrency": (1, 16, 4096),
    "input_tokens": (16, 1024, 130_000),
    "output_tokens": (1, 256, 4096),
    "prefix_hit_rate": (0, 0.2, 0.9),
    "draft_tokens": (0, 2, 4),
    "acceptance_rate": (0, 0.5, 0.9),
    "draft_share": (0, 0.03, 0.1),
}
ZEROS = {**dict.fromkeys(("prefix_hit_rate", "draft_tokens", "acceptance_rate", "draft_share"), ("zero",)), "concurrency": ("infinite",)}
MIX = {"small_cost": 1.0, "large_cost": 10.0, "small_quality": 0.6, "large_quality": 0.9, "share": 0.5, "skill": 0.3}
MIXES = {
    "small_cost": (0, 1, 12),
    "large_cost": (0, 5, 10),
    "small_quality": (0, 0.6, 1),
    "large_quality": (0, 0.5, 1),
    "share": (0, 0.5, 1),
    "skill": (0, 0.3, 1),
}


def job(model):
    """A function of a plan and a job, whose plan may be given by its fields."""

    def call(n_chips, global_batch, sequence, **layout):
        return model(MIXTURE, Cluster(H100, n_chips, "InfiniBand NDR"), replace(LAYOUT, **layout), global_batch, sequence=sequence)

    return call


def serve(n_chips=8, rate=None, **given):
    plan = chips.ServingPlan(precision="fp8", **{name: given.pop(name) for name in REPLICA})
    return chips.serving(LLM, Cluster(H100, n_chips, "InfiniBand NDR"), plan, chips.Load(rate=rate, **given))


def serve_apart(tp, replicas, concurrency):
    return chips.serving(
        LLM, EIGHT, chips.ServingPlan(2), chips.Load(concurrency, 1024, 256), prefill=chips.ServingPlan(tp, replicas=replicas)
    )


def by_pue(frame):
    """Columns of numbers, a row each PUE where there are many."""
    shape = (frame["pue"].n_unique(), -1 if frame.height else 0) if "pue" in frame.columns else (-1,)
    return {
        name: frame[name].fill_null(0).to_numpy().reshape(shape)
        for name in frame.drop("pue", strict=False).columns
        if frame[name].dtype.is_numeric()
    }


def cases_of_choices():
    for name, values in {"vp": (1, 2, 3), "micro_batch": (1, 2, 3), "zero": (1, 2, 3)}.items():
        allow = {name: ("zero",)} if name == "zero" else {}
        yield Case(
            "chips.Choices",
            chips.Choices,
            {name: values[1]},
            {name: values},
            whole=(name,),
            allow=allow,
            read=lambda c, n=name: getattr(c, n),
        )
    yield Case("chips.Choices", chips.Choices, {"most_cp": 4}, numbers=("most_cp",), whole=("most_cp",))


CASES: list[Case] = [
    Case(
        "chips.TrainingPlan",
        chips.TrainingPlan,
        dict.fromkeys(DEGREES, 1) | {"zero": 1, "shard": 0, "expert_load": 1.0, "trained": 0.5},
        LAYOUTS,
        whole=(*DEGREES, "zero", "shard"),
        allow=dict.fromkeys(("zero", "shard"), ("zero",)),
    ),
    Case("chips.training_step", job(chips.training_step), JOB, JOBS, whole=tuple(JOB)),
    Case(
        "chips.training_step",
        job(chips.training_step),
        JOB | dict.fromkeys(DEGREES, 1) | {"zero": 1, "shard": 0, "expert_load": 1.0, "trained": 0.5},
        LAYOUTS | JOBS,
        whole=(*JOB, *DEGREES, "zero", "shard"),
        allow=dict.fromkeys(("zero", "shard"), ("zero",)),
    ),
    Case(
        "chips.matrix_product",
        lambda m, n, k: chips.matrix_product(H100, m, n, k),
        {"m": 16, "n": 4096, "k": 4096},
        {"m": (1, 64, 4096), "n": (64, 4096, 100), "k": (1, 256, 4096)},
    ),
    Case("chips.elasticities", job(chips.elasticities), JOB, JOBS, whole=tuple(JOB), rtol=1e-9),
    *cases_of_choices(),
    Case(
        "chips.search_layouts",
        lambda n_chips, global_batch, sequence, confidence, top: chips.search_layouts(
            LLM, Cluster(H100, n_chips), global_batch, sequence=sequence, confidence=confidence, top=top, choices=FEW
        ),
        JOB | {"confidence": 0.5, "top": 10},
        numbers=(*JOB, "confidence", "top"),
        whole=(*JOB, "top"),
    ),
    Case("chips.ServingPlan", chips.ServingPlan, REPLICA, REPLICAS, whole=tuple(REPLICA), read=lambda plan: (plan, plan.chips)),
    Case(
        "chips.Load",
        chips.Load,
        ASKED | {"rate": 2.0, "requests": 100},
        LOADS | {"rate": (1, 2, 3), "requests": (1, 20, 300)},
        allow=ZEROS | dict.fromkeys(("rate", "requests"), ("infinite",)),
    ),
    Case(
        "chips.serving",
        serve,
        REPLICA | ASKED | {"n_chips": 8},
        REPLICAS | LOADS | {"n_chips": (2, 8, 64)},
        whole=(*REPLICA, "n_chips"),
        allow=ZEROS,
    ),
    Case(
        "chips.serving",
        serve,
        REPLICA | ASKED | {"rate": 2.0},
        {"rate": (0.1, 2, 500), "input_tokens": LOADS["input_tokens"], "tp": (1, 3, 8)},
        whole=("tp",),
        allow={"rate": ("infinite",)},
    ),
    Case(
        "chips.serving",
        serve,
        REPLICA | ASKED | {"rate": 2.0, "requests": 100, "concurrency": 1},
        {"rate": (0.1, 2, 500), "requests": (1, 30, 5000), "input_tokens": LOADS["input_tokens"], "tp": (1, 3, 8)},
        whole=("tp",),
        allow=dict.fromkeys(("rate", "requests"), ("infinite",)),
    ),
    Case(
        "chips.serving",
        serve_apart,
        {"tp": 2, "replicas": 2, "concurrency": 16},
        {"tp": (1, 3, 8), "replicas": (1, 2, 7), "concurrency": LOADS["concurrency"]},
        whole=("tp", "replicas"),
        allow=ZEROS,
    ),
    Case(
        "chips.slo_frontier",
        lambda usd_per_chip_hour, **varied: chips.slo_frontier(LLM, [EIGHT], LOAD, usd_per_chip_hour={"H100": usd_per_chip_hour}, **varied),
        {"pue": 1.2, "usd_per_chip_hour": 2.0, "concurrency": 16, "tp": 2, "attention_dp": 1, "ratios": 1.0},
        {"pue": (1, 1.2, 1.5)},
        numbers=("usd_per_chip_hour", "concurrency", "tp", "attention_dp", "ratios"),
        whole=("tp", "attention_dp"),
        allow={"usd_per_chip_hour": ("zero",)},
        read=by_pue,
    ),
    Case(
        "chips.SLO",
        chips.SLO,
        {"tokens_per_second": 10, "ttft": 5},
        numbers=("tokens_per_second", "ttft"),
        allow={"tokens_per_second": ("zero",), "ttft": ("infinite",)},
    ),
    Case(
        "chips.cheapest_chip",
        lambda **slo: chips.cheapest_chip(FRONTIER, chips.SLO(**slo)),
        {"tokens_per_second": 10, "ttft": 5},
        numbers=("tokens_per_second", "ttft"),
        allow={"tokens_per_second": ("zero",), "ttft": ("infinite",)},
    ),
    Case(
        "chips.routed",
        chips.routed,
        MIX,
        MIXES,
        allow={name: ("zero",) for name in MIX},
    ),
    Case(
        "chips.adapters",
        lambda tp, concurrency, **asked: chips.adapters(LLM, EIGHT, chips.ServingPlan(tp), chips.Load(concurrency, 1024, 256), **asked),
        {"variants": 10, "rate": 0.01, "rank": 16, "tp": 1, "concurrency": 64},
        {"variants": (1, 10, 1000), "rate": (0.01, 1, 100), "rank": (1, 16, 64), "tp": (1, 3, 8), "concurrency": (1, 64, 4096)},
        whole=("variants", "rank", "tp"),
        allow={"concurrency": ("infinite",)},
    ),
    Case(
        "chips.training_run",
        lambda n_chips, tokens, mfu, utilisation: chips.training_run(LLM, Cluster(H100, n_chips), tokens, mfu=mfu, utilisation=utilisation),
        {"n_chips": 8, "tokens": 1e12, "mfu": 0.4, "utilisation": 0.9},
        {"n_chips": (8, 16, 1000), "tokens": (1e9, 1e12, 1e13), "mfu": (0.1, 0.4, 1), "utilisation": (0.5, 0.9, 1)},
        whole=("n_chips",),
    ),
    Case(
        "chips.training_run",
        lambda n_chips, tokens, evaluation, usd_per_chip_hour: chips.training_run(
            LLM,
            Cluster(H100, n_chips),
            tokens,
            plan=replace(LAYOUT, zero=3),
            global_batch=480,
            evaluation=evaluation,
            usd_per_chip_hour=usd_per_chip_hour,
        ),
        {"n_chips": 8, "tokens": 1e12, "evaluation": 0.1, "usd_per_chip_hour": 2.0},
        {"n_chips": (8, 16, 32), "tokens": (1e9, 1e12, 1e13), "evaluation": (0, 0.1, 1), "usd_per_chip_hour": (0, 2, 3)},
        whole=("n_chips",),
        allow=dict.fromkeys(("evaluation", "usd_per_chip_hour"), ("zero",)),
    ),
    Case(
        "chips.power",
        lambda compute, memory: chips.power(H100, compute, memory),
        {"compute": 0.5, "memory": 0.5},
        {"compute": (0, 0.5, 1), "memory": (0, 0.3, 1)},
        allow=dict.fromkeys(("compute", "memory"), ("zero",)),
    ),
]
#: Functions that take no number, and why they are not in the table.
WITHOUT: dict[str, str] = {}
