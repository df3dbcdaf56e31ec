"""The embedded model: what it promises, what it refuses, and its training."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from r2t2.contract import Batch
from r2t2.data import world
from r2t2.data.questions import ANSWERS
from r2t2.models import available, load_model, resolve_device
from r2t2.models.mini import perception, train
from r2t2.models.mini.model import Mini
from r2t2.paths import shipped_checkpoint


@pytest.fixture(scope="module")
def model(engine):
    return engine.model


@pytest.fixture(scope="module")
def encoded(model, dev):
    return model.encode(dev[:8])


def test_it_is_within_its_size():
    path = shipped_checkpoint() / "model.safetensors"
    assert path.stat().st_size <= 20e6
    assert sum(t.numel() for t in load_file(path).values()) <= 5e6


def test_its_router_gives_weights_on_the_simplex(model, encoded):
    r = model.route(encoded)
    assert r.shape == (8, len(model.sites), len(model.experts))
    assert torch.allclose(r.sum(-1), torch.ones(8, 3), atol=1e-5)


def test_its_loss_is_minus_the_log_probability_of_the_label(model, encoded, dev):
    r = model.route(encoded)
    p = model.answer(encoded, r).probabilities
    right = [ANSWERS.index(sample.label) for sample in dev[:8]]
    expected = -p[torch.arange(8), right].log()
    loss = model.loss(encoded, model.target(dev[:8]), r)
    assert torch.allclose(loss, expected, atol=1e-4)


def test_its_gradient_is_that_of_finite_differences(model, dev):
    encoded = _double(model.encode(dev[:2]))
    target = model.target(dev[:2])
    model.network.double()
    try:
        r = torch.full((2, 3, 7), 1 / 7, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(lambda r: model.loss(encoded, target, r), (r,))
    finally:
        model.network.float()


@pytest.mark.parametrize(("double", "near"), [(False, 1e-5), (True, 1e-12)])
def test_its_fast_path_is_the_plain_network_up_to_rounding(model, encoded, dev, double, near):
    allowed, target = encoded.tensors["allowed"], model.target(dev[:8])
    r = torch.rand(8, 3, 7, generator=torch.Generator().manual_seed(0)).softmax(-1)
    if double:
        encoded, r = _double(encoded), r.double()

    def plain(r):
        logits = model.network(encoded.tensors, r).masked_fill(~allowed, -1e4)
        return torch.nn.functional.cross_entropy(logits, target.tensors["answer"], reduction="none")

    def fast(r):
        return model.loss(encoded, target, r)

    model.network.to(r.dtype)
    try:
        expected, got = ((loss(r), *_gradient(loss, r)) for loss in (plain, fast))
    finally:
        model.network.float()
    for one, other in zip(expected, got, strict=True):
        assert torch.allclose(one, other, rtol=near, atol=near)
    assert expected[1].abs().max() > 1e-2


def _double(batch):
    cast = {name: t.double() for name, t in batch.tensors.items() if t.is_floating_point()}
    return Batch({**batch.tensors, **cast})


def _gradient(loss, r):
    r = r.detach().requires_grad_()
    return torch.autograd.grad(loss(r).sum(), r)


def test_an_encoding_does_not_depend_on_its_batch(model, encoded, dev):
    alone = model.encode([dev[3]])
    for name, tensor in alone.tensors.items():
        assert torch.allclose(tensor[0].float(), encoded.tensors[name][3].float(), atol=1e-5)


def test_multiple_choice_answers_with_one_of_the_choices(model, dev):
    sample = dataclasses.replace(dev[0], choices=("zoo", "spa"), label="spa")
    encoded = model.encode([sample])
    assert model.answer(encoded, model.route(encoded)).texts[0] in ("zoo", "spa")


def test_letter_case_of_a_question_does_not_count(model, dev):
    loud = dataclasses.replace(dev[0], question=dev[0].question.upper())
    a, b = model.encode([dev[0]]), model.encode([loud])
    assert torch.equal(a.tensors["queries"], b.tensors["queries"])


@pytest.mark.parametrize("question", ["", "?", "日本語の質問", "x" * 5000, "<b>$\\alpha$</b>"])
def test_any_question_gets_an_answer(model, dev, question):
    encoded = model.encode([dataclasses.replace(dev[0], question=question, choices=())])
    assert model.answer(encoded, model.route(encoded)).probabilities.isfinite().all()


def test_a_label_that_it_cannot_express_is_refused(model, dev):
    with pytest.raises(ValueError, match="elephant"):
        model.target([dataclasses.replace(dev[0], label="elephant")])


def test_each_expert_tells_its_own_attribute(model):
    scenes = [world.draw(7, world.SPLITS["dev"], i)[0] for i in range(40)]
    pixels = perception.thumbnails([world.scenes.render(scene) for scene in scenes])
    x = perception.patches(pixels).flatten(0, 1)
    marks = np.concatenate([perception.labels(scene) for scene in scenes])
    for name, encoder in model.perception.encoders.items():
        column = list(perception.CLASSES).index(encoder.sense.labels[0])
        full = marks[:, column] < perception.CLASSES[encoder.sense.labels[0]] - 1
        guess = encoder.logits(x)[0].argmax(-1).numpy()
        assert (guess == marks[:, column])[full].mean() > 0.9, name


def test_it_says_that_photographs_mean_nothing_to_it_and_why_its_router_is_weak(model):
    assert "rendered scenes" in model.notice
    assert "not meaningful" in model.notice
    assert "narrow mix" in model.notice
    assert "only cause" in model.notice


def test_a_missing_checkpoint_says_how_to_train_one(tmp_path):
    with pytest.raises(FileNotFoundError, match="r2t2 train"):
        Mini(tmp_path / "model.safetensors", "mini-9")


def test_a_truncated_checkpoint_is_refused_by_name(tmp_path):
    whole = (shipped_checkpoint() / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"model\.safetensors"):
        Mini(tmp_path / "model.safetensors")


def test_an_unknown_model_or_device_is_refused_with_those_there_are():
    assert "mini" in available()
    with pytest.raises(KeyError, match="mini"):
        load_model("moai-70b")
    with pytest.raises(RuntimeError, match="cpu"):
        resolve_device("tpu")


def test_the_checkpoint_carries_its_recipe():
    with safe_open(shipped_checkpoint() / "model.safetensors", "pt") as file:
        recipe = json.loads(file.metadata()["recipe"])
    assert recipe["seed"] == 0
    assert recipe["steps"] == train.Recipe().steps


def test_stage_one_routes_are_sharp_and_on_the_simplex():
    recipe = train.Recipe()
    needs = torch.zeros(200, 7)
    needs[:, 2] = 1
    r = train.random_routes(needs, recipe, torch.Generator().manual_seed(0))
    assert torch.allclose(r.sum(-1), torch.ones(200, 3), atol=1e-5)
    assert ((r > 0).sum(-1) <= recipe.most).all()
    single = ((r > 0).sum(-1) == 1).float().mean()
    assert single > recipe.single
    assert r[..., 2].mean() > 0.4


TINY = train.Recipe(
    scenes=40,
    questions_per_scene=2,
    router_scenes=20,
    perception=0.002,
    steps=6,
    batch=8,
    router_steps=3,
    router_batch=8,
)


class Stopped(Exception):
    pass


def test_a_stopped_training_goes_on_to_the_same_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(train, "SAVE_EVERY", 2)
    straight = load_file(train.train(TINY, tmp_path / "straight"))

    def stop(stage, done, total, note):
        if stage.startswith("stage 1") and done == 4:
            raise Stopped

    monkeypatch.setattr(train, "REPORT_EVERY", 2)
    with pytest.raises(Stopped):
        train.train(TINY, tmp_path / "stopped", stop)
    assert not (tmp_path / "stopped" / "model.safetensors").exists()
    resumed = load_file(train.train(TINY, tmp_path / "stopped"))
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)

    shutil.copytree(tmp_path / "straight", tmp_path / "other")
    with pytest.raises(ValueError, match="another recipe"):
        train.train(dataclasses.replace(TINY, seed=5), tmp_path / "other")
