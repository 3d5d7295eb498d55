"""Losses at their edges: nothing to average, infinities, kinks; and what they refuse."""

import numpy as np
import pytest

import tinygrad_attn as ta

RNG = np.random.default_rng(0)
INF = float("inf")
PAIRS = [
    ta.mse_loss,
    ta.l1_loss,
    ta.smooth_l1_loss,
    ta.huber_loss,
    ta.binary_cross_entropy_with_logits,
    ta.kl_div,
]


def tensor(values, dtype=ta.float64):
    return ta.tensor(values, dtype=dtype, requires_grad=True)


def value_and_slope(fn, values):
    """fn(x) summed, and its gradient, as lists."""
    x = tensor(values)
    y = fn(x).sum()
    return y.item(), ta.grad(y, x).tolist()


@pytest.mark.parametrize("loss", PAIRS)
@pytest.mark.parametrize("target", [(3, 1), (4,), (1, 4), (3, 4, 1), ()])
def test_different_shapes_are_never_broadcast(loss, target):
    with pytest.raises(ta.ShapeError) as caught:
        loss(ta.ones(3, 4), ta.ones(target))
    message = f"is (3, 4), target is {target}; the shapes must be equal"
    assert message in str(caught.value) and str(caught.value).startswith(loss.__name__)


@pytest.mark.parametrize(
    "loss", [*PAIRS, lambda x, t, **how: ta.nll_loss(x, ta.tensor([0]), **how)]
)
def test_an_unknown_reduction_is_refused(loss):
    with pytest.raises(ta.DTypeError, match='it must be "mean", "sum" or "none"'):
        loss(ta.ones(1, 2), ta.ones(1, 2), reduction="average")


@pytest.mark.parametrize("loss", PAIRS)
def test_reductions_are_of_the_same_losses(loss):
    x = ta.tensor(RNG.normal(size=(3, 4)))
    t = ta.sigmoid(ta.tensor(RNG.normal(size=(3, 4))))
    each = loss(x, t, reduction="none")
    assert each.shape == (3, 4)
    assert loss(x, t, reduction="sum").item() == pytest.approx(each.sum().item())
    assert loss(x, t).item() == pytest.approx(each.mean().item())


@pytest.mark.parametrize("loss", PAIRS)
def test_the_mean_of_an_empty_batch_is_0(loss):
    x = ta.zeros(0, 3, requires_grad=True)
    y = loss(x, ta.zeros(0, 3))
    assert y.item() == 0 and ta.grad(y, x).shape == (0, 3)


@pytest.mark.parametrize("loss", PAIRS)
def test_dtypes(loss):
    half = ta.ones(2, dtype=ta.float16)
    assert loss(half, half).dtype == ta.float16
    assert loss(ta.ones(2), ta.tensor([0, 1])).dtype == ta.float32
    assert loss(ta.tensor([0, 1]), ta.tensor([0, 1])).dtype == ta.float32


def test_half_precision_means_do_not_overflow():
    x = ta.full((70_000,), 2.0, dtype=ta.float16)
    assert ta.mse_loss(x, ta.zeros_like(x)).item() == 4


# ---- numbers ------------------------------------------------------------------------------------


def test_absolute_errors_have_slope_0_at_their_kink():
    for loss in (ta.l1_loss, lambda x, t, how: ta.smooth_l1_loss(x, t, how, beta=0)):
        y, slope = value_and_slope(lambda x, f=loss: f(x, ta.zeros(3), "sum"), [-2.0, 0.0, 3.0])
        assert (y, slope) == (5, [-1, 0, 1])


def test_rounded_tips_meet_their_sides():
    points = [-3.0, -0.5, 0.0, 0.25, 0.5, 3.0]
    y, slope = value_and_slope(lambda x: ta.smooth_l1_loss(x, ta.zeros(6), "none", 0.5), points)
    assert (y, slope) == (6.0625, [-1, -1, 0, 0.5, 1, 1])
    y, slope = value_and_slope(lambda x: ta.huber_loss(x, ta.zeros(6), "none", 0.5), points)
    assert (y, slope) == (3.03125, [-0.5, -0.5, 0, 0.25, 0.5, 0.5])


@pytest.mark.parametrize("loss", [ta.l1_loss, ta.smooth_l1_loss, ta.huber_loss])
def test_a_linear_error_has_a_slope_even_at_infinity(loss):
    y, slope = value_and_slope(lambda x: loss(x, ta.zeros(3), "sum"), [INF, 1e300, -INF])
    assert (y, slope) == (INF, [1, 1, -1])


@pytest.mark.parametrize(
    ("loss", "options", "message"),
    [
        (ta.smooth_l1_loss, {"beta": -1}, "smooth_l1_loss: beta is -1; it must be 0 or more"),
        (ta.huber_loss, {"delta": 0}, "huber_loss: delta is 0; it must be greater than 0"),
        (
            ta.binary_cross_entropy_with_logits,
            {"weight": np.ones((2, 3))},
            "weight is (2, 3), logits are (3,); counted from the last axis, each size of weight "
            "must be 1 or that of the logits",
        ),
        (ta.binary_cross_entropy_with_logits, {"pos_weight": np.ones(2)}, "pos_weight is (2,)"),
    ],
)
def test_options_outside_their_domain_are_refused(loss, options, message):
    with pytest.raises(ta.ShapeError) as caught:
        loss(ta.ones(3), ta.ones(3), **options)
    assert message in str(caught.value)


# ---- probabilities ------------------------------------------------------------------------------


def test_a_certain_and_right_yes_or_no_costs_nothing():
    logits, target = tensor([INF, -INF, 1e4, -1e4]), tensor([1.0, 0.0, 1.0, 0.0])
    losses = ta.binary_cross_entropy_with_logits(logits, target, reduction="none")
    assert losses.tolist() == [0, 0, 0, 0]
    assert ta.grad(losses.sum(), logits).tolist() == [0, 0, 0, 0]


def test_a_certain_and_wrong_yes_or_no_has_a_slope():
    logits, target = tensor([INF, -INF, 1e4, -1e4]), tensor([0.0, 1.0, 0.0, 1.0])
    losses = ta.binary_cross_entropy_with_logits(logits, target, reduction="none")
    assert losses.tolist() == [INF, INF, 1e4, 1e4]
    assert ta.grad(losses.sum(), logits).tolist() == [1, -1, 1, -1]


def test_the_slope_of_a_yes_or_no_in_its_target_is_minus_the_logit():
    logits, target = tensor([2.0, -3.0]), tensor([0.0, 1.0])
    loss = ta.binary_cross_entropy_with_logits(logits, target, reduction="sum")
    np.testing.assert_allclose(ta.grad(loss, target).numpy(), [-2, 3])


def test_what_cannot_happen_costs_nothing_even_at_minus_infinity():
    log_probs, target = tensor([-INF, 0.0, -INF]), ta.tensor([0.0, 1.0, 0.5])
    losses = ta.kl_div(log_probs, target, "none")
    assert losses.tolist() == [0, 0, INF]
    assert ta.grad(losses.sum(), log_probs).tolist() == [0, -1, -0.5]
    logarithms = ta.kl_div(log_probs, ta.tensor([-INF, 0.0, np.log(0.5)]), "none", log_target=True)
    assert logarithms.tolist() == [0, 0, INF]


def test_divergence_by_rows():
    x, t = ta.log_softmax(ta.tensor(RNG.normal(size=(4, 3)))), ta.softmax(ta.ones(4, 3))
    by_rows = ta.kl_div(x, t, "batchmean").item()
    assert by_rows == pytest.approx(ta.kl_div(x, t, "sum").item() / 4)
    with pytest.raises(ta.ShapeError, match="no rows to divide by"):
        ta.kl_div(ta.ones(()), ta.ones(()), "batchmean")


# ---- classes ------------------------------------------------------------------------------------

LAYOUTS = [((5, 3), -1), ((2, 3, 4), 1), ((3,), 0), ((3, 2), 0)]


@pytest.mark.parametrize(("shape", "axis"), LAYOUTS)
@pytest.mark.parametrize("is_weighted", [False, True])
@pytest.mark.parametrize("ignored", [-100, 1])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_nll_of_log_softmax_is_cross_entropy(shape, axis, is_weighted, ignored, reduction):
    logits = tensor(RNG.normal(size=shape))
    target = ta.tensor(RNG.integers(0, 3, np.delete(shape, axis)))
    weight = ta.tensor([0.5, 2.0, 3.0], dtype=ta.float64) if is_weighted else None
    options = {"weight": weight, "ignore_index": ignored, "reduction": reduction}
    y = ta.nll_loss(ta.log_softmax(logits, axis), target, axis, **options)
    expected = ta.cross_entropy(logits, target, axis, **options)
    assert y.shape == expected.shape
    np.testing.assert_allclose(y.numpy(), expected.numpy(), atol=1e-15)
    g, g_expected = (ta.grad(loss.sum(), logits) for loss in (y, expected))
    np.testing.assert_allclose(g.numpy(), g_expected.numpy(), atol=1e-15)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_a_batch_in_which_all_is_ignored_has_loss_0_and_gradient_0(reduction):
    x = tensor([[-INF, -1.0], [-2.0, -3.0]])
    y = ta.nll_loss(x, ta.tensor([-100, -100]), reduction=reduction)
    assert y.item() == 0 and ta.grad(y, x).tolist() == [[0, 0], [0, 0]]
    empty = ta.zeros(0, 3, requires_grad=True)
    assert ta.nll_loss(empty, ta.zeros(0, dtype=ta.int64)).item() == 0


def test_a_class_at_minus_infinity_costs_only_where_it_is_the_target():
    x = tensor([[-INF, 0.0, -INF]])
    y = ta.nll_loss(x, ta.tensor([1]))
    assert y.item() == 0 and ta.grad(y, x).tolist() == [[0, -1, 0]]
    y = ta.nll_loss(x, ta.tensor([0]))
    assert y.item() == INF and ta.grad(y, x).tolist() == [[-1, 0, 0]]
    assert ta.nll_loss(x, ta.tensor([0]), weight=ta.tensor([0.0, 1.0, 1.0])).item() == 0


def test_one_class_is_always_right():
    assert ta.nll_loss(ta.log_softmax(ta.ones(4, 1)), ta.zeros(4, dtype=ta.int64)).item() == 0


@pytest.mark.parametrize(
    ("error", "shape", "target", "options", "message"),
    [
        (
            ta.IndexRangeError,
            (2, 3),
            [0, 3],
            {},
            "nll_loss: target 3 at index (1,) is outside 0..2",
        ),
        (ta.IndexRangeError, (2, 3), [-1, 0], {}, "nll_loss: target -1 at index (0,) is outside"),
        (ta.DTypeError, (2, 3), [0.0, 1.0], {}, "nll_loss: target is float32; classes are whole"),
        (ta.DTypeError, (2, 3), [True, False], {}, "nll_loss: target is bool"),
        (
            ta.ShapeError,
            (2, 3),
            [[0], [1]],
            {},
            "target is (2, 1), log_probs are (2, 3)",
        ),
        (ta.ShapeError, (2, 3), [0, 1], {"axis": 0}, "the target must be (3,)"),
        (ta.ShapeError, (2, 3), [0, 1], {"axis": 2}, "nll_loss: axis 2 is out of range"),
        (ta.ShapeError, (2, 3), [0, 1], {"weight": [1.0, 2.0]}, "weight must be (3,)"),
        (ta.ShapeError, (), 0, {}, "nll_loss: axis -1 is out of range"),
    ],
)
def test_classes_that_do_not_fit_are_refused(error, shape, target, options, message):
    with pytest.raises(error) as caught:
        ta.nll_loss(ta.zeros(shape), target, **options)
    assert message in str(caught.value)
