"""Expert shift: filters, flows, lists of samples, and what stands where steps are missing."""

import base64
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import streamlit as st

from r2t2 import studio
from r2t2.rerouting.settings import strategy
from r2t2.runs.runner import Runner
from r2t2.runs.store import gather, list_runs
from r2t2.sites import Site, expert_names
from r2t2.ui import runs, shift, specs

STEPS, FOUR = {"shift-view": "Step by step"}, {"shift-view": "Outcome by outcome"}


@pytest.fixture(scope="module")
def traced_cache(small_cache, tmp_path_factory):
    """The small cache with NGD under k = 2 without steps, and under k = 3 with the ends alone."""
    folder = tmp_path_factory.mktemp("traced") / "cache"
    shutil.copytree(small_cache, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("R2T2_CACHE", str(folder))
        engine = studio.open_engine("mini-7")
    own = strategy("ngd", engine.model.preset)
    for k, trace in ((2, "none"), (3, "ends")):
        setting = type(own)(**{**own.options, "k": k})
        dataset = studio.open_dataset("general", 7)
        Runner(engine, folder / "runs").run(dataset, 7, "ngd", setting, trace=trace, limit=10)
    return folder


@pytest.fixture
def traced(app, traced_cache, monkeypatch):
    """Opens the page on that cache."""
    monkeypatch.setenv("R2T2_CACHE", str(traced_cache))
    return lambda **query: app("shift", **query)


@pytest.fixture
def stored(small_cache) -> pd.DataFrame:
    """The samples of NGD in the small cache."""
    return gather([run for run in list_runs(small_cache / "runs") if run.spec.strategy == "ngd"])


def words(test) -> str:
    return " ".join(part.value for kind in ("markdown", "caption") for part in test.get(kind))


def figures(test) -> list[dict]:
    return [json.loads(part.proto.spec) for part in test.get("plotly_chart")]


def links(figure: dict) -> dict[tuple[str, str], int]:
    """A Sankey's links: experts -> samples."""
    link = figure["data"][0]["link"]
    values = np.frombuffer(base64.b64decode(link["value"]["bdata"]), link["value"]["dtype"])
    pairs = [(custom["before"], custom["after"]) for custom in link["customdata"]]
    return dict(zip(pairs, values.tolist(), strict=True))


def flow(test) -> dict[tuple[str, str], int]:
    """Of the page's first figure."""
    return links(figures(test)[0])


def box(test, key: str):
    return next(part for part in test.selectbox if part.key == key)


def test_the_sankey_counts_the_samples_of_all_benchmarks(app, stored):
    counts = stored.groupby(["top1_before", "top1_after"], observed=True).size()
    assert flow(app("shift")) == counts.to_dict()


def test_an_address_reproduces_benchmark_outcome_and_chosen_experts(app, stored):
    stored = stored[stored["benchmark"] == "general"]
    same = stored[stored["base_correct"] == stored["correct"]]
    same = same[~same["correct"]]
    before = same["top1_before"].iloc[0]
    test = app(
        "shift",
        benchmarks="general",
        **{"shift-outcome": "stayed wrong", "shift-before": before},
    )
    listed = same[same["top1_before"] == before]
    assert f"The samples chosen: {len(listed)}." in words(test)
    assert sum(flow(test).values()) == len(same)


def test_each_outcome_says_how_many_samples_it_holds(app, stored):
    [radio] = app("shift").radio
    held = dict(zip(radio.options, radio.proto.captions, strict=True))
    assert held["all"].startswith("40 · ")
    right = (stored["base_correct"] & stored["correct"]).sum()
    assert held["stayed right"].split(" ")[0] == str(right or "none")


def test_no_samples_are_listed_until_some_are_chosen_and_after_clear(app, stored):
    test = app("shift", **{"shift-after": stored["top1_after"].iloc[0]})
    assert "The samples chosen:" in words(test)
    test.button(key="clear").click().run()
    assert not test.exception
    assert "The samples chosen:" not in words(test)
    assert box(test, "shift-after").value == "any expert"


def test_a_click_chooses_the_experts_that_it_carries(app, stored):
    test = app("shift", **STEPS)
    with pytest.MonkeyPatch.context() as patch:
        state = {}
        patch.setattr(st, "session_state", state)
        shift.choose({"before": "A", "step 2": "B", "said": "…"}, "right to wrong")
    assert not test.exception
    assert state == {
        "shift-before": "A",
        "shift-after": "any expert",
        "shift-way": ["step 2: B"],
        "shifted-page": 1,
        "shift-outcome": "right to wrong",
    }


def test_a_single_site_counts_the_largest_weights_there(app, small_cache):
    ngd = [run for run in list_runs(small_cache / "runs") if run.spec.strategy == "ngd"]
    [site, *_] = ngd[0].sites
    counts = {}
    for run in ngd:
        r = np.stack(run.steps()["r"]).reshape(20, -1, len(run.sites), len(site.experts))
        for first, last in zip(r[:, 0, 0], r[:, -1, 0], strict=True):
            pair = site.experts[first.argmax()], site.experts[last.argmax()]
            counts[pair] = counts.get(pair, 0) + 1
    assert flow(app("shift", **{"shift-site": site.name})) == counts


def test_the_way_is_shown_step_by_step_and_its_samples_are_listed(app, small_cache):
    ngd = [run for run in list_runs(small_cache / "runs") if run.spec.strategy == "ngd"]
    steps = gather(ngd, "steps", ["step", "top1"])
    there = steps.loc[steps["step"] == 4, "top1"]
    expert = there.iloc[0]
    test = app("shift", **STEPS, **{"shift-way": f"step 4: {expert}"})
    assert f"The samples chosen: {(there == expert).sum()}." in words(test)
    custom = figures(test)[0]["data"][0]["node"]["customdata"]
    columns = dict.fromkeys(name for node in custom for name in node if name != "said")
    assert list(columns) == ["before", "step 2", "step 4", "step 6", "step 8", "after"]


def test_the_four_outcomes_stand_side_by_side(app, stored):
    test = app("shift", **FOUR)
    drawn = [figure for figure in figures(test) if figure["data"][0]["type"] == "sankey"]
    counts = (2 * stored["base_correct"].astype(int) + stored["correct"]).value_counts()
    assert sorted(sum(links(figure).values()) for figure in drawn) == sorted(counts)


def test_shares_stand_in_place_of_counts(app):
    test = app("shift", **{"shift-unit": "Shares"})
    texts = [note["text"] for note in figures(test)[0]["layout"]["annotations"]]
    assert sum("%" in text for text in texts) == len(texts) - len(["before", "after"])


def test_gains_stand_beside_those_of_a_control(app, small_cache):
    test = app("shift")
    table = next(frame.value for frame in test.dataframe if "net" in frame.value)
    uniform = gather([r for r in list_runs(small_cache / "runs") if r.spec.strategy == "uniform"])
    net = uniform["correct"].sum() - uniform["base_correct"].sum()
    assert table["control"].sum() == net
    assert set(table["best"]) == {"Uniform r"}


def test_a_gain_without_a_control_says_so(traced):
    test = traced(variant="ngd[k=2]")
    assert "No control has been run on all of these samples." in words(test)


def test_runs_without_weights_say_how_to_keep_them(traced, traced_cache):
    [site, *_] = list_runs(traced_cache / "runs")[0].sites
    test = traced(variant="ngd[k=2]", **{"shift-site": site.name})
    assert "These runs do not tell of single sites" in words(test)
    assert "--trace ends --set k=2" in test.code[0].value
    assert not test.get("plotly_chart")


def test_runs_with_the_ends_alone_tell_of_sites_but_not_of_steps(traced, traced_cache):
    [site, *_] = list_runs(traced_cache / "runs")[0].sites
    test = traced(variant="ngd[k=3]", **{"shift-site": site.name}, **STEPS)
    assert "These runs do not tell of the steps between" in words(test)
    assert "--trace all --set k=3" in test.code[0].value
    test = traced(variant="ngd[k=3]", **{"shift-site": site.name})
    assert sum(flow(test).values()) == 10


def test_an_outcome_that_no_sample_has_says_so(app, stored):
    codes = 2 * stored["base_correct"].astype(int) + stored["correct"]
    names = ["stayed wrong", "wrong to right", "right to wrong", "stayed right"]
    for benchmark, of in codes.groupby(stored["benchmark"], observed=True):
        for name in {names[i] for i in range(4)} - {names[i] for i in of}:
            test = app("shift", benchmarks=benchmark, **{"shift-outcome": name})
            assert "No sample of these runs has this outcome." in words(test)
            return
    pytest.fail("every outcome occurs on both benchmarks; take fewer samples")


def test_an_empty_cache_names_the_command(empty_app):
    test = empty_app("shift")
    assert "No runs of a strategy in this run set" in words(test)
    assert test.code[0].value == "python -m r2t2 run --strategy ngd"


def test_a_damaged_run_is_told(app, small_cache, tmp_path, monkeypatch):
    shutil.copytree(small_cache, tmp_path / "cache")
    for run in list_runs(tmp_path / "cache" / "runs"):
        (run.folder / "samples.parquet").write_bytes(b"PAR1")
    monkeypatch.setenv("R2T2_CACHE", str(tmp_path / "cache"))
    st.cache_resource.clear()
    test = app("shift")
    assert "damaged" in " ".join(part.value for part in test.text)


def run(**of):
    spec = SimpleNamespace(
        **{
            "model": "one",
            "reference": "r",
            "benchmark": "general",
            "seed": 0,
            "size": 9,
            "strategy": "ngd",
            "setting": {"algorithm": "ngd"},
            "trace": "all",
            **of,
        }
    )
    return SimpleNamespace(spec=spec, sites=(Site("s", ("A", "B")),), variant=spec.strategy)


def test_pooled_models_and_left_out_runs_are_told():
    every = [run(), run(model="two"), run(trace="none")]
    said = " ".join(shift.notes(every[:2], every))
    assert "Models pooled: 2" in said
    assert "2 of 3" in said
    assert list(shift.notes(every[:1], every[:1])) == []


def test_under_uniform_r_nobody_is_said_to_lead_unmarked():
    [said] = shift.notes(*[[run(setting={"algorithm": "uniform"})]] * 2)
    assert "all weights are equal" in said


def test_a_control_must_have_all_samples(monkeypatch):
    monkeypatch.setattr(runs, "variant", lambda run: run.variant)
    found = [run(), run(benchmark="reading")]
    half = [run(strategy="uniform")]
    whole = [run(strategy="constant", benchmark=name) for name in ("reading", "general")]
    beside = specs.controls(found, [*found, *half, *whole])
    assert beside == {"constant": whole[::-1]}


def test_experts_of_several_models_are_one_where_they_have_one_name():
    other = run()
    other.sites = (Site("s", ("B", "C")),)
    assert shift.experts([run(), other]) == expert_names([*run().sites, *other.sites])
    assert shift.experts([run(), other]) == ("A", "B", "C")
