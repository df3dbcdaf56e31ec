"""What is re-routed and how a model is asked: the part of its name after "?"."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar, Literal

from r2t2.models.names import Dtype, check
from r2t2.prompts import Form


@dataclass(frozen=True)
class Options:
    """The defaults of the first three are C3PO's (arXiv 2504.07964).

    Parameters
    ----------
    layers : the layers whose routers `r` speaks of: "all", "last5" (any number), or a list of
        their numbers such as "11,14,15".
    experts : how many core experts of a layer are moved, those that the sample's own router
        gives most weight to, or "all".
    tokens : how many tokens at the end of the prompt are steered; those of the answer always are.
    prompt : tokens that the longest prompt may have, its image's included. Shorter ones are
        padded to it, so that encodings of different batches fit together.
    answer : tokens that an answer may have.
    choices : options that a multiple-choice question may have.
    side : pictures are scaled down to fit a square of so many pixels.
    form : how a question is put into words (`r2t2.prompts.ask`).
    texts : whether a question says what an OCR system read, where its dataset tells.
    dtype : of the weights; "auto" is what they were saved in.
    lead : what the answer is made to begin with, such as the channel header of gpt-oss.
    """

    WORDS: ClassVar[dict[str, tuple[str, ...]]] = {"experts": ("all",)}

    layers: str = "last5"
    experts: int | Literal["all"] = 20
    tokens: int = 1
    prompt: int = 512
    answer: int = 16
    choices: int = 8
    side: int = 448
    form: Form = "plain"
    texts: bool = False
    dtype: Dtype = "auto"
    lead: str = ""

    def __post_init__(self) -> None:
        """Refuse what cannot be run.

        Raises
        ------
        ValueError : an option lies outside its range; the message names it and the range.
        """
        if not re.fullmatch(r"all|last[1-9]\d*|\d+(,\d+)*", self.layers):
            raise ValueError(
                f"layers is {self.layers!r}; it must be all, lastN, or numbers such as 11,14,15"
            )
        ranges = {
            "experts": (1, 4096),
            "tokens": (1, 64),
            "prompt": (2, 131072),
            "answer": (1, 1024),
            "choices": (1, 64),
            "side": (16, 8192),
        }
        check(self, {"dtype": Dtype, "form": Form}, ranges)
        if self.tokens >= self.prompt:
            raise ValueError(f"tokens is {self.tokens}; it must be less than prompt={self.prompt}")

    @property
    def layers_in_words(self) -> str:
        """Which routed layers `r` speaks of, before it is known which there are."""
        if self.layers == "all":
            return "all routed layers"
        if self.layers.startswith("last"):
            return f"the last {self.layers[4:]} routed layers"
        return f"layers {self.layers.replace(',', ', ')}"

    def select(self, layers: list[int]) -> list[int]:
        """Those of a model's routed layers that `r` speaks of.

        Raises
        ------
        ValueError : a layer was asked for that routes no token; the message lists those that do.
        """
        if self.layers == "all":
            return layers
        if self.layers.startswith("last"):
            return layers[-int(self.layers[4:]) :]
        asked = [int(number) for number in self.layers.split(",")]
        missing = sorted(set(asked) - set(layers))
        if missing:
            raise ValueError(
                f"layers={self.layers}: {', '.join(map(str, missing))} routes no token; those "
                f"that do are {', '.join(map(str, layers))}"
            )
        return [layer for layer in layers if layer in asked]
