"""Flips: every view, what narrows the list, and what is said where steps or runs are missing."""

import re
import shutil
from dataclasses import replace

import pytest

from r2t2.runs.store import delete, list_runs, writing

VIEWS = ("Over the steps", "When", "Back and forth", "Confidence", "Benchmarks")


def listed(test) -> int:
    """How many samples the list holds."""
    if any(block.value == "No samples." for block in test.caption):
        return 0
    counts = [re.match(r"([\d,]+) of [\d,]+ samples", block.value) for block in test.caption]
    [count] = [match[1] for match in counts if match]
    return int(count.replace(",", ""))


def said(test) -> str:
    return " ".join(block.value for block in [*test.markdown, *test.info, *test.code])


@pytest.fixture
def without_steps(app, small_cache, tmp_path, monkeypatch):
    """Makes the cache one in which NGD's runs on some benchmarks kept only their outcomes."""

    def forget(*benchmarks: str) -> None:
        cache = tmp_path / "cache"
        shutil.copytree(small_cache, cache)
        for run in list_runs(cache / "runs"):
            if run.spec.strategy == "ngd" and run.spec.benchmark in benchmarks:
                spec = replace(run.spec, trace="none")
                samples, steps = run.read("samples"), run.read("steps")
                with writing(cache / "runs" / spec.folder, spec, run.sites, "cpu") as writer:
                    writer.add(0, samples, steps.slice(0, 0), 1.0, 1.0)
                    writer.finish()
                delete(run)
        monkeypatch.setenv("R2T2_CACHE", str(cache))

    return forget


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("strategy", ["ngd", "oracle", "uniform"])
def test_every_view_is_drawn_above_all_samples(app, view, strategy):
    test = app("flips", variant=strategy, **{"flips-view": view})
    assert not test.exception
    assert listed(test) == 40


def test_a_gain_stands_beside_its_controls(app, html):
    shown = html(app("flips"))
    assert re.search(r"<span>Uniform r</span><span>[+−][\d.]+</span>", shown)
    assert "<span>Best constant r</span><span>not run</span>" in shown


def test_controls_are_those_on_the_same_samples(app, html):
    gain = re.compile(r"<span>Uniform r</span><span>([+−][\d.]+)</span>")
    partly = app("flips", variant="mode_finding")
    assert "of 20 samples" in html(partly)
    [of_general] = gain.findall(html(app("flips", benchmarks="general")))
    assert gain.findall(html(partly)) == [of_general]


def test_the_oracle_is_marked(app, html):
    assert "Oracle (reads the label)" in html(app("flips", variant="oracle"))


def test_outcomes_part_the_samples(app):
    test = app("flips", variant="oracle")
    counts = []
    for outcome in ("wrong to right", "right to wrong", "stayed right", "stayed wrong"):
        test.selectbox("flips-outcome").select(outcome).run()
        counts.append(listed(test))
    assert counts[0] > 0
    assert sum(counts) == 40
    test.button("flips-all").click().run()
    assert listed(test) == 40


def test_a_moment_and_its_opposite_part_the_samples(app):
    test = app("flips", variant="oracle")
    counts = []
    for end in ("right", "wrong"):
        test.selectbox("flips-moment").select(f"{end}, step 4").run()
        counts.append(listed(test))
    assert sum(counts) == 40


def test_an_address_brings_back_what_narrows_the_list(app):
    query = {"flips-moment": "right, step 10", "flips-changes": "0", "flips-settled": "0"}
    test = app("flips", benchmarks="general", **query)
    assert {name: test.selectbox(name).value for name in query} == query
    assert 0 < listed(test) < 20


def test_an_address_with_a_page_beyond_the_end_shows_samples(app):
    test = app("flips", **{"flips-page": "5", "flips-moment": "right, step 0"})
    test.selectbox("flips-moment").select("wrong, step 0").run()
    assert not test.exception
    assert listed(test) > 0


def test_a_moment_of_another_strategy_is_let_go(app):
    test = app("flips", **{"flips-moment": "right, step 4"})
    test.selectbox("variant").select("uniform").run()
    assert not test.exception
    assert test.selectbox("flips-moment").value == "any"


def test_samples_are_ordered_by_confidence(app):
    def first(test) -> int:
        """The change of confidence of the first sample in the list, in points."""
        text = next(block.value for block in test.text if "confidence" in block.value)
        before, after = re.search(r"confidence (\d+)% → (\d+)%", text).groups()
        return int(after) - int(before)

    test = app("flips")
    most = first(test)
    test.selectbox("flips-order").select("most confidence lost").run()
    assert first(test) < most


def test_a_strategy_that_moves_at_once_has_no_steps_between(app):
    test = app("flips", variant="uniform", **{"flips-view": "When"})
    assert "moves r at once" in said(test)
    assert "flips-changes" not in [box.key for box in test.selectbox]


@pytest.mark.parametrize("view", VIEWS)
def test_runs_without_steps_show_what_they_can(app, without_steps, view):
    without_steps("general", "reading")
    test = app("flips", **{"flips-view": view})
    assert not test.exception
    assert listed(test) == 40


def test_runs_without_steps_say_how_to_keep_them(app, without_steps):
    without_steps("general", "reading")
    shown = said(app("flips", **{"flips-view": "When"}))
    assert "steps between were not kept" in shown
    assert "--strategy ngd --trace all" in shown
    assert "--benchmark general --benchmark reading" in shown


def test_where_some_runs_kept_steps_theirs_are_shown_and_counted(app, without_steps):
    without_steps("reading")
    test = app("flips")
    assert "Steps of 20 of 40 samples" in said(test)
    assert "--benchmark reading" in said(test)
    test.selectbox("flips-moment").select("right, step 10").run()
    right = listed(test)
    test.selectbox("flips-moment").select("wrong, step 10").run()
    assert right + listed(test) == 20


def test_damaged_runs_say_so(app, without_steps, tmp_path):
    without_steps()
    for file in (tmp_path / "cache" / "runs").glob("general-ngd-*/samples.parquet"):
        file.write_bytes(b"no parquet")
    assert "is damaged" in " ".join(block.value for block in app("flips").text)


def test_only_base_tells_what_to_run(app, without_steps, tmp_path):
    without_steps()
    for run in list_runs(tmp_path / "cache" / "runs"):
        if run.spec.strategy != "base":
            delete(run)
    assert "python -m r2t2 run --strategy ngd" in said(app("flips"))


def test_no_runs_tell_what_to_run(empty_app):
    assert "python -m r2t2 run" in said(empty_app("flips"))
