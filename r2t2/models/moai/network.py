"""MoAI whole: what is seen and found is encoded up to the first mixer, the rest depends on r."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from r2t2.contract import Batch
from r2t2.models.logits import shift
from r2t2.models.moai.attention import KeysValues, Part, precise
from r2t2.models.moai.compressor import Compressor
from r2t2.models.moai.config import Config
from r2t2.models.moai.language import Language, Mix, Passed
from r2t2.models.moai.vision import Tower, projector
from r2t2.models.speaker import greedy, mean_nll

PADDING = -1


class Network(nn.Module):
    """Modules by the names of the checkpoint, and the passes that encode, score and answer.

    Tokens of prompts are `PADDING` on the left; those of a picture are `image`, the number after
    the vocabulary's last. Tokens of an answer are not mixed and are read by no mixer: so the
    original generates, whose masks hold for the prompt alone.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config, self.image = config, config.vocab_size
        self.model = Language(config)
        self.output = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.vit = Tower(config.vision_config)
        self.vision_proj = projector(config)
        self.moai_compressor = Compressor(config)
        self._below = range(config.mixers[0])
        self._above = range(config.mixers[0], config.num_hidden_layers)

    def compress(
        self,
        text: Int[Tensor, "batch words"],
        maps: Float[Tensor, "batch tokens width"],
        mapped: Bool[Tensor, " batch"],
    ) -> Float[Tensor, "batch latents d"]:
        """What auxiliary models found.

        Parameters
        ----------
        text : its tokens, `PADDING` where there is none.
        maps : what the tower sees in the panoptic maps.
        mapped : which samples have a map.
        """
        found = torch.cat([self._words(text), self.vision_proj(maps)], 1)
        there = torch.cat([text >= 0, mapped[:, None].expand(maps.shape[:2])], 1)
        return self.moai_compressor(found, there)

    def below(
        self,
        prompts: Int[Tensor, "batch tokens"],
        vision: Float[Tensor, "batch patches width"],
        fed: Int[Tensor, "batch fed"] | None = None,
    ) -> Passed:
        """Prompts, and what is said after them, up to the first mixer's layer."""
        image = prompts == self.image
        seen = self.vision_proj(vision)
        x = self._words(prompts).masked_scatter(image[..., None], seen)
        real = prompts >= 0
        if fed is not None:
            x = torch.cat([x, self._words(fed)], 1)
            image, real = _more(image, fed.shape[1], False), _more(real, fed.shape[1], True)
        return self.model(x, self._below, real, image)

    def encode(
        self,
        prompts: Int[Tensor, "batch tokens"],
        vision: Float[Tensor, "batch patches width"],
        aux: Float[Tensor, "batch latents d"],
        width: int,
    ) -> Batch:
        """All that is kept of samples, prompts padded to a width (docs/moai.md: what it weighs)."""
        hidden = self.below(prompts, vision).states[-1]
        mix = self._mix({"prompts": prompts, "aux": aux}, None, 0)
        logits = self.model(
            hidden, self._above, prompts >= 0, prompts == self.image, mix, last=1
        ).logits
        r0 = [
            _mean(of, part)
            for both in logits
            for of, part in zip(both, (mix.image, mix.language), strict=True)
        ]
        left = width - prompts.shape[1], 0
        return Batch(
            {
                "prompts": F.pad(prompts, left, value=PADDING),
                "hidden": F.pad(hidden, (0, 0, *left)),
                "vision": vision,
                "aux": aux,
                "r0": torch.stack(r0, 1),
            }
        )

    def nll(
        self,
        encoded: Batch,
        answers: Batch,
        r: Float[Tensor, "batch sites experts"],
        owner: Int[Tensor, " answers"],
    ) -> Float[Tensor, " answers"]:
        """-log p of answers in nats, the mean over each one's tokens; differentiable in r.

        Parameters
        ----------
        answers : "tokens", -1 after an answer's end, and if they are known "hidden", what the
            first mixer's layer takes of all of them but the last.
        owner : the row of `encoded` and `r` that each answer belongs to.
        """
        tokens = answers.tensors["tokens"]

        def logits(some: Tensor, length: int) -> Tensor:
            prompts = _trimmed(encoded[owner[some]])
            if "hidden" in answers.tensors:
                said = answers.tensors["hidden"][some, : length - 1]
            else:
                said = self.said(prompts, tokens[some, : length - 1])
            return self._logits(self._answered(prompts, r[owner[some]], said, length))

        return mean_nll(tokens, owner, logits)

    @torch.no_grad()
    def said(self, prompts: Batch, fed: Int[Tensor, "batch fed"]) -> Float[Tensor, "batch fed d"]:
        """What the first mixer's layer takes of an answer's tokens."""
        count = fed.shape[1]
        if count == 0:
            return prompts.tensors["hidden"][:, :0]
        made = self.below(prompts.tensors["prompts"], prompts.tensors["vision"], fed.clamp_min(0))
        return made.states[-1][:, -count:]

    @torch.no_grad()
    def generate(
        self,
        encoded: Batch,
        r: Float[Tensor, "batch sites experts"],
        stops: Int[Tensor, " stops"],
        most: int,
    ) -> tuple[Int[Tensor, "batch tokens"], Float[Tensor, " batch"]]:
        """The greedy answers, -1 after their end, and the mean log p of their tokens."""
        prompts = _trimmed(encoded)
        ids, vision = prompts.tensors["prompts"], prompts.tensors["vision"]
        real, everything = ids >= 0, range(len(self.model.layers))
        past: list[KeysValues] = []

        def say(tokens: Tensor | None) -> Tensor:
            nonlocal past, real
            if tokens is None:
                nothing = prompts.tensors["hidden"][:, :0]
                passed = self._answered(prompts, r, nothing, 1)
                past = self.below(ids, vision).kept + passed.kept
            else:
                real = _more(real, 1, True)
                passed = self.model(self._words(tokens), everything, real, past=past)
                past = passed.kept
            return self._logits(passed)[:, -1]

        return greedy(say, stops, most)

    def _answered(self, prompts: Batch, r: Tensor, said: Tensor, last: int) -> Passed:
        """Prompts and what is said after them, from the first mixer's layer on."""
        ids, count = prompts.tensors["prompts"], said.shape[1]
        mix = self._mix(prompts.tensors, r, count)
        return self.model(
            torch.cat([prompts.tensors["hidden"], said], 1),
            self._above,
            _more(ids >= 0, count, True),
            _more(ids == self.image, count, False),
            mix,
            last=last,
        )

    def _mix(self, encoded: dict[str, Tensor], r: Tensor | None, more: int) -> Mix:
        ids = encoded["prompts"]
        image = ids == self.image
        moved = None if r is None else shift(precise(r), encoded["r0"], 3).unflatten(1, (-1, 2))
        return Mix(
            Part.of(_more(image, more, False)),
            Part.of(_more((ids >= 0) & ~image, more, False)),
            encoded["aux"],
            moved,
        )

    def _words(self, ids: Tensor) -> Tensor:
        return self.model.tok_embeddings(ids.clamp_min(0))

    def _logits(self, passed: Passed) -> Tensor:
        return precise(self.output(self.model.norm(passed.states[-1])))


def padded(rows: Sequence[Sequence[int]]) -> Int[Tensor, "rows longest"]:
    """Token numbers, padded on the left."""
    width = max(map(len, rows))
    return torch.tensor([[PADDING] * (width - len(row)) + list(row) for row in rows])


def _trimmed(encoded: Batch) -> Batch:
    """Without the columns in which every prompt is padded."""
    there = (encoded.tensors["prompts"] >= 0).any(0)
    start = int(there.byte().argmax())
    cut = {name: encoded.tensors[name][:, start:] for name in ("prompts", "hidden")}
    return Batch({**encoded.tensors, **cut})


def _more(mask: Tensor, count: int, value: bool) -> Tensor:
    return F.pad(mask, (0, count), value=value)


def _mean(logits: Float[Tensor, "batch columns 3"], part: Part) -> Float[Tensor, "batch 3"]:
    """The mean over a part's tokens of the gate's weights."""
    kept = part.kept[..., None]
    return (logits.softmax(-1) * kept).sum(1) / kept.sum(1).clamp_min(1)
