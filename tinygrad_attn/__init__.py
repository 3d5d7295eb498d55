"""tinygrad_attn: a deep-learning framework to read, built up from the chain rule to attention.

The reading order, in which each part needs only those before it:

1. ``core.graph``, ``core.walk``   the tape: what fed what; the way back along it
2. ``core.tensor``       an array that remembers how it was made
3. ``core.op``, ``core.primitive``   an op: a forward, and one derivative per argument
4. ``ops.elementwise``   what that looks like; then any other page of ``ops``
5. ``core.fused``        a fast kernel now, its plain definition for every higher order
6. ``ops.fused.attention``   attention: one rule on every path
7. ``nn``, ``optim``, ``models.gpt``   from ops to layers, training and a Transformer

``import tinygrad_attn as ta`` gives every op at the top level, ``ta.exp(x)``; layers are in
``ta.nn``, optimizers in ``ta.optim``, models in ``ta.models``.
"""

from . import backend, data, errors, interop, models, nn, optim
from .anomaly import detect_anomaly
from .backend.dtypes import (
    bool_,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
)
from .backend.precision import matmul_precision, set_matmul_precision
from .checking import check_causality, check_module, check_padding, gradcheck
from .core import (
    Tensor,
    autocast,
    enable_grad,
    fused,
    grad,
    is_grad_enabled,
    no_grad,
    primitive,
)
from .errors import *
from .inside import capture_attention
from .ops import *
from .profile import profile
from .replay import recompute
from .transforms import hessian, hvp, jacobian, jvp, value_and_grad, vjp

__version__ = "0.1.0"
