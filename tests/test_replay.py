"""recompute: the same values and gradients as without it, for less memory."""

import gc
import threading
import tracemalloc

import numpy as np
import pytest

import tinygrad_attn as ta
from tinygrad_attn import nn
from tinygrad_attn.core.tensor import write
from tinygrad_attn.ops.random import default_generator

RNG = np.random.default_rng(0)


def random(*shape):
    return ta.tensor(RNG.normal(size=shape), requires_grad=True)


def close(xs, ys):
    for x, y in zip(xs, ys, strict=True):
        np.testing.assert_allclose(x.numpy(), y.numpy(), rtol=1e-10, atol=1e-12)


class Block:
    """A function with everything: parameters, a computed tensor from outside, several results."""

    def __init__(self):
        self.weight, self.bias = random(3, 3), random(3)
        self.outside = self.weight * 2

    def __call__(self, x, scale=1.0):
        hidden = ta.tanh(x["x"] @ self.outside + self.bias) * scale
        return {"y": hidden @ self.weight, "others": [ta.exp(hidden).sum(), None, ta.tensor(3)]}


def loss(result):
    return (result["y"] ** 2).sum() + result["others"][0] * result["y"].sum()


def test_gradients_of_three_orders_are_those_of_the_plain_call():
    block, x = Block(), random(4, 3)
    inputs = (x, block.weight, block.bias)
    plain = loss(block({"x": x}, scale=0.7))
    lean = loss(ta.recompute(block, {"x": x}, scale=0.7))
    close([lean], [plain])
    for _ in range(3):
        gradients = [ta.grad(y, inputs, create_graph=True) for y in (lean, plain)]
        close(*gradients)
        lean, plain = (sum((g**3).sum() for g in found) for found in gradients)


def test_backward_reaches_what_the_function_was_not_given():
    block, x = Block(), random(4, 3)
    inputs = (x, block.weight, block.bias)
    expected = ta.grad(loss(block({"x": x})), inputs, retain_graph=True)
    y = loss(ta.recompute(block, {"x": x}))
    y.backward(retain_graph=True)
    close([t.grad for t in inputs], expected)
    y.backward()
    close([t.grad for t in inputs], [2 * g for g in expected])
    with pytest.raises(ta.GraphError, match="freed by an earlier walk"):
        y.backward()


def test_an_input_may_also_be_used_from_outside():
    x = random(3)
    y = ta.recompute(lambda given: (given * x * x).sum(), x)
    close([ta.grad(y, x)], [3 * x * x])


def test_one_input_may_be_computed_from_another():
    x = random(3)
    y = ta.recompute(lambda a, b: (a * b).sum(), x, ta.exp(x))
    close([ta.grad(y, x)], [ta.exp(x) * (1 + x)])


def test_recompute_inside_recompute():
    block, x = Block(), random(4, 3)
    inputs = (x, block.weight)
    expected = ta.grad(loss(block({"x": x * 2})), inputs, retain_graph=True)
    y = ta.recompute(lambda x: loss(ta.recompute(block, {"x": x * 2})), x)
    close(ta.grad(y, inputs), expected)


def test_results_that_are_inputs_or_parameters_or_equal():
    x, w = random(2), random(2)
    same, parameter = ta.recompute(lambda x: (x, w), x)
    close(
        ta.grad((2 * same + 3 * parameter).sum(), (x, w)), [ta.full((2,), 2.0), ta.full((2,), 3.0)]
    )
    a, b, c = ta.recompute(lambda x: (x, x, 2 * x), x)
    close([ta.grad((a + b + c).sum(), x)], [ta.full((2,), 4.0)])


def test_what_needs_no_gradient_is_returned_plain():
    x = random(2)
    with ta.no_grad():
        assert not ta.recompute(ta.exp, x).requires_grad
    assert not ta.recompute(ta.exp, x.detach()).requires_grad
    assert not ta.recompute(lambda x: x > 0, x).requires_grad


def test_hooks_are_called_once_with_the_whole_gradient():
    w, seen = random(2), []
    w.register_hook(seen.append)
    (ta.recompute(lambda: w * 2).sum() + w.sum()).backward()
    assert [g.tolist() for g in seen] == [[3, 3]]


def test_modules():
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).to(ta.float64)
    x = random(5, 3)
    gradients = []
    for call in (model, lambda x: ta.recompute(model, x)):
        model.zero_grad()
        call(x).sum().backward()
        gradients.append([p.grad for p in model.parameters()])
    close(*gradients)


def test_transforms_go_through():
    x = ta.tensor([1.0, 2.0], dtype=ta.float64)
    hessian = ta.hessian(lambda x: ta.recompute(lambda x: (x**3).sum(), x), x)
    assert hessian.tolist() == [[6, 0], [0, 12]]
    report = ta.gradcheck(lambda x: ta.recompute(ta.tanh, x), x, order=3)
    assert report, report


# ---- random numbers -----------------------------------------------------------------------------


def noisy(x, generator=None):
    return (x * ta.rand(3, generator=generator, dtype=ta.float64)).sum()


def test_the_second_run_draws_what_the_first_drew_and_disturbs_nobody():
    x, gradients, draws = random(3), [], []
    for call in (noisy, lambda x: ta.recompute(noisy, x)):
        ta.manual_seed(0)
        y = call(x)
        draws.append(ta.rand(2))
        gradients.append(ta.grad(y, x))
        draws.append(ta.rand(2))
    close(gradients[:1], gradients[1:])
    close(draws[:2], draws[2:])


def test_a_generator_among_the_arguments_is_set_back_too():
    x = random(3)
    own = ta.Generator(1)
    y = ta.recompute(noisy, x, generator=own)
    after = own.get_state()
    expected = ta.rand(3, generator=ta.Generator(1), dtype=ta.float64)
    close([ta.grad(y, x)], [expected])
    assert own.get_state() == after


def test_dropout():
    x = ta.ones(1000, requires_grad=True)
    y = ta.recompute(lambda x: ta.dropout(x, 0.5), x)
    np.testing.assert_array_equal(ta.grad(y.sum(), x).numpy(), y.numpy())


def test_dropout_where_the_thread_has_another_generator_by_then():
    ta.manual_seed(0)
    x = ta.ones(1000, requires_grad=True)
    y = ta.recompute(lambda x: ta.dropout(x, 0.5), x)
    ta.manual_seed(0)
    ta.rand(3)
    ta.dropout(x, 0.5)
    expected = ta.Generator(0)
    expected.set_state(default_generator().get_state())
    np.testing.assert_array_equal(ta.grad(y.sum(), x, retain_graph=True).numpy(), y.numpy())
    assert ta.rand(()).item() == ta.rand((), generator=expected).item()  # and nobody is disturbed
    found = []
    thread = threading.Thread(target=lambda: found.append(ta.grad(y.sum(), x)))
    thread.start()
    thread.join()
    np.testing.assert_array_equal(found[0].numpy(), y.numpy())


# ---- memory -------------------------------------------------------------------------------------


def measured(use):
    """(arrays held after the way forward, the most ever, the gradient) of 8 blocks of 8 ops."""

    def block(x):
        for _ in range(8):
            x = ta.tanh(x)
        return x

    x = ta.ones(50_000, requires_grad=True)
    gc.collect()
    gc.disable()  # memory has to go back by reference counting alone
    tracemalloc.start()
    y = x
    for _ in range(8):
        y = ta.recompute(block, y) if use else block(y)
    held, _ = tracemalloc.get_traced_memory()
    gradient = ta.grad(y.sum(), x)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    gc.enable()
    return held / x.nbytes, peak / x.nbytes, gradient


def test_memory_is_that_of_the_blocks_and_of_the_inside_of_one():
    held, peak, gradient = measured(use=False)
    lean_held, lean_peak, lean_gradient = measured(use=True)
    assert held > 63 and lean_held < 9  # in units of one array
    assert peak > 64 and lean_peak < 21
    close([lean_gradient], [gradient])


# ---- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["argument", "parameter", "constant"])
def test_what_was_read_must_not_change_in_between(which):
    tensors = {"argument": random(3), "parameter": random(3), "constant": random(3).detach()}

    def fn(x):
        return ta.relu(x + tensors["parameter"] + tensors["constant"])

    y = ta.recompute(fn, tensors["argument"]).sum()
    write(tensors[which], np.zeros(3))
    with pytest.raises(
        ta.GraphError, match=r"recompute needs an array of shape \(3,\) that was over"
    ):
        y.backward()


def test_what_was_not_read_may_change():
    x, other = random(3), random(3)
    y = ta.recompute(lambda x: ta.exp(x), x)
    write(other, np.zeros(3))
    write(y.detach(), np.zeros(3))  # computed anew on the way back
    np.testing.assert_allclose(ta.grad(y.sum(), x).numpy(), np.exp(x.numpy()))


def test_another_result_the_second_time_is_an_error():
    runs = []

    def fickle(x):
        runs.append(None)
        return x[: len(runs)]

    y = ta.recompute(fickle, random(3)).sum()
    message = (
        r"result 0 was \(1,\) and is \(2,\) the second time; the function must compute the same"
    )
    with pytest.raises(ta.GraphError, match=message):
        y.backward()
