"""Descent on r against torch's own optimisers and schedulers."""

import pytest
import torch
from scipy.optimize import minimize

from r2t2.rerouting.descent import descend, learning_rate, project
from r2t2.rerouting.settings import PAPER, Setting


@pytest.mark.parametrize("seed", range(5))
def test_the_projection_is_the_nearest_point_of_the_simplex(seed):
    rng = torch.Generator().manual_seed(seed)
    z = torch.randn(6, generator=rng, dtype=torch.float64)
    nearest = minimize(
        lambda r: ((r - z.numpy()) ** 2).sum(),
        [1 / 6] * 6,
        bounds=[(0, None)] * 6,
        constraints={"type": "eq", "fun": lambda r: r.sum() - 1},
        options={"ftol": 1e-15},
    )
    assert torch.allclose(project(z), torch.tensor(nearest.x), atol=1e-6)


def test_a_point_of_the_simplex_is_its_own_projection():
    r = torch.rand(4, 3, 5).softmax(-1)
    assert torch.allclose(project(r), r, atol=1e-6)


def test_the_cosine_schedule_is_torchs():
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([parameter], lr=1e-2)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=9, eta_min=1e-5)
    for step in range(10):
        assert learning_rate(PAPER, step) == pytest.approx(theirs.get_last_lr()[0])
        optimiser.step()
        theirs.step()


def test_the_papers_schedule_goes_from_1e_2_to_1e_5_in_ten_steps():
    assert learning_rate(PAPER, 0) == pytest.approx(1e-2)
    assert learning_rate(PAPER, 9) == pytest.approx(1e-5)


def test_the_step_schedule_falls_by_ten_after_each_third():
    setting = Setting("ngd", schedule="step", steps=9, learning_rate=1.0)
    rates = [learning_rate(setting, step) for step in range(9)]
    assert rates == pytest.approx([1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01])


def _quadratic(goal):
    return lambda r: ((r - goal) ** 2).sum((1, 2))[:, None]


def _run(**options):
    rng = torch.Generator().manual_seed(0)
    r = torch.rand(3, 2, 4, generator=rng).softmax(-1)
    goal = torch.rand(3, 2, 4, generator=rng).softmax(-1)
    setting = Setting("ngd", schedule="constant", **options)
    return r, goal, descend(_quadratic(goal), torch.ones(3, 1), r, setting)


def test_a_plain_step_is_gradient_descent_and_projection():
    r, goal, path = _run(learning_rate=0.3, steps=1)
    assert torch.allclose(path.r[:, 1], project(r - 0.3 * 2 * (r - goal)), atol=1e-6)


def test_adam_on_logits_is_torchs_adam():
    r, goal, path = _run(learning_rate=0.05, steps=6, optimiser="adam", space="logits")
    z = r.log().requires_grad_()
    optimiser = torch.optim.Adam([z], 0.05, betas=(0.9, 0.99))
    for _ in range(6):
        optimiser.zero_grad()
        _quadratic(goal)(z.softmax(-1)).sum().backward()
        optimiser.step()
    assert torch.allclose(path.r[:, -1], z.softmax(-1), atol=1e-5)


@pytest.mark.parametrize("space", ["simplex", "logits"])
@pytest.mark.parametrize("optimiser", ["gradient", "adam"])
def test_every_step_stays_on_the_simplex_and_the_objective_falls(space, optimiser):
    _, _, path = _run(learning_rate=0.05, steps=20, space=space, optimiser=optimiser)
    assert (path.r >= 0).all()
    assert torch.allclose(path.r.sum(-1), torch.ones(3, 21, 2), atol=1e-5)
    assert (path.objective[:, -1] < path.objective[:, 0]).all()


def test_the_objective_of_a_step_is_that_of_its_r():
    _, goal, path = _run(learning_rate=0.1, steps=4)
    for step in range(5):
        expected = _quadratic(goal)(path.r[:, step])[:, 0]
        assert torch.allclose(path.objective[:, step], expected)
    assert torch.allclose(path.losses[:, 1, 0], path.objective[:, -1])
