"""Losses of references fitted as functions of `r`, so that descent on them needs no pass.

The neighbours' objective (eq. 3) knows the test sample only by which neighbours and which `r`.
So each reference's loss is learned once, when the reference set is built, from its values and
gradients at routings that all references share.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import softplus

from r2t2.contract import Batch, RoutedModel
from r2t2.files import written
from r2t2.reference import ReferenceSet, Report
from r2t2.rerouting.descent import descend
from r2t2.rerouting.settings import strategy
from r2t2.sites import Site

FORMAT = 2
# Chosen on the dev benchmark of the embedded model (docs/performance.md).
ANCHORS = 96
RIDGE = 1.0
THRESHOLD = 1.0
HELD_OUT = 12
# What a component of a gradient weighs beside a value.
_GRADIENT = 0.05
_TENSORS, _MANIFEST = "fit.safetensors", "fit.json"
# In nats: below, a loss is rounding; above, its weights would not fit into float16.
_LEAST, _MOST = 1e-5, 1e3


@dataclass(frozen=True)
class FittedLosses:
    """Each reference's loss as a function of `r`: log(1 + exp(w . phi(r))).

    Parameters
    ----------
    manifest : what it was fitted from and how: the reference set's fingerprint, anchors,
        threshold, ridge and seed.
    weights : w of each reference; phi is `features`.
    error : mean distance of the fitted loss from the exact one on descents, at routings that were
        not fitted, in nats.
    built : what building it cost: passes forward and backward of each reference, and seconds.
    """

    manifest: dict[str, Any]
    weights: Float[Tensor, "references features"]
    error: Float[Tensor, " references"]
    built: dict[str, float]

    @cached_property
    def trusted(self) -> Bool[Tensor, " references"]:
        """Whether a reference's fit is good enough to stand for its exact loss."""
        return self.error <= self.manifest["threshold"]

    @cached_property
    def fingerprint(self) -> str:
        """A hash of all that determines a result: not of what building it cost."""
        digest = hashlib.sha256(json.dumps(self.manifest, sort_keys=True).encode())
        for tensor in (self.weights, self.error):
            digest.update(tensor.numpy().tobytes())
        return digest.hexdigest()[:16]

    def of(
        self, index: Int[Tensor, " rows"], device: torch.device
    ) -> Callable[[Tensor, Tensor], Tensor]:
        """The losses of some references, by their positions in the whole set.

        They are a function of the samples' `r` and of which sample each row belongs to.
        """
        weights = self.weights[index].to(device).float()

        def losses(
            r: Float[Tensor, "batch sites experts"], owner: Int[Tensor, " rows"]
        ) -> Float[Tensor, " rows"]:
            return softplus((features(r, weights.shape[1])[owner] * weights).sum(-1))

        return losses

    def save(self, folder: Path) -> None:
        """Write the fit beside its reference set; the manifest last, so that it vouches."""
        with written(folder / _TENSORS) as part:
            save_file({"weights": self.weights, "error": self.error}, part)
        told = {"format": FORMAT, "fingerprint": self.fingerprint, **self.manifest}
        with written(folder / _MANIFEST) as part:
            part.write_text(json.dumps({**told, "built": self.built}, indent=1) + "\n")

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
                weights, error = (stored.get_tensor(name) for name in ("weights", "error"))
            kind, said, built = (manifest.pop(n) for n in ("format", "fingerprint", "built"))
            found = FittedLosses(manifest, weights, error, built)
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


def how_to_fit(model: str, reference: str) -> str:
    """The command that fits the losses of a model's reference set."""
    words = ["python", "-m", "r2t2", "reference", "fit", "--model", model]
    return shlex.join([*words, "--reference", reference])


def anchors(
    count: int, own: Float[Tensor, "references sites experts"], sites: tuple[Site, ...], seed: int
) -> Float[Tensor, "count sites experts"]:
    """Routings to fit at, a quarter each: where routers and descent are likely to be.

    References' own; one expert per site; between an own routing and a corner; and drawn from a
    Dirichlet distribution of 0.6. The first is uniform.
    """
    generator = torch.Generator().manual_seed(seed)
    there = _there(sites, own)
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


def _there(
    sites: tuple[Site, ...], like: Float[Tensor, "*rows sites experts"]
) -> Float[Tensor, "sites experts"]:
    """One where a site has an expert, nothing where it is padded."""
    there = like.new_zeros(like.shape[-2:])
    for i, site in enumerate(sites):
        there[i, : len(site.experts)] = 1
    return there


def features(
    r: Float[Tensor, "*rows sites experts"], count: int
) -> Float[Tensor, "*rows features"]:
    """What margins are linear in: one, each site's `r` at unit length, and all their products.

    A mixture's size is often taken out by a norm behind it, so that only its direction counts.

    Parameters
    ----------
    count : the number of features; of so few that there are no products, they are left out.
    """
    x = (r / r.norm(dim=-1, keepdim=True)).flatten(-2)
    parts = [torch.ones_like(x[..., :1]), x]
    if count > 1 + x.shape[-1]:
        i, j = torch.triu_indices(x.shape[-1], x.shape[-1], device=x.device)
        parts.append(x[..., i] * x[..., j])
    return torch.cat(parts, -1)


def width(sites: int, experts: int, anchors: int) -> int:
    """How many features to fit: products too unless they are more than there are equations.

    An anchor gives a value and, at each site, a gradient along the simplex.
    """
    linear = sites * experts
    all_products = 1 + linear + linear * (linear + 1) // 2
    return all_products if all_products <= anchors * (1 + linear - sites) else 1 + linear


def fit(
    model: RoutedModel,
    reference: ReferenceSet,
    encoded: Batch,
    target: Batch,
    count: int = ANCHORS,
    ridge: float = RIDGE,
    threshold: float = THRESHOLD,
    seed: int = 0,
    report: Report = lambda done, total: None,
) -> FittedLosses:
    """Fit every reference's loss, by ridge regression on its margin and the margin's gradient.

    Parameters
    ----------
    encoded, target : of all references (`Engine.everything`).
    count : the number of routings to fit at.
    ridge : what is added to the diagonal of the normal equations; the intercept is not shrunk.
    threshold : the mean error on descents, in nats, to which a fit is trusted.
    """
    started = time.perf_counter()
    own = torch.from_numpy(reference.r).float().to(model.device)
    there = _there(model.sites, own)
    fitted_at = anchors(count, own.cpu(), model.sites, seed).to(model.device)
    size = width(own.shape[1], own.shape[2], count)
    phi = features(fitted_at, size).double()
    slopes = torch.stack([_slopes(r, size, there) for r in fitted_at])
    penalty = ridge * torch.eye(size, dtype=torch.double, device=model.device)
    penalty[0, 0] = 0
    normal = phi.T @ phi + penalty
    for slope in slopes:
        normal += _GRADIENT * slope.T @ slope
    factor = torch.linalg.cholesky(normal)
    total, weights = 2 * len(own), []
    for rows in _several(model, len(own), count):
        r = fitted_at.expand(len(rows), -1, -1, -1).clone().requires_grad_()
        margins = _margin(_losses(model, encoded, target, rows, r))
        (gradients,) = torch.autograd.grad(margins.sum(), r)
        gradients = _tangent(gradients, there).flatten(2).double()
        known = margins.detach() @ phi + _GRADIENT * torch.einsum("nap,apf->nf", gradients, slopes)
        weights.append(torch.cholesky_solve(known.T, factor).T.half())
        report(int(rows[-1]) + 1, total)
    found = torch.cat(weights)
    held_out = _on_descents(found, model, reference, own, seed)
    errors = []
    for rows in _several(model, len(own), HELD_OUT):
        with torch.no_grad():
            exact = _losses(model, encoded, target, rows, held_out[rows])
        margins = features(held_out[rows], size) @ found[rows].float()[..., None]
        errors.append((softplus(margins[..., 0]) - exact).abs().mean(1))
        report(len(own) + int(rows[-1]) + 1, total)
    manifest = {
        "reference": reference.fingerprint,
        "anchors": count,
        "ridge": ridge,
        "threshold": threshold,
        "seed": seed,
    }
    seconds = round(time.perf_counter() - started, 3)
    built = {"forward": count + HELD_OUT, "backward": count, "seconds": seconds}
    return FittedLosses(manifest, found.cpu(), torch.cat(errors).cpu(), built)


def _several(model: RoutedModel, rows: int, routings: int) -> tuple[Int[Tensor, " rows"], ...]:
    """References in batches that are, each at so many routings, as many as the model takes."""
    return torch.arange(rows).split(max(1, model.at_once // routings))


def _losses(
    model: RoutedModel,
    encoded: Batch,
    target: Batch,
    rows: Int[Tensor, " rows"],
    r: Float[Tensor, "rows routings sites experts"],
) -> Float[Tensor, "rows routings"]:
    """The exact losses of some references, each at routings of its own."""
    again = rows.repeat_interleave(r.shape[1])
    return model.loss(encoded[again], target[again], r.flatten(0, 1)).view(r.shape[:2])


def _margin(loss: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """log(exp(loss) - 1): the log-odds of everything else against the label."""
    loss = loss.double().clamp(_LEAST, _MOST)
    return loss + (-torch.expm1(-loss)).log()


def _slopes(
    r: Float[Tensor, "sites experts"], size: int, there: Float[Tensor, "sites experts"]
) -> Float[Tensor, "places features"]:
    """How each feature changes with `r` along the simplex."""
    jacobian = torch.autograd.functional.jacobian(lambda at: features(at, size), r)
    return _tangent(jacobian, there).flatten(1).T.double()


def _tangent(
    gradient: Float[Tensor, "*rows sites experts"], there: Float[Tensor, "sites experts"]
) -> Float[Tensor, "*rows sites experts"]:
    """The part of a gradient along the simplex, where alone `r` can move."""
    kept = gradient * there
    return kept - there * kept.sum(-1, keepdim=True) / there.sum(-1, keepdim=True)


def _on_descents(
    weights: Float[Tensor, "references features"],
    model: RoutedModel,
    reference: ReferenceSet,
    own: Float[Tensor, "references sites experts"],
    seed: int,
) -> Float[Tensor, "references routings sites experts"]:
    """Routings on NGD's descents, on the fit, of each reference itself and of its neighbours.

    That is where a reference's loss is asked for. Early points are likelier: there gradients are
    large and decide where a descent ends.
    """
    setting = strategy("ngd", model.preset)
    ids, categories = reference.table["id"].tolist(), reference.table["category"].tolist()
    near = reference.correct.by_question.search(reference.embeddings, setting, ids, categories)
    correct = torch.from_numpy(reference.table["correct"].to_numpy().nonzero()[0])
    index = correct[near.index]
    paths = []
    for rows in torch.arange(len(own)).split(256):
        some = weights[index[rows].to(own.device)].float()

        def losses(r: Tensor, some: Tensor = some) -> Tensor:
            return softplus((some @ features(r, some.shape[-1])[..., None])[..., 0])

        paths.append(descend(losses, near.weights[rows].to(own.device), own[rows], setting).r)
    path, shape = torch.cat(paths), (len(own), HELD_OUT)
    generator = torch.Generator().manual_seed(seed)
    everyone = torch.cat([torch.arange(len(own))[:, None], index], 1)
    whose = everyone.gather(1, torch.randint(everyone.shape[1], shape, generator=generator))
    place = setting.steps * torch.rand(shape, generator=generator) ** 2
    step = place.long().clamp_max(setting.steps - 1)
    share = (place - step)[..., None, None].to(own.device)
    return torch.lerp(path[whose, step], path[whose, step + 1], share)
