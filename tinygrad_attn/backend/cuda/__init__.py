"""The CUDA backend: CuPy, imported when a CUDA device is first asked for and not before.

CuPy speaks NumPy's language, so nearly everything runs as it stands. What is here is where doing as
NumPy does would be slow (a stack of matrices times one matrix), or would round differently from run
to run (adding to one place many times at once).
"""

import math

from ...errors import DeviceError
from .. import dtypes, register_backend
from ..base import Backend
from .adam import adam
from .attention import attention as flash_attention
from .clip import norm2, scale_all
from .cross_entropy import surprise
from .dropout import dropout, keep_mask
from .known import Known, spans_of
from .launch import contiguous
from .linear import linear
from .matmul import Matmul
from .memory import explain_shortage
from .norm import layer_norm, rms_norm
from .packed import packed_linear
from .pointwise import gelu, gelu_tanh, silu, swiglu
from .scatter import add_rows, embedding
from .softmax import log_softmax, softmax
from .turn import turn

__all__ = ["CudaBackend", "register"]

_KERNELS = (
    *(softmax, log_softmax, layer_norm, rms_norm, gelu, gelu_tanh, silu, swiglu),
    *(surprise, dropout, embedding, linear, packed_linear, adam, norm2, scale_all),
)


class CudaBackend(Backend):
    """CuPy arrays in the memory of a GPU.

    The modules ``cupy``, ``cupyx.scipy.special`` and ``cupy_backends.cuda.libs.cublas`` are handed
    in, so that where there is no GPU the tests can run this very class on stand-ins.
    """

    reading_waits = True
    kernels = {
        **{kernel.__name__: kernel for kernel in _KERNELS},
        **dict.fromkeys(("dense_attention", "tiled_attention"), flash_attention),
        "rope": turn,
    }

    def __init__(self, cupy, special, cublas, name="cuda"):
        self.xp, self.name = cupy, name
        self.array_type = cupy.ndarray
        self._special = special
        self._product = Matmul(cupy, cublas)
        self._known = Known()
        explain_shortage(cupy, name)

    # ---- devices and transfers ---------------------------------------------------------------

    def device_of(self, array):
        return f"{self.name}:{array.device.id}"

    def on(self, device):
        return self.xp.cuda.Device(self._number(device))

    def from_host(self, array, device):
        """Copy a NumPy array to a GPU, without waiting for it.

        CuPy first copies into page-locked memory of its own, from which the GPU fetches by itself
        while the program runs on; so the array may be changed at once.
        """
        with self.on(device):
            there = self.xp.array(array)
        if array.dtype.kind in "iu":
            self._known.note_spans(there, spans_of(array))
            if array.ndim and super().ascends(array):
                self._known.note_order(there)
        return there

    def to_host(self, array):
        return self.xp.asnumpy(array)

    def note_span(self, array, least, greatest, ascends=False):
        self._known.note_spans(array, [(least, greatest)])
        if ascends:
            self._known.note_order(array)

    def ascends(self, array):
        """Whether rows ascend. What came from the host is not asked, nor what was asked before."""
        if self._known.ascends(array):
            return True
        with self.on(self.device_of(array)):
            found = bool(super().ascends(array))
        if found:
            self._known.note_order(array)
        return found

    def lies_within(self, array, low, end, but=None):
        """Whether all are in low..end−1, or equal ``but``; what came from the host is not asked."""
        spans = self._known.spans(array)
        if spans is None:
            with self.on(self.device_of(array)):
                ends = self.xp.stack([array.min(), array.max()])
            spans = [tuple(self.to_host(ends).tolist())]
        return all(
            (low <= least and greatest < end) or least == greatest == but
            for least, greatest in spans
        )

    def synchronize(self):
        self.xp.cuda.Device().synchronize()

    def validate(self, device):
        """The full name of ``device``: "cuda:0". Raises: DeviceError for a GPU that is missing."""
        number, count = self._number(device), self.device_count()
        if number >= count:
            have = ", ".join(f'"{self.name}:{i}"' for i in range(count))
            raise DeviceError(f'to("{device}"): there is no such GPU; this machine has {have}')
        return f"{self.name}:{number}"

    def _number(self, device):
        """The 1 of "cuda:1"; plain "cuda" is the GPU in use."""
        name, _, number = device.partition(":")
        if device == name:
            return self.xp.cuda.runtime.getDevice()
        if not number.isdecimal():
            raise DeviceError(f'to("{device}"): a GPU is called "{name}", or by number "{name}:1"')
        return int(number)

    def device_count(self):
        """How many GPUs there are. Raises: DeviceError where there is none, or no driver for it."""
        return device_count(self.xp, self.name)

    # ---- arithmetic --------------------------------------------------------------------------

    def matmul(self, a, b):
        """Matrix product by NumPy's rules, 16-bit floats accumulated in float32: see ``matmul.py``.

        Whole numbers, and the complex ones of the gradient checker, CuPy multiplies by itself.
        """
        if self._product.takes(a, b):
            return self._product(a, b)
        return super().matmul(a, b)

    def keep_mask(self, shape, p, key):
        return keep_mask(self.xp, shape, p, key)

    def erf(self, x):
        return self._in_own_precision(self._special.erf, x)

    def erfc(self, x):
        return self._in_own_precision(self._special.erfc, x)

    def _in_own_precision(self, function, x):
        """``function(x)`` in the dtype of x; left alone, CuPy answers 16-bit floats in float64."""
        if dtypes.is_half(x.dtype):
            return function(x.astype(self.xp.float32)).astype(x.dtype)
        return function(x)

    def index_add(self, target, index, values):
        """``target[index] += values`` in place; repeated indices add up, always in the same order.

        CuPy's own scatter-add lets the additions race, and its sums of floats differ in the last
        bits from run to run. Here the values are sorted by the row that they go to, and those of
        each row are summed: floats by a kernel of ours, whole numbers below.
        """
        self._known.forget(target)
        if _repeats_nothing(index):
            target[index] += values
            return
        rows, values, count = self._destinations(target, index, values)
        if not rows.size or not target.size:
            return
        if dtypes.is_float(target.dtype):
            table = contiguous(target).reshape(count, -1)
            add_rows(table, rows.ravel(), values.reshape(rows.size, -1))
            if not target.flags.c_contiguous:
                target[...] = table.reshape(target.shape)
        else:
            sums = self._sum_by_row(rows.ravel(), values.reshape(rows.size, -1), count)
            target += sums.reshape(target.shape).astype(target.dtype)

    def index_put(self, target, index, values):
        """``target[index] = values`` in place, where of repeated indices the last one stays.

        In CuPy any of them may. So every writer to a row is given the value of the last. And to
        put one number wherever a mask holds, nobody needs to wait for how many places that are.
        """
        self._known.forget(target)
        mask = index[0] if isinstance(index, tuple) and len(index) == 1 else index
        if _kind(mask) == "b" and dtypes.is_scalar(values):
            mask = mask.reshape(mask.shape + (1,) * (target.ndim - mask.ndim))
            self.xp.copyto(target, values, where=mask)
            return
        if not _repeats_nothing(index):
            rows, values, _ = self._destinations(target, index, values)
            if rows.size:
                order, ends = self._sort(rows.ravel(), rows.ravel())
                last = values.reshape(rows.size, -1)[order[ends]]
                values = last.reshape(values.shape)
        target[index] = values

    def _destinations(self, target, index, values):
        """(the row that each part of ``values`` goes to, the values, how many rows there are).

        An index of whole numbers alone names rows of the other axes; any other, single elements.
        """
        xp = self.xp
        parts = index if isinstance(index, tuple) else (index,)
        axes = len(parts) if all(map(_takes_one_axis, parts)) else target.ndim
        count = math.prod(target.shape[:axes])
        rows = xp.arange(count).reshape(target.shape[:axes])[index]
        values, shape = xp.asarray(values), rows.shape + target.shape[axes:]
        while values.ndim > len(shape) and values.shape[0] == 1:
            values = values[0]
        return rows, xp.broadcast_to(values, shape), count

    def _sort(self, rows, wanted):
        """(the order that sorts ``rows``, where in it the last row ≤ each of ``wanted`` stands)."""
        order = self.xp.argsort(rows, kind="stable")
        return order, self.xp.searchsorted(rows[order], wanted, side="right") - 1

    def _sum_by_row(self, rows, values, count):
        """Sum the ``values`` (n, width) that go to each of ``count`` rows: (count, width).

        Among sorted rows, every value takes in the sum that ends 1, then 2, 4, 8 … places before,
        if that is of the same row: after log₂ n steps the last value of a row holds the sum of all.
        """
        xp = self.xp
        wanted = xp.arange(count)
        order, ends = self._sort(rows, wanted)
        rows, sums = rows[order], values[order]
        step = 1
        while step < rows.size:
            is_same = (rows[step:] == rows[:-step])[:, None]
            sums[step:] += xp.where(is_same, sums[:-step], 0)
            step *= 2
        return xp.where((rows[ends] == wanted)[:, None], sums[ends], 0)


def device_count(cupy, name="cuda"):
    """How many GPUs there are. Raises: DeviceError where there is none, or no driver for it."""
    runtime, reason = cupy.cuda.runtime, "the driver finds none"
    try:
        if count := runtime.getDeviceCount():
            return count
    except runtime.CUDARuntimeError as error:
        reason = error
    raise DeviceError(
        f'to("{name}"): no GPU can be used: {reason}; '
        'install or update the NVIDIA driver, or stay on "cpu"'
    )


def _repeats_nothing(index):
    """Whether an index consists of slices, numbers and masks, which name no place twice."""
    parts = index if isinstance(index, tuple) else (index,)
    basic = (slice, int, type(...), type(None))
    return all(isinstance(part, basic) or _kind(part) == "b" for part in parts)


def _takes_one_axis(part):
    return type(part) is int or _kind(part) in ("i", "u")


def _kind(part):
    return part.dtype.kind if hasattr(part, "dtype") else None


def register():
    """Import CuPy and make "cuda" known. Raises: DeviceError where CuPy or a GPU is missing."""
    try:
        import cupy
        from cupyx.scipy import special
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError)
        raise _unusable("is not installed" if missing else _why(error)) from error
    device_count(cupy)
    try:
        from cupy_backends.cuda.libs import cublas
    except ImportError as error:
        raise _unusable(_why(error)) from error
    register_backend(CudaBackend(cupy, special, cublas))


def _why(error):
    """The first line of what an import failed with: the rest lists folders."""
    first_line = str(error).partition("\n")[0]
    return f"cannot be imported: {first_line}"


def _unusable(what):
    return DeviceError(
        f'to("cuda"): CuPy {what}; pip install \'tinygrad-attn[cuda13]\', or stay on "cpu"'
    )
