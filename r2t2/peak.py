"""The most memory that work takes at once, measured while it goes."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

_PROCESS = Path("/proc/self")


def watch(device: str) -> Callable[[], int | None]:
    """Begin to watch; what it returns says, when it is called, the peak since then.

    Of the main memory that is all that the process held at once (resident: model, data and
    libraries too, in whatever it had before); of a GPU all that this process's tensors took
    there. The process's own record of it is begun anew, so only one watch at a time is right.

    Parameters
    ----------
    device : where the work goes on; "cuda" with or without a number, or another for main memory.

    Returns
    -------
    A function for the peak in bytes; None where the system tells none (other than Linux).
    """
    if device.startswith("cuda"):
        import torch

        torch.cuda.reset_peak_memory_stats(device)
        return lambda: int(torch.cuda.max_memory_allocated(device))
    try:
        # What getrusage tells is of the process's whole life; this begins it anew (proc(5)).
        (_PROCESS / "clear_refs").write_text("5")
    except OSError:
        return lambda: None
    return _high_water


def _high_water() -> int | None:
    told = re.search(r"^VmHWM:\s*(\d+) kB$", (_PROCESS / "status").read_text(), re.MULTILINE)
    return 1024 * int(told[1]) if told else None
