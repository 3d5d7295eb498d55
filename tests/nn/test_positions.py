"""Sinusoidal and learned positions, relative biases: formulas, positions given, what is refused."""

import math

import numpy as np
import pytest

import tinygrad_attn as ta
from tinygrad_attn import nn
from tinygrad_attn.errors import DTypeError, IndexRangeError, ShapeError

RNG = np.random.default_rng(0)


def random(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


# ---- added to the tokens -------------------------------------------------------------------------


@pytest.mark.parametrize("base", [10000.0, 50.0])
def test_the_waves(base):
    expected = np.zeros((7, 6))
    for p in range(7):
        for i in range(3):
            angle = p / base ** (2 * i / 6)
            expected[p, 2 * i : 2 * i + 2] = math.sin(angle), math.cos(angle)
    x = random(2, 7, 6)
    y = nn.SinusoidalPositions(6, base)(ta.tensor(x))
    assert y.dtype == ta.float32
    np.testing.assert_allclose(y.numpy(), x + expected, atol=1e-6)


def test_waves_at_a_distance_are_a_rotation_that_depends_on_it_alone():
    waves = nn.SinusoidalPositions(8)(ta.zeros(1, 100, 8)).numpy()[0]
    products = waves @ waves.T
    for n in (1, 5, 60):
        line = np.diagonal(products, n)
        np.testing.assert_allclose(line, line[0], rtol=1e-5)


def layers():
    return nn.SinusoidalPositions(4), nn.LearnedPositions(9, 4)


def test_positions_may_be_given_for_all_or_for_each_sequence(device):
    for layer in layers():
        layer.to(device)
        x = ta.tensor(random(2, 3, 4), device=device)
        start = layer(x).cpu().numpy()
        np.testing.assert_array_equal(layer(x, ta.arange(3, device=device)).cpu().numpy(), start)
        rows = ta.tensor([[0, 1, 2], [4, 8, 6]], device=device)
        y = layer(x, rows).cpu().numpy()
        np.testing.assert_array_equal(y[0], start[0])
        np.testing.assert_array_equal(y[1], layer(x[1:], rows[1]).cpu().numpy()[0])
        assert (y[1] != start[1]).any()
        np.testing.assert_array_equal(layer(x[0]).cpu().numpy(), start[0])


def test_learned_positions_are_rows_of_a_table():
    layer, x = nn.LearnedPositions(9, 4), random(2, 3, 4)
    table = layer.weight.numpy()
    np.testing.assert_array_equal(layer(ta.tensor(x)).numpy(), x + table[:3])
    y = layer(ta.tensor(x), [8, 0, 8])
    np.testing.assert_array_equal(y.numpy(), x + table[[8, 0, 8]])
    y.sum().backward()
    np.testing.assert_array_equal(layer.weight.grad.numpy()[:, 0], [2] + [0] * 7 + [4])
    assert list(layer.state_dict()) == ["weight"]


def test_first_vectors_are_small():
    layer = nn.LearnedPositions(100, 50, generator=ta.Generator(0))
    assert abs(layer.weight.numpy().std() - 0.02) < 0.001
    bias = nn.RelativePositionBias(400, generator=ta.Generator(0))
    assert abs(bias.weight.numpy().std() - 0.02) < 0.001
    for again in (layer, bias):
        first = again.weight.numpy().copy()
        again.reset_parameters(ta.Generator(0))
        np.testing.assert_array_equal(again.weight.numpy(), first)


# ---- added to the scores -------------------------------------------------------------------------


def bucket_of(relative, count, max_distance, bidirectional):
    """The bucket of a key ``relative`` after the query, case by case."""
    start = 0
    if bidirectional:
        count //= 2
        start = count if relative > 0 else 0
        distance = abs(relative)
    else:
        distance = max(-relative, 0)
    near = count // 2
    if distance < near:
        return start + distance
    steps = math.log(distance / near) / math.log(max_distance / near) * (count - near)
    return start + min(near + math.floor(steps + 1e-6), count - 1)  # 2.9999999 is 3


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize(("count", "max_distance"), [(32, 128), (8, 20), (64, 1000)])
def test_the_bucket_of_every_distance(count, max_distance, bidirectional):
    layer = nn.RelativePositionBias(2, count, max_distance, bidirectional)
    layer.load_state_dict({"weight": np.arange(2.0 * count).reshape(count, 2)})
    q, k = ta.tensor([1100, 1200]), ta.arange(2300)
    bias = layer(q, k).numpy()
    expected = [
        [bucket_of(s - t, count, max_distance, bidirectional) for s in range(2300)]
        for t in (1100, 1200)
    ]
    assert bias.shape == (2, 2, 2300)
    np.testing.assert_array_equal(bias[0], 2 * np.array(expected))
    np.testing.assert_array_equal(bias[1], bias[0] + 1)
    used = set(np.unique(expected))  # bidirectional: the distance 0 after the query does not occur
    assert used == set(range(count)) - ({count // 2} if bidirectional else set())


def test_biases_depend_on_distances_and_go_into_attention(device):
    layer = nn.RelativePositionBias(2).to(device)
    rows = ta.tensor([[0, 1, 2, 3], [7, 8, 9, 10]], device=device)
    biases = layer(rows)
    assert biases.shape == (2, 2, 4, 4)
    found = biases.cpu().numpy()
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(layer(rows[0], rows[0]).cpu().numpy(), found[0])
    q, k, v = (ta.tensor(random(2, 2, 4, 4), device=device) for _ in range(3))
    y = ta.scaled_dot_product_attention(q, k, v, bias=biases)
    (y * y).sum().backward()
    used = layer.weight.grad.cpu().numpy().any(axis=1)
    np.testing.assert_array_equal(np.flatnonzero(used), [0, 1, 2, 3, 17, 18, 19])


def test_gradients_to_second_order():
    positions = ta.tensor([[0, 2, 5]])
    assert ta.check_module(nn.RelativePositionBias(2, 8, 20), positions)
    x = ta.randn(1, 3, 2, generator=ta.Generator(0))
    assert ta.check_module(nn.LearnedPositions(6, 2), (x, positions))
    assert ta.check_module(nn.SinusoidalPositions(2), (x, positions))


# ---- what is refused -----------------------------------------------------------------------------

X = ta.ones(2, 3, 4)


@pytest.mark.parametrize("layer", layers(), ids=lambda layer: type(layer).__name__)
@pytest.mark.parametrize(
    ("args", "error", "text"),
    [
        ((ta.ones(2, 3, 5),), ShapeError, "x is (2, 3, 5); it must be (batch, length, 4)"),
        ((ta.ones(4),), ShapeError, "x is (4,)"),
        ((X, [0.0, 1.0, 2.0]), DTypeError, "positions are float32; positions are whole numbers"),
        ((X, [0, 1]), ShapeError, "positions are (2,), x is (2, 3, 4); they must be (3,)"),
        ((X, [0]), ShapeError, "positions are (1,)"),
        ((X, [[0] * 3] * 3), ShapeError, "positions are (3, 3)"),
    ],
)
def test_positions_are_checked(layer, args, error, text):
    with pytest.raises(error) as caught:
        layer(*args)
    assert str(caught.value).startswith(type(layer).__name__) and text in str(caught.value)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: nn.LearnedPositions(9, 4)(ta.ones(1, 10, 4)), ShapeError, "vectors for 9 places"),
        (
            lambda: nn.LearnedPositions(9, 4)(X, [0, -1, 2]),
            IndexRangeError,
            "position -1 at index (1,) is outside 0..8 (there are 9 places)",
        ),
        (lambda: nn.LearnedPositions(9, 4)(X, [0, 9, 2]), IndexRangeError, "position 9"),
        (lambda: nn.LearnedPositions(0, 4), ShapeError, "max_length is 0"),
        (lambda: nn.SinusoidalPositions(5), ShapeError, "d_model is 5; sines and cosines come in"),
        (lambda: nn.SinusoidalPositions(4, 0), ShapeError, "base is 0; it must be a positive"),
        (lambda: nn.RelativePositionBias(0), ShapeError, "num_heads is 0"),
        (
            lambda: nn.RelativePositionBias(2, 6),
            ShapeError,
            "num_buckets is 6, max_distance is",
        ),
        (lambda: nn.RelativePositionBias(2, 32, 8), ShapeError, "the second above num_buckets/4"),
        (lambda: nn.RelativePositionBias(2, 7, 9, False), ShapeError, "must be a multiple of 2"),
        (lambda: nn.RelativePositionBias(2)([0.5]), DTypeError, "q_positions are float32"),
        (lambda: nn.RelativePositionBias(2)([0], 3), ShapeError, "k_positions are ()"),
    ],
)
def test_what_is_refused(call, error, text):
    with pytest.raises(error) as caught:
        call()
    assert text in str(caught.value)
