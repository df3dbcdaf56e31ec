"""Losses fitted as functions of r: exact where they can be, refused where they must be."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from r2t2 import fitted, studio
from r2t2.contract import RoutedModel
from r2t2.engine import Engine
from r2t2.fitted import FittedLosses, anchors, fit
from r2t2.rerouting.settings import PAPER, strategy
from r2t2.runs.identity import RunSpec
from r2t2.runs.store import list_runs
from r2t2.sites import Site
from tests.runs import toy

FITTED = replace(toy.NGD, losses="fitted")
RANDOM = {"algorithm": "kernel_regression", "neighbourhood": "random"}
STORED = ("fit.safetensors", "fit.json")


@pytest.fixture
def engine():
    """The toy's engine, whose parts can be changed without harm to others."""
    whole = toy.engine()
    own = Engine(whole.model, whole.reference, whole.dataset)
    own.fitted = whole.fitted
    return own


@pytest.fixture(scope="module")
def shipped():
    """The embedded model that ships, with its reference set and their fit."""
    return studio.open_engine("mini", device="cpu")


@pytest.fixture
def folder(engine, tmp_path):
    engine.reference.save(tmp_path)
    engine.fitted.save(tmp_path)
    return tmp_path


def test_a_model_whose_log_odds_are_linear_is_fitted_exactly(engine):
    made = engine.fitted
    assert bool(made.trusted.all())
    assert float(made.error.max()) < 0.01
    r = torch.rand(len(made.error), 2, 3).softmax(-1)
    guessed = made.of(torch.arange(len(r)), torch.device("cpu"))(r)
    assert torch.allclose(guessed, engine.model.loss(*engine.everything("all"), r), atol=0.01)


@pytest.mark.parametrize("changes", [{}, {"references": "all"}, RANDOM])
def test_a_strategy_on_the_fit_goes_where_it_goes_on_the_exact_losses(engine, changes):
    prepared = engine.prepare(toy.dataset()[:6])
    exact = engine.run(prepared, replace(toy.NGD, **changes))
    read = engine.run(prepared, replace(FITTED, **changes))
    assert float((exact.r - exact.r[:, :1]).abs().max()) > 0.01
    assert torch.allclose(read.r, exact.r, atol=5e-3)
    assert torch.allclose(read.objective, exact.objective, atol=5e-3)


def test_only_badly_fitted_neighbours_cost_passes(engine):
    prepared = engine.prepare(toy.dataset()[:6])
    exact = engine.run(prepared, toy.NGD)
    assert engine.run(prepared, FITTED).cost.forward.tolist() == [2] * 6
    bad = engine.fitted.error.clone()
    bad[: len(bad) // 2] = 9.0
    engine.fitted = replace(engine.fitted, error=bad)
    mixed = engine.run(prepared, FITTED)
    dear = engine._exact(mixed.neighbours, FITTED).sum(-1)
    assert 0 < int(dear.sum()) < dear.numel() * FITTED.k
    assert mixed.cost.forward.tolist() == [2 + (FITTED.steps + 1) * int(n) for n in dear]
    assert torch.allclose(mixed.r, exact.r, atol=5e-3)


def test_a_badly_fitted_neighbour_has_its_exact_loss(engine):
    prepared = engine.prepare(toy.dataset()[:6])
    nonsense = replace(engine.fitted, weights=-3 * engine.fitted.weights)
    engine.fitted = replace(nonsense, error=torch.full_like(nonsense.error, 9.0))
    assert torch.equal(engine.run(prepared, FITTED).r, engine.run(prepared, toy.NGD).r)


def test_the_rest_of_the_answers_counts_as_one_rival(engine):
    encoded, target = engine.everything("all")
    few = fit(engine.model, engine.reference, encoded, target, rivals=1)
    assert few.weights.shape[1] == 1
    assert float(few.error.mean()) < 0.1


def test_anchors_are_on_the_simplex_and_leave_padding_at_zero():
    sites = (Site("low", ("a", "b", "c")), Site("high", ("a", "b")))
    own = torch.tensor([[[0.2, 0.3, 0.5], [0.6, 0.4, 0.0]]])
    found = anchors(40, own, sites, 0)
    assert torch.allclose(found.sum(-1), torch.ones(40, 2), atol=1e-5)
    assert (found >= 0).all()
    assert (found[:, 1, 2] == 0).all()
    assert torch.equal(found, anchors(40, own, sites, 0))
    assert not torch.equal(found, anchors(40, own, sites, 1))


def test_a_stored_fit_is_read_as_it_was(engine, folder):
    found = FittedLosses.load(folder, engine.reference)
    assert found.fingerprint == engine.fitted.fingerprint
    assert torch.equal(found.weights, engine.fitted.weights)
    assert {path.name for path in folder.glob("fit*")} == set(STORED)


def test_an_engine_reads_the_fit_beside_its_reference_set(engine, folder):
    opened = Engine(engine.model, engine.reference, engine.dataset, folder)
    prepared = engine.prepare(toy.dataset()[:3])
    assert torch.equal(opened.run(prepared, FITTED).r, engine.run(prepared, FITTED).r)


@pytest.mark.parametrize("name", STORED)
@pytest.mark.parametrize("damage", ["cut", "missing", "changed"])
def test_a_damaged_fit_says_how_to_make_it_again(engine, folder, name, damage):
    path = folder / name
    whole = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(whole[: len(whole) // 2])
    elif name == "fit.json":
        path.write_text(json.dumps({**json.loads(whole), "threshold": 99}))
    else:
        path.write_bytes(whole[:-2] + bytes([whole[-2] ^ 1, whole[-1]]))
    with pytest.raises((ValueError, FileNotFoundError), match="reference fit --model toy"):
        FittedLosses.load(folder, engine.reference)


def test_the_fit_of_another_reference_set_is_refused(engine, folder):
    other = replace(engine.reference, r=engine.reference.r + 1)
    with pytest.raises(ValueError, match="another reference set"):
        FittedLosses.load(folder, other)


def test_a_reference_set_without_a_fit_says_how_to_make_one(engine, tmp_path):
    opened = Engine(engine.model, engine.reference, engine.dataset, tmp_path)
    with pytest.raises(FileNotFoundError, match="python -m r2t2 reference fit --model toy"):
        opened.run(engine.prepare(toy.dataset()[:1]), FITTED)
    assert "reference fit" in opened.lacking(FITTED)
    assert opened.lacking(toy.NGD) == ""


def test_a_model_that_tells_no_odds_is_refused(engine, monkeypatch, tmp_path):
    monkeypatch.setattr(toy.Toy, "log_odds", RoutedModel.log_odds)
    with pytest.raises(ValueError, match="cannot be fitted"):
        fit(engine.model, engine.reference, *engine.everything("all"))
    opened = Engine(engine.model, engine.reference, engine.dataset, tmp_path)
    with pytest.raises(ValueError, match="cannot be fitted"):
        opened.run(engine.prepare(toy.dataset()[:1]), FITTED)


def test_a_run_on_the_fit_is_told_apart_by_the_fit(engine):
    def spec(setting):
        return RunSpec.of(engine, toy.dataset(), 0, "ngd", setting, "ends", 4)

    exact, read = spec(toy.NGD), spec(FITTED)
    assert (exact.fit, read.fit) == ("", engine.fitted.fingerprint)
    assert exact.id != read.id != replace(read, fit="another").id


def test_exact_losses_go_without_saying():
    assert "losses" not in PAPER.options
    assert strategy("ngd_amortised", "mini").options["losses"] == "fitted"
    assert "losses" not in replace(PAPER, algorithm="oracle", losses="fitted").options


def test_the_runs_that_ship_keep_their_ids():
    folder = Path(fitted.__file__).resolve().parent.parent / "cache" / "runs"
    runs = list_runs(folder)
    assert len(runs) >= 360
    for run in runs:
        assert run.folder.name.endswith(run.spec.id[:10])
        assert run.spec.id == run.manifest["id"]


def test_the_embedded_models_log_odds_make_up_its_loss(shipped):
    samples = shipped.dataset[:8]
    encoded, target = shipped.model.encode(samples), shipped.model.target(samples)
    r = shipped.model.route(encoded)
    odds = shipped.model.log_odds(encoded, target, r)
    summed = torch.nn.functional.softplus(odds.logsumexp(-1))
    assert torch.allclose(summed, shipped.model.loss(encoded, target, r), atol=1e-5)
