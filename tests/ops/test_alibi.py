"""alibi_bias: the slopes of the paper, distances by position, and what is refused."""

import numpy as np
import pytest

import tinygrad_attn as ta
from tinygrad_attn.errors import DTypeError, ShapeError

SLOPES = {  # as the paper's authors give them
    1: [2**-8],
    2: [2**-4, 2**-8],
    3: [2**-4, 2**-8, 2**-2],
    6: [2**-2, 2**-4, 2**-6, 2**-8, 2**-1, 2**-3],
    8: [2**-h for h in range(1, 9)],
    12: [2**-h for h in range(1, 9)] + [2 ** -(h + 0.5) for h in range(4)],
}


@pytest.mark.parametrize("heads", SLOPES)
def test_slopes(heads):
    bias = ta.alibi_bias(heads, [1], [0], dtype=ta.float64).numpy()
    np.testing.assert_allclose(-bias[:, 0, 0], SLOPES[heads], rtol=1e-12)


def test_biases_fall_with_the_distance_on_both_sides(device):
    q = ta.tensor([4, 7], device=device)
    bias = ta.alibi_bias(2, q, ta.arange(9, device=device))
    assert bias.shape == (2, 2, 9) and bias.dtype == ta.float32 and bias.device == q.device
    distance = np.abs(np.array([[4], [7]]) - np.arange(9))
    np.testing.assert_array_equal(bias.cpu().numpy()[0], -distance / 16)
    np.testing.assert_array_equal(bias.cpu().numpy()[1], -distance / 256)


def test_each_sequence_may_have_positions_of_its_own():
    q, k = np.array([[3], [5]]), np.array([[0, 1, 2, 3], [2, 3, 4, 5]])
    bias = ta.alibi_bias(4, q, k).numpy()
    assert bias.shape == (2, 4, 1, 4)
    np.testing.assert_array_equal(bias[0], bias[1])
    np.testing.assert_array_equal(ta.alibi_bias(4, [3], k).numpy()[0], bias[0])
    np.testing.assert_array_equal(
        ta.alibi_bias(4, ta.arange(3)).numpy(), ta.alibi_bias(4, [0, 1, 2], [0, 1, 2]).numpy()
    )


def test_attention_with_it_depends_on_distances_only():
    rng = np.random.default_rng(0)
    q, k, v = (ta.tensor(rng.standard_normal((2, 3, 6, 4))) for _ in range(3))
    ys = [
        ta.scaled_dot_product_attention(
            q, k, v, causal=True, bias=ta.alibi_bias(3, ta.arange(6) + shift)
        ).numpy()
        for shift in (0, 100)
    ]
    np.testing.assert_array_equal(*ys)
    plain = ta.scaled_dot_product_attention(q, k, v, causal=True).numpy()
    assert np.abs(ys[0] - plain)[..., 1:, :].max() > 1e-3


def test_beyond_the_range_of_float16_nothing_is_left():
    bias = ta.alibi_bias(2, [10**7], [0], dtype=ta.float16)
    assert bias.dtype == ta.float16 and bias[0].item() == -np.inf


@pytest.mark.parametrize(
    ("args", "options", "error", "text"),
    [
        ((0, [0]), {}, ShapeError, "heads is 0; it must be at least 1"),
        ((2.0, [0]), {}, DTypeError, "heads is 2.0; it must be a whole number"),
        ((2, [0.5]), {}, DTypeError, "q_positions are float32; positions are whole numbers"),
        ((2, [0], [0.5]), {}, DTypeError, "k_positions are float32"),
        ((2, 3), {}, ShapeError, "q_positions are (), k_positions are ()"),
        (
            (2, [[0]] * 2, [[0]] * 3),
            {},
            ShapeError,
            "q_positions are (2, 1), k_positions are (3, 1)",
        ),
        ((2, [[[0]]]), {}, ShapeError, "or one row for each sequence"),
        ((2, [0]), {"dtype": ta.int64}, DTypeError, "dtype is int64; a bias is float"),
    ],
)
def test_what_is_refused(args, options, error, text):
    with pytest.raises(error) as caught:
        ta.alibi_bias(*args, **options)
    assert str(caught.value).startswith("alibi_bias: ") and text in str(caught.value)
