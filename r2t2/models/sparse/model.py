"""Any model of transformers whose blocks route tokens to experts, on the contract."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor
from transformers import AutoConfig

from r2t2.contract import Batch
from r2t2.estimate import free_memory
from r2t2.models import choices
from r2t2.models.batching import Batches
from r2t2.models.names import parse
from r2t2.models.sparse.about import notice
from r2t2.models.sparse.estimate import auto_class, dtype, estimate, sees
from r2t2.models.sparse.network import Steered
from r2t2.models.sparse.options import Options
from r2t2.models.sparse.prompts import Prompts
from r2t2.models.sparse.routers import chosen, find, sites
from r2t2.models.speaker import Speaker, choice_tokens
from r2t2.models.weights import SMALL_FILES, fingerprint, folder
from r2t2.samples import Sample

# Part of the fingerprint: raised whenever the arithmetic or the words of a prompt change.
ARITHMETIC = 1
MOST_AT_ONCE = 64


class Sparse(Speaker):
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

    prompts: Prompts

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
        routers = chosen(find(network), self.options, path)
        widest = max(router.experts for router in routers)
        self.network = Steered(
            network,
            routers,
            self.options.tokens,
            widest if self.options.experts == "all" else self.options.experts,
            self.prompts.probe,
            self.options.prompt,
        )
        self.sites = sites(routers)
        self.fingerprint = fingerprint(files, f"{ARITHMETIC} {self.options}")
        self.notice = notice(name)
        # A pass holds an encoding, its copy, and the copy that has grown by the steered tokens.
        room = free_memory(device) // (4 * self.estimate.encoding)
        self._batches = Batches(min(MOST_AT_ONCE, room), self._near.give_up)
        self.at_once = self.estimate.at_once

    @torch.no_grad()
    def encode(self, samples: Sequence[Sample]) -> Batch:
        # Kept in main memory: there are many references, and each is as large as its prompt.
        return Batch.cat(
            self._batches(len(samples), lambda rows: self._encode(samples[rows]).to("cpu"))
        )

    def _nll(self, encoded: Batch, answers: Batch, r: Tensor, owner: Tensor) -> Tensor:
        return self.network.nll(encoded, answers.tensors["tokens"], r, owner)

    def _generate(self, encoded: Batch, r: Tensor) -> tuple[Tensor, Tensor]:
        return self.network.generate(encoded, r, self.options.answer)

    def _saving(self) -> AbstractContextManager[object]:
        return self.network.saving()

    def _encode(self, samples: Sequence[Sample]) -> Batch:
        inputs = {
            name: t.to(self.device, self._dtype if t.is_floating_point() else None)
            for name, t in self.prompts(samples).items()
        }
        most = self.options.choices
        replies = choice_tokens(samples, self.prompts.answer, most, self.options.answer)
        names = choices.write(samples, most)
        encoded = self.network.encode(inputs).tensors
        return Batch({**encoded, "choices": replies, "names": names})
