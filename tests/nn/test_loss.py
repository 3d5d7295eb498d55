"""Losses as layers: each passes its options on to the function of its name."""

import numpy as np
import pytest

import tinygrad_attn as ta
from tests import standin  # noqa: F401 registers the device "standin"
from tinygrad_attn import nn
from tinygrad_attn.errors import DTypeError, ShapeError

RNG = np.random.default_rng(0)
P, T = (ta.tensor(RNG.standard_normal((3, 4)).astype(np.float32) * 2) for _ in range(2))
PROBS = ta.softmax(T)
CLASSES = ta.tensor([3, 0, 2])
FACTORS = ta.tensor([0.5, 1.0, 2.0, 3.0])


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(
    ("layer", "function", "target", "options"),
    [
        (nn.CrossEntropyLoss, ta.cross_entropy, CLASSES, {}),
        (nn.CrossEntropyLoss, ta.cross_entropy, PROBS, {"weight": FACTORS}),
        (
            nn.CrossEntropyLoss,
            ta.cross_entropy,
            CLASSES,
            {"ignore_index": 0, "label_smoothing": 0.1, "weight": FACTORS},
        ),
        (nn.CrossEntropyLoss, ta.cross_entropy, ta.tensor([2, 1, 0, 1]), {"axis": 0}),
        (nn.NLLLoss, ta.nll_loss, CLASSES, {"weight": FACTORS, "ignore_index": 2}),
        (nn.NLLLoss, ta.nll_loss, ta.tensor([2, 1, 0, 1]), {"axis": 0}),
        (nn.MSELoss, ta.mse_loss, T, {}),
        (nn.L1Loss, ta.l1_loss, T, {}),
        (nn.SmoothL1Loss, ta.smooth_l1_loss, T, {"beta": 0.7}),
        (nn.HuberLoss, ta.huber_loss, T, {"delta": 0.7}),
        (nn.BCEWithLogitsLoss, ta.binary_cross_entropy_with_logits, PROBS, {}),
        (
            nn.BCEWithLogitsLoss,
            ta.binary_cross_entropy_with_logits,
            PROBS,
            {"weight": FACTORS, "pos_weight": FACTORS},
        ),
        (nn.KLDivLoss, ta.kl_div, PROBS, {}),
        (nn.KLDivLoss, ta.kl_div, T, {"log_target": True}),
    ],
)
def test_the_layer_is_the_function(layer, function, target, options, reduction):
    y = layer(**options, reduction=reduction)(P, target)
    expected = function(P, target, **options, reduction=reduction)
    np.testing.assert_array_equal(y.numpy(), expected.numpy())
    assert y.dtype == ta.float32


def test_the_default_is_the_mean():
    p, t = P.numpy(), T.numpy()
    np.testing.assert_allclose(nn.MSELoss()(P, T).item(), np.mean((p - t) ** 2), rtol=1e-6)
    np.testing.assert_allclose(nn.L1Loss()(P, T).item(), np.mean(np.abs(p - t)), rtol=1e-6)
    log_p = p - np.log(np.exp(p).sum(axis=1, keepdims=True))
    expected = -log_p[np.arange(3), CLASSES.numpy()].mean()
    np.testing.assert_allclose(nn.CrossEntropyLoss()(P, CLASSES).item(), expected, rtol=1e-6)


def test_the_mean_of_a_divergence_may_be_over_the_batch():
    log_p, q = ta.log_softmax(P), PROBS.numpy()
    expected = (q * (np.log(q) - log_p.numpy())).sum() / 3
    loss = nn.KLDivLoss(reduction="batchmean")(log_p, PROBS)
    np.testing.assert_allclose(loss.item(), expected, rtol=1e-5)


def test_weights_are_buffers_that_move_and_are_saved():
    loss = nn.CrossEntropyLoss(weight=FACTORS)
    assert list(loss.state_dict()) == ["weight"] and list(loss.parameters()) == []
    assert list(nn.CrossEntropyLoss().state_dict()) == []
    expected = loss(P, CLASSES).item()
    loss.to("standin")
    there = loss(P.to("standin"), CLASSES.to("standin"))
    np.testing.assert_allclose(there.item(), expected, rtol=1e-6)


def test_gradients():
    loss = nn.CrossEntropyLoss(label_smoothing=0.1)
    assert ta.gradcheck(lambda x: loss(x, CLASSES), P.to(ta.float64), order=2)


@pytest.mark.parametrize(
    "kind",
    [nn.CrossEntropyLoss, nn.NLLLoss, nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, nn.HuberLoss],
)
def test_the_reduction_is_checked_when_it_is_set(kind):
    with pytest.raises(DTypeError, match=f"{kind.__name__}: reduction is 'avg'; it must be one of"):
        kind(reduction="avg")


def test_smoothing_is_checked_when_it_is_set():
    with pytest.raises(ShapeError, match=r"label_smoothing is 1\.5; .* must be in 0\.\.1"):
        nn.CrossEntropyLoss(label_smoothing=1.5)
