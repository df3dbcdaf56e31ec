"""Runs strategies: one model, one reference set, batches of samples in, trajectories out."""

from __future__ import annotations

import pathlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from r2t2.contract import Answers, Batch, RoutedModel
from r2t2.controls import fit_constant, fit_router
from r2t2.embedders import embed
from r2t2.fitted import FittedLosses
from r2t2.memory import Kept, room
from r2t2.reference import ReferenceSet
from r2t2.rerouting import strategies
from r2t2.rerouting.descent import Losses, Path
from r2t2.rerouting.settings import References, Setting
from r2t2.rerouting.trajectory import Cost, Neighbours, Trajectory
from r2t2.samples import Dataset, Sample


@dataclass(frozen=True)
class Prepared:
    """Samples with all that strategies share: encoded once, routed once, embedded once."""

    samples: Sequence[Sample]
    encoded: Batch
    r: Float[Tensor, "batch sites experts"]
    embeddings: Float[np.ndarray, "batch dimensions"]

    def __getitem__(self, rows: Int[Tensor, " rows"]) -> Prepared:
        samples = [self.samples[row] for row in rows.tolist()]
        here = rows.to(self.r.device)
        return Prepared(samples, self.encoded[here], self.r[here], self.embeddings[rows.numpy()])


@dataclass(frozen=True)
class Point:
    """What the model does at one place of routing space.

    Parameters
    ----------
    answers : of the samples.
    loss : the samples' own (eq. 2), in nats; nan where they have no label that the model knows.
    objective : L(r) of equation 3, the neighbours' weighted loss; nan without neighbours.
    """

    answers: Answers
    loss: Float[Tensor, " batch"]
    objective: Float[Tensor, " batch"]


class Memory:
    """The references' encodings, each made when it is first needed and then kept.

    Several threads may ask at once: what two of them make twice is the same both times.

    Parameters
    ----------
    kept : where they are kept for other sessions, by their positions in the dataset.
    """

    def __init__(
        self,
        model: RoutedModel,
        reference: ReferenceSet,
        dataset: Dataset,
        kept: Kept | None = None,
    ) -> None:
        self._model, self._dataset, self._disk = model, dataset, kept
        self._positions = reference.table["position"].to_numpy()
        self._known = torch.zeros(len(reference), dtype=torch.bool)
        self._kept: Batch | None = None
        self._keeping = threading.Lock()

    def __call__(self, index: Int[Tensor, " rows"]) -> Batch:
        """Encodings and targets (their names begin with "target.") of some references."""
        missing = index[~self._known[index]].unique()
        if self._disk:
            missing = missing[[not self._recall(self._disk, i) for i in missing.tolist()]]
        if len(missing) == 1:
            # A batch of one is rounded otherwise than a larger one; with company, what a
            # reference is encoded to does not depend on what was asked for before.
            missing = torch.cat([missing, (missing + 1) % len(self._known)])
        for chunk in missing.split(self._model.at_once) if len(missing) else ():
            samples = [self._dataset[int(p)] for p in self._positions[chunk.numpy()]]
            encoded = self._model.encode(samples).tensors
            target = self._model.target(samples).tensors
            made = {**encoded, **{f"target.{name}": t for name, t in target.items()}}
            with self._keeping:
                self._keep(chunk, made)
            if self._disk:
                for row, i in enumerate(chunk.tolist()):
                    one = {name: tensor[row : row + 1] for name, tensor in made.items()}
                    self._disk.put(int(self._positions[i]), one)
        assert self._kept is not None, "an empty index has no encodings"
        return self._kept[index.to(next(iter(self._kept.tensors.values())).device)]

    def _recall(self, disk: Kept, i: int) -> bool:
        """Take a reference's encoding from disk, if it is there."""
        found = disk.get(int(self._positions[i]))
        if found is None:
            return False
        with self._keeping:
            self._keep(torch.tensor([i]), found)
        return True

    def _keep(self, index: Int[Tensor, " rows"], made: dict[str, Tensor]) -> None:
        if self._kept is None:
            size = len(self._known)
            self._kept = room(Batch(made), size)
        for name, tensor in made.items():
            self._kept.tensors[name][index.to(tensor.device)] = tensor
        self._known[index] = True


def split_target(batch: Batch) -> tuple[Batch, Batch]:
    """A batch of `Memory` -> what was encoded, and the targets."""
    prefix = "target."
    encoded = {name: name for name in batch.tensors if not name.startswith(prefix)}
    target = {name.removeprefix(prefix): name for name in batch.tensors if name.startswith(prefix)}
    return batch.named(encoded), batch.named(target)


class Engine:
    """A model and a reference set, ready to re-route.

    Parameters
    ----------
    model : on its device.
    reference : built with the same model.
    dataset : the samples that the reference set was built from.
    folder : where the reference set lies; its fitted losses, and what is dear to encode, are there.
    """

    def __init__(
        self,
        model: RoutedModel,
        reference: ReferenceSet,
        dataset: Dataset,
        folder: pathlib.Path | None = None,
    ) -> None:
        self.model = model
        self.reference = reference
        self.dataset = dataset
        self._folder = folder
        kept = None
        if folder and model.dear:
            # Of other weights, or of other data under the same name, encodings are others.
            of = "encodings", model.fingerprint, str(reference.manifest["seed"])
            kept = Kept(folder / "-".join(filter(None, (*of, dataset.fingerprint))))
        self._memories = {
            "all": Memory(model, reference, dataset, kept),
            "correct": Memory(model, reference.correct, dataset, kept),
        }
        self._fitted: dict[tuple[object, ...], object] = {}

    @cached_property
    def fitted(self) -> FittedLosses:
        """The references' fitted losses, read when a setting first asks for them.

        Raises
        ------
        FileNotFoundError, ValueError : as `FittedLosses.load` says.
        """
        if self._folder is None:
            raise FileNotFoundError(
                "this reference set lies nowhere, and so do no fitted losses of it; save it and "
                "open it by name"
            )
        return FittedLosses.load(self._folder, self.reference)

    def lacking(self, setting: Setting) -> str:
        """Why a setting cannot be run on any sample, in words; empty where it can."""
        if setting.algorithm == "finetuned_router" and self.model.router is None:
            return "its router cannot be fine-tuned"
        if setting.options.get("losses") == "fitted":
            try:
                _ = self.fitted
            except (FileNotFoundError, ValueError) as error:
                return str(error)
        return ""

    def references(self, setting: Setting) -> ReferenceSet:
        """The part of the reference set that a setting listens to."""
        return self.reference if setting.references == "all" else self.reference.correct

    def prepare(self, samples: Sequence[Sample]) -> Prepared:
        """Encode, route and embed samples, once for all strategies."""
        with torch.no_grad():
            encoded = self.model.encode(samples)
            r = self.model.route(encoded)
        questions = [sample.question for sample in samples]
        return Prepared(samples, encoded, r, embed(questions, self.reference.manifest["embedder"]))

    def run(self, prepared: Prepared, setting: Setting, trace: bool = True) -> Trajectory:
        """Re-route prepared samples by a strategy.

        With `trace`, the answer at every step is asked for; without, only the first and the
        last, which is what a deployed system would do.

        Raises
        ------
        ValueError : the oracle was asked for and a sample has no label.
        """
        found = self._run(prepared, setting, trace)
        if not setting.options.get("sure"):
            return found
        unsure = (found.answers[-1].confidence < setting.sure).nonzero()[:, 0].cpu()
        if not len(unsure):
            return found
        exact = replace(setting, losses="exact")
        return found.put(unsure, self._run(prepared[unsure], exact, trace))

    def _run(self, prepared: Prepared, setting: Setting, trace: bool) -> Trajectory:
        self.settle()
        started = time.perf_counter()
        neighbours, path, passes = self._path(prepared, setting)
        self.settle()
        seconds = time.perf_counter() - started
        steps = range(path.r.shape[1]) if trace else (0, path.r.shape[1] - 1)
        answers = self._answers(prepared.encoded, [path.r[:, step] for step in steps])
        known = neighbours is not None and bool(path.losses.isfinite().any())
        return Trajectory(
            setting,
            path.r,
            path.objective,
            answers,
            neighbours,
            path.losses if known else None,
            Cost(*passes, seconds),
        )

    def at(
        self, prepared: Prepared, r: Float[Tensor, "batch sites experts"], setting: Setting
    ) -> Point:
        """What prepared samples come to under routing weights from outside.

        Parameters
        ----------
        setting : whose neighbours and kernel weights the objective has.
        """
        objective = self.objective(prepared, r, setting)
        with torch.no_grad():
            try:
                target = self.model.target(prepared.samples)
                loss = self.model.loss(prepared.encoded, target, r)
            except ValueError:
                loss = objective.new_full(objective.shape, torch.nan)
            answers = self.model.answer(prepared.encoded, r)
        return Point(answers, loss, objective)

    @torch.no_grad()
    def objective(
        self, prepared: Prepared, r: Float[Tensor, "batch sites experts"], setting: Setting
    ) -> Float[Tensor, " batch"]:
        """L(r) of equation 3 under routing weights from outside, in nats; nan without neighbours.

        Parameters
        ----------
        setting : whose neighbours, kernel weights and losses it has.
        """
        neighbours = self._search(prepared, setting)
        weights = neighbours.weights.to(r.device)
        objective = (weights * self._losses(neighbours, setting, r.device)(r)).sum(-1)
        alone = ~neighbours.present.any(-1).to(r.device)
        return objective.masked_fill(alone, torch.nan)

    def fit(self, setting: Setting) -> object:
        """What a control learns from all references, learned once; None for what learns nothing.

        `run` calls it too. Who cannot have others wait for it calls it first: it may take a
        minute.
        """
        fits = {"constant": fit_constant, "finetuned_router": fit_router}
        if setting.algorithm not in fits:
            return None
        key = tuple(setting.options.items())
        if key not in self._fitted:
            self._fitted[key] = fits[setting.algorithm](
                self.model, self.everything(setting.references), setting.seed
            )
        return self._fitted[key]

    def _answers(
        self, encoded: Batch, rs: Sequence[Float[Tensor, "batch sites experts"]]
    ) -> list[Answers]:
        # Steps that change nothing are not asked again: most of mode finding's are such.
        answers: list[Answers] = []
        for i, r in enumerate(rs):
            same = i > 0 and torch.equal(r, rs[i - 1])
            answers.append(answers[-1] if same else self.model.answer(encoded, r))
        return answers

    def _path(
        self, prepared: Prepared, setting: Setting
    ) -> tuple[Neighbours | None, Path, tuple[Int[Tensor, " batch"], Int[Tensor, " batch"]]]:
        r, count = prepared.r, len(prepared.samples)
        none = torch.zeros(count, dtype=torch.long)
        once = none + (1 if setting.algorithm == "base" else 2)
        if setting.algorithm == "oracle":
            target = self.model.target(prepared.samples)

            def own_loss(r: Tensor) -> Tensor:
                return self.model.loss(prepared.encoded, target, r)

            path = strategies.oracle(own_loss, r, setting)
            return None, path, (once + setting.steps + 1, none + setting.steps)
        if setting.algorithm == "mode_finding":
            neighbours, path = self._mode_finding(prepared, setting)
            return neighbours, path, (once, none)
        if setting.algorithm not in ("ngd", "kernel_regression"):
            return None, strategies.fixed(r, self._elsewhere(prepared, setting)), (once, none)

        neighbours = self._search(prepared, setting)
        weights = neighbours.weights.to(r.device)
        losses = self._losses(neighbours, setting, r.device)
        found = neighbours.present.sum(-1)
        dear = self._exact(neighbours, setting).sum(-1)
        if setting.algorithm == "kernel_regression":
            own = self.references(setting).r[neighbours.index.numpy()]
            near = torch.from_numpy(own).to(r.device)
            path = strategies.kernel_regression(losses, weights, r, near, setting)
            tried = setting.steps + 1 if setting.search else 2
            passes = once + tried * dear, none
        else:
            path = strategies.ngd(losses, weights, r, setting)
            passes = once + (setting.steps + 1) * dear, setting.steps * dear
        alone = (found == 0).to(r.device)
        objective = path.objective.masked_fill(alone[:, None], torch.nan)
        return neighbours, Path(path.r, objective, path.losses), passes

    def _elsewhere(
        self, prepared: Prepared, setting: Setting
    ) -> Float[Tensor, "batch sites experts"]:
        """The routing of base and of the controls that have no neighbours."""
        if setting.algorithm == "base":
            return prepared.r
        if setting.algorithm == "uniform":
            widths = [len(site.experts) for site in self.model.sites]
            r = prepared.r.new_zeros(prepared.r.shape[1:])
            for site, width in enumerate(widths):
                r[site, :width] = 1 / width
            return r
        fitted = self.fit(setting)
        if isinstance(fitted, Tensor):
            return fitted
        assert isinstance(fitted, torch.nn.Module)
        with torch.no_grad():
            return fitted(prepared.encoded)

    def everything(self, references: References) -> tuple[Batch, Batch]:
        """All references, encoded, and their targets."""
        size = len(self.reference if references == "all" else self.reference.correct)
        return split_target(self._memories[references](torch.arange(size)))

    def _search(self, prepared: Prepared, setting: Setting) -> Neighbours:
        references = self.references(setting)
        return references.by_question.search(
            prepared.embeddings,
            setting,
            [sample.id for sample in prepared.samples],
            [sample.category for sample in prepared.samples],
            references.left_out(prepared.samples, setting.guard),
        )

    def _mode_finding(self, prepared: Prepared, setting: Setting) -> tuple[Neighbours, Path]:
        references = self.references(setting)
        ids = [sample.id for sample in prepared.samples]
        without = references.left_out(prepared.samples, setting.guard)
        last: Neighbours | None = None

        def near(r: Tensor) -> tuple[Tensor, Tensor]:
            nonlocal last
            found = references.by_routing.search(
                r.flatten(1).float().cpu().numpy(), setting, ids, [""] * len(ids), without
            )
            last = last or found
            there = torch.from_numpy(references.r[found.index.numpy()]).to(r.device)
            return found.weights.to(r.device), there

        path = strategies.mode_finding(near, prepared.r, setting)
        assert last is not None
        return last, path

    def _exact(self, neighbours: Neighbours, setting: Setting) -> Bool[Tensor, "batch neighbours"]:
        """The neighbours whose losses the model has to compute: all, or those fitted badly."""
        if setting.losses == "exact":
            return neighbours.present
        return neighbours.present & ~self.fitted.trusted[self.rows(neighbours.index, setting)]

    def rows(self, index: Int[Tensor, "*shape"], setting: Setting) -> Int[Tensor, "*shape"]:
        """Positions among a setting's references -> among all."""
        if setting.references == "all":
            return index
        kept = self.reference.table["correct"].to_numpy().nonzero()[0]
        return torch.from_numpy(kept)[index]

    def _losses(self, neighbours: Neighbours, setting: Setting, device: torch.device) -> Losses:
        """The neighbours' losses as a function of the samples' `r`, all in one pass."""
        exact = self._exact(neighbours, setting)
        parts: list[tuple[Tensor, Tensor, Callable[[Tensor, Tensor], Tensor]]] = []

        def add(
            chosen: Tensor, losses: Callable[[Tensor], Callable[[Tensor, Tensor], Tensor]]
        ) -> None:
            owner, slot = chosen.nonzero(as_tuple=True)
            if len(owner):
                each = losses(neighbours.index[owner, slot])
                parts.append((owner.to(device), slot.to(device), each))

        def computed(index: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
            encoded, target = split_target(self._memories[setting.references](index))
            return lambda r, owner: self.model.loss(encoded, target, r[owner])

        add(exact, computed)
        if setting.losses == "fitted":
            add(
                neighbours.present & ~exact,
                lambda index: self.fitted.of(self.rows(index, setting), device),
            )
        nothing = torch.zeros(neighbours.index.shape, device=device)

        def losses(r: Float[Tensor, "batch sites experts"]) -> Float[Tensor, "batch neighbours"]:
            found = nothing + 0 * r.sum()
            for owner, slot, each in parts:
                values = each(r, owner)
                found = found.to(values.dtype).index_put((owner, slot), values)
            return found

        return losses

    def settle(self) -> None:
        """Wait for what the device was told to do, as a clock must."""
        if self.model.device.type == "cuda":
            torch.cuda.synchronize(self.model.device)
