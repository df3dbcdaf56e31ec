"""Whether a model keeps the promises of the contract: for whoever adds one, and for its tests."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from r2t2.contract import Answers, Batch, RoutedModel
from r2t2.samples import Sample

# A share of the largest slope: finite differences of float32 are no better.
SLOPE = 0.05
STEPS = (1e-1, 3e-2, 1e-2, 1e-3, 1e-4)


@dataclass(frozen=True)
class Finding:
    """What came of one promise.

    Parameters
    ----------
    kept : None where it could not be tried.
    why : what was seen where it was not kept or not tried.
    """

    promise: str
    kept: bool | None
    why: str = ""

    @property
    def verdict(self) -> str:
        """In a word."""
        return {True: "yes", False: "NO", None: "not tried"}[self.kept]


class Broken(Exception):
    """A promise that is not kept."""


class NotTried(Exception):
    """A promise that these samples or this dtype do not put to the test."""


def check(model: RoutedModel, samples: Sequence[Sample], seed: int = 0) -> list[Finding]:
    """Try every promise on a few labelled samples, at least two; best in float64 or float32.

    That `route` gives the model's own routing cannot be told from outside: hold it against the
    model's original code in a test of your own.
    """
    case = _Case(model, samples, seed)
    found = []
    for promise, attempt in PROMISES.items():
        try:
            attempt(case)
        except NotTried as reason:
            found.append(Finding(promise, None, str(reason)))
        except Exception as error:  # whatever the model does wrong
            found.append(Finding(promise, False, f"{error}" or type(error).__name__))
        else:
            found.append(Finding(promise, True))
    return found


class _Case:
    """A model, and what it makes of some samples at its own `r` and elsewhere."""

    def __init__(self, model: RoutedModel, samples: Sequence[Sample], seed: int) -> None:
        self.model, self.samples, self.seed = model, list(samples), seed

    @cached_property
    def encoded(self) -> Batch:
        with torch.no_grad():
            return self.model.encode(self.samples)

    @cached_property
    def target(self) -> Batch:
        return self.model.target(self.samples)

    @cached_property
    def r0(self) -> Float[Tensor, "batch sites experts"]:
        with torch.no_grad():
            return self.model.route(self.encoded)

    @cached_property
    def moved(self) -> Float[Tensor, "batch sites experts"]:
        """Another `r`, on the simplex."""
        other = self.r0 * self._noise().exp()
        return other / other.sum(-1, keepdim=True)

    @cached_property
    def answers(self) -> Answers:
        return self.model.answer(self.encoded, self.moved)

    def loss(self, r: Float[Tensor, "batch sites experts"]) -> Float[Tensor, " batch"]:
        with torch.no_grad():
            return self.model.loss(self.encoded, self.target, r)

    def along(self) -> Float[Tensor, "batch sites experts"]:
        """A direction in which `r` stays on the simplex, as far as it is small."""
        ahead = self.r0 * self._noise()
        return ahead - self.r0 * ahead.sum(-1, keepdim=True)

    @property
    def tolerance(self) -> float:
        """What rounding may change, by the coarsest numbers that the model uses."""
        used = [*self.encoded.tensors.values(), self.r0, self.loss(self.r0)]
        return math.sqrt(max(torch.finfo(t.dtype).eps for t in used if t.is_floating_point()))

    def _noise(self) -> Float[Tensor, "batch sites experts"]:
        generator = torch.Generator().manual_seed(self.seed)
        return torch.randn(self.r0.shape, generator=generator).to(self.r0)


def _named(case: _Case) -> None:
    model = case.model
    _must(bool(model.name), "it has no name")
    _must(bool(model.fingerprint), "it has no fingerprint")
    names = [site.name for site in model.sites]
    _must(bool(names), "it has no sites")
    _must(len(set(names)) == len(names), f"sites share a name: {', '.join(names)}")
    for site in model.sites:
        _must(len(set(site.experts)) == len(site.experts) > 0, f"{site.name}: {site.experts}")


def _shaped(case: _Case) -> None:
    sites = case.model.sites
    shape = (len(case.samples), len(sites), max(len(site.experts) for site in sites))
    _must(tuple(case.r0.shape) == shape, f"r is {tuple(case.r0.shape)}, not {shape}")
    for name, tensor in case.encoded.tensors.items():
        _must(len(tensor) == len(case.samples), f"{name} has {len(tensor)} rows")
    losses = case.loss(case.r0)
    _must(losses.shape == (len(case.samples),), f"the loss is {tuple(losses.shape)}")
    _must(losses.isfinite().all(), f"the loss is {losses.tolist()}")


def _on_simplex(case: _Case) -> None:
    _must((case.r0 >= 0).all(), "a weight is below 0")
    sums = case.r0.sum(-1)
    _must(((sums - 1).abs() < case.tolerance).all(), f"rows sum to {sums.flatten().tolist()}")
    for i, site in enumerate(case.model.sites):
        padding = case.r0[:, i, len(site.experts) :]
        _must(not padding.any(), f"{site.name}: weights beyond its experts are not 0")


def _blind(case: _Case) -> None:
    # Another label, and none at all: that none is refused would give a reader away as well.
    other = case.samples[1:] + case.samples[:1]
    swapped = [
        replace(sample, label=there.label, answers=there.answers)
        for sample, there in zip(case.samples, other, strict=True)
    ]
    unknown = [replace(sample, label=None, answers=()) for sample in case.samples]
    for changed in (swapped, unknown):
        with torch.no_grad():
            again = case.model.encode(changed)
        for name, tensor in case.encoded.tensors.items():
            _must(torch.equal(tensor, again.tensors[name]), f"{name} changes with the label")


def _alone(case: _Case) -> None:
    # Rows of one batch must be able to join those of another, so trailing shapes are the same.
    together = case.loss(case.moved)
    for i, sample in enumerate(case.samples):
        with torch.no_grad():
            one = case.model.encode([sample])
            r = case.model.route(one)
            loss = case.model.loss(one, case.model.target([sample]), case.moved[i : i + 1])
        for name, tensor in one.tensors.items():
            shape = case.encoded.tensors[name].shape[1:]
            _must(tensor.shape[1:] == shape, f"{name} alone is {tuple(tensor.shape[1:])}")
        _near(r[0], case.r0[i], case.tolerance, f"r of sample {i}")
        _near(loss[0], together[i], case.tolerance, f"the loss of sample {i}")


def _rowwise(case: _Case) -> None:
    r = case.r0.clone()
    r[0] = case.moved[0]
    _near(case.loss(r)[1:], case.loss(case.r0)[1:], case.tolerance, "the loss of another sample")
    order = torch.arange(len(case.samples) - 1, -1, -1)
    with torch.no_grad():
        turned = case.model.loss(case.encoded[order], case.target[order], case.moved[order])
    _near(turned.flip(0), case.loss(case.moved), case.tolerance, "the loss in another order")


def _differentiable(case: _Case) -> None:
    r = case.r0.clone().requires_grad_()
    loss = case.model.loss(case.encoded, case.target, r)
    (gradient,) = torch.autograd.grad(loss.sum(), r)
    _must(gradient.isfinite().all(), "the gradient is not finite")
    _must(gradient.any(), "the gradient is 0: r does not reach the loss")
    if case.tolerance > 1e-2:
        raise NotTried("finite differences need float32 or float64")
    along = case.along()
    slope = (gradient * along).sum((1, 2))
    # Sparse routers jump, small steps drown in rounding, large ones bend: one step must be right.
    errors = [
        ((case.loss(case.r0 + h * along) - case.loss(case.r0 - h * along)) / (2 * h) - slope).abs()
        for h in STEPS
    ]
    least, most = torch.stack(errors).amin(0), SLOPE * slope.abs().max() + case.tolerance**2
    _must((least <= most).all(), f"off by {least.tolist()}, slopes {slope.tolist()}")


def _answering(case: _Case) -> None:
    p, said = case.answers.probabilities, case.answers.candidates
    _must(len(said) == len(p) == len(case.samples), f"{len(said)} answers")
    _must(p.isfinite().all(), "a probability is not finite")
    _must((p >= 0).all(), "a probability is below 0")
    _must((p.sum(-1) < 1 + case.tolerance).all(), f"probabilities sum to {p.sum(-1).tolist()}")
    _must(all(len(names) == p.shape[1] for names in said), "not a candidate for each probability")
    for sample, text in zip(case.samples, case.answers.texts, strict=True):
        allowed = not sample.choices or any(
            replace(sample, label=choice).is_correct(text) for choice in sample.choices
        )
        _must(allowed, f"{text!r} is none of the choices of {sample.id}")


def _agreeing(case: _Case) -> None:
    tried = 0
    for i, (sample, ranked) in enumerate(
        zip(case.samples, case.answers.top(len(case.answers.candidates[0])), strict=True)
    ):
        known = [(text, p) for text, p in ranked if text and p > 0]
        if len(known) < 2:
            continue
        (best, high), (worst, low) = known[0], known[-1]
        labelled = [replace(sample, label=text, metric="match") for text in (best, worst)]
        try:
            target = case.model.target(labelled)
        except ValueError:
            continue  # an answer that it can say, but not be asked for
        rows = torch.tensor([i, i])
        with torch.no_grad():
            losses = case.model.loss(case.encoded[rows], target, case.moved[rows])
        tried += 1
        _must(
            losses[0] <= losses[1] + case.tolerance,
            f"{best!r} ({high:.3g}) has a higher loss than {worst!r} ({low:.3g})",
        )
    if not tried:
        raise NotTried("no sample has two candidates with labels")


def _demanding(case: _Case) -> None:
    try:
        case.model.target([replace(case.samples[0], label=None, answers=())])
    except ValueError:
        return
    raise Broken("a sample without a label is taken: raise ValueError")


def _frozen(case: _Case) -> None:
    loss = case.model.loss(case.encoded, case.target, case.r0)
    _must(not loss.requires_grad, "weights ask for gradients: call requires_grad_(False) on them")


PROMISES: dict[str, Callable[[_Case], None]] = {
    "it is named, and its sites and experts are": _named,
    "r, encodings and losses have the contract's shapes": _shaped,
    "r lies on the simplex, padding is 0": _on_simplex,
    "encode reads no label, and says the same twice": _blind,
    "a batch gives what its samples give one by one": _alone,
    "a sample's loss depends on nothing but its own row": _rowwise,
    "the gradient in r is that of finite differences": _differentiable,
    "answers are probabilities, of the choices where there are some": _answering,
    "the more probable answer has the lower loss": _agreeing,
    "a sample without a label has no target": _demanding,
    "nothing but r can be learnt": _frozen,
}


def _must(be: bool | Tensor, why: str) -> None:
    if not be:
        raise Broken(why)


def _near(one: Tensor, other: Tensor, tolerance: float, what: str) -> None:
    off = float((one - other).abs().max() if one.numel() else 0)
    most = tolerance * max(1.0, float(other.abs().max()) if other.numel() else 0)
    _must(off <= most, f"{what} is off by {off:.2g}")
