"""Runs: what is at work, what there is, what comes in, and what goes."""

import json
import shutil
import time

import pytest

from r2t2.paths import jobs_folder, runs_folder
from r2t2.rerouting.passes import passes
from r2t2.rerouting.settings import strategy
from r2t2.runs import archive, jobs, plan, store
from r2t2.runs.jobs import AlreadyRunning, Progress, Request, Stage
from r2t2.runs.store import list_runs, writing

STARTED = {"start-benchmarks": "reading", "start-strategies": "NGD", "start-limit": "20"}


@pytest.fixture
def cache(small_cache, tmp_path, monkeypatch, app):
    """What opens the page on a copy of the small cache, which a test may change."""
    folder = tmp_path / "cache"
    shutil.copytree(small_cache, folder)
    monkeypatch.setenv("R2T2_CACHE", str(folder))

    return lambda **query: app("runs", **query)


@pytest.fixture
def asked(monkeypatch):
    """The requests that were to be carried out; none is."""
    requests = []
    monkeypatch.setattr(jobs, "start", lambda request, folder: requests.append(request))
    return requests


def request(**changes):
    usual = {"benchmarks": ("reading",), "strategies": ("ngd",), "seed": 7, **changes}
    return Request("mini-7", "mini-7-reference-wordllama", **usual)


def job(state, of=None, stages=(), log="", **told):
    """A job's folder, as its process left it."""
    of = of or request()
    folder = jobs_folder() / of.id
    folder.mkdir(parents=True)
    (folder / "request.json").write_text(of.text)
    (folder / "log.txt").write_text(log)
    Progress(state, time.time(), time.time(), stages, **told).save(folder)
    return folder


def the_run(strategy="ngd", benchmark="reading"):
    (run,) = [
        run
        for run in list_runs(runs_folder())
        if (run.spec.strategy, run.spec.benchmark) == (strategy, benchmark) and run.figures
    ]
    return run


def made_by(run, strategy):
    return run.spec.strategy == strategy


def unfinished():
    """A run of which nobody made the rest."""
    whole = the_run("ngd", "reading")
    spec = type(whole.spec)(**{**whole.manifest["spec"], "size": 30})
    with writing(runs_folder() / spec.folder, spec, whole.sites, "cpu"):
        pass
    return spec


def frame(test, column):
    return next(frame.value for frame in test.dataframe if column in frame.value)


def said(test):
    kinds = ("markdown", "caption", "text", "error", "success", "warning", "code")
    return "\n".join(str(block.value) for kind in kinds for block in test.get(kind))


def metrics(test):
    return {metric.label: metric.value for metric in test.metric}


def test_every_run_of_the_cache_is_in_the_table(cache):
    table = frame(cache(), "accuracy")
    assert len(table) == 9
    assert set(table["status"]) == {"complete"}
    row = table[table["id"] == the_run().id].iloc[0]
    figures = the_run().figures
    assert row["accuracy"] == pytest.approx(100 * figures["accuracy"])
    assert row["gain"] == pytest.approx(100 * (figures["accuracy"] - figures["base_accuracy"]))
    assert row["rate"] == pytest.approx(20 / the_run().manifest["timings"]["wall_seconds"])


def test_filters_are_in_the_address_and_add_up(cache):
    table = frame(cache(**{"runs-benchmark": "reading", "runs-strategy": "NGD"}), "accuracy")
    assert table["id"].tolist() == [the_run().id]
    assert frame(cache(**{"runs-status": "unfinished"}), "accuracy").shape[0] == 9
    unfinished()
    table = frame(cache(**{"runs-status": "unfinished"}), "accuracy")
    assert table["status"].tolist() == ["unfinished"]
    neither = {"runs-status": "unfinished", "runs-strategy": "Base", "runs-text": "cpu"}
    assert frame(cache(**neither), "accuracy").empty


@pytest.mark.parametrize(
    ("text", "found"), [("READING ora", 1), ("cpu mini", 10), ("unfin", 1), ("((", 0)]
)
def test_text_is_looked_for_as_it_is_typed(cache, text, found):
    unfinished()
    assert len(frame(cache(**{"runs-text": text}), "accuracy")) == found


def test_a_run_that_the_address_names_is_shown_with_all_that_it_was_made_of(cache):
    test = cache(run=the_run().id)
    told = frame(test, "manifest").set_index("manifest")["value"]
    spec = the_run().spec
    assert told["id"] == the_run().id
    assert told["its fingerprint"] == spec.model_fingerprint
    assert told["the set's fingerprint"] == spec.reference_fingerprint
    assert told["accuracy"] == f"{the_run().figures['accuracy']:g}"
    settings = frame(test, "setting").set_index("setting")["value"]
    assert settings["k"] == str(spec.setting["k"])
    versions = frame(test, "versions").set_index("versions")["value"]
    assert versions["torch"] == the_run().manifest["versions"]["torch"]
    assert the_run().id in test.query_params["run"]


def test_what_runs_took_is_laid_beside_base(cache):
    table = frame(cache(performance="true"), "passes ×")
    rows = table.set_index("strategy")
    assert rows.index.tolist() == [
        *("Base", "Mode finding", "NGD", "Oracle (reads the label)", "Uniform r")
    ]
    assert rows["runs"].tolist() == [2, 1, 2, 2, 2]
    setting = strategy("ngd", "mini")
    assert rows.loc["NGD", "forward"] == 2 + (setting.steps + 1) * setting.k
    assert rows.loc["NGD", "passes ×"] == passes(setting).weighed
    assert rows.loc["Base", "time ×"] == 1
    assert rows.loc["NGD", "time ×"] > 1
    mine = [run.costs["peak_memory"] for run in list_runs(runs_folder()) if made_by(run, "ngd")]
    assert rows.loc["NGD", "peak, MiB"] == round(max(mine) / 2**20)


def test_each_run_of_the_set_has_its_costs_in_a_row(cache):
    test = cache(performance="true")
    table = frame(test, "run, ms")
    assert len(table) == 9
    row = table[(table["strategy"] == "NGD") & (table["benchmark"] == "reading")].iloc[0]
    costs = the_run().costs
    assert row["run, ms"] == pytest.approx(1000 * costs["wall_seconds"] / 20)
    parts = costs["encoding_seconds"] + costs["strategy_seconds"] + 2 * costs["answer_seconds"]
    assert row["sample, ms"] == pytest.approx(1000 * parts / 20)
    assert "python -m r2t2 bench" in said(test)
    assert "A dash" not in said(test)


def test_what_older_runs_do_not_tell_is_a_dash_with_the_reason(cache):
    for run in list_runs(runs_folder()):
        manifest = json.loads((run.folder / "manifest.json").read_text())
        for told in (*manifest["shards"], manifest["timings"]):
            for name in ("encoding_seconds", "answer_seconds", "peak_memory"):
                told.pop(name)
        (run.folder / "manifest.json").write_text(json.dumps(manifest))
    test = cache(performance="true")
    table = frame(test, "passes ×")
    assert table[["sample, ms", "per second", "time ×", "peak, MiB"]].isna().all(axis=None)
    assert table[["forward", "passes ×", "strategy, ms"]].notna().all(axis=None)
    assert "A dash: the run was made before" in said(test)


@pytest.mark.parametrize(("seconds", "peak"), [(0.0, 0), (9e9, 2**62), (5e-324, 1)])
def test_costs_that_somebody_claims_do_not_break_the_page(cache, seconds, peak):
    manifest = the_run().manifest
    for told in (*manifest["shards"], manifest["timings"]):
        told |= {name: seconds for name in told if name.endswith("seconds")}
        told["peak_memory"] = peak
    (the_run().folder / "manifest.json").write_text(json.dumps(manifest))
    table = frame(cache(performance="true", run=the_run().id), "run, ms")
    assert len(table) == 9


def test_nothing_is_read_of_what_runs_took_before_it_is_asked_for(cache, monkeypatch):
    monkeypatch.setattr(store, "costs_table", lambda runs: pytest.fail("it was read"))
    assert not [shown for shown in cache().dataframe if "passes ×" in shown.value]


def test_a_run_that_is_being_made_is_not_called_unfinished(cache):
    spec = unfinished()
    with writing(runs_folder() / spec.folder, spec, the_run().sites, "cpu"):
        table = frame(cache(), "accuracy")
        assert table.set_index("id").loc[spec.id, "status"] == "running"


def test_the_form_says_what_a_request_would_take(cache):
    shown = metrics(cache(**STARTED, **{"start-options": "k", "start-k": "1, 3"}))
    assert shown["New runs"] == "2 of 2"
    assert shown["New samples"] == "40"
    assert shown["Time"].startswith("about ")


def test_without_any_timing_the_time_is_unknown(cache):
    assert (
        metrics(cache(**{**STARTED, "start-strategies": "Kernel regression"}))["Time"] == "unknown"
    )
    both = {"start-benchmarks": "reading"}
    assert metrics(cache(**both))["Time"].startswith("over ")


def test_what_is_in_the_cache_is_not_started_again(cache):
    test = cache(**STARTED, **{"start-trace": "all"})
    assert metrics(test)["New runs"] == "0 of 1"
    assert test.button(key="start").disabled


def test_the_form_starts_what_it_says(cache, asked):
    test = cache(**STARTED, **{"start-options": "k", "start-k": "1, 3"})
    test.button(key="start").click().run()
    assert asked == [request(overrides=("k=1,3",), limit=20)]
    assert asked[0].command in said(test)


def test_what_is_left_empty_means_all(cache, asked):
    test = cache()
    test.button(key="start").click().run()
    (of,) = asked
    assert (len(of.benchmarks), len(of.strategies)) == (10, 13)
    assert (of.seed, of.limit, of.preset) == (7, None, None)
    assert len(of.planned) == 130


@pytest.mark.parametrize(
    ("typed", "says"), [("0, 5", "between 1 and 100"), ("many", "whole number"), ("1,,3", "2 of 2")]
)
def test_what_cannot_be_run_is_said_before_it_is_started(cache, typed, says):
    test = cache(**STARTED, **{"start-options": "k", "start-k": typed})
    assert says in said(test) + str(metrics(test))
    assert ("whole" in says or "between" in says) == (not test.metric)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (AlreadyRunning("the same runs are being made already"), "The same runs are being made"),
        (KeyError("there is no model 'x' here"), "There is no model 'x' here"),
    ],
)
def test_what_cannot_be_started_says_why(cache, monkeypatch, error, says):
    def refuse(request, folder):
        raise error

    monkeypatch.setattr(jobs, "start", refuse)
    test = cache(**{**STARTED, "start-limit": "5"})
    test.button(key="start").click().run()
    assert says in said(test)


def test_an_engine_is_chosen_where_there_is_more_than_one(cache, asked, monkeypatch):
    monkeypatch.setattr(plan, "engines", lambda: ("local", "ray"))
    new = {**STARTED, "start-limit": "5"}
    cache(**new).button(key="start").click().run()
    test = cache(**new, **{"start-engine": "Ray"})
    assert "--engine ray" in said(test)
    test.button(key="start").click().run()
    assert [of.engine for of in asked] == ["local", "ray"]
    assert asked[0].id == asked[1].id


def test_without_ray_no_engine_is_offered(cache, monkeypatch):
    monkeypatch.setattr(plan, "engines", lambda: ("local",))
    assert "Engine" not in [box.label for box in cache(**STARTED).selectbox]


def test_a_job_says_on_which_engine_it_is(cache):
    job("done", request(limit=3))
    job("failed", request(engine="ray"))
    (row,) = [m.value for m in cache().markdown if "on Ray" in m.value]
    assert "NGD on reading" in row


def test_an_unfinished_run_is_resumed_as_it_was(cache, asked):
    spec = unfinished()
    test = cache(run=spec.id)
    next(button for button in test.button if button.label == "Resume 1 run").click().run()
    (of,) = asked
    (planned,) = of.planned
    assert planned.setting.options == spec.setting
    assert (of.limit, of.seed, of.trace) == (30, 7, "all")


def test_a_damaged_run_is_said_to_be_and_can_be_made_again(cache, asked):
    (the_run().folder / "steps.parquet").write_bytes(b"")
    test = cache(run=the_run().id)
    assert "steps.parquet" in said(test)
    assert not test.get("download_button") or "Export 1 run" not in [
        button.label for button in test.get("download_button")
    ]
    next(button for button in test.button if button.label == "Resume 1 run").click().run()
    assert len(asked) == 1


def archived(run, to):
    archive.export_runs([run], to)
    return to.read_bytes()


def put_in(test, data):
    test.file_uploader[0].upload("runs.r2t2.zip", data).run()


def test_runs_are_imported_once_and_marked(cache, tmp_path):
    run = the_run()
    data = archived(run, tmp_path / "one.zip")
    shutil.rmtree(run.folder)
    test = cache()
    assert len(frame(test, "accuracy")) == 8
    put_in(test, data)
    assert "Added: 1. Already there: 0." in said(test)
    table = frame(test, "accuracy").set_index("id")
    assert (len(table), table.loc[run.id, "status"]) == (9, "imported")
    test = cache()
    put_in(test, data)
    assert "Added: 0. Already there: 1." in said(test)


def test_a_file_that_is_no_archive_is_refused_with_the_reason(cache):
    test = cache()
    put_in(test, b"<script>alert(1)</script>")
    assert "it is no zip file" in said(test)
    assert len(list_runs(runs_folder())) == 9


def test_folders_that_cannot_be_read_are_listed_with_the_reason(cache):
    (runs_folder() / "odd").mkdir()
    (jobs_folder() / "0123").mkdir(parents=True)
    why = frame(cache(), "why").set_index("folder")["why"]
    assert "no manifest.json" in why["runs/odd"]
    assert "lacks a request" in why["jobs/0123"]


@pytest.mark.parametrize("state", ["done", "cancelled", "failed", "interrupted"])
def test_an_ended_job_is_cleared_and_its_runs_stay(cache, state):
    folder = job("running" if state == "interrupted" else state)
    test = cache()
    test.button(key=f"clear-{folder.name}").click().run()
    assert not folder.exists()
    assert len(list_runs(runs_folder())) == 9


@pytest.mark.parametrize("state", ["cancelled", "failed", "interrupted"])
def test_a_job_that_did_not_reach_its_end_is_resumed(cache, asked, state):
    folder = job("running" if state == "interrupted" else state)
    test = cache()
    test.button(key=f"resume-{folder.name}").click().run()
    assert asked == [request()]


def test_a_job_that_is_done_has_nothing_to_resume(cache):
    job("done")
    assert "Resume" not in [button.label for button in cache().button]


def test_a_failed_job_says_why_as_it_was_said(cache):
    words = "<b>no</b> **memory** $left$"
    job("failed", error=words, log="Traceback: ...\n")
    test = cache()
    assert words in [text.value for text in test.text]
    assert "Traceback: ..." in [block.value.strip() for block in test.code]


def test_a_job_at_work_shows_how_far_it_is_and_can_be_cancelled(cache):
    stages = (
        Stage("reading / base", 20, 20, 20, 1.0, "already in the cache"),
        Stage("reading / ngd", 20, 5, 0, 1.0),
    )
    folder = job("running", stages=stages, current=1, rate=2.5, left=75.0, log="a line\n")
    with jobs._lock(folder, ""):
        test = cache()
        (bar,) = test.get("progress")
        assert bar.proto.text.startswith("25 of 40 samples · 2.5 per second · 7")
        assert frame(test, "note")["samples"].tolist() == ["20 of 20", "5 of 20"]
        test.button(key=f"cancel-{folder.name}").click().run()
        assert (folder / "cancel").exists()
        assert test.get("progress")[0].proto.text.startswith("Stopping")
        assert test.button(key=f"cancel-{folder.name}").disabled


def test_only_the_last_jobs_are_shown(cache):
    for limit in range(1, 14):
        job("done", request(limit=limit))
    test = cache()
    assert len([button for button in test.button if button.label == "Clear"]) == 10
    assert "Earlier ones: 3" in said(test)


def test_without_runs_the_page_says_how_to_make_some(empty_app):
    test = empty_app("runs")
    assert "No runs in the cache" in said(test)
    assert "python -m r2t2 run" in said(test)
    assert "python -m r2t2 reference build" in said(test)


def test_names_of_a_run_from_elsewhere_show_as_they_are_typed(cache, tmp_path):
    run = the_run()
    manifest = json.loads((run.folder / "manifest.json").read_text())
    manifest["spec"] |= {"benchmark": "<b>x</b> $y$ [z](http://a)", "strategy": "**magic**"}
    spec = type(run.spec)(**manifest["spec"])
    folder = runs_folder() / spec.folder
    shutil.copytree(run.folder, folder)
    (folder / "manifest.json").write_text(json.dumps({**manifest, "id": spec.id}))
    test = cache(run=spec.id)
    (line,) = [m.value for m in test.markdown if "magic" in m.value]
    assert "**magic**" not in line
    assert "\\*\\*magic\\*\\*" in line
    assert "<b>" not in line.replace("\\<b\\>", "")
