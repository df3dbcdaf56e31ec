"""The reference set: labelled samples, what the model makes of them, and how to find them.

A stored set is read without torch, so that pages about it open at once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from safetensors.numpy import load_file, save_file

from r2t2.files import written
from r2t2.samples import Dataset

if TYPE_CHECKING:
    from r2t2.contract import RoutedModel
    from r2t2.rerouting.neighbours import Index

FORMAT = 1
# Samples that are answered together; part of how floats are rounded.
BATCH = 256
# Up to so many references each is compared with a question: a moment (docs/scaling.md).
EXACT_UP_TO = 500_000
_BUILT_FROM = {"model", "model_fingerprint", "embedder", "dataset", "seed"}
Report = Callable[[int, int], None]


@dataclass(frozen=True)
class ReferenceSet:
    """Labelled samples with their embeddings and the model's own routing of them.

    Parameters
    ----------
    manifest : what it was built from (model, its fingerprint, embedder, dataset, seed) and how
        many samples were kept (the model answers them correctly) and dropped.
    table : one row per sample: position (in the dataset), id, question, label, answer, correct,
        loss, category.
    embeddings : unit vectors of the questions.
    r : the router's own.
    """

    manifest: dict[str, Any]
    table: pd.DataFrame
    embeddings: Float[np.ndarray, "samples dimensions"]
    r: Float[np.ndarray, "samples sites experts"]

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

    def save(self, folder: Path) -> None:
        """Write the set into a folder; the manifest last, so that it vouches for the rest."""
        with written(folder / "tensors.safetensors") as part:
            save_file({"embeddings": self.embeddings, "r": self.r}, part)
        with written(folder / "samples.parquet") as part:
            self.table.to_parquet(part, index=False)
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
        command = f"'python -m r2t2 reference build --model {model}'"
        if not (folder / "manifest.json").exists():
            raise FileNotFoundError(
                f"there is no reference set in {folder}; build one with {command}"
            )
        try:
            manifest = json.loads((folder / "manifest.json").read_text())
            table = pd.read_parquet(folder / "samples.parquet")
            tensors = load_file(folder / "tensors.safetensors")
            embeddings, r = tensors["embeddings"], tensors["r"]
            whole = (
                manifest.pop("format") == FORMAT
                and manifest.keys() >= _BUILT_FROM
                and len(table) == len(r) == len(embeddings)
            )
        except Exception as error:
            raise ValueError(
                f"the reference set in {folder} is damaged ({error}); build it again with {command}"
            ) from error
        if not whole:
            raise ValueError(f"the parts of the reference set in {folder} do not fit together")
        return ReferenceSet(manifest, table, embeddings, r)

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
                f"Build one with 'python -m r2t2 reference build --model {model.name}'"
            )
        return found


def build(
    model: RoutedModel,
    dataset: Dataset,
    seed: int,
    embedder: str = "wordllama",
    batch: int = BATCH,
    report: Report = lambda done, total: None,
) -> ReferenceSet:
    """Answer every labelled sample with the model and keep what happened (section 3).

    All samples are stored; `ReferenceSet.correct` is what the strategies see by default.

    Raises
    ------
    ValueError : the model answers none of the samples correctly.
    """
    parts = (answered(model, dataset, i, batch) for i in range(0, len(dataset), batch))
    built_from = {
        "model": model.name,
        "model_fingerprint": model.fingerprint,
        "embedder": embedder,
        "dataset": dataset.name,
        "seed": seed,
    }
    return collected(parts, built_from, len(dataset), report)


@dataclass(frozen=True)
class Part:
    """Some samples of a reference set as they were answered: rows of its table, and their `r`."""

    rows: list[dict[str, Any]]
    r: Float[np.ndarray, "samples sites experts"]


def answered(model: RoutedModel, dataset: Dataset, start: int, batch: int = BATCH) -> Part:
    """The samples from a position on, as many as are answered together."""
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
    return Part(rows, r.float().cpu().numpy())


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
    return ReferenceSet(manifest, table, embeddings, np.concatenate([part.r for part in there]))
