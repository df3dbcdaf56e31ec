"""Samples as the tokens that MoAI-7B was trained to be asked with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

from r2t2.models.moai.config import Config
from r2t2.models.moai.network import padded
from r2t2.models.moai.options import Options
from r2t2.models.moai.tokens import Tokenizer
from r2t2.models.speaker import answer_tokens
from r2t2.prompts import Asked, ask
from r2t2.samples import Sample

# A part of the checkpoint's interface, to the letter. The picture stands between the two.
SYSTEM = (
    "AI assistant should give helpful and detailed answers to user after fully understanding an "
    "image. "
)
TURN = " [UNUSED_TOKEN_146]user\n{}[UNUSED_TOKEN_145]\n[UNUSED_TOKEN_146]assistant\n"
STOP = "[U"


class Prompts:
    """The words of a question and of its answers, as tokens.

    Raises
    ------
    OSError : the folder holds no tokenizer.
    """

    def __init__(self, folder: Path, config: Config, options: Options) -> None:
        self.tokenizer, self._options = Tokenizer(folder), options
        image = [config.vocab_size] * config.vision_config.tokens
        self._opening = [self.tokenizer.start, *self.tokenizer(SYSTEM), *image]
        self.stops = torch.tensor(self.tokenizer.stops)

    def __call__(self, samples: Sequence[Sample]) -> Int[Tensor, "samples tokens"]:
        """Prompts, padded on the left to the longest of them.

        Raises
        ------
        ValueError : one is longer than there may be.
        """
        rows = [self._opening + self.tokenizer(self.turn(sample)) for sample in samples]
        for sample, row in zip(samples, rows, strict=True):
            if len(row) > self._options.prompt:
                raise ValueError(
                    f"the prompt of sample {sample.id} has {len(row)} tokens; the model was "
                    f"loaded with prompt={self._options.prompt}: load it with more"
                )
        return padded(rows)

    def turn(self, sample: Sample) -> str:
        """What follows the picture."""
        return TURN.format(self._asked(sample).text)

    def _asked(self, sample: Sample) -> Asked:
        return ask(sample, self._options.form, self._options.texts)

    def found(self, texts: Sequence[str]) -> Int[Tensor, "samples words"]:
        """What auxiliary models found, padded on the left to the longest."""
        rows = [[self.tokenizer.start, *self.tokenizer(text)] for text in texts]
        return padded(rows)

    def answer(self, sample: Sample, answer: str) -> Int[Tensor, " tokens"]:
        """The tokens of what is to be said for an answer, -1 after their end.

        Raises
        ------
        ValueError : it has no tokens or more than there may be.
        """
        turn, most = self.turn(sample), self._options.answer
        before = self.tokenizer(turn)
        both = self.tokenizer(turn + self._asked(sample).reply(sample, answer))
        return answer_tokens(both[len(before) :], most, sample, answer)

    def read(self, tokens: Int[Tensor, " tokens"]) -> str:
        """An answer's tokens as text, up to the first "[U"."""
        return self.tokenizer.read(tokens.tolist()).partition(STOP)[0].strip()
