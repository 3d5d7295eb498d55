"""Embedding: rows by number, padding that is never trained, ids that are none."""

import numpy as np
import pytest

import tinygrad_attn as ta
from tinygrad_attn import nn
from tinygrad_attn.errors import DTypeError, IndexRangeError, ShapeError


def test_rows_are_looked_up_and_their_gradients_add_up():
    layer = nn.Embedding(5, 3)
    ids = np.array([[1, 4, 1], [0, 1, 4]])
    y = layer(ta.tensor(ids))
    np.testing.assert_array_equal(y.numpy(), layer.weight.numpy()[ids])
    y.sum().backward()
    counts = np.bincount(ids.ravel(), minlength=5)
    np.testing.assert_array_equal(layer.weight.grad.numpy(), np.repeat(counts[:, None], 3, axis=1))


def test_the_vectors_are_standard_normal():
    x = nn.Embedding(200, 100, generator=ta.Generator(0)).weight.numpy()
    assert abs(x.mean()) < 0.03 and abs(x.std() - 1) < 0.03
    assert list(nn.Embedding(2, 2).state_dict()) == ["weight"]


@pytest.mark.parametrize("padding", [2, -3])
def test_padding_starts_at_zero_and_gets_no_gradient(padding):
    layer = nn.Embedding(5, 3, padding_idx=padding)
    assert layer.padding_idx == 2
    assert layer.weight.tolist()[2] == [0, 0, 0]
    layer(ta.tensor([2, 1, 2])).sum().backward()
    assert layer.weight.grad.tolist() == [[0] * 3, [1] * 3, [0] * 3, [0] * 3, [0] * 3]
    layer.reset_parameters()
    assert layer.weight.tolist()[2] == [0, 0, 0]


def test_padding_keeps_whatever_vector_was_loaded():
    layer = nn.Embedding(3, 2, padding_idx=0)
    layer.load_state_dict({"weight": np.ones((3, 2))})
    assert layer(ta.tensor([0, 1])).tolist() == [[1, 1], [1, 1]]


def test_gradients_to_second_order():
    assert ta.check_module(nn.Embedding(4, 3), ta.tensor([[1, 2], [1, 0]]))


def test_ids_outside_the_table_are_named():
    layer = nn.Embedding(5, 3)
    with pytest.raises(
        IndexRangeError, match=r"embedding: id 5 at index \(0, 1\) is outside 0\.\.4"
    ):
        layer(ta.tensor([[0, 5]]))
    with pytest.raises(IndexRangeError, match="id -1"):
        layer(ta.tensor(-1))
    with pytest.raises(DTypeError, match=r"ids are float32; they must be integers: ids\.astype"):
        layer(ta.ones(2))
    assert layer(ta.ones(2).astype("int64")).shape == (2, 3)


@pytest.mark.parametrize("padding", [3, -4])
def test_padding_must_be_a_token(padding):
    with pytest.raises(ShapeError, match=rf"padding_idx is {padding}; it must be in -3\.\.2"):
        nn.Embedding(3, 2, padding_idx=padding)
    with pytest.raises(ShapeError, match="num_embeddings is 0"):
        nn.Embedding(0, 2)
