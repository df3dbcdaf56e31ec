"""The reference set: what it keeps, and what it refuses."""

import dataclasses
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from r2t2 import reference
from r2t2.data import world
from r2t2.embedders import embed
from r2t2.reference import ReferenceSet


@pytest.fixture(scope="module")
def folder(engine, tmp_path_factory):
    path = tmp_path_factory.mktemp("reference")
    reference.build(engine.model, world.dataset("reference").head(40), 0).save(path)
    return path


def test_it_comes_back_as_it_was_saved(engine, folder):
    built = reference.build(engine.model, world.dataset("reference").head(40), 0)
    loaded = ReferenceSet.load(folder, engine.model)
    assert loaded.fingerprint == built.fingerprint
    assert np.array_equal(loaded.r, built.r)


def test_only_samples_answered_correctly_are_kept_for_the_strategies(engine, folder):
    loaded = ReferenceSet.load(folder, engine.model)
    assert loaded.manifest["kept"] == len(loaded.correct)
    assert loaded.manifest["kept"] + loaded.manifest["dropped"] == 40
    for row in loaded.correct.table.itertuples():
        assert row.answer == row.label
    assert len(loaded.correct.r) == len(loaded.correct)


def test_embeddings_are_unit_vectors_of_the_questions(engine, folder):
    loaded = ReferenceSet.load(folder, engine.model)
    np.testing.assert_allclose(np.linalg.norm(loaded.embeddings, axis=1), 1, atol=1e-5)
    expected = embed(loaded.table["question"][:3].tolist())
    np.testing.assert_allclose(loaded.embeddings[:3], expected, atol=1e-6)


def test_search_is_exact_up_to_a_size_and_approximate_beyond(folder, monkeypatch):
    assert ReferenceSet.read(folder, "mini").exact
    monkeypatch.setattr(reference, "EXACT_UP_TO", 10)
    loaded = ReferenceSet.read(folder, "mini")
    assert not loaded.exact
    kinds = {type(index._index).__name__ for index in (loaded.by_question, loaded.by_routing)}
    assert kinds == {"IndexIVFFlat"}


def test_a_missing_set_says_how_to_build_one(engine, tmp_path):
    with pytest.raises(FileNotFoundError, match="reference build"):
        ReferenceSet.load(tmp_path, engine.model)


def test_a_set_is_read_without_its_model_and_without_torch(folder):
    code = (
        "import sys; from pathlib import Path; from r2t2.reference import ReferenceSet; "
        "print(ReferenceSet.read(Path(sys.argv[1]), '').fingerprint, 'torch' in sys.modules)"
    )
    told = subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True
    )
    assert told.stdout.split() == [ReferenceSet.read(folder, "").fingerprint, "False"]


def test_a_manifest_without_what_it_was_built_from_is_refused(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "half")
    manifest = json.loads((tmp_path / "half" / "manifest.json").read_text())
    del manifest["dataset"]
    (tmp_path / "half" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="do not fit together"):
        ReferenceSet.read(tmp_path / "half", "mini")


def test_another_models_set_is_refused(engine, folder, tmp_path):
    shutil.copytree(folder, tmp_path / "other")
    manifest = json.loads((tmp_path / "other" / "manifest.json").read_text())
    manifest["model_fingerprint"] = "0" * 16
    (tmp_path / "other" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="another model's"):
        ReferenceSet.load(tmp_path / "other", engine.model)


@pytest.mark.parametrize("name", ["samples.parquet", "tensors.safetensors", "manifest.json"])
def test_a_truncated_file_is_refused(engine, folder, tmp_path, name):
    shutil.copytree(folder, tmp_path / "cut")
    whole = (tmp_path / "cut" / name).read_bytes()
    (tmp_path / "cut" / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="damaged"):
        ReferenceSet.load(tmp_path / "cut", engine.model)


def test_a_set_without_a_correct_answer_is_refused(engine):
    never = world.Dataset(
        "never",
        3,
        lambda i: dataclasses.replace(world.dataset("reading")[i], label="7", choices=()),
    )
    with pytest.raises(ValueError, match="none of the 3 samples"):
        reference.build(engine.model, never, 0)


def test_the_shipped_set_belongs_to_the_shipped_model(engine):
    assert engine.reference.manifest["model_fingerprint"] == engine.model.fingerprint
    assert len(engine.reference) == len(world.dataset("reference"))
