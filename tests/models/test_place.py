"""Places and rooms: where tokens stand, what is refused, and a cache under any layer."""

import numpy as np
import pytest

import tinygrad_attn as ta
from tinygrad_attn.errors import DTypeError, GraphError, ShapeError
from tinygrad_attn.models import GPT, GPTConfig, KVCache
from tinygrad_attn.models.place import Place


def model(**changes):
    sizes = {"vocab_size": 9, "block_size": 12, "n_layer": 2, "n_head": 4, "n_embd": 16}
    return GPT(GPTConfig(**{**sizes, **changes})).eval()


GPT_4 = model()


def tokens(batch, length):
    return ta.tensor(np.random.default_rng(0).integers(0, 9, (batch, length)))


# ---- where tokens stand --------------------------------------------------------------------------


def test_positions_count_real_tokens_only():
    place = Place.whole((3, 4), np.array([[1, 1, 1, 1], [0, 0, 1, 1], [1, 0, 1, 0]], bool))
    assert place.positions.tolist() == [[0, 1, 2, 3], [0, 0, 0, 1], [0, 0, 1, 1]]
    assert place.key_positions is place.positions
    assert place.rules["mask"].shape == (3, 1, 1, 4)
    plain = Place.whole((3, 4))
    assert plain.positions.tolist() == [0, 1, 2, 3]
    assert plain.rules == {"causal": True}
    assert Place.whole((3, 1)).rules == {"causal": False}  # nothing is ahead of a single token
    assert plain.layer(1) is plain


def test_in_a_cache_what_is_not_filled_yet_stands_in_the_future():
    kept = KVCache(1, 2, 1, 8, 2)
    with kept.step(3, [[True, True, True], [False, True, False]]) as place:
        assert place.positions.tolist() == [[0, 1, 2], [0, 0, 0]]
        assert place.key_positions.tolist() == [[0, 1, 2]] * 2
        assert place.mask is None
    with kept.step(1) as place:
        assert place.positions.tolist() == [[3], [1]]
        assert place.key_positions.tolist() == [[0, 1, 2, 3]] * 2
    assert kept.lengths.tolist() == [4, 2]


def test_positions_count_on_when_tokens_are_let_go():
    kept = KVCache(1, 1, 1, 4, 2, window=3)
    for t in range(20):
        with kept.step(1) as place:
            assert place.positions.tolist() == [t]
            keys = place.key_positions.tolist()
            assert keys == list(range(keys[0], t + 1)) and keys[0] <= max(t - 2, 0)
            k, _ = place.layer(0).extend(*[ta.full((1, 1, 1, 2), float(t))] * 2)
            assert k.numpy()[0, 0, :, 0].tolist() == keys
    assert kept.length == 20


def test_a_mask_of_all_real_tokens_is_no_mask():
    kept = KVCache(1, 2, 1, 8, 2)
    with kept.step(3, ta.ones(2, 3, dtype="bool")) as place:
        assert place.is_plain


# ---- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "other",
    [
        model(n_kv_head=2).new_cache(1),
        model(n_layer=1).new_cache(1),
        model(n_embd=8).new_cache(1),
        GPT_4.new_cache(2),
        model().to(ta.float64).new_cache(1),
    ],
    ids=["heads", "layers", "width", "batch", "dtype"],
)
def test_the_cache_of_another_model_or_batch_is_refused(other):
    with ta.no_grad(), pytest.raises(ShapeError, match=r"GPT: ids is \(1, 3\).*new_cache\(1\)"):
        GPT_4(tokens(1, 3), cache=other)


def test_a_full_cache_is_an_error_that_says_how_much_fits():
    kept = GPT_4.new_cache(2)
    with ta.no_grad():
        GPT_4(tokens(2, 10), cache=kept, key_mask=[[True] * 10, [True] * 2 + [False] * 8])
        with pytest.raises(ShapeError, match=r"3 tokens after 10 in the cache.*give at most 2"):
            GPT_4(tokens(2, 3), cache=kept)
        with pytest.raises(ShapeError, match=r"11 tokens after 2 in the cache.*give at most 10"):
            GPT_4(tokens(2, 11), cache=kept, key_mask=[[False] * 11, [True] * 11])
        real = ta.tensor([[True] * 2 + [False] * 8, [True] * 10])
        assert GPT_4(tokens(2, 10), cache=kept, key_mask=real).shape == (2, 10, 9)
    assert kept.lengths.tolist() == [12, 12]


def test_gradients_would_be_lost_in_a_cache_and_are_refused():
    with pytest.raises(GraphError, match=r"carry a gradient.*no_grad"):
        GPT_4(tokens(1, 3), cache=GPT_4.new_cache(1))


@pytest.mark.parametrize("kept", [None, GPT_4.new_cache(1)])
@pytest.mark.parametrize(
    "key_mask, error, message",
    [
        ([[1, 1, 0]], DTypeError, r"key_mask is int64; it must be \(1, 3\) booleans"),
        ([[1.0, 1.0, 0.0]], DTypeError, "key_mask is float32"),
        ([[True, False]], ShapeError, r"key_mask is \(1, 2\); it must be \(1, 3\) booleans"),
        ([True, True, False], ShapeError, r"key_mask is \(3,\)"),
    ],
)
def test_a_key_mask_is_booleans_one_for_each_token(key_mask, error, message, kept):
    with ta.no_grad(), pytest.raises(error, match="GPT: " + message):
        GPT_4(tokens(1, 3), cache=kept, key_mask=ta.tensor(key_mask))


@pytest.mark.parametrize(
    "k, error, message",
    [
        (ta.zeros(1, 2, 3, 4), ShapeError, r"\(1, 2, 3, 4\).*this pass.*for \(2, 2, 3, 4\)"),
        (ta.zeros(2, 1, 3, 4), ShapeError, r"\(2, 1, 3, 4\)"),
        (ta.zeros(2, 2, 2, 4), ShapeError, r"\(2, 2, 2, 4\)"),
        (ta.zeros(2, 2, 3, 5), ShapeError, r"\(2, 2, 3, 5\)"),
        (ta.zeros(2, 2, 3, 4, dtype="float64"), DTypeError, "float64, the cache is float32"),
    ],
)
def test_keys_and_values_that_are_not_what_the_cache_is_for(k, error, message):
    kept, right = KVCache(1, 2, 2, 8, 4), ta.ones(2, 2, 3, 4)
    with pytest.raises(error, match=message), kept.step(3) as place:
        place.layer(0).extend(k, right)
    with pytest.raises(error, match=message), kept.step(3) as place:
        place.layer(0).extend(right, k)
    assert kept.length == 0


@pytest.mark.parametrize(
    "sizes, error, message",
    [
        ((0, 1, 1, 1, 1), ShapeError, "layers is 0; it must be at least 1"),
        ((1, 0, 1, 1, 1), ShapeError, "batch is 0"),
        ((1, 1, 1, 2.5, 1), DTypeError, "size is 2.5"),
    ],
)
def test_caches_that_cannot_be(sizes, error, message):
    with pytest.raises(error, match=f"KVCache: {message}"):
        KVCache(*sizes)


def test_windows_that_cannot_be():
    with pytest.raises(ShapeError, match="window is 9, size is 8; there must be room"):
        KVCache(1, 1, 1, 8, 1, window=9)
    with pytest.raises(ShapeError, match="window is 0; it must be at least 1"):
        KVCache(1, 1, 1, 8, 1, window=0)


def test_more_tokens_than_there_is_room_for():
    kept = KVCache(2, 1, 1, 4, 2)
    with kept.step(3):
        pass
    with pytest.raises(ShapeError, match=r"2 tokens after 3 are too many for KVCache\(2 layers, 3"):
        kept.step(2).__enter__()
    with pytest.raises(ShapeError, match=r"4 tokens in one pass.*may bring 3 at most"):
        KVCache(2, 1, 1, 4, 2, window=2).step(4).__enter__()
