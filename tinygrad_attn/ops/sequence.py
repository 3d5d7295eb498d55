"""Sequences: what slides a window along the last axis, and two ways to compare directions.

A window of size K that moves in steps sees  x[i·stride + k·dilation],  k = 0 … K−1.  Laying out all
that it sees (``_windows``) and adding it back to where it came from (``_overlap_add``) are each
other's transpose, so each is the other's derivative. Given the windows, a convolution is a matrix
product, and a pooling is a reduction.
"""

from ..backend import namespace
from ..core import primitive
from ..errors import ShapeError
from .check import (
    apply,
    as_float,
    as_tensors,
    narrow,
    normalize_axis,
    number,
    whole_number,
    wide,
)
from .choice import maximum
from .create import tensor
from .einsum import contract
from .join import broadcast_to, common_shape
from .padding import pad
from .reduce import norm
from .select import take_along_axis

__all__ = ["avg_pool1d", "conv1d", "cosine_similarity", "max_pool1d", "normalize"]


# ---- windows -------------------------------------------------------------------------------------


@primitive
def _windows(x, size, stride, dilation):
    """(n, ..., L) → (n, size, ..., count)."""
    count = _count(x.shape[-1], size, stride, dilation)
    seen = [x[..., _places(k, count, stride, dilation)] for k in range(size)]
    return namespace(x).stack(seen, axis=1)


@primitive
def _overlap_add(windows, length, stride, dilation):
    """(n, size, ..., count) → (n, ..., length): the sum of what stands at the same place."""
    size, count = windows.shape[1], windows.shape[-1]
    shape = (windows.shape[0], *windows.shape[2:-1], length)
    y = namespace(windows).zeros(shape, dtype=wide(windows[:0]).dtype)
    for k in range(size):
        y[..., _places(k, count, stride, dilation)] += wide(windows[:, k])
    return narrow(y, windows)


_windows.derivatives(
    x=lambda g, x_shape, stride, dilation: apply(_overlap_add, g, x_shape[-1], stride, dilation)
)
_overlap_add.derivatives(
    windows=lambda g, windows_shape, stride, dilation: apply(
        _windows, g, windows_shape[1], stride, dilation
    )
)


def _count(length, size, stride, dilation):
    """How many windows fit."""
    return (length - dilation * (size - 1) - 1) // stride + 1


def _places(k, count, stride, dilation):
    """Where the k-th element of each window stands."""
    return slice(k * dilation, k * dilation + stride * (count - 1) + 1, stride)


# ---- convolution and pooling ---------------------------------------------------------------------


def conv1d(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """Correlation  y[n, o, i] = Σ w[o, c, k]·x[n, c, i·stride + k·dilation] + b[o]  over c and k.

    Args:
        padding: how many zeros to put on both ends, or "valid" (none), or "same" (as many as keep
            the length, the odd one at the end).
        groups: splits the channels into that many convolutions side by side.

    Shapes: x (N, C, L) or (C, L), weight (O, C/groups, K), bias (O,) → (N, O, L') or (O, L').
    Raises: ShapeError where these do not fit; DTypeError for numbers that are not whole.
    """
    x, weight = as_tensors("conv1d", x=x, weight=weight)
    bias = None if bias is None else as_tensors("conv1d", x=x, bias=bias)[1]
    operands = f"x is {x.shape}, weight is {weight.shape}"
    batch, is_single = _batch("conv1d", x)
    stride, dilation, groups = _positive("conv1d", stride=stride, dilation=dilation, groups=groups)
    if weight.ndim != 3 or not weight.shape[2] or weight.shape[0] % groups:
        raise ShapeError(
            f"conv1d: {operands}; weight must be (out, in / groups, size) with out a multiple of "
            f"groups={groups}"
        )
    (out, width, size), (n, channels, _) = weight.shape, batch.shape
    if channels != width * groups:
        raise ShapeError(
            f"conv1d: {operands}; x.shape[-2] must equal weight.shape[1]·groups = {width * groups}"
        )
    if bias is not None and tuple(bias.shape) != (out,):
        raise ShapeError(f"conv1d: {operands}, bias is {bias.shape}; bias must be ({out},)")
    ends = _ends(padding, size, stride, dilation)
    _check_window(f"conv1d: {operands}", x, size, dilation, ends)
    padded = _padded(batch, ends, 0)
    groups_first = padded.reshape(n, groups, width, padded.shape[-1]).transpose(1, 2, 0, 3)
    windows = _windows(groups_first, size, stride, dilation)
    taps = weight.reshape(groups, out // groups, width, size).swapaxes(2, 3)
    y = contract(taps, windows, "gokc", "gkcni", "ngoi").reshape(n, out, windows.shape[-1])
    y = y if bias is None else y + bias.reshape(out, 1)
    return y[0] if is_single else y


def max_pool1d(x, kernel_size, stride=None, padding=0, dilation=1):
    """The largest element of each window along the last axis; the first of them gets all of g.

    Shapes: (N, C, L) or (C, L) → the same with L'; ``stride`` is ``kernel_size`` unless given.
    Raises: ShapeError for sizes below 1, a window longer than x, or padding over half a window.
    """
    x = as_float(x, where="max_pool1d")
    batch, is_single = _batch("max_pool1d", x)
    size, stride, ends = _pooling("max_pool1d", kernel_size, stride, padding)
    (dilation,) = _positive("max_pool1d", dilation=dilation)
    _check_window("max_pool1d", x, size, dilation, ends)
    windows = _windows(_padded(batch, ends, -float("inf")), size, stride, dilation)
    best = windows.argmax(axis=1, keepdims=True)
    y = take_along_axis(windows, best, axis=1)[:, 0]
    return y[0] if is_single else y


def avg_pool1d(x, kernel_size, stride=None, padding=0, count_include_pad=True):
    """The mean of each window along the last axis.   ∂L/∂x = g/K, spread over the window.

    The zeros of the padding count as elements unless ``count_include_pad=False``.

    Shapes: (N, C, L) or (C, L) → the same with L'; ``stride`` is ``kernel_size`` unless given.
    Raises: ShapeError for sizes below 1, a window longer than x, or padding over half a window.
    """
    x = as_float(x, where="avg_pool1d")
    batch, is_single = _batch("avg_pool1d", x)
    size, stride, ends = _pooling("avg_pool1d", kernel_size, stride, padding)
    length = x.shape[-1]
    _check_window("avg_pool1d", x, size, 1, ends)
    windows = _windows(_padded(batch, ends, 0), size, stride, 1)
    if count_include_pad:
        y = windows.mean(axis=1)
    else:
        starts = [i * stride - ends[0] for i in range(windows.shape[-1])]
        real = [min(start + size, length) - max(start, 0) for start in starts]
        y = windows.sum(axis=1) / tensor(real, dtype=x.dtype, device=x.device)
    return y[0] if is_single else y


def _batch(where, x):
    """x as (N, C, L), and whether it came without N."""
    if x.ndim not in (2, 3):
        raise ShapeError(
            f"{where}: x is {x.shape}; it must be (batch, channels, length) or (channels, length)"
        )
    return (x.reshape(1, *x.shape), True) if x.ndim == 2 else (x, False)


def _positive(where, **sizes):
    """The values of ``sizes``, held to whole numbers from 1 up."""
    for name, size in sizes.items():
        if whole_number(where, name, size) < 1:
            raise ShapeError(f"{where}: {name} is {size}; it must be at least 1")
    return sizes.values()


def _pooling(where, size, stride, padding):
    """Size, stride and, at both ends, the padding of a pooling, held to their domains."""
    size, stride = _positive(where, kernel_size=size, stride=size if stride is None else stride)
    if not 0 <= whole_number(where, "padding", padding) <= size // 2:
        raise ShapeError(
            f"{where}: padding is {padding}; it must be in 0..{size // 2}, half of {size}"
        )
    return size, stride, (padding, padding)


def _ends(padding, size, stride, dilation):
    """How many zeros ``padding`` asks for, before and after."""
    if padding == "valid":
        return 0, 0
    if padding == "same":
        if stride != 1:
            raise ShapeError(
                f'conv1d: padding is "same" but stride is {stride}; only stride 1 keeps the length'
            )
        total = dilation * (size - 1)
        return total // 2, total - total // 2
    if isinstance(padding, str) or whole_number("conv1d", "padding", padding) < 0:
        raise ShapeError(f'conv1d: padding is {padding!r}; it must be 0 or more, "same" or "valid"')
    return padding, padding


def _padded(x, ends, value):
    """x between its two ends of padding."""
    return pad(x, ((0, 0), (0, 0), ends), constant_values=value) if any(ends) else x


def _check_window(where, x, size, dilation, ends):
    """Raise ShapeError unless x, with its two ends of padding, holds at least one window."""
    window, length = dilation * (size - 1) + 1, x.shape[-1] + sum(ends)
    if window > length:
        raise ShapeError(
            f"{where}: a window of {window} does not fit into x {x.shape}, {length} long with its "
            "padding; use a smaller window, or more padding"
        )


# ---- directions ----------------------------------------------------------------------------------


def normalize(x, p=2.0, axis=1, eps=1e-12):
    """x / max(‖x‖ₚ, eps)  along ``axis``: its direction, without its length.

    Raises: ShapeError for an axis that x does not have.
    """
    x = as_float(x, where="normalize")
    p, eps = number("normalize", "p", p), number("normalize", "eps", eps)
    axis = normalize_axis("normalize", axis, x)
    return x / maximum(norm(x, ord=p, axis=axis, keepdims=True), eps)


def cosine_similarity(a, b, axis=1, eps=1e-8):
    """Cosine of the angle between a and b along ``axis``:  Σ a·b / (max(‖a‖, eps)·max(‖b‖, eps)).

    Shapes: a and b broadcast; ``axis`` is one of the result of that, and vanishes.
    Raises: ShapeError where they do not broadcast, or for an axis that is not there.
    """
    a, b = map(as_float, as_tensors("cosine_similarity", a=a, b=b))
    if a.shape != b.shape:
        shape = common_shape("cosine_similarity", a.shape, b.shape)
        a, b = broadcast_to(a, shape), broadcast_to(b, shape)
    axis = normalize_axis("cosine_similarity", axis, a)
    return (normalize(a, axis=axis, eps=eps) * normalize(b, axis=axis, eps=eps)).sum(axis=axis)
