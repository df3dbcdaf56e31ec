"""Neighbour search against scikit-learn's exact one."""

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from r2t2.rerouting.neighbours import MOST_IN_BALL, Index
from r2t2.rerouting.settings import Setting


@pytest.fixture(scope="module")
def vectors():
    rng = np.random.default_rng(0)
    v = rng.standard_normal((200, 16)).astype(np.float32)
    return v / np.linalg.norm(v, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def index(vectors):
    return Index(vectors, [f"s{i}" for i in range(200)], ["ab"[i % 2] for i in range(200)])


def _others(n):
    return [f"test{i}" for i in range(n)], ["a"] * n


def test_the_k_nearest_are_scikit_learns(index, vectors):
    queries = vectors[:5] + 0.05
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    distance, expected = NearestNeighbors(n_neighbors=7).fit(vectors).kneighbors(queries)
    found = index.search(queries, Setting("ngd", k=7), *_others(5))
    np.testing.assert_array_equal(found.index.numpy(), expected)
    np.testing.assert_allclose(found.distance.numpy(), distance, atol=1e-3)


def test_the_ball_is_scikit_learns(index, vectors):
    setting = Setting("ngd", neighbourhood="ball", epsilon=1.1)
    found = index.search(vectors[:8], setting, *_others(8))
    expected = NearestNeighbors(radius=1.1).fit(vectors).radius_neighbors(vectors[:8])[1]
    for row, there, wanted in zip(found.index, found.present, expected, strict=True):
        assert set(row[there].tolist()) == set(wanted.tolist())


def test_a_ball_keeps_the_nearest_when_it_holds_too_many(index, vectors):
    setting = Setting("ngd", neighbourhood="ball", epsilon=2.0)
    found = index.search(vectors[:1], setting, *_others(1))
    assert found.present.sum() == MOST_IN_BALL
    assert found.index[0, 0] == 0
    assert (found.distance[0].diff() >= -1e-5).all()


def test_an_empty_ball_has_no_weights(index, vectors):
    setting = Setting("ngd", neighbourhood="ball", epsilon=0.01)
    found = index.search(-vectors[:1], setting, *_others(1))
    assert not found.present.any()
    assert found.weights.sum() == 0


@pytest.mark.parametrize("neighbourhood", ["nearest", "ball", "random", "same_type"])
def test_a_sample_is_never_its_own_neighbour(index, vectors, neighbourhood):
    setting = Setting("ngd", k=100, neighbourhood=neighbourhood, epsilon=1.2)
    found = index.search(vectors[:4], setting, [f"s{i}" for i in range(4)], list("abab"))
    for i in range(4):
        assert i not in found.index[i][found.present[i]].tolist()


def test_same_type_neighbours_are_of_the_samples_type(index, vectors):
    setting = Setting("ngd", neighbourhood="same_type", k=20)
    found = index.search(vectors[:2], setting, ["x", "y"], ["a", "b"])
    assert set((found.index[0] % 2).tolist()) == {0}
    assert set((found.index[1] % 2).tolist()) == {1}


def test_random_neighbours_depend_on_the_sample_and_not_on_its_batch(index, vectors):
    setting = Setting("ngd", neighbourhood="random")
    together = index.search(vectors[:2], setting, ["x", "y"], ["a", "a"])
    alone = index.search(vectors[1:2], setting, ["y"], ["a"])
    assert together.index[1].tolist() == alone.index[0].tolist()
    assert together.index[0].tolist() != together.index[1].tolist()


def test_routing_space_is_searched_by_euclidean_distance():
    r = np.array([[0.0, 1.0], [0.5, 0.5], [1.0, 0.0]], np.float32)
    index = Index(r, ["a", "b", "c"], ["", "", ""], metric="l2")
    found = index.search(
        np.array([[0.9, 0.1]], np.float32), Setting("mode_finding", k=2), ["q"], [""]
    )
    assert found.index.tolist() == [[2, 1]]


@pytest.fixture(scope="module")
def many():
    """Vectors that lie in clumps, as questions do."""
    rng = np.random.default_rng(1)
    v = rng.standard_normal((50, 1, 16)) + 0.5 * rng.standard_normal((50, 100, 16))
    v = v.reshape(-1, 16).astype(np.float32)
    return v / np.linalg.norm(v, axis=1, keepdims=True)


@pytest.mark.parametrize("metric", ["inner_product", "l2"])
@pytest.mark.parametrize("neighbourhood", ["nearest", "ball"])
def test_approximate_search_finds_most_of_what_exact_search_does(many, metric, neighbourhood):
    setting = Setting("ngd", neighbourhood=neighbourhood, k=10, epsilon=0.5)
    ids, groups = [f"s{i}" for i in range(len(many))], [""] * len(many)
    asked = many[::50], ids[::50], groups[::50]
    found = [
        Index(many, ids, groups, metric, exact=exact).search(asked[0], setting, *asked[1:])
        for exact in (True, False, False)
    ]
    rows = [[set(i[p].tolist()) for i, p in zip(f.index, f.present, strict=True)] for f in found]
    share = [len(a & b) / max(1, len(a)) for a, b in zip(rows[0], rows[1], strict=True) if a]
    assert 0.8 < np.mean(share) <= 1
    assert rows[1] == rows[2]
    for i, row in enumerate(rows[1]):
        assert 50 * i not in row
    assert (found[1].distance[found[1].present] <= 2).all()


def test_lists_with_fewer_references_than_were_asked_for_give_those_that_they_hold(many):
    few = many[:40]
    index = Index(few, [f"s{i}" for i in range(40)], [""] * 40, exact=False)
    found = index.search(few[:2], Setting("ngd", k=100), ["x", "y"], ["", ""])
    assert 0 < found.present.sum() < 80
    assert (found.index[found.present] >= 0).all()
