"""What a checkpoint holds, told from its headers alone and without torch."""

from __future__ import annotations

import json
from pathlib import Path


def held(where: Path) -> set[str]:
    """The names of the tensors in `*.safetensors`, and of those that an index tells of.

    So of a checkpoint in several files they are known before the files are here.

    Raises
    ------
    ValueError : a file is damaged.
    """
    found: set[str] = set()
    for file in (*where.glob("*.index.json"), *where.glob("*.safetensors")):
        try:
            if file.suffix == ".json":
                found |= set(json.loads(file.read_text())["weight_map"])
            else:
                found |= set(_header(file)) - {"__metadata__"}
        except Exception as error:
            raise ValueError(
                f"{file.name} in {where} is damaged ({error}): download it again"
            ) from error
    return found


def _header(file: Path) -> dict[str, object]:
    with file.open("rb") as data:
        length = int.from_bytes(data.read(8), "little")
        if length > file.stat().st_size:
            raise ValueError("its header is cut off")
        return json.loads(data.read(length))
