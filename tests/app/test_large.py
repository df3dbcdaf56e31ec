"""A large model in the app: its name, what is told of it before it loads, and its reference set."""

import json
import shutil
import time

import pytest
import streamlit as st

from r2t2 import models
from r2t2.ui import engine, references
from tests.app.conftest import open_page

TITLE = "tiny (layers last2, prompt 200, answer 8)"


@pytest.fixture
def page(large, monkeypatch):
    """Opens a page with the large model chosen."""
    folder, name = large
    monkeypatch.setenv("R2T2_CACHE", str(folder))
    st.cache_data.clear()
    engine.engine.clear()
    return lambda page, **query: open_page(page, **{"model": name, **query})


@pytest.fixture
def bare(large, tmp_path, monkeypatch, page):
    """The same without a reference set."""
    _, name = large
    (tmp_path / "models.txt").write_text(f"{name}\n")
    monkeypatch.setenv("R2T2_CACHE", str(tmp_path))
    references._building.clear()
    yield page
    references._building.clear()


@pytest.fixture
def roomy(monkeypatch):
    """Changes what an estimate says."""

    def change(**values):
        estimate = models.estimate

        def changed(name, device="auto"):
            return estimate(name, device).__class__(**{**vars(estimate(name, device)), **values})

        monkeypatch.setattr(models, "estimate", changed)

    return change


def said(test):
    kinds = ("markdown", "caption", "text", "error", "info", "warning", "code")
    return "\n".join(str(block.value) for kind in kinds for block in test.get(kind))


def metric(test, label):
    return next(metric.value for metric in test.metric if metric.label == label)


def test_pickers_show_what_people_call_it(page):
    test = page("overview")
    assert TITLE in test.selectbox(key="model").options
    assert test.selectbox(key="reference").options == ["reference-wordllama"]


def test_overview_shows_its_notice_without_loading_it(page, monkeypatch):
    monkeypatch.setattr("r2t2.models.load_model", lambda *_: pytest.fail("a model was loaded"))
    assert "does not see pictures" in said(page("overview"))


def test_a_name_that_cannot_be_understood_is_told_and_the_page_stays(page, large, tmp_path):
    folder, name = large
    shutil.copytree(folder, tmp_path / "cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("R2T2_CACHE", str(tmp_path / "cache"))
        wrong = name.replace("layers", "layer")
        (tmp_path / "cache" / "models.txt").write_text(wrong)
        assert "'layer' is no option" in said(page("overview", model=wrong))


def test_the_runs_form_tells_time_and_memory_where_nothing_was_timed(page, roomy):
    test = page("runs", **{"start-strategies": "NGD", "start-limit": "20"})
    few = metric(test, "Time")
    assert few.startswith("over ")
    assert "of weights" in said(test)
    roomy(speed=1e6)
    st.cache_data.clear()
    many = metric(page("runs", **{"start-strategies": "NGD", "start-limit": "20"}), "Time")
    assert many != few
    assert not next(button for button in test.button if button.key == "start").disabled


def test_runs_whose_weights_do_not_fit_cannot_be_started(page, roomy):
    roomy(free=1000)
    test = page("runs", **{"start-strategies": "NGD", "start-limit": "20"})
    assert "The weights do not fit" in said(test)
    assert next(button for button in test.button if button.key == "start").disabled


def test_runs_whose_encodings_do_not_fit_are_warned_of(page, roomy):
    roomy(encoding=1 << 50)
    assert "is kept on disk" in said(page("runs", **{"start-limit": "20"}))


def test_inspect_says_what_a_model_takes_while_it_loads_and_only_then(page, large):
    _, name = large
    reference = engine.references(name)[0]
    assert "parameters" in engine.loading(name, reference)
    page("inspect")
    assert "parameters" not in engine.loading(name, reference)


@pytest.mark.parametrize("name", ["inspect", "references", "runs"])
def test_without_a_reference_set_a_page_says_how_to_build_one(bare, large, name):
    test = bare(name)
    _, model = large
    assert f"reference build --model '{model}'" in said(test)
    assert "At least" in said(test)


def test_a_reference_set_is_built_from_the_page(bare, large):
    _, name = large
    test = bare("references")
    test.number_input(key="build-size").set_value(60).run()
    test.button(key="build").click().run()
    assert not test.exception
    making = references._building[name]
    until = time.monotonic() + 100
    while making.running:
        assert time.monotonic() < until
        time.sleep(0.2)
    assert making.done == 1, making.error
    assert engine.references(name)
    assert metric(bare("references"), "Samples") == "60"


def test_a_build_that_fails_says_why(bare, large, monkeypatch):
    class Making:
        running, error = False, "the disk is full"

    _, name = large
    references._building[name] = Making()
    assert "the disk is full" in said(bare("references"))


def test_a_job_is_shown_under_the_title(large):
    from r2t2.runs.plan import Request
    from r2t2.ui import jobs

    _, name = large
    asked = Request(name, "any", ("general",), ("ngd",))
    assert TITLE in jobs.title(asked)
    assert json.loads(asked.text)["model"] == name
