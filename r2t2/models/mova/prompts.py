"""Samples as the tokens that MoVA was trained to be asked with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import AutoTokenizer, LlamaConfig

from r2t2.models.mova.options import Options
from r2t2.models.mova.routing import task
from r2t2.models.speaker import answer_tokens
from r2t2.prompts import Asked, ask
from r2t2.samples import Sample

IMAGE, PAD = -1, -2  # in place of a token: one of the picture's, and none
MOST_READ = 512  # tokens of a question that the text encoder reads
BERT = "bert-large-uncased"


@dataclass(frozen=True)
class Talk:
    """A way of putting a question; a part of the checkpoint's interface, to the letter.

    Parameters
    ----------
    opening : before the picture.
    closing : after the question; what the model says next is its answer.
    lead : what an answer begins with.
    stop : the token that ends it; the tokenizer's own if empty.
    """

    opening: str
    closing: str
    lead: str = ""
    stop: str = ""


VICUNA = Talk(
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives "
    "helpful, detailed, and polite answers to the user's questions. USER: ",
    " ASSISTANT:",
    lead=" ",
)
LLAMA3 = Talk(
    "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nYou are a helpful language and "
    "vision assistant. You are able to understand the visual content that the user provides, and "
    "assist the user with a variety of tasks using natural language.<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\n",
    "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
    stop="<|eot_id|>",
)


class Prompts:
    """The words of a question, of its routing and of its answers, as tokens.

    Parameters
    ----------
    folder : of the model; the text encoder's tokenizer lies in its folder "bert".
    config : the model's.
    image : tokens of a picture.

    Raises
    ------
    OSError : there is no tokenizer, or no text encoder's.
    """

    def __init__(
        self, folder: Path, config: Mapping[str, Any], image: int, options: Options
    ) -> None:
        self._options, self._image = options, image
        self.tokenizer = _tokenizer(folder)
        self._bert = _text_tokenizer(folder, config)
        knows = LLAMA3.stop in self.tokenizer.get_vocab()
        llama = options.talk == "llama3" or (options.talk == "auto" and knows)
        self.talk = LLAMA3 if llama else VICUNA
        stop = self.talk.stop
        end = self.tokenizer.convert_tokens_to_ids(stop) if stop else self.tokenizer.eos_token_id
        self.stops = torch.tensor([end])
        marked = config.get("mm_use_im_start_end", False)
        self._marks = ("<im_start>", "<im_end>") if marked else ("", "")

    def __call__(self, samples: Sequence[Sample]) -> Int[Tensor, "samples tokens"]:
        """Prompts, padded on the left to the longest that there may be.

        Raises
        ------
        ValueError : one is longer than that.
        """
        most = self._options.prompt
        rows = [self._row(self._asked(sample).text, self._image) for sample in samples]
        for sample, row in zip(samples, rows, strict=True):
            if len(row) > most:
                raise ValueError(
                    f"the prompt of sample {sample.id} has {len(row)} tokens; the model was "
                    f"loaded with prompt={most}: load it with more"
                )
        return _padded(rows, most)

    def routing(self, samples: Sequence[Sample], image: int) -> Int[Tensor, "samples tokens"]:
        """What the language model is asked to route samples, padded on the left to the longest.

        Parameters
        ----------
        image : tokens of a picture here.
        """
        rows = [self._row(task(self._asked(sample).text), image) for sample in samples]
        return _padded(rows, max(map(len, rows)))

    def questions(self, samples: Sequence[Sample]) -> tuple[Tensor, Tensor]:
        """What the text encoder reads, and which of its tokens are no padding."""
        texts = [f"question 0: {self._asked(sample).text.lower()}\n\n" for sample in samples]
        made = self._bert(
            texts, padding=True, truncation=True, max_length=MOST_READ, return_tensors="pt"
        )
        return made["input_ids"], made["attention_mask"]

    def _asked(self, sample: Sample) -> Asked:
        return ask(sample, self._options.form, self._options.texts)

    def answer(self, sample: Sample, answer: str) -> Int[Tensor, " tokens"]:
        """The tokens of what is to be said for an answer, -1 after their end.

        Raises
        ------
        ValueError : it has no tokens or more than there may be.
        """
        asked, most = self._asked(sample), self._options.answer
        turn = self._turn(asked.text)
        before, both = (
            self._ids(turn),
            self._ids(turn + self.talk.lead + asked.reply(sample, answer)),
        )
        return answer_tokens(both[len(before) :], most, sample, answer)

    def read(self, tokens: Int[Tensor, " tokens"]) -> str:
        """An answer's tokens as text."""
        return str(self.tokenizer.decode(tokens[tokens >= 0], skip_special_tokens=True)).strip()

    def _turn(self, text: str) -> str:
        return f"{self._marks[1]}\n{text}{self.talk.closing}"

    def _row(self, text: str, image: int) -> list[int]:
        opening = self._ids(self.talk.opening + self._marks[0])
        rest = self._ids(self._turn(text))
        if rest[0] == self.tokenizer.bos_token_id:  # each part is read by itself, with its start
            rest = rest[1:]
        return opening + [IMAGE] * image + rest

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text).input_ids)


def _padded(rows: Sequence[Sequence[int]], width: int) -> Int[Tensor, "rows width"]:
    return torch.tensor([[PAD] * (width - len(row)) + list(row) for row in rows])


def _tokenizer(folder: Path) -> Any:
    try:
        # "mova_llama", the type in the model's own configuration, is none that transformers knows.
        return AutoTokenizer.from_pretrained(folder, config=LlamaConfig(), trust_remote_code=False)
    except (ImportError, OSError, ValueError) as error:
        raise OSError(
            f"the tokenizer could not be loaded from {folder}: {' '.join(str(error).split())}"
        ) from error


def _text_tokenizer(folder: Path, config: Mapping[str, Any]) -> Any:
    places = [folder / "bert", Path(config.get("mm_projector_text_encoder", BERT))]
    here = next((place for place in places if place.is_dir()), BERT)
    try:
        return AutoTokenizer.from_pretrained(here, trust_remote_code=False)
    except (ImportError, OSError, ValueError) as error:
        raise OSError(
            f"the text encoder's tokenizer could not be loaded ({' '.join(str(error).split())}). "
            f"Put the small files of {BERT} into the folder 'bert' of {folder}"
        ) from error
