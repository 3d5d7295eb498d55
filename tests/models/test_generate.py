"""Writing: by what chance, until when, beside whom, and that a cache changes only the time."""

import numpy as np
import pytest

import tinygrad_attn as ta
from tests import standin  # noqa: F401 registers the device "standin"
from tinygrad_attn.errors import DTypeError, IndexRangeError, ShapeError
from tinygrad_attn.models import GPT, GPTConfig, evaluating, generate, stream


@pytest.fixture(scope="module")
def model():
    ta.manual_seed(0)
    gpt = GPT(GPTConfig(vocab_size=7, block_size=10, n_layer=2, n_head=2, n_embd=16, dropout=0.2))
    for parameter in gpt.parameters():
        parameter.data[...] *= 8
    return gpt


PROMPT = ta.tensor([[1, 2, 3], [4, 5, 6]])


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
        {"min_p": 0.2},
        {"repetition_penalty": 1.5},
        {"stop": [2, 5]},
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
        (PROMPT, 1, {"top_k": 0}, ShapeError, "top_k is 0; it must be at least 1"),
        ([[1, 2], [3, 4, 5]], 9, {}, ShapeError, r"\[\(2,\), \(3,\)\] and n is 9.*n may be 8"),
        ([[1, 2], []], 1, {}, ShapeError, r"\[\(2,\), \(0,\)\]; it must be"),
        ([], 1, {}, ShapeError, "a list of sequences, none of them empty"),
        ([1, 2], 1, {}, ShapeError, r"\[\(\), \(\)\]; it must be \(B, T\)"),
        ([[1, 2], [0.5]], 1, {}, DTypeError, r"float32; tokens are whole numbers: \S+astype"),
        (ta.ones(1, 2), 1, {}, DTypeError, "prompt is float32"),
        (ta.tensor([[1, 7]]), 1, {}, IndexRangeError, r"token 7 at index \(0, 1\) .*0\.\.6"),
        ([[1, 2], [3, -1, 2]], 1, {}, IndexRangeError, r"token -1 at index \(1, 1\)"),
        (PROMPT, 1, {"stop": 7}, IndexRangeError, r"stop 7 at index \(0,\) is outside 0\.\.6"),
        (PROMPT, 1, {"stop": [1, 2.5]}, DTypeError, "stop is 2.5; it must be a whole number"),
        (PROMPT, 1, {"stop": 1, "pad": "x"}, DTypeError, "pad is 'x'"),
        (PROMPT, 1, {"seed": [1]}, ShapeError, "there are 1 seeds for 2 sequences"),
        (PROMPT, 1, {"seed": [1, 0.5]}, DTypeError, "a seed is 0.5"),
        (PROMPT, 1, {"keep": 0}, ShapeError, r"keep is 0; it must be in 1\.\.10"),
        (PROMPT, 1, {"keep": 11}, ShapeError, "keep is 11"),
        (PROMPT, 1, {"seed": 0, "generator": ta.Generator(0)}, DTypeError, "give one of them"),
    ],
)
def test_mistakes_show_before_the_first_token(model, ids, n, options, error, message):
    with pytest.raises(error, match=message):
        stream(model, ids, n, **options)


@pytest.mark.parametrize(
    "name, message",
    [
        ("temprature", "generate: unknown argument 'temprature'; write temperature="),
        ("num_beam", "generate: unknown argument 'num_beam'; write num_beams="),
        ("do_sample", "generate: unknown argument 'do_sample'; there are temperature, top_k, "),
    ],
)
def test_an_option_that_there_is_not(model, name, message):
    with pytest.raises(TypeError, match=message):
        model.generate(PROMPT, 1, **{name: 1})


def test_a_stream_refuses_in_its_own_name_and_knows_no_beams(model):
    with pytest.raises(TypeError, match="stream: unknown argument 'temprature'; write temperature"):
        model.stream(PROMPT, 1, temprature=1)
    with pytest.raises(TypeError, match="stream: unknown argument 'num_beams'; there are temp"):
        model.stream(PROMPT, 1, num_beams=2)


# ---- stopping ------------------------------------------------------------------------------------


def test_each_row_stops_on_its_own_and_is_padded(model):
    free = generate(model, PROMPT, 8, seed=0).numpy()
    for stop in range(7):
        written = generate(model, PROMPT, 8, seed=0, stop=stop, pad=-1).numpy()
        longest = 0
        for row, whole in zip(written, free):
            at = np.flatnonzero(whole[3:] == stop)
            end = 3 + (at[0] + 1 if at.size else 8)
            np.testing.assert_array_equal(row[:end], whole[:end])
            assert (row[end:] == -1).all()
            longest = max(longest, end)
        assert written.shape == (2, longest)


def test_behind_a_stop_token_stands_the_first_of_them_unless_told(model):
    written = generate(model, PROMPT, 8, seed=0, stop=list(range(7))).numpy()
    assert written.shape == (2, 4)  # every token stops
    rows = ta.tensor(np.repeat(PROMPT.numpy(), 10, axis=0))
    for stop, pad in (([5, 1], 5), ([1, 5], 1), (1, 1)):
        written = generate(model, rows, 8, seed=0, stop=stop).numpy()[:, 3:]
        ended = np.isin(written, stop)
        behind = np.cumsum(ended, axis=1) - ended > 0
        assert behind.any()
        assert (written[behind] == pad).all()


# ---- prompts of different lengths ----------------------------------------------------------------

RAGGED = [[1, 2, 3], [4], [5, 6, 0, 1, 2], [3, 3]]


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 0},
        {"seed": [3, 1, 4, 1]},
        {"seed": [3, 1, 4, 1], "top_p": 0.9, "repetition_penalty": 1.3},
        {"seed": [2, 7, 1, 8], "stop": [0, 5], "pad": 6},
        {"seed": [1, 6, 1, 8], "keep": 3, "n": 17},
    ],
)
@pytest.mark.parametrize("cache", [True, False])
def test_every_sequence_gets_what_it_would_get_alone(model, options, cache):
    options = {"n": 6, **options}
    together = generate(model, RAGGED, cache=cache, **options)
    for i, (prompt, text) in enumerate(zip(RAGGED, together)):
        own = {**options, "seed": options["seed"][i]} if "seed" in options else options
        alone = generate(model, ta.tensor([prompt]), **own)
        np.testing.assert_array_equal(text.numpy(), alone.numpy()[0])
        assert len(text) == len(prompt) + options["n"] or int(text[-1]) in options["stop"]


@pytest.mark.parametrize("positions", ["learned", "sinusoidal", "rope", "alibi", "none"])
@pytest.mark.parametrize("window", [None, 3])
def test_every_scheme_writes_the_same_with_a_cache(positions, window):
    ta.manual_seed(0)
    config = GPTConfig(7, 10, 2, 4, 16, n_kv_head=2, positions=positions, window=window)
    gpt = GPT(config)
    for parameter in gpt.parameters():
        parameter.data[...] *= 8
    n = 30 if config.longest is None else 6
    with_cache = generate(gpt, RAGGED, n, seed=0)
    without = generate(gpt, RAGGED, n, seed=0, cache=False)
    for a, b in zip(with_cache, without):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_lists_may_hold_tensors_and_arrays_and_come_back_as_lists(model):
    prompts = [ta.tensor([1, 2]), np.array([3, 4, 5])]
    texts = model.generate(prompts, 2, temperature=0)
    assert [text.shape for text in texts] == [(4,), (5,)]
    assert [text.tolist() for text in model.generate(prompts, 0)] == [[1, 2], [3, 4, 5]]
    (text,) = model.generate([[1, 2, 3]], 2, temperature=0)
    np.testing.assert_array_equal(
        text.numpy(), model.generate(ta.tensor([[1, 2, 3]]), 2, temperature=0).numpy()[0]
    )


def test_a_stream_of_ragged_prompts_gives_one_token_for_each(model):
    pieces = [token.tolist() for token in model.stream(RAGGED, 6, seed=0, stop=[1, 2], pad=0)]
    texts = generate(model, RAGGED, 6, seed=0, stop=[1, 2], pad=0)
    assert len(pieces) == max(len(text) - len(prompt) for text, prompt in zip(texts, RAGGED))
    for written, text, prompt in zip(zip(*pieces), texts, RAGGED):
        own = text.tolist()[len(prompt) :]
        assert list(written) == own + [0] * (len(pieces) - len(own))


def test_a_penalty_lowers_what_is_in_the_text_already(model):
    ids = [1, 2, 3]
    with evaluating(model), ta.no_grad():
        for _ in range(6):
            line = model(ta.tensor([ids])).numpy()[0, -1].copy()
            for token in set(ids):
                line[token] *= 3 if line[token] < 0 else 1 / 3
            ids.append(int(line.argmax()))
    texts = generate(model, [[1, 2, 3], [4]], 6, temperature=0, repetition_penalty=3.0)
    assert texts[0].tolist() == ids
    assert ids != generate(model, [[1, 2, 3]], 6, temperature=0)[0].tolist()
