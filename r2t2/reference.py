"""The reference set: labelled samples, what the model makes of them, and how to find them.

A stored set is read without torch, so that pages about it open at once.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from safetensors.numpy import load_file, save_file

from r2t2 import overlap
from r2t2.files import written
from r2t2.samples import Dataset, Sample

if TYPE_CHECKING:
    from r2t2.contract import RoutedModel
    from r2t2.rerouting.neighbours import Index
    from r2t2.rerouting.settings import Guard

FORMAT = 1
_TRACES = "traces.parquet"
# Up to so many references each is compared with a question: a moment (docs/scaling.md).
EXACT_UP_TO = 500_000
_BUILT_FROM = {"model", "model_fingerprint", "embedder", "dataset", "seed"}
MOST_PICTURES = 32
Report = Callable[[int, int], None]


@dataclass(frozen=True)
class ReferenceSet:
    """Labelled samples with their embeddings and the model's own routing of them.

    Parameters
    ----------
    manifest : what it was built from (model, its fingerprint, embedder, dataset, seed, and data,
        the dataset's fingerprint where it has one) and how many samples were kept (the model
        answers them correctly) and dropped.
    table : one row per sample: position (in the dataset), id, question, label, answer, correct,
        loss, category.
    embeddings : unit vectors of the questions.
    r : the router's own.
    traces : what the samples are known again by (`overlap.traces`), where they come from outside
        the embedded world, whose splits share no picture; beside the rest, and no part of it.
    """

    manifest: dict[str, Any]
    table: pd.DataFrame
    embeddings: Float[np.ndarray, "samples dimensions"]
    r: Float[np.ndarray, "samples sites experts"]
    traces: pd.DataFrame | None = None

    def __len__(self) -> int:
        return len(self.table)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of all that the set holds."""
        digest = hashlib.sha256(json.dumps(self.manifest, sort_keys=True).encode())
        digest.update(self.table.to_csv(index=False).encode())
        digest.update(self.embeddings.tobytes() + self.r.tobytes())
        return digest.hexdigest()[:16]

    @cached_property
    def correct(self) -> ReferenceSet:
        """The samples that the model answers correctly: the paper's reference set."""
        kept = self.table["correct"].to_numpy()
        return replace(
            self,
            table=self.table[kept].reset_index(drop=True),
            embeddings=self.embeddings[kept],
            r=self.r[kept],
            traces=None if self.traces is None else self.traces[kept].reset_index(drop=True),
        )

    @property
    def exact(self) -> bool:
        """Whether the nearest references are surely found; of very many, most of them are."""
        return len(self) <= EXACT_UP_TO

    @cached_property
    def by_question(self) -> Index:
        """The references to search by their questions' embeddings."""
        from r2t2.rerouting.neighbours import Index

        ids, groups = self.table["id"], self.table["category"]
        return Index(self.embeddings, ids, groups, exact=self.exact)

    @cached_property
    def by_routing(self) -> Index:
        """The references to search by their routing weights."""
        from r2t2.rerouting.neighbours import Index

        flat = self.r.reshape(len(self.r), -1)
        return Index(flat, self.table["id"], self.table["category"], "l2", self.exact)

    @cached_property
    def _known(self) -> overlap.Known | None:
        return None if self.traces is None else overlap.Known(self.traces)

    def overlaps(self, samples: Sequence[Sample]) -> list[overlap.Overlap]:
        """Which references overlap with each sample; none in a set without traces."""
        nothing = overlap.Overlap(*[frozenset[int]()] * 3)
        return [nothing] * len(samples) if self._known is None else self._known(samples)

    def left_out(self, samples: Sequence[Sample], guard: Guard) -> list[frozenset[int]]:
        """The references that each sample does not listen to, by their positions."""
        return [one.left_out(guard) for one in self.overlaps(samples)]

    def save(self, folder: Path) -> None:
        """Write the set into a folder; the manifest last, so that it vouches for the rest."""
        with written(folder / "tensors.safetensors") as part:
            save_file({"embeddings": self.embeddings, "r": self.r}, part)
        with written(folder / "samples.parquet") as part:
            self.table.to_parquet(part, index=False)
        if self.traces is not None:
            with written(folder / _TRACES) as part:
                self.traces.to_parquet(part, index=False)
        with written(folder / "manifest.json") as part:
            part.write_text(json.dumps({"format": FORMAT, **self.manifest}, indent=1) + "\n")

    @staticmethod
    def read(folder: Path, model: str) -> ReferenceSet:
        """A set as it is stored, whether or not the model is here.

        Parameters
        ----------
        model : its name, for the message that says how to build a set.

        Raises
        ------
        FileNotFoundError : there is none; the message says how to build one.
        ValueError : the set is damaged.
        """
        command = how_to_build(model)
        if not (folder / "manifest.json").exists():
            raise FileNotFoundError(
                f"there is no reference set in {folder}; build one with: {command}"
            )
        try:
            manifest = json.loads((folder / "manifest.json").read_text())
            table = pd.read_parquet(folder / "samples.parquet")
            tensors = load_file(folder / "tensors.safetensors")
            kept = folder / _TRACES
            traces = pd.read_parquet(kept) if kept.exists() and manifest.get("data") else None
            embeddings, r = tensors["embeddings"], tensors["r"]
            whole = (
                manifest.pop("format") == FORMAT
                and manifest.keys() >= _BUILT_FROM
                and len(table) == len(r) == len(embeddings)
                and (traces is not None or not manifest.get("data"))
                and (traces is None or len(traces) == len(r))
            )
        except Exception as error:
            raise ValueError(
                f"the reference set in {folder} is damaged ({error}); build it again with: "
                f"{command}"
            ) from error
        if not whole:
            raise ValueError(f"the parts of the reference set in {folder} do not fit together")
        return ReferenceSet(manifest, table, embeddings, r, traces)

    @staticmethod
    def load(folder: Path, model: RoutedModel) -> ReferenceSet:
        """A set to re-route a model with.

        Raises
        ------
        FileNotFoundError : there is none; the message says how to build one.
        ValueError : the set is damaged, or was built with another model.
        """
        found = ReferenceSet.read(folder, model.name)
        built = found.manifest
        if built["model_fingerprint"] != model.fingerprint:
            raise ValueError(
                f"the reference set in {folder} was built with {built['model']} "
                f"{built['model_fingerprint']}, but the model in use is {model.name} "
                f"{model.fingerprint}: its routing and its correct answers are another model's. "
                f"Build one with: {how_to_build(model.name)}"
            )
        return found


def how_to_build(model: str) -> str:
    """The command that builds a model's reference set."""
    return shlex.join(["python", "-m", "r2t2", "reference", "build", "--model", model])


def build(
    model: RoutedModel,
    dataset: Dataset,
    seed: int,
    embedder: str = "wordllama",
    report: Report = lambda done, total: None,
) -> ReferenceSet:
    """Answer every labelled sample with the model and keep what happened (section 3).

    All samples are stored; `ReferenceSet.correct` is what the strategies see by default.

    Raises
    ------
    ValueError : the model answers none of the samples correctly.
    """
    batch = at_once(model, dataset)
    parts = (answered(model, dataset, i, batch) for i in range(0, len(dataset), batch))
    return collected(parts, built_from(model, dataset, seed, embedder), len(dataset), report)


def built_from(model: RoutedModel, dataset: Dataset, seed: int, embedder: str) -> dict[str, Any]:
    """The manifest of a set, but for what is counted when it is built."""
    data = {"data": dataset.fingerprint} if dataset.fingerprint else {}
    return {
        "model": model.name,
        "model_fingerprint": model.fingerprint,
        "embedder": embedder,
        "dataset": dataset.name,
        "seed": seed,
        **data,
    }


@dataclass(frozen=True)
class Part:
    """Some samples of a reference set as they were answered.

    Parameters
    ----------
    rows : of its table.
    r : the router's own.
    traces : as `ReferenceSet` has them.
    """

    rows: list[dict[str, Any]]
    r: Float[np.ndarray, "samples sites experts"]
    traces: pd.DataFrame | None


def at_once(model: RoutedModel, dataset: Dataset) -> int:
    """Samples that are answered together; their number is part of how floats are rounded."""
    # Pictures from outside are of any size, and all of a batch are in memory at once.
    return min(model.at_once, MOST_PICTURES) if dataset.fingerprint else model.at_once


def answered(model: RoutedModel, dataset: Dataset, start: int, batch: int) -> Part:
    """The samples from a position on, `at_once` of them."""
    import torch

    samples = dataset[start : start + batch]
    with torch.no_grad():
        encoded = model.encode(samples)
        r = model.route(encoded)
        answers = model.answer(encoded, r).texts
        losses = model.loss(encoded, model.target(samples), r).tolist()
    rows = [
        {
            "position": start + offset,
            "id": sample.id,
            "question": sample.question,
            "label": sample.label,
            "answer": answer,
            "correct": sample.is_correct(answer),
            "loss": round(loss, 4),
            "category": sample.category,
        }
        for offset, (sample, answer, loss) in enumerate(zip(samples, answers, losses, strict=True))
    ]
    traces = overlap.traces(samples) if dataset.fingerprint else None
    return Part(rows, r.float().cpu().numpy(), traces)


def collected(
    parts: Iterable[Part],
    built_from: dict[str, Any],
    size: int,
    report: Report = lambda done, total: None,
) -> ReferenceSet:
    """The reference set of all parts, in whatever order they come.

    Parameters
    ----------
    built_from : the manifest, but for what is counted here.
    size : the samples of all parts together.

    Raises
    ------
    ValueError : none of the samples was answered correctly.
    """
    from r2t2.embedders import embed

    there: list[Part] = []
    for part in parts:
        there.append(part)
        report(sum(len(part.rows) for part in there), size)
    there.sort(key=lambda part: part.rows[0]["position"])
    table = pd.DataFrame([row for part in there for row in part.rows])
    kept = int(table["correct"].sum())
    if kept == 0:
        raise ValueError(
            f"{built_from['model']} answers none of the {len(table)} samples of "
            f"{built_from['dataset']} correctly, so there is nothing to learn from; check the "
            "model and the dataset"
        )
    manifest = {**built_from, "kept": kept, "dropped": len(table) - kept}
    embeddings = embed(table["question"], built_from["embedder"])
    traces = None
    if "data" in built_from:
        traces = pd.concat([part.traces for part in there], ignore_index=True)
    r = np.concatenate([part.r for part in there])
    return ReferenceSet(manifest, table, embeddings, r, traces)
