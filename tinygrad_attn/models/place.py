"""Place: where the tokens of one pass through a model stand, and what they may look at.

A model that reads whole sequences, the next token of each, or a few more of sequences that differ
in length, does the same thing each time: its tokens have positions, so have the keys, and the rest
follows by the rule of attention. What differs is gathered here, and the layers need not know.

    x → q, k, v                                          of the tokens
    k, v = place.extend(k, v)                            and of those before them
    scaled_dot_product_attention(q, k, v, **place.rules)
"""

from dataclasses import dataclass, replace

from ..backend import backend_of, dtypes
from ..core import Tensor
from ..errors import DTypeError, GraphError, ShapeError
from ..ops import arange, cumsum, expand_dims, maximum
from ..ops.check import as_tensor

__all__ = ["CachedPlace", "Place", "check_key_mask"]


@dataclass(frozen=True, eq=False)
class Place:
    """Where the tokens of one pass stand, and the keys that they look at.

    Attributes:
        positions: of the tokens, (T,), or one row for each sequence, (B, T).
        key_positions: of the keys, (S,) or (B, S).
        mask: which keys are real tokens, (B, 1, 1, S); None where all are.
        is_plain: whether the tokens are the last of the keys and none is padding: what attention
            takes for granted.
        is_whole: whether the tokens themselves are all the keys that there are.
    """

    is_whole = True

    positions: Tensor
    key_positions: Tensor
    mask: Tensor | None = None
    is_plain: bool = True

    @classmethod
    def whole(cls, shape: tuple, key_mask: Tensor | None = None, *, device="cpu") -> "Place":
        """Sequences that are read at once, ``shape`` (B, T); ``key_mask`` is True at real tokens.

        Positions count real tokens only, so that it does not matter where the padding is.
        """
        if key_mask is None:
            positions = arange(shape[1], device=device)
            return cls(positions, positions)
        key_mask = check_key_mask("Place", key_mask, shape)
        positions = maximum(cumsum(key_mask.astype(dtypes.int64), axis=1) - 1, 0)
        backend_of(positions.data).note_span(positions.data, 0, shape[1] - 1, ascends=True)
        return cls(positions, positions, expand_dims(key_mask, (1, 2)), is_plain=False)

    @property
    def rules(self) -> dict:
        """What ``scaled_dot_product_attention`` has to be told of who may look where."""
        if self.is_plain:  # a single token is the last of all: nothing is ahead of it
            return {"causal": self.positions.shape[-1] > 1}
        places = {"q_positions": self.positions, "k_positions": self.key_positions}
        rules = {"causal": True, **places}
        return rules if self.mask is None else {**rules, "mask": self.mask}

    @property
    def is_usual(self) -> bool:
        """Whether the positions are 0 … T−1, the numbers that everybody takes for granted."""
        return self.is_whole and self.is_plain

    def layer(self, i: int) -> "Place":
        """The part that belongs to layer ``i``."""
        return self

    def extend(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """The keys and values to look at, given those of the tokens: here just these."""
        return k, v


@dataclass(frozen=True, eq=False)
class CachedPlace(Place):
    """Where tokens stand that continue what a cache holds.

    Attributes:
        rooms: the keys and values (B, Hk, size, E) of each layer; of one layer, in its part.
        slots: the index of where to write.
        tokens: the index of what to write, or None for everything.
        stop: how many slots are in use afterwards, S.
        window: how far back the cache lets queries look; None: at all.
    """

    is_whole = False

    rooms: tuple = ()
    slots: tuple = ()
    tokens: tuple | None = None
    stop: int = 0
    window: int | None = None

    def layer(self, i: int) -> "CachedPlace":
        """The part that belongs to layer ``i``."""
        return replace(self, rooms=self.rooms[i])

    def extend(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Write the newest keys and values behind the others; returns views of all, (B, Hk, S, E).

        Raises: ShapeError or DTypeError where they are not what the cache was made for; GraphError
        where they carry a gradient, which would be lost on the way through the cache.
        """
        for room, new in zip(self.rooms, (k, v)):
            self._check(room, new)
        for room, new in zip(self.rooms, (k, v)):
            room[self.slots] = new if self.tokens is None else new[self.tokens]
        keys, values = (room[:, :, : self.stop] for room in self.rooms)
        return keys, values

    def _check(self, room, new):
        batch, heads, _, width = room.shape
        wanted = (batch, heads, self.positions.shape[-1], width)
        if tuple(new.shape) != wanted:
            raise ShapeError(
                f"KVCache: keys or values are {tuple(new.shape)}, but this pass of this cache is "
                f"for {wanted}: (batch, heads, tokens, width); model.new_cache({new.shape[0]}) "
                "makes one that fits"
            )
        if dtypes.promote(new.dtype, room.dtype) != room.dtype:  # autocast gives narrower ones
            raise DTypeError(
                f"KVCache: keys or values are {new.dtype}, the cache is {room.dtype}; make it with "
                f'dtype="{new.dtype}"'
            )
        if new.requires_grad:
            raise GraphError(
                "KVCache: these keys and values carry a gradient, which a cache does not pass on; "
                "call the model inside ta.no_grad()"
            )


def check_key_mask(where, key_mask, shape):
    """``key_mask`` as a Tensor of booleans (B, T), or the error that says what it is."""
    key_mask = as_tensor(key_mask, where=where)
    rule = f"it must be {tuple(shape)} booleans, True = a real token"
    if key_mask.dtype != dtypes.bool_:
        raise DTypeError(f"{where}: key_mask is {key_mask.dtype}; {rule}")
    if tuple(key_mask.shape) != tuple(shape):
        raise ShapeError(f"{where}: key_mask is {tuple(key_mask.shape)}; {rule}")
    return key_mask
