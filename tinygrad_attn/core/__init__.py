"""The engine: the chain rule and nothing else.

Read in this order: ``graph`` (the tape), ``walk`` (the way back along it), ``tensor`` (what rides
on it), ``op`` and ``primitive`` (how an op is called and recorded), ``plan`` (how an op goes back),
``fused`` (kernels with a spec), ``autograd`` (what users ask), ``autocast`` (the dtypes that ops
compute in), ``scopes`` (for tools: what an op is a part of). ``devices`` matters to those with two
GPUs.
"""

from . import devices
from .autocast import autocast
from .autograd import backward, grad
from .fused import Fused, fused
from .graph import enable_grad, is_grad_enabled, no_grad
from .op import Op, sum_to
from .primitive import Primitive, primitive
from .tensor import Tensor

__all__ = [
    "Fused",
    "Op",
    "Primitive",
    "Tensor",
    "autocast",
    "backward",
    "enable_grad",
    "fused",
    "grad",
    "is_grad_enabled",
    "no_grad",
    "primitive",
    "sum_to",
]
