"""Compare: runs side by side, and ablations."""

import shutil
from dataclasses import replace

import pytest
import streamlit as st

from r2t2 import studio
from r2t2.fitted import FittedLosses
from r2t2.reference import ReferenceSet
from r2t2.rerouting.settings import strategy
from r2t2.runs import jobs
from r2t2.runs.runner import Runner
from r2t2.runs.store import list_runs

ABLATIONS = {"compare-view": "Ablations"}


@pytest.fixture(scope="module")
def varied_cache(small_cache, tmp_path_factory):
    """The small cache with NGD under k = 2, on fewer samples and without its steps."""
    folder = tmp_path_factory.mktemp("varied") / "cache"
    shutil.copytree(small_cache, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("R2T2_CACHE", str(folder))
        engine = studio.open_engine("mini-7")
    setting = strategy("ngd", "mini")
    varied = type(setting)(**{**setting.options, "k": 2})
    dataset = studio.open_dataset("general", 7)
    Runner(engine, folder / "runs").run(dataset, 7, "ngd", varied, trace="none", limit=15)
    return folder


@pytest.fixture
def varied(app, varied_cache, monkeypatch):
    """Opens the page on that cache."""
    monkeypatch.setenv("R2T2_CACHE", str(varied_cache))
    return lambda **query: app("compare", **query)


@pytest.fixture
def started(monkeypatch):
    """The requests that were to be carried out; none is."""
    asked = []
    monkeypatch.setattr(jobs, "start", lambda request, folder: asked.append(request))
    return asked


def press_start(test):
    """Click the button; again where AppTest ran the page alone first, and the click got lost."""
    for _ in range(2):
        test.button(key="ablation-start").click().run()
        if test.success or test.info:
            return


def captions(test):
    return " ".join(block.value for block in test.caption)


def table(test, column):
    return next(frame.value for frame in test.dataframe if column in frame.value)


def test_the_oracle_is_marked_where_it_is_compared(app, html):
    shown = html(app("compare"))
    assert "A · NGD" in shown
    assert "B · Oracle</span>" in shown
    assert "reads the label" in shown


def test_an_address_brings_back_the_runs_in_their_order(app, html):
    test = app("compare", **{"compare-runs": ["Uniform r", "Base"], "benchmarks": "reading"})
    shown = html(test)
    assert "A · Uniform r" in shown
    assert "B · Base" in shown
    assert table(test, "pair")["pair"].tolist() == ["A − B"]


def test_four_runs_make_six_pairs_and_a_fifth_is_not_asked_for(app):
    names = ["NGD", "Base", "Uniform r", "Oracle (reads the label)"]
    test = app("compare", **{"compare-runs": names, "benchmarks": "general"})
    assert len(table(test, "pair")) == 6
    assert test.multiselect(key="compare-runs").proto.max_selections == 4


def test_one_run_cannot_be_compared_and_the_page_says_what_can(app):
    test = app("compare", **{"compare-runs": ["NGD"], "benchmarks": "general"})
    assert "**Pick two runs**" in [block.value for block in test.markdown]
    assert "python -m r2t2 run --benchmark general" in [block.value for block in test.code]


def test_samples_of_a_pattern_are_those_that_it_says(app):
    names = ["Base", "Oracle (reads the label)"]
    query = {"compare-runs": names, "benchmarks": "general"}
    picker = app("compare", **query).selectbox(key="compare-pattern")
    assert picker.options[0] == "not all the same answer"
    # The oracle turns some of an untrained model's wrong answers right.
    assert "✗✓" in picker.options
    test = app("compare", **query, **{"compare-pattern": "✗✓"})
    answers = [block.value for block in test.text if block.value.startswith("label: ")]
    assert answers
    for text in answers:
        label, base, oracle = text.split("\n")
        assert base.startswith("A ✗ ")
        assert oracle.startswith(f"B ✓ {label.removeprefix('label: ')} ")


def test_runs_of_unlike_size_are_compared_on_the_samples_that_both_have(varied, html):
    test = varied(**{"compare-runs": ["NGD", "NGD (k 2)"], "benchmarks": "general"})
    assert "Accuracy on the 15 samples that all of them have" in captions(test)


def test_a_run_without_steps_is_told_apart_from_one_that_went_nowhere(varied):
    names = ["NGD", "NGD (k 2)", "Oracle (reads the label)"]
    test = varied(**{"compare-runs": names, "benchmarks": "general"})
    assert "B: no routing weights here" in captions(test)
    assert test.get("button_group")[-1].proto.options[0].content == "A − C"


def test_a_damaged_run_is_told_with_what_to_do(varied_cache, varied, tmp_path, monkeypatch):
    shutil.copytree(varied_cache, tmp_path / "cache")
    monkeypatch.setenv("R2T2_CACHE", str(tmp_path / "cache"))
    for run in list_runs(tmp_path / "cache" / "runs"):
        if run.spec.strategy == "ngd":
            (run.folder / "samples.parquet").write_bytes(b"PAR1")
    st.cache_resource.clear()
    test = varied(**{"compare-runs": ["NGD", "Base"], "benchmarks": "general"})
    assert "run the same command again" in " ".join(block.value for block in test.text)


def test_an_ablation_holds_each_value_against_the_models_own(varied):
    test = varied(**ABLATIONS, **{"ablation-benchmark": "general"})
    values = table(test, "above own")
    assert values["k"].tolist() == ["2", "10 (own)"]
    assert values["n"].tolist() == [15, 20]
    assert values["above own"].iloc[0]
    assert not values["above own"].iloc[1]


def test_an_ablation_beside_dev_says_that_nothing_is_chosen_by_it(app):
    assert "nothing may be chosen by it" in captions(app("compare", **ABLATIONS))


def test_the_papers_figures_are_marked_as_its_own(app):
    test = app("compare", **ABLATIONS, **{"ablation-option": "kernel"})
    assert "**In the paper** (not measured here)" in [block.value for block in test.markdown]
    assert "arXiv 2502.20395, table 6" in captions(test)
    test = app("compare", **ABLATIONS, **{"ablation-option": "optimiser"})
    assert "The paper does not vary the option “optimiser”" in captions(test)


def test_an_option_that_no_run_varies_says_so(app):
    test = app("compare", **ABLATIONS, **{"ablation-option": "epsilon"})
    assert "**No run varies epsilon yet**" in [block.value for block in test.markdown]


def test_a_strategy_without_neighbours_has_no_k(app):
    test = app("compare", **ABLATIONS, **{"ablation-strategy": "Oracle (reads the label)"})
    options = [option.content for option in test.get("button_group")[-1].proto.options]
    assert "k" not in options
    assert "steps" in options


def test_a_button_starts_the_missing_runs_on_the_same_samples(varied, started):
    test = varied(**ABLATIONS, **{"ablation-benchmark": "general"})
    [command] = [block.value for block in test.code]
    assert "--set k=1,3,5,20,40 --seed 7 --limit 20 --trace none" in command
    test.multiselect(key="ablation-wanted-k").set_value(["1", "5"]).run()
    press_start(test)
    [request] = started
    assert (request.benchmarks, request.strategies) == (("general",), ("ngd",))
    assert (request.overrides, request.limit, request.trace) == (("k=1,5",), 20, "none")
    assert "Started" in " ".join(block.value for block in test.success)


def test_epsilon_is_started_in_a_ball(app, started):
    press_start(app("compare", **ABLATIONS, **{"ablation-option": "epsilon"}))
    assert started[0].overrides == ("neighbourhood=ball", "epsilon=0.2,0.4,0.6,0.8,1.0")


def test_runs_that_are_being_made_are_not_started_again(app, monkeypatch):
    def refuse(request, folder):
        raise jobs.AlreadyRunning("the same runs are being made already")

    monkeypatch.setattr(jobs, "start", refuse)
    test = app("compare", **ABLATIONS)
    press_start(test)
    assert "being made already" in " ".join(block.value for block in test.info)


@pytest.mark.parametrize("value", ["200", "many"])
def test_a_value_that_cannot_be_run_is_refused_with_a_reason(app, value):
    test = app("compare", **ABLATIONS)
    test.multiselect(key="ablation-wanted-k").set_value([value]).run()
    assert any(block.value.startswith("K is ") for block in test.text)
    assert "ablation-start" not in [button.key for button in test.button]


@pytest.mark.parametrize("view", [{}, ABLATIONS])
def test_without_runs_the_page_says_which_command_makes_them(empty_app, view):
    test = empty_app("compare", **view)
    assert "python -m r2t2 run" in [block.value for block in test.code]


AMORTISED = {"compare-view": "Exact or amortised"}


@pytest.fixture
def amortised(app, amortised_cache, monkeypatch):
    """Opens the page on a cache with a fit and runs on it."""
    monkeypatch.setenv("R2T2_CACHE", str(amortised_cache))
    return lambda **query: app("compare", **AMORTISED, **query)


def test_exact_and_amortised_runs_are_laid_side_by_side(amortised, html):
    test = amortised()
    shown = table(test, "same answer")
    assert list(shown["benchmark"]) == ["general", "reading", "mean"]
    assert shown["n"].tolist() == [20, 20, 40]
    for said in ("Same answer", "Time over base", "Samples until paid back"):
        assert said in html(test)
    assert "150 references" in captions(test)
    assert table(test, "error")["error"].is_monotonic_decreasing


def test_what_it_is_not_sure_of_is_told_of_a_strategy_that_is_sure_of_all(amortised):
    test = amortised()
    shown = table(test, "re-routed exactly")
    assert shown["sure"].iloc[0] == 0
    assert shown["re-routed exactly"].is_monotonic_increasing
    assert shown["same answer"].iloc[-1] == 100
    strategies = test.segmented_control("amortised-strategy")
    assert strategies.options == ["NGD, amortised", "NGD, amortised (sure 0.6)"]
    strategies.set_value("ngd_amortised[sure=0.6]").run()
    assert "What it is not sure of" not in [block.value for block in test.subheader]
    assert table(test, "same answer")["same answer"].iloc[-1] == 100


def test_without_amortised_runs_the_commands_that_make_them_are_told(app):
    test = app("compare", **AMORTISED)
    said = " ".join(block.value for block in test.code)
    assert "python -m r2t2 reference fit --model mini-7" in said
    assert "--strategy ngd_amortised" in said


def test_runs_whose_fit_is_gone_say_so(amortised, amortised_cache):
    found = amortised_cache / "references" / "mini-7-reference-wordllama" / "fit.json"
    kept = found.read_bytes()
    found.unlink()
    try:
        test = amortised()
    finally:
        found.write_bytes(kept)
    assert not test.exception
    assert "not fitted" in " ".join(block.value for block in test.text)
    assert "reference fit --model mini-7" in " ".join(block.value for block in test.text)


def test_runs_on_an_earlier_fit_say_so(amortised, amortised_cache):
    folder = amortised_cache / "references" / "mini-7-reference-wordllama"
    kept = FittedLosses.load(folder, ReferenceSet.read(folder, "mini-7"))
    replace(kept, manifest={**kept.manifest, "threshold": 2.0}).save(folder)
    try:
        test = amortised()
    finally:
        kept.save(folder)
    assert "another fit" in " ".join(block.value for block in test.warning)
