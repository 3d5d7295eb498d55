"""Checks that layers share: sizes, probabilities, names from elsewhere."""

from ..backend import dtypes
from ..errors import DTypeError, ShapeError

__all__ = ["check_batch_first", "check_probability", "check_sizes", "refuse"]

# PyTorch's name of an argument -> how ours begins
_MASKS = {"attn_mask": "", "src_mask": "", "tgt_mask": "", "memory_mask": "cross_"}
_PADDINGS = {
    "key_padding_mask": "",
    "src_key_padding_mask": "",
    "tgt_key_padding_mask": "",
    "memory_key_padding_mask": "cross_",
}
_CAUSAL = {"is_causal", "tgt_is_causal"}


def check_sizes(where, **sizes):
    """Raise DTypeError or ShapeError unless each size is a whole number of at least 1."""
    for name, size in sizes.items():
        if isinstance(size, bool) or not hasattr(size, "__index__"):
            raise DTypeError(f"{where}: {name} is {size!r}; it must be a whole number")
        if size < 1:
            raise ShapeError(f"{where}: {name} is {size}; it must be at least 1")


def check_probability(where, p):
    """Raise ShapeError or DTypeError unless p is a number in 0..1."""
    if not dtypes.is_scalar(p):
        raise DTypeError(f"{where}: the probability is {p!r}; it must be a number")
    if not 0 <= p <= 1:
        raise ShapeError(f"{where}: the probability is {p}; it must be in 0..1")


def check_batch_first(where, batch_first):
    """Accept ``batch_first=True``, which ported code spells out, and nothing else."""
    if batch_first is not True:
        raise ShapeError(
            f"{where}: batch_first is {batch_first!r}; layers take only (batch, length, width): "
            "swap the first two axes of the input and leave the argument out"
        )


def refuse(where, foreign, source="", has=("bias", "causal")):
    """Raise TypeError for the first argument that a layer does not have, PyTorch's explained.

    PyTorch's boolean masks say who may *not* attend. To take its names with our meaning would turn
    ported code into silently wrong code, so each is refused, with what to write. ``source`` is how
    the names of a layer's masks for its source begin; ``has`` says which of "bias" and "causal"
    there are to write.
    """
    for name in foreign:
        start = source if name.startswith("src") else _MASKS.get(name, _PADDINGS.get(name, ""))
        hint = ""
        if name in _MASKS:
            hint = f"; write {start}mask=~{name} if it is boolean (here True = may attend)"
            hint += f", {start}bias={name} if it is float" if "bias" in has else ""
        elif name in _PADDINGS:
            hint = f"; write {start}key_mask=~{name} (here True = a real token)"
        elif name in _CAUSAL and "causal" in has:
            hint = "; write causal="
        raise TypeError(f"{where}: unknown argument {name!r}{hint}")
