"""How exactly matrix products of float32 are computed, where a device leaves the choice."""

from ..errors import ShapeError

__all__ = ["matmul_precision", "set_matmul_precision"]

_NAMES = ("highest", "high")
_precision = _NAMES[0]


def set_matmul_precision(precision: str) -> str:
    """Choose how products of float32 matrices are computed on a GPU; returns what held before.

    "highest" (the default): in float32. "high": as TF32, which rounds the factors to 10 bits of
    mantissa and adds up in float32, on tensor cores and several times as fast. Sums, norms, other
    dtypes and the CPU are not concerned. The names are PyTorch's. It holds for the whole process,
    its threads included, because it describes a run and not a computation.

    Raises: ShapeError for another name.
    """
    global _precision
    if precision not in _NAMES:
        raise ShapeError(
            f"set_matmul_precision: precision is {precision!r}; it must be one of "
            + ", ".join(f'"{name}"' for name in _NAMES)
        )
    before, _precision = _precision, precision
    return before


def matmul_precision() -> str:
    """What ``set_matmul_precision`` has last been told: "highest" or "high"."""
    return _precision
