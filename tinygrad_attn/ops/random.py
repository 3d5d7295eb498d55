"""Random tensors. Every function draws from ``generator``, or else from that of its thread.

The numbers are drawn on the host and then sent to ``device``: the same seed gives the same on all.
The default generator is a context variable, so threads and asyncio tasks do not disturb one
another's draws.
"""

import math
from contextlib import contextmanager
from contextvars import ContextVar

from ..backend import backend_of, dtypes, get_backend
from ..backend.random import Generator
from ..core import Tensor
from ..errors import DTypeError, ShapeError
from .check import as_shape, as_tensor, broadcasts_to, number, probability, whole_number
from .join import broadcast_to

__all__ = [
    "Generator",
    "bernoulli",
    "default_generator",
    "keep_mask",
    "manual_seed",
    "multinomial",
    "normal",
    "rand",
    "randint",
    "randn",
    "randperm",
    "truncated_normal",
    "uniform",
]

_default = ContextVar("tinygrad_attn.generator", default=None)


def manual_seed(seed):
    """Let this thread's random numbers start anew from ``seed``; returns its new generator.

    Raises: DTypeError unless the seed is a whole number, ShapeError for a negative one.
    """
    if whole_number("manual_seed", "seed", seed) < 0:
        raise ShapeError(f"manual_seed: seed is {seed}; it must not be negative")
    generator = Generator(seed)
    _default.set(generator)
    return generator


def default_generator():
    """The generator of this thread, like no other until ``manual_seed`` is called."""
    if _default.get() is None:
        _default.set(Generator())
    return _default.get()


@contextmanager
def drawing_from(generator):
    """Inside this context ``generator`` is that of the thread."""
    token = _default.set(generator)
    try:
        yield
    finally:
        _default.reset(token)


def source(where, generator):
    """The generator to draw from: the given one, or that of this thread. Raises: DTypeError."""
    if generator is None:
        return default_generator()
    if not isinstance(generator, Generator):
        raise DTypeError(f"{where}: generator is {generator!r}; it must be a ta.Generator")
    return generator


def _float_dtype(where, dtype):
    dtype = dtypes.dtype(dtype, where)
    if not dtypes.is_float(dtype):
        raise DTypeError(f"{where}: dtype is {dtype}; it must be a float, such as float32")
    return dtype


def _send(host, device):
    """A tensor on ``device`` of numbers drawn on the host."""
    host = get_backend("cpu").asarray(host)
    return Tensor(host if device == "cpu" else get_backend(device).from_host(host, device))


def _host(x):
    return backend_of(x.data).to_host(x.data)


# ---- real numbers --------------------------------------------------------------------------------


def rand(*shape, generator=None, dtype=dtypes.float32, device="cpu", requires_grad=False):
    """Uniform numbers in 0..1, 1 excluded: ``rand(2, 3)`` or ``rand((2, 3))``."""
    drawn = source("rand", generator).uniform(as_shape("rand", shape), _float_dtype("rand", dtype))
    return _send(drawn, device).requires_grad_(requires_grad)


def randn(*shape, generator=None, dtype=dtypes.float32, device="cpu", requires_grad=False):
    """Normal numbers of mean 0 and standard deviation 1: ``randn(2, 3)`` or ``randn((2, 3))``."""
    drawn = source("randn", generator).normal(
        as_shape("randn", shape), _float_dtype("randn", dtype)
    )
    return _send(drawn, device).requires_grad_(requires_grad)


def uniform(low=0.0, high=1.0, shape=(), *, generator=None, dtype=dtypes.float32, device="cpu"):
    """Uniform numbers between ``low`` and ``high``. Raises: ShapeError where low is above high."""
    low, high = number("uniform", "low", low), number("uniform", "high", high)
    if not -math.inf < low <= high < math.inf:
        raise ShapeError(
            f"uniform: low is {low}, high is {high}; both must be finite, and low not above high"
        )
    drawn = source("uniform", generator).uniform(
        as_shape("uniform", shape), _float_dtype("uniform", dtype)
    )
    return _send(drawn * float(high - low) + float(low), device)


def normal(mean=0.0, std=1.0, shape=(), *, generator=None, dtype=dtypes.float32, device="cpu"):
    """Normal numbers of this mean and deviation. Raises: ShapeError for a negative ``std``."""
    mean, std = number("normal", "mean", mean), number("normal", "std", std)
    if not (std >= 0 and math.isfinite(mean + std)):
        raise ShapeError(
            f"normal: mean is {mean}, std is {std}; both must be finite, and std not negative"
        )
    drawn = source("normal", generator).normal(
        as_shape("normal", shape), _float_dtype("normal", dtype)
    )
    return _send(drawn * float(std) + float(mean), device)


def truncated_normal(
    mean=0.0,
    std=1.0,
    low=-2.0,
    high=2.0,
    shape=(),
    *,
    generator=None,
    dtype=dtypes.float32,
    device="cpu",
):
    """Normal numbers on the condition that they lie between ``low`` and ``high``, absolute bounds.

    Raises: ShapeError unless mean and std are finite, std > 0 and low < high.
    """
    mean, std, low, high = (
        number("truncated_normal", name, value)
        for name, value in {"mean": mean, "std": std, "low": low, "high": high}.items()
    )
    if not (std > 0 and low < high and math.isfinite(mean + std)):
        raise ShapeError(
            f"truncated_normal: mean is {mean}, std is {std}, low is {low}, high is {high}; "
            "std must be positive, low below high, and mean and std finite"
        )
    shape, dtype = as_shape("truncated_normal", shape), _float_dtype("truncated_normal", dtype)
    drawn_from = source("truncated_normal", generator)
    drawn = drawn_from.truncated_normal(shape, (low - mean) / std, (high - mean) / std)
    return _send((drawn * float(std) + float(mean)).clip(low, high).astype(dtype), device)


# ---- whole numbers -------------------------------------------------------------------------------


def randint(low, high=None, shape=(), *, generator=None, dtype=dtypes.int64, device="cpu"):
    """Whole numbers in low..high, high excluded; ``randint(n)`` means 0..n.

    Raises: ShapeError where there is no such number, DTypeError for one that dtype cannot hold.
    """
    low, high = (0, low) if high is None else (low, high)
    low, high = whole_number("randint", "low", low), whole_number("randint", "high", high)
    shape, dtype = as_shape("randint", shape), dtypes.dtype(dtype, "randint")
    if low >= high:
        raise ShapeError(f"randint: low is {low}, high is {high}; high must be above low")
    if dtype.kind not in "iu":
        raise DTypeError(f"randint: dtype is {dtype}; it must be an integer type")
    try:
        drawn = source("randint", generator).integers(low, high, shape, dtype)
    except ValueError as error:
        raise DTypeError(
            f"randint: low is {low}, high is {high}, beyond what {dtype} can hold; choose another "
            "dtype"
        ) from error
    return _send(drawn, device)


def randperm(n, *, generator=None, device="cpu"):
    """The numbers 0..n−1 in random order, int64."""
    n = whole_number("randperm", "n", n)
    if n < 0:
        raise ShapeError(f"randperm: n is {n}; it must not be negative")
    as_shape("randperm", n)
    return _send(source("randperm", generator).permutation(n), device)


# ---- chances -------------------------------------------------------------------------------------


def bernoulli(p, shape=None, *, generator=None, dtype=None, device=None):
    """1 with probability ``p``, else 0: one p for a whole ``shape``, or one for each element.

    Shapes: as p unless ``shape`` is given, to which p is broadcast. The dtype is that of p.
    Raises: ShapeError for a probability outside 0..1.
    """
    p = as_tensor(p, where="bernoulli")
    dtype = dtype or (p.dtype if dtypes.is_float(p.dtype) else dtypes.float32)
    dtype = dtypes.dtype(dtype, "bernoulli")
    if not bool(((p.data >= 0) & (p.data <= 1)).all()):
        raise ShapeError(
            f"bernoulli: p is {_preview(p)}, its shape {p.shape}; probabilities must be in 0..1"
        )
    drawn_from = source("bernoulli", generator)
    if shape is not None:
        shape = as_shape("bernoulli", shape, x=p)
        if not broadcasts_to(p.shape, shape):
            raise ShapeError(
                f"bernoulli: p is {p.shape}, which does not broadcast to {shape}; give one "
                "probability, or as many as there are draws"
            )
        p = broadcast_to(p, shape)
    drawn = drawn_from.uniform(p.shape, dtypes.float64) < _host(p)
    return _send(drawn.astype(dtype), device or p.device)


def _preview(x):
    return str(x.item()) if x.size == 1 else f"{_host(x).min()} to {_host(x).max()}"


def multinomial(weights, num_samples, replacement=False, *, generator=None):
    """Positions drawn with probabilities in proportion to ``weights``, int64.

    Shapes: weights (..., n) → (..., num_samples); each line is drawn from on its own.
    Raises: ShapeError for weights that are negative, not finite or all 0 on a line, and for more
    samples without replacement than there are positive weights.
    """
    weights = as_tensor(weights, where="multinomial")
    count = whole_number("multinomial", "num_samples", num_samples)
    host = _host(weights).astype(dtypes.float64)
    if not host.ndim or count < 0 or (count and not host.shape[-1]):
        raise ShapeError(
            f"multinomial: weights are {weights.shape}, num_samples is {count}; there must be an "
            "axis to draw from, and a number that is not negative"
        )
    rows = host.reshape(-1, host.shape[-1]) if host.size else host.reshape(0, 1)
    positive = (rows > 0).sum(axis=1)
    least = int(positive.min()) if rows.size else 0
    if not ((rows >= 0) & (rows < math.inf)).all() or (rows.size and not least):
        raise ShapeError(
            f"multinomial: weights are {_preview(weights)}, their shape {weights.shape}; they must "
            "be finite, not negative, and not all 0 on a line"
        )
    if rows.size and not replacement and count > least:
        raise ShapeError(
            f"multinomial: num_samples is {count} without replacement, but a line of weights "
            f"{weights.shape} has only {least} that are positive; draw fewer, or with replacement"
        )
    drawn = source("multinomial", generator).choose(rows, count, replacement)
    return _send(drawn.reshape(*host.shape[:-1], count), weights.device)


def keep_mask(shape, p, *, generator=None, key=None, device="cpu"):
    """A boolean mask for dropout: True, *keep*, with probability 1 − p.

    A hash of ``key``, a pair of whole numbers, which is drawn unless it is given: the same key
    gives the same mask, on every device.
    Raises: ShapeError for a p outside 0..1.
    """
    shape, p = as_shape("keep_mask", shape), probability("keep_mask", "p", p)
    key = source("keep_mask", generator).draw_key() if key is None else key
    backend = get_backend(device)
    with backend.on(device):
        return Tensor(backend.keep_mask(shape, p, key))
