"""Speed, as ratios measured in one run: `python -m r2t2 bench`."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from operator import eq
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from r2t2.contract import RoutedModel
from r2t2.data import world
from r2t2.engine import Engine
from r2t2.peak import watch
from r2t2.rerouting.descent import learning_rate, project
from r2t2.rerouting.settings import AMORTISED, COMPARED, PAPER, SURE, Setting, strategy
from r2t2.samples import Sample

# The hungriest last: memory that one took may stay the process's, and count for the next.
STRATEGIES = ("mode_finding", "oracle", "kernel_regression", "ngd_paper", "ngd")
# Those that are also timed one sample at a time.
ALONE = ("ngd", "ngd_paper")
# The paper's table 4, FLOPs of each method over the base model's 9.9 T (MoAI-7B, MMBench).
PAPER_OVER_BASE = {
    "mode_finding": 10.7 / 9.9,
    "kernel_regression": 61.9 / 9.9,
    "ngd": 67.5 / 9.9,
    "oracle": 11.8 / 9.9,
}


def yardstick(
    engine: Engine, samples: list[Sample], setting: Setting
) -> Float[Tensor, "batch sites experts"]:
    """NGD the slow way: one sample at a time, each neighbour through the whole model.

    This is what a faithful reading of the method does, and what the public code does: nothing
    is batched and nothing is kept between steps. Gradient steps on the simplex only.
    """
    references = engine.references(setting)
    results = []
    for sample in samples:
        prepared = engine.prepare([sample])
        found = references.by_question.search(
            prepared.embeddings,
            setting,
            [sample.id],
            [sample.category],
            references.left_out([sample], setting.guard),
        )
        positions = references.table["position"][found.index[0].numpy()]
        # Pictures are loaded once each: what is slow here is the arithmetic alone.
        neighbours = [engine.dataset[int(position)] for position in positions]
        r = prepared.r
        for step in range(setting.steps):
            gradient = torch.zeros_like(r)
            for neighbour, weight in zip(neighbours, found.weights[0], strict=True):
                at = r.detach().requires_grad_()
                loss = _full_loss(engine.model, neighbour, at)
                gradient += weight * torch.autograd.grad(loss, at)[0]
            r = project(r - learning_rate(setting, step) * gradient)
        engine.model.answer(engine.model.encode([sample]), r)
        results.append(r)
    return torch.cat(results)


def _full_loss(
    model: RoutedModel, sample: Sample, r: Float[Tensor, "1 sites experts"]
) -> Float[Tensor, ""]:
    return model.loss(model.encode([sample]), model.target([sample]), r).sum()


def _seconds(engine: Engine, work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    engine.settle()
    return time.perf_counter() - started


def measure(engine: Engine, batch: int = 64, repeats: int = 5) -> list[dict[str, Any]]:
    """The speed table: a list of name, value, unit; every ratio from this one run.

    Everything is timed in turn, `repeats` times; a ratio is the median of the turns' own
    ratios, so that what else the machine does falls on both of its sides. Seconds are medians
    per sample, from images and questions to answers, the references being encoded already and
    all pictures loaded. What fitting the references took is told as it was noted then, and with
    it how many samples must be re-routed until the amortised way has saved as much.
    """
    samples = list(world.dataset("general")[:batch])
    for sample in samples:
        _ = sample.image
    few, one = samples[:4], samples[:1]
    preset = engine.model.preset
    settings = {name: strategy(name, preset) for name in (*AMORTISED, *STRATEGIES)}
    settings = {"ngd_amortised_sure": replace(settings["ngd_amortised"], sure=SURE), **settings}
    settings = {name: own for name, own in settings.items() if not engine.lacking(own)}
    amortised = [name for name, own in settings.items() if own.losses == "fitted"]
    alone = [*amortised, *ALONE]

    def answered(name: str, samples: list[Sample]) -> Callable[[], object]:
        if name == "base":
            return lambda: _base(engine, samples)
        return lambda: engine.run(engine.prepare(samples), settings[name], trace=False)

    def five() -> None:
        prepared = engine.prepare(one)
        for name in COMPARED:
            engine.run(prepared, strategy(name, preset))

    work: dict[str, Callable[[], object]] = {
        **{name: answered(name, samples) for name in ("base", *settings)},
        **{f"{name} alone": answered(name, one) for name in ("base", *alone)},
        "yardstick": lambda: yardstick(engine, few, PAPER),
        "five": five,
    }
    memory = {name: _peak(engine, once) for name, once in work.items()}
    turns = [{name: _seconds(engine, once) for name, once in work.items()} for _ in range(repeats)]

    def median(value: Callable[[dict[str, float]], float]) -> float:
        return statistics.median(value(turn) for turn in turns)

    def row(name: str, value: float, unit: str) -> dict[str, Any]:
        return {"name": name, "value": value, "unit": unit}

    def over(name: str, base: str) -> float:
        return median(lambda turn: turn[name] / turn[base])

    slow, fast = len(few), len(samples)
    speedup = median(lambda turn: (turn["yardstick"] / slow) / (turn["ngd_paper"] / fast))
    difference = engine.run(engine.prepare(few), PAPER, trace=False).r[:, -1] - yardstick(
        engine, few, PAPER
    )
    rows = [
        row("base_seconds_per_sample", median(lambda turn: turn["base"]) / fast, "s"),
        row("base_seconds_batch_1", median(lambda turn: turn["base alone"]), "s"),
        *(row(f"{name}_over_base", over(name, "base"), "x") for name in settings),
        *(
            row(f"{name}_over_base_batch_1", over(f"{name} alone", "base alone"), "x")
            for name in alone
        ),
    ]
    if amortised:
        took = engine.fitted.built["seconds"]
        saved = median(lambda turn: turn["ngd"] - turn["ngd_amortised"]) / fast
        rows += [
            *(row(f"{n}_same_answer", agreement(engine, settings[n]), "%") for n in amortised),
            row("fit_seconds", took, "s"),
            row("fit_break_even", took / saved, "samples"),
        ]
    rows += [
        row("ngd_speedup_over_yardstick", speedup, "x"),
        row("yardstick_max_difference", float(difference.abs().max()), "r"),
        row("five_answers_one_sample", median(lambda turn: turn["five"]), "s"),
    ]
    told = {name: memory[name] for name in ("base", *settings)}
    rows += [row(f"{n}_peak_memory", peak / 2**20, "MiB") for n, peak in told.items() if peak]
    paper = [
        row(f"paper_{name}_over_base_flops", value, "x") for name, value in PAPER_OVER_BASE.items()
    ]
    return [*rows, *paper]


def agreement(engine: Engine, amortised: Setting, count: int = 256) -> float:
    """Percent of a benchmark's first samples with the exact strategy's answer."""
    prepared = engine.prepare(world.dataset("general")[:count])
    fitted, exact = (
        engine.run(prepared, setting, trace=False).answers[-1].texts
        for setting in (amortised, replace(amortised, losses="exact"))
    )
    return 100 * sum(map(eq, fitted, exact)) / len(exact)


def _base(engine: Engine, samples: list[Sample]) -> None:
    prepared = engine.prepare(samples)
    engine.model.answer(prepared.encoded, prepared.r)


def _peak(engine: Engine, work: Callable[[], object]) -> int | None:
    """What work takes of memory at most, the second time: nothing is set up or kept any more."""
    work()
    engine.settle()
    peak = watch(str(engine.model.device))
    work()
    return peak()
