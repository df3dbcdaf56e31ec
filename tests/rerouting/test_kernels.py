"""The kernels against scikit-learn's."""

import numpy as np
import pytest
import torch
from sklearn.gaussian_process.kernels import Matern
from sklearn.metrics.pairwise import linear_kernel, polynomial_kernel, rbf_kernel

from r2t2.rerouting.kernels import KERNELS, weights

H = 0.7
REFERENCE = {
    "gaussian": lambda x, y: rbf_kernel(x, y, gamma=1 / (2 * H**2)),
    "matern": lambda x, y: Matern(length_scale=H, nu=1.5)(x, y),
    "polynomial": lambda x, y: polynomial_kernel(x, y, degree=3, gamma=1 / H**2, coef0=1),
    "linear": linear_kernel,
}


@pytest.mark.parametrize("name", KERNELS)
def test_a_kernel_equals_scikit_learns(name):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((6, 9)), rng.standard_normal((6, 4, 9))
    ours = KERNELS[name](torch.tensor(x), torch.tensor(y), torch.full((6,), H, dtype=torch.float64))
    theirs = np.concatenate([REFERENCE[name](a[None], b) for a, b in zip(x, y, strict=True)])
    np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-9)


def test_every_kernel_of_the_settings_is_compared():
    assert set(REFERENCE) == set(KERNELS)


def _case(present):
    x = torch.zeros(1, 2)
    neighbours = torch.tensor([[[1.0, 0], [0, 2], [0, 4]]])
    return x, neighbours, torch.tensor([present])


def test_weights_sum_to_one_over_those_present():
    w = weights("gaussian", *_case([True, True, False]), 1.0)
    assert w[0, 2] == 0
    assert w.sum() == pytest.approx(1)
    assert w[0, 0] / w[0, 1] == pytest.approx(np.exp(-0.5) / np.exp(-2))


def test_the_median_bandwidth_is_the_median_of_the_neighbours_distances():
    by_median = weights("gaussian", *_case([True, True, True]), "median")
    assert torch.allclose(by_median, weights("gaussian", *_case([True, True, True]), 2.0))


def test_neighbours_out_of_a_kernels_reach_count_equally():
    w = weights("gaussian", *_case([True, True, False]), 1e-3)
    assert w.tolist() == [[0.5, 0.5, 0]]


def test_a_sample_without_neighbours_has_no_weights():
    assert weights("gaussian", *_case([False, False, False]), "median").sum() == 0


def test_negative_kernel_values_count_as_zero():
    x, y = torch.tensor([[1.0, 0]]), torch.tensor([[[-1.0, 0], [1, 0]]])
    w = weights("linear", x, y, torch.ones(1, 2, dtype=torch.bool), 1.0)
    assert w.tolist() == [[0, 1]]
