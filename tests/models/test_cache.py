"""The cache: read in whatever steps, beside whatever others, a sequence has the logits of reading
it at once and alone."""

import tracemalloc
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_attn as ta
from tests import standin  # noqa: F401 registers the device "standin"
from tinygrad_attn.models import GPT, GPTConfig, KVCache

CONTEXT = 12
SCHEMES = ("learned", "sinusoidal", "rope", "alibi", "none")
TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}


@cache
def model(**changes):
    ta.manual_seed(0)
    sizes = {"vocab_size": 9, "block_size": CONTEXT, "n_layer": 2, "n_head": 4, "n_embd": 16}
    gpt = GPT(GPTConfig(**{**sizes, "dropout": 0.1, **changes})).eval()
    for parameter in gpt.parameters():  # bolder than fresh weights, so that mistakes show
        parameter.data[...] *= 5
    return gpt


@st.composite
def models(draw, schemes=SCHEMES, windows=(None, 1, 3, 8)):
    return model(
        positions=draw(st.sampled_from(schemes)),
        n_kv_head=draw(st.sampled_from([1, 2, 4])),
        window=draw(st.sampled_from(windows)),
    )


def tokens(*shape, seed=0):
    return ta.tensor(np.random.default_rng(seed).integers(0, 9, shape))


def read(gpt, ids, sizes, cache):
    """The logits of ids (B, T), read in chunks of these sizes and then one by one."""
    parts, start = [], 0
    sizes = list(sizes)
    with ta.no_grad():
        while start < ids.shape[1]:
            stop = min(start + (sizes.pop(0) if sizes else 1), ids.shape[1])
            parts.append(gpt(ids[:, start:stop], cache=cache).numpy())
            start = stop
    return np.concatenate(parts, axis=1)


SIZES = st.lists(st.integers(1, CONTEXT), max_size=4)


# ---- the same logits -----------------------------------------------------------------------------


@given(models(), st.integers(1, 3), SIZES)
def test_chunks_of_any_size_give_the_logits_of_the_whole(gpt, batch, sizes):
    ids, kept = tokens(batch, CONTEXT), gpt.new_cache(batch)
    with ta.no_grad():
        whole = gpt(ids).numpy()
    np.testing.assert_allclose(read(gpt, ids, sizes, kept), whole, **TOLERANCE)
    assert kept.lengths.tolist() == [CONTEXT] * batch


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_scheme_matters_and_one_token_at_a_time_is_right_for_it(scheme):
    gpt, ids = model(positions=scheme), tokens(2, CONTEXT)
    with ta.no_grad():
        whole = gpt(ids).numpy()
        swapped = gpt(ids[:, [1, 0, *range(2, CONTEXT)]]).numpy()
    np.testing.assert_allclose(read(gpt, ids, [], gpt.new_cache(2)), whole, **TOLERANCE)
    assert np.abs(whole[:, -1] - swapped[:, -1]).max() > 1e-4


@given(models(schemes=("rope", "alibi", "none"), windows=(1, 2, 5, 8)), SIZES)
def test_behind_a_window_a_sequence_goes_on_for_ever(gpt, sizes):
    ids, kept = tokens(2, 5 * CONTEXT), gpt.new_cache(2)
    with ta.no_grad():
        whole = gpt(ids).numpy()
    np.testing.assert_allclose(read(gpt, ids, [*sizes, 30], kept), whole, **TOLERANCE)
    assert kept.size == 2 * gpt.config.window
    assert kept.length == 5 * CONTEXT


def test_a_window_is_the_window_of_attention():
    gpt = model(positions="none", window=3, n_layer=1)
    ids = tokens(1, CONTEXT)
    other = ids.numpy().copy()
    other[:, : CONTEXT - 3] = (other[:, : CONTEXT - 3] + 1) % 9
    with ta.no_grad():
        a, b = gpt(ids).numpy(), gpt(ta.tensor(other)).numpy()
        np.testing.assert_allclose(a[:, -1], b[:, -1], atol=1e-6)
        assert np.abs(a[:, -2] - b[:, -2]).max() > 1e-4


# ---- sequences of different lengths --------------------------------------------------------------


def padded(rows, side, length):
    """Rows of tokens as (B, length), with rubbish for padding, and which are real."""
    random = np.random.default_rng(1)
    ids = random.integers(0, 9, (len(rows), length))
    real = np.zeros(ids.shape, bool)
    for i, row in enumerate(rows):
        if side == "left":
            real[i, length - len(row) :] = True
        elif side == "right":
            real[i, : len(row)] = True
        else:
            real[i, random.permutation(length)[: len(row)]] = True
        ids[i, real[i]] = row
    return ta.tensor(ids), ta.tensor(real)


def alone(gpt, row):
    with ta.no_grad():
        return gpt(ta.tensor([row])).numpy()[0]


RAGGED = st.lists(st.integers(1, CONTEXT - 3), min_size=1, max_size=3)
SIDES = st.sampled_from(["left", "right", "anywhere"])


@given(models(), RAGGED, SIDES)
def test_padding_on_any_side_changes_nothing(gpt, lengths, side):
    rows = [tokens(n, seed=n).tolist() for n in lengths]
    ids, real = padded(rows, side, CONTEXT - 2)
    with ta.no_grad():
        logits = gpt(ids, key_mask=real).numpy()
    for row, found, where in zip(rows, logits, real.numpy()):
        np.testing.assert_allclose(found[where], alone(gpt, row), **TOLERANCE)


@given(models(), RAGGED, SIDES, SIZES)
def test_ragged_sequences_in_a_cache_have_the_logits_that_they_have_alone(gpt, lengths, side, cuts):
    """Padded prompts in any chunks, then token by token, one sequence finishing before the rest."""
    rows = [tokens(n + 3, seed=n).tolist() for n in lengths]
    ids, real = padded([row[:-3] for row in rows], side, CONTEXT - 1)
    kept, found = gpt.new_cache(len(rows)), [[] for _ in rows]
    cuts = [*np.cumsum(cuts)[np.cumsum(cuts) < ids.shape[1]].tolist(), ids.shape[1]]
    steps = [(ids[:, a:b], real[:, a:b]) for a, b in zip([0, *cuts], cuts)]
    for t in (-3, -2, -1):
        going = [True] * (len(rows) - 1) + [t < -1]
        steps.append((ta.tensor([[row[t]] for row in rows]), ta.tensor(going).reshape(-1, 1)))
    with ta.no_grad():
        for ids, real in steps:
            logits = gpt(ids, cache=kept, key_mask=real).numpy()
            for i, where in enumerate(real.numpy()):
                found[i].append(logits[i, where])
    for i, row in enumerate(rows):
        logits = np.concatenate(found[i])
        np.testing.assert_allclose(logits, alone(gpt, row)[: len(logits)], **TOLERANCE)
    assert kept.lengths.tolist() == [n + 3 for n in lengths[:-1]] + [lengths[-1] + 2]


def test_ragged_sequences_are_let_go_each_behind_its_own_window():
    gpt = model(positions="rope", window=4)
    rows = [tokens(n, seed=n).tolist() for n in (3, 40, 17)]
    ids, real = padded(rows, "anywhere", 50)
    kept, found = gpt.new_cache(3), []
    with ta.no_grad():
        for start in range(0, 50, 2):
            part = slice(start, start + 2)
            found.append(gpt(ids[:, part], cache=kept, key_mask=real[:, part]).numpy())
    logits = np.concatenate(found, axis=1)
    for i, row in enumerate(rows):
        np.testing.assert_allclose(logits[i, real.numpy()[i]], alone(gpt, row), **TOLERANCE)
    assert kept.lengths.tolist() == [3, 40, 17]


def test_padding_has_no_influence_by_the_leak_checker():
    gpt = model(positions="alibi")
    ids, real = padded([[1, 2, 3], [4, 5, 6, 7, 8]], "anywhere", 7)
    assert ta.check_padding(gpt, ids, real)
    assert ta.check_causality(gpt, ids)


def test_every_parameter_learns_from_a_padded_batch_as_from_its_rows():
    gpt = model(dropout=0.0)
    rows = [[1, 2, 3, 4], [5, 6]]
    ids, real = padded(rows, "left", 6)
    parameters = list(gpt.parameters())
    together = ta.grad((gpt(ids, key_mask=real) ** 2)[real].sum(), parameters)
    apart = ta.grad(sum((gpt(ta.tensor([row])) ** 2).sum() for row in rows), parameters)
    for a, b in zip(together, apart):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-4, atol=1e-4)


def test_another_device_gives_the_same(device):
    gpt = model(positions="rope", window=3)
    there = GPT(gpt.config).eval()
    there.load_state_dict(gpt.state_dict())
    there.to(device)
    ids, real = padded([[1, 2, 3, 4, 5, 6, 7], [5, 6]], "left", 9)
    expected, kept = gpt, there.new_cache(2)
    with ta.no_grad():
        expected = gpt(ids, key_mask=real).numpy()
        for start in range(0, 9, 3):
            part = slice(start, start + 3)
            options = {"cache": kept, "key_mask": real[:, part].to(device)}
            logits = there(ids[:, part].to(device), **options).numpy()
            where = real.numpy()[:, part]
            np.testing.assert_allclose(
                logits[where], expected[:, part][where], rtol=1e-4, atol=1e-5
            )


# ---- what it costs -------------------------------------------------------------------------------


@pytest.mark.parametrize("real", [None, ta.tensor([[True, True], [False, True]])])
def test_what_attention_looks_at_are_views_of_the_room(real):
    kept = KVCache(2, 2, 3, 8, 4)
    rooms = [room.data for rooms in kept._rooms for room in rooms]
    for _ in range(3):
        with kept.step(2, real) as place:
            for i in range(2):
                new = ta.randn(2, 3, 2, 4)
                for seen, room in zip(place.layer(i).extend(new, new), rooms[2 * i :]):
                    assert np.shares_memory(seen.data, room)
    assert all(a is b.data for a, b in zip(rooms, [r for rooms in kept._rooms for r in rooms]))


def test_a_step_writes_its_own_tokens_and_copies_none_of_the_others():
    kept, new = KVCache(1, 1, 4, 20000, 16), ta.randn(1, 4, 1, 16)  # 5 MB of keys
    with kept.step(19000) as place:
        place.layer(0).extend(*[ta.zeros((1, 4, 19000, 16))] * 2)
    tracemalloc.start()
    with kept.step(1) as place:
        place.layer(0).extend(new, new)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1e6


@pytest.mark.parametrize(
    "window, scheme, size", [(None, "rope", 12), (3, "rope", 6), (3, "learned", 6), (8, "none", 16)]
)
def test_there_is_room_for_two_windows_or_for_the_context(window, scheme, size):
    assert model(window=window, positions=scheme).new_cache(1).size == size
    assert model(window=8, positions="learned").new_cache(1).size == CONTEXT


def test_behind_a_window_tokens_move_seldom():
    kept, moves = KVCache(1, 1, 1, 20, 2, window=10), 0
    for _ in range(200):
        before = kept._first.copy()
        with kept.step(1) as place:
            place.layer(0).extend(*[ta.zeros((1, 1, 1, 2))] * 2)
        moves += (kept._first != before).any()
    assert moves == (200 - 20) // 11 + 1


# ---- what becomes of it --------------------------------------------------------------------------


def test_a_cache_that_was_reset_knows_nothing_of_what_it_held():
    gpt, ids = model(), tokens(2, CONTEXT)
    kept = gpt.new_cache(2)
    with ta.no_grad():
        gpt(ids, cache=kept)
        kept.reset()
        assert kept.length == 0
        np.testing.assert_allclose(
            gpt(ids[:, 5:8], cache=kept).numpy(), gpt(ids[:, 5:8]).numpy(), atol=1e-5
        )


@pytest.mark.parametrize("window", [None, 3])
def test_single_sequences_are_reset_reordered_and_selected(window):
    gpt = model(positions="rope", window=window)
    rows = [tokens(n, seed=n).tolist() for n in (4, 7, 9)]
    ids, real = padded(rows, "left", 9)
    kept = gpt.new_cache(3)
    with ta.no_grad():
        gpt(ids, cache=kept, key_mask=real)
        kept.reset([1])
        kept.reorder([1, 0, 0])
        more = kept.select([2, 0, 1, 2])
        expected = [[3, 4], [*rows[0], 3, 4], [*rows[0], 3, 4]]
        for one, texts in ((more, [expected[i] for i in (2, 0, 1, 2)]), (kept, expected)):
            logits = gpt(ta.tensor([[3, 4]] * len(texts)), cache=one).numpy()
            for found, text in zip(logits, texts):
                np.testing.assert_allclose(found, alone(gpt, text)[-2:], **TOLERANCE)
    assert more.lengths.tolist() == [6, 2, 6, 6]


@pytest.mark.parametrize("window", [None, 3])
def test_a_pass_that_fails_leaves_the_cache_as_it_was(window):
    gpt, ids = model(window=window), tokens(1, CONTEXT)
    kept = gpt.new_cache(1)
    with ta.no_grad():
        gpt(ids[:, :6], cache=kept)
        with pytest.raises(IndexError):
            gpt(ta.tensor([[3, 4, 5, 6, 99]]), cache=kept)
        stop = gpt.blocks[1].register_forward_hook(lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            gpt(ids[:, :3], cache=kept)
        stop()
        assert kept.length == 6
        rest = gpt(ids[:, 6:], cache=kept).numpy()
        np.testing.assert_allclose(rest, gpt(ids).numpy()[:, 6:], **TOLERANCE)


def test_its_text_says_how_full_it_is():
    kept = model().new_cache(2)
    with ta.no_grad():
        model()(tokens(2, 5), cache=kept)
        assert repr(kept) == "KVCache(2 layers, 5 of 12 tokens)"
        model()(tokens(2, 2), cache=kept, key_mask=[[True, True], [False, True]])
    assert repr(kept) == "KVCache(2 layers, 6 to 7 of 12 tokens)"
    assert repr(KVCache(1, 1, 1, 8, 2, window=4)) == "KVCache(1 layers, 0 of a window of 4 tokens)"
