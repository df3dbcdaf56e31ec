"""The plane of principal components, against scikit-learn's."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from r2t2.analysis.projection import fit

POINTS = np.random.default_rng(0).normal(size=(60, 7)) * [5, 3, 1, 1, 1, 0.5, 0.1] + 2


def test_points_lie_where_scikit_learn_puts_them_but_for_the_sign():
    theirs = PCA(2).fit_transform(POINTS)
    assert np.abs(fit(POINTS)(POINTS)) == pytest.approx(np.abs(theirs), abs=1e-9)


def test_the_axes_explain_what_scikit_learn_says():
    assert fit(POINTS).explained == pytest.approx(PCA(2).fit(POINTS).explained_variance_ratio_)


def test_points_that_were_not_fitted_are_put_on_the_same_plane():
    other = POINTS[:3] + 1
    theirs = PCA(2).fit(POINTS).transform(other)
    assert np.abs(fit(POINTS)(other)) == pytest.approx(np.abs(theirs), abs=1e-9)


def test_a_plane_does_not_turn_over_when_the_points_come_in_another_order():
    shuffled = np.random.default_rng(1).permutation(POINTS)
    assert fit(shuffled).axes == pytest.approx(fit(POINTS).axes, abs=1e-9)


@pytest.mark.parametrize(
    "points", [np.ones((5, 3)), np.ones((1, 3)), np.arange(4.0)[:, None]], ids=str
)
def test_points_that_span_no_plane_are_still_drawn(points):
    plane = fit(points)
    assert np.isfinite(plane(points)).all()
    assert plane.explained[1] == 0
