"""KVCache: the keys and values of the tokens read so far, so that none is computed twice.

What a token contributes to later ones, its key and its value in every layer, depends on nothing
after it. Computed once and kept, it makes the next token cost one row of work instead of all rows
again.
"""

from ..core import Tensor
from ..errors import GraphError, ShapeError
from ..ops import zeros

__all__ = ["KVCache"]


class KVCache:
    """Room for the keys and values of ``size`` tokens in every layer, ``length`` of them filled.

    The room is allocated once. A pass through the model writes each layer's part behind what is
    there and, when all layers are done, moves ``length`` on: a pass that fails half-way leaves the
    cache as it was.

    Shapes: in every layer keys and values are (B, Hk, size, E).
    """

    def __init__(self, layers, batch, heads, size, width, *, dtype="float32", device="cpu"):
        shape = (batch, heads, size, width)
        self.size, self.length = size, 0
        self._layers = [LayerCache(self, shape, dtype, device) for _ in range(layers)]

    def __repr__(self):
        return f"KVCache({len(self._layers)} layers, {self.length} of {self.size} tokens)"

    def layer(self, i: int) -> "LayerCache":
        """The part that belongs to layer ``i``."""
        return self._layers[i]

    def advance(self, n: int) -> None:
        """Count the ``n`` tokens that every layer has just written."""
        self.length += n

    def reset(self) -> None:
        """Forget all tokens and keep the room."""
        self.length = 0


class LayerCache:
    """The keys and values of one layer."""

    def __init__(self, whole, shape, dtype, device):
        self._whole = whole
        self._keys = zeros(shape, dtype=dtype, device=device)
        self._values = zeros(shape, dtype=dtype, device=device)

    def extend(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Write the newest keys and values behind the others; returns them all, (B, Hk, S, E).

        Raises: ShapeError where they do not fit into the room; GraphError where they carry a
        gradient, which would be lost on the way through the cache.
        """
        start, stop = self._whole.length, self._whole.length + k.shape[2]
        room = self._keys.shape
        if (*k.shape[:2], k.shape[3]) != (*room[:2], room[3]) or stop > room[2]:
            raise ShapeError(
                f"KVCache: keys are {tuple(k.shape)}, to go behind {start} tokens in a cache of "
                f"{tuple(room)}; model.new_cache({k.shape[0]}) has the right shape, for sequences "
                "no longer than the context"
            )
        if k.requires_grad or v.requires_grad:
            raise GraphError(
                "KVCache: these keys and values carry a gradient, which a cache does not pass on; "
                "call the model inside ta.no_grad()"
            )
        self._keys[:, :, start:stop] = k
        self._values[:, :, start:stop] = v
        return self._keys[:, :, :stop], self._values[:, :, :stop]
