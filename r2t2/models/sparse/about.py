"""What can be told of a sparse mixture by its name and configuration; no weight is read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from r2t2.models.names import here, parse, title
from r2t2.models.sparse.options import Options
from r2t2.sites import Site

if TYPE_CHECKING:
    from r2t2.estimate import Estimate


def notice(name: str) -> str:
    """What is re-routed and what is not seen, or why it cannot be loaded; told without torch."""
    try:
        path, options = parse(name, Options)
    except ValueError as error:
        return f"{name} cannot be loaded: {error}."
    experts = "all experts" if options.experts == "all" else f"{options.experts} core experts"
    return (
        f"{title(name.partition('?')[0])}: {experts} of {options.layers_in_words} are re-routed, "
        f"at the last {options.tokens} token(s) of the prompt and at the answer's. Experts of one "
        "number in different layers are different networks; what is averaged over layers is a "
        "summary."
        + ("" if _sees(path) else " It reads the question alone: it does not see pictures.")
    )


def sites(name: str) -> tuple[Site, ...]:
    """The routing sites, by the names and shapes of the model's routers.

    Raises
    ------
    FileNotFoundError, OSError, ValueError : as `Sparse` says.
    """
    from r2t2.models.sparse.estimate import hollow
    from r2t2.models.sparse.routers import chosen, named, sites

    path, options = parse(name, Options)
    network = hollow(_config(path))
    return sites(chosen(named(network), options, path))


def estimate(name: str, device: str) -> Estimate:
    """Memory and time.

    Raises
    ------
    FileNotFoundError, OSError, ValueError : as `Sparse` says.
    """
    from r2t2.models.sparse.estimate import estimate

    path, options = parse(name, Options)
    return estimate(_config(path), options, device)


def _config(path: str):  # type: ignore[no-untyped-def]  # noqa: ANN202
    from transformers import AutoConfig

    from r2t2.models.weights import SMALL_FILES, folder

    return AutoConfig.from_pretrained(folder(path, SMALL_FILES), trust_remote_code=False)


def _sees(path: str) -> bool:
    where = here(path)
    # transformers' own table of what takes pictures (`estimate.sees`) comes with all of torch.
    return where is not None and "vision_config" in json.loads((where / "config.json").read_text())
