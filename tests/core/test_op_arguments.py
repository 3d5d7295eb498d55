"""What ops make of arguments that are no tensors."""

import numpy as np
import pytest

import tinygrad_attn as ta


def test_lists_and_tuples_become_tensors_of_the_usual_types():
    x = ta.tensor([1.0, 2.0])
    for other in ([1, 2], (1, 2), [1.0, 2.0], np.float64(3.0), np.int8(1), True):
        assert (x + other).dtype == ta.float32
        assert (other + x).dtype == ta.float32


def test_a_list_of_tensors_would_lose_its_graph_and_is_refused():
    x = ta.tensor(1.0, requires_grad=True)
    with pytest.raises(
        ta.DTypeError, match=r"exp: a list of tensors is no array; join them with ta\.stack"
    ):
        ta.exp([x, x])


def test_arguments_by_name_or_left_out():
    x = ta.tensor([1.0, 2.0])
    assert ta.add(a=x, b=x).tolist() == [2.0, 4.0]
    with pytest.raises(TypeError, match=r"add: 'b' is missing; the signature is add\(a, b\)"):
        ta.add(x)
    with pytest.raises(TypeError, match="add: unknown argument 'c'"):
        ta.add(x, x, c=1)
    with pytest.raises(TypeError, match="add: 'a' given twice"):
        ta.add(x, a=x)
