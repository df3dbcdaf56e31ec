"""Samples and answers as the tokens and pixels that a model of transformers takes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Int
from PIL import Image
from torch import Tensor
from transformers import AutoProcessor, AutoTokenizer

from r2t2.models.sparse.options import Options
from r2t2.models.speaker import answer_tokens
from r2t2.prompts import Asked, ask
from r2t2.samples import Sample

PROBE = (
    "Nobody asks for an answer to these lines. They are read once in one go and once with a pause "
    "before their last words, and what comes to mind after each word should be the same."
)


class Prompts:
    """A model's processor or tokenizer, and the words in which a question is put to it.

    Parameters
    ----------
    folder : of the model.
    sees : whether it takes pictures.

    Raises
    ------
    OSError : the folder holds no processor or tokenizer, or a package is missing for it.
    """

    def __init__(self, folder: Path, sees: bool, options: Options) -> None:
        auto = AutoProcessor if sees else AutoTokenizer
        try:
            self._processor = auto.from_pretrained(folder, trust_remote_code=False)
        except (ImportError, OSError, ValueError) as error:
            raise OSError(
                f"what turns questions into tokens could not be loaded from {folder}: "
                + " ".join(str(error).split())
            ) from error
        self._options, self._sees = options, sees
        self.tokenizer = self._processor.tokenizer if sees else self._processor
        self.tokenizer.padding_side = "left"
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token

    @property
    def _chats(self) -> bool:
        return bool(getattr(self._processor, "chat_template", None))

    def __call__(self, samples: Sequence[Sample]) -> dict[str, Tensor]:
        """What the model's forward takes, padded on the left to the longest prompt there may be.

        Raises
        ------
        ValueError : a prompt is longer than that, or shorter than what is steered.
        """
        texts = [self.text(sample) for sample in samples]
        pictures = {"images": [[self._picture(sample)] for sample in samples]}
        inputs = self._processor(
            text=texts,
            **(pictures if self._sees else {}),
            padding=True,
            add_special_tokens=not self._chats,
            return_tensors="pt",
        )
        kept = inputs if self._sees else {n: inputs[n] for n in ("input_ids", "attention_mask")}
        lengths = inputs["attention_mask"].sum(1)
        longest, most = int(lengths.max()), self._options.prompt
        if longest > most:
            raise ValueError(
                f"the prompt of sample {samples[int(lengths.argmax())].id} has {longest} tokens; "
                f"the model was loaded with prompt={most}: load it with more, or with a smaller "
                f"side={self._options.side} of pictures"
            )
        if int(lengths.min()) <= self._options.tokens:
            raise ValueError(
                f"a prompt has {int(lengths.min())} tokens, of which tokens={self._options.tokens} "
                "are steered; at least one must be left"
            )
        pad = self.tokenizer.pad_token_id
        shape = inputs["input_ids"].shape
        return {
            name: F.pad(tensor, (most - shape[1], 0), value=pad if name == "input_ids" else 0)
            if tensor.shape == shape
            else tensor
            for name, tensor in kept.items()
        }

    def text(self, sample: Sample) -> str:
        """The prompt, a picture being its placeholder; what the model says next is its answer."""
        question = self._asked(sample).text
        if not self._chats:
            picture = f"{self._processor.image_token}\n" if self._sees else ""
            return f"{picture}Question: {question}\nAnswer:{self._options.lead}"
        content: Any = [{"type": "image"}, {"type": "text", "text": question}]
        talk = [{"role": "user", "content": content if self._sees else question}]
        # Templates of models that can think first know this switch; the others ignore it.
        made = self._processor.apply_chat_template(
            talk, tokenize=False, add_generation_prompt=True, enable_thinking=False
        )
        return str(made) + self._options.lead

    def answer(self, sample: Sample, answer: str) -> Int[Tensor, " tokens"]:
        """The tokens of an answer as they follow a sample's prompt, -1 after their end.

        Raises
        ------
        ValueError : the answer has no tokens or more than there may be.
        """
        prompt, most = self.text(sample), self._options.answer
        reply = self._asked(sample).reply(sample, answer)
        before, after = map(self._ids, (prompt, prompt + ("" if self._chats else " ") + reply))
        return answer_tokens(after[len(before) :], most, sample, answer)

    @property
    def probe(self) -> Int[Tensor, " tokens"]:
        """The tokens of some text."""
        return torch.tensor(self._ids(PROBE))

    def _asked(self, sample: Sample) -> Asked:
        return ask(sample, self._options.form, self._options.texts)

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=not self._chats).input_ids)

    def read(self, tokens: Int[Tensor, " tokens"]) -> str:
        """An answer's tokens as text."""
        return str(self.tokenizer.decode(tokens[tokens >= 0], skip_special_tokens=True)).strip()

    def _picture(self, sample: Sample) -> Image.Image:
        picture = sample.image.copy()
        picture.thumbnail((self._options.side, self._options.side))
        return picture
