"""A model, a world and an engine small enough to run in milliseconds."""

from __future__ import annotations

import zlib
from functools import cache

import numpy as np
import torch
from PIL import Image

from r2t2 import fitted, reference
from r2t2.contract import Answers, Batch, RoutedModel
from r2t2.engine import Engine
from r2t2.rerouting.settings import Setting
from r2t2.runs.runner import Runner
from r2t2.samples import Dataset, Sample
from r2t2.sites import Site

torch.set_num_threads(1)

COLOURS = ("red", "green", "blue")
WORDS = ("ball", "cup", "door", "hat", "kite", "lamp")
NGD = Setting("ngd", k=3, steps=3, learning_rate=0.5)
SIZE, SHARD = 10, 4


class Toy(RoutedModel):
    """Guesses a picture's main colour; sums of products only, so no batch changes a float."""

    name = "toy"
    sites = (Site("low", ("a", "b", "c")), Site("high", ("a", "b", "c")))
    fingerprint = "0123456789abcdef"
    device = torch.device("cpu")

    def __init__(self):
        generator = torch.Generator().manual_seed(0)
        self.experts_of = torch.randn(2, 3, 3, 3, generator=generator)

    def encode(self, samples):
        pixels = [np.asarray(sample.image, np.float32).mean((0, 1)) / 255 for sample in samples]
        gate = [zlib.crc32(sample.question.encode()) % 7 for sample in samples]
        return Batch(
            {"pixels": torch.from_numpy(np.stack(pixels)), "gate": torch.tensor(gate)[:, None]}
        )

    def target(self, samples):
        return Batch({"colour": torch.tensor([COLOURS.index(sample.label) for sample in samples])})

    def route(self, encoded):
        gate = torch.arange(6).reshape(1, 2, 3) * encoded.tensors["gate"][..., None]
        return (gate % 5 / 2).softmax(-1)

    def loss(self, encoded, target, r):
        chosen = target.tensors["colour"][:, None]
        return -self._logits(encoded, r).log_softmax(-1).gather(1, chosen)[:, 0]

    def answer(self, encoded, r):
        return Answers([COLOURS] * len(r), self._logits(encoded, r).softmax(-1))

    def _logits(self, encoded, r):
        pixels = encoded.tensors["pixels"][:, None, None, :, None]
        return ((pixels * self.experts_of).sum(3) * r[..., None]).sum((1, 2))


def dataset(name="colours", size=SIZE, seed=0):
    """Questions about plain pictures; the label is the strongest of the three colours."""

    def make(position):
        rng = np.random.default_rng([seed, zlib.crc32(name.encode()), position])
        colour = rng.integers(0, 256, 3)
        word = WORDS[position % len(WORDS)]
        return Sample(
            id=f"{name}-{seed}-{position}",
            question=f"what colour is the {word}?",
            load_image=lambda: Image.new("RGB", (4, 4), tuple(colour.tolist())),
            label=COLOURS[int(colour.argmax())],
            dataset=name,
            category=word,
        )

    return Dataset(name, size, make)


@cache
def engine():
    """The toy model with a reference set of 60 samples."""
    model, references = Toy(), dataset("references", 60)
    made = Engine(model, reference.build(model, references, 0, "wordllama"), references)
    every = made.everything("all")
    made.fitted = fitted.fit(model, made.reference, *every, ridge=1e-6)
    return made


def run(folder, setting=NGD, strategy="ngd", size=SIZE, **options):
    """A run of the toy in shards of four samples."""
    return Runner(engine(), folder, SHARD).run(dataset(size=size), 0, strategy, setting, **options)


def files(folder):
    """The run's parquet files by name, as bytes."""
    return {path.name: path.read_bytes() for path in folder.glob("*/*.parquet")}
