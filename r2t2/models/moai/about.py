"""What can be told of MoAI by its name and configuration; no weight is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from r2t2.models import FAMILIES
from r2t2.models.moai.options import Options
from r2t2.models.names import parse
from r2t2.sites import Site

if TYPE_CHECKING:
    from r2t2.estimate import Estimate
    from r2t2.models.moai.config import Config

USUAL = FAMILIES["moai"].usual


def notice(name: str) -> str:
    """What its name says, or why it cannot be loaded; told without torch."""
    try:
        path, options = parse(name, Options, USUAL)
    except ValueError as error:
        return f"{name} cannot be loaded: {error}."
    on = [kind.replace("_", " ") for kind, is_on in options.switches.items() if is_on]
    return always(path) + f" Asked to look at pictures: {', '.join(on) or 'none'}."


def always(path: str) -> str:
    """What holds whatever looks at pictures."""
    return (
        f"{path}: r shifts the gates of all tokens of a prompt at four layers; an answer's own "
        "tokens pass them by. The model was trained with four auxiliary models that look at the "
        "picture; without one of them its answers are others than those published."
    )


def sites(name: str) -> tuple[Site, ...]:
    """The routing sites.

    Raises
    ------
    FileNotFoundError, OSError, ValueError : as `MoAI` says.
    """
    from r2t2.models.moai.mixer import sites

    return sites(_read(name)[0])


def estimate(name: str, device: str) -> Estimate:
    """Memory and time.

    Raises
    ------
    FileNotFoundError, OSError, ValueError : as `MoAI` says.
    """
    import torch

    from r2t2.models.moai.estimate import estimate
    from r2t2.models.moai.network import Network

    config, options = _read(name)
    with torch.device("meta"):
        network = Network(config)
    return estimate(config, network, options, device)


def _read(name: str) -> tuple[Config, Options]:
    from r2t2.models.moai.config import Config
    from r2t2.models.weights import SMALL_FILES, folder

    path, options = parse(name, Options, USUAL)
    return Config.read(folder(path, SMALL_FILES)), options
