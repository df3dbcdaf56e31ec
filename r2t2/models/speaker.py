"""Models that answer in words, token by token: how their answers are scored, made and read."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from itertools import chain
from typing import Protocol

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from r2t2.contract import Answers, Batch, RoutedModel
from r2t2.memory import Near
from r2t2.models import choices
from r2t2.models.batching import Batches, rowwise
from r2t2.samples import Sample

Said = list[tuple[str, float]]  # texts and their probabilities


class Words(Protocol):
    """What turns answers into tokens and back."""

    def answer(self, sample: Sample, answer: str) -> Int[Tensor, " tokens"]:
        """The tokens of an answer as they follow a sample's prompt, -1 after their end."""

    def read(self, tokens: Int[Tensor, " tokens"]) -> str:
        """An answer's tokens as text."""


class Speaker(RoutedModel):
    """A model that scores given choices and says its answers to open questions.

    Encoded samples hold "r0", the model's own `r`; "choices", the tokens of what it would say
    for each choice, -1 after their end and where there is none; and "names", the choices' texts
    (`r2t2.models.choices`).
    """

    dear = True
    prompts: Words
    _batches: Batches

    @abstractmethod
    def _nll(
        self,
        encoded: Batch,
        answers: Batch,
        r: Float[Tensor, "batch sites experts"],
        owner: Int[Tensor, " answers"],
    ) -> Float[Tensor, " answers"]:
        """The mean over an answer's tokens of -log p, in nats, differentiable in r.

        Parameters
        ----------
        answers : their "tokens", and whatever else a target of the model holds.
        owner : the row of `encoded` and `r` that each answer belongs to.
        """

    @abstractmethod
    def _generate(
        self, encoded: Batch, r: Float[Tensor, "batch sites experts"]
    ) -> tuple[Int[Tensor, "batch tokens"], Float[Tensor, " batch"]]:
        """The greedy answers, -1 after their end, and the mean log p of their tokens."""

    @cached_property
    def _near(self) -> Near:
        return Near(self.device)

    def _saving(self) -> AbstractContextManager[object]:
        """The context in which a loss must be computed for its gradient to be taken."""
        return nullcontext()

    def target(self, samples: Sequence[Sample]) -> Batch:
        labels = [sample.label or "" for sample in samples]
        if not all(labels):
            raise ValueError(f"sample {samples[labels.index('')].id} has no label")
        return Batch({"tokens": torch.stack(list(map(self.prompts.answer, samples, labels)))})

    def route(self, encoded: Batch) -> Float[Tensor, "batch sites experts"]:
        return encoded.tensors["r0"].to(self.device)

    def loss(
        self, encoded: Batch, target: Batch, r: Float[Tensor, "batch sites experts"]
    ) -> Float[Tensor, " batch"]:
        """The mean over a label's tokens of -log p, in nats."""

        def part(rows: slice, r: Tensor) -> Tensor:
            owner = torch.arange(len(r), device=self.device)
            near, answers = self._near(rows, encoded, target)
            return self._nll(near, answers, r, owner)

        return rowwise(part, r, self._batches, self._saving)

    @torch.no_grad()
    def answer(self, encoded: Batch, r: Float[Tensor, "batch sites experts"]) -> Answers:
        """Of given choices each one's share of exp(-loss); else the greedy answer and exp(-loss).

        The loss is that of `loss`: the mean over the answer's tokens.
        """
        given = (encoded.tensors["choices"] >= 0).flatten(1).any(-1).cpu()
        said = self._said(self._scored, encoded, r, given)
        said |= self._said(self._spoken, encoded, r, ~given)
        width = max(len(row) for row in said.values())
        rows = [said[i] + [("", 0.0)] * (width - len(said[i])) for i in range(len(encoded))]
        return Answers(
            [tuple(text for text, _ in row) for row in rows],
            torch.tensor([[p for _, p in row] for row in rows], device=self.device),
        )

    def _said(
        self,
        ask: Callable[[Batch, Tensor], list[Said]],
        encoded: Batch,
        r: Tensor,
        asked: Bool[Tensor, " batch"],
    ) -> dict[int, Said]:
        index = asked.nonzero()[:, 0]

        def part(rows: slice) -> list[Said]:
            (near,) = self._near(index[rows], encoded)
            return ask(near, r[index[rows].to(r.device)])

        return dict(zip(index.tolist(), chain(*self._batches(len(index), part)), strict=True))

    def _scored(self, encoded: Batch, r: Tensor) -> list[Said]:
        replies = encoded.tensors["choices"]
        owner, slot = (replies >= 0).any(-1).nonzero(as_tuple=True)
        nll = self._nll(encoded, Batch({"tokens": replies[owner, slot]}), r, owner)
        return [
            list(zip(names, (-nll[owner == i]).softmax(-1).tolist(), strict=True))
            for i, names in enumerate(choices.read(encoded.tensors["names"]))
        ]

    def _spoken(self, encoded: Batch, r: Tensor) -> list[Said]:
        tokens, log_p = self._generate(encoded, r)
        texts = [self.prompts.read(row) for row in tokens.cpu()]
        return [[said] for said in zip(texts, log_p.exp().tolist(), strict=True)]


def answer_tokens(
    ids: Sequence[int], most: int, sample: Sample, answer: str
) -> Int[Tensor, " most"]:
    """The tokens of what is said for an answer, -1 after their end.

    Raises
    ------
    ValueError : it has no tokens or more than there may be.
    """
    if not 0 < len(ids) <= most:
        raise ValueError(
            f"the answer {answer!r} to sample {sample.id} has {len(ids)} tokens; it must have "
            f"1 to {most}, as many as the model was loaded for (answer={most})"
        )
    return F.pad(torch.tensor(ids, dtype=torch.long), (0, most - len(ids)), value=-1)


def choice_tokens(
    samples: Sequence[Sample], answers: Callable[[Sample, str], Tensor], choices: int, length: int
) -> Int[Tensor, "samples choices tokens"]:
    """The tokens of every choice of samples, -1 where there is none.

    Raises
    ------
    ValueError : a sample has more choices than the model was loaded for.
    """
    made = torch.full((len(samples), choices, length), -1)
    for row, sample in zip(made, samples, strict=True):
        if len(sample.choices) > choices:
            raise ValueError(
                f"sample {sample.id} has {len(sample.choices)} choices; the model was loaded "
                f"with choices={choices}"
            )
        for place, choice in zip(row, sample.choices, strict=False):
            place[:] = answers(sample, choice)
    return made


def mean_nll(
    tokens: Int[Tensor, "answers tokens"],
    owner: Int[Tensor, " answers"],
    logits: Callable[[Int[Tensor, " rows"], int], Float[Tensor, "rows length vocabulary"]],
) -> Float[Tensor, " answers"]:
    """-log p of answers in nats, the mean over each one's tokens.

    Parameters
    ----------
    tokens : -1 after an answer's end.
    owner : whose answers they are; of those that are read alike up to their last token, which is
        not read, one alone is run.
    logits : some of the answers, and a length -> what they say at each of so many tokens.
    """
    length = int((tokens >= 0).sum(1).max())
    tokens = tokens[:, :length]
    alike, back = torch.cat([owner[:, None], tokens[:, :-1]], 1).unique(dim=0, return_inverse=True)
    numbers = torch.arange(len(back), device=back.device)
    first = torch.full_like(back[: len(alike)], len(back)).scatter_reduce(0, back, numbers, "amin")
    said = logits(first, length)[back]
    nll = F.cross_entropy(said.movedim(-1, 1), tokens, ignore_index=-1, reduction="none")
    return nll.sum(1) / (tokens >= 0).sum(1)


def greedy(
    say: Callable[[Int[Tensor, "batch 1"] | None], Float[Tensor, "batch vocabulary"]],
    stops: Int[Tensor, " stops"],
    most: int,
) -> tuple[Int[Tensor, "batch tokens"], Float[Tensor, " batch"]]:
    """The likeliest token again and again, -1 after the end, and the mean log p of all.

    Parameters
    ----------
    say : the tokens said last, None at first -> the logits of those that follow.
    stops : tokens that end an answer and belong to it.
    """
    logits = say(None)
    ended = torch.zeros(len(logits), dtype=torch.bool, device=logits.device)
    said: list[Tensor] = []
    logs: list[Tensor] = []
    while True:
        log, best = logits.log_softmax(-1).max(-1)
        said.append(best.masked_fill(ended, -1))
        logs.append(log.masked_fill(ended, torch.nan))
        ended = ended | torch.isin(best, stops)
        if len(said) == most or ended.all():
            return torch.stack(said, 1), torch.stack(logs, 1).nanmean(1)
        logits = say(best[:, None])
