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
    "is_array",
    "namespace",
    "quiet",
    "register_backend",
    "register_namespace",
]

_namespaces = {}  # class of an array -> the module that computes with it
array_types = {}  # class of an array -> its Backend
_backends = {}  # device name without its number -> Backend
_lazy = {"cuda": f"{__name__}.cuda"}  # backends whose library is imported when first asked for


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
            f'unknown device "{device}"; known are {known} and numbered ones ("cuda:1")'
        )
    _backends[name].validate(str(device))
    return _backends[name]


def array_from(value, device=None, where="tensor", dtype=None):
    """A new raw array from numbers, nested lists or a NumPy array, on ``device`` (the CPU if None).

    Numbers and lists become float32, int64 or bool; a NumPy array keeps its dtype; ``dtype``
    overrules both.
    Raises: DTypeError for what holds no real numbers, or whole numbers too large for ``dtype``;
    ShapeError for ragged lists.
    """
    if isinstance(value, (list, tuple)) and any(hasattr(item, "requires_grad") for item in value):
        raise DTypeError(f"{where}: a list of tensors is no array; join them with ta.stack")
    try:
        host = np.array(value)
    except ValueError as error:
        raise ShapeError(f"{where}: the nested lists have different lengths; {error}") from error
    is_real = dtypes.is_float(host.dtype) and host.dtype.kind != "c"
    if not is_real and host.dtype.kind not in "biuf":
        raise DTypeError(
            f"{where}: {type(value).__name__} of {host.dtype} holds no real numbers; "
            "give numbers, nested lists of them, or an array"
        )
    if dtype is None:
        is_kept = isinstance(value, (np.ndarray, np.generic)) or host.dtype.kind in "biu"
        dtype = host.dtype if is_kept else np.float32
        dtype = dtype if not is_kept or dtype.isnative else dtype.newbyteorder("=")
    array = host.astype(dtypes.dtype(dtype), copy=False)
    if host.dtype.kind in "iu" and array.dtype.kind in "iu" and (array != host).any():
        raise DTypeError(f"{where}: {host[array != host][0]} is beyond what {array.dtype} can hold")
    device = "cpu" if device is None else device
    return array if device == "cpu" else get_backend(device).from_host(array, device)


quiet = np.errstate(all="ignore")
"""Decorator for ops whose limits are values, not mistakes: log 0 is −∞, with no warning, as on a
GPU."""

register_backend(CpuBackend())
