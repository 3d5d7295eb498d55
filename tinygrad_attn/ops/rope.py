"""rope: where a token stands, told by turning its query and its key.

Two dimensions of a vector are a point in a plane, and to turn it by an angle is to move it along a
circle. Let the query at position p turn by p·ω and the key at s by s·ω: their product then depends
on the angle between them, (p − s)·ω, which is how far apart they are and not where they stand. A
vector of E dimensions has E/2 such planes, each with a speed ω of its own, from one radian a token
down to a turn in tens of thousands of tokens.
"""

import math

from ..backend import backend_of, dtypes, namespace
from ..core import primitive
from ..errors import DTypeError, ShapeError
from .check import apply, as_float, as_tensor, whole_number

__all__ = ["rope"]


@primitive
def _rope(x, positions, theta, stretch, interleaved, dims):
    """Turn ``dims`` dimensions of x (..., T, E); positions (..., T) broadcast to its first axes.

    A backend may own a faster form under the name "rope".
    """
    arguments = x, positions, theta, stretch, interleaved, dims
    turned = backend_of(x).kernels.get("rope", turn)(*arguments)
    return turn(*arguments) if turned is NotImplemented else turned


def turn(x, positions, theta, stretch, interleaved, dims):
    """Plane i of an array x turns by p·θ^(−2i/dims)/stretch."""
    xp = namespace(x)
    speeds = theta ** (xp.arange(0, dims, 2) / -dims) / stretch
    angles = positions[..., None] * speeds  # in float64: float32 errs by 0.01 at 10⁵ radians
    dtype = xp.float64 if x.dtype.itemsize >= 8 else xp.float32
    cos, sin = xp.cos(angles).astype(dtype), xp.sin(angles).astype(dtype)
    if interleaved:
        first, second = slice(0, dims, 2), slice(1, dims, 2)
    else:
        first, second = slice(0, dims // 2), slice(dims // 2, dims)
    a, b = x[..., first], x[..., second]
    y = x.copy()
    y[..., first] = a * cos - b * sin
    y[..., second] = a * sin + b * cos
    return y


_rope.derivatives(
    x=lambda g, positions, theta, stretch, interleaved, dims: apply(
        _rope, g, -positions, theta, stretch, interleaved, dims
    )
)


def rope(x, positions, *, theta=10000.0, interleaved=False, dims=None, scaling=None):
    """Rotary positions  y = R(p)·x: plane i turns by p·ωᵢ,  ωᵢ = θ^(−2i/dims).   ∂L/∂x = R(−p)·g.

    Applied to queries and keys before attention. A rotation is undone by turning back, which is the
    whole derivative; and R(p)q · R(s)k = q · R(s − p)k, so that attention sees distances only.
    Negative positions turn the other way.

    Args:
        positions: whole numbers, (T,), or one row for each sequence, (B, T).
        theta: the longest wavelength is about 2π·θ tokens; more of it for longer contexts.
        interleaved: plane i is dimensions (2i, 2i + 1); otherwise (i, i + dims/2), the halves of
            the vector against each other. Weights trained one way are wrong the other way.
        dims: how many dimensions turn, an even number; the rest stays. All of them unless given.
        scaling: for contexts c times as long as those trained on, ``("linear", c)`` reads position
            p as p/c; ``("ntk", c)`` multiplies θ by c^(dims/(dims − 2)) instead, which slows the
            slowest plane by c and leaves the fastest, which tells neighbours apart, as it is.

    Shapes: x (..., T, E) → the same; with positions (B, T) x is (B, ..., T, E).
    Raises: DTypeError for positions that are no whole numbers; ShapeError for positions that do not
    fit, an odd ``dims`` or one above E, and for θ or c that are not positive.
    Reference: Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding",
    arXiv:2104.09864; Chen et al., "Extending Context Window of Large Language Models via Positional
    Interpolation", arXiv:2306.15595 (linear); Peng et al., "YaRN", arXiv:2309.00071, §3.1 (NTK).

    Example: moving both by the same number of tokens changes nothing.

        >>> import tinygrad_attn as ta
        >>> q, k = ta.ones(1, 4), ta.tensor([[1.0, 2.0, 3.0, 4.0]])
        >>> for shift in (0, 100):
        ...     turned = ta.rope(q, [shift + 3]) * ta.rope(k, [shift])
        ...     print(f"{turned.sum().item():.4f}")
        2.3796
        2.3796
    """
    x = as_float(x, where="rope")
    if x.ndim < 2:
        raise ShapeError(f"rope: x is {x.shape}; it must be (..., length, width)")
    positions = fit_positions("rope", positions, x)
    dims = _checked_dims(x.shape[-1] if dims is None else dims, x)
    if not (dtypes.is_scalar(theta) and 0 < theta < math.inf):
        raise ShapeError(f"rope: theta is {theta!r}; it must be a positive number")
    theta, stretch = _scaled(scaling, float(theta), dims)
    return _rope(x, positions, theta, stretch, bool(interleaved), dims)


def _checked_dims(dims, x):
    if whole_number("rope", "dims", dims) % 2 or not 2 <= dims <= x.shape[-1]:
        raise ShapeError(
            f"rope: x is {x.shape} and {dims} dimensions are to turn; they turn in pairs: "
            f"dims must be an even number from 2 to the width {x.shape[-1]}"
        )
    return int(dims)


def _scaled(scaling, theta, dims):
    """(θ, by what to divide positions) after the scaling for a longer context."""
    if scaling is None:
        return theta, 1.0
    kind, c = scaling if isinstance(scaling, tuple) and len(scaling) == 2 else (scaling, None)
    is_known = kind in ("linear", "ntk") and dtypes.is_scalar(c) and 0 < c < math.inf
    if not is_known or (kind == "ntk" and dims == 2):
        raise ShapeError(
            f'rope: scaling is {scaling!r} and dims {dims}; it must be None, ("linear", c) or '
            '("ntk", c) with c positive, and "ntk" needs at least 4 dims'
        )
    return (theta, float(c)) if kind == "linear" else (theta * c ** (dims / (dims - 2)), 1.0)


# ---- positions, as users give them ---------------------------------------------------------------


def whole_positions(where, name, positions, *beside):
    """``positions`` as an int64 Tensor. Raises: DTypeError for what are no whole numbers."""
    positions = as_tensor(positions, *beside, where=where)
    if positions.dtype.kind not in "iu":
        raise DTypeError(f"{where}: {name} are {positions.dtype}; positions are whole numbers")
    return positions if positions.dtype == dtypes.int64 else positions.astype(dtypes.int64)


def fit_positions(where, positions, x):
    """Positions (T,) or (B, T) of the tokens of x (B, ..., T, E), shaped to broadcast over it."""
    positions = whole_positions(where, "positions", positions, x)
    *batch, length = positions.shape or (None,)
    fits = length == x.shape[-2] and len(batch) <= x.ndim - 2
    if not fits or any(size not in (1, whole) for size, whole in zip(batch, x.shape)):
        raise ShapeError(
            f"{where}: positions are {positions.shape}, x is {x.shape}; they must be "
            f"({x.shape[-2]},), one for each token, or one such row for each sequence"
        )
    between = (1,) * (x.ndim - 2 - len(batch)) if batch else ()  # the same in all heads
    return positions.reshape(*batch, *between, length)
