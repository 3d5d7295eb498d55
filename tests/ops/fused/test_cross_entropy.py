"""cross_entropy at its edges: what is ignored, what is impossible, what is wrong."""

import math

import numpy as np
import pytest

import tinygrad_attn as ta

LOGITS = [[1.0, 2.0, 0.5], [0.1, -0.2, 0.3]]


def by_hand(logits, target):
    z = np.asarray(logits)
    return np.log(np.exp(z).sum(-1)) - z[np.arange(len(z)), target]


def test_value():
    loss = ta.cross_entropy(ta.tensor(LOGITS), ta.tensor([1, 2]))
    assert loss.item() == pytest.approx(by_hand(LOGITS, [1, 2]).mean(), rel=1e-6)


def test_classes_may_be_on_axis_1():
    logits = ta.randn(2, 5, 3, generator=ta.Generator(0))
    target = ta.tensor([[0, 1, 4], [2, 2, 3]])
    last = ta.cross_entropy(ta.swapaxes(logits, 1, 2), target, reduction="none")
    np.testing.assert_array_equal(
        ta.cross_entropy(logits, target, axis=1, reduction="none").numpy(), last.numpy()
    )


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_all_ignored_is_zero(reduction):
    logits = ta.tensor(LOGITS, requires_grad=True)
    loss = ta.cross_entropy(logits, ta.tensor([-100, -100]), reduction=reduction)
    assert (loss.numpy() == 0).all()
    loss.sum().backward()
    assert (logits.grad.numpy() == 0).all()


def test_an_empty_batch_is_zero():
    assert ta.cross_entropy(ta.zeros(0, 3), ta.zeros(0, dtype="int64")).item() == 0


def test_an_ignored_row_may_hold_anything():
    logits = ta.tensor([[math.nan, math.inf, 0.0], LOGITS[1]], requires_grad=True)
    loss = ta.cross_entropy(logits, ta.tensor([-100, 2]))
    assert loss.item() == pytest.approx(by_hand(LOGITS, [1, 2])[1], rel=1e-6)
    loss.backward()
    assert (logits.grad.numpy()[0] == 0).all()


def test_an_impossible_class_costs_nothing_until_it_comes():
    logits = ta.tensor([[0.0, -math.inf, 0.0]], requires_grad=True)
    loss = ta.cross_entropy(logits, ta.tensor([0]))
    assert loss.item() == pytest.approx(math.log(2))
    loss.backward()
    np.testing.assert_allclose(logits.grad.numpy(), [[-0.5, 0.0, 0.5]])
    assert ta.cross_entropy(logits, ta.tensor([1])).item() == math.inf


def test_one_class_is_no_surprise():
    assert ta.cross_entropy(ta.tensor([[3.0], [-2.0]]), ta.tensor([0, 0])).item() == 0


def test_class_numbers_and_one_hot_probabilities_agree():
    logits = ta.tensor(LOGITS, requires_grad=True)
    one_hot = ta.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    for options in ({}, {"label_smoothing": 0.3}, {"weight": ta.tensor([1.0, 1.0, 1.0])}):
        numbers = ta.cross_entropy(logits, ta.tensor([1, 2]), **options)
        shares = ta.cross_entropy(logits, one_hot, **options)
        assert numbers.item() == pytest.approx(shares.item(), rel=1e-6)


def test_weights_divide_the_mean_too():
    weight = ta.tensor([1.0, 2.0, 4.0])
    loss = ta.cross_entropy(ta.tensor(LOGITS), ta.tensor([1, 2]), weight=weight)
    assert loss.item() == pytest.approx((by_hand(LOGITS, [1, 2]) * [2, 4]).sum() / 6, rel=1e-6)


@pytest.mark.parametrize(
    "arguments, error, words",
    [
        (
            ([[0.0, 1.0]], [2]),
            ta.IndexRangeError,
            "target 2 at index (0,) is outside 0..1 (logits have 2",
        ),
        (([[0.0, 1.0]], [-1]), ta.IndexRangeError, "target -1 at index (0,)"),
        (
            ([[0.0, 1.0]], [0, 1]),
            ta.ShapeError,
            "target is (2,), logits are (1, 2), classes last; the target must be (1,)",
        ),
        (([[0.0, 1.0]], [True]), ta.DTypeError, "classes are integers"),
        (([[0, 1]], [0]), ta.DTypeError, "logits are int64"),
        (([[0.0, 1.0]], [[0.5, 0.5, 0.0]]), ta.ShapeError, "one number for each logit"),
        (([[], []], [0, 0]), ta.ShapeError, "logits are (2, 0), with no classes on axis 1"),
    ],
)
def test_what_is_refused(arguments, error, words):
    with pytest.raises(error) as caught:
        ta.cross_entropy(*map(ta.tensor, arguments))
    assert words in str(caught.value)
    assert str(caught.value).startswith("cross_entropy: ")


def test_unknown_reduction_and_smoothing_are_refused():
    logits, target = ta.tensor(LOGITS), ta.tensor([1, 2])
    with pytest.raises(ta.DTypeError, match="reduction is 'avg'"):
        ta.cross_entropy(logits, target, reduction="avg")
    with pytest.raises(ta.ShapeError, match="label_smoothing is 2"):
        ta.cross_entropy(logits, target, label_smoothing=2)
