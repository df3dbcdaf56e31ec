"""What can be told of MoVA by its name, configuration and files' headers; no weight is read."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from r2t2.models import FAMILIES
from r2t2.models.headers import held
from r2t2.models.mova.options import Options
from r2t2.models.names import here, parse
from r2t2.sites import Site

if TYPE_CHECKING:
    from r2t2.estimate import Estimate
    from r2t2.models.mova.network import Network

USUAL = FAMILIES["mova"].usual
# In the order of the adapter's experts, which is that of the letters A to G in the routing prompt;
# in a checkpoint they are numbered from 1.
TITLES = ("DINOv2", "Vary", "Co-DETR", "Pix2Struct", "Deplot", "BiomedCLIP", "SAM")
PLACE = re.compile(r"model\.vision_tower\.vision_tower_(\d+)\.(.+)")


def notice(name: str) -> str:
    """Of a model that is not loaded: what its name says, and its files where they are here."""
    path = name.partition("?")[0].partition(":")[2] or USUAL
    try:
        names = held(where) if (where := here(path)) else set()
    except ValueError as error:
        return f"{name} cannot be loaded: {error}."
    return always(path, missing(names) if names else ())


def sites(name: str) -> tuple[Site, ...]:
    """The routing sites.

    Raises
    ------
    FileNotFoundError, OSError, ValueError : as `MoVA` says.
    """
    return blocks(_hollow(name)[1])


def estimate(name: str, device: str) -> Estimate:
    """Memory and time.

    Raises
    ------
    FileNotFoundError, OSError, ValueError : as `MoVA` says.
    """
    from r2t2.models.mova.estimate import estimate

    config, network = _hollow(name)
    return estimate(config, network, parse(name, Options, USUAL)[1], device)


def blocks(network: Network) -> tuple[Site, ...]:
    """The adapter's blocks as sites."""
    numbers = range(1, len(network.adapter.blocks) + 1)
    return tuple(Site(f"block {number}", TITLES) for number in numbers)


def always(path: str, gone: Iterable[str] = ()) -> str:
    """What holds of a model, and which vision experts it has to do without."""
    text = (
        f"{path}: r shifts the gates of three blocks that mix up to three vision experts, chosen "
        "by the language model for each question; the others stay at 0. Where it chose one alone "
        "or none, r has no effect."
    )
    titles = ", ".join(gone)
    if not titles:
        return text
    return (
        f"{text} The checkpoint holds no weights of {titles}: nothing is routed there, so answers "
        "are others than those of the whole model."
    )


def numbers(names: Iterable[str]) -> set[int]:
    """The vision towers of which a checkpoint with such tensors holds any."""
    return {int(match[1]) for name in names if (match := PLACE.match(name))}


def missing(names: Iterable[str]) -> list[str]:
    """The experts of which a checkpoint with such tensors holds none."""
    found = numbers(names)
    return [title for number, title in enumerate(TITLES, 1) if number not in found]


def _hollow(name: str) -> tuple[dict[str, Any], Network]:
    from r2t2.models.mova.network import hollow
    from r2t2.models.weights import SMALL_FILES, folder, names

    files = folder(parse(name, Options, USUAL)[0], SMALL_FILES)
    return hollow(files, names(files))
