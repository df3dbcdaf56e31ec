"""What is measured for the embedded model's card: `python -m r2t2 card`."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from r2t2.contract import Batch
from r2t2.controls import fit_constant
from r2t2.data import world
from r2t2.data.scenes import render
from r2t2.engine import Engine
from r2t2.models.mini.model import Mini
from r2t2.models.mini.perception import (
    CLASSES,
    EXPERTS,
    base_noise,
    labels,
    patches,
    thumbnails,
)

SCENES = 1000


def probes(model: Mini, seed: int = 0) -> list[dict[str, Any]]:
    """How well a linear probe tells each attribute from what each expert says, in percent.

    Fitted by ridge regression (on features and their squares) on half of the full cells of
    dev scenes, scored on the other half; chance is the most frequent class's share.
    """
    scenes = [world.draw(seed, world.SPLITS["dev"], i)[0] for i in range(SCENES)]
    pixels = thumbnails([render(scene) for scene in scenes])
    with torch.no_grad():
        base, seen = model.perception(patches(pixels), base_noise(pixels))
    features = torch.cat([base[:, :, None], seen], 2).flatten(0, 1)
    marks = torch.stack([torch.from_numpy(labels(scene)) for scene in scenes]).flatten(0, 1)
    rows = []
    for column, (attribute, count) in enumerate(CLASSES.items()):
        if attribute == "object":
            continue
        full = marks[:, column] < count - 1
        y = marks[full, column]
        chance = y.bincount().max() / len(y)
        row: dict[str, Any] = {"attribute": attribute, "chance": 100 * float(chance)}
        for i, name in enumerate(("base stream", *EXPERTS)):
            row[name] = _probe(features[full, i], y, count)
        rows.append(row)
    return rows


def _probe(x: Float[Tensor, "cells code"], y: Int[Tensor, " cells"], classes: int) -> float:
    x = torch.cat([x, x**2, torch.ones(len(x), 1)], 1)
    half = len(x) // 2
    gram = x[:half].T @ x[:half] + 0.1 * torch.eye(x.shape[1])
    weights = torch.linalg.solve(gram, x[:half].T @ F.one_hot(y[:half], classes).float())
    return 100 * float(((x[half:] @ weights).argmax(1) == y[half:]).float().mean())


def headroom(engine: Engine, seed: int = 0) -> list[dict[str, Any]]:
    """Dev accuracy by question type: the router, uniform, one constant r, one r per type.

    Constants are fitted on all reference samples. If one r per type were not far better than
    one r for all, no re-routing by question could show anything.
    """
    model = engine.model
    dev = world.dataset("dev", seed)
    samples = list(dev)
    parts = [engine.prepare(samples[i : i + 200]) for i in range(0, len(samples), 200)]
    encoded = Batch.cat([part.encoded for part in parts])
    own = torch.cat([part.r for part in parts])
    types = [sample.category for sample in samples]
    references = engine.reference.table["category"].to_numpy()
    whole, target = engine.everything("all")
    constant = fit_constant(model, (whole, target))
    rows = []
    for type in dict.fromkeys(sorted(types)):
        mine = torch.tensor([i for i, t in enumerate(types) if t == type])
        theirs = torch.from_numpy((references == type).nonzero()[0])
        of_type = fit_constant(model, (whole[theirs], target[theirs]))

        def accuracy(r: Tensor, mine: Tensor = mine) -> float:
            texts = model.answer(encoded[mine], r.expand(len(mine), -1, -1)).texts
            right = [samples[int(i)].is_correct(t) for i, t in zip(mine, texts, strict=True)]
            return 100 * sum(right) / len(right)

        rows.append(
            {
                "type": type,
                "n": len(mine),
                "router": accuracy(own[mine]),
                "uniform": accuracy(torch.full_like(constant, 1 / constant.shape[-1])),
                "best constant": accuracy(constant),
                "best constant of the type": accuracy(of_type),
            }
        )
    return rows
