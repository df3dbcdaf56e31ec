"""The texts of choices among an encoded batch's tensors: as bytes, 0 after their end."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import UInt8
from torch import Tensor

from r2t2.samples import Sample

BYTES = 1024  # that a choice may have


def write(samples: Sequence[Sample], most: int) -> UInt8[Tensor, "samples choices bytes"]:
    """The choices of samples, of which each may have `most`.

    Raises
    ------
    ValueError : a choice is too long, or empty.
    """
    made = torch.zeros(len(samples), most, BYTES, dtype=torch.uint8)
    for row, sample in zip(made, samples, strict=True):
        for place, choice in zip(row, sample.choices, strict=False):
            data = choice.encode()
            if not 0 < len(data) <= BYTES:
                raise ValueError(
                    f"a choice of sample {sample.id} has {len(data)} bytes; it must have 1 to "
                    f"{BYTES}"
                )
            place[: len(data)] = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    return made


def read(written: UInt8[Tensor, "samples choices bytes"]) -> list[list[str]]:
    """The choices that `write` wrote."""
    rows = [[bytes(c.tolist()).rstrip(b"\0").decode() for c in row] for row in written.cpu()]
    return [[choice for choice in row if choice] for row in rows]
