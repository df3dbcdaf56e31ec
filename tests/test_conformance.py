"""The check of the contract finds what breaks it, and nothing in models that keep it."""

import dataclasses

import pytest
import torch

from r2t2.conformance import PROMISES, check
from r2t2.contract import Answers, Batch
from tests.runs import toy

SAMPLES = toy.dataset(size=4)[:]
(
    NAMED,
    SHAPED,
    SIMPLEX,
    BLIND,
    ALONE,
    ROWWISE,
    GRADIENT,
    ANSWERING,
    AGREEING,
    DEMANDING,
    FROZEN,
) = PROMISES


class Taking(toy.Toy):
    """Makes up a label where there is none."""

    def target(self, samples):
        return Batch(
            {"colour": torch.tensor([toy.COLOURS.index(s.label or "red") for s in samples])}
        )


class Nameless(toy.Toy):
    fingerprint = ""


class Flat(toy.Toy):
    def route(self, encoded):
        return super().route(encoded)[:, :1]


class Unnormalised(toy.Toy):
    def route(self, encoded):
        return 2 * super().route(encoded)


class Peeking(toy.Toy):
    def encode(self, samples):
        known = [toy.COLOURS.index(sample.label or "red") for sample in samples]
        return Batch({**super().encode(samples).tensors, "hint": torch.tensor(known)})


class Crowded(toy.Toy):
    """Encodes a sample beside others otherwise than alone."""

    def encode(self, samples):
        tensors = super().encode(samples).tensors
        pixels = tensors["pixels"] - tensors["pixels"].mean(0)
        return Batch({**tensors, "pixels": pixels})


class Growing(toy.Toy):
    """Pads to the longest question of the batch."""

    def encode(self, samples):
        longest = max(len(sample.question) for sample in samples)
        return Batch({**super().encode(samples).tensors, "ids": torch.zeros(len(samples), longest)})


class Mixing(toy.Toy):
    def loss(self, encoded, target, r):
        return super().loss(encoded, target, r.mean(0, keepdim=True).expand_as(r))


class Steep(toy.Toy):
    """Its gradient is twice the slope."""

    def loss(self, encoded, target, r):
        loss = super().loss(encoded, target, r)
        return 2 * loss - loss.detach()


class Deaf(toy.Toy):
    def loss(self, encoded, target, r):
        return super().loss(encoded, target, r.detach()) + 0 * r.sum((1, 2))


class Unsure(toy.Toy):
    def answer(self, encoded, r):
        return Answers([toy.COLOURS] * len(r), 2 * super().answer(encoded, r).probabilities)


class Contrary(toy.Toy):
    def answer(self, encoded, r):
        return Answers([toy.COLOURS] * len(r), (-self._logits(encoded, r)).softmax(-1))


class Learning(toy.Toy):
    def __init__(self):
        super().__init__()
        self.experts_of.requires_grad_()


@pytest.mark.parametrize(
    ("model", "promise"),
    [
        (Nameless, NAMED),
        (Flat, SHAPED),
        (Unnormalised, SIMPLEX),
        (Peeking, BLIND),
        (Crowded, ALONE),
        (Growing, ALONE),
        (Mixing, ROWWISE),
        (Steep, GRADIENT),
        (Deaf, GRADIENT),
        (Unsure, ANSWERING),
        (Contrary, AGREEING),
        (Taking, DEMANDING),
        (Learning, FROZEN),
    ],
)
def test_a_broken_promise_is_found(model, promise):
    found = {one.promise: one for one in check(model(), SAMPLES)}
    assert found[promise].kept is False
    assert found[promise].why


def test_an_answer_that_is_no_choice_is_found():
    choosy = [dataclasses.replace(sample, choices=("yes", "no")) for sample in SAMPLES]
    found = {one.promise: one.why for one in check(toy.Toy(), choosy)}
    assert "none of the choices" in found[ANSWERING]


def test_a_model_that_keeps_them_all_is_praised():
    assert {one.promise: one.why for one in check(toy.Toy(), SAMPLES) if not one.kept} == {}


def test_the_embedded_model_keeps_them_all(engine, dev):
    found = check(engine.model, dev[:4])
    assert {one.promise: one.why for one in found if not one.kept} == {}


def test_what_cannot_be_tried_is_not_called_kept():
    class Half(toy.Toy):
        def encode(self, samples):
            tensors = super().encode(samples).tensors
            return Batch({**tensors, "pixels": tensors["pixels"].bfloat16()})

    found = {one.promise: one for one in check(Half(), SAMPLES)}
    assert (found[GRADIENT].kept, found[GRADIENT].verdict) == (None, "not tried")
    assert "float32" in found[GRADIENT].why
