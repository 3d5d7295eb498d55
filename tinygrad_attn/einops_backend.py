"""What einops needs to know to work on our tensors. Imported when einops is; see ``interop``."""

from einops._backends import AbstractBackend

from . import ops
from .backend import dtypes
from .core import Tensor

__all__ = ["TensorBackend"]


class TensorBackend(AbstractBackend):
    """einops by our ops, so that gradients of every order flow through it."""

    framework_name = "tinygrad_attn"

    def is_appropriate_type(self, tensor):
        """Whether this backend is the one for ``tensor``."""
        return isinstance(tensor, Tensor)

    def from_numpy(self, x):
        """A tensor with the values of a NumPy array; floats require a gradient."""
        return ops.tensor(x, requires_grad=dtypes.is_float(x.dtype))

    def to_numpy(self, x):
        """The values as a NumPy array."""
        return x.numpy()

    def arange(self, start, stop):
        """Whole numbers from ``start`` to ``stop`` − 1."""
        return ops.arange(start, stop)

    def stack_on_zeroth_dimension(self, tensors):
        """Tensors of one shape on a new first axis."""
        return ops.stack(tensors)

    def concat(self, tensors, axis):
        """Tensors one after the other along ``axis``."""
        return ops.concatenate(tensors, axis=axis)

    def add_axis(self, x, new_position):
        """A new axis of size 1."""
        return ops.expand_dims(x, new_position)

    def add_axes(self, x, n_axes, pos2len):
        """New axes of given sizes, along which x is repeated: a view, copied only if need be."""
        x = ops.expand_dims(x, tuple(pos2len))
        sizes = tuple(pos2len.get(axis, x.shape[axis]) for axis in range(n_axes))
        return ops.broadcast_to(x, sizes)

    def tile(self, x, repeats):
        """x, repeated along each axis."""
        return ops.tile(x, repeats)

    def is_float_type(self, x):
        """Whether x has a mean."""
        return dtypes.is_float(x.dtype)

    def einsum(self, pattern, *x):
        """Sum of products, by our own einsum."""
        return ops.einsum(pattern, *x)
