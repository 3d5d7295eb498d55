"""The likely cause of a wrong derivative: what relates the numbers found to the right ones.

Most wrong rules are a right rule with one slip, and the slip shows in the numbers: everything
negated, doubled, transposed. Each function below knows one slip, looks at two m × n matrices, and
says so in words or says nothing. The first that speaks is reported.
"""

from dataclasses import dataclass, field
from itertools import permutations, product
from typing import Any

from .report import number
from .subject import host

__all__ = ["Evidence", "likely_cause"]


@dataclass
class Evidence:
    """A derivative that is wrong, beside the right one: (m, n) arrays, and what they belong to."""

    found: Any
    expected: Any

    x: Any
    """The n elements of the argument."""

    y: Any = None
    """The m elements of the output, or None where the rows are no single outputs."""

    x_shape: tuple[int, ...] | None = None
    y_shape: tuple[int, ...] | None = None
    others: dict = field(default_factory=dict)
    """The right derivatives with respect to other arguments, by name."""

    def same(self, a, b):
        """Whether ``a`` and ``b`` are much more alike than ``found`` and ``expected`` are."""
        size, off = _size(b), _size(self.found - self.expected)
        return size > 0 and _size(a - b) <= min(1e-5 * size, 0.05 * off * size / _size(self.found))


def likely_cause(evidence):
    """A sentence about what would explain the difference, or "" where nothing simple does."""
    if (
        evidence.expected.size
        and host.isfinite(evidence.found).all()
        and host.isfinite(evidence.expected).all()
    ):
        for relation in RELATIONS:
            if cause := relation(evidence):
                return cause
    return ""


def _nothing_arrives(e):
    if not e.found.any():
        return "no gradient arrives: the graph is cut (detach, no_grad, raw arrays), or a term lost"


def _not_constant(e):
    if not _size(e.expected):
        return "the output does not depend on this argument: a term too much"


def _factor(e):
    c = float((e.found * e.expected).sum() / (e.expected * e.expected).sum())
    if not c or not e.same(e.found, c * e.expected):
        return None
    known = {
        -1: "the sign is wrong",
        2: "off by a factor of 2",
        0.5: "off by a factor of 2, too small",
    }
    for value, words in known.items():
        if abs(c - value) < 1e-5:
            return words
    for what, size in _sizes(e):
        for value, slip in ((size, "multiplied"), (1 / max(size, 1), "divided")):
            if size > 1 and abs(c / value - 1) < 1e-5:
                return f"{slip} by {size}, {what}: a mean where a sum should be, or the reverse"
    return f"off by the constant factor {number(c, 6 if abs(c - 1) > 1e-4 else 12)}"


def _sizes(e):
    """Yield (what it is, a number of elements that a mean might divide by)."""
    yield "the number of elements", len(e.x)
    yield "the size of the output", len(e.found)
    for shape, whose in ((e.x_shape, "argument"), (e.y_shape, "output")):
        for k, size in enumerate(shape or ()):
            yield f"the size of axis {k} of the {whose}", size


def _of_another(e):
    for name, expected in e.others.items():
        if expected.shape == e.found.shape and e.same(e.found, expected):
            return f"this is the gradient of {name}"


def _transposed(e):
    m, n = e.expected.shape
    if m == n and m > 1 and e.same(e.found, e.expected.T):
        return "transposed: multiplied by a matrix where its transpose is needed, or the reverse"
    for shape, rows, whose in (
        (e.x_shape, False, "gradient"),
        (e.y_shape, True, "arriving gradient"),
    ):
        if shape is None or len(shape) > 4:
            continue
        right = e.expected.T if rows else e.expected
        wrong = e.found.T if rows else e.found
        right = right.reshape(-1, *shape)
        for order in permutations(range(len(shape))):
            turned = right.transpose(0, *(k + 1 for k in order))
            if turned.shape == right.shape and e.same(wrong.reshape(right.shape), turned):
                return f"transposed: the axes of the {whose} stand in the order {order}"
        for axis in range(len(shape)):
            if shape[axis] > 1 and e.same(wrong.reshape(right.shape), host.flip(right, axis + 1)):
                return f"reversed: the {whose} runs backwards along axis {axis}"


def _one_copy(e):
    """Whether just one of the copies that broadcasting made has sent its gradient back."""
    if e.x_shape is None or e.y_shape is None or len(e.x_shape) > len(e.y_shape):
        return None
    kept = (1,) * (len(e.y_shape) - len(e.x_shape)) + e.x_shape
    choices = [
        (slice(None), 0, size - 1) if kept[axis] == 1 < size else (slice(None),)
        for axis, size in enumerate(e.y_shape)
    ]
    right = e.expected.reshape(*e.y_shape, -1)
    for place in product(*choices):
        alone = host.zeros(right.shape)
        alone[place] = right[place]
        if e.same(e.found, alone.reshape(e.found.shape)):
            where = ", ".join(":" if isinstance(k, slice) else str(k) for k in place)
            return f"missing the broadcast sum: only the copy at [{where}] of the output is counted"
    return None


def _factor_of_argument(e):
    for name, values in (
        ("the argument", e.x[None, :]),
        ("the output", None if e.y is None else e.y[:, None]),
    ):
        if values is None or not host.isfinite(values).all():
            continue
        if e.same(e.found * values, e.expected):
            return f"a factor is missing: {name} itself"
        if e.same(e.found, e.expected * values):
            return f"a factor too much: {name} itself"
        if e.same(e.found, -e.expected * values) or e.same(-e.found * values, e.expected):
            return f"the sign is wrong, and a factor, {name} itself, is missing or too much"


def _one_side(e):
    """Whether it is wrong just where the argument has one sign."""
    wrong = ~(host.abs(e.found - e.expected) <= 1e-5 * _size(e.expected)).all(axis=0)
    for words, side in (("negative", e.x < 0), ("positive", e.x > 0)):
        if side.any() and not side.all() and (wrong == side).all():
            return f"wrong exactly where the argument is {words}"


def _constant_difference(e):
    there = (e.found != 0) | (e.expected != 0)
    difference = (e.found - e.expected)[there]
    if difference.size > 1 and e.same(difference, host.full(difference.shape, difference[0])):
        by = number(difference[0])
        return f"a constant term is too much or too little: the difference is {by} everywhere"


def _single_precision(e):
    if _size(e.found - e.expected) <= 1e-6 * _size(e.expected):
        return "right to seven digits: something computes in float32"


RELATIONS = (
    _nothing_arrives,
    _not_constant,
    _factor,
    _of_another,
    _transposed,
    _one_copy,
    _factor_of_argument,
    _one_side,
    _constant_difference,
    _single_precision,
)


def _size(a):
    return float(host.abs(a).max(initial=0))
