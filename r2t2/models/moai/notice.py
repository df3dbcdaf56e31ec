"""What a user of MoAI must know; readable without torch."""

from __future__ import annotations

from r2t2.models import FAMILIES
from r2t2.models.moai.options import Options
from r2t2.models.names import parse

USUAL = FAMILIES["moai"].usual


def notice(name: str) -> str:
    """Of a model that is not loaded: what its name says, or why it cannot be loaded."""
    try:
        path, options = parse(name, Options, USUAL)
    except ValueError as error:
        return f"{name} cannot be loaded: {error}."
    on = [kind.replace("_", " ") for kind, is_on in options.switches.items() if is_on]
    return about(path) + f" Asked to look at pictures: {', '.join(on) or 'none'}."


def about(path: str) -> str:
    """What holds whatever looks at pictures."""
    return (
        f"{path}: r shifts the gates of all tokens of a prompt at four layers; an answer's own "
        "tokens pass them by. The model was trained with four auxiliary models that look at the "
        "picture; without one of them its answers are others than those published."
    )
