"""The CPU backend: NumPy."""

from contextlib import nullcontext

import numpy as np

from ..base import Backend
from .adam import adam
from .attention import attention
from .blocks import product
from .clip import norm2, scale_all
from .cross_entropy import surprise
from .erf import erf, erfc
from .gates import gelu, gelu_tanh, silu, swiglu
from .linear import linear
from .memory import keep_freed_memory
from .norm import layer_norm, rms_norm
from .scatter import add_at
from .softmax import log_softmax, softmax

__all__ = ["CpuBackend"]

_SMALL = 4096  # elements of a matrix that no two threads share


class CpuBackend(Backend):
    """NumPy arrays in the machine's own memory."""

    name = "cpu"
    xp = np
    array_type = np.ndarray
    kernels = {
        "adam": adam,
        "dense_attention": attention,
        "gelu": gelu,
        "gelu_tanh": gelu_tanh,
        "layer_norm": layer_norm,
        "linear": linear,
        "log_softmax": log_softmax,
        "norm2": norm2,
        "rms_norm": rms_norm,
        "scale_all": scale_all,
        "silu": silu,
        "softmax": softmax,
        "surprise": surprise,
        "swiglu": swiglu,
        "tiled_attention": attention,
    }

    def on(self, device):
        return nullcontext()

    def from_host(self, array, device):
        return array.copy()

    def to_host(self, array):
        return array

    def matmul(self, a, b):
        if a.size < _SMALL or a.dtype != b.dtype or a.dtype.kind != "f" or a.itemsize == 2:
            return super().matmul(a, b)
        is_stack = a.ndim == b.ndim > 1 and a.shape[:-2] == b.shape[:-2]
        fits = is_stack and a.shape[-1] == b.shape[-2]
        return product(a, b) if fits else super().matmul(a, b)

    def keep(self, x, mask):
        if x.itemsize > 8:  # the complex numbers of the gradient checker
            return super().keep(x, mask)
        bits = x.view(f"i{x.itemsize}")  # as integers: where() branches, 10 times slower
        return (bits * mask).view(x.dtype)

    def erf(self, x):
        return erf(x)

    def erfc(self, x):
        return erfc(x)

    def index_add(self, target, index, values):
        add_at(target, index, values)


keep_freed_memory()
