"""Scores of benchmarks' own, and other evaluators' results, on the pages that show them."""

import json
import shutil
from dataclasses import replace

import pytest
import streamlit as st

from r2t2 import reference
from r2t2.data import world
from r2t2.engine import Engine
from r2t2.models.mini.model import Mini
from r2t2.rerouting.settings import strategy
from r2t2.runs import store
from r2t2.runs.evaluations import base_runs, import_evaluation
from r2t2.runs.runner import Runner
from r2t2.samples import Dataset
from tests.app.conftest import open_page
from tests.app.test_results import table, words


def _soft(position):
    sample = world.dataset("general", 7)[position]
    said = [sample.label if i % 4 < 2 else "something" for i in range(position, position + 10)]
    return replace(sample, dataset="soft", metric="vqa", answers=tuple(said[:6] + ["x"] * 4))


@pytest.fixture(scope="module")
def scored_cache(small_cache, tmp_path_factory):
    """The small cache with a benchmark of soft scores, and another evaluator's results."""
    folder = tmp_path_factory.mktemp("scored")
    shutil.copytree(small_cache, folder, dirs_exist_ok=True)
    model = Mini(folder / "checkpoints" / "mini-7" / "model.safetensors", "mini-7")
    built = reference.ReferenceSet.load(folder / "references" / "mini-7-reference-wordllama", model)
    engine = Engine(model, built, world.dataset("reference", 7).head(150))
    runner = Runner(engine, folder / "runs")
    for name in ("base", "ngd", "uniform"):
        runner.run(Dataset("soft", 20, _soft), 7, name, strategy(name, model.preset))
    base = next(run for run in base_runs(folder / "runs") if run.spec.benchmark == "reading")
    rows = [{"doc_id": i, "filtered_resps": "<i>", "exact_match": i % 2} for i in range(15)]
    path = folder / "theirs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    import_evaluation(path, base, "the <b>others", folder / "runs")
    return folder


@pytest.fixture
def scored(scored_cache, monkeypatch):
    """Opens a page on the cache with scores."""
    monkeypatch.setenv("R2T2_CACHE", str(scored_cache))
    st.cache_data.clear()
    return lambda page, **query: open_page(page, model="mini-7", **query)


@pytest.mark.parametrize("page", ["results", "flips"])
def test_what_is_correct_is_said_where_it_is_no_plain_match(scored, page):
    assert "Correct on soft: the soft accuracy is 0.5 or more" in words(
        scored(page, benchmarks="soft")
    )
    assert "Correct on" not in words(scored(page, benchmarks="general"))


def test_a_benchmarks_own_score_stands_beside_its_accuracy(scored, scored_cache):
    shown = table(scored("results", benchmarks="soft"), "oracle share").set_index("strategy")
    run = next(
        run
        for run in store.list_runs(scored_cache / "runs")
        if (run.spec.benchmark, run.spec.strategy) == ("soft", "ngd")
    )
    assert shown.at["NGD", "score"] == pytest.approx(100 * run.figures["score"])
    assert shown.at["NGD", "accuracy"] == pytest.approx(100 * run.figures["accuracy"])
    assert "–" in shown.at["NGD", "score's interval"]


def test_own_scores_are_a_view_where_there_are_some(scored):
    test = scored("results", **{"results-view": "Own scores"})
    assert set(table(test, "score's gain")["benchmark"]) == {"soft"}
    assert "soft" in table(test, "reading")


def test_where_all_scores_are_accuracies_there_is_no_view_of_own_scores(app):
    assert "Own scores" not in app("results").segmented_control("results-view").options


def test_anothers_results_stand_beside_ones_own_with_what_did_not_match(scored):
    test = scored("results", benchmarks="reading")
    shown = table(test, "oracle share").set_index("strategy")
    assert shown.at["the <b>others", "kind"] == "other evaluator"
    assert shown.at["the <b>others", "n"] == 15
    assert "15 of 15 rows matched, 5 samples without a row" in words(test).replace("\\", "")


@pytest.mark.parametrize("view", ["Over the steps", "When", "Confidence", "Benchmarks"])
def test_flips_of_anothers_results_are_told_from_re_routing(scored, view):
    query = {"benchmarks": "reading", "variant": "the <b>others", "flips-view": view}
    test = scored("flips", **query)
    assert not test.exception
    if view == "Over the steps":
        assert "Nothing was re-routed" in test.info[0].value


@pytest.mark.parametrize("page", ["overview", "shift", "compare", "references", "runs", "inspect"])
def test_pages_about_routing_stand_anothers_results(scored, page):
    assert not scored(page).exception


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"index,hit\n0,1\n1,0\n", "2 of 2 rows matched by index, scored by hit"),
        (b"index,right\n0,1\n", "there are index, right"),
    ],
)
def test_results_are_laid_beside_on_the_page_or_it_says_why_not(scored, content, says):
    test = scored("runs")
    upload = next(one for one in test.file_uploader if "lmms-eval" in one.label)
    upload.upload("kit.csv", content, "text/csv")
    next(one for one in test.text_input if one.label == "Shown as").input("kit")
    next(one for one in test.button if one.label == "Lay beside").click().run()
    assert says in " ".join([words(test), *(one.value for one in test.success)])
