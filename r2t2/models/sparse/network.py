"""A language model whose last tokens are steered: tensors in, tensors out, no samples, no text."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.graph import allow_mutation_on_saved_tensors
from transformers import Cache, PreTrainedModel

from r2t2.contract import Batch
from r2t2.models.logits import shift
from r2t2.models.sparse.prefix import freeze, recurs, thaw
from r2t2.models.sparse.routers import Change, Hooks, Router, add
from r2t2.models.speaker import greedy, mean_nll


class Steered:
    """Runs the steered tokens of encoded prompts; what comes before them is run once.

    An encoded prompt is: the model's cache of all tokens before the steered ones ("cache..."),
    the steered ones themselves ("tail") and their positions, one number each or one each for
    time, height and width; which tokens of the prompt are no padding ("mask"); and "r0".

    Parameters
    ----------
    network : frozen, on its device.
    routers : those that `r` speaks of.
    tokens : steered tokens at the end of a prompt.
    core : experts of a site that `r` moves.
    probe : a few dozen tokens of some text, on which it is tried that the model can be run in
        two parts.
    width : of a prompt with its padding.

    Raises
    ------
    ValueError : in two parts the model says something else than in one.
    """

    def __init__(
        self,
        network: PreTrainedModel,
        routers: list[Router],
        tokens: int,
        core: int,
        probe: Int[Tensor, " tokens"],
        width: int,
    ) -> None:
        self._network: Any = network  # with methods of generation that its type does not show
        self._routers, self._hooks, self.device = routers, Hooks(routers), network.device
        self._tokens, self._core = tokens, core
        stops = network.generation_config.eos_token_id
        stops = [stops] if isinstance(stops, int) else stops or []
        self._stops = torch.tensor(stops, dtype=torch.long, device=self.device)
        self._like: Cache | None = None
        self._verify(probe.to(self.device), width)

    @torch.no_grad()
    def encode(self, inputs: dict[str, Tensor]) -> Batch:
        """Prompts as the model's forward takes them, padded on the left."""
        ids, mask, n = inputs["input_ids"], inputs["attention_mask"], self._tokens
        positions = self._network._prepare_position_ids_for_generation(ids, dict(inputs))
        before = {
            name: tensor[:, :-n] if tensor.shape == ids.shape else tensor
            for name, tensor in inputs.items()
        }
        cache = self._network(
            **before, position_ids=positions[..., :-n], use_cache=True, logits_to_keep=1
        ).past_key_values
        self._like = self._like or cache
        axes = positions[:, None] if positions.dim() == 2 else positions.movedim(1, 0)
        encoded = {"tail": ids[:, -n:], "positions": axes[..., -n:], "mask": mask, **freeze(cache)}
        return Batch({**encoded, "r0": self._r0(Batch(encoded))})

    @property
    def saving(self) -> Callable[[], AbstractContextManager[object]]:
        """The context in which `nll` must be run for its gradient to be taken."""
        # Recurrent layers write over states that the gradient still needs.
        assert self._like is not None
        return allow_mutation_on_saved_tensors if recurs(self._like) else nullcontext

    def nll(
        self,
        encoded: Batch,
        answers: Int[Tensor, "answers tokens"],
        r: Float[Tensor, "batch sites experts"],
        owner: Int[Tensor, " answers"],
    ) -> Float[Tensor, " answers"]:
        """-log p of answers in nats, the mean over each one's tokens; differentiable in r.

        Parameters
        ----------
        answers : -1 after an answer's end.
        owner : the row of `encoded` and `r` that each answer belongs to.
        """

        def logits(some: Tensor, length: int) -> Tensor:
            prompts, weights = encoded[owner[some]], r[owner[some]]
            fed = answers[some, : length - 1].clamp_min(0)
            tokens = torch.cat([prompts.tensors["tail"], fed], 1)
            change = self._change(prompts, weights)
            return self._run(self._thaw(prompts), prompts, tokens, change, length)

        return mean_nll(answers, owner, logits)

    @torch.no_grad()
    def generate(
        self, encoded: Batch, r: Float[Tensor, "batch sites experts"], most: int
    ) -> tuple[Int[Tensor, "batch tokens"], Float[Tensor, " batch"]]:
        """The greedy answers, -1 after their end, and the mean log p of their tokens."""
        cache, change = self._thaw(encoded), self._change(encoded, r)
        seen = 0

        def say(tokens: Tensor | None) -> Tensor:
            nonlocal seen
            tokens = encoded.tensors["tail"] if tokens is None else tokens
            logits = self._run(cache, encoded, tokens, change, seen=seen)[:, -1]
            seen += tokens.shape[1]
            return logits

        return greedy(say, self._stops, most)

    @torch.no_grad()
    def _verify(self, probe: Int[Tensor, " tokens"], width: int) -> None:
        ids = probe[None, -width:]
        more = min(8, ids.shape[1] // 2)
        whole = self._network(input_ids=ids, use_cache=False).logits[:, -more:]
        padding = width - ids.shape[1] + more, 0
        inputs = {
            "input_ids": F.pad(ids[:, :-more], padding),
            "attention_mask": F.pad(torch.ones_like(ids[:, :-more]), padding),
        }
        for self._at_once in (True, False):
            one = self.encode(inputs)
            tokens = torch.cat([one.tensors["tail"], ids[:, -more:]], 1)
            parts = self._run(self._thaw(one), one, tokens, lambda site, logits: logits, more)
            # Rounding can send a token to another expert, but not most of them; a state that was
            # lost changes what is said at every token.
            spread = (whole - whole.mean(-1, keepdim=True)).norm(dim=-1)
            if ((parts - whole).norm(dim=-1) / spread).median() < 0.1:
                return
        raise ValueError(
            f"{type(self._network).__name__} cannot go on from what it keeps of earlier tokens: "
            "run in two parts, it does not say what it says in one"
        )

    def _r0(self, encoded: Batch) -> Float[Tensor, "batch sites experts"]:
        """The mean of the steered prompt tokens' gate weights at every site."""
        sums: dict[int, Tensor] = {}

        def read(site: int, logits: Tensor) -> Tensor:
            weights = self._routers[site].weights(logits).view(len(encoded), -1, logits.shape[-1])
            sums[site] = sums.get(site, 0) + weights.sum(1)
            return logits

        self._run(self._thaw(encoded), encoded, encoded.tensors["tail"], read)
        widest = max(router.experts for router in self._routers)
        means = [sums[site] / self._tokens for site in range(len(self._routers))]
        return torch.stack([F.pad(mean, (0, widest - mean.shape[-1])) for mean in means], 1)

    def _change(self, encoded: Batch, r: Float[Tensor, "batch sites experts"]) -> Change:
        return add(shift(r, encoded.tensors["r0"], self._core))

    def _thaw(self, encoded: Batch) -> Cache:
        assert self._like is not None
        return thaw(self._like, encoded.tensors)

    def _run(
        self,
        cache: Cache,
        encoded: Batch,
        tokens: Int[Tensor, "batch tokens"],
        change: Change,
        keep: int = 1,
        seen: int = 0,
    ) -> Float[Tensor, "batch keep vocabulary"]:
        """The logits of the last `keep` tokens; `seen` of the steered ones are in the cache."""
        known = encoded.tensors["positions"]
        after = torch.arange(1, seen + tokens.shape[1] + 1 - known.shape[-1], device=self.device)
        positions = torch.cat([known, known[..., -1:] + after], -1)[..., seen:]
        axes = positions[:, 0] if positions.shape[1] == 1 else positions.movedim(1, 0)
        mask = F.pad(encoded.tensors["mask"], (0, len(after)), value=1)
        logits = []
        # Some recurrent layers go on from their state only when given a single token.
        step = tokens.shape[1] if self._at_once else 1
        for start in range(0, tokens.shape[1], step):
            left = tokens.shape[1] - start - step
            with self._hooks.through(change):
                part = self._network(
                    input_ids=tokens[:, start : start + step],
                    attention_mask=mask[:, : mask.shape[1] - left],
                    position_ids=axes[..., start : start + step],
                    past_key_values=cache,
                    use_cache=True,
                    logits_to_keep=min(keep, step),
                ).logits
            logits.append(part)
        made = torch.cat(logits, 1)[:, -keep:]
        return made if made.dtype == torch.float64 else made.float()
