"""Containers: order, names, indices, and what is no module."""

import numpy as np
import pytest

import tinygrad_attn as ta
from tinygrad_attn import nn
from tinygrad_attn.errors import DTypeError, GraphError, IndexRangeError, ShapeError


class Add(nn.Module):
    """x + n, to see in which order modules are called."""

    def __init__(self, n):
        self.n = n

    def forward(self, x):
        return f"{x}+{self.n}"


# ---- Sequential ----------------------------------------------------------------------------------


def test_sequential_calls_its_modules_in_order():
    assert nn.Sequential(Add(1), Add(2), Add(3))("x") == "x+1+2+3"
    assert nn.Sequential()("x") == "x"
    assert nn.Sequential(Add(1)).append(Add(2))("x") == "x+1+2"


def test_sequential_takes_names():
    model = nn.Sequential({"up": nn.Linear(2, 4), "down": nn.Linear(4, 1)})
    assert model.up is model[0] and model.down is model[-1]
    assert list(model.state_dict()) == ["up.weight", "up.bias", "down.weight", "down.bias"]


def test_a_slice_of_sequential_shares_its_modules():
    model = nn.Sequential(Add(1), Add(2), Add(3))
    assert model[1:]("x") == "x+2+3" and model[:2][0] is model[0]
    assert len(model) == 3 and [m.n for m in model] == [1, 2, 3]


# ---- ModuleList ----------------------------------------------------------------------------------


def test_a_module_list_is_changed_as_a_list_is():
    members = nn.ModuleList([Add(1), Add(2)]).append(Add(3)).extend([Add(4)])
    members.insert(0, Add(0))
    members[1] = Add(10)
    members[-1] = Add(40)
    del members[2]
    assert [m.n for m in members] == [0, 10, 3, 40] and len(members) == 4
    assert [name for name, _ in members.named_children()] == ["0", "1", "2", "3"]
    del members[1:3]
    assert [m.n for m in members] == [0, 40]
    assert [m.n for m in members[::-1]] == [40, 0]
    assert isinstance(members[:1], nn.ModuleList)


def test_the_parameters_of_a_module_list_are_numbered():
    members = nn.ModuleList(nn.Linear(1, 1, bias=False) for _ in range(11))
    assert [name for name, _ in members.named_parameters()] == [f"{i}.weight" for i in range(11)]


@pytest.mark.parametrize("make", [nn.Sequential, lambda *m: nn.ModuleList(m)])
def test_an_index_outside_is_named(make):
    with pytest.raises(IndexRangeError, match=r"index 2 is outside -2\.\.1; there are 2 modules"):
        make(Add(1), Add(2))[2]


@pytest.mark.parametrize("make", [nn.Sequential, lambda *m: nn.ModuleList(m)])
def test_a_member_must_be_a_module(make):
    with pytest.raises(DTypeError, match="1 is a builtin_function_or_method; it must be a module"):
        make(Add(1), abs)


# ---- ModuleDict ----------------------------------------------------------------------------------


def test_a_module_dict_is_used_as_a_dict_is():
    members = nn.ModuleDict({"a": Add(1)})
    members["b"] = Add(2)
    members.update({"a": Add(3)})
    assert members.keys() == ["a", "b"] and list(members) == ["a", "b"] and len(members) == 2
    assert [m.n for m in members.values()] == [3, 2]
    assert [(name, m.n) for name, m in members.items()] == [("a", 3), ("b", 2)]
    assert "a" in members and "c" not in members and "training" not in members
    del members["a"]
    assert members.keys() == ["b"]


def test_a_module_dict_says_what_is_missing_or_cannot_be():
    members = nn.ModuleDict({"a": Add(1)})
    with pytest.raises(KeyError, match="there is no 'c'; there are a"):
        members["c"]
    with pytest.raises(KeyError, match="there is no 'c'"):
        del members["c"]
    with pytest.raises(DTypeError, match="b is a int; it must be a module"):
        members["b"] = 2
    for name in ("keys", "forward", "x.y"):
        with pytest.raises(GraphError, match="cannot name a Add"):
            members[name] = Add(1)


# ---- Identity and Flatten ------------------------------------------------------------------------


def test_identity_passes_on_its_first_argument():
    assert nn.Identity(54, unused=True)("x", 1, more=2) == "x"


@pytest.mark.parametrize(
    ("start", "end", "shape"),
    [(1, -1, (2, 60)), (0, -1, (120,)), (1, 2, (2, 12, 5)), (2, 2, (2, 3, 4, 5))],
)
def test_flatten_joins_axes(start, end, shape):
    x = np.arange(120.0).reshape(2, 3, 4, 5)
    y = nn.Flatten(start, end)(ta.tensor(x))
    np.testing.assert_array_equal(y.numpy(), x.reshape(shape))


def test_flatten_of_an_empty_batch_and_in_the_wrong_order():
    assert nn.Flatten()(ta.zeros(0, 3, 4)).shape == (0, 12)
    with pytest.raises(ShapeError, match=r"x is \(2, 3\), start_dim is 1, end_dim is 0"):
        nn.Flatten(1, 0)(ta.zeros(2, 3))
