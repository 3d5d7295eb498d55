"""dropout: forget at random, so that no feature can rely on a single other."""

from typing import NamedTuple

from ...backend import backend_of, is_array, namespace, on_device_of
from ...backend.random import keep_at
from ...core import Tensor, fused
from ..check import as_float, probability
from ..random import source

__all__ = ["dropout"]


class Drop(NamedTuple):
    """Which elements survive, as a rule instead of an array: a hash of place and key decides.

    A kernel is handed this and works out the part of the mask that it needs; a replay, later or in
    other tiles or on another device, sees the same one.
    """

    rate: float
    key: tuple

    @classmethod
    def draw(cls, where, rate, generator=None):
        """A new rule; ``generator`` gives the key. Raises: DTypeError in the name of ``where``."""
        return cls(float(rate), source(where, generator).draw_key())

    @property
    def upscale(self):
        """What the survivors are multiplied with, so that the expected sum stays."""
        return 1 / (1 - self.rate) if self.rate < 1 else 0.0

    def keep(self, like):
        """The boolean mask in the shape of ``like``, True = survives."""
        raw = like if is_array(like) else like.data
        with on_device_of(raw):
            mask = backend_of(raw).keep_mask(raw.shape, self.rate, self.key)
        return mask if raw is like else Tensor(mask)

    def keep_part(self, like, full, places):
        """The part of the mask of shape ``full`` at ``places``, an int or a slice for each axis."""
        xp = namespace(like)
        index = xp.zeros((), dtype=xp.uint64)
        for at, size in zip(places, full):
            here = xp.arange(at.start, at.stop, dtype=xp.uint64) if isinstance(at, slice) else at
            index = index[..., None] if isinstance(at, slice) else index
            index = index * xp.uint64(size) + (here if isinstance(at, slice) else xp.uint64(at))
        return keep_at(xp, index, self.rate, self.key)


def dropout_spec(x, *, drop):
    """x·upscale where ``drop`` keeps it, else 0."""
    return x * drop.keep(x) * drop.upscale


@fused(spec=dropout_spec)
def _dropout(x, *, drop):
    keep = drop.keep(x)
    y = x * keep
    y *= drop.upscale

    def backward(g):
        gx = g * keep
        gx *= drop.upscale
        return (gx,)

    return y, backward


def dropout(x, p=0.5, training=True, generator=None):
    """Dropout  y = x·m,  m = 1/(1 − p) with probability 1 − p, else 0.   ∂L/∂x = g·m.

    Outside ``training``, or with p = 0, y is x: the factor keeps the expectation the same in both.
    Which elements stay is a hash of their place and of a key drawn from ``generator``, the same on
    every device.

    Raises: ShapeError for a probability outside 0..1.
    Reference: Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from
    Overfitting", 2014.
    """
    p = probability("dropout", "p", p)
    x = as_float(x, where="dropout")
    if not training or p == 0:
        return x
    return _dropout(x, drop=Drop.draw("dropout", p, generator))
