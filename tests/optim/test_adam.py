"""Adam and AdamW against their formulas and against PyTorch's figures."""

import numpy as np
import pytest

import tinygrad_attn as ta
from tests.optim.figures import check_figures
from tinygrad_attn import nn, optim
from tinygrad_attn.errors import DTypeError, ShapeError

# after six steps of p = (0.5, -1, 2) along the gradients sin(t + i), by PyTorch 2.13
FIGURES = [
    (optim.Adam, {}, [0.4974544101378499, -1.0028672231927847, 1.9989563328069393]),
    (
        optim.Adam,
        {"lr": 0.01, "weight_decay": 0.1, "betas": (0.8, 0.9), "eps": 1e-3},
        [0.46479139195882935, -1.0198853811080026, 1.9809784963330794],
    ),
    (optim.AdamW, {"lr": 0.01}, [0.47425153111392165, -1.0280603775065378, 1.9883708764824513]),
    (
        optim.AdamW,
        {"lr": 0.01, "weight_decay": 0.3, "betas": (0.8, 0.9)},
        [0.4679525382093243, -1.006127659056474, 1.9572047644309536],
    ),
]


@pytest.mark.parametrize(("kind", "options", "expected"), FIGURES)
def test_pytorch_comes_to_the_same(kind, options, expected):
    check_figures(kind, options, expected)


@pytest.mark.parametrize("kind", [optim.Adam, optim.AdamW])
def test_the_formula(kind):
    rng = np.random.default_rng(0)
    start = rng.standard_normal((4, 5)).astype(np.float32)
    p = nn.Parameter(start)
    optimizer = kind([p], lr=0.05, betas=(0.7, 0.8), eps=1e-6, weight_decay=0.2)
    expected, m, v = start.astype(float), 0.0, 0.0
    for t in range(1, 8):
        g = rng.standard_normal((4, 5)).astype(np.float32)
        p.grad = ta.tensor(g)
        optimizer.step()
        if kind is optim.AdamW:
            expected = expected * (1 - 0.05 * 0.2)
        else:
            g = g + 0.2 * expected
        m, v = 0.7 * m + 0.3 * g, 0.8 * v + 0.2 * g**2
        unbiased, spread = m / (1 - 0.7**t), np.sqrt(v / (1 - 0.8**t))
        expected = expected - 0.05 * unbiased / (spread + 1e-6)
    np.testing.assert_allclose(p.numpy(), expected, rtol=1e-5, atol=1e-6)


def test_the_first_step_is_as_long_as_the_rate_whatever_the_gradient():
    for size in (1e-4, 1.0, 1e6):
        p = nn.Parameter([0.0, 0.0])
        p.grad = ta.tensor([size, -size])
        optim.Adam([p], lr=0.1).step()
        np.testing.assert_allclose(p.numpy(), [-0.1, 0.1], rtol=1e-3)


def test_steps_are_counted_for_each_parameter():
    early, late = nn.Parameter([0.0]), nn.Parameter([0.0])
    optimizer = optim.Adam([early, late], lr=0.1)
    for step in range(5):
        early.grad = ta.ones(1)
        late.grad = ta.ones(1) if step == 4 else None
        optimizer.step()
    assert [optimizer.state[i]["step"] for i in (0, 1)] == [5, 1]
    np.testing.assert_allclose(late.numpy(), [-0.1], rtol=1e-5)


def test_decoupled_decay_does_not_depend_on_the_gradient():
    for size in (0.0, 1e-3, 1e3):
        p = nn.Parameter([2.0])
        p.grad = ta.tensor([size])
        still = nn.Parameter([2.0])
        still.grad = ta.tensor([size])
        optim.AdamW([p], lr=0.1, weight_decay=0.5).step()
        optim.AdamW([still], lr=0.1, weight_decay=0.0).step()
        np.testing.assert_allclose(p.numpy() - still.numpy(), [-0.1], rtol=1e-4)


def test_the_default_decay_is_pytorchs():
    p = nn.Parameter([1.0])
    assert optim.AdamW([p]).param_groups[0]["weight_decay"] == 0.01
    assert optim.Adam([p]).param_groups[0]["weight_decay"] == 0.0


@pytest.mark.parametrize("kind", [optim.Adam, optim.AdamW])
@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"betas": (0.9, 1.0)}, ShapeError, r"betas are \(0\.9, 1\.0\); each must be in 0\.\.1"),
        ({"betas": (-0.1, 0.9)}, ShapeError, r"beta is -0\.1; it must not be negative"),
        ({"betas": 0.9}, DTypeError, r"betas is 0\.9; it must be two numbers"),
        ({"betas": (0.9, "x")}, DTypeError, "beta is 'x'; it must be a number"),
        ({"eps": -1e-8}, ShapeError, "eps is -1e-08; it must not be negative"),
        ({"weight_decay": -1}, ShapeError, "weight_decay is -1; it must not be negative"),
    ],
)
def test_options_are_checked(kind, options, error, text):
    with pytest.raises(error, match=f"{kind.__name__}: {text}"):
        kind([nn.Parameter([1.0])], **options)
