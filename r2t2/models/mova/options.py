"""How MoVA is loaded and asked: the part of its name after "?"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from r2t2.models.names import Dtype, Quantise, check
from r2t2.prompts import Form

Talk = Literal["auto", "vicuna", "llama3"]


@dataclass(frozen=True)
class Options:
    """What can be chosen.

    Parameters
    ----------
    dtype : of the weights; "auto" is what they were saved in.
    quantise : of the language model's layers, through bitsandbytes.
    talk : how a question is put: as Vicuna (MoVA-7B) or Llama 3 (MoVA-8B) was taught; "auto" asks
        the tokenizer.
    prompt : tokens that the longest prompt may have, its picture's included.
    answer : tokens that an answer may have.
    choices : options that a multiple-choice question may have.
    form : how a question is put into words (`r2t2.prompts.ask`).
    texts : whether a question says what an OCR system read, where its dataset tells.
    """

    dtype: Dtype = "auto"
    quantise: Quantise = "none"
    talk: Talk = "auto"
    prompt: int = 2048
    answer: int = 16
    choices: int = 8
    form: Form = "llava"
    texts: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be run.

        Raises
        ------
        ValueError : an option lies outside its range; the message names it and the range.
        """
        kinds = {"dtype": Dtype, "quantise": Quantise, "talk": Talk, "form": Form}
        check(self, kinds, {"prompt": (2, 32768), "answer": (1, 1024), "choices": (1, 26)})
