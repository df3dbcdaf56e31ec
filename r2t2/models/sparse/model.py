"""Any model of transformers whose blocks route tokens to experts, on the contract."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from transformers import AutoConfig, PreTrainedModel

from r2t2.contract import Answers, Batch, RoutedModel
from r2t2.estimate import free_memory
from r2t2.models.batching import Batches, rowwise
from r2t2.models.names import parse
from r2t2.models.sparse.estimate import auto_class, dtype, estimate, sees
from r2t2.models.sparse.network import Steered
from r2t2.models.sparse.options import Options
from r2t2.models.sparse.prompts import Prompts
from r2t2.models.sparse.routers import Router, find
from r2t2.models.weights import SMALL_FILES, fingerprint, folder
from r2t2.samples import Sample
from r2t2.sites import Site

# Part of the fingerprint: raised whenever the arithmetic or the words of a prompt change.
ARITHMETIC = 1
MOST_AT_ONCE = 64
Said = list[tuple[str, float]]  # texts and their probabilities


class Sparse(RoutedModel):
    """A sparse mixture; docs/sparse.md says what `r` means here and which families were tried.

    Steered are the last `tokens` of the prompt and all tokens of the answer: at every chosen
    layer their logits are shifted by log r - log r0. Tokens before them see nothing of `r`; what
    the model keeps of them is computed once.

    Raises
    ------
    FileNotFoundError, OSError : there is no such model, or a file or package is missing.
    MemoryError : its weights do not fit.
    ValueError : an option is wrong, or the model routes no tokens.
    """

    def __init__(self, name: str, device: str = "cpu") -> None:
        path, self.options = parse(name, Options)
        self.name, self.device = name, torch.device(device)
        config = AutoConfig.from_pretrained(folder(path, SMALL_FILES), trust_remote_code=False)
        self._dtype = dtype(config, self.options)
        self.estimate = estimate(config, self.options, device)
        self.estimate.check()
        files = folder(path, (*SMALL_FILES, "*.safetensors"))
        self.prompts = Prompts(files, sees(config), self.options)
        network = auto_class(config).from_pretrained(
            files, dtype=self._dtype, use_safetensors=True, trust_remote_code=False
        )
        if self._dtype == torch.float64:  # which the faster ones do not know
            network.set_experts_implementation("eager")
        network.to(self.device).eval().requires_grad_(False)
        routers = _chosen(network, self.options, path)
        widest = max(router.experts for router in routers)
        self.network = Steered(
            network,
            routers,
            self.options.tokens,
            widest if self.options.experts == "all" else self.options.experts,
            self.prompts.probe,
            self.options.prompt,
        )
        self.sites = tuple(_site(router, routers) for router in routers)
        self.fingerprint = fingerprint(files, f"{ARITHMETIC} {self.options}")
        self.notice = _notice(path, self.sites, self.options, sees(config))
        # A pass holds an encoding, its copy, and the copy that has grown by the steered tokens.
        room = free_memory(device) // (4 * self.estimate.encoding)
        self._batches = Batches(min(MOST_AT_ONCE, room))

    @torch.no_grad()
    def encode(self, samples: Sequence[Sample]) -> Batch:
        # Kept in main memory: there are many references, and each is as large as its prompt.
        return Batch.cat(
            self._batches(len(samples), lambda rows: self._encode(samples[rows]).to("cpu"))
        )

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
            answers = target.tensors["tokens"][rows].to(self.device)
            owner = torch.arange(len(r), device=self.device)
            return self.network.nll(encoded[rows].to(self.device), answers, r, owner)

        return rowwise(part, r, self._batches, self.network.saving)

    @torch.no_grad()
    def answer(self, encoded: Batch, r: Float[Tensor, "batch sites experts"]) -> Answers:
        """Of given choices each one's share of exp(-loss); else the greedy answer and exp(-loss).

        The loss is that of `loss`: the mean over the answer's tokens.
        """
        given = (encoded.tensors["choices"] >= 0).flatten(1).any(-1).cpu()
        said = self._said(self._score, encoded, r, given)
        said |= self._said(self._generate, encoded, r, ~given)
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
            return ask(encoded[index[rows]].to(self.device), r[index[rows].to(r.device)])

        return dict(zip(index.tolist(), chain(*self._batches(len(index), part)), strict=True))

    def _encode(self, samples: Sequence[Sample]) -> Batch:
        inputs = {
            name: t.to(self.device, self._dtype if t.is_floating_point() else None)
            for name, t in self.prompts(samples).items()
        }
        choices = torch.full((len(samples), self.options.choices, self.options.answer), -1)
        for row, sample in zip(choices, samples, strict=True):
            if len(sample.choices) > len(row):
                raise ValueError(
                    f"sample {sample.id} has {len(sample.choices)} choices; the model was loaded "
                    f"with choices={len(row)}"
                )
            for place, choice in zip(row, sample.choices, strict=False):
                place[:] = self.prompts.answer(sample, choice)
        return Batch({**self.network.encode(inputs).tensors, "choices": choices})

    def _score(self, encoded: Batch, r: Tensor) -> list[Said]:
        choices = encoded.tensors["choices"]
        owner, slot = (choices >= 0).any(-1).nonzero(as_tuple=True)
        nll = self.network.nll(encoded, choices[owner, slot], r, owner)
        rows: list[Said] = []
        for i, row in enumerate(choices.cpu()):
            texts = [self.prompts.read(tokens) for tokens in row if (tokens >= 0).any()]
            rows.append(list(zip(texts, (-nll[owner == i]).softmax(-1).tolist(), strict=True)))
        return rows

    def _generate(self, encoded: Batch, r: Tensor) -> list[Said]:
        tokens, log_p = self.network.generate(encoded, r, self.options.answer)
        texts = [self.prompts.read(row) for row in tokens.cpu()]
        return [[said] for said in zip(texts, log_p.exp().tolist(), strict=True)]


def _chosen(network: PreTrainedModel, options: Options, path: str) -> list[Router]:
    found = find(network)
    if not found:
        raise ValueError(f"{path} routes no tokens: none of its modules is a router")
    layers = options.select(sorted({router.layer for router in found}))
    return [router for router in found if router.layer in layers]


def _site(router: Router, routers: Sequence[Router]) -> Site:
    name = f"layer {router.layer}"
    if sum(other.layer == router.layer for other in routers) > 1:
        name += " " + router.name.split(f".{router.layer}.")[1].rpartition(".")[0]
    return Site(name, tuple(f"expert {i}" for i in range(router.experts)))


def _notice(path: str, sites: Sequence[Site], options: Options, looks: bool) -> str:
    experts = "all experts" if options.experts == "all" else f"{options.experts} core experts"
    return (
        f"{path}: {experts} of {', '.join(site.name for site in sites)} are re-routed, at the last "
        f"{options.tokens} token(s) of the prompt and at the answer's. Experts of one number in "
        "different layers are different networks; what is averaged over layers is a summary."
        + ("" if looks else " It reads the question alone: it does not see pictures.")
    )
