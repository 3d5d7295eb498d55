"""The scores of attention on the CPU, cut into blocks, and eˢ of them.

Arrays are (N, Hk, H/Hk, length, width) here: sequences, key heads, the query heads of each. For
example 8 sequences of 256 tokens, 6 heads of 64, causal: a block of 64 queries reaches 256 keys at
most, so 6 heads at a time make no more than BLOCK scores, and a group of ``Heads`` is one sequence.
Its blocks are the queries 192–255 with all 256 keys, then 128–191 with the first 192, and so on:

    Scores   q, k and v by head, and what of them is not finite, if anything gives cause to look
    Heads    kᵀ·scale and vᵀ of its 6 heads, written out when the first block asks for them
    Block    s = q·(kᵀ·scale), eˢ, 0 where closed; on the way back its part of dK and dV, which the
             first block of the group writes (it reaches most) and the others add to

A number that is not finite would spoil products with closed pairs too, as 0·NaN is NaN. So products
see 0 in its place, and the open pairs that it belongs to are *spoilt* afterwards. Looking for such
numbers would go through q, k and v once more, which costs most where the products are small. But
they show in what is computed anyway: in a query's Σ eˢ, in kᵀ·scale, and, of a value, in y. Only if
something is not finite there are q, k and v looked at, and what came of it is computed again.
"""

import math
from functools import cached_property

import numpy as np

from .blocks import sum_rows
from .threads import thread_count

__all__ = ["Block", "Heads", "Scores", "is_finite"]

BLOCK = 131072  # scores of a block: there are one or two arrays of them, so it may be large
LEAST = 32768  # of a block that is made smaller for there to be one for each thread
ROWS = 64  # queries of a block; fewer would make the matrix products slow
SUMS = math.exp(-30), math.exp(30)  # bounds of a usual Σ eˢ: no maximum needs to be subtracted


class Scores:
    """q·kᵀ·scale + bias, to be computed block by block."""

    def __init__(self, q, k, v, bias, mask, reach, scale, drop):
        self.reach, self.scale, self.drop = reach, scale, drop
        self.key_heads = k.shape[-3]
        self.given = self.q, self.k, self.v = [self.by_head(x) for x in (q, k, v)]
        self.bad, self.has_bad = (None, None, None), None  # nobody has looked yet
        self.slope = scale if bias is None else 1  # a factor of ∂L/∂score; a bias wants it bare
        self.shape = (*self.given[0].shape[:-1], k.shape[-2])
        self.size = math.prod(self.shape)
        full = (*q.shape[:-1], k.shape[-2])
        self.bias, self.mask = (
            None if x is None else self.by_head(np.broadcast_to(x, full)) for x in (bias, mask)
        )

    def by_head(self, x):
        """x (..., H, T, X) as (N, Hk, H/Hk, T, X): a view wherever x has one batch axis."""
        return x.reshape(-1, self.key_heads, x.shape[-3] // self.key_heads, *x.shape[-2:])

    def hide_bad(self):
        """Let products see 0 where q, k or v is not finite; returns whether that is anywhere.

        ``bad`` comes first: another thread that sees a 0 must know that it is to spoil pairs.
        """
        if self.has_bad is None:  # who asks first looks
            self.bad, (self.q, self.k, self.v) = zip(*map(_without_bad, self.given))
            self.has_bad = any(bad is not None for bad in self.bad)
        return self.has_bad

    def groups(self):
        """[(heads of some sequences, how their queries are cut)], in blocks of about BLOCK scores.

        Where several threads share the groups, blocks are smaller, down to LEAST, so that there may
        be one for each. Of the same heads the last queries come first: under causality they reach
        most keys.
        """
        count, heads, group, queries, keys = self.shape
        size = min(BLOCK, max(self.size // thread_count(), LEAST))
        is_small = group * queries * keys <= size and not self.reach.is_limited
        step = queries if is_small else min(ROWS, queries)
        rows = [slice(at, min(at + step, queries)) for at in range(0, queries, step)]
        reached = [self.reach.columns(these) for these in rows]
        cost = max(group * step * max(columns.stop - columns.start for columns in reached), 1)
        few, many = max(min(size // cost, heads), 1), max(size // (cost * heads), 1)
        cuts = list(zip(rows[::-1], reached[::-1]))
        return [
            ((slice(n, min(n + many, count)), slice(h, min(h + few, heads))), cuts)
            for n in range(0, count, many)
            for h in range(0, heads, few)
        ]

    def blocks(self, group):
        """The blocks of a group, one after the other."""
        where, cuts = group
        shared = Heads(self, where)
        return (Block(self, shared, rows, columns) for rows, columns in cuts)


class Heads:
    """Some heads of some sequences, and what all of their blocks need."""

    def __init__(self, scores, where):
        self.scores, self.where = scores, where
        self.filled = set()  # the gradients that have something in them

    @cached_property
    def k_across(self):
        """The keys, scaled, laid across. Whether they are finite shows here first."""
        across = _across(self.scores.k[self.where], self.scores.scale)
        if not is_finite(across) and self.scores.hide_bad():
            across = _across(self.scores.k[self.where], self.scores.scale)
        return across

    @cached_property
    def v_across(self):
        """The values, with the slope of the scores, laid across."""
        return _across(self.scores.v[self.where], self.scores.slope)


class Block:
    """The scores of some queries with all the keys that they reach."""

    def __init__(self, scores, shared, rows, columns):
        self.scores, self.shared, self.rows, self.columns = scores, shared, rows, columns
        self.where = shared.where
        self.queries = (*self.where, slice(None), rows)
        self.keys = (*self.where, slice(None), columns)
        self.across = (slice(None),) * 4 + (columns,)  # of k_across and v_across
        self.shape = (*scores.q[self.queries].shape[:-1], columns.stop - columns.start)

    @property
    def q(self):
        """The queries of this block, as they are now: ``hide_bad`` may have put 0 into some."""
        return self.scores.q[self.queries]

    @property
    def k(self):
        """The keys that they reach, likewise."""
        return self.scores.k[self.keys]

    def exponentials(self):
        """(eˢ, up to a factor for each row and 0 where closed; their sums; which rows are steep).

        Steep are rows whose sum is out of bounds, and only they have their maximum subtracted. A
        row of closed pairs alone is steep too; its sum is given as ∞, which makes its weights 0.
        """
        e, steep = self.exponentials_of(None), None
        total = sum_rows(e)
        if not (total.min() > SUMS[0] and total.max() < SUMS[1]):  # with NaN neither holds
            if self.scores.hide_bad():
                e = self.exponentials_of(None)
                total = sum_rows(e)
            steep = ~((total > SUMS[0]) & (total < SUMS[1]))
            e = self.exponentials_of(steep)
            total = sum_rows(e)
            total[total == 0] = math.inf
        return e, total, steep

    def exponentials_of(self, steep):
        """eˢ alone, where it is known which rows are steep: (…, rows, 1), or None for none."""
        s = self.q @ self.shared.k_across[self.across]
        if self.scores.bias is not None:
            s += self.scores.bias[(*self.queries, self.columns)]
        if steep is not None:
            s_open = np.where(self.open_pairs(), s, -math.inf)
            top = s_open.max(axis=-1, keepdims=True, initial=-math.inf)
            s -= np.where(steep & (top > -math.inf), top, 0)
        np.exp(s, out=s)
        start, allowed, mask = self._limits()
        if mask is not None:
            _close(s, -mask.astype(self.scores.reach.bits))
        if allowed is not None:
            _close(s[..., start:], allowed)
        self._spoil(s)
        return s

    def _limits(self):
        """(first column that positions may close, their bits from there on or None, the mask)."""
        scores = self.scores
        mask = None if scores.mask is None else scores.mask[(*self.queries, self.columns)]
        start, allowed = scores.reach.allowed(self.rows, self.columns)
        if allowed is not None and allowed.ndim > 2 and len(allowed) > 1:
            allowed = allowed[self.where[0]]
        return start, allowed, mask

    def open_pairs(self):
        """Which pairs are open, by positions and mask together."""
        start, allowed, mask = self._limits()
        pairs = np.ones(self.shape, bool)
        if allowed is not None:
            pairs[..., start:] &= allowed != 0
        return pairs if mask is None else pairs & mask

    def _spoil(self, e):
        """NaN in all open pairs of a query that is not finite, or may attend a key that is not.

        But an infinity in a query may make all of its scores −∞, and then it attends nothing.
        """
        bad_q, bad_k, _ = self.scores.bad
        if bad_q is not None:
            open_pairs = self.open_pairs() & bad_q[self.queries].any(axis=-1, keepdims=True)
            s = (self.scores.given[0][self.queries] * self.scores.scale) @ self.k.swapaxes(-1, -2)
            is_shut = np.where(open_pairs, s == -math.inf, True).all(axis=-1, keepdims=True)
            e[open_pairs] = math.nan
            e[open_pairs & is_shut] = 0
        if bad_k is not None:
            bad = bad_k[self.keys].any(axis=-1, keepdims=True)
            e[(self.open_pairs() @ bad) & self.open_pairs()] = math.nan

    def spoil_values(self, y):
        """NaN in those elements of y to which a value contributes that is not finite there."""
        bad = self.scores.bad[2]
        if bad is not None:
            y[self.open_pairs() @ bad[self.keys]] = math.nan

    def kept(self):
        """Which of the weights dropout keeps, or None without dropout."""
        if self.scores.drop is None:
            return None
        full = self.scores.shape
        places = (*self.where, slice(0, full[2]), self.rows, self.columns)
        return self.scores.drop.keep_part(self.q, full, places)

    def add_product(self, grad, weights, x):
        """grad += weightsᵀ·x, summed over the query heads that share a key head."""
        to, weights = grad[self.keys], weights.swapaxes(-1, -2)
        is_first = id(grad) not in self.shared.filled
        if is_first and weights.shape[2] == 1:
            np.matmul(weights, x, out=to)
        else:
            product = weights @ x
            if weights.shape[2] > 1:
                product = product.sum(axis=2, keepdims=True)
            if is_first:
                to[...] = product
            else:
                to += product
        if is_first:
            self.shared.filled.add(id(grad))
            for rest in (slice(0, self.columns.start), slice(self.columns.stop, None)):
                grad[(*self.where, slice(None), rest)] = 0

    def add_to(self, gbias, gs):
        """Add the gradient of these scores to the bias's, summed where the bias was stretched."""
        shape = (1,) * (4 - gbias.ndim) + gbias.shape
        heads = self.scores.shape[1:3] if shape[1] > 1 else (1, 1)
        grouped = gbias.reshape(shape[0], *heads, *shape[2:])
        where = (*self.queries, self.columns)
        stretched = tuple(i for i, size in enumerate(grouped.shape) if size == 1)
        where = tuple(slice(None) if i in stretched else part for i, part in enumerate(where))
        grouped[where] += gs.sum(axis=stretched, keepdims=True)


def _across(x, scale):
    """xᵀ·scale, written out: OpenBLAS multiplies by small matrices that lie so twice as fast."""
    turned = np.empty((*x.shape[:-2], x.shape[-1], x.shape[-2]), x.dtype)
    turned[...] = x.swapaxes(-1, -2)  # a copy walks through x in a better order than a product
    turned *= x.dtype.type(scale)
    return turned


def _close(e, open_bits):
    """e where the bits are ones, else 0 whatever e is, in place: 0·NaN would not be 0."""
    bits = e.view(open_bits.dtype)
    bits &= open_bits


def is_finite(x):
    """Whether all of x is finite, for sure; False is not, as the squares of a large x overflow.

    One pass without a copy, as long as x lies in memory without gaps.
    """
    flat = x.ravel(order="K")
    return math.isfinite(flat @ flat)


def _without_bad(x):
    """(where x is not finite, or None for nowhere; x with 0 there)."""
    bad = ~np.isfinite(x)
    return (bad, np.where(bad, 0, x)) if bad.any() else (None, x)
