"""Tensors from data, from nothing, from other libraries, and from device to device."""

import copy
import pickle

import numpy as np
import pytest

import tinygrad_attn as ta
from tinygrad_attn.backend import get_backend

# ---- from data -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (1, ta.int64),
        (1.0, ta.float32),
        (True, ta.bool_),
        ([1, 2], ta.int64),
        ([1, 2.5], ta.float32),
        ([True, False], ta.bool_),
        ([], ta.float32),
        ([np.float64(1)], ta.float32),
        (np.float64(1), ta.float64),
        (np.zeros(2, np.float16), ta.float16),
        (np.zeros(2, np.uint8), ta.uint8),
        (np.zeros(2, ">f8"), ta.float64),
        (np.zeros(2, ">i4"), ta.int32),
    ],
)
def test_floats_are_float32_whole_numbers_int64_and_arrays_keep_their_dtype(data, dtype):
    x = ta.tensor(data)
    assert x.dtype == dtype
    assert x.dtype.isnative
    np.testing.assert_array_equal(x, data)


def test_a_dtype_that_is_asked_for_is_reached_directly():
    assert ta.tensor([0.1], dtype=ta.float64).item() == 0.1  # not by way of float32
    assert ta.tensor([1, 2], dtype="float16").dtype == ta.float16
    assert ta.tensor([1.7], dtype=int).tolist() == [1]
    assert ta.tensor(ta.tensor([1.0]), dtype=ta.float64).dtype == ta.float64


def test_a_tensor_copies_and_is_a_leaf():
    array = np.zeros(2, np.float32)
    x = ta.tensor(array, requires_grad=True)
    y = ta.tensor(x)
    array[0] = 1
    assert (x.tolist(), x.requires_grad, x.is_leaf) == ([0, 0], True, True)
    assert not y.requires_grad
    assert not np.shares_memory(x.data, y.data)


@pytest.mark.parametrize("make", [ta.tensor, ta.asarray, ta.exp], ids=["tensor", "asarray", "exp"])
def test_complex_numbers_are_refused_on_every_device(make, device):
    xp = get_backend(device).xp
    with pytest.raises(ta.DTypeError, match=r"ndarray of complex128 holds no real numbers; give"):
        make(xp.array([1j]))


def test_an_array_of_any_library_is_copied_where_it_is_unless_told_otherwise(device):
    array = (ta.ones(2, device=device) * 3).data
    made = ta.tensor(array), ta.tensor(array, ta.int64), ta.tensor(array, device="cpu")
    array[...] = 7
    assert [x.tolist() for x in made] == [[3, 3]] * 3
    assert [x.dtype for x in made] == [ta.float32, ta.int64, ta.float32]
    home = ta.ones(2, device=device).device
    assert [x.device for x in made] == [home, home, "cpu"]


class Special(np.ndarray):
    """A subclass of NumPy's array, with who knows what arithmetic."""


def test_asarray_and_from_numpy_share_memory():
    array = np.zeros(2, np.float32)
    for x in (ta.asarray(array), ta.from_numpy(array)):
        assert np.shares_memory(x.data, array)
    assert ta.asarray(x) is x
    assert ta.asarray(array, dtype=ta.float64).dtype == ta.float64
    assert ta.asarray([1, 2]).tolist() == [1, 2]
    assert type(ta.from_numpy(array.view(Special)).data) is np.ndarray


BAD_DATA = [
    (lambda: ta.tensor([1j]), ta.DTypeError, "no real numbers"),
    (lambda: ta.tensor("1"), ta.DTypeError, "no real numbers"),
    (lambda: ta.tensor(None), ta.DTypeError, "None holds no real numbers"),
    (lambda: ta.tensor([[1], [1, 2]]), ta.ShapeError, "different lengths"),
    (lambda: ta.tensor([1, 300], dtype=ta.uint8), ta.DTypeError, "300 is beyond what uint8"),
    (lambda: ta.tensor([1], dtype="complex64"), ta.DTypeError, "none that a tensor can have"),
    (lambda: ta.tensor([1], requires_grad=True), ta.DTypeError, "int64"),
    (lambda: ta.tensor([1], device="tpu"), ta.DeviceError, 'unknown device "tpu"'),
    (lambda: ta.from_numpy([1.0]), ta.DTypeError, "list is no NumPy array"),
    (lambda: ta.from_numpy(np.zeros(1, complex)), ta.DTypeError, "complex128 cannot be shared"),
    (lambda: ta.from_numpy(np.zeros(1, ">f4")), ta.DTypeError, ">f4 cannot be shared"),
    (lambda: ta.from_dlpack([1.0]), ta.DTypeError, "list has no __dlpack__"),
    (lambda: ta.from_dlpack(np.zeros(1, complex)), ta.DTypeError, "no dtype complex128"),
]


@pytest.mark.parametrize(("call", "error", "words"), BAD_DATA)
def test_data_without_real_numbers_are_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()


# ---- to and from other libraries -----------------------------------------------------------------


def test_dlpack_shares_memory_both_ways():
    array = np.arange(3.0)
    x = ta.from_dlpack(array)
    assert np.shares_memory(x.data, array)
    if x.data.flags.writeable:  # NumPy 2.0 imports arrays read-only, and does not export those
        assert np.shares_memory(np.from_dlpack(x), array)
        assert np.shares_memory(ta.from_dlpack(x).data, array)
    y = ta.from_numpy(array)
    assert np.shares_memory(np.from_dlpack(y), array)
    assert np.shares_memory(ta.from_dlpack(y).data, array)


class Elsewhere:
    """An array in memory of a kind that nobody here knows."""

    def __dlpack_device__(self):
        return 7, 0


def test_memory_of_an_unknown_kind_is_refused():
    with pytest.raises(ta.DTypeError, match="device type 7 is unknown"):
        ta.from_dlpack(Elsewhere())


def test_numpy_reads_a_tensor(device):
    x = ta.tensor([[1.0, 2.0]], device=device)
    assert np.asarray(x).tolist() == x.numpy().tolist() == x.tolist() == [[1, 2]]
    assert np.asarray(x, dtype=np.float64).dtype == np.float64


def test_a_tensor_is_pickled_and_copied_with_its_dtype_and_place(device):
    x = ta.tensor([1.0, 2.0], dtype=ta.float16, device=device, requires_grad=True)
    for y in (pickle.loads(pickle.dumps(x)), copy.deepcopy(x)):
        assert (y.tolist(), y.dtype, y.device) == (x.tolist(), x.dtype, x.device)
        assert y.requires_grad
        assert y.data is not x.data


# ---- from nothing --------------------------------------------------------------------------------

MADE = [
    (lambda **o: ta.zeros(2, 3, **o), np.zeros((2, 3)), ta.float32),
    (lambda **o: ta.zeros((2, 3), **o), np.zeros((2, 3)), ta.float32),
    (lambda **o: ta.ones([2], **o), np.ones(2), ta.float32),
    (lambda **o: ta.zeros(**o), np.zeros(()), ta.float32),
    (lambda **o: ta.full((2,), 7, **o), np.full(2, 7), ta.int64),
    (lambda **o: ta.full(2, 0.5, **o), np.full(2, 0.5), ta.float32),
    (lambda **o: ta.full((), True, **o), np.full((), True), ta.bool_),
    (lambda **o: ta.arange(3, **o), np.arange(3), ta.int64),
    (lambda **o: ta.arange(1, 7, 2, **o), np.arange(1, 7, 2), ta.int64),
    (lambda **o: ta.arange(3, 0, -1, **o), np.arange(3, 0, -1), ta.int64),
    (lambda **o: ta.arange(0, 1, 0.25, **o), np.arange(0, 1, 0.25), ta.float32),
    (lambda **o: ta.arange(2.0, **o), np.arange(2.0), ta.float32),
    (lambda **o: ta.linspace(0, 1, 5, **o), np.linspace(0, 1, 5), ta.float32),
    (
        lambda **o: ta.linspace(0, 1, 4, endpoint=False, **o),
        np.linspace(0, 1, 4, False),
        ta.float32,
    ),
    (lambda **o: ta.eye(3, **o), np.eye(3), ta.float32),
    (lambda **o: ta.eye(2, 3, 1, **o), np.eye(2, 3, 1), ta.float32),
]


@pytest.mark.parametrize(("make", "expected", "dtype"), MADE)
def test_new_tensors_hold_what_numpys_do(make, expected, dtype, device):
    x = make(device=device)
    np.testing.assert_array_equal(x.numpy(), expected)
    assert x.dtype == dtype
    assert x.device.startswith(device)
    assert make(dtype=ta.float64, device=device).dtype == ta.float64


def test_an_empty_tensor_has_only_a_shape(device):
    x = ta.empty(2, 3, dtype=ta.int32, device=device, requires_grad=False)
    assert (x.shape, x.dtype) == ((2, 3), ta.int32)


@pytest.mark.parametrize(
    ("like", "value"),
    [(ta.zeros_like, 0), (ta.ones_like, 1), (lambda x, **o: ta.full_like(x, 7, **o), 7)],
)
def test_likes_take_shape_dtype_and_place_from_a_tensor(like, value, device):
    x = ta.empty(2, 3, dtype=ta.float16, device=device)
    y = like(x)
    assert (y.tolist(), y.dtype, y.device) == ([[value] * 3] * 2, x.dtype, x.device)
    assert like(x, dtype=ta.float64, requires_grad=True).requires_grad
    assert like(x, device="cpu").device == "cpu"
    assert ta.empty_like(x, dtype=int).dtype == ta.int64


def test_leaves_are_made_with_their_wish_for_a_gradient():
    for x in (ta.zeros(2, requires_grad=True), ta.randn(2, requires_grad=True)):
        assert x.requires_grad
        assert x.is_leaf


BAD_NUMBERS = [
    (lambda: ta.zeros(-1), ta.ShapeError, r"zeros: shape \(-1,\) has the size -1"),
    (lambda: ta.zeros(2.5), ta.DTypeError, "a size is 2.5"),
    (lambda: ta.zeros((2,), "float64"), ta.DTypeError, "zeros: a size is"),
    (lambda: ta.full(2, "a"), ta.DTypeError, "full: value is 'a'; it must be a number"),
    (lambda: ta.full_like(ta.ones(2), [1]), ta.DTypeError, "full_like: value is"),
    (lambda: ta.arange(1, 2, 0), ta.ShapeError, "a step of 0 never arrives"),
    (lambda: ta.arange("a"), ta.DTypeError, "arange: stop is 'a'"),
    (lambda: ta.linspace(0, 1, -1), ta.ShapeError, "num is -1"),
    (lambda: ta.linspace(0, 1, 2.0), ta.DTypeError, "num is 2.0"),
    (lambda: ta.eye(-1), ta.ShapeError, "has the size -1"),
    (lambda: ta.ones(2, dtype=str), ta.DTypeError, "none that a tensor can have"),
    (lambda: ta.ones(2, dtype=int, requires_grad=True), ta.DTypeError, "int64"),
    (lambda: ta.ones(2, device="gpu"), ta.DeviceError, 'unknown device "gpu"'),
]


@pytest.mark.parametrize(("call", "error", "words"), BAD_NUMBERS)
def test_what_makes_no_tensor_is_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()


# ---- from device to device -----------------------------------------------------------------------


def test_to_changes_device_dtype_or_both_and_otherwise_nothing(device):
    x = ta.ones(2)
    assert x.to("cpu") is x
    assert x.to(ta.float32) is x.to(dtype="float32") is x
    assert x.to(device).device.startswith(device)
    assert x.to("float64").dtype == x.to(ta.float64).dtype == ta.float64
    assert x.to(int).dtype == ta.int64
    both = x.to(device, ta.float16)
    assert (both.dtype, both.to("cpu").device) == (ta.float16, "cpu")
    assert both.cpu().tolist() == [1, 1]


def test_a_gradient_goes_home_through_every_move_and_cast_to_any_order(device):
    x = ta.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = (x.to(device, ta.float64) ** 3).to("cpu")
    (first,) = ta.grad(y.sum(), [x], create_graph=True)
    second = ta.grad(first.sum(), x)
    assert (first.tolist(), second.tolist()) == ([3, 12, 27], [6, 12, 18])
    assert (first.device, first.dtype) == ("cpu", ta.float32)


def test_an_unknown_place_is_an_error():
    with pytest.raises(ta.DeviceError, match='unknown device "gpu"'):
        ta.ones(2).to("gpu")
    with pytest.raises(ta.DTypeError, match="none that a tensor can have"):
        ta.ones(2).to(dtype="complex128")
    with pytest.raises(ta.DeviceError, match='two devices, "cpu" and "cuda"'):
        ta.ones(2).to("cpu", "cuda")
    with pytest.raises(ta.DTypeError, match="two dtypes, "):
        ta.ones(2).to(ta.float16, dtype=ta.float32)


@pytest.mark.parametrize("make", [ta.zeros, ta.ones, ta.empty, ta.rand])
@pytest.mark.parametrize(
    ("shape", "rule"),
    [
        ((2**30, 2**30), "more than memory can hold"),
        ((0, 2**59, 2**59), "more than memory can hold"),
        ((1,) * 65, "at most 64 axes"),
    ],
)
def test_a_shape_that_no_array_can_have(make, shape, rule):
    with pytest.raises(ta.errors.ShapeError, match=rule):
        make(shape)


@pytest.mark.parametrize(
    "make",
    [
        lambda: ta.arange(2**62),
        lambda: ta.arange(0, 1e308, 1e-300),
        lambda: ta.linspace(0, 1, 2**62),
        lambda: ta.eye(2**31),
    ],
)
def test_so_many_numbers_that_no_array_can_have_them(make):
    with pytest.raises(ta.errors.ShapeError, match="more than memory can hold"):
        make()
