"""Creation: tensors from numbers, from arrays, from nothing; and from device to device.

Floats are made as float32 and whole numbers as int64 unless ``dtype`` says otherwise. A NumPy array
keeps the dtype that it has.
"""

import math

from ..backend import array_from, backend_of, dtypes, get_backend, is_array
from ..core import Tensor, primitive
from ..errors import DeviceError, DTypeError, ShapeError
from .check import apply, as_shape, as_tensor, number, whole_number

__all__ = [
    "arange",
    "asarray",
    "empty",
    "empty_like",
    "eye",
    "from_dlpack",
    "from_numpy",
    "full",
    "full_like",
    "linspace",
    "ones",
    "ones_like",
    "tensor",
    "to",
    "zeros",
    "zeros_like",
]


# ---- from data -----------------------------------------------------------------------------------


def tensor(data, dtype=None, device=None, requires_grad=False):
    """A new leaf from numbers, nested lists or an array; always a copy.

    Raises: DTypeError for what holds no real numbers (complex, strings, objects), ShapeError for
    lists of different lengths, DeviceError for a device that is not there.

    Example:
        >>> import tinygrad_attn as ta
        >>> ta.tensor([[1, 2], [3, 4]], dtype=ta.float32, requires_grad=True)
        tensor([[1., 2.],
                [3., 4.]], requires_grad=True)
    """
    return _new("tensor", data, dtype, device).requires_grad_(requires_grad)


def _new(where, data, dtype, device):
    dtype = None if dtype is None else dtypes.dtype(dtype, where)
    if isinstance(data, Tensor):
        return to(Tensor(data.data.copy()), device, dtype)
    return to(Tensor(array_from(data, device, where, dtype)), device)


def asarray(data, dtype=None, device=None):
    """``data`` as a tensor: itself if it is one, over the memory of an array where possible."""
    if not isinstance(data, Tensor):
        if not (is_array(data) and _can_be_shared(data)):
            return _new("asarray", data, dtype, device)
        data = Tensor(data)
    return to(data, device, dtype)


def _can_be_shared(array):
    """Whether a tensor may hold this array as it is: real, of a known dtype, in native order."""
    dtype = array.dtype
    return dtype.isnative and dtype.kind != "c" and (dtypes.is_float(dtype) or dtype.kind in "biu")


def from_numpy(array):
    """A tensor over the memory of a NumPy array, copied nowhere.

    The array is on loan: whoever writes into it changes the tensor without any graph's noticing.
    Where that is not wanted use ``tensor``, which copies.
    Raises: DTypeError for anything but a NumPy array of real numbers.
    """
    cpu = get_backend("cpu")
    if not isinstance(array, cpu.array_type):
        raise DTypeError(
            f"from_numpy: {type(array).__name__} is no NumPy array; use ta.tensor or ta.asarray"
        )
    if not _can_be_shared(array):
        raise DTypeError(
            f"from_numpy: an array of {array.dtype} cannot be shared; convert it with ta.tensor"
        )
    return Tensor(cpu.xp.asarray(array))


_DLPACK_DEVICES = {1: "cpu", 2: "cuda:{}", 3: "cpu"}  # by DLPack's numbers; 3 is pinned host memory


def from_dlpack(data):
    """A tensor over the memory of another library's array or tensor, copied nowhere; on its device.

    Raises: DTypeError for an object that does not speak DLPack, or holds no real numbers.
    """
    try:
        kind, number = data.__dlpack_device__()
    except AttributeError as error:
        raise DTypeError(
            f"from_dlpack: {type(data).__name__} has no __dlpack__; use ta.asarray"
        ) from error
    if kind not in _DLPACK_DEVICES:
        raise DTypeError(
            f"from_dlpack: memory of DLPack device type {int(kind)} is unknown here; move it first"
        )
    array = get_backend(_DLPACK_DEVICES[kind].format(number)).xp.from_dlpack(data)
    if not _can_be_shared(array):
        raise DTypeError(f"from_dlpack: tensors have no dtype {array.dtype}; convert it first")
    return Tensor(array)


# ---- from device to device -----------------------------------------------------------------------


@primitive
def move(x, device, home):
    """x on another device.   ∂L/∂x = g, which goes home again."""
    return get_backend(device).from_host(backend_of(x).to_host(x), device)


move.derivatives(x=lambda g, device, home: apply(move, g, home, device))


def to(x, *targets, device=None, dtype=None):
    """x on another device, in another dtype, or both; x itself where nothing changes.

    ``x.to("cuda")``, ``x.to(ta.float64)``, ``x.to("cuda", ta.float16)``, or by name. ∂L/∂x = g,
    sent home and cast back.
    Raises: DeviceError for a device that is not there, DTypeError for a dtype that no tensor can
    have.
    """
    x = as_tensor(x, where="to")
    for target in targets:
        if isinstance(target, str) and not _names_dtype(target):
            if device is not None:
                raise DeviceError(f'to: two devices, "{device}" and "{target}"; give one')
            device = target
        elif target is not None:
            if dtype is not None:
                raise DTypeError(f"to: two dtypes, {dtype} and {target}; give one")
            dtype = target
    if dtype is not None and dtypes.dtype(dtype, "to") != x.dtype:
        x = x.astype(dtype)
    if device is not None:
        device, home = get_backend(device).validate(device), x.device
        x = x if device == home else move(x, device, home)
    return x


def _names_dtype(text):
    try:
        dtypes.dtype(text)
    except DTypeError:
        return False
    return True


def cpu(x):
    """x in the machine's own memory."""
    return to(x, device="cpu")


def cuda(x, device="cuda"):
    """x on a GPU."""
    return to(x, device=device)


# ---- from nothing --------------------------------------------------------------------------------


def _make(where, make, dtype, device, requires_grad=False):
    """The tensor that ``make(xp, dtype)`` makes on ``device``."""
    dtype, backend = dtypes.dtype(dtype, where), get_backend(device)
    with backend.on(device):
        return Tensor(make(backend.xp, dtype)).requires_grad_(requires_grad)


def zeros(*shape, dtype=dtypes.float32, device="cpu", requires_grad=False):
    """Zeros, float32 unless told otherwise: ``zeros(2, 3)`` or ``zeros((2, 3))``."""
    shape = as_shape("zeros", shape)
    return _make("zeros", lambda xp, dtype: xp.zeros(shape, dtype), dtype, device, requires_grad)


def ones(*shape, dtype=dtypes.float32, device="cpu", requires_grad=False):
    """Ones, float32 unless told otherwise."""
    shape = as_shape("ones", shape)
    return _make("ones", lambda xp, dtype: xp.ones(shape, dtype), dtype, device, requires_grad)


def empty(*shape, dtype=dtypes.float32, device="cpu", requires_grad=False):
    """A tensor whose values are whatever the memory held, to be written before it is read."""
    shape = as_shape("empty", shape)
    return _make("empty", lambda xp, dtype: xp.empty(shape, dtype), dtype, device, requires_grad)


def full(shape, value, dtype=None, device="cpu", requires_grad=False):
    """One number everywhere, of its own kind unless told otherwise: float32, int64 or bool.

    Raises: DTypeError for a number that ``dtype`` cannot hold: 0.5 among integers.
    """
    value = number("full", "value", value)
    dtype = type(value) if dtype is None else dtype
    return _full("full", as_shape("full", shape), value, dtype, device, requires_grad)


def _full(where, shape, value, dtype, device, requires_grad):
    dtype = dtypes.dtype(dtype, where)
    held = array_from(value, None, where, dtype)
    if not dtypes.is_float(dtype) and held != value:
        raise DTypeError(
            f"{where}: value is {value}, which {dtype} cannot hold; choose another dtype"
        )
    return _make(
        where, lambda xp, dtype: xp.full(shape, value, dtype), dtype, device, requires_grad
    )


def zeros_like(x, dtype=None, device=None, requires_grad=False):
    """Zeros in the shape of x; of its dtype and on its device unless told otherwise."""
    return _like("zeros_like", x, 0, dtype, device, requires_grad)


def ones_like(x, dtype=None, device=None, requires_grad=False):
    """Ones in the shape of x; of its dtype and on its device unless told otherwise."""
    return _like("ones_like", x, 1, dtype, device, requires_grad)


def full_like(x, value, dtype=None, device=None, requires_grad=False):
    """One number in the shape of x; of its dtype and on its device unless told otherwise.

    Raises: DTypeError for a number that the dtype cannot hold.
    """
    value = number("full_like", "value", value)
    return _like("full_like", x, value, dtype, device, requires_grad)


def empty_like(x, dtype=None, device=None, requires_grad=False):
    """A tensor in the shape of x whose values are whatever the memory held."""
    x = as_tensor(x, where="empty_like")
    dtype, device = x.dtype if dtype is None else dtype, x.device if device is None else device
    return empty(x.shape, dtype=dtype, device=device, requires_grad=requires_grad)


def _like(where, x, value, dtype, device, requires_grad):
    x = as_tensor(x, where=where)
    dtype, device = x.dtype if dtype is None else dtype, x.device if device is None else device
    return _full(where, x.shape, value, dtype, device, requires_grad)


def arange(start, stop=None, step=1, *, dtype=None, device="cpu"):
    """The numbers start, start + step, … before ``stop``; ``arange(n)`` counts 0…n−1.

    int64 for whole numbers, float32 as soon as one of the three is a float.
    Raises: ShapeError for a step of 0 or an infinite range, DTypeError for a number that ``dtype``
    cannot hold.
    """
    start, stop = (0, start) if stop is None else (start, stop)
    given = {"start": start, "stop": stop, "step": step}
    start, stop, step = (number("arange", name, value) for name, value in given.items())
    if step == 0 or not all(map(math.isfinite, (start, stop, step))):
        raise ShapeError(
            f"arange: start is {start}, stop is {stop}, step is {step}; all must be finite, and a "
            "step of 0 never arrives"
        )
    if dtype is None:
        dtype = dtypes.float32 if float in map(type, (start, stop, step)) else dtypes.int64
    (count,) = as_shape("arange", max(math.ceil(min((stop - start) / step, 2.0**60)), 0))
    ends = [start, start + (count - 1) * step] if count > 0 else []
    ends = array_from(ends, None, "arange", dtype)
    x = _make("arange", lambda xp, kind: xp.arange(start, stop, step).astype(kind), dtype, device)
    if count > 0 and x.dtype.kind in "iu":
        backend_of(x.data).note_span(x.data, int(ends.min()), int(ends.max()), ascends=step > 0)
    return x


def linspace(start, stop, num=50, *, endpoint=True, dtype=dtypes.float32, device="cpu"):
    """``num`` numbers at equal distances from ``start`` to ``stop``, the last with ``endpoint``."""
    num = whole_number("linspace", "num", num)
    if num < 0:
        raise ShapeError(f"linspace: num is {num}; it must not be negative")
    as_shape("linspace", num)
    start, stop = number("linspace", "start", start), number("linspace", "stop", stop)
    return _make(
        "linspace",
        lambda xp, dtype: xp.linspace(float(start), float(stop), num, endpoint).astype(dtype),
        dtype,
        device,
    )


def eye(rows, columns=None, k=0, *, dtype=dtypes.float32, device="cpu"):
    """Ones on diagonal ``k`` of a matrix, zeros elsewhere; square unless told otherwise."""
    rows, columns = as_shape("eye", (rows, rows if columns is None else columns))
    k = whole_number("eye", "k", k)
    return _make("eye", lambda xp, dtype: xp.eye(rows, columns, k, dtype), dtype, device)
