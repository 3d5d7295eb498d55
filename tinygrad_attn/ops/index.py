"""Index: reading and writing by position.

There are two movements, and each is the derivative of the other. *Gathering*, y = x[index], reads
some elements, any of them several times; its derivative adds every gradient to the element that was
read. *Scattering* adds values to the elements of a tensor; its derivative gathers. ``take``,
``sort``, ``diagonal``, ``scatter_add`` and the like are these two, with an index that says what
they mean.

The index of each is in the one form to which ``position.py`` brings whatever the user wrote.
"""

from ..backend import backend_of, dtypes, is_array, namespace, on_device_of
from ..core import Tensor, primitive
from ..core.graph import is_grad_enabled, mark_written
from ..errors import DTypeError, GraphError, ShapeError
from .check import apply, as_tensor, narrow, wide
from .position import bad_slice, fitting, resolve

__all__ = ["index_add", "index_put"]


# ---- gather and scatter --------------------------------------------------------------------------


@primitive
def gather(x, index, distinct):
    """Read  y = x[index].   ∂L/∂x = g, added to the elements that were read.

    ``index`` is a tuple in the form that ``resolve`` makes; ``distinct`` says that it names no
    element twice, as no slice or mask can.
    """
    try:
        return x[index]
    except (TypeError, ValueError) as error:
        raise bad_slice("getitem", x, index) from error


@primitive
def scatter(values, index, shape, distinct):
    """Zeros of ``shape`` with ``values`` added at ``index``.   ∂L/∂values = g[index]."""
    total = values if distinct else wide(values)
    target = namespace(values).zeros(shape, total.dtype)
    if distinct:
        target[index] = values
    else:
        backend_of(target).index_add(target, index, total)
    return target if distinct else narrow(target, values)


gather.derivatives(
    x=lambda g, x_shape, index, distinct: apply(scatter, g, index, x_shape, distinct)
)
scatter.derivatives(values=lambda g, index, distinct: apply(gather, g, index, distinct))


@primitive
def overwrite(x, index, values, distinct, where):
    """x with ``values`` at ``index``.   ∂L/∂x = g, 0 at the index;  ∂L/∂values = g[index].

    Errors are raised in the name of the op that asks, ``where``.
    """
    y = namespace(x).array(x)
    _write(where, y, index, values)
    return y


@primitive
def add_at(x, index, values, distinct, where):
    """x with ``values`` added at ``index``.   ∂L/∂x = g,  ∂L/∂values = g[index]."""
    y = namespace(x).array(wide(x))
    _write(where, y, index, values, adds=True, distinct=distinct)
    return narrow(y, x)


def _write(where, y, index, values, adds=False, distinct=True):
    """``y[index] = values``, or +=, in place. Raises: ShapeError, DTypeError."""
    try:
        if not adds:
            backend_of(y).index_put(y, index, values)
        elif distinct:
            y[index] += values
        else:
            backend_of(y).index_add(y, index, values)
    except ValueError as error:
        if not hasattr(values, "shape"):
            raise bad_slice(where, y, index) from error
        raise ShapeError(
            f"{where}: values are {tuple(values.shape)}, but the index names "
            f"{tuple(y[index].shape)} of x {tuple(y.shape)}; values must broadcast to that"
        ) from error
    except TypeError as error:
        raise bad_slice(where, y, index) from error
    except OverflowError as error:
        raise DTypeError(
            f"{where}: {values} is out of bounds for x, which is {tuple(y.shape)} {y.dtype}; cast "
            "x with astype"
        ) from error


def _read_back(g, index, values_shape, distinct):
    """g at the places written to; values may have had more axes of size 1 than those."""
    part = apply(gather, g, index, distinct)
    return part.reshape((1,) * (len(values_shape) - part.ndim) + tuple(part.shape))


def _read_back_last(g, x_shape, index, values_shape, distinct):
    """The same, but 0 for a value that another one overwrote at the same element.

    Each value leaves its number where it is written. Whoever reads his own there was the last.
    """
    part = _read_back(g, index, values_shape, distinct)
    if distinct:
        return part
    xp = namespace(next(filter(is_array, index)))
    slots = xp.zeros(x_shape, dtypes.int64)
    turns = xp.arange(part.size).reshape(slots[index].shape)
    backend_of(slots).index_put(slots, index, turns)
    return part * (slots[index] == turns).reshape(part.shape).astype(part.dtype)


overwrite.derivatives(
    x=lambda g, index, distinct, where: apply(overwrite, g, index, 0, distinct, where),
    values=_read_back_last,
)
add_at.derivatives(x=lambda g: g, values=_read_back)


# ---- reading and writing -------------------------------------------------------------------------


def getitem(x, index):
    """``x[index]``, for every index that NumPy takes.   ∂L/∂x = g, added to what was read.

    Slices share memory with x; masks and arrays of positions copy.
    Raises: IndexRangeError for a position that is not there.
    """
    return gather(x, *resolve("getitem", x, index))


def index_put(x, index, values):
    """A new tensor: x with ``values`` at ``index``.   ∂L/∂x = g, 0 there;  ∂L/∂values = g[index].

    The functional form of ``x[index] = values``. Where the index names an element twice the last
    value stays, and gets the gradient.
    Raises: IndexRangeError for a position that is not there, ShapeError for values that do not fit,
    DTypeError for values that x cannot hold: floats in whole numbers.
    """
    x = as_tensor(x, where="index_put")
    index, distinct = resolve("index_put", x, index)
    return overwrite(x, index, fitting("index_put", x, values), distinct, "index_put")


def index_add(x, index, values):
    """A new tensor: x with ``values`` added at ``index``.   ∂L/∂x = g,  ∂L/∂values = g[index].

    Where the index names an element several times, all of its values are added.
    Raises: as ``index_put``.
    """
    x = as_tensor(x, where="index_add")
    index, distinct = resolve("index_add", x, index)
    return add_at(x, index, fitting("index_add", x, values), distinct, "index_add")


def setitem(x, index, values):
    """``x[index] = values``.

    Where gradients are involved the name is bound anew: x becomes ``index_put(x, index, values)``,
    so that views taken earlier, and whatever a derivative has saved, keep the old values. Otherwise
    x is written in place, and a later backward that would need the old values raises GraphError.
    Raises: GraphError for a leaf that requires a gradient; else as ``index_put``.
    """
    index, distinct = resolve("setitem", x, index)
    values = fitting("setitem", x, values)
    if is_grad_enabled() and (x.node is not None or getattr(values, "node", None) is not None):
        if x.node is not None and x.is_leaf:
            raise GraphError(
                f"setitem: x {tuple(x.shape)} is a leaf that requires a gradient, so its values "
                "are given; write under no_grad(), or make a new tensor with index_put"
            )
        written = overwrite(x, index, values, distinct, "setitem")
        x.data, x.node = written.data, written.node
        return
    with on_device_of(x.data):
        if not _is_writeable(x.data):
            x.data = x.data.copy()
        _write("setitem", x.data, index, values.data if isinstance(values, Tensor) else values)
    mark_written(x.data)


def _is_writeable(array):
    """Whether no two elements share memory, as broadcast ones do, and nobody forbade to write."""
    apart = all(stride or n <= 1 for stride, n in zip(array.strides, array.shape))
    return apart and getattr(array.flags, "writeable", True)
