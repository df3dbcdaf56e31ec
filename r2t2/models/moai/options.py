"""How MoAI is loaded and asked: the part of its name after "?"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from r2t2.models.names import Dtype, Quantise, check
from r2t2.prompts import Form

Recompute = Literal["auto", "on", "off"]


@dataclass(frozen=True)
class Options:
    """What can be chosen.

    Parameters
    ----------
    dtype : of the weights; "auto" is what they were saved in.
    quantise : of the language model's layers, through bitsandbytes.
    prompt : tokens that the longest prompt may have, its picture's included. Shorter ones are
        padded to it, so that encodings of different batches fit together.
    answer : tokens that an answer may have.
    choices : options that a multiple-choice question may have.
    form : how a question is put into words (`r2t2.prompts.ask`).
    texts : whether a question says what an OCR system read, where its dataset tells.
    recompute : whether a gradient computes each layer twice instead of keeping what it made;
        "auto" does so where otherwise not even two samples fit.
    segmentation, detection, scene_graph, ocr : which auxiliary models look at a picture.
    """

    dtype: Dtype = "auto"
    quantise: Quantise = "none"
    prompt: int = 1536
    answer: int = 16
    choices: int = 8
    form: Form = "llava"
    texts: bool = False
    recompute: Recompute = "auto"
    segmentation: bool = True
    detection: bool = True
    scene_graph: bool = True
    ocr: bool = True

    @property
    def switches(self) -> dict[str, bool]:
        """The auxiliary models, in the order in which the prompt names what they found."""
        return {name: getattr(self, name) for name in AUXILIARY}

    def __post_init__(self) -> None:
        """Refuse what cannot be run.

        Raises
        ------
        ValueError : an option lies outside its range; the message names it and the range.
        """
        kinds = {"dtype": Dtype, "quantise": Quantise, "recompute": Recompute, "form": Form}
        check(self, kinds, {"prompt": (2, 32768), "answer": (1, 1024), "choices": (1, 26)})


AUXILIARY = ("segmentation", "detection", "scene_graph", "ocr")
