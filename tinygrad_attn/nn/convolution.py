"""Convolutions over time: every step sees a window of its neighbours, all steps at once.

Here, as in PyTorch, the channels come before the time: (batch, channels, length). Tokens (B, T, D)
go in as ``x.swapaxes(1, 2)``. Each layer sees K − 1 steps further, or twice as far as the
one below if dilations double from layer to layer; attention sees everything at once.
"""

import math

from ..core import Tensor
from ..errors import DTypeError, ShapeError
from ..ops import conv1d, pad, zeros
from ..ops.check import as_tensor, whole_number
from . import init
from .check import check_sizes
from .module import Module
from .parameter import Parameter

__all__ = ["CausalConv1d", "Conv1d"]

_PADDING_MODES = {  # PyTorch's name -> NumPy's
    "zeros": "constant",
    "reflect": "reflect",
    "replicate": "edge",
    "circular": "wrap",
}


class _Convolution(Module):
    """What the two have in common: sizes, weights and how they are drawn."""

    def __init__(self, in_channels, out_channels, kernel_size, stride, dilation, groups, bias):
        where = type(self).__name__
        check_sizes(where, in_channels=in_channels, out_channels=out_channels)
        check_sizes(where, kernel_size=kernel_size, stride=stride, dilation=dilation, groups=groups)
        if in_channels % groups or out_channels % groups:
            raise ShapeError(
                f"{where}: in_channels is {in_channels}, out_channels is {out_channels}, groups is "
                f"{groups}; groups must divide both"
            )
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size, self.stride = kernel_size, stride
        self.dilation, self.groups = dilation, groups
        self.weight = Parameter(zeros((out_channels, in_channels // groups, kernel_size)))
        self.bias = Parameter(zeros(out_channels)) if bias else None

    def reset_parameters(self, generator=None):
        """Draw the weights anew."""
        bound = 1 / math.sqrt(math.prod(self.weight.shape[1:]))
        init.uniform_(self.weight, -bound, bound, generator)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound, generator)

    def _correlate(self, x, padding=0):
        return conv1d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)

    def _checked(self, x):
        x = as_tensor(x, where=type(self).__name__)
        if x.ndim not in (2, 3) or x.shape[-2] != self.in_channels:
            raise ShapeError(
                f"{type(self).__name__}: x is {x.shape}; it must be (batch, {self.in_channels}, "
                f"length) or ({self.in_channels}, length)"
            )
        return x

    def extra_repr(self) -> str:
        parts = [f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"]
        defaults = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "padding_mode": "zeros"}
        for name, default in defaults.items():
            if getattr(self, name, default) != default:
                parts.append(f"{name}={getattr(self, name)!r}")
        return ", ".join(parts) + ("" if self.bias is not None else ", bias=False")


def _longer(x, before, after, mode="constant"):
    """x with so many steps more at its beginning and at its end."""
    return pad(x, ((0, 0),) * (x.ndim - 1) + ((before, after),), mode)


class Conv1d(_Convolution):
    """Correlation  y[o, i] = Σ W[o, c, k]·x[c, i·stride + k·dilation] + b[o]  over c and k.

    Args:
        in_channels, out_channels: how many channels come in, and how many go out.
        kernel_size: how many steps a window sees, K.
        stride: how far it moves at a time.
        padding: how many steps to add at both ends, "valid" for none, or "same" for as many as keep
            the length.
        dilation: the distance between the steps that it sees.
        groups: splits the channels into that many convolutions side by side.
        bias: whether there is a b.
        padding_mode: what to add: "zeros", or x continued by "reflect", "replicate", "circular".
        generator: where the random numbers come from; the thread's own unless given.

    Parameters: ``weight`` (out, in/groups, K), ``bias`` (out,), both from U(−1/√n, 1/√n) with n the
    number of terms, K·in/groups.
    Shapes: x (B, in, T) or (in, T) → (B, out, T') or (out, T').
    Raises: ShapeError for sizes below 1, groups that do not divide, or inputs that do not fit.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int | str = 0,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        *,
        generator=None,
    ):
        super().__init__(in_channels, out_channels, kernel_size, stride, dilation, groups, bias)
        if padding_mode not in _PADDING_MODES:
            raise DTypeError(
                f"Conv1d: padding_mode is {padding_mode!r}; it must be one of "
                f"{', '.join(_PADDING_MODES)}"
            )
        self.padding, self.padding_mode = padding, padding_mode
        self._check_padding()
        self.reset_parameters(generator)

    def forward(self, x: Tensor) -> Tensor:
        x = self._checked(x)
        if self.padding_mode == "zeros" or self.padding in (0, "valid"):
            return self._correlate(x, self.padding)
        before = after = self.padding
        if self.padding == "same":
            total = self.dilation * (self.kernel_size - 1)
            before, after = total // 2, total - total // 2
        return self._correlate(_longer(x, before, after, _PADDING_MODES[self.padding_mode]))

    def _check_padding(self):
        padding, stride = self.padding, self.stride
        if padding == "valid" or (padding == "same" and stride == 1):
            return
        if padding == "same":
            raise ShapeError(
                f'Conv1d: padding is "same" but stride is {stride}; only stride 1 keeps the length'
            )
        if isinstance(padding, str) or whole_number("Conv1d", "padding", padding) < 0:
            raise ShapeError(
                f'Conv1d: padding is {padding!r}; it must be 0 or more, "same" or "valid"'
            )


class CausalConv1d(_Convolution):
    """A convolution that looks back only: y[i] sees x[i·stride] and the K − 1 steps before it.

    It is Conv1d with dilation·(K − 1) zeros at the beginning and none at the end, so that the last
    step of a window is the present. With stride 1 the length stays.

    Arguments, parameters, shapes and errors as Conv1d, without ``padding``.
    Reference: van den Oord et al., "WaveNet", arXiv:1609.03499.

    Example: each output is the sum of this step and the last one.

        >>> import tinygrad_attn as ta
        >>> conv = ta.nn.CausalConv1d(1, 1, kernel_size=2, bias=False)
        >>> _ = ta.nn.init.ones_(conv.weight)
        >>> conv(ta.tensor([[1.0, 10.0, 100.0]])).tolist()
        [[1.0, 11.0, 110.0]]
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        generator=None,
    ):
        super().__init__(in_channels, out_channels, kernel_size, stride, dilation, groups, bias)
        self.reset_parameters(generator)

    def forward(self, x: Tensor) -> Tensor:
        return self._correlate(_longer(self._checked(x), self.dilation * (self.kernel_size - 1), 0))
