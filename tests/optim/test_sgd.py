"""SGD against its formula and against PyTorch's figures."""

import numpy as np
import pytest

import tinygrad_attn as ta
from tests.optim.figures import check_figures
from tinygrad_attn import nn, optim
from tinygrad_attn.errors import ShapeError

# after six steps of p = (0.5, -1, 2) along the gradients sin(t + i), by PyTorch 2.13
FIGURES = [
    ({"lr": 0.1}, [0.4823838350277621, -0.9896746151523453, 2.0287738234565658]),
    (
        {"lr": 0.1, "weight_decay": 0.1},
        [0.45866437176347435, -0.9254935454887628, 1.9123111996525903],
    ),
    (
        {"lr": 0.1, "momentum": 0.9},
        [0.044143211316562445, -1.3999457249674392, 2.0236735938394133],
    ),
    (
        {"lr": 0.1, "momentum": 0.9, "dampening": 0.5, "weight_decay": 0.1},
        [0.22246277998086944, -1.2715498131634062, 1.58884953020003],
    ),
    (
        {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
        [0.06574608120227389, -1.3210869927563533, 2.0087751408827854],
    ),
]


@pytest.mark.parametrize(("options", "expected"), FIGURES, ids=str)
def test_pytorch_comes_to_the_same(options, expected):
    check_figures(optim.SGD, options, expected)


@pytest.mark.parametrize("nesterov", [False, True])
def test_the_formula(nesterov):
    rng = np.random.default_rng(0)
    expected = rng.standard_normal((4, 5)).astype(np.float32)
    p = nn.Parameter(expected)
    optimizer = optim.SGD([p], lr=0.2, momentum=0.8, weight_decay=0.1, nesterov=nesterov)
    expected, b = expected.astype(float), None
    for _ in range(5):
        g = rng.standard_normal((4, 5)).astype(np.float32)
        p.grad = ta.tensor(g)
        optimizer.step()
        g = g + 0.1 * expected
        b = g if b is None else 0.8 * b + g
        expected = expected - 0.2 * (g + 0.8 * b if nesterov else b)
    np.testing.assert_allclose(p.numpy(), expected, rtol=1e-5, atol=1e-6)


def test_plain_descent_remembers_nothing():
    p = nn.Parameter([1.0, 2.0])
    optimizer = optim.SGD([p], lr=0.5)
    p.grad = ta.ones(2)
    optimizer.step()
    assert p.tolist() == [0.5, 1.5] and optimizer.state_dict()["state"] == {}


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"momentum": -0.1}, r"SGD: momentum is -0\.1; it must not be negative"),
        ({"weight_decay": -1}, "SGD: weight_decay is -1; it must not be negative"),
        ({"nesterov": True}, "nesterov needs a positive momentum and a dampening of 0"),
        ({"nesterov": True, "momentum": 0.9, "dampening": 0.1}, r"dampening is 0\.1; nesterov"),
    ],
)
def test_options_are_checked(options, text):
    with pytest.raises(ShapeError, match=text):
        optim.SGD([nn.Parameter([1.0])], **options)
