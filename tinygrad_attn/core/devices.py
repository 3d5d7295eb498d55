"""More than one device of a kind: where to compute, and whom to keep apart.

As long as a library of arrays has one device in use, the class of an array tells where it is, and
the libraries themselves refuse to mix classes. With a second GPU that is no longer so: to CuPy both
hold the same arrays, and it computes on whichever is in use. So when a second one is first named
the engine changes over: every op then looks where its operands are, refuses two places, and runs
where they are; so does every step of the walk back. Until then, which is always on a CPU, nobody
pays for a question that has one answer.
"""

from ..backend import is_array, on_device_of, when_devices_differ
from . import walk
from .op import Op
from .primitive import Primitive
from .tensor import Tensor

__all__ = []

_compute, _pull_back = Op.__call__, walk._pull_back


def _compute_at_home(op, *args, **options):
    """``op(*args, **options)`` on the one device of its operands. Raises: DeviceError for two."""
    if options or len(args) != op.arity:
        args, options = op._bind(args, options)
    arrays = [arg.data if isinstance(arg, Tensor) else arg for arg in args]
    op._device(arrays)  # raises where there are two
    first = next(filter(is_array, arrays), None)
    if first is None:
        return _compute(op, *args, **options)
    with on_device_of(first):
        return _compute(op, *args, **options)


def _pull_back_at_home(node, gradient, wanted, gradients, ours, create_graph):
    """``walk._pull_back`` on the device of ``gradient``; sums where the parents are."""
    parts, new = {}, set()
    with on_device_of(_raw(gradient)):
        _pull_back(node, gradient, wanted, parts, new, create_graph)
    for parent, part in parts.items():
        if parent in gradients:
            with on_device_of(_raw(part)):
                gradients[parent] = gradients[parent] + part
            ours.add(parent)
        else:
            gradients[parent] = part
            ours.update(new & {parent})


def _copy_at_home(gradient):
    with on_device_of(_raw(gradient)):
        return gradient.copy()


def _raw(x):
    return x.data if isinstance(x, Tensor) else x


@when_devices_differ
def _look():
    """Change the engine over."""
    Op.__call__ = Primitive.__call__ = _compute_at_home
    walk._pull_back, walk._copy = _pull_back_at_home, _copy_at_home
