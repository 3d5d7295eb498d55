"""RNN, LSTM, GRU: the recurrences written out, lengths, directions, PyTorch's names, gradients."""

import math

import numpy as np
import pytest

import tinygrad_attn as ta
from tinygrad_attn import nn
from tinygrad_attn.core.graph import changed_mode
from tinygrad_attn.errors import DTypeError, ShapeError

KINDS = {
    "RNN": (nn.RNN, {}),
    "RNN, relu": (nn.RNN, {"nonlinearity": "relu"}),
    "LSTM": (nn.LSTM, {}),
    "GRU": (nn.GRU, {}),
}
OPTIONS = [
    {},
    {"bias": False},
    {"num_layers": 3},
    {"bidirectional": True},
    {"num_layers": 2, "bidirectional": True},
]


def made(name, **options):
    kind, more = KINDS[name]
    return kind(3, 4, **more, **options, generator=ta.Generator(0))


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def σ(x):
    return 1 / (1 + np.exp(-x))


# ---- the recurrences, one sequence and one step at a time ----------------------------------------


def rnn(x, h):
    return np.tanh(x + h)


def relu_rnn(x, h):
    return np.maximum(x + h, 0)


def lstm(x, h, c):
    i, f, g, o = np.split(x + h, 4)
    c = σ(f) * c + σ(i) * np.tanh(g)
    return σ(o) * np.tanh(c), c


def gru(x, h, old):
    (xr, xz, xn), (hr, hz, hn) = np.split(x, 3), np.split(h, 3)
    z = σ(xz + hz)
    return (1 - z) * np.tanh(xn + σ(xr + hr) * hn) + z * old


def by_hand(name, layer, x, state):
    """Outputs and last states (D·layers, H) of one sequence x (T, in) from states of that shape."""
    weights = {key: value.numpy() for key, value in layer.state_dict().items()}
    suffixes = ("", "_reverse") if layer.bidirectional else ("",)
    last = [part.copy() for part in state]
    for k in range(layer.num_layers):
        outputs = []
        for d, suffix in enumerate(suffixes):
            w, u = weights[f"weight_ih_l{k}{suffix}"], weights[f"weight_hh_l{k}{suffix}"]
            b = weights.get(f"bias_ih_l{k}{suffix}", 0)
            c = weights.get(f"bias_hh_l{k}{suffix}", 0)
            row = k * len(suffixes) + d
            now = [part[row] for part in last]
            ys = []
            for step in x[::-1] if suffix else x:
                mapped, recurrent = w @ step + b, u @ now[0] + c
                if name == "LSTM":
                    now = lstm(mapped, recurrent, now[1])
                elif name == "GRU":
                    now = [gru(mapped, recurrent, now[0])]
                else:
                    now = [(relu_rnn if "relu" in name else rnn)(mapped, recurrent)]
                ys.append(now[0])
            outputs.append(np.array(ys[::-1] if suffix else ys).reshape(len(x), -1))
            for part, new in zip(last, now):
                part[row] = new
        x = np.concatenate(outputs, axis=1)
    return x, last


@pytest.mark.parametrize("has_lengths", [False, True])
@pytest.mark.parametrize("has_state", [False, True])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("name", KINDS)
def test_the_recurrence_of_each_sequence(name, options, has_state, has_lengths):
    layer = made(name, **options)
    x, lengths = random(3, 5, 3), [5, 2, 1] if has_lengths else [5] * 3
    rows = layer.num_layers * (1 + layer.bidirectional)
    state = [random(rows, 3, 4, seed=i) * has_state for i in range(layer.memories)]
    given = tuple(map(ta.tensor, state)) if name == "LSTM" else ta.tensor(state[0])
    y, last = layer(
        ta.tensor(x), given if has_state else None, lengths=lengths if has_lengths else None
    )
    last = last if name == "LSTM" else (last,)
    for b, n in enumerate(lengths):
        expected, ends = by_hand(name, layer, x[b, :n], [part[:, b] for part in state])
        np.testing.assert_allclose(y.numpy()[b, :n], expected, atol=1e-5)
        assert not y.numpy()[b, n:].any()
        for part, end in zip(last, ends):
            np.testing.assert_allclose(part.numpy()[:, b], end, atol=1e-5)


# ---- lengths -------------------------------------------------------------------------------------


@pytest.mark.parametrize("filler", [0.0, 7.0, math.nan, math.inf])
@pytest.mark.parametrize("name", KINDS)
def test_what_lies_beyond_the_lengths_has_no_influence(name, filler):
    layer = made(name, num_layers=2, bidirectional=True)
    x, real = random(3, 4, 3), np.arange(4) < np.array([[4], [2], [0]])
    found = []
    for value in (1.0, filler):
        z = ta.tensor(np.where(real[..., None], x, value).astype(np.float32), requires_grad=True)
        y, last = layer(z, lengths=[4, 2, 0])
        last = last if name == "LSTM" else (last,)
        inputs = [z, *layer.parameters()]
        gradients = ta.grad((y * y).sum() + sum((h * h).sum() for h in last), inputs)
        found.append([t.numpy() for t in (y, *last, *gradients)])
    for before, after in zip(*found):
        assert np.isfinite(after).all()
        np.testing.assert_array_equal(before, after)
    gradient = found[1][1 + layer.memories]
    assert not gradient[~real].any() and gradient[real].all()


@pytest.mark.parametrize("name", KINDS)
def test_a_sequence_of_no_steps_keeps_its_state(name):
    layer = made(name)
    start = ta.tensor(random(1, 2, 4))
    _, last = layer(ta.ones(2, 3, 3), (start, start) if name == "LSTM" else start, lengths=[0, 3])
    last = last[1] if name == "LSTM" else last
    np.testing.assert_array_equal(last.numpy()[0, 0], start.numpy()[0, 0])
    assert (last.numpy()[0, 1] != start.numpy()[0, 1]).all()


@pytest.mark.parametrize("name", KINDS)
def test_a_run_in_two_parts_is_one_run(name):
    layer, x = made(name, num_layers=2), ta.tensor(random(2, 7, 3))
    whole, end = layer(x)
    first, state = layer(x[:, :3])
    second, state = layer(x[:, 3:], state)
    np.testing.assert_allclose(ta.concatenate([first, second], 1).numpy(), whole.numpy(), atol=1e-6)
    for part, expected in zip(state, end):
        np.testing.assert_allclose(part.numpy(), expected.numpy(), atol=1e-6)


@pytest.mark.parametrize("name", KINDS)
def test_one_direction_looks_back_only(name):
    layer, x = made(name, num_layers=2), random(1, 6, 3)
    before = layer(ta.tensor(x))[0].numpy()
    x[:, 4:] = 9.0
    after = layer(ta.tensor(x))[0].numpy()
    np.testing.assert_array_equal(before[:, :4], after[:, :4])
    assert (before[:, 4:] != after[:, 4:]).any()
    both = made(name, bidirectional=True)
    assert (both(ta.tensor(x))[0].numpy() != both(ta.ones(1, 6, 3))[0].numpy())[0, 0].any()


# ---- parameters, gradients, dropout --------------------------------------------------------------


def test_names_shapes_and_order_are_those_of_pytorch():
    shapes = {name: p.shape for name, p in nn.LSTM(3, 4, 2, bidirectional=True).named_parameters()}
    assert list(shapes.items())[:5] == [
        ("weight_ih_l0", (16, 3)),
        ("weight_hh_l0", (16, 4)),
        ("bias_ih_l0", (16,)),
        ("bias_hh_l0", (16,)),
        ("weight_ih_l0_reverse", (16, 3)),
    ]
    assert shapes["weight_ih_l1_reverse"] == (16, 8) and len(shapes) == 16
    assert nn.GRU(3, 4).weight_ih_l0.shape == (12, 3)
    assert list(nn.RNN(3, 4, bias=False).state_dict()) == ["weight_ih_l0", "weight_hh_l0"]


def test_first_weights_are_uniform_within_one_over_the_root_of_the_width():
    layer = nn.GRU(50, 100, generator=ta.Generator(0))
    for p in layer.parameters():
        assert 0.09 < np.abs(p.numpy()).max() <= 0.1
    first = layer.weight_hh_l0.numpy().copy()
    layer.reset_parameters(ta.Generator(0))
    np.testing.assert_array_equal(layer.weight_hh_l0.numpy(), first)


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_gradients_to_second_order(name):
    kind, options = KINDS[name]
    layer = kind(2, 2, **options, bidirectional=True, generator=ta.Generator(1))
    x = ta.randn(2, 3, 2, generator=ta.Generator(2))
    assert ta.check_module(layer, {"x": x, "lengths": ta.tensor([3, 2])})


def test_steps_are_cut_out_without_a_cost_that_grows_with_their_square():
    """Going back holds log₂ T gradients of the size of the whole, and not T."""
    x = ta.tensor(random(1, 64, 3), requires_grad=True)
    cut = 0

    def count(op, phase, run, operands, node):
        nonlocal cut
        y = run()
        if phase == "backward" and op.name == "gather" and y.ndim == 3:
            cut += y.size
        return y

    y, _ = made("RNN")(x)
    with changed_mode(watchers=(count,)):
        y.sum().backward()
    assert 64 * 4 <= cut <= 7 * 64 * 4 * 2


def test_dropout_stands_between_layers_in_training_only():
    x = ta.tensor(random(2, 5, 3))
    for layers, differs in ((1, False), (2, True)):
        layer = made("GRU", num_layers=layers, dropout=0.5)
        ta.manual_seed(0)
        first, second = layer(x)[0].numpy(), layer(x)[0].numpy()
        assert (first != second).any() == differs
        ta.manual_seed(0)
        np.testing.assert_array_equal(layer(x)[0].numpy(), first)
        layer.eval()
        np.testing.assert_array_equal(layer(x)[0].numpy(), layer(x)[0].numpy())


def test_dtypes_and_devices(device):
    for name in KINDS:
        layer, x = made(name, bidirectional=True), random(2, 4, 3)
        expected = layer(ta.tensor(x), lengths=[4, 2])[0].numpy()
        layer.to(device)
        y, _ = layer(ta.tensor(x, device=device), lengths=[4, 2])
        y.sum().backward()
        assert y.dtype == ta.float32 and y.device == layer.weight_hh_l0.grad.device
        np.testing.assert_allclose(y.cpu().numpy(), expected, atol=1e-6)


def test_repr_says_what_is_unusual():
    assert repr(nn.LSTM(3, 4)) == "LSTM(3, 4)"
    layer = nn.RNN(3, 4, 2, "relu", dropout=0.1, bidirectional=True)
    described = "num_layers=2, nonlinearity='relu', dropout=0.1, bidirectional=True"
    assert repr(layer) == f"RNN(3, 4, {described})"


# ---- what is refused -----------------------------------------------------------------------------

X = ta.ones(2, 5, 3)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: nn.GRU(0, 4), ShapeError, "GRU: input_size is 0; it must be at least 1"),
        (lambda: nn.GRU(3, 4.0), DTypeError, "GRU: hidden_size is 4.0"),
        (lambda: nn.LSTM(3, 4, 0), ShapeError, "LSTM: num_layers is 0"),
        (lambda: nn.LSTM(3, 4, dropout=2), ShapeError, "LSTM: the probability is 2"),
        (lambda: nn.LSTM(3, 4, batch_first=False), ShapeError, "LSTM: batch_first is False"),
        (lambda: nn.RNN(3, 4, nonlinearity="gelu"), DTypeError, "RNN: nonlinearity is 'gelu'"),
        (lambda: nn.LSTM(3, 4)(ta.ones(5, 3)), ShapeError, "LSTM: x is (5, 3); it must be (batch"),
        (lambda: nn.LSTM(3, 4)(ta.ones(2, 5, 4)), ShapeError, "LSTM: x is (2, 5, 4)"),
        (lambda: nn.LSTM(3, 4)(ta.ones(2, 0, 3)), ShapeError, "at least one step long"),
        (lambda: nn.LSTM(3, 4)(X, ta.ones(1, 2, 4)), DTypeError, "it must be a pair (h, c)"),
        (lambda: nn.LSTM(3, 4)(X, (ta.ones(1, 2, 4),)), DTypeError, "state is a tuple"),
        (
            lambda: nn.GRU(3, 4)(X, ta.ones(2, 4)),
            ShapeError,
            "GRU: state is (2, 4), x is (2, 5, 3)",
        ),
        (lambda: nn.GRU(3, 4)(X, ta.ones(2, 2, 4)), ShapeError, "hidden_size) = (1, 2, 4)"),
        (lambda: nn.GRU(3, 4)(X, lengths=[5]), ShapeError, "GRU: lengths are [5], x is (2, 5, 3)"),
        (lambda: nn.GRU(3, 4)(X, lengths=[5, 6]), ShapeError, "2 of them, each in 0..5"),
        (lambda: nn.GRU(3, 4)(X, lengths=[5, -1]), ShapeError, "lengths are [5, -1]"),
        (lambda: nn.GRU(3, 4)(X, lengths=[5.0, 1.0]), DTypeError, "lengths are float32"),
    ],
)
def test_what_is_refused(call, error, text):
    with pytest.raises(error) as caught:
        call()
    assert text in str(caught.value)
