"""autocast: products in 16 bits, and in float32 whatever adds up, divides or grows.

On a GPU a product of matrices in 16 bits takes a fraction of the time and half the memory, and it
forgives its operands that they are rounded. A sum of many small terms does not, nor does an
exponential, which leaves the range of float16 at 11. So inside ``with ta.autocast():`` every op
computes by its *rule*:

    "half"      in the 16-bit type of the region: products of matrices
    "float32"   in float32: sums, exponentials, logarithms, powers, norms, losses
    "widest"    in the widest type among its inputs, as without autocast: every other op

``ops/precision.py`` is the table. No op knows of it. The engine brings the arguments of an op to
one dtype anyway, and each gradient back to the dtype of its argument; here it is told another
dtype, and that is all. So parameters stay float32, *master weights*, and their gradients are
float32 in every order. float64 is left alone, and so is what is no float.

**The way back** is not cast: it computes in the types that the way forward has chosen.

Reference: Micikevicius et al., "Mixed Precision Training", arXiv:1710.03740.
"""

from contextlib import suppress
from typing import NamedTuple

from ..backend import dtypes, is_array, quiet
from ..errors import DTypeError
from .graph import changed_mode, changed_since, leaf, mode

__all__ = ["RULES", "Casting", "autocast"]

RULES = {}  # name of an op -> "half" or "float32"; what is not in it is "widest"


class autocast(changed_mode):  # lower case, as it is used like a function
    """Compute in mixed precision: ``with ta.autocast():`` or, above a function, ``@ta.autocast()``.

    Regions nest, and the innermost holds; ``enabled=False`` makes one of ordinary precision. As
    ``no_grad``, this is of the current thread alone. What comes out of a region keeps its dtype.

    Args:
        dtype: float16, or "bfloat16", which has the range of float32 and needs no GradScaler, but
            the package ml_dtypes.
        enabled: whether anything is cast at all.

    Raises: DTypeError for another dtype.

    Example: weight and gradient are float32, the product is not.

        >>> import tinygrad_attn as ta
        >>> layer = ta.nn.Linear(4, 2)
        >>> with ta.autocast():
        ...     y = layer(ta.ones(3, 4))
        ...     loss = y.sum()
        >>> loss.backward()
        >>> y.dtype, loss.dtype, layer.weight.grad.dtype
        (dtype('float16'), dtype('float32'), dtype('float32'))
    """

    def __init__(self, dtype=dtypes.float16, enabled: bool = True):
        super().__init__()
        self.dtype, self.enabled = _sixteen_bits(dtype), enabled

    def __enter__(self):
        outer = mode.get()
        copies = {} if outer.casting is None else outer.casting.copies
        casting = Casting(self.dtype, copies) if self.enabled else None
        inner = outer if casting is outer.casting else outer._replace(casting=casting)
        self.tokens.append(mode.set(inner))

    def _recreate_cm(self):
        return autocast(self.dtype, self.enabled)


class Casting:
    """What an autocast region asks of the ops that are called in it."""

    def __init__(self, dtype, copies):
        self.dtype = dtype
        self.copies = copies  # (id of a weight's array, dtype) -> its copy in that dtype

    def dtype_for(self, op, dtype):
        """The dtype for ``op`` to compute in, where the widest of its inputs is ``dtype``."""
        if op.precision not in (None, "half", "float32", "widest"):
            raise DTypeError(
                f'{op.name}: precision is {op.precision!r}; it must be "half", "float32" or '
                '"widest"'
            )
        return self.by_rule(op.precision or RULES.get(op.name), dtype)

    def by_rule(self, rule, dtype):
        """The dtype to compute in by a rule, where the widest of the inputs is ``dtype``."""
        if not (dtype is dtypes.float32 or dtypes.is_half(dtype)):
            return dtype
        return {"half": self.dtype, "float32": dtypes.float32}.get(rule, dtype)

    @quiet
    def cast(self, value, dtype, node):
        """An array in ``dtype``, itself if it already is; ``node`` is where it came from.

        A weight, which is a leaf that asks for its gradient, is copied once for all its uses in
        the region, and again only after it was written to.
        """
        if not is_array(value) or value.dtype == dtype:
            return value
        if node is None or node.op is not None or dtype != self.dtype:
            return value.astype(dtype)
        copy = self.copies.get((id(value), dtype))
        if copy is None or changed_since(copy.time, (value, copy.array)) is not None:
            copy = _Copy(value, value.astype(dtype), leaf((), None).time)
            self.copies[id(value), dtype] = copy
        return copy.array


class _Copy(NamedTuple):
    """A weight's copy. It holds the original too, so that no other array gets the same id."""

    original: object
    array: object
    time: int


def _sixteen_bits(dtype):
    """``dtype`` as a dtype object, held to those that have 16 bits."""
    if dtype == "bfloat16":
        return dtypes.dtype(dtype, "autocast")
    with suppress(DTypeError):
        found = dtypes.dtype(dtype)
        if dtypes.is_half(found):
            return found
    raise DTypeError(
        f'autocast: dtype is {dtype!s:.60}; it must be float16 or "bfloat16" (the device is that '
        "of the tensors)"
    )
