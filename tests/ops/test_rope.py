"""rope: what turning does to dot products, positions of sequences, dtypes, and what is refused.

The values and the derivatives are in the table ``cases_rope.py``.
"""

import math

import numpy as np
import pytest

import tinygrad_attn as ta
from tinygrad_attn.errors import DeviceError, DTypeError, ShapeError

RNG = np.random.default_rng(0)


def random(*shape, dtype=np.float64):
    return ta.tensor(RNG.standard_normal(shape).astype(dtype))


OPTIONS = [
    {},
    {"interleaved": True},
    {"dims": 4},
    {"theta": 100.0},
    {"scaling": ("linear", 8)},
    {"scaling": ("ntk", 8.0)},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_scores_depend_on_distances_only(options):
    q, k = random(2, 3, 5, 8), random(2, 3, 7, 8)

    def scores(shift):
        turned_q = ta.rope(q, ta.arange(5) + shift, **options)
        return turned_q @ ta.rope(k, ta.arange(7) + shift, **options).mT

    here = scores(0).numpy()
    for shift in (1, 1000, 10**6, -3):
        np.testing.assert_allclose(scores(shift).numpy(), here, atol=1e-8)
    assert np.abs(here - (q @ k.mT).numpy()).max() > 0.1


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_lengths_stay_and_turning_back_undoes_it(options):
    x, positions = random(4, 8), ta.tensor([0, 3, 50, 7])
    y = ta.rope(x, positions, **options)
    np.testing.assert_array_equal(y.numpy()[0], x.numpy()[0])  # at position 0 nothing turns
    np.testing.assert_allclose((y * y).sum(axis=-1).numpy(), (x * x).sum(axis=-1).numpy())
    np.testing.assert_allclose(ta.rope(y, -positions, **options).numpy(), x.numpy(), atol=1e-12)


def test_attention_over_a_shifted_sequence_is_the_same():
    q, k, v = (random(1, 2, 6, 8, dtype=np.float32) for _ in range(3))
    ys = [
        ta.scaled_dot_product_attention(
            ta.rope(q, ta.arange(6) + shift), ta.rope(k, ta.arange(6) + shift), v, causal=True
        ).numpy()
        for shift in (0, 4000)
    ]
    np.testing.assert_allclose(*ys, atol=1e-5)


def test_each_sequence_may_have_positions_of_its_own():
    x = random(2, 3, 4, 6)
    rows = [[0, 1, 2, 3], [5, 6, 7, 9]]
    y = ta.rope(x, rows).numpy()
    for b, row in enumerate(rows):
        np.testing.assert_array_equal(y[b], ta.rope(x[b], row).numpy())
    np.testing.assert_array_equal(ta.rope(x[:, 0], rows).numpy(), y[:, 0])
    np.testing.assert_array_equal(ta.rope(x, rows[:1]).numpy(), ta.rope(x, rows[0]).numpy())


def test_dimensions_beyond_dims_stay():
    x = random(3, 8)
    y = ta.rope(x, [1, 2, 3], dims=4).numpy()
    np.testing.assert_array_equal(y[:, 4:], x.numpy()[:, 4:])
    np.testing.assert_array_equal(y[:, :4], ta.rope(x[:, :4], [1, 2, 3]).numpy())


def test_scaling_reaches_a_longer_context():
    """Linear: 4 positions for one. NTK: the slowest plane as if linear, the fastest as it was."""
    x = ta.tensor([[1.0, 1.0, 1.0, 0.0, 0.0, 0.0]], dtype=ta.float64)  # three planes at angle 0

    def angles(p, **options):
        y = ta.rope(x, [p], **options).numpy()[0]
        return np.arctan2(y[3:], y[:3])

    np.testing.assert_allclose(angles(2, scaling=("linear", 4)), angles(2) / 4)
    ratios = angles(2) / angles(2, scaling=("ntk", 4))
    np.testing.assert_allclose(ratios, [1, 2, 4])


@pytest.mark.parametrize("dtype", [ta.float16, ta.float32, ta.float64])
def test_dtypes_stay_and_far_positions_are_as_good_as_near_ones(dtype):
    x = random(1, 64).astype(dtype)
    x.requires_grad_()
    y = ta.rope(x, [10**6])
    y.sum().backward()
    assert y.dtype == x.grad.dtype == dtype
    exact = ta.rope(x.detach().astype(ta.float64), [10**6]).numpy()
    np.testing.assert_allclose(y.numpy(), exact, atol=3 * float(np.finfo(dtype).eps))


def test_whole_numbers_are_turned_as_floats_and_any_integers_are_positions(device):
    x = ta.tensor([[1, 0]], device=device)
    for dtype in (ta.uint8, ta.int16, ta.int64):
        y = ta.rope(x, ta.tensor([2], dtype=dtype, device=device))
        assert y.dtype == ta.float32 and y.device == x.device
        np.testing.assert_allclose(y.cpu().numpy(), [[math.cos(2), math.sin(2)]], rtol=1e-6)


def test_two_devices_are_refused():
    with pytest.raises(DeviceError, match=r'rope: x is on "cpu", positions is on "standin:0"'):
        ta.rope(ta.ones(3, 4), ta.arange(3, device="standin"))


X = ta.ones(2, 3, 5, 8)


@pytest.mark.parametrize(
    ("positions", "options", "error", "text"),
    [
        ([0.0] * 5, {}, DTypeError, "rope: positions are float32; positions are whole numbers"),
        ([True] * 5, {}, DTypeError, "positions are bool"),
        ([0, 1], {}, ShapeError, "positions are (2,), x is (2, 3, 5, 8); they must be (5,)"),
        (3, {}, ShapeError, "positions are ()"),
        ([[0] * 5] * 3, {}, ShapeError, "positions are (3, 5)"),
        ([[[[0] * 5] * 3] * 2], {}, ShapeError, "positions are (1, 2, 3, 5)"),
        ([0] * 5, {"dims": 3}, ShapeError, "x is (2, 3, 5, 8) and 3 dimensions are to turn"),
        ([0] * 5, {"dims": 10}, ShapeError, "an even number from 2 to the width 8"),
        ([0] * 5, {"dims": 0}, ShapeError, "0 dimensions"),
        ([0] * 5, {"dims": 2.0}, DTypeError, "dims is 2.0; it must be a whole number"),
        ([0] * 5, {"theta": 0}, ShapeError, "theta is 0; it must be a positive number"),
        ([0] * 5, {"theta": math.inf}, ShapeError, "theta is inf"),
        ([0] * 5, {"scaling": "linear"}, ShapeError, "scaling is 'linear'"),
        ([0] * 5, {"scaling": ("yarn", 2.0)}, ShapeError, 'None, ("linear", c) or ("ntk", c)'),
        ([0] * 5, {"scaling": ("ntk", -1.0)}, ShapeError, "with c positive"),
        ([0] * 5, {"scaling": ("ntk", 2.0), "dims": 2}, ShapeError, "at least 4 dims"),
    ],
)
def test_what_is_refused(positions, options, error, text):
    with pytest.raises(error) as caught:
        ta.rope(X, positions, **options)
    assert str(caught.value).startswith("rope: ") and text in str(caught.value)


def test_widths_turn_in_pairs_and_need_a_length():
    with pytest.raises(ShapeError, match="7 dimensions are to turn; they turn in pairs"):
        ta.rope(ta.ones(5, 7), ta.arange(5))
    with pytest.raises(ShapeError, match=r"x is \(8,\); it must be \(..., length, width\)"):
        ta.rope(ta.ones(8), [0])
