"""What a request asks for, and what is known of it before it starts."""

import json
from dataclasses import replace

import pytest

from r2t2.data import world
from r2t2.rerouting.settings import CONTROLS, Setting, strategy
from r2t2.runs.identity import RunSpec
from r2t2.runs.plan import Request, expect
from r2t2.runs.store import Run


def request(**changes):
    """One run, unless something is changed."""
    usual = Request("toy", "toy-refs", ("reading",), ("ngd",), preset="paper")
    return replace(usual, **changes)


def stored(run, of, setting=None, done=None, seconds=8.0, **changes):
    """A stored run, as its manifest tells, of a planned one."""
    size = of.size(run)
    spec = RunSpec(
        of.model,
        "aa",
        of.reference,
        "bb",
        run.benchmark,
        of.seed,
        size,
        run.strategy,
        dict(setting or run.setting.options),
        run.trace,
        200,
    )
    spec = replace(spec, **changes)
    done = spec.size if done is None else done
    manifest = {
        "spec": vars(spec),
        "shards": [{"rows": done}],
        "status": "complete" if done == spec.size else "running",
        "timings": {"wall_seconds": seconds},
    }
    return Run(None, manifest)


def test_every_strategy_is_run_on_every_benchmark():
    of = request(benchmarks=("reading", "colour"), strategies=("base", "ngd"))
    assert [(run.benchmark, run.strategy) for run in of.planned] == [
        ("reading", "base"),
        ("reading", "ngd"),
        ("colour", "base"),
        ("colour", "ngd"),
    ]
    assert of.planned[1].setting == strategy("ngd", "paper")


def test_a_list_of_values_makes_one_run_per_value():
    assert [run.setting.k for run in request(overrides=("k=1,3, 5",)).planned] == [1, 3, 5]


def test_several_lists_make_every_combination():
    of = request(overrides=("k=1,3", "kernel=gaussian,linear"))
    found = [(run.setting.k, run.setting.kernel) for run in of.planned]
    assert found == [(1, "gaussian"), (1, "linear"), (3, "gaussian"), (3, "linear")]


def test_what_a_strategy_does_not_use_makes_no_runs_of_it():
    of = request(strategies=("base", "ngd", "oracle"), overrides=("k=1,3,5", "epsilon=0.5"))
    names = [run.strategy for run in of.planned]
    assert names == ["base", "ngd", "ngd", "ngd", "oracle"]


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("k=7", 7),
        ("epsilon=1", 1.0),
        ("bandwidth=median", "median"),
        ("bandwidth=0.25", 0.25),
        ("search=no", False),
        ("search=TRUE", True),
        ("schedule=step", "step"),
        ("learning_rate=1e-3", 1e-3),
    ],
)
def test_a_value_is_of_its_options_kind(override, value):
    (run,) = request(overrides=(override,), preset="mini").planned
    found = getattr(run.setting, override.partition("=")[0])
    assert (found, type(found)) == (value, type(value))


def test_the_usual_trace_follows_from_the_strategy():
    of = request(strategies=("base", "ngd", *CONTROLS))
    assert [run.trace for run in of.planned] == ["ends", "all", *["none"] * len(CONTROLS)]
    assert {run.trace for run in replace(of, trace="ends").planned} == {"ends"}


def test_the_preset_is_the_models_own_unless_another_is_named():
    own = request(model="mini-7", preset=None).planned[0]
    paper = request(model="mini-7", preset="paper").planned[0]
    assert own.setting == strategy("ngd", "mini")
    assert paper.setting == strategy("ngd", "paper")


def test_the_same_runs_have_the_same_id_in_whatever_words():
    of = request(strategies=("base", "ngd"), overrides=("k=5,7",))
    usual = strategy("ngd", "paper")
    assert usual.k == 5
    same = [
        replace(of, strategies=("ngd", "base")),
        replace(of, overrides=("k=7,5",)),
        replace(of, overrides=("k=5,7", f"steps={usual.steps}")),
        replace(of, benchmarks=("reading", "reading")),
    ]
    other = [
        replace(of, overrides=("k=5",)),
        replace(of, seed=1),
        replace(of, limit=10),
        replace(of, trace="all"),
        replace(of, reference="others"),
    ]
    assert {one.id for one in same} == {of.id}
    assert of.id not in {one.id for one in other}
    assert len({one.id for one in other}) == len(other)


def test_a_request_comes_back_from_its_text():
    of = request(overrides=("k=1,2",), limit=5)
    assert Request.parse(of.text) == of


def test_an_engine_changes_the_command_and_not_what_is_asked_for():
    here = Request("mini", "mini-reference-wordllama", ("reading",), ("ngd",))
    there = replace(here, engine="ray")
    assert there.id == here.id
    assert there.command == f"{here.command} --engine ray"
    before = {name: value for name, value in json.loads(here.text).items() if name != "engine"}
    assert Request.parse(json.dumps(before)) == here
    with pytest.raises(ValueError, match="local, ray"):
        replace(here, engine="slurm")


BAD = {
    "nothing": ({"benchmarks": []}, "benchmarks"),
    "a text for a list": ({"strategies": "ngd"}, "tuple"),
    "a number for a name": ({"model": 3}, "no name of a model"),
    "a path for a name": ({"reference": "../../elsewhere"}, "no name of a reference"),
    "a hidden name": ({"model": "..", "reference": "x"}, "no name of a model"),
    "a strategy": ({"strategies": ["magic"]}, "there is no strategy 'magic'"),
    "a preset": ({"preset": "magic"}, "there is no preset 'magic'"),
    "an option": ({"overrides": ["magic=1"]}, "OPTION"),
    "an algorithm": ({"overrides": ["algorithm=oracle"]}, "OPTION"),
    "no value": ({"overrides": ["k"]}, "OPTION"),
    "a word for a number": ({"overrides": ["k=many"]}, "whole number"),
    "half a neighbour": ({"overrides": ["k=1.5"]}, "whole number"),
    "out of range": ({"overrides": ["k=0,5"]}, "between 1 and 100"),
    "neither yes nor no": ({"overrides": ["search=maybe"]}, "true or false"),
    "a trace": ({"trace": "some"}, "ends"),
    "a seed": ({"seed": "0"}, "seed is '0'"),
    "a seed below": ({"seed": -1}, "seed is -1"),
    "no samples": ({"limit": 0}, "limit is 0"),
    "half a sample": ({"limit": 1.5}, "limit is 1.5"),
    "too many": ({"overrides": ["k=" + ",".join("1" * 300)] * 3}, "27000000 combinations"),
    "more": ({"command": "rm"}, "nothing else"),
}


@pytest.mark.parametrize("bad", BAD)
def test_a_request_that_cannot_be_run_is_refused_with_the_reason(bad):
    change, says = BAD[bad]
    values = json.loads(request().text) | change
    with pytest.raises((ValueError, KeyError), match=says):
        Request.parse(json.dumps(values))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"model": "mini"}'])
def test_a_file_that_holds_no_request_is_refused(text):
    with pytest.raises(ValueError, match=r".+"):
        Request.parse(text)


def test_a_run_is_asked_for_again_as_it_was():
    of = request(
        model="mini",
        strategies=("ngd_random_neighbours", "kernel_regression", "base"),
        overrides=("k=3", "seed=4", "search=false", "bandwidth=0.5", "learning_rate=0.001"),
        seed=2,
        limit=30,
        trace="ends",
    )
    for run in of.planned:
        again = Request.again(stored(run, of).spec)
        (same,) = again.planned
        assert (same.strategy, same.trace) == (run.strategy, run.trace)
        assert same.setting.options == run.setting.options
        assert (again.limit, again.seed, again.reference) == (30, 2, "toy-refs")


def test_a_run_of_all_samples_is_asked_for_again_without_a_limit():
    of = request()
    again = Request.again(stored(of.planned[0], of).spec)
    assert again.limit is None
    assert again.size(again.planned[0]) == world.BENCHMARK_SIZE


@pytest.mark.parametrize("change", [{"strategy": "magic"}, {"setting": {"magic": 1}}])
def test_a_run_of_another_program_cannot_be_asked_for_again(change):
    of = request()
    with pytest.raises((KeyError, ValueError)):
        Request.again(stored(of.planned[0], of, **change).spec)


def test_what_is_stored_is_not_expected_to_be_made_again():
    of = request(strategies=("base", "ngd"), overrides=("learning_rate=1",), limit=100)
    base, ngd = of.planned
    runs = [
        stored(ngd, of, done=40),
        stored(base, of, seed=9),
        stored(base, of, trace="none"),
        stored(base, of, reference="others"),
        stored(base, of, model="another"),
        stored(base, of, size=50),
    ]
    found = expect(of, runs)
    assert [(one.size, one.stored) for one in found] == [(100, 0), (100, 40)]
    whole = Setting("ngd", learning_rate=1).options
    assert expect(of, [stored(ngd, of, whole)])[1].stored == 100


def test_time_is_expected_by_the_runs_that_are_most_alike():
    of = request(limit=100)
    (run,) = of.planned
    other, fewer = {**run.setting.options, "k": 9}, {**run.setting.options, "steps": 2}
    runs = [
        stored(run, of, fewer, seconds=1.0, seed=1),
        stored(run, of, fewer, seconds=2.0, seed=2),
        stored(run, of, fewer, seconds=9.0, seed=3),
    ]
    assert expect(of, runs)[0].seconds == pytest.approx(0.02)
    runs.append(stored(run, of, other, seconds=50.0, seed=1))
    assert expect(of, runs)[0].seconds == pytest.approx(0.5)
    runs.append(stored(run, of, seconds=60.0, seed=1))
    assert expect(of, runs)[0].seconds == pytest.approx(0.6)


def test_nothing_is_expected_of_another_models_or_strategys_speed():
    of = request(limit=100)
    (run,) = of.planned
    runs = [stored(run, of, model="another"), stored(run, of, Setting("base").options)]
    runs.append(stored(run, of, seed=1, done=40))
    assert expect(of, runs)[0].seconds is None
    assert expect(of, [])[0].seconds is None
