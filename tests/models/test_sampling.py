"""Choosing: what may be chosen, and how often it is."""

import numpy as np
import pytest

from tinygrad_attn.errors import DTypeError, NonFiniteError, ShapeError
from tinygrad_attn.models.sampling import Rule, choose, penalize

FOUR = [0.1, 0.6, 0.05, 0.25]


def chosen(probabilities, count=4000, **rule):
    """How often each token is chosen."""
    logits = np.log(np.tile(np.array(probabilities, dtype=np.float32), (count, 1)))
    uniform = (np.arange(count) + 0.5) / count
    return np.bincount(choose(logits, uniform, **rule), minlength=len(probabilities)) / count


def test_tokens_are_chosen_as_often_as_the_model_says():
    np.testing.assert_allclose(chosen(FOUR), FOUR, atol=1e-3)


def test_temperature_sharpens_and_flattens():
    np.testing.assert_allclose(
        chosen([0.2, 0.8], temperature=0.5), [0.04 / 0.68, 0.64 / 0.68], atol=1e-3
    )
    np.testing.assert_allclose(chosen([0.2, 0.8], temperature=1e6), [0.5, 0.5], atol=1e-3)
    np.testing.assert_allclose(chosen([0.2, 0.8], temperature=1e-6), [0, 1])
    np.testing.assert_allclose(chosen([0.2, 0.8], temperature=0), [0, 1])


def test_top_k_keeps_the_k_likeliest():
    np.testing.assert_allclose(chosen(FOUR, top_k=2), [0, 12 / 17, 0, 5 / 17], atol=1e-3)
    np.testing.assert_allclose(chosen(FOUR, top_k=99), FOUR, atol=1e-3)


@pytest.mark.parametrize(
    "top_p, kept",
    [(0.01, [1]), (0.59, [1]), (0.61, [1, 3]), (0.84, [1, 3]), (0.9, [0, 1, 3]), (1.0, range(4))],
)
def test_top_p_keeps_the_fewest_tokens_that_reach_it(top_p, kept):
    assert np.flatnonzero(chosen(FOUR, top_p=top_p)).tolist() == list(kept)


@pytest.mark.parametrize(
    "min_p, kept", [(1.0, [1]), (0.5, [1]), (0.4, [1, 3]), (0.1, [0, 1, 3]), (0, range(4))]
)
def test_min_p_keeps_what_is_not_too_far_below_the_likeliest(min_p, kept):
    assert np.flatnonzero(chosen(FOUR, min_p=min_p)).tolist() == list(kept)


def test_the_rules_apply_one_after_another():
    """top_k leaves 12/17 and 5/17, of which the first alone is 70%; 0.25/0.6 is above a third."""
    assert np.flatnonzero(chosen(FOUR, top_k=2, top_p=0.7)).tolist() == [1]
    assert np.flatnonzero(chosen(FOUR, top_k=3, top_p=0.7)).tolist() == [1, 3]
    assert np.flatnonzero(chosen(FOUR, top_k=3, min_p=1 / 3)).tolist() == [1, 3]
    assert np.flatnonzero(chosen(FOUR, temperature=0.5, min_p=1 / 3)).tolist() == [1]


def test_impossible_tokens_are_never_chosen_even_at_the_ends_of_chance():
    logits = np.array([[-np.inf, 0.0, -np.inf, 0.0]] * 2)
    assert choose(logits, np.array([0.0, np.nextafter(1, 0)])).tolist() == [1, 3]


@pytest.mark.parametrize("logits", [[0.0, np.nan], [np.inf, 0.0], [-np.inf, -np.inf]])
@pytest.mark.parametrize("temperature", [0, 1])
def test_a_model_that_answers_no_numbers_is_an_error(logits, temperature):
    with pytest.raises(NonFiniteError, match="largest logit is NaN or infinite"):
        choose(np.array([logits]), np.array([0.5]), temperature=temperature)


def test_what_was_said_becomes_less_likely_whatever_its_sign():
    logits = np.array([[2.0, -2.0, 1.0, -np.inf]])
    seen = np.array([[True, True, False, True]])
    assert penalize(logits, seen, 4.0).tolist() == [[0.5, -8.0, 1.0, -np.inf]]
    assert penalize(logits, seen, 0.5).tolist() == [[4.0, -1.0, 1.0, -np.inf]]


@pytest.mark.parametrize(
    "option, error, message",
    [
        ({"temperature": -1}, ShapeError, "temperature is -1; it must be at least 0"),
        ({"temperature": float("nan")}, ShapeError, "temperature is nan"),
        ({"temperature": float("inf")}, ShapeError, "temperature is inf"),
        ({"temperature": "hot"}, DTypeError, "temperature is 'hot'; it must be a number"),
        ({"temperature": None}, DTypeError, "temperature is None"),
        ({"top_k": 0}, ShapeError, "top_k is 0; it must be at least 1"),
        ({"top_k": 2.0}, DTypeError, r"top_k is 2\.0; it must be a whole number"),
        ({"top_p": 0}, ShapeError, "top_p is 0; it must be above 0 and at most 1"),
        ({"top_p": 1.1}, ShapeError, "top_p is 1.1"),
        ({"min_p": -0.1}, ShapeError, r"min_p is -0.1; it must be in 0\.\.1"),
        ({"min_p": 1.5}, ShapeError, "min_p is 1.5"),
        ({"repetition_penalty": 0}, ShapeError, "repetition_penalty is 0; it must be above 0"),
        ({"repetition_penalty": [1]}, DTypeError, r"repetition_penalty is \[1\]"),
    ],
)
def test_rules_that_cannot_be(option, error, message):
    with pytest.raises(error, match=f"generate: {message}"):
        Rule(**option)
