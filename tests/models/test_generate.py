"""Writing: what is chosen, by what chance, and that a cache changes nothing but the time."""

import numpy as np
import pytest

import tinygrad_attn as ta
from tinygrad_attn.errors import DTypeError, NonFiniteError, ShapeError
from tinygrad_attn.models import GPT, GPTConfig, evaluating, generate, stream
from tinygrad_attn.models.generate import choose


@pytest.fixture(scope="module")
def model():
    ta.manual_seed(0)
    gpt = GPT(GPTConfig(vocab_size=7, block_size=10, n_layer=2, n_head=2, n_embd=16, dropout=0.2))
    for parameter in gpt.parameters():
        parameter.data[...] *= 8
    return gpt


PROMPT = ta.tensor([[1, 2, 3], [4, 5, 6]])


# ---- choosing ------------------------------------------------------------------------------------


def chosen(probabilities, count=4000, **rule):
    """How often each token is chosen."""
    logits = np.log(np.tile(np.array(probabilities, dtype=np.float32), (count, 1)))
    uniform = (np.arange(count) + 0.5) / count
    return np.bincount(choose(logits, uniform, **rule), minlength=len(probabilities)) / count


def test_tokens_are_chosen_as_often_as_the_model_says():
    np.testing.assert_allclose(chosen([0.1, 0.6, 0.05, 0.25]), [0.1, 0.6, 0.05, 0.25], atol=1e-3)


def test_temperature_sharpens_and_flattens():
    np.testing.assert_allclose(
        chosen([0.2, 0.8], temperature=0.5), [0.04 / 0.68, 0.64 / 0.68], atol=1e-3
    )
    np.testing.assert_allclose(chosen([0.2, 0.8], temperature=1e6), [0.5, 0.5], atol=1e-3)
    np.testing.assert_allclose(chosen([0.2, 0.8], temperature=1e-6), [0, 1])
    np.testing.assert_allclose(chosen([0.2, 0.8], temperature=0), [0, 1])


def test_top_k_keeps_the_k_likeliest():
    np.testing.assert_allclose(
        chosen([0.1, 0.6, 0.05, 0.25], top_k=2), [0, 12 / 17, 0, 5 / 17], atol=1e-3
    )
    np.testing.assert_allclose(
        chosen([0.1, 0.6, 0.05, 0.25], top_k=99), [0.1, 0.6, 0.05, 0.25], atol=1e-3
    )


@pytest.mark.parametrize(
    "top_p, kept",
    [(0.01, [1]), (0.59, [1]), (0.61, [1, 3]), (0.84, [1, 3]), (0.9, [0, 1, 3]), (1.0, range(4))],
)
def test_top_p_keeps_the_fewest_tokens_that_reach_it(top_p, kept):
    assert np.flatnonzero(chosen([0.1, 0.6, 0.05, 0.25], top_p=top_p)).tolist() == list(kept)


def test_impossible_tokens_are_never_chosen_even_at_the_ends_of_chance():
    logits = np.array([[-np.inf, 0.0, -np.inf, 0.0]] * 2)
    assert choose(logits, np.array([0.0, np.nextafter(1, 0)])).tolist() == [1, 3]


@pytest.mark.parametrize("logits", [[0.0, np.nan], [np.inf, 0.0], [-np.inf, -np.inf]])
@pytest.mark.parametrize("temperature", [0, 1])
def test_a_model_that_answers_no_numbers_is_an_error(logits, temperature):
    with pytest.raises(NonFiniteError, match="largest logit is NaN or infinite"):
        choose(np.array([logits]), np.array([0.5]), temperature=temperature)


# ---- generating ----------------------------------------------------------------------------------


def test_greedy_takes_the_likeliest_token_each_time(model):
    ids = PROMPT
    with evaluating(model), ta.no_grad():
        for _ in range(6):
            token = model(ids).numpy()[:, -1].argmax(axis=-1)
            ids = ta.tensor(np.concatenate([ids.numpy(), token[:, None]], axis=1))
    written = generate(model, PROMPT, 6, temperature=0)
    assert written.dtype == ta.int64
    np.testing.assert_array_equal(written.numpy(), ids.numpy())


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"temperature": 0},
        {"temperature": 1.7},
        {"top_k": 3},
        {"top_p": 0.7},
        {"top_k": 4, "top_p": 0.9},
    ],
)
def test_a_cache_changes_nothing_but_the_time(model, options):
    with_cache = generate(model, PROMPT, 8, seed=5, **options)
    without = generate(model, PROMPT, 8, seed=5, cache=False, **options)
    np.testing.assert_array_equal(with_cache.numpy(), without.numpy())


def test_the_seed_decides(model):
    first = generate(model, PROMPT, 8, seed=1).numpy()
    np.testing.assert_array_equal(generate(model, PROMPT, 8, seed=1).numpy(), first)
    assert (generate(model, PROMPT, 8, seed=2).numpy() != first).any()
    generator = ta.Generator(1)
    np.testing.assert_array_equal(generate(model, PROMPT, 8, generator=generator).numpy(), first)
    assert (generate(model, PROMPT, 8, generator=generator).numpy() != first).any()
    ta.manual_seed(1)
    np.testing.assert_array_equal(generate(model, PROMPT, 8).numpy(), first)


@pytest.mark.parametrize("cache", [True, False])
def test_a_full_context_begins_anew_with_the_last_tokens_kept(model, cache):
    written = generate(model, PROMPT, 20, temperature=0, keep=4, cache=cache).numpy()
    assert written.shape == (2, 23)
    begin = 0
    with evaluating(model), ta.no_grad():
        for end in range(3, 23):
            if end - begin > 10:
                begin = end - 4
            logits = model(ta.tensor(written[:, begin:end])).numpy()[:, -1]
            np.testing.assert_array_equal(written[:, end], logits.argmax(axis=-1))


def test_a_stream_gives_the_same_tokens_one_by_one(model):
    pieces = list(stream(model, PROMPT, 5, seed=3))
    assert [piece.shape for piece in pieces] == [(2,)] * 5
    np.testing.assert_array_equal(
        np.stack([piece.numpy() for piece in pieces], axis=1),
        generate(model, PROMPT, 5, seed=3).numpy()[:, 3:],
    )
    assert list(model.stream(PROMPT, 0)) == []
    np.testing.assert_array_equal(model.generate(PROMPT, 0).numpy(), PROMPT.numpy())


def test_between_two_tokens_the_caller_is_in_the_callers_mode(model):
    model.train()
    for _ in stream(model, PROMPT, 2):
        assert model.training
        assert ta.is_grad_enabled()


def test_evaluating_restores_every_part(model):
    model.train()
    model.blocks[0].eval()
    with evaluating(model):
        assert not any(part.training for part in model.modules())
    assert model.training
    assert not model.blocks[0].mlp.training
    assert model.blocks[1].mlp.training
    model.train()


def test_the_context_may_be_filled_to_the_brim(model):
    assert generate(model, PROMPT, 8).shape == (2, 11)  # the last token is only written


def test_the_device_changes_nothing(model, device):
    there = GPT(model.config)
    there.load_state_dict(model.state_dict())
    there.to(device)
    written = there.generate(PROMPT.to(device), 8, seed=4)
    assert written.device == there.tokens.weight.device
    np.testing.assert_array_equal(written.numpy(), generate(model, PROMPT, 8, seed=4).numpy())


@pytest.mark.parametrize(
    "ids, n, options, error, message",
    [
        (
            PROMPT,
            9,
            {},
            ShapeError,
            r"prompt is \(2, 3\) and n is 9.*n may be 8 at most, or keep=k",
        ),
        (ta.zeros((1, 12), dtype="int64"), 1, {}, ShapeError, "n may be 0 at most"),
        (ta.zeros((1, 0), dtype="int64"), 1, {}, ShapeError, r"prompt is \(1, 0\)"),
        (ta.zeros((3,), dtype="int64"), 1, {}, ShapeError, r"prompt is \(3,\)"),
        (PROMPT, -1, {}, ShapeError, "n is -1"),
        (PROMPT, 2.5, {}, DTypeError, "n .*2.5"),
        (PROMPT, 1, {"temperature": -1}, ShapeError, "temperature is -1; it must be at least 0"),
        (PROMPT, 1, {"temperature": float("nan")}, ShapeError, "temperature is nan"),
        (PROMPT, 1, {"top_k": 0}, ShapeError, "top_k is 0; it must be at least 1"),
        (PROMPT, 1, {"top_p": 0}, ShapeError, "top_p is 0; it must be above 0 and at most 1"),
        (PROMPT, 1, {"top_p": 1.1}, ShapeError, "top_p is 1.1"),
        (PROMPT, 1, {"keep": 0}, ShapeError, r"keep is 0; it must be in 1\.\.10"),
        (PROMPT, 1, {"keep": 11}, ShapeError, "keep is 11"),
        (PROMPT, 1, {"seed": 0, "generator": ta.Generator(0)}, DTypeError, "give one of them"),
    ],
)
def test_mistakes_show_before_the_first_token(model, ids, n, options, error, message):
    with pytest.raises(error, match=message):
        stream(model, ids, n, **options)
