"""softmax and log_softmax: one kernel forward, and one backward that finds y again from x."""

from .. import namespace
from .launch import contiguous, of_floats, over_rows, real, row_count

__all__ = ["log_softmax", "softmax"]


@of_floats
def softmax(x, *, axis):
    """eˣ / Σ eˣ."""
    return _along("softmax", x, axis)


@of_floats
def log_softmax(x, *, axis):
    """x − ln Σ eˣ."""
    return _along("log_softmax", x, axis)


def _along(name, x, axis):
    """Run a kernel along ``axis``; one that is not the last costs a copy each way."""
    xp, last = namespace(x), x.ndim - 1
    x = contiguous(_moved(x, axis, last))
    y, sizes = xp.empty(x.shape, dtype=x.dtype), row_count(x.shape)
    kept = [xp.empty(sizes[0], dtype=real(x.dtype)) for _ in range(2)]
    over_rows("softmax.cu", name, (x, y, *kept), *sizes)

    def backward(g):
        g = contiguous(_moved(g, axis, last), x.dtype)
        gx = xp.empty(x.shape, dtype=x.dtype)
        over_rows("softmax.cu", f"{name}_backward", (x, *kept, g, gx), *sizes)
        return (_moved(gx, last, axis),)

    return _moved(y, last, axis), backward


def _moved(x, start, end):
    return x if start == end else namespace(x).moveaxis(x, start, end)
