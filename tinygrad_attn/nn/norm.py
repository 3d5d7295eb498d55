"""Normalisation: every vector brought to the same scale, then stretched by learned factors."""

import math

from ..core import Tensor
from ..errors import ShapeError
from ..ops import layer_norm, ones, rms_norm, zeros
from ..ops.check import as_tensor, number
from . import init
from .check import check_sizes
from .module import Module
from .parameter import Parameter

__all__ = ["LayerNorm", "RMSNorm"]


class _Norm(Module):
    """What the two have in common: over which sizes to normalise, and a flat view to do it on."""

    def __init__(self, normalized_shape, eps):
        shape = (
            normalized_shape if isinstance(normalized_shape, (tuple, list)) else (normalized_shape,)
        )
        where = type(self).__name__
        if not shape:
            raise ShapeError(
                f"{where}: normalized_shape is empty; give at least the last size of the input"
            )
        for size in shape:
            check_sizes(where, normalized_shape=size)
        if eps is not None and not number(where, "eps", eps) >= 0:
            raise ShapeError(f"{where}: eps is {eps}; it must not be negative")
        self.normalized_shape, self.eps = tuple(shape), eps

    def _flat(self, x):
        """x with the axes to normalise over joined into one: no weight says which they are."""
        rest = x.shape[: -len(self.normalized_shape)]
        return x.reshape(*rest, math.prod(self.normalized_shape))

    def _checked(self, x):
        x = as_tensor(x, where=type(self).__name__)
        if x.shape[-len(self.normalized_shape) :] != self.normalized_shape:
            raise ShapeError(
                f"{type(self).__name__}: x is {x.shape}, normalized_shape is "
                f"{self.normalized_shape}; x must end in these sizes"
            )
        return x


class LayerNorm(_Norm):
    """Layer normalisation  y = (x − mean x) / √(var x + eps) · weight + bias.

    Args:
        normalized_shape: the last size of the input, or its last few, over which to normalise.
        eps: keeps a vector of equal numbers from being divided by 0.
        elementwise_affine: whether there are a weight and a bias, starting at 1 and 0.
        bias: whether there is a bias, if there is a weight.

    Parameters: ``weight`` and ``bias``, both of ``normalized_shape``.
    Shapes: x (..., *normalized_shape) → the same.
    Raises: ShapeError for an input that does not end in ``normalized_shape``.
    Reference: Ba, Kiros, Hinton, "Layer Normalization", arXiv:1607.06450.
    """

    def __init__(
        self,
        normalized_shape: int | tuple,
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
    ):
        super().__init__(normalized_shape, eps)
        self.elementwise_affine = elementwise_affine
        self.weight = Parameter(ones(self.normalized_shape)) if elementwise_affine else None
        self.bias = Parameter(zeros(self.normalized_shape)) if elementwise_affine and bias else None

    def reset_parameters(self):
        """Back to a weight of 1 and a bias of 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self._checked(x)
        if self.weight is None:
            return layer_norm(self._flat(x), eps=self.eps).reshape(x.shape)
        return layer_norm(x, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
        )


class RMSNorm(_Norm):
    """Root-mean-square normalisation  y = x / √(mean x² + eps) · weight.

    Args:
        normalized_shape: the last size of the input, or its last few, over which to normalise.
        eps: None takes the spacing of the floats at 1, as PyTorch does: 2⁻⁵² in float64, else 2⁻²³.
        elementwise_affine: whether there is a weight, starting at 1.

    Parameters: ``weight`` of ``normalized_shape``.
    Shapes: x (..., *normalized_shape) → the same.
    Raises: ShapeError for an input that does not end in ``normalized_shape``.
    Reference: Zhang, Sennrich, "Root Mean Square Layer Normalization", arXiv:1910.07467.
    """

    def __init__(
        self,
        normalized_shape: int | tuple,
        eps: float | None = None,
        elementwise_affine: bool = True,
    ):
        super().__init__(normalized_shape, eps)
        self.elementwise_affine = elementwise_affine
        self.weight = Parameter(ones(self.normalized_shape)) if elementwise_affine else None

    def reset_parameters(self):
        """Back to a weight of 1."""
        if self.weight is not None:
            init.ones_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = self._checked(x)
        eps = self.eps
        if eps is None:
            eps = 2.0**-52 if x.dtype.itemsize >= 8 else 2.0**-23
        if self.weight is None:
            return rms_norm(self._flat(x), eps=eps).reshape(x.shape)
        return rms_norm(x, self.weight, eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
        )
