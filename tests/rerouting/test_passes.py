"""What a strategy is said to spend before it runs, against what it spends."""

import dataclasses

import pytest

from r2t2.rerouting.passes import passes
from r2t2.rerouting.settings import PAPER, STRATEGIES, Setting, strategy
from tests.runs import toy

SETTINGS = [
    *(strategy(name) for name in STRATEGIES if name != "finetuned_router"),
    Setting("ngd", k=3, steps=4),
    Setting("kernel_regression", search=False),
    Setting("mode_finding", steps=2),
    Setting("oracle", steps=7),
]


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda s: f"{s.algorithm}-{s.k}-{s.steps}")
def test_passes_are_what_a_trajectory_counts(setting):
    engine = toy.engine()
    cost = engine.run(engine.prepare(toy.dataset()[:4]), setting).cost
    told = passes(setting)
    # Of its own type a sample may have fewer than k.
    fewer = setting.neighbourhood == "same_type"
    for counted, expected in ((cost.forward, told.forward), (cost.backward, told.backward)):
        assert int(counted.max()) == expected
        assert fewer or int(counted.min()) == expected


@pytest.mark.parametrize("neighbourhood", ["ball", "same_type"])
def test_fewer_neighbours_take_fewer_passes(neighbourhood):
    engine = toy.engine()
    setting = Setting("ngd", neighbourhood=neighbourhood, epsilon=0.9, steps=2)
    done = engine.run(engine.prepare(toy.dataset()[:6]), setting)
    found = done.neighbours.present.sum(-1)
    assert len(set(found.tolist())) > 1
    told = [passes(setting, int(n)) for n in found]
    assert done.cost.forward.tolist() == [one.forward for one in told]
    assert done.cost.backward.tolist() == [one.backward for one in told]


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda s: f"{s.algorithm}-{s.k}-{s.steps}")
def test_answers_in_between_are_at_most_those_that_are_asked_for(setting, monkeypatch):
    engine = toy.engine()
    prepared = engine.prepare(toy.dataset()[:1])
    engine.fit(setting)
    asked = {}
    for trace in ("ends", "all"):
        seen = []
        answer = toy.Toy.answer

        def counted(model, encoded, r, seen=seen, answer=answer):
            seen.append(len(r))
            return answer(model, encoded, r)

        with monkeypatch.context() as patch:
            patch.setattr(toy.Toy, "answer", counted)
            engine.run(prepared, setting, trace == "all")
        asked[trace] = len(seen)
    more = asked["all"] - asked["ends"]
    told = passes(setting, trace="all").between
    # Mode finding stops when nothing moves any more, and equal steps are not asked twice.
    equal = setting.algorithm in ("mode_finding", "kernel_regression", "oracle")
    assert more <= told if equal else more == told


def test_a_backward_pass_weighs_two():
    told = passes(PAPER)
    assert (told.forward, told.backward) == (2 + 11 * 5, 50)
    assert told.weighed == 57 + 100
    assert passes(PAPER, trace="all").weighed == 57 + 100 + 9
    assert passes(dataclasses.replace(PAPER, k=2)).weighed < told.weighed
