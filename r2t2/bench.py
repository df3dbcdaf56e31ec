"""Speed, as ratios measured in one run: `python -m r2t2 bench`."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from r2t2.contract import RoutedModel
from r2t2.data import world
from r2t2.engine import Engine
from r2t2.rerouting.descent import learning_rate, project
from r2t2.rerouting.settings import PAPER, Setting, strategy
from r2t2.samples import Sample

STRATEGIES = ("mode_finding", "kernel_regression", "ngd", "ngd_paper", "oracle")
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
            prepared.embeddings, setting, [sample.id], [sample.category]
        )
        r = prepared.r
        for step in range(setting.steps):
            gradient = torch.zeros_like(r)
            for i, weight in zip(found.index[0], found.weights[0], strict=True):
                position = int(references.table["position"][int(i)])
                neighbour = engine.dataset[position]
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


def _median(work: Callable[[], object], repeats: int) -> float:
    work()
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def measure(engine: Engine, batch: int = 64, repeats: int = 5) -> list[dict[str, Any]]:
    """The speed table: a list of name, value, unit; every ratio from this one run.

    Seconds are medians per sample, from images and questions to answers, the references being
    encoded already. The yardstick renders nothing twice either: the neighbours' images are
    loaded beforehand.
    """
    engine.model.encode(world.dataset("dev")[:1])
    samples = list(world.dataset("general")[:batch])
    for sample in samples:
        _ = sample.image
    rows: list[dict[str, Any]] = []

    def base() -> None:
        prepared = engine.prepare(samples)
        engine.model.answer(prepared.encoded, prepared.r)

    def rerouted(setting: Setting) -> Callable[[], object]:
        return lambda: engine.run(engine.prepare(samples), setting, trace=False)

    base_seconds = _median(base, repeats) / batch
    rows.append({"name": "base_seconds_per_sample", "value": base_seconds, "unit": "s"})
    preset = engine.model.preset
    for name in STRATEGIES:
        seconds = _median(rerouted(strategy(name, preset)), repeats) / batch
        rows.append({"name": f"{name}_over_base", "value": seconds / base_seconds, "unit": "x"})
        if name == "ngd_paper":
            fast = seconds
    few = samples[:4]
    slow = _median(lambda: yardstick(engine, few, PAPER), 3) / len(few)
    rows.append({"name": "yardstick_seconds_per_sample", "value": slow, "unit": "s"})
    rows.append({"name": "ngd_speedup_over_yardstick", "value": slow / fast, "unit": "x"})
    difference = engine.run(engine.prepare(few), PAPER, trace=False).r[:, -1] - yardstick(
        engine, few, PAPER
    )
    rows.append(
        {"name": "yardstick_max_difference", "value": float(difference.abs().max()), "unit": "r"}
    )
    one = samples[:1]
    single = _median(
        lambda: [engine.run(engine.prepare(one), strategy(n, preset)) for n in STRATEGIES], repeats
    )
    rows.append({"name": "five_answers_one_sample", "value": single, "unit": "s"})
    for name, ratio in PAPER_OVER_BASE.items():
        rows.append({"name": f"paper_{name}_over_base_flops", "value": ratio, "unit": "x"})
    return rows
