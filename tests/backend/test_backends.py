"""The registry of backends, the rules by which dtypes mix, and what becomes an array."""

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import tinygrad_attn as ta
from tests.standin import backend as standin
from tests.standin import fake_cupy
from tinygrad_attn.backend import (
    array_from,
    backend_of,
    dtypes,
    get_backend,
    is_array,
    namespace,
    register_backend,
)
from tinygrad_attn.backend import cuda as cuda_module
from tinygrad_attn.backend.cpu import CpuBackend
from tinygrad_attn.core import Tensor
from tinygrad_attn.errors import DeviceError, DTypeError, ShapeError

CPU = get_backend("cpu")


# ---- the registry --------------------------------------------------------------------------------


def test_a_device_name_finds_its_backend():
    assert isinstance(CPU, CpuBackend)
    assert get_backend("standin") is get_backend("standin:1") is standin


def test_an_array_finds_its_backend_and_its_namespace():
    ours, theirs = np.ones(2), fake_cupy.array([1.0])
    assert backend_of(ours) is CPU and namespace(ours) is np
    assert backend_of(theirs) is standin and namespace(theirs) is fake_cupy
    assert namespace(Tensor(theirs)) is namespace(Tensor(ours)) is ta.ops


def test_a_subclass_belongs_to_the_backend_of_its_ancestor():
    class Special(np.ndarray):
        pass

    x = np.ones(2).view(Special)
    assert is_array(x) and backend_of(x) is CPU and namespace(x) is np


def test_numbers_belong_to_the_cpu_and_are_no_arrays():
    for number in (1, 2.0, True, np.float32(3)):
        assert backend_of(number) is CPU and namespace(number) is np and not is_array(number)


def test_a_user_can_register_a_backend(monkeypatch):
    class Marked(np.ndarray):
        pass

    class MarkedBackend(CpuBackend):
        name = "marked"
        array_type = Marked

        def from_host(self, array, device):
            return array.copy().view(Marked)

    for table, key in (("_backends", "marked"), ("array_types", Marked), ("_namespaces", Marked)):
        monkeypatch.setitem(getattr(ta.backend, table), key, None)  # forgotten after the test
    backend = register_backend(MarkedBackend())
    x = Tensor(array_from([1.0, 2.0], "marked"))
    assert get_backend("marked") is backend is backend_of((x + x).data)
    assert (x + x).device == "marked"


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("tpu", 'to("tpu"): unknown device "tpu"; known are "cpu", "cuda", '),
        ("", 'to(""): unknown device ""; known are "cpu", '),
        ("cpu:1", 'to("cpu:1"): no device "cpu:1": the cpu backend has only "cpu"'),
        ("standin:2", 'to("standin:2"): there is no such GPU; this machine has "standin:0", '),
        ("standin:-1", 'to("standin:-1"): a GPU is called "standin", or by number "standin:1"'),
        ("standin:", 'to("standin:"): a GPU is called "standin", or by number "standin:1"'),
        ("standin:one", 'to("standin:one"): a GPU is called "standin", or by number "standin:1"'),
    ],
)
def test_an_unknown_device_is_named_with_what_there_is(device, message):
    with pytest.raises(DeviceError) as error:
        get_backend(device)
    assert str(error.value).startswith(message)


def test_importing_the_package_does_not_import_cupy():
    code = "import sys, tinygrad_attn; sys.exit('cupy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# ---- "cuda" where it cannot be -------------------------------------------------------------------


def test_without_cupy_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(DeviceError) as error:
        cuda_module.register()
    assert str(error.value) == (
        'to("cuda"): CuPy is not installed; pip install \'tinygrad-attn[cuda13]\', or stay on "cpu"'
    )


def _cupy_with(device_count):
    runtime = SimpleNamespace(getDeviceCount=device_count, CUDARuntimeError=RuntimeError)
    return SimpleNamespace(ndarray=list, cuda=SimpleNamespace(runtime=runtime))


def _no_driver():
    raise RuntimeError("cudaErrorInsufficientDriver")


@pytest.mark.parametrize(
    ("device_count", "reason"),
    [(_no_driver, "cudaErrorInsufficientDriver"), (lambda: 0, "the driver finds none")],
)
def test_without_a_gpu_the_error_says_what_is_missing(monkeypatch, device_count, reason):
    special = SimpleNamespace(special=None)
    monkeypatch.setitem(sys.modules, "cupy", _cupy_with(device_count))
    monkeypatch.setitem(sys.modules, "cupyx", SimpleNamespace(scipy=special))
    monkeypatch.setitem(sys.modules, "cupyx.scipy", special)
    with pytest.raises(DeviceError) as error:
        cuda_module.register()
    assert str(error.value) == (
        f'to("cuda"): no GPU can be used: {reason}; '
        'install or update the NVIDIA driver, or stay on "cpu"'
    )


# ---- dtypes --------------------------------------------------------------------------------------

LADDER = "bool uint8 int8 int16 int32 int64 float16 float32 float64".split()
COMMON = {  # where the wider of two integers is neither of them
    ("uint8", "int8"): "int16",
}


@pytest.mark.parametrize("first", LADDER)
@pytest.mark.parametrize("second", LADDER)
def test_the_higher_kind_wins_and_keeps_its_width(first, second):
    low, high = sorted((first, second), key=LADDER.index)
    expected = COMMON.get((low, high), high)
    assert dtypes.promote(np.dtype(first), np.dtype(second)) == np.dtype(expected)


def test_no_integer_holds_both_int64_and_uint64():
    with pytest.raises(DTypeError, match="no integer type holds both int64 and uint64"):
        dtypes.promote(np.dtype("int64"), np.dtype("uint64"))


@pytest.mark.skipif(dtypes.bfloat16 is None, reason="no ml_dtypes, or a NumPy before 2.2")
def test_bfloat16_yields_to_wider_floats_and_meets_float16_in_float32():
    bfloat16 = dtypes.bfloat16
    assert dtypes.promote(bfloat16, dtypes.float64) == dtypes.float64
    assert dtypes.promote(dtypes.float16, bfloat16) == dtypes.float32
    assert dtypes.promote(dtypes.int64, bfloat16) == bfloat16


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (float, "float32"),
        (int, "int64"),
        (bool, "bool"),
        ("float16", "float16"),
        (np.float64, "float64"),
        (np.dtype("int8"), "int8"),
    ],
)
def test_what_a_user_calls_a_dtype(said, meant):
    assert dtypes.dtype(said) == np.dtype(meant)


@pytest.mark.parametrize("said", ["complex64", "datetime64[s]", object, str, "nonsense", 3])
def test_what_no_tensor_can_hold_is_no_dtype(said):
    with pytest.raises(DTypeError, match="none that a tensor can have"):
        dtypes.dtype(said)


# ---- arrays from values --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (1.5, "float32"),
        ([1, 2.5], "float32"),
        ([1, 2], "int64"),
        (True, "bool"),
        ([True, 2], "int64"),
        ([], "float32"),
        (np.float64(2), "float64"),
        (np.arange(3, dtype="int16"), "int16"),
        (np.ones(2), "float64"),
        (np.ones(2, "float16"), "float16"),
        ([np.float64(2), 1.0], "float32"),
    ],
)
@pytest.mark.parametrize("device", [None, "cpu", "standin"])
def test_values_become_arrays_of_the_expected_dtype(value, dtype, device):
    array = array_from(value, device)
    backend = get_backend(device or "cpu")
    assert array.dtype == dtype and isinstance(array, backend.array_type)
    np.testing.assert_array_equal(backend.to_host(array), np.asarray(value))


def test_an_array_is_copied():
    mine = np.zeros(3)
    made = array_from(mine)
    mine[:] = 1
    assert not made.any()


@pytest.mark.parametrize("value", ["text", [None], [1j], np.array([object()]), {"a": 1}])
def test_what_holds_no_real_numbers_is_refused(value):
    with pytest.raises(DTypeError, match=r"^arange: .* holds no real numbers"):
        array_from(value, where="arange")


def test_ragged_lists_are_refused():
    with pytest.raises(ShapeError, match=r"^tensor: the nested lists have different lengths"):
        array_from([[1, 2], [3]])


# ---- devices -------------------------------------------------------------------------------------


def _on(device, values):
    return Tensor(array_from(values, device))


def test_the_device_is_that_of_the_array():
    assert _on("cpu", [1.0]).device == "cpu"
    assert _on("standin", [1.0]).device == "standin:0"
    assert _on("standin:1", [1.0]).device == "standin:1"


@pytest.mark.parametrize("op", [ta.add, ta.maximum, lambda a, b: ta.where(a > 0, a, b)])
def test_mixing_devices_is_an_error_that_says_what_to_write(op):
    here, there = _on("cpu", [1.0, 2.0]), _on("standin", [3.0, 4.0])
    for pair in ((here, there), (there, here)):
        with pytest.raises(DeviceError, match=r'is on "(cpu|standin:0)".*\.to\(device\)'):
            op(*pair)


def test_whole_numbers_do_not_hide_a_mixed_device():
    with pytest.raises(DeviceError, match=r"^add: "):
        _on("cpu", [1, 2]) + _on("standin", [1.0, 2.0])
