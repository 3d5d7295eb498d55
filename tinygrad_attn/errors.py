"""The exceptions of tinygrad_attn: each says where, which rule broke, every operand, and what is
right.

Every class also derives from the builtin exception that NumPy or PyTorch would have raised, so that
``except ValueError`` in existing code goes on working.
"""

__all__ = [
    "CheckpointError",
    "DTypeError",
    "DataError",
    "DeviceError",
    "GradcheckError",
    "GraphError",
    "IndexRangeError",
    "NonFiniteError",
    "OutOfMemoryError",
    "ShapeError",
    "TinygradAttnError",
    "WorkerError",
]


class TinygradAttnError(Exception):
    """The common ancestor: ``except ta.TinygradAttnError`` catches every error of this package."""


class ShapeError(TinygradAttnError, ValueError):
    """Sizes, axes or ranks that do not fit together, or an argument outside its domain."""


class DTypeError(TinygradAttnError, TypeError):
    """A value of the wrong type: a float mask, an integer that should carry a gradient, a
    string."""


class DeviceError(TinygradAttnError, RuntimeError):
    """Arrays on different devices in one op, or a device that this machine does not have."""


class OutOfMemoryError(DeviceError, MemoryError):
    """The memory of a GPU is full; the message says what was asked for, and what is free."""


class GraphError(TinygradAttnError, RuntimeError):
    """A walk back that cannot be right: a freed graph, an overwritten value, nothing to
    differentiate."""


class GradcheckError(TinygradAttnError, AssertionError):
    """A derivative that failed its check; the message is the report."""


class IndexRangeError(TinygradAttnError, IndexError):
    """An index, a token or a class outside its range. Nothing wraps round silently."""


class NonFiniteError(TinygradAttnError, FloatingPointError):
    """The first NaN or infinity, found under ``detect_anomaly``."""


class CheckpointError(TinygradAttnError, RuntimeError):
    """A file of weights that is missing, foreign, damaged, or made for another model."""


class DataError(TinygradAttnError, ValueError):
    """Input to learn from that cannot be used, or a file that cannot be read or written."""


class WorkerError(TinygradAttnError, RuntimeError):
    """A worker process that raised, with its traceback, or died."""
