"""The command line, as a user types it."""

import json
import shutil
import sys
import time

import pytest

from r2t2 import bench, cli
from r2t2.data import world
from r2t2.paths import cache_folder, jobs_folder
from r2t2.rerouting.settings import AMORTISED
from r2t2.runs import jobs
from r2t2.runs.plan import Request
from tests.data import layouts


@pytest.fixture
def command(monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["r2t2", *map(str, arguments)])
        status = 0
        try:
            cli.main()
        except SystemExit as leave:
            status = leave.code or 0
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.fixture
def empty(monkeypatch, tmp_path):
    """A cache with the shipped reference set and no runs."""
    shutil.copytree(cache_folder() / "references", tmp_path / "references")
    monkeypatch.setenv("R2T2_CACHE", str(tmp_path))
    return tmp_path


def test_models_lists_the_embedded_model(command):
    status, out, _ = command("models", "--json")
    (mini,) = [row for row in json.loads(out) if row["name"] == "mini"]
    assert status == 0
    assert "TEXTURE" in mini["experts"]


def test_results_are_a_list_with_what_was_promised(command):
    status, out, _ = command("results", "--json")
    rows = json.loads(out)
    assert status == 0
    keys = {"benchmark", "seed", "strategy", "n", "accuracy", "wrong_to_right", "right_to_wrong"}
    assert all(keys <= set(row) for row in rows)
    assert {row["seed"] for row in rows} >= {0, 1, 2}
    assert {row["benchmark"] for row in rows} == {*world.BENCHMARKS, "mean"}
    names = "base uniform constant mode_finding kernel_regression ngd ngd_paper oracle"
    assert {*names.split(), "ngd_random_neighbours"} <= {row["strategy"] for row in rows}


def test_results_of_an_empty_cache_say_how_to_make_some(command, empty):
    status, _, err = command("results")
    assert status == 2
    assert "python -m r2t2 run" in err


def test_a_run_is_stored_shown_exported_and_deleted(command, empty, tmp_path):
    status, out, _ = command(
        "run", "--strategy", "uniform", "--benchmark", "reading", "--limit", 5, "--json"
    )
    (row,) = json.loads(out)
    assert (status, row["n"], row["strategy"]) == (0, 5, "uniform")
    _, listed, _ = command("runs", "list", "--json")
    (found,) = json.loads(listed)
    _, shown, _ = command("runs", "show", found["id"])
    assert json.loads(shown)["spec"]["benchmark"] == "reading"
    for name in ("rows.csv", "rows.parquet"):
        assert command("runs", "export", found["id"], tmp_path / name)[0] == 0
        assert (tmp_path / name).stat().st_size > 0
    assert command("runs", "delete", found["id"], "--yes")[0] == 0
    assert json.loads(command("runs", "list", "--json")[1]) == []


def test_an_option_of_a_strategy_can_be_set(command, empty):
    arguments = ("--strategy", "ngd", "--benchmark", "size", "--limit", 2, "--set", "k=3")
    assert command("run", *arguments)[0] == 0
    run_id = json.loads(command("runs", "list", "--json")[1])[0]["id"]
    assert json.loads(command("runs", "show", run_id)[1])["spec"]["setting"]["k"] == 3


def test_several_values_of_an_option_make_one_run_each(command, empty):
    arguments = ("--strategy", "ngd", "--strategy", "base", "--benchmark", "size", "--limit", 2)
    status, out, _ = command("run", *arguments, "--set", "k=2,3", "--set", "steps=1", "--json")
    assert status == 0
    runs = [json.loads(command("runs", "show", id)[1]) for id in _ids(command)]
    settings = [run["spec"]["setting"] for run in runs]
    assert sorted((s["algorithm"], s.get("k", 0)) for s in settings) == [
        ("base", 0),
        ("ngd", 2),
        ("ngd", 3),
    ]
    assert len(json.loads(out)) == 3


def _ids(command):
    return [run["id"] for run in json.loads(command("runs", "list", "--json")[1])]


def test_runs_travel_from_one_cache_to_another(command, empty, tmp_path, monkeypatch):
    for strategy in ("base", "uniform"):
        command("run", "--strategy", strategy, "--benchmark", "reading", "--limit", 3)
    ids = _ids(command)
    assert command("runs", "export", *ids, tmp_path / "two.zip")[0] == 0
    status, _, err = command("runs", "export", *ids, tmp_path / "two.csv")
    assert (status, ".zip" in err) == (2, True)
    monkeypatch.setenv("R2T2_CACHE", str(tmp_path / "other"))
    status, out, _ = command("runs", "import", tmp_path / "two.zip")
    assert (status, out.count(": added")) == (0, 2)
    assert sorted(_ids(command)) == sorted(ids)
    assert command("runs", "import", tmp_path / "two.zip")[1].count(": already there") == 2


def test_a_run_is_copied_to_a_mirror_and_pulled_into_another_cache(
    command, empty, tmp_path, monkeypatch
):
    mirror = f"file://{tmp_path}/mirror"
    arguments = ("--strategy", "base", "--benchmark", "reading", "--limit", 3)
    assert command("run", *arguments, "--mirror", mirror)[0] == 0
    ids = _ids(command)
    monkeypatch.setenv("R2T2_CACHE", str(tmp_path / "other"))
    status, out, _ = command("runs", "pull", mirror)
    assert (status, out.count(": added")) == (0, 1)
    assert _ids(command) == ids
    assert command("runs", "pull", mirror)[1].count(": already there") == 1
    status, _, err = command("runs", "pull", f"{mirror}/nothing")
    assert (status, "there are no runs" in err) == (0, True)


def test_a_job_and_the_command_make_the_same_run(command, empty):
    request = Request("mini", "mini-reference-wordllama", ("reading",), ("ngd",), limit=3)
    jobs.start(request, jobs_folder())
    until = time.monotonic() + 120
    while (job := jobs.list_jobs(jobs_folder())[0]).alive:
        assert time.monotonic() < until, job.log
        time.sleep(0.2)
    assert job.state == "done", job.log
    (stage,) = job.progress.stages
    (made,) = json.loads(command("runs", "list", "--json")[1])
    words = request.command.removeprefix("python -m r2t2").split()
    status, out, err = command(*words, "--json")
    assert status == 0
    assert [row["run"] for row in json.loads(out)] == [stage.run]
    assert "already in the cache" in err
    assert _ids(command) == [made["id"]]


def test_models_tells_of_a_large_one_without_loading_it(command, large, monkeypatch):
    folder, name = large
    monkeypatch.setenv("R2T2_CACHE", str(folder))
    monkeypatch.setattr("r2t2.models.sparse.model.Sparse.__init__", None)
    status, out, _ = command("models", "--json")
    row = json.loads(out)[-1]
    assert (status, row["name"], row["sites"]) == (0, name, "layer 1, layer 2")
    assert row["experts"] == "expert 0 to expert 7 (8)"
    assert "active" in row["parameters"]
    assert "a sample" in row["memory"]


def test_a_large_model_is_added_and_removed(command, large, monkeypatch, tmp_path):
    _, name = large
    monkeypatch.setenv("R2T2_CACHE", str(tmp_path))
    status, _, err = command("models", "add", name)
    assert status == 0
    assert "parameters" in err
    assert f"reference build --model '{name}'" in err
    assert json.loads(command("models", "--json")[1])[-1]["name"] == name
    assert command("models", "remove", name)[0] == 0
    assert json.loads(command("models", "--json")[1])[-1]["name"] != name


def test_a_model_is_checked_against_the_contract(command, large):
    status, out, _ = command("models", "check", large[1], "--json")
    rows = json.loads(out)
    assert (status, len(rows) > 9) == (0, True)
    assert {row["kept"] for row in rows} <= {"yes", "not tried"}


def test_a_broken_promise_fails_the_check(command, large, monkeypatch):
    monkeypatch.setattr("r2t2.models.sparse.model.Sparse.route", lambda model, encoded: 1 / 0)
    status, out, _ = command("models", "check", large[1], "--json")
    assert (status, "NO" in out) == (1, True)


def test_what_runs_of_a_large_model_take_is_told_without_running_any(command, large, monkeypatch):
    folder, name = large
    monkeypatch.setenv("R2T2_CACHE", str(folder))
    monkeypatch.setattr("r2t2.models.load_model", None)
    asked = ("run", "--model", name, "--benchmark", "general", "--limit", 10, "--estimate")
    status, out, _ = command(*asked, "--strategy", "base", "--strategy", "ngd", "--json")
    base, ngd, whole = json.loads(out)
    assert status == 0
    # 13 passes a neighbour and step as against 1, and the answers in between.
    assert ngd["seconds"] > 20 * base["seconds"] > 0
    assert whole["seconds"] > base["seconds"] + ngd["seconds"]
    status, _, err = command(*asked)
    assert "all of it at least" in " ".join(err.split())
    assert json.loads(command("runs", "list", "--json")[1]) == []


def test_all_strategies_go_on_past_a_router_that_cannot_be_fine_tuned(
    command, large, monkeypatch, tmp_path
):
    folder, name = large
    shutil.copytree(folder, tmp_path / "cache")
    monkeypatch.setenv("R2T2_CACHE", str(tmp_path / "cache"))
    asked = ("run", "--model", name, "--benchmark", "general", "--limit", 2, "--json")
    strategies = ("--strategy", "finetuned_router", "--strategy", "uniform")
    status, out, err = command(*asked, *strategies)
    assert (status, [row["strategy"] for row in json.loads(out)]) == (0, ["uniform"])
    assert "left out" in err
    status, _, err = command(*asked, *strategies[:2])
    assert (status, "cannot be fine-tuned" in " ".join(err.split())) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("run", "--strategy", "magic"), "kernel_regression"),
        (("run", "--benchmark", "mmbanch"), "knowledge"),
        (("run", "--benchmark", "mmbench"), "data get mmbench"),
        (("reference", "build", "--dataset", "paper-reference"), "VQA-V2 is not here"),
        (("data", "get", "mmbanch"), "mmbench"),
        (("data", "check", "mmbanch"), "mmbench"),
        (("data", "get", "clevr"), "CLEVR_val_questions.json"),
        (("data", "add", "nowhere.csv", "--name", "mine"), "nowhere.csv"),
        (("data", "remove", "mmbench"), "not here"),
        (("run", "--set", "k=0"), "between 1 and 100"),
        (("run", "--set", "neighbours=3"), "OPTION"),
        (("run", "--model", "mini-99"), "r2t2 train"),
        (("runs", "show", "zzz"), "no run"),
        (("inspect", "nowhere.png", "what is it?"), "nowhere.png"),
        (("run", "--nope"), "--nope"),
        (("train-all",), "train-all"),
        (("run", "--trace", "some"), "ends"),
        (("run", "--engine", "slurm"), "local, ray"),
        (("reference", "build", "--engine", "slurm"), "local, ray"),
        (("run", "--mirror", "nowhere://x"), "nowhere"),
        (("run", "--limit", "0"), "limit"),
        (("run", "--reference", "../elsewhere"), "no name"),
        (("runs", "import", "nowhere.zip"), "nowhere.zip"),
        (("runs", "import", __file__), "no zip file"),
    ],
)
def test_a_mistake_gets_a_sentence_that_says_what_to_do(command, arguments, says):
    status, _, err = command(*arguments)
    assert status == 2
    assert says in " ".join(err.split())
    assert "Traceback" not in err


def test_datasets_go_from_files_to_a_run_by_one_command(command, empty, tmp_path):
    layouts.mme(tmp_path / "official")
    given = ("--data-dir", tmp_path / "official")
    _, out, _ = command("data", "check", "mme", *given, "--json")
    assert json.loads(out)[0]["state"] == "files found"
    status, out, err = command("run", "--benchmark", "mme", "--strategy", "base", *given, "--json")
    (row,) = json.loads(out)
    assert (status, row["n"]) == (0, 4)
    assert "the paper has 2,114" in " ".join(err.split())
    _, out, _ = command("data", "list", "--json")
    assert [row["name"] for row in json.loads(out) if row["here"]] == ["mme"]


def test_your_own_data_is_added_used_and_removed(command, empty, tmp_path):
    layouts.write(tmp_path / "a.png", layouts.picture(1))
    layouts.write(tmp_path / "mine.csv", "image,question,answer\na.png,is there a ball?,yes\n")
    assert command("data", "add", tmp_path / "mine.csv", "--name", "mine")[0] == 0
    status, out, _ = command("run", "--benchmark", "mine", "--strategy", "base", "--json")
    assert (status, json.loads(out)[0]["n"]) == (0, 1)
    assert command("data", "remove", "mine", "--yes")[0] == 0
    assert command("run", "--benchmark", "mine", "--strategy", "base")[0] == 2


def test_a_reference_set_of_labels_that_a_model_cannot_express_is_refused(command, empty, tmp_path):
    layouts.docvqa(tmp_path)
    words = ("reference", "build", "--dataset", "docvqa", "--data-dir", tmp_path)
    status, _, err = command(*words)
    assert status == 2
    assert "mini cannot express the label '1 May'" in " ".join(err.split())


def test_losses_are_fitted_and_then_the_amortised_strategies_run(
    command, small_cache, monkeypatch, tmp_path
):
    shutil.copytree(small_cache, tmp_path / "cache")
    monkeypatch.setenv("R2T2_CACHE", str(tmp_path / "cache"))
    one = ("run", "--model", "mini-7", "--benchmark", "general", "--limit", 4, "--json")
    amortised = (*one, "--strategy", "ngd_amortised")
    status, _, err = command(*amortised)
    assert status == 2
    assert "reference fit --model mini-7" in " ".join(err.split())
    status, out, err = command(*amortised, "--strategy", "base")
    assert (status, [row["strategy"] for row in json.loads(out)]) == (0, ["base"])
    assert "left out" in err
    assert command("reference", "fit", "--model", "mini-7", "--anchors", 8)[0] == 0
    status, out, _ = command(*amortised)
    assert (status, [row["strategy"] for row in json.loads(out)]) == (0, ["ngd_amortised"])


def test_inspect_answers_by_every_strategy(command, tmp_path):
    sample = world.dataset("reading")[0]
    sample.image.save(tmp_path / "scene.png")
    status, out, err = command("inspect", tmp_path / "scene.png", sample.question, "--json")
    rows = json.loads(out)
    assert status == 0
    assert [row["strategy"] for row in rows] == [
        "base",
        "mode_finding",
        "kernel_regression",
        "ngd",
    ]
    assert "rendered scenes" in " ".join(err.split())


def test_inspect_runs_the_oracle_only_with_a_label_and_marks_it(command, tmp_path):
    sample = world.dataset("reading")[0]
    sample.image.save(tmp_path / "scene.png")
    _, out, _ = command(
        "inspect", tmp_path / "scene.png", sample.question, "--label", sample.label, "--json"
    )
    assert json.loads(out)[-1]["strategy"] == "oracle (reads the label)"


def test_bench_prints_what_was_promised_and_the_yardstick_agrees(engine):
    rows = {row["name"]: row for row in bench.measure(engine, batch=4, repeats=1)}
    assert all({"name", "value", "unit"} <= set(row) for row in rows.values())
    assert "ngd_speedup_over_yardstick" in rows
    for name in (*bench.STRATEGIES, *AMORTISED, "ngd_amortised_sure"):
        assert f"{name}_over_base" in rows
    assert rows["fit_seconds"]["value"] > 0
    assert "fit_break_even" in rows
    assert rows["yardstick_max_difference"]["value"] < 1e-5
