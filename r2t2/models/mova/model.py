"""MoVA on the contract: 3 blocks, each a site of 7 vision experts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from r2t2.contract import Batch
from r2t2.estimate import free_memory
from r2t2.models import choices
from r2t2.models.batching import Batches
from r2t2.models.mova.about import USUAL, always, blocks, missing
from r2t2.models.mova.estimate import dtype, estimate
from r2t2.models.mova.experts import EXPERTS
from r2t2.models.mova.network import hollow
from r2t2.models.mova.options import Options
from r2t2.models.mova.prompts import Prompts
from r2t2.models.mova.routing import chosen
from r2t2.models.names import parse
from r2t2.models.quantise import maps, package, quantise
from r2t2.models.speaker import Speaker, choice_tokens
from r2t2.models.weights import (
    SMALL_FILES,
    WEIGHT_FILES,
    fingerprint,
    folder,
    load,
    names,
    tensors,
)
from r2t2.samples import Sample

# Part of the fingerprint: raised whenever the arithmetic or the words of a prompt change.
ARITHMETIC = 1
MOST_AT_ONCE = 64
_SMALL = (*SMALL_FILES, "bert/*")


class MoVA(Speaker):
    """MoVA; docs/mova.md says what `r` means here and what is kept of a sample.

    Raises
    ------
    FileNotFoundError, OSError : there is no such model, or a file is missing.
    MemoryError : its weights do not fit.
    ValueError : an option is wrong, or the checkpoint is not of this architecture.
    """

    prompts: Prompts

    def __init__(self, name: str, device: str = "cpu") -> None:
        path, self.options = parse(name, Options, USUAL)
        self.name, self.device = name, torch.device(device)
        if self.options.quantise != "none":
            package()
        every = (*_SMALL, *WEIGHT_FILES)
        files = folder(path, _SMALL)
        here = names(files) or names(files := folder(path, every))
        config, self.network = hollow(files, here)
        self.estimate = estimate(config, self.network, self.options, device)
        self.estimate.check()
        files = folder(path, every)
        self._dtype = dtype(config, self.options)
        side = self.network.adapter.shape.image_feat_size
        self.prompts = Prompts(files, config, (side // 2) ** 2, self.options)
        whole = self.options.quantise == "none"
        placed = self.network.place(tensors(files))
        load(self.network, placed, self._dtype, device if whole else "cpu")
        if not whole:
            layers = self.network.language.model
            quantise(layers, maps(layers), self.options.quantise, self.device)
        self.network.to(self.device)
        self.sites = blocks(self.network)
        self.fingerprint = fingerprint(files, f"{ARITHMETIC} {self.options}")
        self.notice = always(path, missing(here))
        self.at_once = self.estimate.at_once
        room = free_memory(device) // self._taken
        self._batches = Batches(min(MOST_AT_ONCE, room), self._near.give_up)

    @torch.no_grad()
    def encode(self, samples: Sequence[Sample]) -> Batch:
        # Kept in main memory: there are many references, and each holds all that experts see.
        return Batch.cat(
            self._batches(len(samples), lambda rows: self._encode(samples[rows]).to("cpu"))
        )

    def _encode(self, samples: Sequence[Sample]) -> Batch:
        ids, mask = (t.to(self.device) for t in self.prompts.questions(samples))
        text = self.network.adapter.read(ids, mask)
        base = self._look("clip", samples)
        coarse = self._coarse(samples, base, text)
        held = {"clip": base, "text": text, "coarse": coarse}
        for number, expert in enumerate(EXPERTS):
            if expert.key in self.network.towers:
                held[expert.key] = self._seen(number, samples, coarse[:, number])
        own = self.network.mix(Batch(held)).weights
        most = self.options.choices
        return Batch(
            {
                **held,
                "r0": own,
                "prompt": self.prompts(samples),
                "choices": choice_tokens(samples, self.prompts.answer, most, self.options.answer),
                "names": choices.write(samples, most),
            }
        )

    def _coarse(
        self, samples: Sequence[Sample], base: Tensor, text: Tensor
    ) -> Bool[Tensor, "samples experts"]:
        """The experts that each sample is routed to; those whose weights are missing are not."""
        ids = self.prompts.routing(samples, self.network.routing).to(self.device)
        said = self.network.route(base, text, ids, self.prompts.stops.to(self.device)).cpu()
        replies = torch.stack([chosen(self.prompts.read(row)) for row in said])
        return (replies & self.network.present).to(self.device)

    def _look(
        self, key: str, samples: Sequence[Sample]
    ) -> Float[Tensor, "samples tokens channels"]:
        expert = self.network.experts[key]
        seen = expert.look([sample.image for sample in samples])
        return expert(seen.to(self.device, self._dtype))

    def _seen(
        self, number: int, samples: Sequence[Sample], routed: Bool[Tensor, " samples"]
    ) -> Float[Tensor, "samples tokens channels"]:
        """What an expert sees of the samples that are routed to it; 0 of the others."""
        key, channels = EXPERTS[number].key, self.network.adapter.shape.expert_channels[number]
        size = len(samples), self.network.experts[key].tokens, channels
        seen = torch.zeros(size, dtype=self._dtype, device=self.device)
        if routed.any():
            asked = [samples[row] for row in routed.nonzero()[:, 0].tolist()]
            seen[routed] = self._look(key, asked)
        return seen

    def _nll(self, encoded: Batch, answers: Batch, r: Tensor, owner: Tensor) -> Tensor:
        return self.network.nll(encoded, answers.tensors["tokens"], r, owner)

    def _generate(self, encoded: Batch, r: Tensor) -> tuple[Int[Tensor, "batch tokens"], Tensor]:
        stops = self.prompts.stops.to(self.device)
        return self.network.generate(encoded, r, stops, self.options.answer)

    @property
    def _taken(self) -> int:
        """Bytes that a row of a gradient takes, about."""
        sizes, shape = self.network.language.config, self.network.adapter.shape
        # Of each token a layer keeps some twelve hidden states and three of its feed-forward.
        layer = 12 * sizes.hidden_size + 3 * sizes.intermediate_size
        words = layer * sizes.num_hidden_layers * (shape.image_feat_size**2 // 4 + 100)
        block = 30 * shape.mm_hidden_size * shape.image_feat_size**2
        kept = words + block * shape.num_projector_layers
        return 2 * self.estimate.encoding + kept * self._dtype.itemsize
