"""The engine on the embedded model: what each strategy does to r, and what it may read."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch

from r2t2.contract import Batch
from r2t2.engine import Memory
from r2t2.rerouting.settings import PAPER, STRATEGIES, Setting, strategy
from r2t2.samples import Sample


@pytest.fixture(scope="module", autouse=True)
def short_fits():
    """Controls that are fitted are fitted briefly: what they do is tested, not how well."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("r2t2.controls.STEPS", 30)
        yield


@pytest.fixture(scope="module")
def prepared(engine, dev):
    return engine.prepare(dev[:6])


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_strategy_begins_at_the_routers_r_and_stays_on_the_simplex(engine, prepared, name):
    done = engine.run(prepared, strategy(name, "mini"))
    assert torch.equal(done.r[:, 0], prepared.r)
    assert (done.r >= 0).all()
    assert torch.allclose(done.r.sum(-1), torch.ones(done.r.shape[:-1]), atol=1e-4)
    assert len(done.answers) == done.steps + 1


@pytest.mark.parametrize("name", [n for n in STRATEGIES if n != "oracle"])
def test_no_strategy_but_the_oracle_reads_the_samples_label(engine, dev, name):
    class Unlabelled(Sample):
        @property
        def label(self):
            raise AssertionError("the label was read")

        @label.setter
        def label(self, value):
            pass

    samples = []
    for sample in dev[:3]:
        hidden = object.__new__(Unlabelled)
        hidden.__dict__.update({k: v for k, v in vars(sample).items() if k != "label"})
        samples.append(hidden)
    blind = engine.run(engine.prepare(samples), strategy(name, "mini"))
    seeing = engine.run(engine.prepare(dev[:3]), strategy(name, "mini"))
    assert torch.equal(blind.r, seeing.r)


def test_the_oracle_cannot_run_without_a_label(engine, dev):
    unlabelled = [replace(dev[0], label=None)]
    with pytest.raises(ValueError, match="label"):
        engine.run(engine.prepare(unlabelled), strategy("oracle", "mini"))


def test_the_objective_of_ngd_is_equation_3(engine, prepared):
    done = engine.run(prepared, replace(PAPER, steps=2))
    near = done.neighbours
    kept = engine.reference.correct.table
    for i in range(2):
        total = 0.0
        for slot in range(5):
            sample = engine.dataset[int(kept["position"][int(near.index[i, slot])])]
            encoded, target = engine.model.encode([sample]), engine.model.target([sample])
            loss = engine.model.loss(encoded, target, done.r[i : i + 1, 2])
            total += float(near.weights[i, slot] * loss)
        assert done.objective[i, 2] == pytest.approx(total, abs=1e-5)


def test_ngd_follows_the_gradient_of_equation_3(engine, prepared):
    """Finite differences of the objective against the step that plain gradient takes."""
    setting = replace(PAPER, steps=1, schedule="constant", learning_rate=1e-3, space="simplex")
    done = engine.run(prepared, setting)
    step = done.r[:, 1] - done.r[:, 0]
    assert (done.objective[:, 1] <= done.objective[:, 0] + 1e-7).all()
    inside = (done.r[:, 1] > 0).all(-1).all(-1)
    assert (step[inside].sum(-1).abs() < 1e-5).all()


def test_kernel_regression_is_equations_4_to_6(engine, prepared):
    done = engine.run(prepared, Setting("kernel_regression", bandwidth=0.5))
    near = done.neighbours
    neighbours_r = torch.from_numpy(engine.reference.correct.r[near.index.numpy()])
    r_hat = (near.weights[..., None, None] * neighbours_r).sum(1)
    assert torch.allclose(done.r[:, 1], r_hat, atol=1e-6)
    assert (done.objective[:, 2] <= done.objective[:, :2].min(1).values + 1e-6).all()
    line, moved = done.r[:, 0] - done.r[:, 1], done.r[:, 2] - done.r[:, 1]
    alpha = (moved * line).sum((1, 2)) / (line * line).sum((1, 2))
    assert torch.allclose(moved, alpha[:, None, None] * line, atol=1e-5)


def test_plain_kernel_regression_ends_at_r_hat(engine, prepared):
    done = engine.run(prepared, Setting("kernel_regression", search=False))
    assert done.steps == 1


def test_mode_finding_is_equation_7_and_comes_to_rest(engine, prepared):
    done = engine.run(prepared, Setting("mode_finding", steps=50, bandwidth="median"))
    found = engine.reference.correct.by_routing.search(
        prepared.r.flatten(1).numpy(),
        done.setting,
        [s.id for s in prepared.samples],
        [""] * len(prepared.samples),
    )
    near = torch.from_numpy(engine.reference.correct.r[found.index.numpy()])
    mean = (found.weights[..., None, None] * near).sum(1)
    assert torch.allclose(done.r[:, 1], 0.5 * prepared.r + 0.5 * mean, atol=1e-6)
    assert torch.allclose(done.r[:, -1], done.r[:, -2], atol=1e-3)


def test_a_sample_without_neighbours_keeps_its_r(engine, prepared):
    for algorithm in ("ngd", "kernel_regression"):
        setting = Setting(algorithm, neighbourhood="ball", epsilon=1e-6)
        done = engine.run(prepared, setting)
        assert torch.allclose(done.r[:, -1], prepared.r)
        assert done.objective.isnan().all()


def test_a_batch_gives_what_its_samples_give_alone(engine, dev, prepared):
    together = engine.run(prepared, strategy("ngd", "mini"))
    for i in (0, 5):
        alone = engine.run(engine.prepare([dev[i]]), strategy("ngd", "mini"))
        assert torch.allclose(together.r[i], alone.r[0], atol=1e-4)


def test_the_cost_counts_every_pass(engine, prepared):
    done = engine.run(prepared, PAPER)
    assert done.cost.backward.tolist() == [50] * 6
    assert done.cost.forward.tolist() == [2 + 55] * 6
    assert engine.run(prepared, strategy("base")).cost.forward.tolist() == [1] * 6


def test_the_best_constant_beats_uniform_on_the_references(engine):
    setting = strategy("constant", "mini")
    whole, target = engine.everything("correct")
    some = torch.arange(0, len(whole), 7)

    def mean_loss(r):
        r = r.expand(len(some), -1, -1)
        return float(engine.model.loss(whole[some], target[some], r).mean())

    constant = engine._elsewhere(engine.prepare(engine.dataset[:1]), setting)
    uniform = torch.full_like(constant, 1 / constant.shape[-1])
    assert mean_loss(constant) < mean_loss(uniform)


def test_a_place_of_routing_space_is_what_the_path_through_it_says(engine, prepared):
    done = engine.run(prepared, PAPER)
    for step in (0, done.steps):
        point = engine.at(prepared, done.r[:, step], PAPER)
        assert torch.allclose(point.objective, done.objective[:, step], atol=1e-5)
        assert torch.allclose(point.answers.probabilities, done.answers[step].probabilities)


def test_the_samples_own_loss_at_a_place_is_that_of_its_label(engine, prepared):
    point = engine.at(prepared, prepared.r, PAPER)
    labels = [sample.label for sample in prepared.samples]
    chosen = [
        float(p[names.index(label)])
        for names, p, label in zip(
            point.answers.candidates, point.answers.probabilities, labels, strict=True
        )
    ]
    assert torch.allclose(point.loss, -torch.tensor(chosen).log(), atol=1e-4)


def test_a_place_has_no_own_loss_without_a_label_and_no_objective_without_neighbours(engine, dev):
    unlabelled = engine.prepare([replace(dev[0], label=None)])
    alone = Setting("ngd", neighbourhood="ball", epsilon=1e-6)
    point = engine.at(unlabelled, unlabelled.r, alone)
    assert point.loss.isnan().all()
    assert point.objective.isnan().all()
    assert point.answers.texts


def test_what_is_fitted_is_fitted_once_and_only_where_there_is_something_to_fit(engine):
    setting = strategy("constant", "mini")
    assert engine.fit(setting) is engine.fit(setting)
    assert engine.fit(strategy("ngd", "mini")) is None


def test_several_threads_may_ask_for_the_references_at_once(engine):
    memory = Memory(engine.model, engine.reference.correct, engine.dataset)
    alone = Memory(engine.model, engine.reference.correct, engine.dataset)
    rows = [torch.arange(i, i + 12) for i in range(0, 40, 8)]
    with ThreadPoolExecutor(5) as threads:
        together = list(threads.map(memory, rows))
    for index, batch in zip(rows, together, strict=True):
        for name, tensor in alone(index).tensors.items():
            assert torch.allclose(batch.tensors[name].float(), tensor.float(), atol=1e-4)


def test_a_reference_is_encoded_once(engine):
    class Counting:
        at_once = 256

        def __init__(self, model):
            self.model, self.seen = model, 0

        def encode(self, samples):
            self.seen += len(samples)
            return self.model.encode(samples)

        def target(self, samples):
            return self.model.target(samples)

    model = Counting(engine.model)
    memory = Memory(model, engine.reference.correct, engine.dataset)
    first = memory(torch.tensor([4, 1, 4]))
    assert isinstance(first, Batch)
    assert len(first) == 3
    memory(torch.tensor([1, 4]))
    assert model.seen == 2
