"""Clipping: a bound on how far one batch can throw the weights."""

import functools
import math
from collections.abc import Iterable

from ..backend import array_from, backend_of, dtypes, namespace, on_device_of, quiet
from ..core import Tensor
from ..core.scopes import scoped
from ..errors import DTypeError, NonFiniteError, ShapeError
from .optimizer import check_numbers

__all__ = ["clip_grad_norm_", "clip_grad_value_"]


@scoped
@quiet
def clip_grad_norm_(
    parameters: Iterable[Tensor] | Tensor,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> Tensor:
    """Scale all gradients together to a norm of at most ``max_norm``; returns their norm before.

    With n = ‖all gradients as one vector‖, each becomes  g · min(1, max_norm / (n + 10⁻⁶)):
    shorter, in the same direction. The norm is not read here, so that a GPU need not wait;
    ``float(norm)`` reads it.

    Args:
        norm_type: p of the p-norm; ``math.inf`` for the largest element.
        error_if_nonfinite: raise where the norm is NaN or infinite, instead of spreading that.
    Raises: ShapeError for a negative max_norm; NonFiniteError as above, before any change.
    Reference: Pascanu, Mikolov, Bengio, "On the difficulty of training recurrent neural networks",
    arXiv:1211.5063.
    """
    check_numbers("clip_grad_norm_", max_norm=max_norm, norm_type=norm_type)
    if not norm_type > 0:
        raise ShapeError(
            f"clip_grad_norm_: norm_type is {norm_type}; it must be positive, or math.inf"
        )
    parameters = _with_gradients("clip_grad_norm_", parameters)
    if not parameters:
        return Tensor(array_from(0.0))
    with on_device_of(parameters[0].data):
        return _clip(parameters, max_norm, norm_type, error_if_nonfinite)


def _clip(parameters, max_norm, norm_type, error_if_nonfinite):
    gradients = [p.grad.data for p in parameters]
    norm = _norm(gradients, norm_type)
    if error_if_nonfinite and not math.isfinite(float(norm)):
        raise NonFiniteError(
            f"clip_grad_norm_: the norm of the gradients is {float(norm)}; "
            "ta.detect_anomaly() finds the op that made it"
        )
    factor = namespace(norm).minimum(max_norm / (norm + 1e-6), 1)
    scale = backend_of(gradients[0]).kernels.get("scale_all", scale_all)
    for p, g, scaled in zip(parameters, gradients, scale(gradients, factor)):
        if scaled is not g:
            p.grad = _tensor(scaled)
    return _tensor(norm)


@scoped
def clip_grad_value_(parameters: Iterable[Tensor] | Tensor, clip_value: float):
    """Hold every element of every gradient within −clip_value..clip_value.

    Unlike ``clip_grad_norm_`` this bends the direction of the step.
    Raises: ShapeError for a negative clip_value.
    """
    check_numbers("clip_grad_value_", clip_value=clip_value)
    bound = float(clip_value)  # a NumPy number would widen the gradients
    for p in _with_gradients("clip_grad_value_", parameters):
        with on_device_of(p.data):
            p.grad = _tensor(namespace(p.data).clip(p.grad.data, -bound, bound))


def _with_gradients(where, parameters):
    """Those of the parameters that have a gradient with anything in it, each once."""
    if not isinstance(parameters, (Tensor, Iterable)) or hasattr(parameters, "parameters"):
        raise DTypeError(
            f"{where}: parameters is a {type(parameters).__name__}; give model.parameters()"
        )
    parameters = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    for p in parameters:
        if not isinstance(p, Tensor):
            raise DTypeError(f"{where}: parameters must be tensors, not {type(p).__name__}")
    return list({id(p): p for p in parameters if p.grad is not None and p.size}.values())


def _norm(gradients, p):
    """‖all gradients as one vector‖ₚ, in float32 at least."""
    if p == 2:
        return backend_of(gradients[0]).kernels.get("norm2", norm2)(gradients)
    xp, wide = namespace(gradients[0]), _wide(gradients)
    if p == math.inf:
        return functools.reduce(xp.maximum, [xp.max(xp.absolute(g)) for g in wide])
    return sum(xp.sum(xp.absolute(g) ** p) for g in wide) ** (1 / p)


def norm2(gradients):
    """√Σ g² over all gradients; a backend may own a faster form under this name."""
    return namespace(gradients[0]).sqrt(sum(namespace(g).vdot(g, g) for g in _wide(gradients)))


def scale_all(gradients, factor):
    """g · factor of each, in new arrays; a backend may own a faster form under this name.

    One that knows a factor of 1 when it sees it may give back the gradients themselves.
    """
    pairs = zip(gradients, _wide(gradients))
    return [(w * factor.astype(w.dtype)).astype(g.dtype, copy=False) for g, w in pairs]


def _wide(gradients):
    """16-bit floats in float32: in float16 squares overflow, and a small factor loses digits."""
    return [g.astype(dtypes.float32) if g.dtype.itemsize == 2 else g for g in gradients]


def _tensor(array):
    """A tensor of an array, or of the bare scalar that some libraries make of 0-d arrays."""
    return Tensor(backend_of(array).asarray(array))
