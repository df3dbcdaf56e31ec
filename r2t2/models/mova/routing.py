"""The coarse routing: the language model names the experts that can help with a question.

Prompt and parsing are a part of the checkpoint's interface and follow the authors' evaluation code
(github.com/TempleX98/MoVA: `mova/constants.py`, `mova/eval/model_vqa_loader.py`).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

TOKENS = 144  # of the picture, in the routing prompt
ANSWER = 16  # tokens that the language model may take to name experts
NAMED = 3  # experts that it may name

_TASK = (
    "You are a helpful assistant router. Based on the visual content, questions, and model pool "
    "the user provides, you need to consider the expertise of these models to select the most 3 "
    "suitable models to help you answer the questions. Answer with the model's letter from the "
    "given choices directly. If no models are selected, just answer 'none'.\nModel pool:"
)
_POOL = (
    "This model can effectively extract the accurate spatial and semantic information from "
    "natural images.",
    "This model can handle images with text accurately and efficiently but fails to process "
    "natural images.",
    "This model is a state-of-the-art object detector that can identify objects in images.",
    "This model shows remarkable skill in text recognition, attaining top-tier text analysis "
    "outcomes across diverse areas",
    "This model is a specialized model designed to achieve state-of-the-art plot and chart "
    "understanding performance.",
    "This model is a foundation model designed for biomedical vision-language processing.",
    "This model is a leading image segmentation framework and achieves strong zero-shot "
    "segmentation performance.",
)
LETTERS = "ABCDEFG"


def task(question: str) -> str:
    """What the language model is asked in order to route a question."""
    pool = [f"{letter}. {text}" for letter, text in zip(LETTERS, _POOL, strict=True)]
    return "\n".join([_TASK, *pool]) + f"\n\nQuestion:\n{question}"


def chosen(reply: str) -> Bool[Tensor, " experts"]:
    """The experts that a reply names: the letters in its first parts between commas."""
    said = reply.split(",")[:NAMED]
    return torch.tensor([any(letter in part for part in said) for letter in LETTERS])


def fewer(
    tokens: Float[Tensor, "batch tokens hidden"], count: int
) -> Float[Tensor, "batch count hidden"]:
    """A square of tokens, averaged to a smaller one."""
    side, small = round(tokens.shape[1] ** 0.5), round(count**0.5)
    square = tokens.transpose(1, 2).unflatten(2, (side, side))
    return F.adaptive_avg_pool2d(square, small).flatten(2).transpose(1, 2)
