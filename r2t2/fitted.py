"""Losses of references fitted as functions of `r`, so that descent on them needs no pass.

The neighbours' objective (eq. 3) knows the test sample only by which neighbours and which `r`.
So each reference's loss is learned once, when the reference set is built: the log-odds of its
strongest rivals against its label, linear in `r`.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from r2t2.contract import Batch, RoutedModel
from r2t2.files import written
from r2t2.reference import ReferenceSet, Report
from r2t2.sites import Site

FORMAT = 1
# Chosen on the dev benchmark of the embedded model (docs/performance.md).
ANCHORS = 128
RIVALS = 4
RIDGE = 1.0
THRESHOLD = 1.5
HELD_OUT = 24
_TENSORS, _MANIFEST = "fit.safetensors", "fit.json"
# The log-odds of a rival that is none: its share of the probability is nothing.
_NEVER = -1e4


@dataclass(frozen=True)
class FittedLosses:
    """Each reference's loss as a function of `r`: log(1 + sum_j exp(b_j + w_j . r)).

    Parameters
    ----------
    manifest : what it was fitted from and how: the reference set's fingerprint, anchors,
        threshold, ridge and seed.
    weights : w of each rival j of each reference.
    intercepts : b of each; very low where a reference has fewer rivals.
    error : mean distance of the fitted loss from the exact one at routings that were not fitted,
        in nats.
    """

    manifest: dict[str, Any]
    weights: Float[Tensor, "references rivals features"]
    intercepts: Float[Tensor, "references rivals"]
    error: Float[Tensor, " references"]

    @cached_property
    def trusted(self) -> Bool[Tensor, " references"]:
        """Whether a reference's fit is good enough to stand for its exact loss."""
        return self.error <= self.manifest["threshold"]

    @cached_property
    def fingerprint(self) -> str:
        """A hash of all that the fit holds."""
        digest = hashlib.sha256(json.dumps(self.manifest, sort_keys=True).encode())
        for tensor in (self.weights, self.intercepts, self.error):
            digest.update(tensor.numpy().tobytes())
        return digest.hexdigest()[:16]

    def of(self, index: Int[Tensor, " rows"], device: torch.device) -> Rows:
        """The losses of some references, by their positions in the whole set."""
        return Rows(
            self.weights[index].to(device).float(), self.intercepts[index].to(device).float()
        )

    def save(self, folder: Path) -> None:
        """Write the fit beside its reference set; the manifest last, so that it vouches."""
        tensors = {"weights": self.weights, "intercepts": self.intercepts, "error": self.error}
        with written(folder / _TENSORS) as part:
            save_file(tensors, part)
        told = {"format": FORMAT, "fingerprint": self.fingerprint, **self.manifest}
        with written(folder / _MANIFEST) as part:
            part.write_text(json.dumps(told, indent=1) + "\n")

    @staticmethod
    def load(folder: Path, reference: ReferenceSet) -> FittedLosses:
        """The fit that lies beside a reference set; its tensors stay on disk until they are used.

        Raises
        ------
        FileNotFoundError : there is none; the message says how to make one.
        ValueError : it is damaged, or of another reference set.
        """
        command = how_to_fit(reference.manifest["model"], folder.name)
        if not (folder / _MANIFEST).exists():
            raise FileNotFoundError(
                f"the losses of the reference set {folder.name} were not fitted; fit them with: "
                f"{command}"
            )
        try:
            manifest = json.loads((folder / _MANIFEST).read_text())
            with safe_open(folder / _TENSORS, "pt") as stored:
                names = ("weights", "intercepts", "error")
                weights, intercepts, error = (stored.get_tensor(name) for name in names)
            kind, said = manifest.pop("format"), manifest.pop("fingerprint")
            found = FittedLosses(manifest, weights, intercepts, error)
            whole = kind == FORMAT and said == found.fingerprint
        except Exception as error:
            raise ValueError(
                f"the fitted losses in {folder} are damaged ({error}); fit them again with: "
                f"{command}"
            ) from error
        if not whole:
            raise ValueError(
                f"the parts of the fitted losses in {folder} do not fit together; fit them again "
                f"with: {command}"
            )
        if manifest["reference"] != reference.fingerprint:
            raise ValueError(
                f"the fitted losses in {folder} are of another reference set than lies there; fit "
                f"them again with: {command}"
            )
        return found


@dataclass(frozen=True)
class Rows:
    """The fitted losses of some references, each at an `r` of its own."""

    weights: Float[Tensor, "rows rivals features"]
    intercepts: Float[Tensor, "rows rivals"]

    def __call__(self, r: Float[Tensor, "rows sites experts"]) -> Float[Tensor, " rows"]:
        odds = torch.baddbmm(self.intercepts[..., None], self.weights, r.flatten(1)[..., None])
        return torch.nn.functional.softplus(odds[..., 0].logsumexp(-1))


def told(folder: Path) -> tuple[dict[str, Any], Float[np.ndarray, " references"]]:
    """What a fit's manifest says, and its error at each reference, in nats.

    Raises
    ------
    FileNotFoundError : there is none beside the reference set.
    ValueError : it cannot be read.
    """
    try:
        with safe_open(folder / _TENSORS, "np") as stored:
            return json.loads((folder / _MANIFEST).read_text()), stored.get_tensor("error")
    except FileNotFoundError:
        raise FileNotFoundError(f"the losses of {folder.name} were not fitted") from None
    except Exception as error:
        raise ValueError(f"the fitted losses of {folder.name} are damaged: {error}") from error


def how_to_fit(model: str, reference: str) -> str:
    """The command that fits the losses of a model's reference set."""
    words = ["python", "-m", "r2t2", "reference", "fit", "--model", model]
    return shlex.join([*words, "--reference", reference])


def require_log_odds(model: RoutedModel) -> None:
    """Refuse a model whose losses cannot be fitted.

    Raises
    ------
    ValueError : it does not tell the odds of its answers.
    """
    if type(model).log_odds is RoutedModel.log_odds:
        raise ValueError(
            f"{model.name} does not tell the odds of its answers (RoutedModel.log_odds), so its "
            "losses cannot be fitted; use the strategy that is not amortised"
        )


def anchors(
    count: int, own: Float[Tensor, "references sites experts"], sites: tuple[Site, ...], seed: int
) -> Float[Tensor, "count sites experts"]:
    """Routings to fit at, a quarter each: where routers and descent are likely to be.

    References' own; one expert per site; between an own routing and a corner; and drawn from a
    Dirichlet distribution of 0.6. The first is uniform.
    """
    generator = torch.Generator().manual_seed(seed)
    there = torch.zeros(own.shape[1:])
    for i, site in enumerate(sites):
        there[i, : len(site.experts)] = 1
    uniform = there / there.sum(-1, keepdim=True)
    shape = (count, *there.shape)

    def drawn() -> Tensor:
        return own[torch.randint(len(own), (count,), generator=generator)].float()

    corner = torch.rand(shape, generator=generator).masked_fill(there == 0, -1).argmax(-1)
    corners = torch.nn.functional.one_hot(corner, there.shape[-1]).float()
    gamma = torch._standard_gamma(torch.full(shape, 0.6), generator=generator) * there
    spread = gamma / gamma.sum(-1, keepdim=True).clamp_min(1e-9)
    share = torch.rand(count, 1, 1, generator=generator)
    kinds = torch.stack([drawn(), corners, share * drawn() + (1 - share) * corners, spread])
    chosen = kinds[torch.arange(count) % len(kinds), torch.arange(count)]
    chosen[0] = uniform
    return chosen


def fit(
    model: RoutedModel,
    reference: ReferenceSet,
    encoded: Batch,
    target: Batch,
    count: int = ANCHORS,
    rivals: int = RIVALS,
    ridge: float = RIDGE,
    threshold: float = THRESHOLD,
    seed: int = 0,
    report: Report = lambda done, total: None,
) -> FittedLosses:
    """Fit every reference's loss, by ridge regression on its log-odds at shared routings.

    Parameters
    ----------
    encoded, target : of all references, or of the first (`Engine.everything`).
    count : the number of routings to fit at.
    rivals : how many answers are kept, the most probable ones; the last stands for all the rest.
    ridge : what is added to the diagonal of the normal equations; intercepts are not shrunk.
    threshold : the mean error on other routings, in nats, to which a fit is trusted.

    Raises
    ------
    ValueError : the model does not tell the odds of its answers.
    """
    require_log_odds(model)
    own = torch.from_numpy(reference.r)
    fitted_at = anchors(count, own, model.sites, seed)
    held_out = anchors(HELD_OUT, own, model.sites, seed + 1)
    flat = fitted_at.flatten(1).double()
    centre = flat.mean(0)
    spread = flat - centre
    penalty = ridge * torch.eye(flat.shape[1], dtype=torch.double)
    solve = torch.linalg.solve(spread.T @ spread + penalty, spread.T)
    every = torch.cat([fitted_at, held_out]).to(model.device)
    made: list[tuple[Tensor, Tensor, Tensor]] = []
    for rows in torch.arange(len(encoded)).split(model.at_once):
        odds = _odds(model, encoded[rows], target[rows], every)
        strongest = _strongest(odds, count, rivals).double()
        mean = strongest[:count].mean(0)
        weights = torch.einsum("fa,anj->njf", solve, strongest[:count] - mean)
        intercepts = (mean - weights @ centre).clamp_min(_NEVER)
        kept = weights.half(), intercepts.half()
        losses = Rows(kept[0].float(), kept[1].float())
        exact = torch.nn.functional.softplus(odds[count:].logsumexp(-1))
        guessed = torch.stack([losses(r.expand(len(rows), -1, -1)) for r in held_out])
        made.append((*kept, (guessed - exact).abs().mean(0)))
        report(int(rows[-1]) + 1, len(encoded))
    manifest = {
        "reference": reference.fingerprint,
        "anchors": count,
        "rivals": rivals,
        "ridge": ridge,
        "threshold": threshold,
        "seed": seed,
    }
    weights, intercepts, error = (torch.cat(parts) for parts in zip(*made, strict=True))
    return FittedLosses(manifest, weights, intercepts, error)


@torch.no_grad()
def _odds(
    model: RoutedModel, encoded: Batch, target: Batch, at: Float[Tensor, "anchors sites experts"]
) -> Float[Tensor, "anchors rows answers"]:
    found = []
    for r in at:
        odds = model.log_odds(encoded, target, r.expand(len(encoded), -1, -1))
        found.append(odds.float().cpu().clamp_min(_NEVER))
    return torch.stack(found)


def _strongest(
    odds: Float[Tensor, "anchors rows answers"], count: int, rivals: int
) -> Float[Tensor, "anchors rows rivals"]:
    """The most probable rivals over the first `count` anchors; the last holds all others."""
    if odds.shape[-1] <= rivals:
        return odds
    # Of all answers, the label's own with its log-odds of nothing among them.
    everyone = torch.cat([odds, odds.new_zeros(*odds.shape[:2], 1)], -1)
    share = everyone[:count].softmax(-1).mean(0)[:, :-1]
    order = share.argsort(-1, descending=True)
    ordered = odds.gather(-1, order.expand_as(odds))
    first, rest = ordered[..., : rivals - 1], ordered[..., rivals - 1 :]
    return torch.cat([first, rest.logsumexp(-1, keepdim=True).clamp_min(_NEVER)], -1)
