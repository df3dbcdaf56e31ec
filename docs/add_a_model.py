"""A whole model: a language model that sees through several vision encoders, softly mixed.

Its folder holds config.json ({"encoders": ["clip", "dinov2"], "answers": ["yes", "no"]}), folders
of the encoders and of the language model, and model.safetensors with the projectors and the gate.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoImageProcessor, AutoModel, AutoModelForCausalLM, AutoTokenizer

from r2t2.contract import Answers, Batch, RoutedModel
from r2t2.models import weights
from r2t2.models.batching import Batches, rowwise
from r2t2.samples import Sample
from r2t2.sites import Site

SEEN, ASKED, SAID, CHOICES = 16, 128, 16, 8  # tokens of picture, question, answer; most choices


class Eyes(RoutedModel):
    """`eyes:FOLDER`: a gate reads the question and says how much each encoder counts."""

    def __init__(self, name: str, device: str) -> None:
        folder = Path(name.partition(":")[2])
        config = json.loads((folder / "config.json").read_text())
        eyes, self.answers = config["encoders"], config["answers"]
        self.name, self.device, self.sites = name, torch.device(device), (Site("eyes", (*eyes,)),)
        self.processors = [AutoImageProcessor.from_pretrained(folder / eye) for eye in eyes]
        self.tokenizer = AutoTokenizer.from_pretrained(folder / "language")
        self.encoders = [AutoModel.from_pretrained(folder / eye) for eye in eyes]
        self.language = AutoModelForCausalLM.from_pretrained(folder / "language")
        for part in (*self.encoders, self.language):
            part.to(self.device).eval().requires_grad_(False)
        self.words, width = self.language.get_input_embeddings(), self.language.config.hidden_size
        self.project = nn.ModuleList(nn.Linear(e.config.hidden_size, width) for e in self.encoders)
        self.gate = nn.Linear(width, len(eyes))
        mix = nn.ModuleDict({"project": self.project, "gate": self.gate})
        weights.load(mix, weights.tensors(folder), self.language.dtype, self.device)
        parts = [weights.fingerprint(folder / part, "") for part in (*eyes, "language")]
        self.fingerprint = weights.fingerprint(folder, " ".join(parts))
        self.batches = Batches(64)  # rows at once; half as many whenever memory runs out

    def encode(self, samples: Sequence[Sample]) -> Batch:
        return Batch.cat(self.batches(len(samples), lambda rows: self._encode(samples[rows])))

    def _encode(self, samples: Sequence[Sample]) -> Batch:
        seen = []
        for eye, process, project in zip(self.encoders, self.processors, self.project, strict=True):
            pixels = process([sample.image for sample in samples], return_tensors="pt").pixel_values
            features = project(eye(pixel_values=pixels.to(self.device)).last_hidden_state)
            seen.append(F.adaptive_avg_pool1d(features.mT, SEEN).mT)
        asked = self._tokens([f"{s.question}\nAnswer:" for s in samples], ASKED, left=True)
        said = asked.new_full((len(samples), max(CHOICES, len(self.answers)), SAID), -1)
        for row, sample in zip(said, samples, strict=True):
            candidates = sample.choices or self.answers
            row[: len(candidates)] = self._tokens(candidates, SAID)
        return Batch({"seen": torch.stack(seen, 1), "asked": asked, "candidates": said})

    def target(self, samples: Sequence[Sample]) -> Batch:
        return Batch({"said": self._tokens([sample.label for sample in samples], SAID)})

    def route(self, encoded: Batch) -> Tensor:
        asked = encoded.tensors["asked"]
        words, known = self.words(asked.clamp_min(0)), (asked >= 0)[..., None]
        return self.gate((words * known).sum(1) / known.sum(1)).softmax(-1)[:, None]

    def loss(self, encoded: Batch, target: Batch, r: Tensor) -> Tensor:
        said = target.tensors["said"]
        return rowwise(lambda rows, r: self._nll(encoded[rows], said[rows], r), r, self.batches)

    def answer(self, encoded: Batch, r: Tensor) -> Answers:
        said = encoded.tensors["candidates"]
        nll = torch.stack([self.loss(encoded, Batch({"said": s}), r) for s in said.unbind(1)], 1)
        p = (-nll).masked_fill((said < 0).all(-1), -torch.inf).softmax(-1)
        return Answers([tuple(self.tokenizer.decode(t[t >= 0]) for t in row) for row in said], p)

    def _mixed(self, encoded: Batch, r: Tensor) -> Tensor:
        return torch.einsum("be,betw->btw", r[:, 0], encoded.tensors["seen"])

    def _nll(self, encoded: Batch, said: Tensor, r: Tensor) -> Tensor:
        tokens = torch.cat([encoded.tensors["asked"], said], 1)
        words = torch.cat([self._mixed(encoded, r), self.words(tokens.clamp_min(0))], 1)
        mask = F.pad(tokens >= 0, (SEEN, 0), value=True)
        logits = self.language(inputs_embeds=words, attention_mask=mask).logits[:, -SAID - 1 : -1]
        nll = F.cross_entropy(logits.mT, said, ignore_index=-1, reduction="none")
        return nll.sum(1) / (said >= 0).sum(1).clamp_min(1)

    def _tokens(self, texts: Sequence[str | None], width: int, left: bool = False) -> Tensor:
        rows = [self.tokenizer.encode(text or "", add_special_tokens=False) for text in texts]
        if not all(0 < len(row) <= width for row in rows):
            raise ValueError(f"one of {texts} is missing or has more than {width} tokens")
        pad = [[-1] * (width - len(row)) for row in rows]
        padded = [p + row if left else row + p for p, row in zip(pad, rows, strict=True)]
        return torch.tensor(padded, device=self.device)


class PerToken(Eyes):
    """The same with a gate at every token of the picture, all of which r shifts alike."""

    def route(self, encoded: Batch) -> Tensor:
        return self._gates(encoded).softmax(-1).mean(1, keepdim=True)

    def _gates(self, encoded: Batch) -> Tensor:
        return self.gate(encoded.tensors["seen"].mean(1))

    def _mixed(self, encoded: Batch, r: Tensor) -> Tensor:
        shift = r.clamp_min(1e-6).log() - self.route(encoded).clamp_min(1e-6).log()
        weights = (self._gates(encoded) + shift).softmax(-1)
        return torch.einsum("bte,betw->btw", weights, encoded.tensors["seen"])
