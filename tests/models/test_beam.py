"""Beam search: held against trying everything."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest

import tinygrad_attn as ta
from tinygrad_attn.errors import DTypeError, ShapeError
from tinygrad_attn.models import GPT, GPTConfig, beam_search, evaluating, generate

V = 4


@pytest.fixture(scope="module")
def model():
    ta.manual_seed(1)
    gpt = GPT(GPTConfig(vocab_size=V, block_size=8, n_layer=1, n_head=2, n_embd=8, dropout=0.3))
    for parameter in gpt.parameters():
        parameter.data[...] *= 8
    return gpt


PROMPTS = [[0, 1], [3], [2, 2, 1]]


def probability(model, prompt, text, penalty=1.0):
    """Σ ln p of a text after its prompt."""
    with evaluating(model), ta.no_grad():
        logits = model(ta.tensor([[*prompt, *text]]))[0].numpy().astype(np.float64)
    total = 0.0
    for i, token in enumerate(text):
        line = logits[len(prompt) + i - 1]
        for seen in {*prompt, *text[:i]}:
            line[seen] *= penalty if line[seen] <= 0 else 1 / penalty
        total += line[token] - np.log(np.exp(line).sum())
    return total


def best(model, prompt, n, stop, power, penalty=1.0):
    """The best text of all there are, and its score."""
    texts = [
        text
        for length in range(1, n + 1)
        for text in itertools.product(range(V), repeat=length)
        if not set(text[:-1]) & set(stop) and (length == n or text[-1] in stop)
    ]
    scores = [probability(model, prompt, text, penalty) / len(text) ** power for text in texts]
    return list(texts[np.argmax(scores)]), max(scores)


@pytest.mark.parametrize(
    "stop, power, penalty",
    [([], 1, 1), ([0], 1, 1), ([0], 0, 1), ([3, 1], 2.5, 1), ([2], -1, 1), ([0], 1, 1.5)],
)
def test_with_enough_beams_it_finds_the_best_of_all_texts(model, stop, power, penalty):
    n = 3
    options = {"length_penalty": power, "repetition_penalty": penalty}
    tokens, scores = beam_search(
        model, PROMPTS, n, num_beams=V**n, stop=stop or None, pad=-1, **options
    )
    for prompt, row, score in zip(PROMPTS, tokens.tolist(), scores.tolist()):
        text, value = best(model, prompt, n, stop, power, penalty)
        assert row == text + [-1] * (tokens.shape[1] - len(text))
        assert score == pytest.approx(value, rel=1e-5)


@pytest.mark.parametrize("beams", [1, 2, 3, 7])
@pytest.mark.parametrize("stop", [None, 0, [1, 3]])
def test_a_cache_and_company_change_nothing(model, beams, stop):
    options = {"num_beams": beams, "stop": stop, "length_penalty": 0.7}
    together = generate(model, PROMPTS, 5, **options)
    without = generate(model, PROMPTS, 5, cache=False, **options)
    for prompt, text, other in zip(PROMPTS, together, without):
        alone = generate(model, ta.tensor([prompt]), 5, **options).numpy()[0]
        np.testing.assert_array_equal(text.numpy(), alone)
        np.testing.assert_array_equal(other.numpy(), alone)


def test_one_beam_is_greedy(model):
    np.testing.assert_array_equal(
        generate(model, ta.tensor([[1, 2]]), 6, num_beams=1).numpy(),
        generate(model, ta.tensor([[1, 2]]), 6, temperature=0).numpy(),
    )


def test_the_score_is_that_of_the_text_and_more_beams_find_no_worse_here(model):
    found = []
    for beams in (1, 2, 16, 256):
        tokens, scores = beam_search(model, [[1, 0]], 4, num_beams=beams, length_penalty=0)
        found.append(probability(model, [1, 0], tokens.tolist()[0]))  # to equal bits for one text
        assert scores.item() == pytest.approx(found[-1], rel=1e-5)
    assert found == sorted(found)
    assert found[-1] > found[0]  # a case in which greedy choice goes wrong


def test_a_search_ends_as_soon_as_nothing_can_get_better(model):
    calls = []
    stop = model.register_forward_hook(lambda *_: calls.append(1))
    tokens, _ = beam_search(
        model, [[0, 1]], 6, num_beams=4, stop=list(range(V)), length_penalty=0, pad=0
    )
    stop()
    assert tokens.shape == (1, 1)
    assert len(calls) == 1


class Chain(ta.nn.Module):
    """A model that looks at the last token only: the probabilities of the next stand in a table."""

    def __init__(self, table):
        self.config = SimpleNamespace(vocab_size=len(table), longest=None)
        self.table = ta.nn.Parameter(np.log(np.array(table, dtype=np.float32)))

    def forward(self, ids, cache=None, key_mask=None):
        return self.table[ids]


def test_a_text_that_begins_badly_may_win_by_its_length():
    """To stop at once has ln 0.9 = −0.105; thirty tokens of which the first has 0.1, −2.3/30."""
    chain = Chain([[0.9, 0.1], [1e-6, 1 - 1e-6]])
    for n, winner in ((20, [0]), (30, [1] * 30)):
        tokens, _ = beam_search(chain, [[0]], n, num_beams=2, stop=0, cache=False)
        assert tokens.tolist() == [winner]


def test_no_tokens_are_no_search(model):
    assert beam_search(model, [[0, 1], [2]], 0, num_beams=2)[0].shape == (2, 0)
    texts = generate(model, [[0, 1], [2]], 0, num_beams=2)
    assert [text.tolist() for text in texts] == [[0, 1], [2]]
    assert generate(model, ta.tensor([[0, 1]]), 0, num_beams=2).tolist() == [[0, 1]]


@pytest.mark.parametrize(
    "n, options, error, message",
    [
        (1, {"num_beams": 0}, ShapeError, "num_beams is 0; it must be at least 1"),
        (1, {"num_beams": 1.5}, DTypeError, "num_beams is 1.5; it must be a whole number"),
        (1, {"num_beams": 2, "length_penalty": "no"}, DTypeError, "length_penalty is 'no'"),
        (1, {"num_beams": 2, "length_penalty": np.inf}, ShapeError, "length_penalty is inf"),
        (1, {"num_beams": 2, "repetition_penalty": -1}, ShapeError, "repetition_penalty is -1"),
        (1, {"num_beams": 2, "top_k": 3}, TypeError, "unknown argument 'top_k'; a search leaves"),
        (1, {"num_beams": 2, "seed": 3}, TypeError, "unknown argument 'seed'"),
        (1, {"length_penalty": 2.0}, ShapeError, "length_penalty is given without num_beams"),
        (9, {"num_beams": 2}, ShapeError, "n may be 7 at most"),
        (-1, {"num_beams": 2}, ShapeError, "n is -1"),
    ],
)
def test_searches_that_cannot_be(model, n, options, error, message):
    with pytest.raises(error, match=message):
        generate(model, ta.tensor([[0, 1]]), n, **options)
