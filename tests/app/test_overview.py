"""Overview, with and without anything to show, and what it says in words."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from r2t2.ui import verdict

APP = Path(__file__).parents[2] / "app.py"
# What a fresh server does at its first visit.
LOOK = """
import sys
from streamlit.testing.v1 import AppTest
test = AppTest.from_file("{app}", default_timeout=120).run()
if "{page}" != "overview":
    test.switch_page("pages/{page}.py").run()
assert test.title and not test.exception, test.exception
assert "torch" not in sys.modules
"""


def chart(test):
    """The figure's own data: strategies' names and accuracies."""
    [figure] = test.get("plotly_chart")
    return json.loads(figure.proto.spec)["data"]


def test_overview_shows_every_strategy_beside_its_control(app):
    [dots] = chart(app("overview"))
    assert dots["y"] == ["Base", "NGD", "Oracle (reads the label)", "Uniform r"]


def test_overview_leaves_a_strategy_out_of_the_mean_that_was_not_run_everywhere(app):
    test = app("overview")
    assert "Mode finding" not in chart(test)[0]["y"]
    assert any(block.value.endswith("seed: Mode finding.") for block in test.caption)


def test_overview_tells_how_far_ngd_is_from_its_control(app):
    said = " ".join(block.value for block in app("overview").markdown)
    assert "Uniform r" in said
    assert "Not run yet: Best constant r, NGD, random neighbours" in said


def test_overview_says_what_the_model_says_of_itself_without_loading_it(app, monkeypatch):
    monkeypatch.setattr("r2t2.models.load_model", lambda *_: pytest.fail("a model was loaded"))
    assert "narrow mix" in " ".join(block.value for block in app("overview").info)


@pytest.mark.parametrize("page", ["overview", "results"])
def test_a_page_without_a_model_opens_without_torch(small_cache, page):
    look = LOOK.format(app=APP, page=page)
    environment = {**os.environ, "R2T2_CACHE": str(small_cache)}
    done = subprocess.run([sys.executable, "-c", look], env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


def test_what_is_told_of_an_unloaded_model_is_what_it_says_itself(engine):
    from r2t2.models import notice

    assert notice(engine.model.name) == engine.model.notice


def test_overview_links_to_every_other_page_with_what_it_answers(app):
    test = app("overview")
    questions = [block.value for block in test.caption if block.value.endswith("?")]
    assert len(questions) == 7


def test_overview_without_runs_says_which_command_makes_them(empty_app):
    test = empty_app("overview")
    assert "python -m r2t2 run" in [block.value for block in test.code]


def test_overview_tells_of_runs_that_it_cannot_read(empty_app, tmp_path):
    (tmp_path / "runs" / "broken").mkdir(parents=True)
    (tmp_path / "runs" / "broken" / "manifest.json").write_text("{")
    test = empty_app("overview")
    assert any("the manifest of broken is damaged" in block.value for block in test.text)


def test_a_missing_checkpoint_is_told_with_what_to_do(empty_app, tmp_path):
    manifest = tmp_path / "references" / "some" / "manifest.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_text(json.dumps({"model": "mini"}))
    test = empty_app("inspect")
    assert "python -m r2t2 train" in " ".join(block.value for block in test.text)


def said(p: float = 0.0, **accuracy: float) -> str:
    """The verdict on mean accuracies, with one p for every lead."""
    mean = pd.DataFrame({"strategy": list(accuracy), "accuracy": list(accuracy.values())})
    mean = mean.assign(
        benchmark="mean",
        gain=mean["accuracy"] - accuracy["base"],
        p=0.0,
        wrong_to_right=0.0,
        right_to_wrong=0.0,
    )
    controls = [name for name in accuracy if name not in ("base", "ngd")]
    leads = pd.DataFrame(
        {
            "other": controls,
            "ahead": [accuracy["ngd"] - accuracy[name] for name in controls],
            "holm": p,
        }
    )
    return " ".join(verdict.sentences(mean, leads))


def test_a_gain_that_a_control_has_too_is_not_called_re_routing():
    text = said(base=50, ngd=60, uniform=60, p=1.0)
    assert "none of NGD's gain is re-routing" in text
    assert "NGD cannot be told from Uniform r (+0.0 points, p = 1.000)." in text


def test_what_no_control_reaches_is_called_re_routing():
    text = said(base=50, ngd=60, uniform=54)
    assert "NGD is ahead of Uniform r (+6.0 points); each p < 0.001." in text
    assert "The remaining 6.0 points are." in text


def test_a_lead_that_may_be_chance_is_not_called_re_routing():
    text = said(base=50, ngd=60, uniform=54, p=0.2)
    assert "cannot be told from Uniform r (+6.0 points, p = 0.200)" in text
    assert "may be, or may be chance" in text


def test_a_certain_but_small_lead_is_called_small_and_explained():
    text = said(base=50, ngd=60, finetuned_router=59.5)
    assert "is ahead, but by less than a point, of Fine-tuned router (+0.5 points)" in text
    assert verdict.MEANING["finetuned_router"] in text


def test_a_control_that_is_ahead_is_said_to_be():
    text = said(base=50, ngd=60, ngd_same_type_neighbours=64)
    assert "NGD is behind NGD, same-type neighbours (−4.0 points)" in text
    assert verdict.MEANING["ngd_same_type_neighbours"] in text


def test_a_gain_without_controls_is_not_praised():
    assert "may not be re-routing" in said(base=50, ngd=60)


def test_without_ngd_nothing_is_said_of_its_gain():
    nothing = pd.DataFrame({"benchmark": [], "strategy": []})
    [text] = verdict.sentences(nothing, pd.DataFrame({"other": []}))
    assert "no complete runs of NGD" in text
