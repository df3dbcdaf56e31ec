"""Maps: the same ones whenever they are made, whole or not there, and told by more than colour."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import PCA

from r2t2.analysis import maps
from r2t2.figures.maps import OTHER, scatter
from r2t2.figures.style import MUTED, expert_colours
from r2t2.paths import reference_folder
from r2t2.reference import ReferenceSet
from r2t2.sites import Site

EXPERTS = ("A", "B")


def clusters(each: int = 12) -> np.ndarray:
    rng = np.random.default_rng(0)
    middles = 20 * np.eye(3, 8)
    return np.concatenate([middle + rng.normal(size=(each, 8)) for middle in middles])


def stored(folder, size: int = 30) -> ReferenceSet:
    rng = np.random.default_rng(1)
    table = pd.DataFrame({"position": range(size), "question": "q", "correct": True})
    built = {"model": "m", "model_fingerprint": "f", "embedder": "e", "dataset": "d", "seed": 0}
    embeddings = rng.normal(size=(size, 6)).astype(np.float32)
    r = rng.dirichlet([1, 1], size=(size, 3)).astype(np.float32)
    references = ReferenceSet(built, table, embeddings, r)
    references.save(folder)
    return references


def test_pca_is_the_plane_of_most_variance():
    vectors = clusters()
    points = maps.project(vectors, "pca")
    fitted = PCA(2).fit(vectors)
    np.testing.assert_allclose(np.abs(points), np.abs(fitted.transform(vectors)), atol=1e-4)
    assert points.attrs["explained"] == pytest.approx(fitted.explained_variance_ratio_, abs=1e-4)


def test_t_sne_puts_like_beside_like_and_the_same_every_time(capsys):
    done = []
    points = maps.project(clusters(), "t-sne", done.append)
    apart = np.linalg.norm(points.to_numpy()[:, None] - points.to_numpy(), axis=-1)
    np.fill_diagonal(apart, np.inf)
    assert np.array_equal(apart.argmin(1) // 12, np.arange(36) // 12)
    assert done == sorted(done)
    assert done[-1] == 1
    assert len(done) > 5
    assert capsys.readouterr().out == ""
    assert points.equals(maps.project(clusters(), "t-sne"))


@pytest.mark.parametrize("method", maps.METHODS)
def test_a_handful_of_vectors_has_a_map(method):
    assert maps.project(clusters()[:5], method).notna().all(axis=None)


@pytest.mark.parametrize("space", maps.SPACES)
def test_a_map_comes_back_as_it_was_kept(tmp_path, space):
    references = stored(tmp_path)
    path = maps.keep(tmp_path, space, "pca")
    assert path == maps.file(tmp_path, references.fingerprint, space, "pca")
    found = maps.read(path)
    assert found.equals(maps.project(maps.vectors(references, space), "pca"))
    assert len(found.attrs["explained"]) == 2


def test_a_map_of_another_set_is_another_file(tmp_path):
    assert maps.file(tmp_path, "a", "questions", "pca") != maps.file(
        tmp_path, "b", "questions", "pca"
    )


def test_keeping_a_map_leaves_the_set_as_it_was(tmp_path):
    before = stored(tmp_path).fingerprint
    maps.keep(tmp_path, "routings", "pca")
    assert ReferenceSet.read(tmp_path, "m").fingerprint == before


@pytest.mark.parametrize("content", [None, b"", b"PAR1 but no more"])
def test_a_map_that_cannot_be_read_is_none(tmp_path, content):
    path = tmp_path / "map.parquet"
    if content is not None:
        path.write_bytes(content)
    assert maps.read(path) is None


def test_a_process_of_its_own_tells_how_far_it_is(tmp_path):
    references = stored(tmp_path)
    command = [sys.executable, "-m", "r2t2.analysis.maps", str(tmp_path), "questions", "t-sne"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert [float(line) for line in told][-1] == 1
    assert len(told) > 5
    assert maps.file(tmp_path, references.fingerprint, "questions", "t-sne").exists()


def test_the_top_1_expert_is_the_models_own():
    import torch

    from r2t2 import contract

    sites = (Site("one", ("A", "B", "C")), Site("two", ("C", "A")))
    r = np.random.default_rng(0).dirichlet([1, 1, 1], size=(200, 2)).astype(np.float32)
    r[:, 1, 2] = 0
    expected = np.array(["A", "B", "C"])[contract.top1(torch.from_numpy(r), sites).numpy()]
    assert np.array_equal(maps.top1(r, sites), expected)


@pytest.mark.parametrize("space", maps.SPACES)
@pytest.mark.parametrize("method", maps.METHODS)
def test_the_maps_that_ship_are_those_of_the_set_that_ships(space, method):
    folder = reference_folder("mini-reference-wordllama")
    references = ReferenceSet.read(folder, "mini")
    found = maps.read(maps.file(folder, references.fingerprint, space, method))
    assert found is not None
    assert len(found) == len(references)


def points(size: int = 40) -> pd.DataFrame:
    place = np.arange(size)
    return pd.DataFrame(
        {
            "x": place,
            "y": place,
            "position": place,
            "question": "<b>which</b>",
            "label": [f"l{i % 12}" for i in place],
            "answer": "yes",
            "category": np.where(place < size / 2, "one", "two"),
            "expert": np.where(place < size / 4, "B", "A"),
            "correct": place % 3 == 0,
            "loss": place / size,
        }
    )


def figure(by: str, rows: pd.DataFrame | None = None, **changes):
    rows = points() if rows is None else rows
    return scatter(rows, by, EXPERTS, **{"shown": set(rows["position"]), **changes})


def test_experts_have_their_own_colours():
    colours = {trace.name: trace.marker.color for trace in figure("top-1 expert").data}
    assert colours == expert_colours(EXPERTS)


def test_right_and_wrong_are_told_by_more_than_colour():
    right, wrong = figure("right or wrong").data
    assert right.name == "✓ right"
    assert wrong.name == "✗ wrong"
    assert right.marker.symbol != wrong.marker.symbol


def test_the_less_frequent_labels_are_grey_below_the_others():
    first, *named = figure("label").data
    assert first.name == f"{OTHER} (2)"
    assert first.marker.color == MUTED
    assert len(named) == 10


def test_every_sample_is_one_point_whatever_the_colour():
    for by in ("type", "label", "loss", "answer"):
        positions = np.concatenate([trace.customdata[:, 0] for trace in figure(by).data])
        assert sorted(positions) == list(range(40))


def test_what_the_filters_leave_out_stays_faint_and_cannot_be_picked():
    rest, *_ = figure("type", shown={1, 2, 3}).data
    assert len(rest.x) == 37
    assert rest.hoverinfo == "skip"
    assert rest.customdata is None


def test_what_was_searched_for_is_ringed():
    *_, ring = figure("type", lit=[4, 7]).data
    assert list(ring.x) == [4, 7]
    assert ring.marker.symbol == "circle-open"


def test_a_selection_stays_when_the_colours_change():
    for by in ("type", "right or wrong"):
        chosen = [
            trace.customdata[list(trace.selectedpoints), 0]
            for trace in figure(by, selected=[3, 30]).data
        ]
        assert sorted(np.concatenate(chosen)) == [3, 30]
    assert figure("type").data[0].selectedpoints is None


@pytest.mark.parametrize(("size", "kind"), [(40, "scatter"), (2001, "scattergl")])
def test_many_points_are_drawn_by_webgl(size, kind):
    assert {trace.type for trace in figure("type", points(size)).data} == {kind}


def test_html_in_a_question_shows_as_typed():
    assert figure("type").data[0].customdata[0][1] == "&lt;b&gt;which&lt;/b&gt;"
