"""What a user of MoVA must know; readable without torch."""

from __future__ import annotations

from collections.abc import Sequence

USUAL = "zongzhuofan/llama3-mova-8b"


def notice(name: str) -> str:
    """Of a model that is not loaded: what its name says."""
    return about(name.partition("?")[0].partition(":")[2] or USUAL)


def about(path: str, missing: Sequence[str] = ()) -> str:
    """What holds of a model, and which vision experts it has to do without."""
    text = (
        f"{path}: r shifts the gates of three blocks that mix up to three vision experts, chosen "
        "by the language model for each question; the others stay at 0. Where it chose none, r "
        "has no effect."
    )
    if not missing:
        return text
    return (
        f"{text} The checkpoint holds no weights of {', '.join(missing)}: nothing is routed to "
        "them, so answers are others than those of the whole model."
    )
