"""Backends: the array libraries under the tensors. Nothing in here knows what a Tensor is.

namespace(x)       the library that speaks NumPy's names for x: numpy, cupy, or, for Tensors, ta.ops
backend_of(x)      the Backend that owns a raw array
get_backend("cpu") the Backend of a device name; "cuda" imports CuPy at that moment, not before
"""

from importlib import import_module

import numpy as np

from ..errors import DeviceError, DTypeError, ShapeError
from . import dtypes
from .base import Backend
from .cpu import CpuBackend

__all__ = [
    "Backend",
    "array_from",
    "array_types",
    "backend_of",
    "dtypes",
    "get_backend",
    "in_one_place",
    "is_array",
    "namespace",
    "on_device_of",
    "quiet",
    "register_backend",
    "register_namespace",
    "require_real",
    "when_devices_differ",
]

_namespaces = {}  # class of an array -> the module that computes with it
array_types = {}  # class of an array -> its Backend
_backends = {}  # device name without its number -> Backend
_lazy = {"cuda": f"{__name__}.cuda"}  # backends whose library is imported when first asked for
_in_use = {}  # backend -> the full name of the device that was named first, None after a second
_when_devices_differ = []


def register_namespace(array_type, module):
    """Let ``namespace(x)`` answer with ``module`` for every ``x`` of ``array_type``."""
    _namespaces[array_type] = module


def register_backend(backend):
    """Make a Backend known by its device name and by the class of its arrays; returns it."""
    _backends[backend.name] = backend
    array_types[backend.array_type] = backend
    register_namespace(backend.array_type, backend.xp)
    return backend


def namespace(x):
    """The library in whose language to compute with ``x``.

    An op is written once, as ``namespace(x).exp(x)``. Given a raw array it computes; given a
    Tensor, as a derivative rule is when a higher order is asked for, the same line records a graph.
    """
    try:
        return _namespaces[type(x)]
    except KeyError:
        return _look_up(_namespaces, x, _backends["cpu"].xp)


def backend_of(x):
    """The Backend that owns the raw array ``x``; Python and NumPy scalars belong to the CPU."""
    try:
        return array_types[type(x)]
    except KeyError:
        return _look_up(array_types, x, _backends["cpu"])


def is_array(x):
    """Whether ``x`` is a raw array of any registered backend."""
    return type(x) in array_types or isinstance(x, tuple(array_types))


def _look_up(table, x, otherwise):
    """Find a subclass's entry by walking its ancestors, and remember it."""
    for ancestor in type(x).__mro__:
        if ancestor in table:
            table[type(x)] = table[ancestor]
            return table[ancestor]
    return otherwise


def get_backend(device):
    """The Backend for "cpu", "cuda" or "cuda:1".

    Raises: DeviceError for an unknown name, or where the library or the device is missing.
    """
    name = str(device).partition(":")[0]
    if name not in _backends and name in _lazy:
        import_module(_lazy[name]).register()
    if name not in _backends:
        known = ", ".join(f'"{known}"' for known in sorted({*_backends, *_lazy}))
        raise DeviceError(
            f'to("{device}"): unknown device "{device}"; known are {known} and numbered ones '
            '("cuda:1")'
        )
    backend = _backends[name]
    full = backend.validate(str(device))
    if _in_use.setdefault(backend, full) not in (full, None):
        _in_use[backend] = None
        for action in _when_devices_differ:
            action()
    return backend


def in_one_place(arrays):
    """Whether all ``arrays`` are on one device. Their classes tell, unless a backend uses two."""
    if len({type(array) for array in arrays}) > 1:
        return False
    if None not in _in_use.values():
        return True
    return len({backend_of(array).device_of(array) for array in arrays}) < 2


def when_devices_differ(action):
    """Call ``action()`` as soon as a second device of one backend is named; returns it."""
    _when_devices_differ.append(action)
    return action


def on_device_of(array):
    """A context manager: what is computed inside it is computed where ``array`` is."""
    backend = backend_of(array)
    return backend.on(backend.device_of(array))


def array_from(value, device=None, where="tensor", dtype=None):
    """A new raw array from numbers, nested lists or an array, on ``device`` (the CPU if None).

    Numbers and lists become float32, int64 or bool; an array keeps its dtype; ``dtype`` overrules
    both. An array of another library than NumPy stays where it is.
    Raises: DTypeError for what holds no real numbers, or whole numbers too large for ``dtype``;
    ShapeError for ragged lists.
    """
    if _holds_tensors(value):
        raise DTypeError(f"{where}: a list of tensors is no array; join them with ta.stack")
    if is_array(value) and backend_of(value) is not _backends["cpu"]:
        require_real(where, value, value.dtype)
        with on_device_of(value):
            return value.copy() if dtype is None else value.astype(dtype)
    try:
        host = np.array(value)
    except ValueError as error:
        raise ShapeError(
            f"{where}: the nested lists have different lengths; rows must be equally long"
        ) from error
    require_real(where, value, host.dtype)
    if dtype is None and hasattr(value, "dtype"):
        dtype = host.dtype if host.dtype.isnative else host.dtype.newbyteorder("=")
    elif dtype is None:
        dtype = {"b": dtypes.bool_, "f": dtypes.float32}.get(host.dtype.kind, dtypes.int64)
    array = _lossless(where, host, dtypes.dtype(dtype, where))
    device = "cpu" if device is None else device
    return array if device == "cpu" else get_backend(device).from_host(array, device)


_CONTENTS = {"U": "text", "S": "bytes", "O": "objects"}  # by the kind of a dtype


def require_real(where, value, dtype):
    """Raise DTypeError unless real numbers are in ``dtype``, as which NumPy took ``value``."""
    if dtype.kind in "biuf" or dtypes.is_real(dtype):
        return
    if isinstance(value, int):
        raise DTypeError(f"{where}: {value} is beyond what int64 can hold; give a float")
    contents = _CONTENTS.get(dtype.kind, dtype)
    what = "None" if value is None else type(value).__name__
    what += f" of {contents}" if hasattr(value, "__len__") and what != "str" else ""
    raise DTypeError(
        f"{where}: {what} holds no real numbers; give numbers, nested lists of them, or an array"
    )


def _holds_tensors(value):
    """Whether there is a tensor somewhere in nested lists."""
    if not isinstance(value, (list, tuple)):
        return False
    return any(hasattr(item, "requires_grad") or _holds_tensors(item) for item in value)


def _lossless(where, host, dtype):
    """``host`` in ``dtype``. Raises: DTypeError for a number that an integer type cannot hold."""
    with np.errstate(all="ignore"):
        array = host.astype(dtype, copy=False)
    if dtype.kind in "iu" and host.dtype.kind in "iuf" and dtype != host.dtype:
        lost = array != np.trunc(host)
        if lost.any():
            raise DTypeError(
                f"{where}: {host[lost][0]} is beyond what {dtype} can hold; choose another dtype"
            )
    return array


quiet = np.errstate(all="ignore")
"""Decorator for ops whose limits are values, not mistakes: log 0 is −∞, with no warning, as on a
GPU."""

register_backend(CpuBackend())
