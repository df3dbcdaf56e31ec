"""The plane in which points of a high-dimensional space differ most."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class Plane:
    """The first two principal axes of some points.

    Parameters
    ----------
    mean : of the points.
    axes : unit vectors; the largest entry of each is positive, so that a plane has one picture.
    explained : the shares of the points' variance along the axes.
    """

    mean: Float[np.ndarray, " dimensions"]
    axes: Float[np.ndarray, "2 dimensions"]
    explained: Float[np.ndarray, "2"]

    def __call__(
        self, points: Float[np.ndarray, "*rows dimensions"]
    ) -> Float[np.ndarray, "*rows 2"]:
        """Where points lie on the plane, whether or not it was fitted to them."""
        return (points - self.mean) @ self.axes.T


def fit(points: Float[np.ndarray, "rows dimensions"]) -> Plane:
    """Principal component analysis, by a singular value decomposition.

    Where the points span less than a plane, the axes beyond are zero and explain nothing.
    """
    points = np.asarray(points, np.float64)
    mean = points.mean(0)
    _, lengths, axes = np.linalg.svd(points - mean, full_matrices=False)
    count = min(2, len(axes))
    kept, explained = np.zeros((2, points.shape[1])), np.zeros(2)
    kept[:count] = axes[:count]
    # What rounding leaves of points that are all the same is no direction.
    kept[:count][lengths[:count] < 1e-9] = 0
    squares = lengths**2
    explained[:count] = squares[:count] / max(float(squares.sum()), 1e-18)
    largest = np.abs(kept).argmax(1)
    signs = np.where(kept[[0, 1], largest] < 0, -1.0, 1.0)
    return Plane(mean, kept * signs[:, None], explained)
