"""Losses fitted as functions of r: exact where they can be, refused where they must be."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from r2t2 import fitted
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


@pytest.fixture
def folder(engine, tmp_path):
    engine.reference.save(tmp_path)
    engine.fitted.save(tmp_path)
    return tmp_path


def test_losses_and_their_gradients_are_learned_where_they_were_not_looked_at(engine):
    made = engine.fitted
    assert bool(made.trusted.all())
    assert float(made.error.max()) < 0.03
    generator = torch.Generator().manual_seed(3)
    r = torch.randn(len(made.error), 2, 3, generator=generator).softmax(-1).requires_grad_()
    every = torch.arange(len(r))
    guessed = made.of(every, torch.device("cpu"))(r, every)
    exact = engine.model.loss(*engine.everything("all"), r)
    assert float((guessed - exact).detach().abs().mean()) < 0.04 * float(exact.detach().std())
    slopes = [torch.autograd.grad(of.sum(), r)[0] for of in (guessed, exact)]
    # Along the simplex, where alone descent can go.
    off = (slopes[0] - slopes[1]) - (slopes[0] - slopes[1]).mean(-1, keepdim=True)
    assert float(off.norm() / slopes[1].norm()) < 0.2


@pytest.mark.parametrize("changes", [{}, {"references": "all"}, RANDOM])
def test_a_strategy_on_the_fit_goes_where_it_goes_on_the_exact_losses(engine, changes):
    prepared = engine.prepare(toy.dataset()[:6])
    exact = engine.run(prepared, replace(toy.NGD, **changes))
    read = engine.run(prepared, replace(FITTED, **changes))
    moved = (exact.r - exact.r[:, :1]).abs().mean()
    assert float(moved) > 0.04
    assert float((read.r - exact.r).abs().mean()) < 0.1 * float(moved)
    assert float((read.objective - exact.objective).abs().mean()) < 0.05


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
    assert float((mixed.r - exact.r).abs().mean()) < 0.01


def test_a_badly_fitted_neighbour_has_its_exact_loss(engine):
    prepared = engine.prepare(toy.dataset()[:6])
    nonsense = replace(engine.fitted, weights=-3 * engine.fitted.weights)
    engine.fitted = replace(nonsense, error=torch.full_like(nonsense.error, 9.0))
    assert torch.equal(engine.run(prepared, FITTED).r, engine.run(prepared, toy.NGD).r)


@pytest.mark.parametrize("trace", [True, False])
@pytest.mark.parametrize("changes", [{}, RANDOM])
def test_only_a_sample_with_an_unsure_answer_is_rerouted_on_exact_losses(engine, changes, trace):
    engine.fitted = replace(engine.fitted, weights=-engine.fitted.weights)  # to tell it apart
    prepared = engine.prepare(toy.dataset()[:9])
    exact = engine.run(prepared, replace(toy.NGD, **changes), trace)
    read = engine.run(prepared, replace(FITTED, **changes), trace)
    sure = float(read.answers[-1].confidence.median())
    both = engine.run(prepared, replace(FITTED, sure=sure, **changes), trace)
    unsure = read.answers[-1].confidence < sure
    assert int(unsure.sum()) == 4
    assert len(both.answers) == len(read.answers)
    of = (exact, unsure), (read, ~unsure)
    for way, rows in of:
        assert torch.equal(both.r[rows], way.r[rows])
        assert torch.equal(both.objective[rows], way.objective[rows])
        assert torch.equal(both.losses[rows], way.losses[rows])
        for mine, theirs in zip(both.answers, way.answers, strict=True):
            assert torch.equal(mine.probabilities[rows], theirs.probabilities[rows])
    assert not torch.equal(exact.r[unsure], read.r[unsure])
    for passes in ("forward", "backward"):
        spent, first, again = (getattr(way.cost, passes) for way in (both, read, exact))
        assert torch.equal(spent, first + unsure * again)


def test_who_is_sure_of_all_goes_without_saying(engine):
    assert "sure" not in FITTED.options
    assert "sure" not in replace(toy.NGD, sure=0.5).options
    assert replace(FITTED, sure=0.5).options["sure"] == 0.5


def test_the_same_seed_makes_the_same_fit_at_whatever_cost(engine):
    def made(seed):
        every = engine.everything("all")
        return fit(engine.model, engine.reference, *every, 10, seed=seed)

    first, again = made(0), made(0)
    assert first.fingerprint == again.fingerprint != made(1).fingerprint
    slower = replace(first, built={**first.built, "seconds": 1e6})
    assert slower.fingerprint == first.fingerprint


def test_a_fit_tells_what_it_cost(engine, monkeypatch):
    rows = []
    loss = toy.Toy.loss

    def counted(self, encoded, target, r):
        rows.append(len(r))
        return loss(self, encoded, target, r)

    monkeypatch.setattr(toy.Toy, "loss", counted)
    built = fit(engine.model, engine.reference, *engine.everything("all"), 10).built
    assert built["forward"] == sum(rows) / len(engine.reference) == 10 + fitted.HELD_OUT
    assert built["backward"] == 10
    assert built["seconds"] > 0


def test_progress_is_told_to_the_end(engine):
    told = []
    fit(
        engine.model,
        engine.reference,
        *engine.everything("all"),
        10,
        report=lambda done, total: told.append(done / total),
    )
    assert told == sorted(told)
    assert told[-1] == 1


@pytest.mark.parametrize("loss", [0.0, 1e-9, 1e-3, 0.7, 30.0, 900.0])
def test_a_margin_is_the_log_odds_of_everything_else_for_any_loss(loss):
    margin = fitted._margin(torch.tensor(loss))
    assert margin.isfinite()
    assert float(torch.nn.functional.softplus(margin)) == pytest.approx(loss, rel=1e-3, abs=1e-4)


def test_a_loss_beyond_all_bounds_fits_into_float16():
    loss = torch.tensor(1e30, requires_grad=True)
    margin = fitted._margin(loss)
    margin.backward()
    assert margin.half().isfinite()
    assert loss.grad.isfinite()


def test_products_are_left_out_where_they_were_more_than_the_equations():
    assert fitted.width(3, 7, 96) == 1 + 21 + 231
    assert fitted.width(3, 7, 5) == 1 + 21
    assert fitted.width(32, 64, 96) == 1 + 2048
    r = torch.rand(4, 2, 3).softmax(-1)
    for width in (7, 28):
        assert fitted.features(r, width).shape == (4, width)


def test_a_gradient_counts_along_the_simplex_and_without_padding():
    there = torch.tensor([[1.0, 1.0, 1.0], [1.0, 1.0, 0.0]])
    gradient = torch.tensor([[1.0, 2.0, 3.0], [5.0, 7.0, 100.0]])
    along = torch.tensor([[-1.0, 0.0, 1.0], [-1.0, 1.0, 0.0]])
    assert torch.equal(fitted._tangent(gradient, there), along)


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
    assert found.built == engine.fitted.built
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
