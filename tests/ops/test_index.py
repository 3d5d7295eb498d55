"""Reading and writing by position: ranges, repeated positions, writes in place; and sorting."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinygrad_attn as ta


def x34(device="cpu", **options):
    return ta.tensor(np.arange(12.0).reshape(3, 4), device=device, **options)


# ---- every index that NumPy takes ----------------------------------------------------------------


@given(data=st.data())
def test_basic_indices_read_what_numpy_reads(data):
    shape = data.draw(hnp.array_shapes(min_dims=0, min_side=0, max_dims=4, max_side=4))
    index = data.draw(hnp.basic_indices(shape, allow_newaxis=True))
    check_index(shape, index)


@given(data=st.data())
def test_arrays_of_positions_read_what_numpy_reads(data):
    shape = data.draw(hnp.array_shapes(max_dims=3, max_side=4))
    check_index(shape, data.draw(hnp.integer_array_indices(shape)))


@given(data=st.data())
def test_masks_read_what_numpy_reads(data):
    shape = data.draw(hnp.array_shapes(min_side=0, max_dims=3, max_side=4))
    check_index(shape, data.draw(hnp.arrays(bool, shape)))


def check_index(shape, index):
    """Reading, by arrays and by tensors, and both ways of writing, against NumPy."""
    array = np.arange(float(math.prod(shape))).reshape(shape)
    x = ta.tensor(array)
    np.testing.assert_array_equal(x[index], array[index])
    parts = index if isinstance(index, tuple) else (index,)
    parts = tuple(ta.tensor(p) if isinstance(p, np.ndarray) else p for p in parts)
    np.testing.assert_array_equal(x[parts], array[index])
    added, put = array.copy(), array.copy()
    np.add.at(added, index, 0.5)
    np.testing.assert_array_equal(ta.index_add(x, index, 0.5), added)
    put[index] = -1
    np.testing.assert_array_equal(ta.index_put(x, index, -1), put)
    np.testing.assert_array_equal(x, array)  # both are functional


def test_indices_are_python_numbers_numpy_numbers_lists_arrays_or_tensors(device):
    x = x34(device)
    for one in (1, np.int8(1), ta.tensor(1, device=device), np.array(1)):
        assert x[one].tolist() == x[one, :].tolist() == [4, 5, 6, 7]
    for two in ([0, -1], np.array([0, -1], np.int16), ta.tensor([0, -1], device=device)):
        assert x[two].tolist() == x[two, ...].tolist() == [[0, 1, 2, 3], [8, 9, 10, 11]]
    for none in ([], np.zeros(0, int), ta.zeros(0, dtype=int, device=device)):
        assert x[none].shape == (0, 4)


def test_an_index_is_our_own_copy():
    x, index = x34(requires_grad=True), np.array([0, 0])
    y = x[index].sum()
    index[:] = 2
    assert ta.grad(y, x).tolist() == [[2, 2, 2, 2], [0, 0, 0, 0], [0, 0, 0, 0]]


def test_slices_share_memory_and_arrays_of_positions_do_not():
    x = x34()
    assert np.shares_memory(x.data, x[1:, ::2].data)
    assert not np.shares_memory(x.data, x[[1, 2]].data)


def test_iterating_runs_along_the_first_axis():
    x = x34(requires_grad=True)
    sum(row.sum() * i for i, row in enumerate(x)).backward()
    assert x.grad.tolist() == [[0] * 4, [1] * 4, [2] * 4]


# ---- outside -------------------------------------------------------------------------------------

OUTSIDE = [
    (3, r"index 3 \(part 0 of the index\) .* axis 0 of x \(3, 4\); it must be in -3..2"),
    ((0, -5), r"index -5 \(part 1 of the index\) .* axis 1 .* in -4..3"),
    ((..., 4), r"index 4 \(part 1 of the index\) .* axis 1"),
    ([0, 3], r"index 3 \(part 0 of the index at \(1,\)\)"),
    ((slice(None), [[0], [-9]]), r"index -9 \(part 1 of the index at \(1, 0\)\) .* axis 1"),
    ((0, 0, 0), r"3 axes are indexed, but x is \(3, 4\)"),
    ((..., 0, ...), "there are two ellipses"),
    (np.ones((4, 3), bool), r"a mask is \(4, 3\), but the axes that it selects from are \(3, 4\)"),
    ((0, [True, False]), r"a mask is \(2,\), but .* are \(4,\)"),
]


@pytest.mark.parametrize(("index", "words"), OUTSIDE)
def test_a_position_outside_is_an_error_for_reading_and_writing(index, words, device):
    x = x34(device)
    for where, call in [
        ("getitem", lambda: x[index]),
        ("index_put", lambda: ta.index_put(x, index, 0.0)),
        ("index_add", lambda: ta.index_add(x, index, 0.0)),
        ("setitem", lambda: x.__setitem__(index, 0.0)),
    ]:
        with pytest.raises(ta.IndexRangeError, match=f"{where}: {words}"):
            call()


NO_INDEX = [
    (1.0, "float32"),
    (ta.tensor([0.5]), "float32"),
    ("a", "no real numbers"),
    (object(), "no real numbers"),
    (slice(1.5, None), "is not of whole numbers"),
]


@pytest.mark.parametrize(("index", "words"), NO_INDEX)
def test_what_is_no_index_is_refused(index, words):
    with pytest.raises(ta.DTypeError, match=words):
        x34()[index]
    with pytest.raises(ta.DTypeError, match=words):
        x34()[index] = 1.0


def test_arrays_of_positions_must_broadcast():
    with pytest.raises(ta.ShapeError, match=r"arrays in the index: .*\(2,\), \(3,\)"):
        x34()[[0, 1], [0, 1, 2]]


OUTSIDE_OTHERWISE = [
    (lambda x: ta.take(x, [12]), "take: index 12"),
    (lambda x: ta.take(x, 4, axis=1), "take: index 4"),
    (lambda x: ta.take_along_axis(x, [[0], [4], [0]]), r"index 4 \(at \(1, 0\)\)"),
    (lambda x: ta.put_along_axis(x, [[0], [0], [-5]], 0.0), r"index -5 \(at \(2, 0\)\)"),
    (lambda x: ta.scatter_add(x, [[3, 0, 0, 0]], 0.0, axis=0), r"index 3 \(at \(0, 0\)\)"),
    (lambda x: ta.one_hot(ta.tensor([1, 3], device=x.device), 3), r"index 3 \(at \(1,\)\)"),
    (lambda x: ta.one_hot(-1, 3), r"index -1 \(at \(\)\) .* must be in 0..2"),
    (lambda x: ta.zeros(0, 2)[0], "the axis is empty"),
]


@pytest.mark.parametrize(("call", "words"), OUTSIDE_OTHERWISE)
def test_no_op_wraps_a_position_round(call, words, device):
    with pytest.raises(ta.IndexRangeError, match=words):
        call(x34(device))


BAD = [
    (lambda x: ta.take_along_axis(x, [0]), ta.ShapeError, "with as many axes as x"),
    (lambda x: ta.take_along_axis(x, 0), ta.ShapeError, "with as many axes as x"),
    (lambda x: ta.take_along_axis(x, [[0], [0]]), ta.ShapeError, "do not broadcast"),
    (lambda x: ta.take_along_axis(x, x), ta.DTypeError, "an index is float"),
    (lambda x: ta.index_put(x, 0, ta.ones(3)), ta.ShapeError, r"names \(4,\) of x \(3, 4\)"),
    (lambda x: ta.index_add(x, 0, ta.ones(3)), ta.ShapeError, r"names \(4,\) of x \(3, 4\)"),
    (lambda x: ta.index_add(x, [0, 0], ta.ones(3)), ta.ShapeError, r"names \(2, 4\)"),
    (lambda x: ta.index_put(x.astype(int), 0, 0.5), ta.DTypeError, "cannot hold float values"),
    (lambda x: ta.index_put(x.astype("int8"), 0, 300), ta.DTypeError, "300 is out of bounds"),
    (lambda x: ta.index_put(x > 0, 0, 2), ta.DTypeError, "x is bool and cannot hold int"),
    (lambda x: ta.masked_fill(x, x, 0.0), ta.DTypeError, "a mask is boolean"),
    (lambda x: ta.masked_fill(x, (x > 0)[None], 0.0), ta.ShapeError, "must broadcast to x"),
    (lambda x: ta.masked_fill(x.astype(int), x > 0, 0.5), ta.DTypeError, "cannot hold float"),
    (lambda x: ta.masked_select(x, x), ta.DTypeError, "a mask is boolean"),
    (lambda x: ta.masked_select(x, (x > 0).T), ta.ShapeError, "do not broadcast"),
    (lambda x: ta.one_hot(x, 3), ta.DTypeError, "must be whole numbers"),
    (lambda x: ta.topk(x, 5), ta.ShapeError, r"k is 5, but axis 1 of x \(3, 4\) has 4"),
    (lambda x: ta.topk(x, 1.0), ta.DTypeError, "k is 1.0"),
    (lambda x: ta.sort(x, axis=2), ta.ShapeError, "axis 2 is out of range"),
    (lambda x: ta.nonzero(ta.tensor(1.0)), ta.ShapeError, "x has no axes"),
    (lambda x: ta.searchsorted(x, x), ta.ShapeError, r"line is \(3, 4\)"),
    (lambda x: ta.searchsorted(x[0], x, "middle"), ta.ShapeError, "side is 'middle'"),
]


@pytest.mark.parametrize(("call", "error", "words"), BAD)
def test_what_does_not_fit_is_refused(call, error, words):
    with pytest.raises(error, match=words):
        call(x34())


# ---- repeated positions --------------------------------------------------------------------------


def test_of_values_put_in_one_place_the_last_stays_and_gets_the_gradient():
    x = ta.tensor([0.0, 0.0, 0.0], requires_grad=True)
    values = ta.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = ta.index_put(x, [0, 0, 2], values)
    assert y.tolist() == [2, 0, 3]
    gx, gv = ta.grad((y * y).sum() + y.sum(), [x, values])
    assert (gx.tolist(), gv.tolist()) == ([0, 1, 0], [0, 5, 7])


def test_values_added_in_one_place_all_count():
    x = ta.tensor([0.0, 0.0, 0.0], requires_grad=True)
    values = ta.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = ta.index_add(x, [0, 0, -1], values)
    assert y.tolist() == [3, 0, 3]
    gx, gv = ta.grad((y * y).sum(), [x, values])
    assert (gx.tolist(), gv.tolist()) == ([6, 0, 6], [6, 6, 6])


@pytest.mark.parametrize("rows", [300, 2**16, 2**16 + 1])
@pytest.mark.parametrize("dtype", ["int8", "int64"])
def test_positions_of_any_width_name_rows_of_any_table(rows, dtype):
    table, places = ta.zeros((rows, 2), requires_grad=True), np.array([-1, 7, -1, 0], dtype)
    table[places].sum().backward()
    counts = np.zeros(rows)
    counts[[0, 7, rows - 1]] = 1, 1, 2
    np.testing.assert_array_equal(table.grad.numpy()[:, 0], counts)


def test_16_bit_floats_accumulate_in_float32():
    places = ta.zeros(5000, dtype=int)
    x = ta.zeros(2, dtype=ta.float16, requires_grad=True)
    assert ta.grad(x[places].sum(), x).tolist() == [5000, 0]
    assert ta.index_add(x, places, 1.0).tolist() == [5000, 0]


def test_values_may_have_more_axes_of_size_1_as_in_numpy():
    x, values = x34(requires_grad=True), ta.ones(1, 1, 4, requires_grad=True)
    y = ta.index_put(x, 1, values)
    assert ta.grad((y * y).sum(), values).tolist() == [[[2, 2, 2, 2]]]


# ---- x[index] = values ---------------------------------------------------------------------------


def test_without_gradients_a_write_is_in_place_and_views_see_it():
    x = x34()
    row = x[1]
    x[1, 1:3] = ta.tensor([-1, -2])
    x[ta.tensor([0, 2]), 0] = 9
    assert row.tolist() == [4, -1, -2, 7]
    assert x[:, 0].tolist() == [9, 4, 9]


def test_a_written_array_is_noticed_by_a_graph_that_needs_it():
    x, w = x34(), ta.ones(4, dtype=ta.float64, requires_grad=True)
    loss = (x * w).sum()
    x[0, 0] = 5.0
    with pytest.raises(ta.GraphError, match=r"multiply needs an array .* overwritten in place"):
        loss.backward()


def test_with_gradients_a_write_binds_the_name_anew_and_views_keep_the_old_values():
    w = ta.tensor([1.0, 2.0, 3.0], requires_grad=True)
    x = w * 1
    view, squares = x[:2], (x * x).sum()
    x[0] = w[2] * 10
    assert (view.tolist(), x.tolist()) == ([1, 2], [30, 2, 3])
    assert ta.grad(squares + x.sum(), w).tolist() == [2, 5, 17]


def test_a_value_with_a_gradient_makes_the_tensor_carry_it():
    x, v = ta.zeros(3), ta.tensor(2.0, requires_grad=True)
    x[1:] = v
    assert ta.grad((x * x).sum(), v).item() == 8


def test_a_leaf_that_wants_its_gradient_is_written_only_under_no_grad():
    w = ta.zeros(3, requires_grad=True)
    with pytest.raises(ta.GraphError, match=r"setitem: x \(3,\) is a leaf .* no_grad\(\)"):
        w[0] = 1.0
    with ta.no_grad():
        w[0] = 1.0
    assert w.tolist() == [1, 0, 0]
    assert w.requires_grad


def test_what_shares_memory_with_itself_or_is_read_only_is_copied_before_it_is_written():
    x = ta.broadcast_to(ta.tensor([1.0]), (3,))
    x[0] = 5.0
    assert x.tolist() == [5, 1, 1]
    array = np.zeros(2, np.float32)
    array.flags.writeable = False
    x = ta.from_numpy(array)
    x[0] = 5.0
    assert (x.tolist(), array.tolist()) == ([5, 0], [0, 0])


@pytest.mark.parametrize(
    ("dtype", "value", "error"),
    [
        (ta.int64, 0.5, ta.DTypeError),
        (ta.int64, ta.tensor(0.5), ta.DTypeError),
        (ta.int8, 300, ta.DTypeError),
        (ta.int8, ta.tensor(3), ta.DTypeError),
        (ta.bool_, 1, ta.DTypeError),
        (ta.float32, ta.ones(2), ta.ShapeError),
        (ta.float32, "a", ta.DTypeError),
    ],
)
def test_a_tensor_holds_what_it_can(dtype, value, error):
    x = ta.zeros(3, dtype=dtype)
    with pytest.raises(error, match="setitem"):
        x[:] = value
    assert x.tolist() == [0, 0, 0]


def test_a_write_keeps_the_dtype():
    x = ta.zeros(3, dtype=ta.float16)
    x[0] = ta.tensor(1.5, dtype=ta.float64)
    x[1] = ta.tensor(True)
    x[2] = 7
    assert (x.tolist(), x.dtype) == ([1.5, 1, 7], ta.float16)


# ---- classes, order ------------------------------------------------------------------------------


def test_one_hot_lines():
    assert ta.one_hot([[0, 2]], 3).tolist() == [[[1, 0, 0], [0, 0, 1]]]
    assert ta.one_hot(ta.tensor([1, 0])).tolist() == [[0, 1], [1, 0]]
    assert ta.one_hot(2, 3, dtype=ta.float32).tolist() == [0, 0, 1]
    assert ta.one_hot(ta.zeros(0, dtype=int)).shape == (0, 0)


@pytest.mark.parametrize("descending", [False, True])
def test_equals_keep_their_order_and_nan_is_largest(descending):
    x = ta.tensor([2.0, math.nan, 1.0, 2.0, -math.inf, 1.0])
    expected = [1, 0, 3, 2, 5, 4] if descending else [4, 2, 5, 0, 3, 1]
    assert ta.argsort(x, descending=descending).tolist() == expected
    np.testing.assert_array_equal(ta.sort(x, descending=descending), x.numpy()[expected])


def test_topk_gives_values_in_order_with_their_places_and_gradients():
    x = ta.tensor([[3.0, 1.0, 3.0, 2.0]], requires_grad=True)
    values, places = ta.topk(x, 3)
    assert (values.tolist(), places.tolist()) == ([[3, 3, 2]], [[0, 2, 3]])
    assert ta.topk(x, 2, largest=False)[1].tolist() == [[1, 3]]
    weights = ta.tensor([1.0, 10.0, 100.0])
    assert ta.grad((values * weights).sum(), x).tolist() == [[1, 0, 10, 100]]
    assert ta.topk(x, 0)[0].shape == (1, 0)


def test_nonzero_and_searchsorted_count_in_int64():
    assert [line.tolist() for line in ta.nonzero(ta.tensor([[0, 5], [6, 0]]))] == [[0, 1], [1, 0]]
    line = ta.tensor([1.0, 2.0, 2.0, 3.0])
    assert ta.searchsorted(line, [2.0, 9.0]).tolist() == [1, 4]
    assert ta.searchsorted(line, 2.0, "right").item() == 3
    assert ta.searchsorted(line, 2.0).dtype == ta.argsort(line).dtype == ta.int64


def set_item(x, index, values):
    x[index] = values
    return x


WRITES = {"index_put": ta.index_put, "index_add": ta.index_add, "setitem": set_item}


@pytest.mark.parametrize("name", WRITES)
def test_values_that_are_an_array_of_their_library(name, device):
    """They stay where they are: what is elsewhere is refused, as beside any operator."""
    write, rest = WRITES[name], slice(1, None)
    x = write(ta.zeros(3, device=device), rest, ta.ones(2, device=device).data)
    assert x.tolist() == [0, 1, 1]
    if device != "cpu":
        with pytest.raises(ta.DeviceError, match=rf'{name}: x is on .* but values are on "cpu"'):
            write(x, rest, np.ones(2, "float32"))
