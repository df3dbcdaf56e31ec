"""Results of other evaluators: read, matched, laid over base, and written for them."""

import io
import json

import pandas as pd
import pytest
from typer.testing import CliRunner

from r2t2.analysis.results import leads, results_table
from r2t2.cli import app
from r2t2.rerouting.settings import Setting
from r2t2.runs import evaluations, store
from r2t2.runs.archive import export_runs, import_runs
from r2t2.runs.evaluations import export_samples, import_evaluation
from r2t2.runs.selection import variant
from r2t2.runs.store import gather, runs_table
from tests.runs import toy


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A cache with a run of base and one of NGD."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def base(folder):
    toy.run(folder)
    return toy.run(folder, Setting("base"), "base")


def rows_of(base, score=lambda i: float(i % 2)):
    """What lmms-eval logs of the base run's samples, with scores of its own."""
    return [
        {
            "doc_id": i,
            "target": row["label"],
            "resps": [["red"]],
            "filtered_resps": ["red"],
            "doc_hash": "0",
            "exact_match": score(i),
        }
        for i, row in enumerate(base.samples().to_dict("records"))
    ]


def written(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_lmms_evals_samples_are_matched_by_position(base, folder, tmp_path):
    rows = [*rows_of(base)[2:], {**rows_of(base)[0], "doc_id": 77}]
    done = import_evaluation(written(tmp_path / "s.jsonl", rows), base, "theirs", folder)
    assert (done.by, done.rows, done.matched, done.missing) == ("doc_id", 9, 8, 2)
    samples, own = done.run.samples(), base.samples()
    assert samples["position"].tolist() == list(range(2, 10))
    assert samples["score"].tolist() == [0, 1] * 4
    assert samples["correct"].tolist() == [False, True] * 4
    assert samples["base_correct"].tolist() == own["correct"].tolist()[2:]
    assert set(samples["answer"]) == {"red"}


def test_names_count_before_places(base, folder, tmp_path):
    names = base.samples()["sample"]
    rows = [
        {"doc_id": 9 - i, "doc": {"question_id": names[i]}, "exact_match": float(i < 5)}
        for i in range(10)
    ]
    done = import_evaluation(written(tmp_path / "n.jsonl", rows), base, "named", folder)
    assert done.by == "doc.question_id"
    assert done.run.samples()["score"].tolist() == [1] * 5 + [0] * 5


@pytest.mark.parametrize("kind", ["csv", "tsv", "xlsx", "json"])
def test_vlmevalkits_files_are_read_in_every_format(base, folder, tmp_path, kind):
    table = pd.DataFrame({"index": range(10), "answer": "A", "prediction": "B", "hit": [1, 0] * 5})
    path = tmp_path / f"model_set.{kind}"
    if kind == "xlsx":
        table.to_excel(path, index=False)
    elif kind == "json":
        table.to_json(path, orient="records")
    else:
        table.to_csv(path, index=False, sep="," if kind == "csv" else "\t")
    done = import_evaluation(path, base, f"kit {kind}", folder)
    assert (done.score, done.matched) == ("hit", 10)
    assert done.run.samples()["correct"].tolist() == [True, False] * 5


@pytest.mark.parametrize(
    ("told", "column"),
    [
        (
            {"mme_perception_score": {"question_id": "a", "score": 1.0}},
            "mme_perception_score.score",
        ),
        ({"cv_bench_acc": {"id": 3, "is_correct": True}}, "cv_bench_acc.is_correct"),
        ({"anls": 0.75}, "anls"),
    ],
)
def test_scores_of_tasks_that_log_objects_are_found(base, folder, tmp_path, told, column):
    rows = [{"doc_id": i, **told} for i in range(10)]
    done = import_evaluation(written(tmp_path / "o.jsonl", rows), base, column, folder)
    assert done.score == column
    assert done.run.samples()["correct"].all()


def test_a_column_of_scores_can_be_named(base, folder, tmp_path):
    rows = [{"doc_id": i, "exact_match": 0, "gpt": 1} for i in range(10)]
    done = import_evaluation(written(tmp_path / "g.jsonl", rows), base, "gpt", folder, "gpt")
    assert done.run.figures["accuracy"] == 1


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.pkl", b"x", "ends in none of"),
        ("a.jsonl", b"", "holds no rows"),
        ("a.jsonl", b'{"doc_id": 1}\n{"doc', "line 2 is no JSON"),
        ("a.jsonl", b"[1]\n", "line 1 is no object"),
        ("a.jsonl", b"\xff\xfe", "cannot be read"),
        ("a.json", b"[" * 100_000, "cannot be read"),
        ("a.json", b'"x"', "no list of objects"),
        ("a.json", b'{"x": 1}', "cannot be read"),
        ("a.xlsx", b"PK", "cannot be read"),
        ("a.csv", b'"', "cannot be read"),
        ("a.csv", b"doc_id,answer\n0,x\n", "no column .* holds the scores; there are doc_id, answ"),
        ("a.csv", b"doc_id,hit\n0,7\n", "row 1: hit is '7'"),
        ("a.csv", b"doc_id,hit\n0,nan\n", "row 1: hit is 'nan'"),
        ("a.csv", b"doc_id,hit\n0,\n", "row 1: hit is ''"),
        ("a.csv", b"hit\n0\n", "cannot be told apart"),
        ("a.csv", b"doc_id,hit\n0,1\n0,1\n", "cannot be told apart"),
    ],
)
def test_a_file_that_is_none_is_refused_with_the_reason(
    base, folder, tmp_path, name, content, says
):
    (tmp_path / name).write_bytes(content)
    there = len(store.list_runs(folder))
    with pytest.raises(ValueError, match=says):
        import_evaluation(tmp_path / name, base, "bad", folder)
    assert len(store.list_runs(folder)) == there


def test_a_file_of_other_samples_is_refused(base, folder, tmp_path):
    rows = [{**row, "target": "something else"} for row in rows_of(base)]
    with pytest.raises(ValueError, match="of other samples"):
        import_evaluation(written(tmp_path / "x.jsonl", rows), base, "other", folder)


def test_a_file_that_is_too_large_is_refused_unread(base, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluations, "MOST_BYTES", 10)
    with pytest.raises(ValueError, match="larger than"):
        import_evaluation(written(tmp_path / "l.jsonl", rows_of(base)), base, "large", folder)


@pytest.mark.parametrize("name", ["", "ngd", "x[k=5]", "a\nb", "x" * 61])
def test_a_name_that_tables_could_mistake_is_refused(base, folder, tmp_path, name):
    with pytest.raises(ValueError, match=r"name|strategy"):
        import_evaluation(written(tmp_path / "m.jsonl", rows_of(base)), base, name, folder)


def test_the_same_file_twice_is_one_run(base, folder, tmp_path):
    path = written(tmp_path / "t.jsonl", rows_of(base))
    first, again = (import_evaluation(path, base, "twice", folder) for _ in range(2))
    assert first.run.id == again.run.id
    other = written(tmp_path / "u.jsonl", rows_of(base, lambda i: 1.0))
    assert import_evaluation(other, base, "twice", folder).run.id != first.run.id


def test_analyses_need_not_know_that_a_run_is_anothers(base, folder, tmp_path):
    path = written(tmp_path / "a.jsonl", rows_of(base, lambda i: 1.0))
    done = import_evaluation(path, base, "another", folder).run
    assert variant(done.spec) == "another"
    runs = [base, done]
    table = results_table(runs_table(runs)).set_index(["benchmark", "strategy"])
    assert table.at[("colours", "another"), "accuracy"] == 100
    lead = leads(gather(runs), "another", ["base"])
    assert lead["won"][0] == 10 * (1 - base.figures["accuracy"])


def test_what_is_exported_as_samples_comes_back_the_same(base, folder, tmp_path):
    text = io.StringIO()
    ngd = next(run for run in store.list_runs(folder) if run.spec.strategy == "ngd")
    export_samples(ngd, text)
    first = json.loads(text.getvalue().splitlines()[0])
    assert {"doc_id", "target", "filtered_resps", "resps", "exact_match"} <= {*first}
    (tmp_path / "back.jsonl").write_text(text.getvalue())
    back = import_evaluation(tmp_path / "back.jsonl", base, "back", folder).run.samples()
    for column in ("position", "sample", "answer", "correct", "score", "base_correct", "label"):
        assert back[column].tolist() == ngd.samples()[column].tolist(), column


def test_anothers_results_can_be_sent_on_with_samples_left_out(base, folder, tmp_path):
    path = written(tmp_path / "p.jsonl", rows_of(base)[3:8])
    done = import_evaluation(path, base, "part", folder).run
    export_runs([done], tmp_path / "runs.zip")
    (back,) = import_runs(tmp_path / "runs.zip", tmp_path / "there")
    assert back.run.samples()["position"].tolist() == [3, 4, 5, 6, 7]


def test_the_command_says_what_matched_and_exports_what_lmms_eval_logs(
    base, folder, tmp_path, monkeypatch
):
    monkeypatch.setattr("r2t2.cli.runs_folder", lambda: folder)
    path = written(tmp_path / "c.jsonl", rows_of(base))
    told = ["runs", "import-evaluation", str(path), "--benchmark", "colours", "--as", "by command"]
    done = CliRunner().invoke(app, [*told, "--model", "toy"])
    assert "10 of 10 rows matched by doc_id, scored by exact_match" in done.output
    nowhere = CliRunner().invoke(app, [*told, "--model", "none"])
    assert "no base run of none on colours" in str(nowhere.exception)
    CliRunner().invoke(app, ["runs", "export", base.id, str(tmp_path / "out.jsonl")])
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    assert [json.loads(line)["doc_id"] for line in lines] == list(range(10))
