"""What attention may be told beside q, k and v, checked: who attends whom, what becomes of scores.

However queries, keys and values come, apart or packed, the rules are these, and so are the errors.
"""

import math
from contextlib import suppress
from typing import NamedTuple

from ..backend import backend_of, dtypes
from ..core import Tensor
from ..errors import DTypeError, ShapeError
from .check import as_tensors, broadcasts_to, number, whole_number
from .fused.dropout import Drop

__all__ = ["Call"]

_FOREIGN = {
    "attn_mask": "mask= (boolean, True = may attend) or bias= (float, added to the scores)",
    "is_causal": "causal=",
    "dropout_p": "dropout=",
    "key_padding_mask": "mask= of shape (B, 1, 1, S), True = a real token",
    "enable_gqa": "nothing: fewer key heads than query heads already mean grouped queries",
}


class Call(NamedTuple):
    """A call of ``where`` whose argument ``name`` is ``x``, with scores of shape ``full``."""

    where: str
    name: str
    x: Tensor
    full: tuple

    def rules(
        self,
        *,
        width,
        mask=None,
        bias=None,
        causal=False,
        window=None,
        scale=None,
        softcap=None,
        sinks=None,
        dropout=0.0,
        q_positions=None,
        k_positions=None,
        generator=None,
        **foreign,
    ):
        """(the tensors that kernels take after v, their options), or the error that explains."""
        where = self.where
        for name in foreign:
            hint = f"; write {_FOREIGN[name]}" if name in _FOREIGN else ""
            raise TypeError(f"{where}: unknown argument {name!r}{hint}")
        scale = 1 / math.sqrt(width) if scale is None else float(number(where, "scale", scale))
        if softcap is not None and not number(where, "softcap", softcap) > 0:
            raise ShapeError(f"{where}: softcap is {softcap}; it must be positive")
        if not dtypes.is_scalar(causal):
            raise DTypeError(f"{where}: causal is {causal!r:.60}; it must be True or False")
        window = self._window(window)
        if not 0 <= number(where, "dropout", dropout) < 1:
            raise ShapeError(f"{where}: dropout is {dropout}; it must be in 0..1, 1 excluded")
        mask, bias, sinks = self._mask(mask), self._bias(bias), self._sinks(sinks)
        places = (
            self._positions("q_positions", q_positions, self.full[-2]),
            self._positions("k_positions", k_positions, self.full[-1]),
        )
        options = {
            "causal": bool(causal),
            "window": window,
            "scale": scale,
            "softcap": None if softcap is None else float(softcap),
            "drop": Drop.draw(where, dropout, generator) if dropout else None,
        }
        return (bias, sinks, mask, *places), options

    def _window(self, window):
        """The window as an int, or None."""
        with suppress(DTypeError):
            if window is None or whole_number(self.where, "window", window) >= 1:
                return window if window is None else int(window)
        raise ShapeError(
            f"{self.where}: window is {window!r}; it must be a whole number of at least 1"
        )

    def _beside(self, name, given):
        """An argument as a Tensor where x is."""
        return as_tensors(self.where, **{self.name: self.x, name: given})[1]

    def _mask(self, mask):
        if mask is None:
            return None
        mask = self._beside("mask", mask)
        if mask.dtype != dtypes.bool_:
            raise DTypeError(
                f"{self.where}: mask is {mask.dtype}; a mask is boolean, True where the query may "
                "attend; numbers to add to the scores are bias="
            )
        return self._of_pairs("mask", mask)

    def _bias(self, bias):
        if bias is None:
            return None
        bias = self._beside("bias", bias)
        if not dtypes.is_float(bias.dtype):
            raise DTypeError(
                f"{self.where}: bias is {bias.dtype}; a bias is float and is added to the scores; "
                "a boolean that says who may attend is mask="
            )
        return self._of_pairs("bias", bias)

    def _of_pairs(self, name, given):
        if not broadcasts_to(given.shape, self.full):
            raise ShapeError(
                f"{self.where}: {name} is {given.shape}, {self}; it must broadcast to "
                f"(..., H, T, S) = {self.full}"
            )
        return given if given.ndim else given.reshape(1)  # kernels count on an axis

    def __str__(self):
        return f"{self.name} is {self.x.shape}"

    def _sinks(self, sinks):
        if sinks is None:
            return None
        sinks, heads = self._beside("sinks", sinks), self.full[-3]
        if tuple(sinks.shape) != (heads,) or not dtypes.is_float(sinks.dtype):
            raise ShapeError(
                f"{self.where}: sinks is {sinks.shape} {sinks.dtype}, {self}; there must be one "
                f"float for each of the {heads} query heads"
            )
        return sinks

    def _positions(self, name, given, length):
        """Positions as whole numbers, (length,) or (B, length), or None where none are given."""
        if given is None:
            return None
        given, batch = self._beside(name, given), self.full[:-3]
        fits = given.ndim >= 1 and given.shape[-1] == length
        fits = fits and (
            given.ndim == 1
            or (given.ndim == len(batch) + 1 and broadcasts_to(given.shape[:-1], batch))
        )
        if not fits:
            raise ShapeError(
                f"{self.where}: {name} is {given.shape}, {self}; it must be ({length},), or one "
                f"row for each sequence, {(*batch, length)}"
            )
        if given.dtype.kind not in "iu":
            raise DTypeError(f"{self.where}: {name} are {given.dtype}; positions are whole numbers")
        if length > 1 and not backend_of(given.data).ascends(given.data):
            raise ShapeError(
                f"{self.where}: {name} go backwards, {self}; positions must ascend along the "
                "sequence"
            )
        return given.astype(dtypes.int64)  # the difference of two unsigned or narrow ones wraps
