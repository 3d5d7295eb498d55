"""KVCache: the keys and values of the tokens read so far, so that none is computed twice.

What a token contributes to later ones, its key and its value in every layer, depends on nothing
after it. Computed once and kept, it makes the next token cost one row of work instead of all rows
again.

The sequences of a batch may differ in length. Each fills its own row from the left, and padding is
not stored: slot s holds the token at position s, or at f + s once the first f tokens were let go.
So the position of a key follows from its slot, and what a row has not filled yet stands in the
future, where a causal query does not look. No mask is needed.
"""

from contextlib import contextmanager

from ..backend import backend_of, dtypes, get_backend
from ..core import Tensor
from ..errors import ShapeError
from ..nn.check import check_sizes
from ..ops import arange, tensor, zeros
from .place import CachedPlace, check_key_mask

__all__ = ["KVCache"]

_host = get_backend("cpu").xp  # lengths are counted on the host: they decide what to slice


class KVCache:
    """Room for the keys and values of ``size`` tokens of each sequence, in every layer.

    The room is allocated once. A pass through the model, ``with cache.step(T) as place``, writes
    each layer's part behind what is there, and counts it when all is done: a pass that fails
    half-way leaves the cache as it was. What attention looks at are views.

    With a ``window``, no query looks further back than that, and sequences may go on for ever: when
    one has filled its row, its last window − 1 tokens move to the front and the others are let go.
    With room for 2·window that happens once in more than ``window`` tokens. Positions count on.

    Args:
        layers, batch, heads, width: of the model, L, B, Hk and E.
        size: how many tokens of a sequence there is room for.
        window: how far back queries look; None keeps all tokens, and no more than ``size``.

    Attributes:
        lengths: how many tokens of each sequence were read, those let go included: B numbers, on
            the host.

    Shapes: in every layer keys and values are (B, Hk, size, E).
    Raises: ShapeError for sizes below 1, or a window above ``size``; DTypeError for fractions.
    """

    def __init__(
        self, layers, batch, heads, size, width, *, window=None, dtype="float32", device="cpu"
    ):
        sizes = {"layers": layers, "batch": batch, "heads": heads, "size": size, "width": width}
        check_sizes("KVCache", **sizes, window=1 if window is None else window)
        if window is not None and window > size:
            raise ShapeError(
                f"KVCache: window is {window}, size is {size}; there must be room for a window"
            )
        self.size, self.window, self._device = size, window, device
        self.lengths = _host.zeros(batch, dtypes.int64)
        self._first = _host.zeros(batch, dtypes.int64)  # the position in slot 0 of each row
        shape, kind = (batch, heads, size, width), {"dtype": dtype, "device": device}
        self._rooms = tuple([(zeros(shape, **kind), zeros(shape, **kind)) for _ in range(layers)])

    def __repr__(self):
        few, many = int(self.lengths.min()), self.length
        read = many if few == many else f"{few} to {many}"
        room = f"{self.size} tokens" if self.window is None else f"a window of {self.window} tokens"
        return f"KVCache({len(self._rooms)} layers, {read} of {room})"

    @property
    def length(self) -> int:
        """How many tokens were read of the longest sequence."""
        return int(self.lengths.max())

    @property
    def chunk(self) -> int:
        """How many tokens one pass may bring at most."""
        return self.size if self.window is None else self.size - self.window + 1

    @property
    def form(self) -> dict:
        """What a model and its cache must agree on."""
        room = self._rooms[0][0]
        batch, heads, _, width = room.shape
        sizes = {"layers": len(self._rooms), "batch": batch, "heads": heads, "width": width}
        return {**sizes, "dtype": room.dtype, "device": room.device}

    @contextmanager
    def step(self, length: int, key_mask: Tensor | None = None):
        """Make room for ``length`` more tokens of each sequence, and count them at the end.

        With ``key_mask`` (B, length) only where it is True: the others are padding, anywhere.
        Gives the Place of the tokens; ``place.layer(i).extend(k, v)`` writes and reads a layer.
        Raises: ShapeError where there is not that much room, or for another shape of ``key_mask``;
        DTypeError for one that is not boolean.
        """
        shape = (len(self.lengths), length)
        new = _host.ones(shape, bool)
        if key_mask is not None:
            key_mask = check_key_mask("KVCache", key_mask, shape)
            new = backend_of(key_mask.data).to_host(key_mask.data)
        counts = new.sum(axis=1)
        if length > self.chunk or (self.lengths - self._first + counts).max() > self.size:
            self._let_go(length)
        place = self._place(new, counts)
        yield place
        self.lengths = self.lengths + counts

    def _place(self, new, counts):
        """The place of the tokens that are ``new``, booleans (B, T)."""
        device = self._device
        positions = self.lengths[:, None] + _host.cumsum(new, axis=1) - 1
        slots = positions - self._first[:, None]
        stop = int((self.lengths - self._first + counts).max())
        keys = self._first[:, None] + _host.arange(stop)
        shared = {"rooms": self._rooms, "stop": stop, "window": self.window}
        if new.all() and (slots == slots[:1]).all() and (keys == keys[:1]).all():
            first, last = int(slots[0, 0]), int(slots[0, -1])
            start, begin = int(positions[0, 0]), int(keys[0, 0])
            return CachedPlace(
                arange(start, start + new.shape[1], device=device),
                arange(begin, begin + stop, device=device),
                slots=(slice(None), slice(None), slice(first, last + 1)),
                **shared,
            )
        rows, columns, slots = (
            tensor(index, device=device) for index in (*new.nonzero(), slots[new])
        )
        return CachedPlace(
            tensor(_host.maximum(positions, 0), device=device),
            tensor(keys, device=device),
            is_plain=False,
            slots=(rows, slice(None), slots),
            tokens=(rows, slice(None), columns),
            **shared,
        )

    def _let_go(self, length):
        """Move the last window − 1 tokens of each row to its front."""
        if self.window is None or length > self.chunk:
            held = f" after {self.length}" if self.window is None else " in one pass"
            raise ShapeError(
                f"KVCache: {length} tokens{held} are too many for {self!r}; "
                f"a pass may bring {self.chunk} at most"
            )
        filled = self.lengths - self._first
        kept = _host.minimum(filled, self.window - 1)
        rows = _host.arange(len(filled))[:, None]
        slots = (filled - kept)[:, None] + _host.arange(self.window - 1)  # (B, window - 1)
        rows, slots = (tensor(index, device=self._device) for index in (rows, slots))
        for rooms in self._rooms:
            for room in rooms:
                room[:, :, : self.window - 1] = room[rows, :, slots].swapaxes(1, 2)
        self._first = self.lengths - kept

    # ---- sequences -------------------------------------------------------------------------------

    def reset(self, rows=None) -> None:
        """Forget all tokens and keep the room: of the sequences ``rows``, or of all."""
        rows = slice(None) if rows is None else rows
        self.lengths[rows] = self._first[rows] = 0

    def reorder(self, rows) -> None:
        """Let sequence i go on from what sequence ``rows[i]`` has read, as a beam search does.

        Only rows that change are copied, and of these only what is filled.
        """
        rows = _host.asarray(rows)
        changed = (rows != _host.arange(len(rows))).nonzero()[0]
        self._copy(self, rows[changed], changed)
        self.lengths, self._first = self.lengths[rows], self._first[rows]

    def select(self, rows) -> "KVCache":
        """A new cache of the sequences ``rows``, each any number of times."""
        form = {**self.form, "batch": len(rows)}
        twin = KVCache(**form, size=self.size, window=self.window)
        twin.lengths, twin._first = self.lengths[rows], self._first[rows]
        twin._copy(self, rows, range(len(rows)))
        return twin

    def _copy(self, source, rows, to):
        """Fill the rows ``to`` with ``rows`` of the cache ``source``."""
        stop = int((source.lengths - source._first).max())
        rows, to = (tensor(list(index), "int64", self._device) for index in (rows, to))
        for ours, theirs in zip(self._rooms, source._rooms):
            for room, other in zip(ours, theirs):
                room[to, :, :stop] = other[rows, :, :stop]
