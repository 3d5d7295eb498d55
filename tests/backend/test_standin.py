"""The stand-in for CuPy really refuses: what it let through would fail first on a GPU."""

import numpy as np
import pytest

from tests.standin import fake_cupy as cp


def floats(*shape):
    return cp.array(np.arange(np.prod(shape), dtype="float32").reshape(shape))


X = floats(2, 3)
HOST = np.ones((2, 3), "float32")


@pytest.mark.parametrize(
    "leak",
    [
        lambda: np.asarray(X),
        lambda: np.exp(X),
        lambda: np.sum(X),
        lambda: np.concatenate([X, X]),
        lambda: HOST + X,
        lambda: X + HOST,
        lambda: X * [1, 2, 3],
        lambda: X == HOST,
        lambda: cp.add(X, HOST),
        lambda: cp.where(X > 0, X, HOST),
        lambda: cp.sum(HOST),
        lambda: cp.sum([1, 2]),
        lambda: cp.concatenate([X, HOST]),
        lambda: cp.matmul(X, HOST.T),
        lambda: X.dot(HOST.T),
        lambda: X[np.array([0, 1])],
        lambda: HOST[cp.array([0, 1])],
        lambda: [1, 2, 3][cp.array(1)],
    ],
)
def test_nothing_is_converted_implicitly(leak):
    with pytest.raises((TypeError, IndexError)):
        leak()


def test_an_array_of_the_host_cannot_be_assigned():
    with pytest.raises(ValueError, match="ndarray cannot be assigned"):
        floats(2, 3)[0] = HOST[0]


@pytest.mark.parametrize(
    "call",
    [
        lambda: cp.exp(X, where=X > 0),
        lambda: cp.sum(X, where=X > 0),
        lambda: X.sum(initial=0),
        lambda: cp.max(X, initial=0),
        lambda: cp.var(X, correction=1),
        lambda: cp.take(X, cp.array([0]), mode="clip"),
        lambda: cp.clip(X, min=0),
        lambda: cp.take_along_axis(X, cp.array([[0]])),
    ],
)
def test_keywords_that_cupy_lacks_are_refused(call):
    with pytest.raises(TypeError):
        call()


@pytest.mark.parametrize("name", "errstate vecdot matvec unstack block einsum_path".split())
def test_functions_that_cupy_lacks_are_missing(name):
    with pytest.raises(AttributeError, match=f"no attribute '{name}'"):
        getattr(cp, name)


def test_methods_that_cupy_lacks_are_missing():
    for name in ("__index__", "itemset", "resize", "newbyteorder"):
        assert not hasattr(X, name)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: cp.maximum.reduce(X), NotImplementedError),
        (lambda: cp.multiply.at(floats(3), cp.array([0]), 2), NotImplementedError),
        (lambda: cp.add.at(cp.array([True]), cp.array([0]), True), TypeError),
        (lambda: cp.argsort(X, kind="mergesort"), ValueError),
        (lambda: cp.repeat(X, cp.array([1, 2]), axis=0), ValueError),
        (lambda: cp.where(True, X, X), AttributeError),
        (lambda: cp.logical_xor(X, X, dtype=bool, order="C"), TypeError),
    ],
)
def test_limits_of_functions_that_exist(call, error):
    with pytest.raises(error):
        call()


def test_dtypes_are_those_that_cupy_would_make():
    assert (X + 1).dtype == (2.0 * X).dtype == (1 - X).dtype == np.float32
    assert (X * np.float64(2)).dtype == np.float64
    assert (cp.array([1]) / cp.array([2])).dtype == np.float64
    assert (X > 0).dtype == bool


def test_results_are_always_arrays():
    for result in (X.sum(), cp.max(X), X[0, 0], cp.count_nonzero(X), cp.allclose(X, X)):
        assert isinstance(result, cp.ndarray) and result.shape == ()


def test_views_know_whose_memory_they_are():
    x = floats(2, 3)
    for view in (x[0], x[0, 0], x[0][1:], x.T, x.reshape(-1), cp.expand_dims(x, 0)):
        assert view.base is x
    assert x.base is None and x.copy().base is None and (x + 1).base is None
    assert cp.add(x, 1, out=x) is x
    x[1][2] = 9
    assert x.tolist() == [[1, 2, 3], [4, 5, 9]]


def test_indices_out_of_range_wrap_round_and_single_ones_do_not():
    x, far = floats(2, 3), cp.array([3, -4])
    assert x[:, far].tolist() == cp.take(x, far, axis=1).tolist() == [[0, 2], [3, 5]]
    assert x.take(far, axis=1).tolist() == x[..., far].tolist() == [[0, 2], [3, 5]]
    assert cp.take_along_axis(x, cp.array([[3], [5]]), axis=1).tolist() == [[0], [5]]
    with pytest.raises(IndexError):
        x[2]


def test_writes_to_one_place_race():
    winners = set()
    for _ in range(50):
        x = cp.zeros(2)
        x[cp.array([1, 1, 1])] = cp.array([1.0, 2.0, 3.0])
        winners.add(x.tolist()[1])
    assert winners == {1, 2, 3}


def test_scatter_add_sums_in_any_order():
    values = cp.array(np.geomspace(1, 1e8, 1000).astype("float32"))
    sums = set()
    for _ in range(20):
        x = cp.zeros(1, dtype="float32")
        cp.add.at(x, cp.zeros(1000, dtype=int), values)
        sums.add(x.item())
    assert len(sums) > 1
    np.testing.assert_allclose(list(sums), float(values.sum()), rtol=1e-5)


def test_empty_memory_holds_rubbish():
    assert np.isnan(cp.empty((2, 2)).get()).all() and np.isnan(cp.empty_like(X).get()).all()
    assert cp.empty(2, dtype="int32").tolist() == [2**31 - 1] * 2


@pytest.mark.parametrize(
    "look",
    [
        lambda: float(X.sum()),
        lambda: bool(cp.all(X == X)),
        lambda: int(X[0, 1]),
        lambda: X.sum().item(),
        lambda: X.tolist(),
        lambda: repr(X),
        lambda: cp.asnumpy(X),
        lambda: X[floats(2, 3) > 2],
        lambda: floats(2, 3).__setitem__(floats(2, 3) > 2, 0),
        lambda: cp.nonzero(X),
        lambda: X.nonzero(),
        lambda: cp.unique(X),
        lambda: cp.cuda.Device().synchronize(),
    ],
)
def test_looking_at_values_is_counted(look):
    before = cp.synchronizations
    look()
    assert cp.synchronizations == before + 1


def test_computing_waits_for_nothing():
    before = cp.synchronizations
    y = cp.where(X > 1, cp.exp(X), 0)[:, 1:].sum(axis=0) @ floats(2, 2)
    y += y[cp.array([1, 0])]
    assert y.shape == (2,) and cp.synchronizations == before


def test_no_floating_point_warnings():
    zero = cp.zeros(2)
    assert np.isnan((zero / zero).get()).all() and np.isinf(cp.log(zero).get()).all()


def test_only_the_device_in_use_computes():
    with cp.cuda.Device(1):
        there = floats(3)
        assert there.device.id == (there + 1).device.id == 1
    assert X.device.id == 0 and there.tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="on device 1"):
        there + 1
    with pytest.raises(ValueError, match="on device 1"):
        floats(3) + there
