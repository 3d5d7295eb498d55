"""Choosing a token, on the host: from the logits of the model and a number drawn by chance.

    logits of tokens that were used already → smaller      repetition_penalty
    / temperature                                          bolder above 1, 0 takes the likeliest
    keep the k likeliest                                   top_k
    keep the fewest that have p of what is left            top_p
    keep what is at least a part of the likeliest          min_p

in this order; then chance decides among what is left, each token by its probability.
"""

from dataclasses import dataclass

from ..backend import namespace, quiet
from ..errors import NonFiniteError, ShapeError
from ..ops.check import number, whole_number

__all__ = ["Rule", "check_number", "choose", "finite", "penalize"]

_INFINITY = float("inf")


@dataclass(frozen=True)
class Rule:
    """How to choose. The options of ``generate`` that say so, checked when they are set."""

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float = 1.0

    def __post_init__(self):
        domains = {
            "temperature": ("at least 0", lambda x: 0 <= x < _INFINITY),
            "top_k": ("at least 1", lambda x: x >= 1),
            "top_p": ("above 0 and at most 1", lambda x: 0 < x <= 1),
            "min_p": ("in 0..1", lambda x: 0 <= x <= 1),
            "repetition_penalty": ("above 0", lambda x: 0 < x < _INFINITY),
        }
        if self.top_k is not None:
            whole_number("generate", "top_k", self.top_k)
        for name, (domain, holds) in domains.items():
            value = getattr(self, name)
            if value is None and name.startswith(("top", "min")):
                continue
            check_number(name, value, domain, holds)

    def choose(self, logits, texts, chance):
        """A token for each row of logits (B, V); ``chance()`` draws the numbers, one for each."""
        rule = {"top_k": self.top_k, "top_p": self.top_p, "min_p": self.min_p}
        uniform = chance() if self.temperature else None
        logits = self.penalize(logits, texts)
        return choose(logits, uniform, temperature=self.temperature, **rule)

    def penalize(self, logits, texts):
        """The logits, lower for what is in the ``texts`` already."""
        if self.repetition_penalty == 1:
            return logits
        return penalize(logits, texts.seen(), self.repetition_penalty)


def check_number(name, value, domain, holds):
    """Raise DTypeError unless ``value`` is a number, ShapeError unless it is in its domain."""
    if not holds(number("generate", name, value)):
        raise ShapeError(f"generate: {name} is {value}; it must be {domain}")


@quiet
def choose(logits, uniform, *, temperature=1.0, top_k=None, top_p=None, min_p=None):
    """One token for each row of logits, on raw host arrays: (B, V) logits, (B,) in 0..1 → (B,) ids.

    The tokens stand in order of their probability, each as a stretch of that length, and
    ``uniform`` points into the line: it is in a stretch with that token's probability.
    """
    xp = namespace(logits)
    logits = finite(logits)
    if temperature == 0:
        return xp.argmax(logits, axis=-1)
    likeliest = xp.argsort(-logits, axis=-1, kind="stable")
    scores = xp.take_along_axis(logits, likeliest, axis=-1).astype(xp.float64)
    p = xp.exp((scores - scores[:, :1]) / temperature)  # the likeliest has 1
    if top_k is not None:
        p[:, top_k:] = 0
    if top_p is not None:
        before = xp.cumsum(p, axis=-1) - p
        p[before >= top_p * p.sum(axis=-1, keepdims=True)] = 0
    if min_p is not None:
        p[p < min_p] = 0
    ends = xp.cumsum(p, axis=-1)
    place = (ends <= uniform[:, None] * ends[:, -1:]).sum(axis=-1, keepdims=True)
    return xp.take_along_axis(likeliest, place, axis=-1)[:, 0]


def penalize(logits, seen, penalty):
    """Logits (B, V), lowered by the factor ``penalty`` where ``seen``: whatever is said becomes
    less likely to be said again.

    Positive ones are divided by it, negative ones multiplied.
    Reference: Keskar et al., "CTRL: A Conditional Transformer Language Model for Controllable
    Generation", arXiv:1909.05858, §4.1.
    """
    xp = namespace(logits)
    return xp.where(seen, xp.where(logits > 0, logits / penalty, logits * penalty), logits)


def finite(logits):
    """Logits whose largest is a number in each row, or NonFiniteError."""
    xp = namespace(logits)
    if not xp.isfinite(xp.max(logits, axis=-1)).all():
        raise NonFiniteError(
            "generate: the largest logit is NaN or infinite; look at the weights of the model"
        )
    return logits
