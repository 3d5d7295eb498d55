"""Trees of tensors: what is replaced, what is carried along, what matches."""

from collections import namedtuple

import pytest

import tinygrad_attn as ta
from tinygrad_attn import nn
from tinygrad_attn.trees import map_tensors, matching_tensors, tensors_in

Pair = namedtuple("Pair", "first second")


def test_tensors_are_found_and_replaced_in_one_order():
    a, b, c, d = (ta.tensor(float(i)) for i in range(4))
    tree = {"list": [a, (b,)], "named": Pair(c, None), "text": "kept", "d": d}
    assert [x.item() for x in tensors_in(tree)] == [0, 1, 2, 3]
    doubled = map_tensors(lambda x: 2 * x.item(), tree)
    assert doubled == {"list": [0, (2,)], "named": Pair(4, None), "text": "kept", "d": 6}
    assert type(doubled["named"]) is Pair


def test_a_module_is_left_alone_unless_asked():
    layer = nn.Linear(2, 1)
    assert map_tensors(lambda x: None, [layer])[0] is layer
    assert map_tensors(lambda x: x, [layer], of_module=lambda m: "module") == ["module"]
    assert tensors_in([layer]) == []


def test_dicts_match_by_key():
    a, b = ta.ones(1), ta.ones(2)
    pairs = list(matching_tensors("here", {"a": a, "b": [b]}, {"b": [1], "a": 2}))
    assert pairs[0][0] is a and pairs[1][0] is b
    assert [other for _, other in pairs] == [2, 1]


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ([1], "here: v has a list in the place of a dict"),
        ({"a": 1, "c": [1]}, "here: v has the keys ['a', 'c'] in the place of the keys ['a', 'b']"),
        ({"a": 1, "b": [1, 2]}, "here: v has 2 entries in the place of 1 entries"),
        ({"a": 1, "b": 1}, "here: v has a int in the place of a list"),
    ],
)
def test_another_form_is_refused(tree, message):
    form = {"a": ta.ones(1), "b": [ta.ones(2)]}
    with pytest.raises(ta.ShapeError) as caught:
        list(matching_tensors("here", form, tree))
    assert str(caught.value) == f"{message}; give the same form"
