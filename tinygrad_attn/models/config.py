"""GPTConfig: what distinguishes one GPT from another."""

from dataclasses import dataclass

from ..errors import ShapeError
from ..nn.check import check_sizes
from ..ops.check import number

__all__ = ["GPTConfig"]

ABSOLUTE = ("learned", "sinusoidal")  # a vector for each place
RELATIVE = ("rope", "alibi", "none")  # distances only


@dataclass(frozen=True)
class GPTConfig:
    """The sizes of a GPT, checked when they are set.

    Args:
        vocab_size: how many different tokens there are, V.
        block_size: the longest sequence the model can read, its context; but see ``longest``.
        n_layer: blocks on top of each other.
        n_head: attention heads a block, H; each is n_embd / n_head wide, E.
        n_embd: width of the vectors between the blocks, D.
        n_kv_head: heads of keys and values, Hk, a divisor of n_head (grouped queries); n_head if
            None.
        dropout: probability of dropping, in training, an embedding, an attention weight, a layer's
            output.
        bias: whether Linear and LayerNorm have biases.
        positions: how a token's place is told. "learned" and "sinusoidal" add a vector for it,
            "rope" turns queries and keys by it, "alibi" adds a penalty that grows with distance,
            "none" leaves it to causality.
        window: each token looks at the last ``window`` tokens only, itself included; None: at all.

    Raises: ShapeError for sizes that are not positive or do not divide; DTypeError for fractions.
    """

    vocab_size: int
    block_size: int
    n_layer: int
    n_head: int
    n_embd: int
    n_kv_head: int | None = None
    dropout: float = 0.0
    bias: bool = True
    positions: str = "learned"
    window: int | None = None

    def __post_init__(self):
        if self.n_kv_head is None:
            object.__setattr__(self, "n_kv_head", self.n_head)
        names = ("vocab_size", "block_size", "n_layer", "n_head", "n_embd", "n_kv_head", "window")
        given = {name: getattr(self, name) for name in names}
        check_sizes("GPTConfig", **{name: n for name, n in given.items() if n is not None})
        for whole, part in (("n_embd", "n_head"), ("n_head", "n_kv_head")):
            if getattr(self, whole) % getattr(self, part):
                raise ShapeError(
                    f"GPTConfig: {whole} {getattr(self, whole)} is not divisible by {part} "
                    f"{getattr(self, part)}; it must be a multiple of it"
                )
        if not 0 <= number("GPTConfig", "dropout", self.dropout) < 1:
            raise ShapeError(
                f"GPTConfig: dropout is {self.dropout}; it must be in 0..1, 1 excluded"
            )
        if self.positions not in ABSOLUTE + RELATIVE:
            raise ShapeError(
                f"GPTConfig: positions is {self.positions!r}; it must be one of "
                + ", ".join(ABSOLUTE + RELATIVE)
            )
        paired = {"rope": self.n_embd // self.n_head, "sinusoidal": self.n_embd}
        if paired.get(self.positions, 0) % 2:
            raise ShapeError(
                f"GPTConfig: positions is {self.positions!r}, for which dimensions come in pairs, "
                f"but n_embd is {self.n_embd} and n_head {self.n_head}; n_embd must be even, and "
                'for "rope" n_embd / n_head too'
            )

    @property
    def longest(self) -> int | None:
        """How long a sequence may be: block_size, or None, without end.

        A model that sees distances only, and none beyond its window, reads on for ever: however far
        it has come, it sees what it has seen in training.
        """
        is_endless = self.window is not None and self.positions in RELATIVE
        return None if is_endless else self.block_size
