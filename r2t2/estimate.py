"""What a model will take of memory and time, told before any of its weights is read."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


# What is kept of samples may take so much of the main memory that is free; the rest is for work.
SHARE = 0.5


@dataclass(frozen=True)
class Estimate:
    """Memory and time that a model takes on a device.

    Parameters
    ----------
    parameters, active : in all, and those that a token passes through.
    weights : bytes of all parameters.
    encoding : bytes that are kept of an encoded sample, about.
    encode, forward : operations (a multiplication and an addition are two) of encoding a sample,
        and of a pass of it through what depends on routing.
    free : bytes that are free on the device.
    speed : operations per second, measured on the device in the model's dtype.
    """

    parameters: int
    active: int
    weights: int
    encoding: int
    encode: float
    forward: float
    free: int
    speed: float

    def seconds(self, passes: float) -> float:
        """The least that a sample can take, encoded and sent through the routed part so often.

        A backward pass counts as two. Small batches, which wait for memory, take longer.
        """
        return (self.encode + passes * self.forward) / self.speed

    @property
    def at_once(self) -> int:
        """Samples to encode at once, so that main memory holds them, a copy, and other work."""
        return max(1, min(256, free_memory("cpu") // (4 * self.encoding)))

    def spills(self, encodings: int) -> str:
        """In a sentence, that encodings are too many for main memory; empty where they are not."""
        kept, free = encodings * self.encoding, free_memory("cpu")
        if kept <= SHARE * free:
            return ""
        return (
            f"{encodings:,} encoded samples take {size(kept)}, but {size(free)} of main memory "
            "are free: what does not fit is kept on disk, which is slower. Fewer references, or "
            "an option that makes an encoding smaller, help"
        )

    @property
    def report(self) -> str:
        """The estimate in words."""
        return (
            f"{count(self.parameters)} parameters, {count(self.active)} of them active; "
            f"{size(self.weights)} of weights and about {size(self.encoding)} for each encoded "
            f"sample; {size(self.free)} are free; at least {self.seconds(0):.2g} s to encode a "
            f"sample and {self.seconds(1) - self.seconds(0):.2g} s for each pass"
        )

    @property
    def fits(self) -> bool:
        """Whether the weights do."""
        return self.weights <= self.free

    def check(self) -> None:
        """Refuse weights that cannot fit.

        Raises
        ------
        MemoryError : they do not; the message holds the report and what can be done.
        """
        if not self.fits:
            raise MemoryError(
                f"the weights do not fit: {self.report}. Take a smaller model, another device, or "
                "a smaller dtype (such as dtype=bfloat16)"
            )


def free_memory(device: str) -> int:
    """Bytes that are free on a device."""
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.mem_get_info(torch.device(device))[0])
    meminfo = Path("/proc/meminfo")
    if not meminfo.exists():
        return 1 << 62  # no way to ask: the system will say so itself
    lines = dict(line.split(":") for line in meminfo.read_text().splitlines())
    return 1024 * int(lines["MemAvailable"].split()[0])


def speed(device: str, dtype: torch.dtype) -> float:
    """Operations per second of a matrix product, measured."""
    import torch

    square = torch.ones(512, 512, device=device, dtype=dtype)
    least = math.inf
    for _ in range(5):  # the first is slow, and any may be held up by other work
        started = time.perf_counter()
        float((square @ square).sum())
        least = min(least, time.perf_counter() - started)
    return 2 * 512**3 / least


def size(count: int) -> str:
    """Bytes in words."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"


def count(parameters: int) -> str:
    """A number of parameters in words."""
    for size, name in ((1e9, "billion"), (1e6, "million")):
        if parameters >= size:
            return f"{parameters / size:.3g} {name}"
    return f"{parameters:,}"


def span(seconds: float) -> str:
    """A time in words, as exact as a guess can be."""
    if seconds < 1:
        return "a moment"
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 10:
        return f"{hours} h {minutes} min"
    return f"{hours} h" if hours < 48 else f"{hours / 24:.0f} days"
