"""Transforms: against formulas, inside one another, and on every form of input."""

from collections import namedtuple

import numpy as np
import pytest

import tinygrad_attn as ta
from tinygrad_attn import nn

RNG = np.random.default_rng(0)
A = RNG.normal(size=(3, 3))
Layer = namedtuple("Layer", "weight bias")


def random(*shape):
    return ta.tensor(RNG.normal(size=shape))


def derivative(fn):
    """fn′ of a scalar function of one scalar."""
    return lambda x: ta.value_and_grad(fn)(x)[1]


def quadratic(x):
    """xᵀAx, with gradient (A + Aᵀ)x and second derivatives A + Aᵀ."""
    return x @ ta.tensor(A) @ x


def close(x, expected):
    np.testing.assert_allclose(x.numpy(), expected, rtol=1e-9, atol=1e-12)
    return True


# ---- each transform, against a formula ----------------------------------------------------------


def test_value_and_grad():
    x = random(3)
    value, gradient = ta.value_and_grad(quadratic)(x)
    close(value, x.numpy() @ A @ x.numpy())
    close(gradient, (A + A.T) @ x.numpy())
    assert not value.requires_grad and not gradient.requires_grad and x.grad is None


def test_value_and_grad_of_chosen_arguments():
    def fn(a, b, scale=1.0):
        return (a * b).sum() * scale

    a, b = random(3), random(3)
    close(ta.value_and_grad(fn)(a, b)[1], b.numpy())
    close(ta.value_and_grad(fn, 1)(a, b, scale=2.0)[1], 2 * a.numpy())
    close(ta.value_and_grad(fn, -1)(a, b)[1], a.numpy())
    _, (db, da) = ta.value_and_grad(fn, (1, 0))(a, b)
    assert close(da, b.numpy()) and close(db, a.numpy())


def test_value_and_grad_carries_something_else_along():
    def fn(x):
        y = x * x
        return y.sum(), {"squares": y, "note": "kept"}

    (value, aux), gradient = ta.value_and_grad(fn, has_aux=True)(ta.tensor([1.0, 3.0]))
    assert value.item() == 10 and gradient.tolist() == [2, 6]
    assert aux["squares"].tolist() == [1, 9] and aux["note"] == "kept"
    assert not aux["squares"].requires_grad


def test_vjp_and_jvp_are_products_with_the_jacobian():
    def fn(x):
        return ta.sin(ta.tensor(A) @ x)

    x, u, v = random(3), random(3), random(3)
    jacobian = np.cos(A @ x.numpy())[:, None] * A
    value, back = ta.vjp(fn, x, u)
    assert close(value, np.sin(A @ x.numpy())) and close(back, jacobian.T @ u.numpy())
    value, forward = ta.jvp(fn, x, v)
    assert close(value, np.sin(A @ x.numpy())) and close(forward, jacobian @ v.numpy())
    close(ta.jacobian(fn, x), jacobian)


def test_hvp_and_hessian():
    x, v = random(3), random(3)
    value, product = ta.hvp(quadratic, x, v)
    assert close(value, x.numpy() @ A @ x.numpy()) and close(product, (A + A.T) @ v.numpy())
    close(ta.hessian(quadratic, x), A + A.T)


@pytest.mark.parametrize(
    "fn",
    [
        ta.softmax,
        ta.gelu,
        ta.layer_norm,
        lambda x: ta.cross_entropy(x, ta.tensor([0, 2])),
        lambda x: ta.max(x, axis=0),
        lambda x: ta.recompute(ta.tanh, x),
    ],
)
def test_jvp_goes_through_every_kind_of_op(fn):
    """⟨u, Jv⟩ = ⟨Jᵀu, v⟩."""
    x, v = random(2, 3), random(2, 3)
    value, forward = ta.jvp(fn, x, v)
    u = ta.tensor(RNG.normal(size=value.shape))
    _, back = ta.vjp(fn, x, u)
    assert (u * forward).sum().item() == pytest.approx((back * v).sum().item())


# ---- forms of inputs and results ----------------------------------------------------------------


def test_inputs_in_lists_tuples_and_dicts():
    def fn(parameters, x):
        hidden = x @ parameters["first"].weight + parameters["first"].bias
        return (hidden * parameters["scale"][0]).sum()

    first = Layer(random(3, 2), random(2))
    parameters = {"first": first, "scale": [random(2), random(4)], "note": None}
    x = random(5, 3)
    _, gradient = ta.value_and_grad(fn)(parameters, x)
    scale = parameters["scale"][0].numpy()
    assert type(gradient["first"]) is Layer and gradient["note"] is None
    close(gradient["first"].weight, np.outer(x.numpy().sum(0), scale))
    close(gradient["first"].bias, 5 * scale)
    close(gradient["scale"][1], np.zeros(4))  # without influence


def test_blocks_of_jacobian_and_hessian():
    def fn(a, b):
        return {"product": a * b[0], "sum": [a.sum()]}

    a, b = random(2), [random(2)]
    blocks = ta.jacobian(fn, (a, b))
    close(blocks["product"][0], np.diag(b[0].numpy()))
    close(blocks["product"][1][0], np.diag(a.numpy()))
    close(blocks["sum"][0][0], np.ones(2))
    close(blocks["sum"][0][1][0], np.zeros(2))
    (aa, ab), (ba, bb) = ta.hessian(lambda a, b: (a * a * b).sum(), (a, b[0]))
    assert close(aa, np.diag(2 * b[0].numpy())) and close(bb, np.zeros((2, 2)))
    assert close(ab, np.diag(2 * a.numpy())) and close(ba, np.diag(2 * a.numpy()))


def test_directions_have_the_form_of_the_inputs():
    def fn(p):
        return (p["a"] * p["b"] * p["b"]).sum()

    p = {"a": random(2), "b": random(2)}
    v = {"b": random(2), "a": random(2)}  # matched by name, not by order
    _, product = ta.hvp(fn, p, v)
    a, b, va, vb = (x.numpy() for x in (p["a"], p["b"], v["a"], v["b"]))
    assert close(product["a"], 2 * b * vb) and close(product["b"], 2 * b * va + 2 * a * vb)
    close(ta.jvp(fn, p, v)[1], (va * b * b + 2 * a * b * vb).sum())


def test_a_module_stands_for_its_parameters():
    layer, x = nn.Linear(3, 2).to(ta.float64), random(4, 3)
    layer.bias.requires_grad_(False)
    _, gradient = ta.value_and_grad(lambda m: ta.square(m(x)).sum())(layer)
    assert list(gradient) == ["weight"]  # the bias is frozen
    close(gradient["weight"], 2 * layer(x).numpy().T @ x.numpy())
    assert layer.weight.grad is None
    jacobian = ta.jacobian(lambda m: m(x), layer)["weight"]
    close(jacobian[:, 0, 0], x.numpy())
    close(jacobian[:, 0, 1], np.zeros((4, 3)))


def test_second_derivatives_by_the_parameters_of_a_module():
    layer, x = nn.Linear(2, 1).to(ta.float64), random(4, 2)

    def loss(layer):
        return ta.square(layer(x)).sum() / 2

    hessian = ta.hessian(loss, layer)
    close(hessian["weight"]["weight"][0, :, 0], x.numpy().T @ x.numpy())
    close(hessian["bias"]["weight"][0, 0], x.numpy().sum(0))
    v = {"weight": random(1, 2), "bias": random(1)}
    _, product = ta.hvp(loss, layer, v)
    expected = x.numpy().T @ (x.numpy() @ v["weight"].numpy().T + v["bias"].numpy())
    close(product["weight"], expected.T)
    close(
        ta.jvp(lambda m: m(x), layer, v)[1], x.numpy() @ v["weight"].numpy().T + v["bias"].numpy()
    )


def test_hooks_on_parameters_are_called():
    layer, seen = nn.Linear(2, 1), []
    layer.weight.register_hook(lambda g: seen.append(g) or g * 0)
    _, gradient = ta.value_and_grad(lambda m: m(ta.ones(3, 2)).sum())(layer)
    assert len(seen) == 1 and gradient["weight"].tolist() == [[0, 0]]


def test_empty_inputs_and_results():
    assert ta.jacobian(ta.square, ta.zeros(0, 2)).shape == (0, 2, 0, 2)
    assert ta.jacobian(lambda x: x.sum(), ta.zeros(0)).shape == (0,)
    assert ta.hessian(lambda x: x.sum(), ta.zeros(2)).tolist() == [[0, 0], [0, 0]]


def test_what_has_no_influence_has_derivative_0():
    constant = ta.ones(2)
    x, v = random(3), random(3)
    assert ta.value_and_grad(lambda x: constant.sum())(x)[1].tolist() == [0, 0, 0]
    assert ta.jvp(lambda x: constant, x, v)[1].tolist() == [0, 0]
    assert ta.vjp(lambda x: constant, x, constant)[1].tolist() == [0, 0, 0]
    assert ta.hvp(lambda x: x.sum(), x, v)[1].tolist() == [0, 0, 0]


# ---- transforms inside one another --------------------------------------------------------------


def test_derivatives_of_derivatives():
    x = ta.tensor(0.5, dtype=ta.float64)
    fourth = derivative(derivative(derivative(derivative(ta.sin))))
    assert fourth(x).item() == pytest.approx(np.sin(0.5))


def test_forward_over_forward_and_forward_over_reverse():
    x, one = ta.tensor(0.3, dtype=ta.float64), ta.tensor(1.0, dtype=ta.float64)
    twice = ta.jvp(lambda x: ta.jvp(ta.sin, x, one)[1], x, one)[1]
    mixed = ta.jvp(derivative(ta.sin), x, one)[1]
    assert twice.item() == mixed.item() == pytest.approx(-np.sin(0.3))


def test_the_gradient_by_an_argument_is_by_nothing_else():
    """d/dx of  x · d/dy (x·y) at y = x  is  d/dx x² = 2x: the inner x is a constant there."""
    inner = derivative(lambda x: x * derivative(lambda y: x * y)(x))
    assert inner(ta.tensor(3.0)).item() == 6
    layer = nn.Linear(1, 1)
    both = ta.value_and_grad(lambda m, w: (m.weight * w).sum(), (0, 1))
    _, (by_module, by_w) = both(layer, layer.weight * 2)
    assert by_module["weight"].item() == pytest.approx(2 * layer.weight.item())
    assert by_w.item() == pytest.approx(layer.weight.item())


def test_what_is_older_than_the_call_is_constant():
    layer, x = nn.Linear(1, 1, bias=False), ta.ones(1, 1)
    before = layer(x)  # depends on the weight, but is no work of the function
    _, gradient = ta.value_and_grad(lambda m: (m(x) * before).sum())(layer)
    assert gradient["weight"].item() == pytest.approx(layer.weight.item())
    before.sum().backward()  # and its graph is still there
    assert layer.weight.grad.item() == 1


def test_results_are_recorded_where_something_outside_had_a_part_in_them():
    x = ta.tensor(3.0, requires_grad=True)
    inner = derivative(lambda y: x * y * y)(ta.tensor(2.0))
    assert ta.grad(inner, x).item() == 4
    computed = derivative(ta.square)(x * 2)
    assert ta.grad(computed, x).item() == 4
    assert not derivative(ta.square)(x).requires_grad  # a leaf alone is an ordinary input
    assert derivative(lambda y: y * 2)(x).item() == 2


def test_create_graph_decides_by_hand():
    x = ta.tensor(3.0, requires_grad=True)
    value, gradient = ta.value_and_grad(ta.square, create_graph=True)(x)
    assert ta.grad(gradient, x, retain_graph=True).item() == 2 and ta.grad(value, x).item() == 6
    value, gradient = ta.value_and_grad(lambda y: x * y, create_graph=False)(x * 2)
    assert not value.requires_grad and not gradient.requires_grad


def test_a_penalty_on_the_gradient_reaches_the_parameters():
    layer, x = nn.Linear(3, 1).to(ta.float64), random(4, 3)
    _, slope = ta.value_and_grad(lambda x: ta.square(layer(x)).sum())(x)
    ta.square(slope).sum().backward()
    w = layer.weight.detach().requires_grad_()
    ta.square(2 * (x @ w.T + layer.bias.detach()) @ w).sum().backward()
    close(layer.weight.grad, w.grad.numpy())


def test_transforms_work_without_recording():
    x = ta.tensor(3.0, requires_grad=True)
    with ta.no_grad():
        value, gradient = ta.value_and_grad(ta.square)(x)
        assert (value.item(), gradient.item()) == (9, 6) and not gradient.requires_grad
        assert ta.hessian(ta.square, x * 2).item() == 2


# ---- what is refused ----------------------------------------------------------------------------


def pair(x):
    return x, x.sum()


@pytest.mark.parametrize(
    ("error", "call", "message"),
    [
        (
            ta.ShapeError,
            lambda x: ta.value_and_grad(pair)(x),
            "must return one scalar; it returned (3,), ()",
        ),
        (ta.ShapeError, lambda x: ta.hvp(ta.sin, x, x), "hvp: the function must return one scalar"),
        (
            ta.ShapeError,
            lambda x: ta.hessian(ta.sin, x),
            "hessian: the function must return one scalar",
        ),
        (
            ta.ShapeError,
            lambda x: ta.value_and_grad(ta.sum, 1)(x),
            "there is no argument 1; 1 were given",
        ),
        (
            ta.ShapeError,
            lambda x: ta.vjp(pair, x, x),
            "vjp: v has a Tensor in the place of a tuple",
        ),
        (
            ta.ShapeError,
            lambda x: ta.vjp(ta.sin, x, x[:2]),
            "vjp: the gradient is (2,) but its tensor is (3,)",
        ),
        (
            ta.ShapeError,
            lambda x: ta.jvp(ta.add, (x, x), (x,)),
            "jvp: v has 1 entries in the place of 2",
        ),
        (
            ta.DTypeError,
            lambda x: ta.jvp(ta.sin, x, x.astype("float32")),
            "the gradient is float32",
        ),
        (
            ta.DTypeError,
            lambda x: ta.jacobian(ta.sin, x > 0),
            "jacobian: an input is bool, and only floats",
        ),
        (
            ta.DTypeError,
            lambda x: ta.jacobian(ta.sin, 1.0),
            "an input is a float with no tensor in it",
        ),
        (ta.DTypeError, lambda x: ta.jacobian(lambda x: 3, x), "returned no tensor, but int"),
    ],
)
def test_what_does_not_fit_is_refused(error, call, message):
    with pytest.raises(error) as caught:
        call(random(3))
    assert message in str(caught.value)
