"""The one contract that every model fulfils and that everything else depends on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from r2t2.samples import Sample
from r2t2.sites import Site, expert_names


class Picked(Mapping[str, Tensor]):
    """Rows of named tensors, each picked when it is first asked for.

    So rows of what is large, the encodings of many references, can be named and divided into
    batches without a copy of all of them.
    """

    def __init__(self, whole: Mapping[str, Tensor], rows: Int[Tensor, " rows"]) -> None:
        self.whole, self.rows = whole, rows
        self._made: dict[str, Tensor] = {}

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._made:
            self._made[name] = self.whole[name][self.rows]
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.whole)

    def __len__(self) -> int:
        return len(self.whole)


@dataclass(frozen=True)
class Batch:
    """Named tensors that share their first dimension: encoded samples, or their targets."""

    tensors: Mapping[str, Tensor]

    def __len__(self) -> int:
        if isinstance(self.tensors, Picked):
            return len(self.tensors.rows)
        return len(next(iter(self.tensors.values())))

    def __getitem__(self, index: Int[Tensor, " rows"] | Bool[Tensor, " all"] | slice) -> Batch:
        if isinstance(self.tensors, Picked):
            return Batch(Picked(self.tensors.whole, self.tensors.rows[index]))
        if isinstance(index, slice):
            return Batch({name: tensor[index] for name, tensor in self.tensors.items()})
        rows = index.nonzero()[:, 0] if index.dtype == torch.bool else index
        return Batch(Picked(self.tensors, rows))

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device."""
        return Batch({name: tensor.to(device) for name, tensor in self.tensors.items()})

    def named(self, names: Mapping[str, str]) -> Batch:
        """Some of the tensors under other names, new name -> old."""
        if isinstance(self.tensors, Picked):
            whole = self.tensors.whole
            some = {new: whole[old] for new, old in names.items()}
            return Batch(Picked(some, self.tensors.rows))
        return Batch({new: self.tensors[old] for new, old in names.items()})

    @property
    def nbytes(self) -> int:
        """What it takes of memory."""
        return sum(tensor.nbytes for tensor in self.tensors.values())

    @staticmethod
    def cat(batches: Sequence[Batch]) -> Batch:
        """Several batches, one after the other."""
        names = batches[0].tensors
        return Batch({name: torch.cat([b.tensors[name] for b in batches]) for name in names})


@dataclass(frozen=True)
class Answers:
    """What a model answers to a batch under given routing weights.

    Parameters
    ----------
    candidates : the texts that `probabilities` speaks of; one tuple per sample.
    probabilities : of each candidate; rows sum to at most 1 (a model that generates text
        lists only its best candidates). Ties go to the lowest index.
    """

    candidates: Sequence[tuple[str, ...]]
    probabilities: Float[Tensor, "batch candidates"]

    @cached_property
    def texts(self) -> list[str]:
        """The most probable candidate of each sample."""
        best = self.probabilities.argmax(-1).tolist()
        return [names[i] for names, i in zip(self.candidates, best, strict=True)]

    @property
    def confidence(self) -> Float[Tensor, " batch"]:
        """The probability of each sample's answer."""
        return self.probabilities.amax(-1)

    def put(self, rows: Int[Tensor, " rows"], others: Answers) -> Answers:
        """These answers with those of some samples replaced by others, in the rows' order."""
        width = max(self.probabilities.shape[-1], others.probabilities.shape[-1])
        whole, part = (_wide(answers, width) for answers in (self, others))
        candidates = list(whole.candidates)
        for row, names in zip(rows.tolist(), part.candidates, strict=True):
            candidates[row] = names
        to = rows.to(self.probabilities.device)
        return Answers(candidates, whole.probabilities.index_copy(0, to, part.probabilities))

    def top(self, n: int) -> list[list[tuple[str, float]]]:
        """The n most probable candidates of each sample with their probabilities."""
        n = min(n, self.probabilities.shape[-1])
        values, indices = self.probabilities.topk(n, -1)
        return [
            [(names[i], p) for i, p in zip(row, ps, strict=True)]
            for names, row, ps in zip(
                self.candidates, indices.tolist(), values.tolist(), strict=True
            )
        ]


def _wide(answers: Answers, width: int) -> Answers:
    """The same answers with candidates that are none, up to so many."""
    more = width - answers.probabilities.shape[-1]
    named = [(*names, *[""] * (width - len(names))) for names in answers.candidates]
    return Answers(named, torch.nn.functional.pad(answers.probabilities, (0, more)))


class RoutedModel(ABC):
    """A frozen mixture of experts whose routing weights `r` can be given from outside.

    `r` has shape (batch, sites, experts), its rows lie on the simplex, and
    `answer(encoded, route(encoded))` is the model as it was trained. For a model whose gates
    act per token, `r` stands for a shift of every token's gate logits at a site by
    `log r - log r0(x)`, where `r0(x)` (what `route` gives) is the mean over that site's
    tokens of the model's own gate weights: so `r = r0(x)` reproduces the model exactly.
    Sites with fewer experts than the widest one are padded with weights of zero.

    Attributes
    ----------
    name : as it is typed on the command line and stored with runs.
    sites : the routing sites, in the order of `r`'s second dimension.
    fingerprint : a hash that changes when the weights or the arithmetic do.
    preset : the name of the setting (`r2t2.rerouting.settings.PRESETS`) chosen for the model.
    notice : what a user must know before trusting an answer; empty if nothing.
    router : the module behind `route` where it can be trained by itself, else None.
    at_once : how many samples' encodings are to be made at once, where many are needed.
    dear : whether references' encodings are so dear that they are kept on disk for other sessions.
    """

    name: str
    sites: tuple[Site, ...]
    fingerprint: str
    preset: str = "paper"
    notice: str = ""
    router: nn.Module | None = None
    at_once: int = 256
    dear: bool = False
    device: torch.device

    @abstractmethod
    def encode(self, samples: Sequence[Sample]) -> Batch:
        """All that does not depend on routing, computed once per sample; reads no label."""

    @abstractmethod
    def target(self, samples: Sequence[Sample]) -> Batch:
        """The samples' labels in the form `loss` takes.

        Raises
        ------
        ValueError : a sample has no label, or one that the model cannot express.
        """

    @abstractmethod
    def route(self, encoded: Batch) -> Float[Tensor, "batch sites experts"]:
        """The router's own `r`."""

    @abstractmethod
    def loss(
        self, encoded: Batch, target: Batch, r: Float[Tensor, "batch sites experts"]
    ) -> Float[Tensor, " batch"]:
        """The loss of each target under `r`, in nats, differentiable in `r` (paper, eq. 2)."""

    @abstractmethod
    def answer(self, encoded: Batch, r: Float[Tensor, "batch sites experts"]) -> Answers:
        """The answers under `r`."""

    @property
    def experts(self) -> tuple[str, ...]:
        """Every expert's name once, in order of first appearance."""
        return expert_names(self.sites)


def expert_weights(
    r: Float[Tensor, "*batch sites experts"], sites: Sequence[Site]
) -> Float[Tensor, "*batch names"]:
    """Mean over layers of each expert's weight, in the order of `RoutedModel.experts`."""
    names = expert_names(sites)
    places = [
        [(s, site.experts.index(name)) for s, site in enumerate(sites) if name in site.experts]
        for name in names
    ]
    return torch.stack(
        [torch.stack([r[..., s, e] for s, e in where]).mean(0) for where in places], -1
    )


def top1(r: Float[Tensor, "*batch sites experts"], sites: Sequence[Site]) -> Int[Tensor, " *batch"]:
    """The sample's top-1 expert: arg max of the mean over layers; ties to the lowest index."""
    return expert_weights(r, sites).argmax(-1)
