"""What is read from a folder of runs, whoever put it there."""

import hashlib
import json
import os
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from r2t2.runs import store
from r2t2.runs.identity import RunSpec
from r2t2.runs.store import SCHEMAS, DamagedRun, Run, RunLocked, UnreadableRun
from r2t2.sites import Site

SHARD = {
    "first": 0,
    "rows": 5,
    "files": {"samples.parquet": "0", "steps.parquet": "0"},
    "strategy_seconds": 1.0,
    "wall_seconds": 1.0,
}
CORRECT = [(True, True), (False, True), (False, True), (True, False), (False, False)]


@pytest.fixture(autouse=True)
def _without_waiting_for_the_disk(monkeypatch):
    # Processes end in these tests; the machine does not.
    monkeypatch.setattr(os, "fsync", lambda file: None)


def spec(strategy="ngd", seed=0, size=5):
    return RunSpec(
        "toy", "aaaa", "refs", "bbbb", "colours", seed, size, strategy, {"k": 5}, "ends", shard=2
    )


def rows(schema, positions):
    """Rows of a schema: positions, outcomes of `CORRECT`, and nulls elsewhere."""
    known = {
        "position": positions,
        "base_correct": [CORRECT[i][0] for i in positions],
        "correct": [CORRECT[i][1] for i in positions],
        "base_score": [float(CORRECT[i][0]) for i in positions],
        "score": [float(CORRECT[i][1]) for i in positions],
        "metric": ["match"] * len(positions),
        "group": [""] * len(positions),
    }
    nulls = [None] * len(positions)
    return pa.table({name: known.get(name, nulls) for name in schema.names}, schema=schema)


SITES = (Site("one", ("a", "b")),)


def made(folder, shards=3, **changes):
    """A run of five samples in shards of two, of which some are there."""
    of = spec(**changes)
    with store.writing(folder / of.folder, of, SITES, "cpu") as writer:
        for first in writer.missing[:shards]:
            positions = list(range(first, min(first + 2, of.size)))
            tables = [rows(SCHEMAS[name], positions) for name in ("samples", "steps")]
            writer.add(first, *tables, strategy_seconds=1.0, wall_seconds=2.0)
        if not writer.missing:
            writer.finish()
    return Run.load(folder / of.folder)


def rewrite(run, **changes):
    """Put other values into a run's manifest."""
    path = run.folder / "manifest.json"
    path.write_text(json.dumps({**run.manifest, **changes}))


def test_a_complete_run_has_one_pair_of_files_and_the_manifest(tmp_path):
    run = made(tmp_path)
    there = {path.name for path in run.folder.iterdir()} - {".lock"}
    assert there == {"manifest.json", "samples.parquet", "steps.parquet"}
    assert list(run.samples()["position"]) == [0, 1, 2, 3, 4]


def test_figures_count_what_turned_right_and_what_turned_wrong(tmp_path):
    assert made(tmp_path).figures == {
        "n": 5,
        "accuracy": 0.6,
        "base_accuracy": 0.4,
        "wrong_to_right": 2,
        "right_to_wrong": 1,
        "score": 0.6,
        "base_score": 0.4,
        "maximum": 1.0,
        "metric": "match",
    }


def as_before_metrics(run):
    """The run's folder as it was written before there were metrics; the run anew."""
    path = run.folder / "samples.parquet"
    table = pq.read_table(path)
    pq.write_table(table.drop_columns(["base_score", "score", "metric", "group"]), path)
    manifest = json.loads((run.folder / "manifest.json").read_text())
    files = manifest["shards"][0]["files"]
    files["samples.parquet"] = hashlib.sha256(path.read_bytes()).hexdigest()
    for name in ("score", "base_score", "maximum", "metric"):
        del manifest["figures"][name]
    (run.folder / "manifest.json").write_text(json.dumps(manifest))
    return Run.load(run.folder)


def test_a_run_of_before_metrics_reads_as_one_of_right_and_wrong_answers(tmp_path):
    new = made(tmp_path)
    figures, samples = new.figures, new.samples()
    old = as_before_metrics(new)
    assert old.figures == figures
    pd.testing.assert_frame_equal(old.samples(), samples)
    assert old.read("samples", ["score", "position"]).column_names == ["score", "position"]
    assert old.read("samples", ["label"]).column_names == ["label"]


def test_runs_of_before_and_after_metrics_are_gathered_in_one_table(tmp_path):
    old = as_before_metrics(made(tmp_path / "a"))
    both = store.gather([old, made(tmp_path / "b")], "samples", ["position", "metric", "score"])
    assert both["metric"].tolist() == ["match"] * 10
    assert both["score"].tolist() == [1, 1, 1, 0, 0] * 2


def test_the_runs_that_ship_are_of_before_metrics_and_read():
    shipped = store.list_runs(Path(__file__).resolve().parents[2] / "cache" / "runs")[:2]
    for run in shipped:
        samples = run.samples()
        assert samples["score"].tolist() == samples["correct"].astype(float).tolist()
        assert store.figures(run.read("samples")) == run.figures
    assert shipped


@pytest.mark.parametrize(
    ("name", "value"), [("score", "high"), ("maximum", 0.0), ("metric", "<b>"), ("score", None)]
)
def test_scores_in_a_manifest_that_are_none_are_refused(tmp_path, name, value):
    run = made(tmp_path)
    manifest = json.loads((run.folder / "manifest.json").read_text())
    manifest["figures"][name] = value
    (run.folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UnreadableRun):
        Run.load(run.folder)


def test_timings_add_up_over_the_shards(tmp_path):
    assert made(tmp_path).manifest["timings"] == {
        "strategy_seconds": 3.0,
        "wall_seconds": 6.0,
        "samples_per_second": 0.83,
    }


def costly(folder, *shards, **changes):
    """A run of five samples, each shard with costs of its own."""
    of = spec(**changes)
    with store.writing(folder / of.folder, of, SITES, "cpu") as writer:
        for first, costs in zip(writer.missing, shards, strict=False):
            positions = list(range(first, min(first + 2, of.size)))
            tables = [rows(SCHEMAS[name], positions) for name in ("samples", "steps")]
            writer.add(first, *tables, 1.0, 2.0, **costs)
        if not writer.missing:
            writer.finish()
    return Run.load(folder / of.folder)


COSTS = [
    {"encoding_seconds": 0.5, "answer_seconds": 0.25, "peak_memory": peak} for peak in (3, 9, 5)
]


@pytest.mark.parametrize("shards", [2, 3])
def test_parts_of_the_time_add_up_and_of_peaks_the_highest_counts(tmp_path, shards):
    run = costly(tmp_path, *COSTS[:shards])
    assert run.costs == {
        "strategy_seconds": shards,
        "wall_seconds": 2.0 * shards,
        "encoding_seconds": 0.5 * shards,
        "answer_seconds": 0.25 * shards,
        "peak_memory": 9,
    }
    if shards == 3:
        assert run.manifest["timings"] == {**run.costs, "samples_per_second": 0.83}


def test_a_resumed_run_has_the_highest_peak_of_both_sessions(tmp_path):
    costly(tmp_path, *COSTS[:2])
    assert costly(tmp_path, COSTS[2]).costs["peak_memory"] == 9


def test_a_run_that_was_resumed_from_shards_without_a_peak_claims_none(tmp_path):
    costly(tmp_path, {})
    run = costly(tmp_path, *COSTS[1:])
    assert run.status == "complete"
    assert run.costs == {"strategy_seconds": 3.0, "wall_seconds": 6.0}


def test_what_a_run_took_does_not_make_it_another_run(tmp_path):
    assert costly(tmp_path / "a", *COSTS).id == costly(tmp_path / "b", {}, {}, {}).id


@pytest.mark.parametrize(
    "cost",
    [{"encoding_seconds": "long"}, {"answer_seconds": -1.0}, {"wall_seconds": 1e308}]
    + [{"peak_memory": value} for value in (-1, 1.5, True, None, 2**63)],
    ids=str,
)
def test_costs_in_a_manifest_that_are_none_are_refused(tmp_path, cost):
    run = costly(tmp_path, *COSTS)
    (shard,) = run.manifest["shards"]
    rewrite(run, shards=[{**shard, **cost}])
    with pytest.raises(UnreadableRun, match="timings"):
        Run.load(run.folder)
    rewrite(run, timings={**run.manifest["timings"], **cost})
    with pytest.raises(UnreadableRun, match="timings"):
        Run.load(run.folder)


def test_a_table_of_costs_has_what_each_run_has(tmp_path):
    new, old = costly(tmp_path / "a", *COSTS), made(tmp_path / "b")
    table = store.costs_table([new, old])
    assert table["peak_memory"].tolist()[0] == 9
    assert table["encoding_seconds"].tolist()[0] == 1.5
    assert table.loc[1, ["encoding_seconds", "answer_seconds", "peak_memory"]].isna().all()
    assert table["wall_seconds"].tolist() == [6, 6]
    assert table["n"].tolist() == [5, 5]
    assert store.costs_table([]).columns.equals(table.columns)


def test_a_run_whose_file_is_damaged_has_costs_without_passes(tmp_path):
    run = costly(tmp_path, *COSTS)
    (run.folder / "samples.parquet").write_bytes(b"")
    (row,) = store.costs_table([run]).to_dict("records")
    assert row["wall_seconds"] == 6
    assert row["forward"] != row["forward"]


def test_the_runs_that_ship_tell_their_costs_and_the_older_ones_their_passes_and_times():
    shipped = store.list_runs(Path(__file__).resolve().parents[2] / "cache" / "runs")
    kept = [run for run in shipped if run.spec.benchmark == "colour"]
    table = store.costs_table(kept).set_index("seed")
    assert table[["forward", "backward", "strategy_seconds", "wall_seconds"]].notna().all(axis=None)
    parts = table[["encoding_seconds", "answer_seconds", "peak_memory"]]
    assert parts.loc[0].notna().all(axis=None)
    assert parts.loc[[1, 2]].isna().all(axis=None)


def test_an_unfinished_run_can_be_read_as_far_as_it_is(tmp_path):
    run = made(tmp_path, shards=2)
    assert (run.status, run.done, run.figures) == ("running", 4, {})
    assert list(run.samples(["position"])["position"]) == [0, 1, 2, 3]


def test_a_run_without_a_shard_reads_as_an_empty_table(tmp_path):
    samples = made(tmp_path, shards=0).samples()
    assert list(samples.columns) == SCHEMAS["samples"].names
    assert samples.empty


def test_a_reader_is_not_disturbed_by_the_run_being_completed(tmp_path):
    before = made(tmp_path, shards=2)
    made(tmp_path)
    assert len(before.samples()) == 5


@pytest.mark.parametrize("name", ["samples", "steps"])
def test_a_damaged_file_is_named_with_what_to_do(tmp_path, name):
    run = made(tmp_path)
    path = run.folder / f"{name}.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    assert run.damaged == [path.name]
    with pytest.raises(DamagedRun, match=rf"^{name}\.parquet of .*run the same command again"):
        getattr(run, name)()


def test_another_runs_file_is_a_damaged_file(tmp_path):
    run, other = made(tmp_path), made(tmp_path, seed=1, size=4)
    (other.folder / "samples.parquet").replace(run.folder / "samples.parquet")
    with pytest.raises(DamagedRun, match="checksum"):
        run.samples()


def test_a_file_that_is_no_parquet_is_damaged_even_with_the_right_checksum(tmp_path):
    run = made(tmp_path)
    (run.folder / "samples.parquet").write_bytes(b"junk")
    (shard,) = run.manifest["shards"]
    files = {**shard["files"], "samples.parquet": hashlib.sha256(b"junk").hexdigest()}
    rewrite(run, shards=[{**shard, "files": files}])
    with pytest.raises(DamagedRun, match=r"samples\.parquet"):
        Run.load(run.folder).samples()


@pytest.mark.parametrize("name", ["../secret.parquet", "../other/samples.parquet", "secret"])
def test_a_manifest_cannot_name_a_file_outside_its_folder(tmp_path, name):
    run = made(tmp_path)
    secret = tmp_path / "secret.parquet"
    secret.write_bytes((run.folder / "samples.parquet").read_bytes())
    checksum = hashlib.sha256(secret.read_bytes()).hexdigest()
    (shard,) = run.manifest["shards"]
    rewrite(run, shards=[{**shard, "files": {name: checksum}}])
    with pytest.raises(UnreadableRun, match="names the files"):
        Run.load(run.folder)
    made(tmp_path)
    assert secret.exists()


def test_a_link_out_of_the_folder_is_not_followed(tmp_path):
    run = made(tmp_path)
    outside = tmp_path / "outside.parquet"
    (run.folder / "samples.parquet").rename(outside)
    (run.folder / "samples.parquet").symlink_to(outside)
    with pytest.raises(DamagedRun, match="link"):
        run.samples()


def test_folders_that_hold_no_run_are_skipped_and_told(tmp_path):
    run = made(tmp_path)
    junk = {"empty": None, "text": "junk", "list": "[]", "deep": "[" * 100_000, "bytes": "\0"}
    for name, content in junk.items():
        (tmp_path / name).mkdir()
        if content is not None:
            (tmp_path / name / "manifest.json").write_text(content)
    (tmp_path / "file").write_text("junk")
    runs, skipped = store.scan(tmp_path)
    assert [found.id for found in runs] == [run.id]
    assert {path.name for path in skipped} == set(junk)
    assert all(path.name in reason for path, reason in skipped.items())


@pytest.mark.parametrize(
    "change",
    [
        {"format": 99},
        {"id": "0" * 16},
        {"status": "finished"},
        {"figures": {"n": "many"}},
        {"spec": {"model": "toy"}},
        {"shards": []},
        {"shards": [{**SHARD, "first": -1}]},
        {"shards": [{**SHARD, "rows": 6}]},
        {"shards": [{**SHARD, "files": {"samples.parquet": "0"}}]},
        {"created": "yesterday"},
    ],
    ids=str,
)
def test_a_manifest_that_cannot_be_true_is_skipped(tmp_path, change):
    rewrite(made(tmp_path), **change)
    assert store.list_runs(tmp_path) == []


def test_a_manifest_with_another_shard_of_the_right_size_is_read(tmp_path):
    rewrite(made(tmp_path), shards=[SHARD])
    (run,) = store.list_runs(tmp_path)
    assert run.damaged == list(SHARD["files"])


def test_a_folder_that_is_not_there_holds_no_runs(tmp_path):
    assert store.list_runs(tmp_path / "nowhere") == []


def test_a_run_is_found_by_the_beginning_of_its_id(tmp_path):
    run = made(tmp_path)
    made(tmp_path, seed=1)
    assert store.find(tmp_path, run.id[:8]).folder == run.folder


def test_an_ambiguous_or_unknown_id_lists_the_candidates(tmp_path):
    ids = [made(tmp_path, seed=seed).id for seed in (0, 1)]
    for asked in ("", "no such id"):
        with pytest.raises(KeyError) as error:
            store.find(tmp_path, asked)
        assert all(id in str(error.value) for id in ids)


def test_a_deleted_run_is_gone(tmp_path):
    run = made(tmp_path)
    store.delete(run)
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_is_being_written_is_neither_written_nor_deleted_by_another(tmp_path):
    run = made(tmp_path, shards=1)
    with store.writing(run.folder, run.spec, SITES, "cpu"):
        with (
            pytest.raises(RunLocked, match="by another process"),
            store.writing(run.folder, run.spec, SITES, "cpu"),
        ):
            pass
        with pytest.raises(RunLocked, match="by another process"):
            store.delete(run)
    assert Run.load(run.folder).done == 2


def test_shards_of_another_device_are_not_mixed_with_this_ones(tmp_path):
    run = made(tmp_path, shards=2)
    with store.writing(run.folder, run.spec, SITES, "cuda") as writer:
        assert writer.missing == [0, 2, 4]
        assert "another device" in writer.notes[0]


def test_the_table_has_a_row_per_run_with_gaps_where_one_is_not_complete(tmp_path):
    runs = [made(tmp_path, strategy="ngd"), made(tmp_path, shards=1, strategy="oracle")]
    table = store.runs_table(runs).set_index("strategy")
    assert list(table["status"]) == ["complete", "running"]
    assert list(table["n"]) == [5, 5]
    assert list(table["done"]) == [5, 2]
    assert table.loc["ngd", "wrong_to_right"] == 2
    assert table.loc["oracle", ["accuracy", "wrong_to_right"]].isna().all()


def test_gathered_rows_say_which_run_they_are_of(tmp_path):
    runs = [made(tmp_path, strategy="ngd"), made(tmp_path, strategy="oracle", seed=3)]
    rows = store.gather(runs, "samples", ["position", "correct"])
    assert list(rows.columns) == [
        "run",
        "model",
        "benchmark",
        "seed",
        "strategy",
        "position",
        "correct",
    ]
    assert list(rows["strategy"]) == ["ngd"] * 5 + ["oracle"] * 5
    assert list(rows["seed"]) == [0] * 5 + [3] * 5
    assert rows["correct"].dtype == bool


def test_nothing_gathered_is_an_empty_table_with_its_columns(tmp_path):
    pd.testing.assert_index_equal(
        store.gather([], "samples", ["correct"]).columns,
        pd.Index(["run", "model", "benchmark", "seed", "strategy", "correct"]),
    )
