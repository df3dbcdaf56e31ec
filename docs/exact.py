"""Compares the embedded model's fast path with its plain one: `python -m docs.exact`.

NGD on the first samples of every benchmark, in float32 and float64, by `Network.forward` and
autograd and by the hand-written pullbacks of `r2t2.models.mini.fast`. Prints how far apart two of
these four end: the largest and the median distance of r after the last step (maximum over sites
and experts), the share of samples beyond 1e-5, the largest distance after the first step, and how
many answers differ.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor

from r2t2 import studio
from r2t2.contract import Batch
from r2t2.data import world
from r2t2.engine import Engine
from r2t2.models.mini import fast
from r2t2.models.mini.model import Mini
from r2t2.rerouting.settings import strategy

SAMPLES = 128
PAIRS = (("plain 32", "fast 32"), ("plain 32", "plain 64"), ("fast 32", "plain 64"))
PAIRS += (("fast 64", "plain 64"),)


def engine(path: str) -> Engine:
    """The embedded model's engine on one of the paths: "plain" or "fast", and the bits."""
    opened = studio.open_engine("mini", device="cpu")
    model = cast(Mini, opened.model)
    network = deepcopy(model.network)
    if path.endswith("64"):
        network.double()

    def logits(encoded: Batch, r: Tensor) -> Float[Tensor, "batch answers"]:
        tensors = encoded.tensors
        floats = {name: t.to(r.dtype) for name, t in tensors.items() if t.is_floating_point()}
        every = {**tensors, **floats}
        found = network(every, r) if path.startswith("plain") else fast.logits(network, every, r)
        return found.masked_fill(~tensors["allowed"], -1e4)

    model._logits = logits  # type: ignore[method-assign]
    return opened


def main() -> None:
    """Run the four paths and print every comparison."""
    torch.set_num_threads(1)
    ends: dict[str, tuple[Tensor, Tensor, list[str]]] = {}
    setting = strategy("ngd", "mini")
    for path in sorted({path for pair in PAIRS for path in pair}):
        opened = engine(path)
        r, texts = [], []
        for benchmark in world.BENCHMARKS:
            prepared = opened.prepare(world.dataset(benchmark)[:SAMPLES])
            if path.endswith("64"):
                prepared = replace(prepared, r=prepared.r.double())
            moved = opened.run(prepared, setting, trace=False)
            r.append(moved.r.double())
            texts += moved.answers[-1].texts
        every = torch.cat(r)
        ends[path] = every[:, 1], every[:, -1], texts
    for a, b in PAIRS:
        first, last = (
            (x - y).abs().amax((1, 2)) for x, y in zip(ends[a][:2], ends[b][:2], strict=True)
        )
        differ = sum(x != y for x, y in zip(ends[a][2], ends[b][2], strict=True))
        print(
            f"{a} | {b} | largest {last.max():.1e} | median {last.median():.1e} | beyond 1e-5 "
            f"{100 * (last > 1e-5).double().mean():.1f} % | first step {first.max():.1e} | "
            f"answers differ on {differ} of {len(last)}"
        )


if __name__ == "__main__":
    main()
