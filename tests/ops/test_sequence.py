"""Convolution and pooling at their edges, against plain loops; directions of length 0."""

import numpy as np
import pytest

import tinygrad_attn as ta
from tinygrad_attn.backend import dtypes
from tinygrad_attn.ops.sequence import _overlap_add, _windows

RNG = np.random.default_rng(0)
INF, NAN = float("inf"), float("nan")


def random(*shape):
    return ta.tensor(RNG.normal(size=shape), requires_grad=True)


def test_a_convolution_turns_nothing_round():
    x, taps = ta.tensor([[1.0, 2.0, 4.0, 8.0]]), ta.tensor([[[1.0, 10.0]]])
    assert ta.conv1d(x, taps).tolist() == [[21, 42, 84]]
    assert ta.conv1d(x, taps, ta.tensor([0.5])).tolist() == [[21.5, 42.5, 84.5]]
    assert ta.conv1d(x, taps, stride=2).tolist() == [[21, 84]]
    assert ta.conv1d(x, taps, dilation=2).tolist() == [[41, 82]]
    assert ta.conv1d(x, taps, padding=1).tolist() == [[10, 21, 42, 84, 8]]


@pytest.mark.parametrize(("size", "dilation"), [(1, 1), (2, 1), (3, 2), (4, 3)])
def test_same_padding_keeps_the_length_with_the_odd_zero_at_the_end(size, dilation):
    x, weight = random(2, 3, 12), random(4, 3, size)
    total = dilation * (size - 1)
    padded = ta.pad(x, ((0, 0), (0, 0), (total // 2, total - total // 2)))
    y = ta.conv1d(x, weight, padding="same", dilation=dilation)
    assert y.shape == (2, 4, 12)
    np.testing.assert_allclose(y.numpy(), ta.conv1d(padded, weight, dilation=dilation).numpy())


def test_groups_are_convolutions_side_by_side():
    x, weight, bias = random(2, 6, 9), random(4, 3, 2), random(4)
    y = ta.conv1d(x, weight, bias, groups=2)
    halves = [
        ta.conv1d(x[:, 3 * i : 3 * i + 3], weight[2 * i : 2 * i + 2], bias[2 * i : 2 * i + 2])
        for i in range(2)
    ]
    np.testing.assert_allclose(y.numpy(), ta.concatenate(halves, axis=1).numpy())


def test_a_sequence_may_come_without_a_batch():
    x, weight = random(3, 8), random(2, 3, 4)
    for op in (
        lambda x: ta.conv1d(x, weight),
        lambda x: ta.max_pool1d(x, 2),
        lambda x: ta.avg_pool1d(x, 2),
    ):
        np.testing.assert_array_equal(op(x).numpy(), op(x[None])[0].numpy())


def test_windows_and_overlap_add_are_transposes():
    """⟨windows(x), w⟩ = ⟨x, overlap_add(w)⟩, also where windows overlap and leave gaps."""
    for size, stride, dilation in [(3, 1, 1), (2, 3, 1), (2, 2, 3), (1, 4, 1)]:
        x = random(2, 3, 9)
        seen = _windows(x, size, stride, dilation)
        w = random(*seen.shape)
        back = _overlap_add(w, 9, stride, dilation)
        assert (seen * w).sum().item() == pytest.approx((x * back).sum().item())


def test_third_derivatives():
    def loss(x, weight):
        return ta.exp(ta.conv1d(x, weight, stride=2, padding=1)).sum()

    report = ta.gradcheck(loss, (random(1, 2, 4), random(1, 2, 3)), order=3)
    assert report, report


def test_the_first_of_equal_elements_gets_the_gradient_of_the_largest():
    x = ta.tensor([[1.0, 1.0, 1.0, 0.0]], requires_grad=True)
    assert ta.grad(ta.max_pool1d(x, 2).sum(), x).tolist() == [[1, 0, 1, 0]]
    assert ta.grad(ta.max_pool1d(x, 2, stride=1).sum(), x).tolist() == [[1, 1, 1, 0]]


def test_padding_is_never_the_largest():
    assert ta.max_pool1d(ta.tensor([[-3.0, -2.0]]), 2, padding=1).tolist() == [[-3, -2]]


def test_infinities_and_nans_pass_through_a_pooling():
    x = ta.tensor([[-INF, -INF, INF, 1.0, NAN, 2.0]])
    np.testing.assert_array_equal(ta.max_pool1d(x, 2).numpy(), [[-INF, INF, NAN]])
    np.testing.assert_array_equal(ta.avg_pool1d(x, 2).numpy(), [[-INF, INF, NAN]])


def test_the_padding_counts_as_elements_of_a_mean_unless_told_otherwise():
    x = ta.tensor([[4.0, 4.0, 4.0]])
    assert ta.avg_pool1d(x, 2, padding=1).tolist() == [[2, 4]]
    assert ta.avg_pool1d(x, 2, padding=1, count_include_pad=False).tolist() == [[4, 4]]


def test_dtypes():
    half = ta.ones(1, 1, 4, dtype=ta.float16)
    results = [ta.conv1d(half, half), ta.max_pool1d(half, 2), ta.avg_pool1d(half, 2)]
    results += [ta.avg_pool1d(half, 2, count_include_pad=False), ta.normalize(half)]
    assert {y.dtype for y in results} == {ta.float16}
    whole = ta.tensor([[1, 2, 3]])
    assert ta.conv1d(whole, ta.tensor([[[1, 1]]])).dtype == ta.int64
    assert ta.max_pool1d(whole, 2).dtype == ta.avg_pool1d(whole, 2).dtype == ta.float32


def test_an_empty_batch_is_no_error():
    assert ta.conv1d(ta.zeros(0, 2, 5), ta.zeros(3, 2, 2)).shape == (0, 3, 4)
    assert ta.max_pool1d(ta.zeros(0, 2, 5), 2).shape == (0, 2, 2)


def test_what_has_no_length_has_no_direction():
    zero = ta.zeros(1, 3, requires_grad=True)
    assert ta.normalize(zero).tolist() == [[0, 0, 0]]
    assert ta.cosine_similarity(zero, ta.ones(1, 3)).tolist() == [0]
    (slope,) = ta.grad(ta.cosine_similarity(zero, ta.ones(1, 3)).sum(), [zero])
    np.testing.assert_allclose(slope.numpy(), 1e8 / np.sqrt(3), rtol=1e-5)


def test_lengths_do_not_change_a_cosine():
    a = ta.tensor([[3.0, 4.0], [1.0, 0.0], [1.0, 1.0]])
    b = ta.tensor([[6.0, 8.0], [0.0, 2.0], [-3.0, -3.0]])
    np.testing.assert_allclose(ta.cosine_similarity(a, b).numpy(), [1, 0, -1], atol=1e-7)
    assert ta.cosine_similarity(ta.ones(4, 1, 3), ta.ones(5, 3), axis=-1).shape == (4, 5)


X, W = np.ones((2, 4, 6)), np.ones((4, 4, 3))


@pytest.mark.parametrize(
    ("error", "fn", "args", "message"),
    [
        (ta.ShapeError, ta.conv1d, (X[None], W), "conv1d: x is (1, 2, 4, 6); it must be (batch, "),
        (
            ta.ShapeError,
            ta.conv1d,
            (X[:, :3], W),
            "x.shape[-2] must equal weight.shape[1]·groups = 4",
        ),
        (ta.ShapeError, ta.conv1d, (X, W[0]), "weight is (4, 3); weight must be (out, in / groups"),
        (ta.ShapeError, ta.conv1d, (X, W[..., :0]), "weight is (4, 4, 0); weight must be"),
        (ta.ShapeError, ta.conv1d, (X, W[:3], None, 1, 0, 1, 2), "a multiple of groups=2"),
        (ta.ShapeError, ta.conv1d, (X, W, X), "bias is (2, 4, 6); bias must be (4,)"),
        (ta.ShapeError, ta.conv1d, (X, W, None, 0), "conv1d: stride is 0; it must be at least 1"),
        (ta.DTypeError, ta.conv1d, (X, W, None, 1.5), "conv1d: stride is 1.5; it must be a whole"),
        (
            ta.ShapeError,
            ta.conv1d,
            (X, W, None, 1, -1),
            "conv1d: padding is -1; it must be 0 or more",
        ),
        (ta.ShapeError, ta.conv1d, (X, W, None, 1, "full"), "padding is 'full'; it must be 0 or"),
        (ta.ShapeError, ta.conv1d, (X, W, None, 2, "same"), "only stride 1 keeps the length"),
        (
            ta.ShapeError,
            ta.conv1d,
            (X, W, None, 1, 0, 3),
            "a window of 7 does not fit into x (2, 4, 6), 6 long with its padding; use a smaller "
            "window, or more padding",
        ),
        (ta.ShapeError, ta.max_pool1d, (X, 7), "max_pool1d: a window of 7 does not fit into x"),
        (ta.ShapeError, ta.max_pool1d, (X, 3, 1, 2), "padding is 2; it must be in 0..1, half of 3"),
        (ta.ShapeError, ta.avg_pool1d, (X[0, 0], 3), "avg_pool1d: x is (6,); it must be"),
        (ta.ShapeError, ta.avg_pool1d, (X, 0), "avg_pool1d: kernel_size is 0"),
        (ta.ShapeError, ta.normalize, (X[0, 0],), "normalize: axis 1 is out of range"),
        (ta.ShapeError, ta.cosine_similarity, (X, X[:, :3]), "shapes do not broadcast"),
    ],
)
def test_what_does_not_fit_is_refused(error, fn, args, message):
    with pytest.raises(error) as caught:
        fn(*args)
    assert message in str(caught.value)


@pytest.mark.parametrize("dtype", [d for d in (ta.float16, dtypes.bfloat16) if d is not None])
def test_windows_that_overlap_add_up_in_float32(dtype):
    """An element in the middle is in 1,000 windows; bfloat16 counts no further than 256."""
    x = ta.ones(1, 1, 3000, dtype=dtype).requires_grad_()
    middle = slice(1000, 2000)
    g = ta.grad(ta.conv1d(x, ta.ones(1, 1, 1000, dtype=dtype)).sum(), x)
    assert g.dtype == dtype
    np.testing.assert_allclose(g.astype(ta.float64).numpy()[0, 0, middle], 1000, rtol=4e-3)
    g = ta.grad(ta.avg_pool1d(x, 1000, 1).sum(), x)
    np.testing.assert_allclose(g.astype(ta.float64).numpy()[0, 0, middle], 1, rtol=4e-3)
