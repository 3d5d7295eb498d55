"""detect_anomaly: the first op with a NaN or an infinity is named, forward and back."""

import numpy as np
import pytest

import tinygrad_attn as ta
from tinygrad_attn.core.graph import Mode, mode

INF, NAN = float("inf"), float("nan")


def caught(fn, *args):
    """The message of the NonFiniteError that ``fn`` raises."""
    with pytest.raises(ta.NonFiniteError) as raised, ta.detect_anomaly():
        fn(*args)
    return str(raised.value)


def test_a_nan_is_named_where_it_is_made():
    def program(x):
        y = ta.exp(x)
        z = y / 0  # the culprit
        return ta.log(z).sum()

    message = caught(program, ta.tensor([1.0, -INF]))
    assert message.startswith(
        "divide: the forward pass makes a NaN, at index (1,) of its result (2,); "
        "a is (2,) float32, b is 0; called at "
    )
    assert "test_anomaly.py" in message and "in program: z = y / 0  # the culprit" in message


def test_an_infinity_is_named_where_it_is_made():
    message = caught(ta.exp, ta.tensor([[1.0, 2.0], [3.0, 1000.0]]))
    assert (
        "exp: the forward pass makes an infinity, at index (1, 1) of its result (2, 2)" in message
    )
    message = caught(ta.log, ta.tensor(0.0))
    assert "log: the forward pass makes an infinity; x is () float32" in message


def test_a_nan_that_came_in_is_named_where_it_is_met():
    message = caught(ta.add, ta.tensor([1.0, NAN]), ta.ones(2))
    assert "add: the forward pass passes on a NaN of an operand, at index (1,)" in message
    message = caught(lambda x: ta.concatenate([x, x * NAN]), ta.ones(1))
    assert message.startswith("multiply")
    assert "xs[0] is (1,) float32, xs[1] is (1,) float32" in caught(
        lambda x: ta.concatenate([ta.ones(1), x]), ta.tensor([NAN])
    )


def test_an_infinity_that_came_in_is_let_through():
    with ta.detect_anomaly():
        scores = ta.where(ta.tensor([True, False, True]), ta.tensor([1.0, 2.0, 3.0]), -INF)
        assert ta.softmax(scores).tolist()[1] == 0
        assert (ta.tensor([INF]) + 1).item() == INF


def test_a_nan_made_of_infinities_is_an_anomaly():
    assert "divide: the forward pass makes a NaN" in caught(ta.divide, ta.tensor([INF]), INF)


def test_the_way_back_names_the_line_of_the_way_forward():
    def program(x):
        y = ta.sqrt(x)  # infinite slope at 0
        return y.sum()

    x = ta.tensor([1.0, 0.0], requires_grad=True)
    message = caught(lambda: program(x).backward())
    assert message.startswith(
        "sqrt: the backward pass makes an infinity, at index (1,) of its result"
    )
    assert "its derivative was given (2,) float32" in message
    assert "in program: y = ta.sqrt(x)  # infinite slope at 0" in message
    assert x.grad is None


@pytest.mark.parametrize("create_graph", [False, True])
def test_a_graph_from_outside_is_searched_too(create_graph):
    x = ta.tensor([0.0], requires_grad=True)
    y = ta.sqrt(x)
    message = caught(lambda: ta.grad(y, x, create_graph=create_graph))
    assert message.startswith("sqrt: the backward pass")
    assert message.endswith("to see where, run the forward pass inside too")


def test_a_rule_is_one_step_even_when_it_is_recorded():
    """A derivative may pass through an infinity on its way to a number that is finite."""
    x = ta.tensor([0.0, 1.0], requires_grad=True)
    with ta.detect_anomaly():
        y = ta.xlogy(x, ta.tensor([2.0, 2.0]))
        assert np.isfinite(ta.grad(y.sum(), x, create_graph=True).numpy()).all()


def test_fused_ops_are_searched_both_ways():
    assert "softmax: the forward pass makes a NaN" in caught(ta.softmax, ta.tensor([-INF, -INF]))
    x = ta.tensor([1.0, 2.0], requires_grad=True)

    def program():
        y = ta.softmax(x)
        y.register_hook(lambda g: g * NAN)
        y[0].backward()

    assert "multiply" in caught(program)  # in the hook
    y = ta.softmax(x)
    with ta.no_grad():
        poison = ta.tensor([NAN, 0.0])
    message = caught(lambda: y.backward(poison))
    assert message.startswith("softmax: the backward pass passes on a NaN of an operand")


def test_whole_numbers_and_nothing_at_all_are_finite():
    with ta.detect_anomaly():
        assert ta.tensor([1, 2]).sum().item() == 3
        assert ta.isnan(ta.tensor([NAN])).item()
        assert (ta.zeros(0) / 0).shape == (0,)


def test_nothing_remains_afterwards():
    with pytest.raises(ta.NonFiniteError), ta.detect_anomaly():
        ta.log(ta.tensor(0.0))
    assert mode.get() == Mode()
    assert ta.log(ta.tensor(0.0)).item() == -INF


def test_a_clean_step_is_undisturbed():
    x = ta.tensor(np.ones((2, 3)), requires_grad=True)
    gradients = []
    for search in (False, True):
        with ta.detect_anomaly() if search else ta.no_grad():
            with ta.enable_grad():
                loss = ta.cross_entropy(ta.tanh(x @ x.T), ta.tensor([0, 1]))
            gradients.append(ta.grad(loss, x).tolist())
    assert gradients[0] == gradients[1]
