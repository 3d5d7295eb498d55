"""First values of weights, such that signals neither fade nor explode on their way through layers.

Every function writes into a tensor in place and returns it. Random numbers come from ``generator``,
or else from the thread's own, and are drawn on the host: the same seed gives the same weights on
any device.

A weight (out, in) adds up ``in`` terms on the way forward and ``out`` on the way back: its *fans*.
A sum of n terms of variance s² has variance n·s², so that s² = 1/n keeps a signal's size. Further
axes, those of a convolution's window, multiply both fans.
"""

import math

from ..backend import dtypes
from ..core import Tensor
from ..core.tensor import write
from ..errors import DTypeError, ShapeError
from ..ops import full, normal, truncated_normal, uniform

__all__ = [
    "calculate_gain",
    "constant_",
    "kaiming_normal_",
    "kaiming_uniform_",
    "normal_",
    "ones_",
    "trunc_normal_",
    "uniform_",
    "xavier_normal_",
    "xavier_uniform_",
    "zeros_",
]


# ---- plain distributions -------------------------------------------------------------------------


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator=None) -> Tensor:
    """Uniform between a and b."""
    return _draw("uniform_", tensor, uniform, (a, b), generator)


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator=None) -> Tensor:
    """Normal of this mean and standard deviation."""
    return _draw("normal_", tensor, normal, (mean, std), generator)


def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator=None,
) -> Tensor:
    """Normal, on the condition that it lies between a and b: values, not multiples of std."""
    return _draw("trunc_normal_", tensor, truncated_normal, (mean, std, a, b), generator)


def constant_(tensor: Tensor, val: float) -> Tensor:
    """The same number everywhere."""
    _check("constant_", tensor)
    return _write(tensor, full(tensor.shape, val, dtype=tensor.dtype, device=tensor.device))


def zeros_(tensor: Tensor) -> Tensor:
    """0 everywhere."""
    return constant_(tensor, 0.0)


def ones_(tensor: Tensor) -> Tensor:
    """1 everywhere."""
    return constant_(tensor, 1.0)


# ---- by the fans ---------------------------------------------------------------------------------


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator=None) -> Tensor:
    """Uniform in ±gain·√(6 / (in + out)): a compromise between the way forward and the way back.

    Reference: Glorot, Bengio, "Understanding the difficulty of training deep feedforward neural
    networks", AISTATS 2010.
    """
    bound = gain * math.sqrt(6 / max(sum(_fans("xavier_uniform_", tensor)), 1))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator=None) -> Tensor:
    """Normal of mean 0 and standard deviation gain·√(2 / (in + out)); see ``xavier_uniform_``."""
    std = gain * math.sqrt(2 / max(sum(_fans("xavier_normal_", tensor)), 1))
    return normal_(tensor, 0.0, std, generator)


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator=None,
) -> Tensor:
    """Uniform in ±gain·√(3 / fan), where the gain makes up for what the nonlinearity takes away.

    Args:
        a: the slope of a leaky ReLU below 0.
        mode: "fan_in" keeps the size of signals on the way forward, "fan_out" on the way back.
        nonlinearity: what follows; see ``calculate_gain``.

    Reference: He et al., "Delving Deep into Rectifiers", arXiv:1502.01852.
    """
    std = _kaiming_std("kaiming_uniform_", tensor, a, mode, nonlinearity)
    bound = math.sqrt(3) * std
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator=None,
) -> Tensor:
    """Normal of mean 0 and standard deviation gain / √fan; see ``kaiming_uniform_``."""
    std = _kaiming_std("kaiming_normal_", tensor, a, mode, nonlinearity)
    return normal_(tensor, 0.0, std, generator)


_GAINS = {
    "linear": 1.0,
    "sigmoid": 1.0,
    "tanh": 5 / 3,
    "relu": math.sqrt(2),
    "selu": 3 / 4,
}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """How much larger weights must be drawn because of the function that follows them.

    "linear" and "sigmoid" 1, "tanh" 5/3, "relu" √2, "selu" 3/4, and "leaky_relu" √(2/(1 + a²)),
    whose slope a is ``param``, 0.01 unless given.
    Raises: DTypeError for another name.
    """
    if nonlinearity == "leaky_relu":
        return math.sqrt(2 / (1 + (0.01 if param is None else param) ** 2))
    if nonlinearity not in _GAINS:
        raise DTypeError(
            f"calculate_gain: nonlinearity is {nonlinearity!r}; it must be one of "
            f"{', '.join(_GAINS)}, leaky_relu"
        )
    return _GAINS[nonlinearity]


def _kaiming_std(where, tensor, a, mode, nonlinearity):
    if mode not in ("fan_in", "fan_out"):
        raise DTypeError(f'{where}: mode is {mode!r}; it must be "fan_in" or "fan_out"')
    fan_in, fan_out = _fans(where, tensor)
    return calculate_gain(nonlinearity, a) / math.sqrt(
        max(fan_in if mode == "fan_in" else fan_out, 1)
    )


def _fans(where, tensor):
    """(in, out): over how many terms a weight sums on the way forward, and on the way back."""
    _check(where, tensor)
    if tensor.ndim < 2:
        raise ShapeError(
            f"{where}: the tensor is {tensor.shape}; fans need at least two axes, (out, in)"
        )
    window = math.prod(tensor.shape[2:])
    return tensor.shape[1] * window, tensor.shape[0] * window


# ---- writing -------------------------------------------------------------------------------------


def _draw(where, tensor, distribution, numbers, generator):
    _check(where, tensor)
    values = distribution(
        *numbers, tensor.shape, generator=generator, dtype=tensor.dtype, device=tensor.device
    )
    return _write(tensor, values)


def _check(where, tensor):
    if not isinstance(tensor, Tensor):
        raise DTypeError(f"{where}: {type(tensor).__name__} is no Tensor")
    if not dtypes.is_float(tensor.dtype):
        raise DTypeError(f"{where}: the tensor is {tensor.dtype}; it must hold floats")


def _write(tensor, values):
    write(tensor, values.data)
    return tensor
