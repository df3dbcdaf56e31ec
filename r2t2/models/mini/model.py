"""The embedded model on the contract."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor, nn

from r2t2.contract import Answers, Batch, RoutedModel
from r2t2.data.questions import ANSWERS
from r2t2.metrics import plain
from r2t2.models.mini import fast
from r2t2.models.mini.network import BLOCKS, Network, Router, words
from r2t2.models.mini.notice import NOTICE
from r2t2.models.mini.perception import EXPERTS, Perception, base_noise, patches, thumbnails
from r2t2.models.mini.tokens import tokenise, word_table
from r2t2.samples import Sample
from r2t2.sites import Site

# Part of the fingerprint: raised whenever the arithmetic changes while the weights do not.
ARITHMETIC = 1


class Gate(nn.Module):
    """The router as a function of an encoded batch."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = Router(word_table().shape[1])

    def forward(self, encoded: Batch) -> Float[Tensor, "batch sites experts"]:
        return self.gate(encoded.tensors["gist"])


class Mini(RoutedModel):
    """A small multimodal mixture for rendered scenes; docs/mini.md is its model card.

    Raises
    ------
    FileNotFoundError : there is no checkpoint; the message says how to train one.
    ValueError : the checkpoint is damaged or of another architecture.
    """

    sites = tuple(Site(f"block {i + 1}", EXPERTS) for i in range(BLOCKS))
    preset = "mini"
    notice = NOTICE

    def __init__(self, checkpoint: Path, name: str = "mini", device: str = "cpu") -> None:
        if not checkpoint.exists():
            raise FileNotFoundError(
                f"there is no checkpoint of {name}; train it with 'python -m r2t2 train --seed N' "
                "(mini-1 is seed 1) or use the model that ships, mini"
            )
        self.name = name
        self.device = torch.device(device)
        self.perception = Perception()
        self.network = Network(len(ANSWERS), word_table().shape[1])
        gate = Gate()
        self.router = gate
        modules = nn.ModuleDict(
            {"perception": self.perception, "network": self.network, "router": gate.gate}
        )
        try:
            modules.load_state_dict(load_file(checkpoint))
        except Exception as error:
            raise ValueError(
                f"the checkpoint {checkpoint.name} of {name} cannot be read ({error}); restore it "
                "or train it again with 'python -m r2t2 train'"
            ) from error
        modules.to(self.device).eval().requires_grad_(False)
        digest = hashlib.sha256(checkpoint.read_bytes() + bytes([ARITHMETIC]))
        self.fingerprint = digest.hexdigest()[:16]
        self._table = word_table().to(self.device)

    @torch.no_grad()
    def encode(self, samples: Sequence[Sample]) -> Batch:
        pixels = thumbnails([sample.image for sample in samples])
        base, seen = self.perception(
            patches(pixels).to(self.device), base_noise(pixels).to(self.device)
        )
        tokens = tokenise([sample.question for sample in samples]).to(self.device)
        encoded = self.network.encode(*words(tokens, self._table), base, seen)
        allowed = [
            [not sample.choices or answer in sample.choices for answer in ANSWERS]
            for sample in samples
        ]
        return Batch({**encoded, "allowed": torch.tensor(allowed, device=self.device)})

    def target(self, samples: Sequence[Sample]) -> Batch:
        indices = []
        for sample in samples:
            # The label's own text, however the sample's metric scores other answers.
            label = plain(sample.label or "")
            known = [i for i, answer in enumerate(ANSWERS) if label and plain(answer) == label]
            if not known:
                raise ValueError(
                    f"{self.name} cannot express the label {sample.label!r}; it answers with one "
                    f"of {', '.join(ANSWERS)}"
                )
            indices.append(known[0])
        return Batch({"answer": torch.tensor(indices, device=self.device)})

    def route(self, encoded: Batch) -> Float[Tensor, "batch sites experts"]:
        assert self.router is not None
        return self.router(encoded)

    def loss(
        self, encoded: Batch, target: Batch, r: Float[Tensor, "batch sites experts"]
    ) -> Float[Tensor, " batch"]:
        logits = self._logits(encoded, r)
        return F.cross_entropy(logits, target.tensors["answer"], reduction="none")

    def answer(self, encoded: Batch, r: Float[Tensor, "batch sites experts"]) -> Answers:
        with torch.no_grad():
            probabilities = self._logits(encoded, r).softmax(-1)
        return Answers([ANSWERS] * len(r), probabilities)

    def _logits(
        self, encoded: Batch, r: Float[Tensor, "batch sites experts"]
    ) -> Float[Tensor, "batch answers"]:
        # Multiple choice: the model's belief among the options it was given.
        logits = fast.logits(self.network, encoded.tensors, r)
        return logits.masked_fill(~encoded.tensors["allowed"], -1e4)
