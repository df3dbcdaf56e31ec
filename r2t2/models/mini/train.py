"""The embedded model's training: senses, then everything under random routing, then the router.

Stage 1 trains language, fusion and head under sharp random routing, so that every way of
mixing the experts is one the network can read. Stage 2 trains the router alone, to
convergence, on a narrow mix of questions; that mix is the only cause of the router's weakness.
Every stage is written down when it ends, stage 1 also on the way, and the same command goes on
from there to the same result.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from r2t2.contract import Batch
from r2t2.data.questions import ANSWERS
from r2t2.data.scenes import render
from r2t2.data.world import SPLITS, draw
from r2t2.files import written
from r2t2.models.mini.network import BLOCKS, Network, Router, words
from r2t2.models.mini.perception import (
    BASE_NOISE,
    CLASSES,
    EXPERTS,
    Encoder,
    Perception,
    base_noise,
    labels,
    patches,
    thumbnails,
)
from r2t2.models.mini.tokens import tokenise, word_table

Report = Callable[[str, int, int, str], None]
SAVE_EVERY, REPORT_EVERY = 1000, 50


@dataclass(frozen=True)
class Recipe:
    """All that determines a training run.

    Parameters
    ----------
    seed : of the weights, the scenes and the order.
    scenes, questions_per_scene : stage 1's data.
    router_scenes : stage 2's, one question each.
    perception : the share of the encoders' own steps that they are trained for.
    steps, batch, learning_rate : stage 1.
    guided : the part of stage 1 over which routes that mix just what a question needs fade
        out in favour of random ones; learning starts there many times faster.
    router_steps, router_batch, router_learning_rate : stage 2.
    relevant : share of stage-1 routes drawn from experts that help the question.
    single : share of sites at which a stage-1 route picks a single expert.
    most : the most experts that a stage-1 route mixes at a site.
    noise : standard deviation of the noise on the experts' messages in stage 1.
    """

    seed: int = 0
    scenes: int = 16000
    questions_per_scene: int = 4
    router_scenes: int = 8000
    perception: float = 1.0
    steps: int = 5000
    batch: int = 128
    learning_rate: float = 2e-3
    guided: float = 0.5
    router_steps: int = 800
    router_batch: int = 256
    router_learning_rate: float = 3e-3
    relevant: float = 0.75
    single: float = 0.6
    most: int = 2
    noise: float = 0.1


@dataclass(frozen=True)
class Corpus:
    """Questions about scenes as tensors; `scene` says which scene each question is about."""

    pixels: UInt8[np.ndarray, "scenes 64 64 3"]
    labels: Int[np.ndarray, "scenes cells attributes"]
    tokens: Int[Tensor, "questions tokens"]
    answer: Int[Tensor, " questions"]
    needs: Float[Tensor, "questions experts"]
    scene: Int[Tensor, " questions"]


def gather(seed: int, split: str, scenes: int, per_scene: int, report: Report) -> Corpus:
    """Draw and render a split's first scenes, on all cores."""
    chunk = 250
    starts = range(0, scenes, chunk)
    jobs = [(seed, split, start, min(chunk, scenes - start), per_scene) for start in starts]
    parts = []
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        for part in pool.map(_gather, jobs):
            parts.append(part)
            report(f"rendering {split} scenes", len(parts), len(jobs), "")
    pixels, marks, asked = (list(column) for column in zip(*parts, strict=True))
    texts, answers, needs, where = [], [], [], []
    for start, questions in zip(starts, asked, strict=True):
        for offset, text, answer, need in questions:
            texts.append(text)
            answers.append(ANSWERS.index(answer))
            needs.append([float(name in need) for name in EXPERTS])
            where.append(start + offset)
    return Corpus(
        np.concatenate(pixels),
        np.concatenate(marks),
        tokenise(texts),
        torch.tensor(answers),
        torch.tensor(needs),
        torch.tensor(where),
    )


def _gather(job: tuple[int, str, int, int, int]) -> tuple[np.ndarray, np.ndarray, list[Any]]:
    seed, split, start, count, per_scene = job
    images, marks, asked = [], [], []
    for offset in range(count):
        scene, questions = draw(seed, SPLITS[split], start + offset, per_scene)
        images.append(render(scene))
        marks.append(labels(scene))
        asked += [(offset, q.text, q.answer, needs(q.type, q.reference)) for q in questions]
    return thumbnails(images), np.stack(marks), asked


_NEEDS = {
    "colour": ("COLOUR",),
    "shape": ("SHAPE",),
    "texture": ("TEXTURE",),
    "size": ("SIZE",),
    "counting": ("OBJECT",),
    "spatial": ("POSITION",),
    "reading": ("TEXT",),
    "knowledge": ("COLOUR", "SHAPE"),
    "existence": (),
}


def needs(type: str, reference: str) -> frozenset[str]:
    """The experts that help a question; used only to draw stage 1's random routes."""
    named = [name.upper() for name in reference.split("+")]
    return frozenset(_NEEDS[type]) | (frozenset(named) & frozenset(EXPERTS))


def random_routes(
    needs: Float[Tensor, "batch experts"], recipe: Recipe, rng: torch.Generator
) -> Float[Tensor, "batch sites experts"]:
    """Sharp random routing: one to a few experts per site, mostly ones the question needs."""
    batch, experts = needs.shape
    shape = (batch, BLOCKS)
    count = torch.randint(1, recipe.most + 1, shape, generator=rng)
    count = torch.where(torch.rand(shape, generator=rng) < recipe.single, 1, count)
    relevant = (torch.rand(shape, generator=rng) < recipe.relevant).float()
    weight = relevant[..., None] * needs[:, None] + 0.15 * torch.rand(*shape, 1, generator=rng)
    weight = (weight + 1e-3).expand(-1, -1, experts).reshape(-1, experts)
    chosen = torch.multinomial(weight, recipe.most, generator=rng).view(*shape, recipe.most)
    share = -torch.log(torch.rand(*shape, recipe.most, generator=rng).clamp_min(1e-6))
    share = share * (torch.arange(recipe.most) < count[..., None])
    share = share / share.sum(-1, keepdim=True).clamp_min(1e-6)
    return torch.zeros(batch, BLOCKS, experts).scatter_add_(2, chosen, share)


def train(recipe: Recipe, folder: Path, report: Report = lambda *_: None) -> Path:
    """Train from nothing, or from where `folder` says it stopped; returns the checkpoint.

    Runs on one thread, because the order of additions, and so the result, depends on how many
    there are; several seeds make use of several cores.

    Raises
    ------
    ValueError : the folder holds another recipe's run.
    """
    note, final = folder / "recipe.json", folder / "model.safetensors"
    if note.exists() and json.loads(note.read_text()) != asdict(recipe):
        raise ValueError(
            f"{folder} holds a training run of another recipe; delete it or name another folder"
        )
    with written(note) as part:
        part.write_text(json.dumps(asdict(recipe), indent=1) + "\n")
    if final.exists():
        return final
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        corpus = gather(recipe.seed, "training", recipe.scenes, recipe.questions_per_scene, report)
        perception = _train_perception(recipe, folder, corpus, report)
        network = _train_network(recipe, folder, corpus, perception, report)
        router = _train_router(recipe, perception, network, report)
    finally:
        torch.set_num_threads(threads)
    parts = {"perception": perception, "network": network, "router": router}
    with written(final) as part:
        save_file(
            {
                f"{name}.{key}": tensor.contiguous()
                for name, module in parts.items()
                for key, tensor in module.state_dict().items()
            },
            part,
            {"recipe": json.dumps(asdict(recipe))},
        )
    return final


def _rng(recipe: Recipe, stage: int, step: int = 0) -> torch.Generator:
    """A step's own random numbers: a resumed run draws what an undisturbed one would."""
    seed = np.random.SeedSequence([recipe.seed, stage, step]).generate_state(1)[0]
    return torch.Generator().manual_seed(int(seed))


def _train_perception(recipe: Recipe, folder: Path, corpus: Corpus, report: Report) -> Perception:
    saved = folder / "perception.safetensors"
    torch.manual_seed(recipe.seed)
    perception = Perception()
    if saved.exists():
        perception.load_state_dict(load_file(saved))
        return perception.eval().requires_grad_(False)
    x = patches(corpus.pixels).flatten(0, 1)
    marks = torch.from_numpy(corpus.labels).flatten(0, 1)
    encoders: dict[str, Encoder] = {"BASE": perception.base, **_named(perception)}
    for number, (name, encoder) in enumerate(encoders.items()):
        _train_encoder(recipe, name, encoder, x, marks, _rng(recipe, 1, number), report)
    with written(saved) as part:
        save_file(perception.state_dict(), part)
    return perception.eval().requires_grad_(False)


def _named(perception: Perception) -> dict[str, Encoder]:
    return {name: e for name, e in perception.encoders.items() if isinstance(e, Encoder)}


def _train_encoder(
    recipe: Recipe,
    name: str,
    encoder: Encoder,
    x: Float[Tensor, "cells 3 16 16"],
    marks: Int[Tensor, "cells attributes"],
    rng: torch.Generator,
    report: Report,
) -> None:
    attributes = list(CLASSES)
    columns = [attributes.index(label) for label in encoder.sense.labels]
    # Most cells are empty: half of every batch is drawn from those that are not.
    full = (marks[:, columns[0]] < CLASSES[attributes[columns[0]]] - 1).nonzero()[:, 0]
    optimiser = torch.optim.AdamW(encoder.parameters(), weight_decay=0.01)
    steps = max(round(encoder.sense.steps * recipe.perception), 2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps)
    for step in range(steps):
        anywhere = torch.randint(len(x), (256,), generator=rng)
        rows = torch.cat([anywhere, full[torch.randint(len(full), (256,), generator=rng)]])
        noise = None
        if encoder.sense.view == "noisy thumbnail":
            noise = torch.randn(len(rows), 48, generator=rng) * BASE_NOISE
        loss = torch.stack(
            [
                F.cross_entropy(logits, marks[rows, column])
                for logits, column in zip(encoder.logits(x[rows], noise), columns, strict=True)
            ]
        ).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if (step + 1) % REPORT_EVERY == 0:
            report(f"training the {name} encoder", step + 1, steps, f"loss {loss.item():.3f}")


@dataclass(frozen=True)
class _Seen:
    """A corpus as the network is trained on it: every scene perceived once."""

    base: Float[Tensor, "scenes cells code"]
    experts: Float[Tensor, "scenes cells experts code"]
    corpus: Corpus

    def inputs(
        self, rows: Int[Tensor, " batch"], noise: float = 0.0, rng: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What `Network.encode` takes, with dropped words and noise on the experts if asked."""
        table = word_table()
        scene, tokens = self.corpus.scene[rows], self.corpus.tokens[rows]
        experts = self.experts[scene]
        if noise:
            keep = torch.rand(tokens.shape, generator=rng) >= 0.03
            tokens = tokens * keep
            experts = experts + noise * torch.randn(experts.shape, generator=rng)
        longest = max(int((tokens > 0).sum(1).max()), 1)
        return (*words(tokens[:, :longest], table), self.base[scene], experts)


def _see(perception: Perception, corpus: Corpus) -> _Seen:
    parts = []
    with torch.no_grad():
        for start in range(0, len(corpus.pixels), 500):
            pixels = corpus.pixels[start : start + 500]
            parts.append(perception(patches(pixels), base_noise(pixels)))
    base, experts = zip(*parts, strict=True)
    return _Seen(torch.cat(base), torch.cat(experts), corpus)


def _warm_cosine(step: int, steps: int) -> float:
    return min(1.0, (step + 1) / 200) * (0.51 + 0.49 * math.cos(math.pi * step / steps))


def _train_network(
    recipe: Recipe, folder: Path, corpus: Corpus, perception: Perception, report: Report
) -> Network:
    torch.manual_seed(recipe.seed)
    network = Network(len(ANSWERS), word_table().shape[1])
    optimiser = torch.optim.AdamW(network.parameters(), weight_decay=0.02, betas=(0.9, 0.98))
    saved = folder / "stage1.safetensors"
    first = _resume(saved, network, optimiser) if saved.exists() else 0
    seen = _see(perception, corpus)
    for step in range(first, recipe.steps):
        rng = _rng(recipe, 2, step)
        rows = torch.randint(len(corpus.answer), (recipe.batch,), generator=rng)
        needs = corpus.needs[rows]
        r = random_routes(needs, recipe, rng)
        guided = 1 - step / max(recipe.guided * recipe.steps, 1)
        just = (needs / needs.sum(-1, keepdim=True))[:, None].expand_as(r)
        r = torch.where(torch.rand(len(r), 1, 1, generator=rng) < guided, just, r)
        encoded = network.encode(*seen.inputs(rows, recipe.noise, rng))
        loss = F.cross_entropy(network(encoded, r), corpus.answer[rows])
        for group in optimiser.param_groups:
            group["lr"] = recipe.learning_rate * _warm_cosine(step, recipe.steps)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        if (step + 1) % REPORT_EVERY == 0:
            report("stage 1: experts and fusion", step + 1, recipe.steps, f"loss {loss:.3f}")
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == recipe.steps:
            _save(saved, network, optimiser, step + 1)
    return network.eval().requires_grad_(False)


def _save(path: Path, network: Network, optimiser: torch.optim.Optimizer, step: int) -> None:
    state = {f"network.{key}": tensor for key, tensor in network.state_dict().items()}
    for number, moments in optimiser.state_dict()["state"].items():
        state |= {f"optimiser.{number}.{key}": tensor for key, tensor in moments.items()}
    with written(path) as part:
        save_file({key: t.contiguous() for key, t in state.items()}, part, {"step": str(step)})


def _resume(path: Path, network: Network, optimiser: torch.optim.Optimizer) -> int:
    moments: dict[int, dict[str, Tensor]] = {}
    weights = {}
    with safe_open(path, "pt") as file:
        for key in file.keys():  # noqa: SIM118 (safe_open is no dict)
            kind, rest = key.split(".", 1)
            if kind == "network":
                weights[rest] = file.get_tensor(key)
            else:
                number, name = rest.split(".")
                moments.setdefault(int(number), {})[name] = file.get_tensor(key)
        step = int(file.metadata()["step"])
    network.load_state_dict(weights)
    optimiser.load_state_dict({**optimiser.state_dict(), "state": moments})
    return step


def _train_router(
    recipe: Recipe, perception: Perception, network: Network, report: Report
) -> Router:
    corpus = gather(recipe.seed, "router", recipe.router_scenes, 1, report)
    seen = _see(perception, corpus)
    router = Router(word_table().shape[1])
    torch.manual_seed(recipe.seed)
    last = router.gate[-1]
    assert isinstance(last, torch.nn.Linear)
    torch.nn.init.zeros_(last.weight)
    torch.nn.init.zeros_(last.bias)
    parts = []
    with torch.no_grad():
        for rows in torch.arange(len(corpus.answer)).split(500):
            parts.append(Batch(network.encode(*seen.inputs(rows))))
    encoded = Batch.cat(parts)
    optimiser = torch.optim.AdamW(router.parameters(), weight_decay=0.01)
    for step in range(recipe.router_steps):
        rng = _rng(recipe, 3, step)
        rows = torch.randint(len(encoded), (recipe.router_batch,), generator=rng)
        some = encoded[rows].tensors
        loss = F.cross_entropy(network(some, router(some["gist"])), corpus.answer[rows])
        for group in optimiser.param_groups:
            group["lr"] = recipe.router_learning_rate * _warm_cosine(step, recipe.router_steps)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if (step + 1) % REPORT_EVERY == 0:
            report("stage 2: router", step + 1, recipe.router_steps, f"loss {loss:.3f}")
    return router.eval().requires_grad_(False)
