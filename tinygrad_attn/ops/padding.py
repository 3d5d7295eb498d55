"""Padding: a tensor inside a border, of one number or of its own elements over again."""

from ..backend import get_backend, namespace
from ..core import primitive
from ..errors import ShapeError
from .check import along, as_tensor, number, one_of, whole_number
from .position import fitting

__all__ = ["pad"]

_CONTINUING = "edge", "reflect", "symmetric", "wrap"


@primitive
def _pad(x, widths, value):
    return (
        namespace(x).pad(x, widths, mode="constant", constant_values=value) if widths else x.copy()
    )


def _pad_x(g, x_shape, widths):
    """g without the border."""
    return g[tuple(slice(before, before + n) for (before, _), n in zip(widths, x_shape))]


_pad.derivatives(x=_pad_x)


def pad(x, pad_width, mode="constant", constant_values=0):
    """x inside a border.   ∂L/∂x = g without the border, plus what its copies in the border got.

    Args:
        pad_width: how many elements to add: one number for everywhere, ``(before, after)`` for
            every axis, or one such pair for each axis.
        mode: "constant", or how to continue x: "edge", "reflect", "symmetric", "wrap".
    Raises: ShapeError for a negative width or an unknown mode.
    """
    x = as_tensor(x, where="pad")
    widths = _pad_widths(x, pad_width)
    one_of("pad", "mode", mode, ("constant", *_CONTINUING), ShapeError)
    if mode == "constant":
        value = number("pad", "constant_values", constant_values)
        return _pad(x, widths, fitting("pad", x, value))
    counting = get_backend("cpu").xp  # which element stands where is settled by padding 0, 1, 2 …
    for axis, width in enumerate(widths):
        if any(width):
            if not x.shape[axis]:
                raise ShapeError(
                    f"pad: axis {axis} of x {tuple(x.shape)} is empty; "
                    f'mode "{mode}" has nothing to continue'
                )
            which = counting.pad(counting.arange(x.shape[axis]), width, mode=mode)
            x = x[along(axis, which)]
    return x


def _pad_widths(x, pad_width):
    """One (before, after) for each axis of x."""
    pairs = pad_width if isinstance(pad_width, (tuple, list)) else (pad_width, pad_width)
    if len(pairs) == 2 and not isinstance(pairs[0], (tuple, list)):
        pairs = [pairs] * x.ndim
    elif len(pairs) == 1:
        pairs = list(pairs) * x.ndim
    if len(pairs) != x.ndim or any(not isinstance(p, (tuple, list)) or len(p) != 2 for p in pairs):
        raise ShapeError(
            f"pad: pad_width is {pad_width!r}; for x {tuple(x.shape)} it must be a number, a pair "
            f"(before, after), or {x.ndim} such pairs"
        )
    pairs = tuple([tuple([whole_number("pad", "a width", n) for n in pair]) for pair in pairs])
    if any(n < 0 for pair in pairs for n in pair):
        raise ShapeError(
            f"pad: pad_width is {pad_width!r}, x is {tuple(x.shape)}; no width may be negative: "
            "to cut, index"
        )
    return pairs
