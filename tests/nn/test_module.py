"""Module: what is found in its attributes, what may be assigned to them, hooks, modes, moving."""

import copy
import pickle

import numpy as np
import pytest

import tinygrad_attn as ta
from tests import standin  # noqa: F401 registers the device "standin"
from tinygrad_attn import nn
from tinygrad_attn.errors import DeviceError, DTypeError, GraphError


class Pair(nn.Module):
    """Two linear maps, a scale of its own, buffers; nothing comes before the first assignment."""

    def __init__(self):
        self.first = nn.Linear(3, 4)
        self.scale = nn.Parameter([2.0])
        self.second = nn.Linear(4, 3, bias=False)
        self.register_buffer("steps", ta.tensor([7]))
        self.register_buffer("mean", ta.zeros(3), persistent=False)

    def forward(self, x):
        return self.second(ta.tanh(self.first(x))) * self.scale


class Named:
    """A name for a test that must not be a module."""


# ---- finding -------------------------------------------------------------------------------------


def test_parameters_are_found_by_path_the_modules_own_before_those_inside():
    names = [name for name, _ in Pair().named_parameters()]
    assert names == ["scale", "first.weight", "first.bias", "second.weight"]


def test_buffers_are_found_and_are_no_parameters():
    assert [name for name, _ in Pair().named_buffers()] == ["steps", "mean"]
    assert [b.dtype for b in Pair().buffers()] == [np.int64, np.float32]


def test_modules_come_parents_first_in_the_order_of_assignment():
    model = nn.Sequential(Pair(), nn.Sequential(nn.ReLU(), nn.Tanh()))
    assert [path for path, _ in model.named_modules()] == [
        "",
        "0",
        "0.first",
        "0.second",
        "1",
        "1.0",
        "1.1",
    ]
    assert [name for name, _ in model.named_children()] == ["0", "1"]


def test_a_shared_module_and_a_shared_parameter_are_yielded_once():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    model.append(model[0])
    assert [name for name, _ in model.named_parameters()] == ["0.weight", "0.bias", "1.bias"]
    assert len(list(model.parameters())) == 3
    assert [path for path, _ in model.named_modules()] == ["", "0", "1"]
    every = [name for name, _ in model.named_parameters(remove_duplicate=False)]
    assert every == ["0.weight", "0.bias", "1.weight", "1.bias", "2.weight", "2.bias"]


def test_the_gradient_of_a_shared_parameter_is_the_sum_over_its_uses():
    layer = nn.Linear(2, 2, bias=False)
    x = ta.tensor([[1.0, -2.0]])
    layer(layer(x)).sum().backward()
    w = layer.weight.numpy()
    ones = np.ones(2, np.float32)
    expected = np.outer(ones, w @ x.numpy()[0]) + np.outer(w.T @ ones, x.numpy()[0])
    np.testing.assert_allclose(layer.weight.grad.numpy(), expected, rtol=1e-5)


def test_a_module_that_contains_itself_is_refused():
    model = Pair()
    model.first.outer = model
    with pytest.raises(GraphError, match=r"Pair: the module at 'first\.outer' contains itself"):
        list(model.parameters())
    assert "..." in repr(model)


@pytest.mark.parametrize("kind", [list, tuple, dict])
def test_modules_in_a_plain_container_are_refused_where_they_would_be_missed(kind):
    model = nn.Module()
    layers = [nn.Linear(2, 2)]
    model.layers = {"a": layers[0]} if kind is dict else kind(layers)
    with pytest.raises(DTypeError, match=f"layers is a plain {kind.__name__} of Linears"):
        list(model.parameters())


def test_a_leading_underscore_hides_modules_on_purpose():
    model = nn.Module()
    model._teacher = [nn.Linear(2, 2)]
    model.sizes = [1, 2, 3]
    assert list(model.parameters()) == []


# ---- assigning -----------------------------------------------------------------------------------


def test_no_tensor_takes_the_place_of_a_parameter_unnoticed():
    layer = nn.Linear(2, 2)
    with pytest.raises(DTypeError, match="weight is a Parameter and would be lost under a Tensor"):
        layer.weight = layer.weight * 2
    layer.bias = None
    assert [name for name, _ in layer.named_parameters()] == ["weight"]
    layer.weight = nn.Parameter(ta.ones(5, 2))
    assert layer(ta.ones(1, 2)).shape == (1, 5)


@pytest.mark.parametrize("name", ["forward", "training", "parameters", "a.b", ""])
def test_a_parameter_or_a_module_hides_no_method_and_has_no_dot(name):
    for value in (nn.Parameter([1.0]), nn.ReLU()):
        with pytest.raises(GraphError, match="cannot name a"):
            setattr(nn.Module(), name, value)
    with pytest.raises(GraphError, match="cannot name a buffer"):
        nn.Module().register_buffer(name, ta.ones(1))


def test_registering_checks_the_kind():
    module = nn.Module()
    with pytest.raises(DTypeError, match="weight must be a Parameter or None, not Tensor"):
        module.register_parameter("weight", ta.ones(2))
    with pytest.raises(
        DTypeError, match="buffer mean must be a plain Tensor or None, not Parameter"
    ):
        module.register_buffer("mean", nn.Parameter([1.0]))
    with pytest.raises(DTypeError, match="buffer mean must be a plain Tensor or None, not list"):
        module.register_buffer("mean", [1.0])
    module.register_parameter("weight", nn.Parameter([1.0]))
    module.register_parameter("bias", None)
    assert [name for name, _ in module.named_parameters()] == ["weight"] and module.bias is None


def test_a_buffer_is_replaced_by_assignment():
    model = Pair()
    model.steps = model.steps + 1
    assert model.state_dict()["steps"].tolist() == [8]
    model.mean = None
    assert [name for name, _ in model.named_buffers()] == ["steps"]
    with pytest.raises(DTypeError, match="steps is a buffer; assign a Tensor or None, not int"):
        model.steps = 9


def test_a_module_without_forward_says_so():
    with pytest.raises(NotImplementedError, match="Module has no forward"):
        nn.Module()(1)


def test_an_attribute_that_is_missing_is_named():
    with pytest.raises(AttributeError, match="'Pair' object has no attribute 'thrid'"):
        _ = Pair().thrid


# ---- hooks ---------------------------------------------------------------------------------------


def test_hooks_see_and_change_what_goes_in_and_comes_out():
    layer = nn.Identity()
    seen = []
    remove_look = layer.register_forward_hook(lambda m, args, y: seen.append((m, args, y)))
    remove_double = layer.register_forward_hook(lambda m, args, y: y * 2)
    remove_shift = layer.register_forward_pre_hook(lambda m, args: args[0] + 1)
    assert layer(10) == 22
    assert seen == [(layer, (11,), 11)]
    remove_shift()
    assert layer(10) == 20
    remove_double()
    remove_look()
    remove_look()
    assert layer(10) == 10 and len(seen) == 2


def test_a_function_that_is_registered_twice_is_called_twice_and_removed_once():
    layer = nn.Identity()

    def double(module, args, y):
        return 2 * y

    remove = layer.register_forward_hook(double)
    layer.register_forward_hook(double)
    assert layer(1) == 4
    remove()
    assert layer(1) == 2


def test_a_pre_hook_may_return_all_arguments():
    layer = nn.Identity()
    layer.register_forward_pre_hook(lambda module, args: (args[1], args[0]))
    assert layer(1, 2) == 2


# ---- changing all at once ------------------------------------------------------------------------


def test_train_and_eval_reach_every_module():
    model = nn.Sequential(Pair(), nn.Dropout(0.5))
    assert all(m.training for m in model.modules())
    assert model.eval() is model and not any(m.training for m in model.modules())
    assert model.train() is model and all(m.training for m in model.modules())


def test_apply_calls_the_inner_modules_first():
    names = []
    model = nn.Sequential(nn.Linear(1, 1), nn.Sequential(nn.ReLU()))
    model.apply(lambda m: names.append(type(m).__name__))
    assert names[-1] == "Sequential" and names.index("ReLU") < names.index("Sequential")
    assert sorted(names) == ["Linear", "ReLU", "Sequential", "Sequential"]


def test_freezing_and_forgetting_gradients():
    model = Pair()
    model(ta.ones(2, 3)).sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    model.zero_grad()
    assert all(p.grad is None for p in model.parameters())
    model.requires_grad_(False)
    assert not model(ta.ones(2, 3)).requires_grad
    model.requires_grad_()
    assert model(ta.ones(2, 3)).requires_grad


def test_to_changes_the_dtype_of_floats_and_keeps_the_objects():
    model = Pair()
    before = list(model.parameters())
    values = [p.numpy().copy() for p in before]
    model(ta.ones(2, 3)).sum().backward()
    assert model.to(ta.float64) is model
    after = list(model.parameters())
    assert all(a is b for a, b in zip(before, after))
    for p, value in zip(after, values):
        assert p.dtype == ta.float64 and p.grad.dtype == ta.float64 and p.requires_grad
        np.testing.assert_array_equal(p.numpy(), value)
    assert model.steps.dtype == ta.int64 and model.mean.dtype == ta.float64
    model.zero_grad()
    y = model(ta.ones(2, 3, dtype=ta.float64))
    y.sum().backward()
    assert y.dtype == ta.float64
    assert all(p.grad.dtype == ta.float64 for p in model.parameters())


def test_a_graph_recorded_before_a_move_does_not_reach_the_moved_parameters():
    layer = nn.Linear(2, 2)
    loss = layer(ta.ones(1, 2)).sum()
    layer.to(ta.float64)
    loss.backward()
    assert layer.weight.grad is None


def test_to_moves_everything_to_another_device_and_back():
    model = Pair()
    model.to("standin", "float64")
    assert {t.device for t in [*model.parameters(), *model.buffers()]} == {"standin:0"}
    y = model(ta.ones(2, 3, dtype=ta.float64).to("standin"))
    y.sum().backward()
    assert {p.grad.device for p in model.parameters()} == {"standin:0"}
    model.cpu()
    assert {p.grad.device for p in model.parameters()} == {"cpu"}


def test_to_refuses_what_it_does_not_know_before_anything_moves():
    model = Pair()
    with pytest.raises(DeviceError, match='unknown device "gpu"'):
        model.to(ta.float64, "gpu")
    with pytest.raises(DTypeError, match="parameters must stay floats; int64 is none"):
        model.to(ta.int64)
    with pytest.raises(DTypeError):
        model.to(Named)
    assert {p.dtype for p in model.parameters()} == {ta.float32}


# ---- copies --------------------------------------------------------------------------------------


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_is_equal_and_independent_and_keeps_what_is_shared(copied):
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), Pair())
    model[1].weight = model[0].weight
    twin = copied(model.eval())
    assert twin[1].weight is twin[0].weight and twin[0].weight is not model[0].weight
    assert not twin.training and isinstance(twin[0].weight, nn.Parameter)
    x = ta.ones(2, 3)
    np.testing.assert_array_equal(twin(x).numpy(), model(x).numpy())
    nn.init.zeros_(twin[0].weight)
    assert np.abs(model[0].weight.numpy()).sum() > 0
    assert repr(twin) == repr(model)


# ---- parameters ----------------------------------------------------------------------------------


def test_a_parameter_is_a_leaf_of_its_own_memory():
    values = ta.tensor([1.0, 2.0])
    p = nn.Parameter(values)
    assert p.is_leaf and p.requires_grad and isinstance(p, ta.Tensor)
    nn.init.zeros_(p)
    assert values.tolist() == [1.0, 2.0]
    assert nn.Parameter(np.ones(2), requires_grad=False).requires_grad is False
    assert nn.Parameter(np.ones(2)).dtype == ta.float64
    computed = nn.Parameter(p * 2)
    assert computed.is_leaf


def test_a_parameter_of_whole_numbers_is_refused():
    with pytest.raises(DTypeError, match="int64"):
        nn.Parameter([1, 2])
    assert nn.Parameter([1, 2], requires_grad=False).dtype == ta.int64
