"""Runs that travel as one file, and files from people who mean no good."""

import hashlib
import io
import json
import os
import stat
import subprocess
import sys
import warnings
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from r2t2.rerouting.settings import Setting
from r2t2.runs import archive
from r2t2.runs.identity import RunSpec
from r2t2.runs.store import DamagedRun, Run, UnreadableRun, list_runs
from tests.runs import toy

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run worth sending: neighbours, losses, and every step."""
    return toy.run(tmp_path_factory.mktemp("sender"))


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The folder that runs are imported into; files are unpacked in this process, to be fast."""
    monkeypatch.setattr(archive, "_apart", archive.unpack)
    return tmp_path / "cache" / "runs"


@pytest.fixture
def everything(tmp_path):
    """All that lies in a test's own folder, to see what an import wrote where."""
    return lambda: {
        path.relative_to(tmp_path).as_posix()
        for path in tmp_path.rglob("*")
        if path.is_file() and path.name != ".import.lock"
    }


def entries(run, folder=None):
    """The names and contents of a run's archive."""
    return {
        f"{folder or run.spec.folder}/{name}": (run.folder / name).read_bytes()
        for name in archive.FILES
    }


def zipped(path, contents, compression=zipfile.ZIP_STORED):
    """A zip file of names, or `ZipInfo`s, and contents."""
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", compression) as file:
        warnings.simplefilter("ignore")  # of names that are there twice
        for name, content in contents:
            file.writestr(name, content)
    return path


def lying(run, to, change=lambda manifest: None, spec=None, **tables):
    """An archive of a run with another manifest, spec or tables, whose checksums are right."""
    contents = entries(run)
    manifest = json.loads(json.dumps(run.manifest))
    for name, table in tables.items():
        buffer = io.BytesIO()
        pq.write_table(table, buffer, compression="zstd", store_schema=False)
        contents[f"{run.spec.folder}/{name}.parquet"] = buffer.getvalue()
        checksum = hashlib.sha256(buffer.getvalue()).hexdigest()
        manifest["shards"][0]["files"][f"{name}.parquet"] = checksum
    if spec:
        manifest["spec"] |= spec
        manifest["id"] = RunSpec(**manifest["spec"]).id
    change(manifest)
    contents[f"{run.spec.folder}/manifest.json"] = json.dumps(manifest).encode()
    return zipped(to, contents.items())


def test_an_exported_run_is_the_same_in_another_cache(run, here, tmp_path):
    archive.export_runs([run], tmp_path / "one.zip")
    (imported,) = archive.import_runs(tmp_path / "one.zip", here)
    assert imported.added
    (found,) = list_runs(here)
    assert found.folder.name == run.folder.name
    assert found.samples().equals(run.samples())
    assert found.steps().equals(run.steps())
    assert found.manifest == {**run.manifest, "imported": found.manifest["imported"]}
    assert not [path for path in here.iterdir() if path.name == ".import"]


def test_the_same_runs_make_the_same_file(run, tmp_path):
    for name in ("a.zip", "b.zip"):
        archive.export_runs([run], tmp_path / name)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


@pytest.mark.parametrize("trace", ["ends", "none"])
@pytest.mark.parametrize("algorithm", ["base", "mode_finding", "kernel_regression", "oracle"])
def test_every_kind_of_run_can_travel(tmp_path, here, algorithm, trace):
    run = toy.run(tmp_path / "sender", Setting(algorithm, k=2, steps=2), algorithm, trace=trace)
    archive.export_runs([run], tmp_path / "one.zip")
    (imported,) = archive.import_runs(tmp_path / "one.zip", here)
    assert imported.run.samples().equals(run.samples())


def test_a_neighbourhood_that_leaves_neighbours_out_can_travel(tmp_path, here):
    near = replace(toy.NGD, neighbourhood="ball", epsilon=0.01, bandwidth="median")
    archive.export_runs([toy.run(tmp_path / "sender", near)], tmp_path / "one.zip")
    assert archive.import_runs(tmp_path / "one.zip", here)[0].added


def test_several_runs_travel_in_one_file(run, tmp_path, here):
    other = toy.run(tmp_path / "sender", Setting("base"), "base")
    archive.export_runs([run, other], tmp_path / "two.zip")
    assert [one.added for one in archive.import_runs(tmp_path / "two.zip", here)] == [True, True]
    assert {one.id for one in list_runs(here)} == {run.id, other.id}


def test_a_run_that_is_there_stays_as_it_is(run, tmp_path, here):
    there = toy.run(here)
    before = {path: path.stat().st_mtime_ns for path in there.folder.iterdir()}
    archive.export_runs([run], tmp_path / "one.zip")
    (imported,) = archive.import_runs(tmp_path / "one.zip", here)
    assert not imported.added
    assert imported.run.folder == there.folder
    assert {path: path.stat().st_mtime_ns for path in there.folder.iterdir()} == before


def test_what_stands_in_the_way_is_not_overwritten(run, tmp_path, here):
    place = here / run.spec.folder
    place.mkdir(parents=True)
    (place / "notes.txt").write_text("mine")
    archive.export_runs([run], tmp_path / "one.zip")
    with pytest.raises(ValueError, match="in the way"):
        archive.import_runs(tmp_path / "one.zip", here)
    assert [path.name for path in place.iterdir()] == ["notes.txt"]


def test_the_file_does_not_say_what_the_folder_is_called(run, tmp_path, here):
    zipped(tmp_path / "one.zip", entries(run, "colours-base-0-0000000000").items())
    archive.import_runs(tmp_path / "one.zip", here)
    assert [path.folder.name for path in list_runs(here)] == [run.spec.folder]


def test_what_a_crash_left_behind_is_no_run_and_is_cleared_away(run, tmp_path, here):
    (here / ".import" / "00000").mkdir(parents=True)
    assert list_runs(here) == []
    archive.export_runs([run], tmp_path / "one.zip")
    archive.import_runs(tmp_path / "one.zip", here)
    assert not (here / ".import").exists()


def test_an_unfinished_or_damaged_run_is_not_exported(run, tmp_path):
    asked = iter(range(2))
    unfinished = toy.run(tmp_path / "a", cancelled=lambda: next(asked) == 1)
    with pytest.raises(ValueError, match="4 of 10"):
        archive.export_runs([unfinished], tmp_path / "a.zip")
    damaged = toy.run(tmp_path / "b")
    (damaged.folder / "steps.parquet").write_bytes(b"")
    with pytest.raises(DamagedRun, match=r"steps\.parquet"):
        archive.export_runs([damaged], tmp_path / "b.zip")


def entry(name, kind=0, compression=zipfile.ZIP_STORED):
    info = zipfile.ZipInfo(name)
    info.external_attr = (kind | 0o777) << 16
    info.compress_type = compression
    return info


# What is put into an otherwise good archive -> what is said of it.
INTRUDERS = {
    "parent": ([("../../evil/manifest.json", b"{}")], "no file of a run"),
    "parent in between": ([("a/../../manifest.json", b"{}")], "no file of a run"),
    "one up": ([("../manifest.json", b"{}")], "no file of a run"),
    "absolute": ([("/etc/manifest.json", b"{}")], "no file of a run"),
    "drive": ([("C:\\evil\\manifest.json", b"{}")], "no file of a run"),
    "top level": ([("manifest.json", b"{}")], "no file of a run"),
    "program": ([("a/run.py", b"import os")], "no file of a run"),
    "folder": ([("a/", b"")], "no file of a run"),
    "link": ([(entry("a/manifest.json", stat.S_IFLNK), b"/etc/passwd")], "no file of a run"),
    "device": ([(entry("a/manifest.json", stat.S_IFCHR), b"")], "no file of a run"),
    "lzma": (
        [(entry("a/manifest.json", compression=zipfile.ZIP_LZMA), b"{}")],
        "encrypted or oddly compressed",
    ),
    "bomb": (
        [(entry("a/steps.parquet", compression=zipfile.ZIP_DEFLATED), bytes(2**22))],
        "would be 4,194,304 bytes",
    ),
    "large manifest": ([("a/manifest.json", b" " * (2**20 + 1))], "would be 1,048,577 bytes"),
    "half a run": ([("a/manifest.json", b"{}")], "lacks samples.parquet, steps.parquet"),
}


@pytest.mark.parametrize("intruder", INTRUDERS)
def test_a_zip_file_with_anything_odd_is_refused_whole(run, tmp_path, here, everything, intruder):
    more, says = INTRUDERS[intruder]
    path = zipped(tmp_path / "bad.zip", [*entries(run).items(), *more])
    before = everything()
    with pytest.raises(ValueError, match=says):
        archive.import_runs(path, here)
    assert everything() == before


def test_a_name_that_is_there_twice_is_refused(run, tmp_path, here):
    contents = entries(run)
    path = zipped(tmp_path / "bad.zip", [*contents.items(), *contents.items()])
    with pytest.raises(ValueError, match="twice"):
        archive.import_runs(path, here)


def test_a_run_that_is_there_twice_is_refused(run, tmp_path, here):
    path = zipped(tmp_path / "bad.zip", [*entries(run, "a").items(), *entries(run, "b").items()])
    with pytest.raises(ValueError, match="b: it is there twice"):
        archive.import_runs(path, here)


def test_an_encrypted_file_is_refused(run, tmp_path, here):
    path = tmp_path / "bad.zip"
    archive.export_runs([run], path)
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match="encrypted"):
        archive.import_runs(path, here)


@pytest.mark.parametrize("most", ["MOST_RUNS", "MOST_BYTES_IN_ALL"])
def test_there_is_a_limit_to_all_files_together(run, tmp_path, here, monkeypatch, most):
    monkeypatch.setattr(archive, most, 0)
    archive.export_runs([run], tmp_path / "one.zip")
    with pytest.raises(ValueError, match=r"it holds|it would be"):
        archive.import_runs(tmp_path / "one.zip", here)


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "no zip"), (b"PK\x03\x04 and more", "no zip"), (b"\x89PNG\r\n", "no zip")],
)
def test_a_file_that_is_no_archive_is_refused(tmp_path, here, content, says):
    (tmp_path / "bad.zip").write_bytes(content)
    with pytest.raises(ValueError, match=says):
        archive.import_runs(tmp_path / "bad.zip", here)


def test_an_empty_archive_is_refused(tmp_path, here):
    with pytest.raises(ValueError, match="no run"):
        archive.import_runs(zipped(tmp_path / "bad.zip", []), here)


def test_a_truncated_archive_is_refused(run, tmp_path, here):
    archive.export_runs([run], tmp_path / "one.zip")
    whole = (tmp_path / "one.zip").read_bytes()
    (tmp_path / "one.zip").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="no zip"):
        archive.import_runs(tmp_path / "one.zip", here)


def test_bytes_that_changed_on_the_way_are_refused(run, tmp_path, here):
    contents = entries(run)
    name = f"{run.spec.folder}/samples.parquet"
    contents[name] = contents[name][:-50] + bytes(50)
    with pytest.raises(ValueError, match=r"samples\.parquet is not what its manifest says"):
        archive.import_runs(zipped(tmp_path / "bad.zip", contents.items()), here)


def nested(manifest):
    manifest["spec"]["setting"]["k"] = [[]]


def nowhere(manifest):
    manifest["spec"]["benchmark"] = "../../elsewhere"


def elsewhere(manifest):
    files = manifest["shards"][0]["files"]
    files["../samples.parquet"] = files.pop("samples.parquet")


def numbered(manifest):
    files = manifest["shards"][0]["files"]
    files["samples-00000.parquet"] = files.pop("samples.parquet")


def fewer(manifest):
    manifest["shards"][0]["rows"] -= 1


def running(manifest):
    manifest["status"] = "running"
    for name in ("figures", "timings", "finished"):
        del manifest[name]


LIES = {
    "another id": (lambda m: m.update(id="0" * 16), "id is not that of its spec"),
    "another path": (nowhere, "id is not that of its spec"),
    "a nested option": (nested, "neither a text nor a number"),
    "a file elsewhere": (elsewhere, "names the files"),
    "a shard's file": (numbered, "not complete"),
    "fewer rows": (fewer, "fewer rows"),
    "unfinished": (running, "not complete"),
    "better": (lambda m: m["figures"].update(accuracy=1.0), "figures are not those"),
    "more figures": (lambda m: m["figures"].update(fame=1.0), "figures are not those"),
    "no timings": (lambda m: m.pop("timings"), "timings"),
    "no time": (lambda m: m["timings"].update(wall_seconds=float("inf")), "no time"),
    "no peak": (lambda m: m["timings"].update(peak_memory="<b>"), "no number of bytes"),
    "no device": (lambda m: m.update(device=3), "no texts"),
    "no date": (lambda m: m.update(finished="<b>now</b>"), "isoformat"),
    "no experts": (lambda m: m["sites"][0].update(experts=[]), "same name"),
    "twin experts": (lambda m: m["sites"][0].update(experts=["a", "a", "b"]), "same name"),
    "twin sites": (lambda m: m["sites"][0].update(name="high"), "same name"),
    "other experts": (lambda m: [s.update(experts=["x", "y", "z"]) for s in m["sites"]], "expert"),
    "one site": (lambda m: m["sites"].pop(), "routing weights are not those of its sites"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_manifest_that_lies_is_refused(run, tmp_path, here, everything, lie):
    change, says = LIES[lie]
    path = lying(run, tmp_path / "bad.zip", change)
    before = everything()
    with pytest.raises(ValueError, match=says):
        archive.import_runs(path, here)
    assert everything() == before


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"size": 2**40}, "none of this program's"),
        ({"seed": -1}, "none of this program's"),
        ({"trace": "some"}, "none of this program's"),
        ({"trace": "none"}, "as many steps"),
        ({"strategy": "x" * 1000}, "longer than"),
        ({"benchmark": ""}, "empty"),
        ({"setting": {"algorithm": "ngd", "k": "3"}}, "k '3'"),
        ({"setting": {"algorithm": "ngd", "k": 3.5}}, "k 3.5"),
        ({"setting": {"algorithm": "ngd", "eval": "1"}}, "eval"),
        ({"setting": {"algorithm": "magic"}}, "algorithm"),
        ({"setting": {"algorithm": "base", "k": 3}}, "does not use"),
        ({"setting": {**toy.NGD.options, "k": 3000}}, "between 1 and 100"),
    ],
)
def test_a_spec_that_this_program_cannot_have_made_is_refused(run, tmp_path, here, spec, says):
    path = lying(run, tmp_path / "bad.zip", spec=spec)
    with pytest.raises(ValueError, match=says):
        archive.import_runs(path, here)


def put(table, name, values):
    """A table with another column."""
    place = table.schema.get_field_index(name)
    column = pa.array(values, table.schema.field(name).type)
    return table.set_column(place, table.schema.field(name), column)


def without(values, place):
    return [None if i == place else value for i, value in enumerate(values)]


SAMPLES = {
    "other positions": (lambda t: put(t, "position", range(1, 11)), "from 0 on"),
    "twice the same": (lambda t: put(t, "position", [0, *range(9)]), "from 0 on"),
    "a missing text": (lambda t: put(t, "answer", without(t["answer"].to_pylist(), 3)), "missing"),
    "a missing number": (
        lambda t: put(t, "neighbours", [[None, 1, 2], *t["neighbours"].to_pylist()[1:]]),
        "missing",
    ),
    "other answers": (
        lambda t: put(put(t, "correct", [True] * 10), "score", [1.0] * 10),
        "figures are not those",
    ),
    "right without a score": (lambda t: put(t, "score", [0.0] * 10), "scores are not those"),
    "a score too high": (lambda t: put(t, "score", [1.5] * 10), "between 0 and 1"),
    "no score": (lambda t: put(t, "score", [float("nan")] * 10), "between 0 and 1"),
    "an unknown metric": (lambda t: put(t, "metric", ["<b>"] * 10), "there is no metric"),
    "unknown experts": (lambda t: put(t, "top1_after", ["<script>"] * 10), "expert"),
    "odd lists": (lambda t: put(t, "neighbour_weight", [[0.5]] * 10), "more neighbours"),
    "odd losses": (lambda t: put(t, "neighbour_loss_after", [[]] * 10), "more neighbours"),
    "fewer samples": (lambda t: t.slice(0, 9), "from 0 on"),
    "another type": (
        lambda t: t.set_column(0, "position", t["position"].cast(pa.int64())),
        "columns are another version's",
    ),
    "another column": (lambda t: t.append_column("more", t["answer"]), "another version's"),
    "bytes for texts": (
        lambda t: t.set_column(3, "label", t["label"].cast(pa.binary())),
        "another version's",
    ),
}
STEPS = {
    "fewer steps": (lambda t: t.slice(0, 39), "as many steps"),
    "no steps": (lambda t: t.slice(0, 0), "as many steps"),
    "more steps than there can be": (lambda t: pa.concat_tables([t] * 26), "would be 1,040 rows"),
    "other samples": (lambda t: put(t, "position", [0] * 40), "not those of its samples"),
    "other steps": (lambda t: put(t, "step", range(40)), "different steps"),
    "steps before the first": (lambda t: put(t, "step", [-1, 0, 1, 2] * 10), "different steps"),
    "odd weights": (lambda t: put(t, "r", [[0.5]] * 40), "routing weights"),
    "unknown experts": (lambda t: put(t, "top1", ["d"] * 40), "expert"),
}


@pytest.mark.parametrize(
    ("name", "table"),
    [("samples", table) for table in SAMPLES] + [("steps", table) for table in STEPS],
)
def test_a_table_that_this_program_cannot_have_written_is_refused(run, tmp_path, here, name, table):
    change, says = {"samples": SAMPLES, "steps": STEPS}[name][table]
    path = lying(run, tmp_path / "bad.zip", **{name: change(run.read(name))})
    with pytest.raises(ValueError, match=says):
        archive.import_runs(path, here)


def test_a_text_that_is_no_text_is_refused(run, tmp_path, here):
    samples = run.read("samples").combine_chunks()
    broken = pa.array([b"\xff\xfe"] * 10, pa.binary()).view(pa.string())
    path = lying(run, tmp_path / "bad.zip", samples=samples.set_column(5, "answer", broken))
    with pytest.raises(ValueError, match="UTF8"):
        archive.import_runs(path, here)


def test_a_table_that_would_fill_the_memory_is_refused(run, tmp_path, here, monkeypatch):
    monkeypatch.setattr(archive, "MOST_BYTES_OF_TABLE", 2**20)
    long = pa.array(["x" * 500_000] * 10)
    path = lying(run, tmp_path / "bad.zip", samples=put(run.read("samples"), "answer", long))
    with pytest.raises(ValueError, match="holds 5,"):
        archive.import_runs(path, here)


def test_what_a_file_tells_pandas_is_not_obeyed(run, tmp_path, here):
    told = {"index_columns": ["position"], "column_indexes": [], "columns": []}
    hostile = run.read("samples").replace_schema_metadata({"pandas": json.dumps(told)})
    archive.import_runs(lying(run, tmp_path / "odd.zip", samples=hostile), here)
    assert "position" in list_runs(here)[0].samples().columns


def test_texts_of_a_run_come_in_as_they_were_typed(run, tmp_path, here):
    typed = "<img src=x onerror=alert(1)> **bold** $x^2$ 漢字"
    samples = put(run.read("samples"), "answer", [typed] * 10)
    archive.import_runs(lying(run, tmp_path / "odd.zip", samples=samples), here)
    assert set(list_runs(here)[0].samples()["answer"]) == {typed}


def test_a_file_is_read_in_a_process_of_its_own(run, tmp_path):
    folder = tmp_path / "runs"
    archive.export_runs([run], tmp_path / "one.zip")
    assert [one.added for one in archive.import_runs(tmp_path / "one.zip", folder)] == [True]
    (tmp_path / "bad.zip").write_bytes(b"PK")
    with pytest.raises(ValueError, match="not imported: it is no zip file"):
        archive.import_runs(tmp_path / "bad.zip", folder)


@pytest.mark.skipif(sys.platform != "linux", reason="only there is memory limited by addresses")
def test_a_table_that_needs_more_memory_than_there_is_stops_its_own_process_alone(run, tmp_path):
    # A dictionary makes a long text, however often it is repeated, a few bytes.
    long = pa.array(["x" * 2**27])
    repeated = pa.DictionaryArray.from_arrays(pa.array(np.zeros(40, np.int32)), long)
    steps = run.read("steps")
    steps = steps.set_column(steps.schema.get_field_index("answer"), "answer", repeated)
    path = lying(run, tmp_path / "bad.zip", steps=steps)
    assert path.stat().st_size < 2**20
    with pytest.raises(ValueError, match=r"memory|malloc"):
        archive.import_runs(path, tmp_path / "runs")


def test_an_import_that_is_killed_leaves_the_cache_as_it_was(run, tmp_path):
    folder = tmp_path / "runs"
    archive.export_runs([run], tmp_path / "one.zip")
    program = f"""
import os
from pathlib import Path
from r2t2.runs import archive
archive._apart = archive.unpack
os.rename = lambda *paths: os.kill(os.getpid(), 9)
archive.import_runs(Path({str(tmp_path / "one.zip")!r}), Path({str(folder)!r}))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env={**os.environ})
    assert done.returncode == -9
    assert list_runs(folder) == []
    assert archive.import_runs(tmp_path / "one.zip", folder)[0].added
    with pytest.raises(UnreadableRun):
        Run.load(folder / ".import" / "00000")
