"""einsum: sums of products, written as which axis is which.

    "bhqd,bhkd->bhqk"      every axis has a letter; what is missing on the right is summed over

However many operands there are, they meet in pairs, and a pair can only do so much: a letter is in
both and kept (a stack), in both and summed, in the first alone, or in the second alone. That is a
stack of matrix products, so ``contract`` is a matrix product between two rearrangements of axes.
Its derivative is ``contract`` again: in  y = Σ a·b  the three have the same standing, and from g
and one of a and b, summing over the letters that the other lacks gives the gradient of the other.
"""

import math
from itertools import combinations

from ..backend import backend_of
from ..core import primitive
from ..errors import DTypeError, ShapeError
from .check import apply, as_tensor
from .diagonals import diagonal
from .shape import transpose

__all__ = ["einsum"]


# ---- two operands --------------------------------------------------------------------------------


@primitive
def _einsum(a, b, of_a, of_b, of_y):
    if not any(label in of_b and label not in of_y for label in of_a):
        return _spread(a, of_a, of_y) * _spread(b, of_b, of_y)
    if of_y and of_y[-1] not in of_b:  # columns end up side by side, as the last axis of y has to
        a, b, of_a, of_b = b, a, of_b, of_a
    stack = [label for label in of_y if label in of_a and label in of_b]
    summed = [label for label in of_a if label in of_b and label not in of_y]
    rows = [label for label in of_a if label not in of_b]
    columns = [label for label in of_b if label not in of_a]
    left = _matrices(a, of_a, stack, rows, summed)
    right = _matrices(b, of_b, stack, summed, columns)
    sizes = {**dict(zip(of_a, a.shape)), **dict(zip(of_b, b.shape))}
    order = stack + rows + columns
    y = backend_of(a).matmul(left, right).reshape([sizes[label] for label in order])
    return y.transpose([order.index(label) for label in of_y])


_einsum.derivatives(
    a=lambda g, b, of_a, of_b, of_y: contract(g, b, of_y, of_b, of_a),
    b=lambda g, a, of_a, of_b, of_y: contract(g, a, of_y, of_a, of_b),
)


def contract(a, b, of_a, of_b, of_y):
    """Σ a·b over the labels that are not in ``of_y``, for raw arrays and for Tensors.

    ``of_a``, ``of_b`` and ``of_y`` label the axes of a, b and the result. A label stands at most
    once in each and in at least two of the three, and has one size.
    """
    return apply(_einsum, a, b, of_a, of_b, of_y)


def _matrices(x, labels, stack, rows, columns):
    """x as a stack of matrices: ``rows`` become one axis, ``columns`` another."""
    x = x.transpose([labels.index(label) for label in [*stack, *rows, *columns]])
    stacked, first = len(stack), len(stack) + len(rows)
    return x.reshape(
        *x.shape[:stacked], math.prod(x.shape[stacked:first]), math.prod(x.shape[first:])
    )


def _spread(x, labels, wanted):
    """x with its axes in the order of ``wanted``, and size 1 where it has no such axis."""
    x = x.transpose([labels.index(label) for label in wanted if label in labels])
    sizes = iter(x.shape)
    return x.reshape([next(sizes) if label in labels else 1 for label in wanted])


# ---- any number of them --------------------------------------------------------------------------


def einsum(subscripts: str, *xs):
    """Sum of products by Einstein's convention:  y[out] = Σ x₁[…]·x₂[…]·…  over letters not in out.

    ``subscripts`` gives the axes of each operand letters, between commas, and after ``->`` those of
    the result. A letter that stands twice in one operand takes its diagonal; ``...`` stands for any
    further axes, which broadcast. Without ``->`` the result has, in alphabetical order, the letters
    that stand only once.

    Operands meet in pairs, the cheapest pair first, each pair as one matrix product.

    Shapes: axes under one letter have one size, or 1, which is stretched.
    Raises: ShapeError for subscripts that are malformed or do not fit the operands.
    Reference: Einstein, "Die Grundlage der allgemeinen Relativitätstheorie", 1916, §5.

    Example: attention scores of every head.

        >>> import tinygrad_attn as ta
        >>> q, k = ta.ones(2, 4, 5, 8), ta.ones(2, 4, 7, 8)   # (batch, heads, length, width)
        >>> ta.einsum("bhqd,bhkd->bhqk", q, k).shape
        (2, 4, 5, 7)
        >>> ta.einsum("ii", ta.ones(3, 3))                    # a trace
        tensor(3.)
    """
    if not isinstance(subscripts, str):
        raise DTypeError(
            'einsum: the subscripts are a string such as "ij,jk->ik", '
            f"not {type(subscripts).__name__}"
        )
    xs = [as_tensor(x, where="einsum") for x in xs]
    problem = _Problem(subscripts, xs)
    terms, output = problem.label()
    sizes = problem.sizes(terms)
    xs = [_with_diagonals(x, term) for x, term in zip(xs, terms)]
    terms = ["".join(dict.fromkeys(term)) for term in terms]
    pairs = [_without_ones(x, term, sizes) for x, term in zip(xs, terms)]
    return _in_pairs(pairs, output, sizes)


def _with_diagonals(x, term):
    """x with the axes of each repeated letter replaced by their diagonal, where the first was."""
    labels = list(term)
    for letter in dict.fromkeys(term):
        while labels.count(letter) > 1:
            first = labels.index(letter)
            second = labels.index(letter, first + 1)
            x = diagonal(x, axis1=first, axis2=second)  # the new axis is the last one
            del labels[second]
            order = [*range(first), x.ndim - 1, *range(first, x.ndim - 1)]
            x = x if first == x.ndim - 1 else transpose(x, order)
    return x


def _without_ones(x, term, sizes):
    """x and its labels without the axes of size 1 that others stretch."""
    kept = [i for i, label in enumerate(term) if x.shape[i] == sizes[label]]
    if len(kept) == len(term):
        return x, term
    return x.reshape([x.shape[i] for i in kept]), "".join(term[i] for i in kept)


def _in_pairs(operands, output, sizes):
    """Sum and multiply (tensor, labels) pairs until one is left, in the order of ``output``."""
    operands = [_sum_lonely(i, operands, output) for i in range(len(operands))]
    while len(operands) > 1:
        i, j = min(
            combinations(range(len(operands)), 2), key=lambda pair: _cost(pair, operands, sizes)
        )
        (b, of_b), (a, of_a) = operands.pop(j), operands.pop(i)
        elsewhere = output + "".join(labels for _, labels in operands)
        of_y = "".join(dict.fromkeys(label for label in of_a + of_b if label in elsewhere))
        if not operands:
            of_y = output
        operands.append((contract(a, b, of_a, of_b, of_y), of_y))
    ((y, labels),) = operands
    return y if labels == output else transpose(y, [labels.index(label) for label in output])


def _sum_lonely(i, operands, output):
    """Operand i, summed over the labels that it has alone."""
    x, labels = operands[i]
    elsewhere = output + "".join(other for k, (_, other) in enumerate(operands) if k != i)
    lonely = tuple(axis for axis, label in enumerate(labels) if label not in elsewhere)
    if not lonely:
        return x, labels
    return x.sum(axis=lonely), "".join(label for label in labels if label in elsewhere)


def _cost(pair, operands, sizes):
    """How many products it takes to contract the pair."""
    i, j = pair
    return math.prod(sizes[label] for label in {*operands[i][1], *operands[j][1]})


# ---- what the subscripts say ---------------------------------------------------------------------


class _Problem:
    """Subscripts and the operands that they are about: reads the one, holds the other to it."""

    def __init__(self, subscripts, xs):
        self.subscripts, self.xs = subscripts, xs

    def fail(self, rule, right):
        """Raise ShapeError: the subscripts, the rule broken, every operand, what is right."""
        operands = (
            ", ".join(f"xs[{i}] is {x.shape}" for i, x in enumerate(self.xs)) or "no operands"
        )
        raise ShapeError(f'einsum "{self.subscripts}": {rule} ({operands}); {right}')

    def label(self):
        """One string of labels for each operand, and one for the result, no dots left in any."""
        inputs, arrow, output = self.subscripts.replace(" ", "").partition("->")
        terms = inputs.split(",")
        if len(terms) != len(self.xs):
            self.fail(
                f"there are subscripts for {len(terms)} operands, but {len(self.xs)} operands",
                "put one comma between two operands",
            )
        for term in [*terms, output]:
            letters = term.replace("...", "", 1)
            if letters and not (letters.isascii() and letters.isalpha()):
                self.fail(
                    f"{term!r} is not made of letters and at most one ellipsis",
                    "give each axis a letter, and write ... for all others",
                )
        spare = [self._spare(i, term) for i, term in enumerate(terms)]
        terms = [term.replace("...", _dots(count)) for term, count in zip(terms, spare)]
        dots = _dots(max(spare))
        if arrow:
            return terms, self._check_output(terms, output, dots)
        letters = "".join(terms)
        return terms, dots + "".join(
            sorted(c for c in letters if c.isascii() and letters.count(c) == 1)
        )

    def _spare(self, i, term):
        """How many axes of operand i the ellipsis of its term stands for."""
        x, letters = self.xs[i], term.replace("...", "")
        if x.ndim < len(letters) or (x.ndim > len(letters) and term == letters):
            self.fail(
                f"{term!r} labels {len(letters)} axes, but xs[{i}] has {x.ndim}",
                "give each axis one letter, or write ... for the rest",
            )
        return x.ndim - len(letters)

    def _check_output(self, terms, output, dots):
        if dots and "..." not in output:
            self.fail(
                "an ellipsis cannot vanish",
                "write ... in the result too, or give its axes letters",
            )
        output = output.replace("...", dots)
        for label in output:
            if output.count(label) > 1:
                self.fail(
                    f"{label!r} stands twice in the result", "each letter may stand there once"
                )
            if not any(label in term for term in terms):
                self.fail(
                    f"{label!r} is in the result but in no operand",
                    "the letters of the result are some of those of the operands",
                )
        return output

    def sizes(self, terms):
        """{label: size}, where an axis of size 1 is stretched to that of other operands."""
        sizes = {}
        for x, term in zip(self.xs, terms):
            own = {}
            for label, size in zip(term, x.shape):
                known = sizes.get(label, 1)
                if own.setdefault(label, size) != size:
                    self._clash(label, own[label], size)
                if known != size and 1 not in (known, size):
                    self._clash(label, known, size)
            sizes.update((label, size) for label, size in own.items() if sizes.get(label, 1) == 1)
        return sizes

    def _clash(self, label, known, size):
        self.fail(f"{label!r} is both {known} and {size}", "one letter has one size, or 1")


def _dots(count):
    """Labels for the ``count`` axes of an ellipsis, the last axis always under the same one."""
    return "".join(chr(ord("α") + i) for i in reversed(range(count)))
