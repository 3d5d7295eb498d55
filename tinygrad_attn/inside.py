"""Seeing inside a model: who attends whom, layer by layer, and what is lost when a head falls
silent."""

from .backend import array_from
from .core import Tensor, no_grad
from .core.graph import changed_mode, mode
from .core.scopes import context
from .errors import ShapeError
from .ops.attention import lens
from .trees import is_module

__all__ = ["capture_attention"]


class Maps(dict):
    """What was captured: {path of the module: weights (..., H, T, S)}, in the order of the calls.

    The path is the module's name inside the model that was called, as in ``named_modules()``. A
    module that attends again, for the next token say, gets the same path with "#2", "#3" and so on.
    """

    def __init__(self, ablate):
        super().__init__()
        self._ablate = dict(ablate or {})
        self._used = set()
        self._calling = []  # the modules that are running, outermost first
        self._counts = {}

    def __repr__(self):
        lines = [f"  {path}: {tuple(weights.shape)}" for path, weights in self.items()]
        return "\n".join(["attention maps (..., heads, queries, keys)", *lines])

    def inside(self, function, who, run):
        """A scope: know which modules are running."""
        if not is_module(who):
            return run()
        self._calling.append(who)
        try:
            return run()
        finally:
            self._calling.pop()

    def see(self, y, weights):
        """Note the weights of an attention, and return what the rest of the model gets to see of
        y."""
        path = self._path()
        self._counts[path] = count = self._counts.get(path, 0) + 1
        with no_grad():
            self[path if count == 1 else f"{path}#{count}"] = weights()
        if path not in self._ablate:
            return y
        self._used.add(path)
        return y * self._surviving(path, y)

    def _path(self):
        if not self._calling:
            return "attention"
        names = {id(module): name for name, module in self._calling[0].named_modules()}
        inner = self._calling[-1]
        return names.get(id(inner)) or type(inner).__name__

    def _surviving(self, path, y):
        """1 for the heads that may speak, 0 for those that are silenced, as (H, 1, 1)."""
        chosen, heads = self._ablate[path], y.shape[-3]
        silent = range(heads) if chosen is True else chosen
        if any(not -heads <= head < heads for head in silent):
            raise ShapeError(
                f"capture_attention: ablate names head {chosen} of {path}, which has {heads}"
            )
        silent = {head % heads for head in silent}
        kept = [[[0.0 if head in silent else 1.0]] for head in range(heads)]
        return Tensor(array_from(kept, y.device)).astype(y.dtype)

    def check_ablated(self):
        """Raise ShapeError for a path to silence that no attention had: a typing error, most
        likely."""
        missing = [path for path in self._ablate if path not in self._used]
        if missing and self:
            raise ShapeError(
                f"capture_attention: nothing at {missing[0]!r} attended; the paths are "
                + ", ".join(path for path in self if "#" not in path)
            )


@context
def capture_attention(ablate=None):
    """Collect the weights of every attention that runs inside, by module path, on any model and
    path.

    Self-attention, cross-attention, the tiled kernel: the weights are worked out from its inputs,
    and the model computes what it would have computed. They are plain values, before dropout, with
    no graph.

    Args:
        ablate: {path: heads} to silence, a list of head numbers or True for all: their output is 0.
            What the model then gets wrong is what they are for.

    Raises: ShapeError for a path at which nothing attends, or a head that is not there.

    Example:
        >>> import tinygrad_attn as ta
        >>> layer = ta.nn.TransformerEncoderLayer(8, 2, 16)
        >>> with ta.capture_attention() as maps:
        ...     _ = layer(ta.randn(1, 5, 8))
        >>> maps
        attention maps (..., heads, queries, keys)
          self_attn: (1, 2, 5, 5)
        >>> with ta.capture_attention(ablate={"self_attn": [0]}):
        ...     without_the_first_head = layer(ta.randn(1, 5, 8))
    """
    maps = Maps(ablate)
    token = lens.set(maps)
    try:
        with changed_mode(scopes=(*mode.get().scopes, maps.inside)):
            yield maps
    finally:
        lens.reset(token)
    maps.check_ablated()
