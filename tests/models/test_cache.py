"""The cache: read in whatever steps, a sequence has the logits of reading it at once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_attn as ta
from tinygrad_attn.errors import GraphError, ShapeError
from tinygrad_attn.models import GPT, GPTConfig

CONTEXT = 12


def model(**changes):
    ta.manual_seed(0)
    sizes = {
        "vocab_size": 9,
        "block_size": CONTEXT,
        "n_layer": 2,
        "n_head": 4,
        "n_embd": 16,
        **changes,
    }
    gpt = GPT(GPTConfig(**sizes)).eval()
    for parameter in gpt.parameters():  # bolder than fresh weights, so that mistakes show
        parameter.data[...] *= 5
    return gpt


MODELS = {heads: model(n_kv_head=heads, dropout=0.1) for heads in (1, 2, 4)}


def tokens(*shape):
    return ta.tensor(np.random.default_rng(0).integers(0, 9, shape))


@given(
    st.sampled_from(sorted(MODELS)),
    st.integers(1, 3),
    st.lists(st.integers(1, CONTEXT), min_size=1, max_size=CONTEXT),
)
def test_chunks_of_any_size_give_the_logits_of_the_whole(heads, batch, sizes):
    gpt = MODELS[heads]
    ids = tokens(batch, CONTEXT)
    with ta.no_grad():
        whole = gpt(ids).numpy()
        cache = gpt.new_cache(batch)
        for size in sizes:
            start, stop = cache.length, min(cache.length + size, CONTEXT)
            if start == stop:
                break
            part = gpt(ids[:, start:stop], cache=cache).numpy()
            np.testing.assert_allclose(part, whole[:, start:stop], rtol=1e-5, atol=1e-5)
            assert cache.length == stop


def test_a_cache_that_was_reset_knows_nothing_of_what_it_held():
    gpt, ids = MODELS[4], tokens(2, CONTEXT)
    cache = gpt.new_cache(2)
    with ta.no_grad():
        gpt(ids, cache=cache)
        cache.reset()
        assert cache.length == 0
        np.testing.assert_allclose(
            gpt(ids[:, 5:8], cache=cache).numpy(), gpt(ids[:, 5:8]).numpy(), atol=1e-5
        )


def test_a_pass_that_fails_leaves_the_cache_as_it_was():
    gpt, ids = MODELS[4], tokens(1, CONTEXT)
    cache = gpt.new_cache(1)
    with ta.no_grad():
        gpt(ids[:, :4], cache=cache)
        with pytest.raises(IndexError):
            gpt(ta.tensor([[3, 99]]), cache=cache)
        assert cache.length == 4
        rest = gpt(ids[:, 4:], cache=cache).numpy()
        np.testing.assert_allclose(rest, gpt(ids).numpy()[:, 4:], atol=1e-5)


def test_gradients_would_be_lost_in_a_cache_and_are_refused():
    gpt = MODELS[4]
    with pytest.raises(GraphError, match=r"carry a gradient.*no_grad"):
        gpt(tokens(1, 3), cache=gpt.new_cache(1))


def test_a_full_cache_is_an_error_that_says_how_much_fits():
    gpt = MODELS[4]
    cache = gpt.new_cache(1)
    with ta.no_grad():
        gpt(tokens(1, 10), cache=cache)
        with pytest.raises(ShapeError, match=r"3 tokens after 10 in the cache.*give at most 2"):
            gpt(tokens(1, 3), cache=cache)
        assert gpt(tokens(1, 2), cache=cache).shape == (1, 2, 9)


@pytest.mark.parametrize("other", [MODELS[2].new_cache(1), MODELS[4].new_cache(2)])
def test_the_cache_of_another_model_or_batch_is_refused(other):
    with ta.no_grad(), pytest.raises(ShapeError, match="KVCache: keys are"):
        MODELS[4](tokens(1, 3), cache=other)


def test_its_text_says_how_full_it_is():
    cache = MODELS[4].new_cache(2)
    with ta.no_grad():
        MODELS[4](tokens(2, 5), cache=cache)
    assert repr(cache) == "KVCache(2 layers, 5 of 12 tokens)"
