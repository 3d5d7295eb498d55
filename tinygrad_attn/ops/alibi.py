"""alibi_bias: where a token stands, told by a penalty that grows with the distance."""

from ..backend import dtypes
from ..core import Tensor
from ..errors import DTypeError, ShapeError
from .check import rounded, whole_number
from .create import tensor
from .elementwise import absolute
from .rope import whole_positions
from .shape import expand_dims

__all__ = ["alibi_bias"]


def alibi_bias(heads, q_positions, k_positions=None, *, dtype=dtypes.float32):
    """Linear biases  b[h, t, s] = −mₕ·|qₜ − kₛ|,  mₕ = 2^(−8h/H) for h = 1 … H.

    Given to attention as its ``bias``, it takes the place of any other positions: each head forgets
    at a rate of its own, the slowest at 1/256 a token. No weight belongs to any position, so that
    models read further than they were trained to. Where H is no power of two the slopes are those
    of the power n below it, and between them every other one of 2n.

    Args:
        heads: how many heads there are, H.
        q_positions, k_positions: whole numbers, (T,) and (S,), or one row for each sequence, (B, T)
            and (B, S). The keys stand where the queries stand unless given.

    Shapes: → (H, T, S), or (B, H, T, S).
    Raises: DTypeError for positions that are no whole numbers; ShapeError for other shapes.
    Reference: Press, Smith, Lewis, "Train Short, Test Long", arXiv:2108.12409.

    Example:
        >>> import tinygrad_attn as ta
        >>> ta.alibi_bias(8, ta.arange(3))[0]
        tensor([[ 0. , -0.5, -1. ],
                [-0.5,  0. , -0.5],
                [-1. , -0.5,  0. ]])
    """
    if whole_number("alibi_bias", "heads", heads) < 1:
        raise ShapeError(f"alibi_bias: heads is {heads}; it must be at least 1")
    dtype = dtypes.dtype(dtype)
    if not dtypes.is_float(dtype):
        raise DTypeError(f"alibi_bias: dtype is {dtype}; a bias is float")
    distance = absolute(ahead("alibi_bias", q_positions, k_positions))
    wide = dtypes.float64 if dtype.itemsize >= 8 else dtypes.float32
    slopes = tensor(_slopes(int(heads)), wide, distance.device).reshape(-1, 1, 1)
    return rounded(slopes * -expand_dims(distance, -3), dtype)


def _slopes(heads):
    """One slope for each head."""
    power = 1 << (heads.bit_length() - 1)  # the largest power of two that is no more than heads
    slopes = [2 ** (-8 * h / power) for h in range(1, power + 1)]
    between = [2 ** (-4 * h / power) for h in range(1, 2 * power, 2)]
    return slopes + between[: heads - power]


def ahead(where, q_positions, k_positions=None):
    """How far each query stands past each key, (T, S) or (B, T, S)."""
    beside = [x for x in (q_positions, k_positions) if isinstance(x, Tensor)]
    q = whole_positions(where, "q_positions", q_positions, *beside)
    k = q if k_positions is None else whole_positions(where, "k_positions", k_positions, *beside)
    batches = {x.shape[0] for x in (q, k) if x.ndim == 2} - {1}
    if not {q.ndim, k.ndim} <= {1, 2} or len(batches) > 1:
        raise ShapeError(
            f"{where}: q_positions are {q.shape}, k_positions are {k.shape}; they must be (T,) and "
            "(S,), or one row for each sequence, (B, T) and (B, S)"
        )
    return q[..., :, None] - k[..., None, :]
