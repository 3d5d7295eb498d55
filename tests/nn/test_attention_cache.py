"""MultiheadAttention on top of a cache: what it says of a sequence read at once."""

import numpy as np
import pytest

import tinygrad_attn as ta
from tinygrad_attn import nn
from tinygrad_attn.errors import ShapeError
from tinygrad_attn.models import KVCache

X = ta.tensor(np.random.default_rng(0).standard_normal((2, 9, 8)).astype(np.float32))


def layer(**options):
    return nn.MultiheadAttention(8, 4, generator=ta.Generator(0), **options).eval()


@pytest.mark.parametrize("heads", [1, 2, 4])
@pytest.mark.parametrize("window", [None, 3])
@pytest.mark.parametrize("sizes", [(9,), (1,) * 9, (4, 1, 3, 1)])
def test_chunks_give_what_the_whole_gives(heads, window, sizes):
    attend = layer(num_kv_heads=heads)
    kept = KVCache(1, 2, heads, 9 if window is None else 6, 2, window=window)
    start, found = 0, []
    with ta.no_grad():
        for size in sizes:
            for begin in range(start, start + size, kept.chunk):
                part = X[:, begin : min(begin + kept.chunk, start + size)]
                with kept.step(part.shape[1]) as place:
                    cache = place.layer(0)
                    found.append(attend(part, causal=True, window=window, cache=cache).numpy())
            start += size
        whole = attend(X, causal=True, window=window).numpy()
    np.testing.assert_allclose(np.concatenate(found, axis=1), whole, atol=1e-6)


def test_sequences_of_different_lengths():
    attend, kept = layer(), KVCache(1, 2, 4, 9, 2)
    real = np.array([[True] * 9, [False, True, False, True, True, True, False, False, True]])
    found = []
    with ta.no_grad():
        for part in (slice(0, 4), slice(4, 9)):
            with kept.step(part.stop - part.start, ta.tensor(real[:, part])) as place:
                y, weights = attend(
                    X[:, part], causal=True, cache=place.layer(0), need_weights=True
                )
                found.append(y.numpy())
        assert weights.shape == (2, 4, 5, 9)
        for row, mask, x in zip(np.concatenate(found, axis=1), real, X.numpy()):
            alone = attend(ta.tensor(x[mask][None]), causal=True).numpy()[0]
            np.testing.assert_allclose(row[mask], alone, atol=1e-6)


@pytest.mark.parametrize(
    "options, message",
    [
        ({}, "give the query only, and causal=True"),
        ({"causal": True, "key": X}, "give the query only"),
        ({"causal": True, "key_mask": ta.ones(2, 9, dtype="bool")}, "key_mask is given beside"),
        ({"causal": True, "q_positions": ta.arange(9)}, "q_positions is given beside a cache"),
    ],
)
def test_what_does_not_go_with_a_cache(options, message):
    kept = KVCache(1, 2, 4, 9, 2)
    with ta.no_grad(), kept.step(9) as place, pytest.raises(ShapeError, match=message):
        layer()(X[:], **options, cache=place.layer(0))


@pytest.mark.parametrize("window", [None, 4])
def test_a_window_further_than_that_of_the_cache_is_refused(window):
    kept = KVCache(1, 2, 4, 20, 2, window=3)
    with (
        ta.no_grad(),
        kept.step(9) as place,
        pytest.raises(ShapeError, match=f"window is {window}"),
    ):
        layer()(X, causal=True, window=window, cache=place.layer(0))
