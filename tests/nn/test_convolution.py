"""Conv1d and CausalConv1d: the sum written out, borders, causality, and what is refused."""

import math

import numpy as np
import pytest

import tinygrad_attn as ta
from tinygrad_attn import nn
from tinygrad_attn.errors import DTypeError, ShapeError


def random(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def by_hand(layer, x):
    """y[b, o, i] = Σ W[o, c, k]·x[b, c, i·stride + k·dilation] + b[o], x with its border."""
    w, stride, dilation = layer.weight.numpy(), layer.stride, layer.dilation
    out, width, size = w.shape
    count = (x.shape[2] - dilation * (size - 1) - 1) // stride + 1
    y = np.zeros((len(x), out, count))
    for o in range(out):
        start = o * layer.groups // out * width  # the first channel of its group
        for i in range(count):
            for k in range(size):
                y[:, o, i] += x[:, start : start + width, i * stride + k * dilation] @ w[o, :, k]
    return y if layer.bias is None else y + layer.bias.numpy()[:, None]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"bias": False},
        {"stride": 2},
        {"dilation": 2},
        {"groups": 2},
        {"stride": 3, "dilation": 2, "groups": 2, "bias": False},
    ],
    ids=str,
)
@pytest.mark.parametrize("size", [1, 2, 3])
def test_the_sum(size, options):
    x = random(2, 4, 9)
    layer = nn.Conv1d(4, 6, size, **options)
    y = layer(ta.tensor(x))
    assert y.dtype == ta.float32
    np.testing.assert_allclose(y.numpy(), by_hand(layer, x), atol=1e-5)
    np.testing.assert_allclose(layer(ta.tensor(x[0])).numpy(), y.numpy()[0], atol=1e-6)
    causal = nn.CausalConv1d(4, 6, size, **options)
    past = np.pad(x, ((0, 0), (0, 0), (causal.dilation * (size - 1), 0)))
    np.testing.assert_allclose(causal(ta.tensor(x)).numpy(), by_hand(causal, past), atol=1e-5)


@pytest.mark.parametrize(
    ("padding", "width"),
    [(0, (0, 0)), (2, (2, 2)), ("valid", (0, 0)), ("same", (1, 2))],  # of size 4
)
@pytest.mark.parametrize(
    ("mode", "theirs"),
    [("zeros", "constant"), ("reflect", "reflect"), ("replicate", "edge"), ("circular", "wrap")],
)
def test_borders(padding, width, mode, theirs):
    x = random(2, 3, 8)
    layer = nn.Conv1d(3, 2, 4, padding=padding, padding_mode=mode)
    expected = by_hand(layer, np.pad(x, ((0, 0), (0, 0), width), mode=theirs))
    np.testing.assert_allclose(layer(ta.tensor(x)).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize(("size", "dilation"), [(1, 1), (3, 1), (2, 4)])
def test_a_causal_output_does_not_change_with_what_comes_after(size, dilation):
    layer, x = nn.CausalConv1d(3, 5, size, dilation=dilation), random(2, 3, 10)
    before = layer(ta.tensor(x)).numpy()
    assert before.shape == (2, 5, 10)
    for t in range(1, 10):
        changed = x.copy()
        changed[:, :, t:] = math.nan
        after = layer(ta.tensor(changed)).numpy()
        np.testing.assert_array_equal(after[:, :, :t], before[:, :, :t])
        assert np.isnan(after[:, :, t]).all()


def test_each_causal_output_sees_the_last_steps_and_no_others():
    layer, x = nn.CausalConv1d(1, 1, 3, dilation=2), ta.tensor(random(1, 8), requires_grad=True)
    (gradient,) = ta.grad(layer(x)[0, 6], [x])
    np.testing.assert_array_equal(np.flatnonzero(gradient.numpy()[0]), [2, 4, 6])


def test_names_shapes_and_first_weights():
    layer = nn.Conv1d(8, 400, 2, groups=4, generator=ta.Generator(0))
    shapes = {name: p.shape for name, p in layer.state_dict().items()}
    assert shapes == {"weight": (400, 2, 2), "bias": (400,)}
    for p in layer.parameters():
        assert 0.49 < np.abs(p.numpy()).max() <= 0.5  # 1/√4
    assert list(nn.CausalConv1d(2, 3, 2, bias=False).state_dict()) == ["weight"]
    first = layer.weight.numpy().copy()
    layer.reset_parameters(ta.Generator(0))
    np.testing.assert_array_equal(layer.weight.numpy(), first)


def test_gradients_to_second_order():
    x = ta.randn(2, 2, 5, generator=ta.Generator(0))
    assert ta.check_module(nn.Conv1d(2, 2, 2, padding=1, groups=2), x)
    assert ta.check_module(nn.CausalConv1d(2, 1, 2, dilation=2), x)


def test_another_device_gives_the_same(device):
    x = random(2, 3, 6)
    for layer in (nn.Conv1d(3, 2, 3, padding="same"), nn.CausalConv1d(3, 2, 3)):
        expected = layer(ta.tensor(x)).numpy()
        y = layer.to(device)(ta.tensor(x, device=device))
        y.sum().backward()
        assert y.device == layer.weight.grad.device
        np.testing.assert_allclose(y.cpu().numpy(), expected, atol=1e-6)


def test_repr_says_what_is_unusual():
    layer = nn.Conv1d(4, 6, 3, padding="same", groups=2, bias=False, padding_mode="circular")
    described = "padding='same', groups=2, padding_mode='circular', bias=False"
    assert repr(layer) == f"Conv1d(4, 6, kernel_size=3, {described})"
    assert repr(nn.CausalConv1d(4, 6, 3)) == "CausalConv1d(4, 6, kernel_size=3)"


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: nn.Conv1d(4, 6, 0), ShapeError, "Conv1d: kernel_size is 0"),
        (lambda: nn.Conv1d(4, 6, (3,)), DTypeError, "Conv1d: kernel_size is (3,)"),
        (lambda: nn.CausalConv1d(4, 6, 3, groups=3), ShapeError, "groups must divide both"),
        (lambda: nn.Conv1d(4, 6, 3, padding=-1), ShapeError, "Conv1d: padding is -1"),
        (lambda: nn.Conv1d(4, 6, 3, padding="full"), ShapeError, "padding is 'full'"),
        (lambda: nn.Conv1d(4, 6, 3, padding=1.0), DTypeError, "padding is 1.0"),
        (lambda: nn.Conv1d(4, 6, 3, 2, "same"), ShapeError, "only stride 1 keeps the length"),
        (lambda: nn.Conv1d(4, 6, 3, padding_mode="none"), DTypeError, "padding_mode is 'none'"),
        (lambda: nn.Conv1d(4, 6, 3)(ta.ones(2, 5, 9)), ShapeError, "Conv1d: x is (2, 5, 9)"),
        (lambda: nn.CausalConv1d(4, 6, 3)(ta.ones(4)), ShapeError, "CausalConv1d: x is (4,)"),
        (lambda: nn.Conv1d(4, 6, 3)(ta.ones(4, 2)), ShapeError, "a window of 3 does not fit"),
    ],
)
def test_what_is_refused(call, error, text):
    with pytest.raises(error) as caught:
        call()
    assert text in str(caught.value)
