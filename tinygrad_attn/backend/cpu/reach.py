"""The scores of attention on the CPU, cut into blocks: who reaches whom, and eˢ of it.

Arrays are (N, Hk, H/Hk, length, width) here: sequences, key heads, the query heads of each.
"""

import math

import numpy as np

__all__ = ["Block", "Reach", "Scores", "across"]

BLOCK = 131072  # scores of a block: there is one array of them at a time, so it may be large
ROWS = 64  # queries of a block; fewer would make the matrix products slow
BOUND = 30  # scores that are no larger need no maximum subtracted


class Reach:
    """Which keys a block of queries may attend, by their positions."""

    def __init__(self, q_positions, k_positions, causal, window, queries, keys, bits):
        self.causal, self.window, self.keys = causal, window, keys
        self.bits = bits  # the whole numbers as wide as a score
        self.is_limited = causal or window is not None
        self.offset = None
        if self.is_limited:
            self.q = np.arange(keys - queries, keys) if q_positions is None else q_positions
            self.k = np.arange(keys) if k_positions is None else k_positions
            is_usual = q_positions is None and k_positions is None
            self.offset = keys - queries if is_usual else self._offset()
        self.is_prefix = self.offset is not None and causal and window is None
        self._latest = None

    def _offset(self):
        """How far the queries are ahead of the keys where both are consecutive numbers, or None."""
        for positions in (self.q, self.k):
            if positions.ndim > 1 or (positions[1:] - positions[:-1] != 1).any():
                return None
        return int(self.q[0]) - int(self.k[0])

    def columns(self, rows):
        """The stretch of keys that the queries ``rows`` reach."""
        if self.offset is None:
            return slice(0, self.keys)
        first, last = rows.start + self.offset, rows.stop - 1 + self.offset
        low = 0 if self.window is None else first - self.window + 1
        high = last + (1 if self.causal else self.window)
        low = min(max(low, 0), self.keys)
        return slice(low, max(min(high, self.keys), low))

    def allowed(self, rows, columns):
        """(a column with no closed pairs before it, bits of the columns from there on)."""
        if not self.is_limited:
            return 0, None
        latest = self._latest  # another thread may walk back too, and replace it
        if latest is None or latest[0] != (rows, columns):
            latest = self._latest = (rows, columns), self._allowed(rows, columns)
        return latest[1]

    def _allowed(self, rows, columns):
        start = columns.start
        if self.is_prefix:
            start = max(min(rows.start + self.offset + 1, columns.stop), start)
            if 2 * (start - columns.start) < columns.stop - columns.start:
                start = columns.start  # a few whole rows are faster than many pieces
        keys = self.k[..., start : columns.stop]
        ahead = self.q[..., rows, None] - keys[..., None, :]
        allowed = ahead >= 0 if self.causal else np.ones(ahead.shape, bool)
        if self.window is not None:
            allowed &= np.abs(ahead) < self.window
        if allowed.ndim > 2:  # one row of positions for each sequence, alike for all its heads
            allowed = allowed[:, None, None]
        return start - columns.start, -allowed.astype(self.bits)


class Scores:
    """q·kᵀ·scale + bias, to be computed block by block."""

    def __init__(self, q, k, v, bias, mask, reach, scale, drop):
        self.reach, self.scale, self.drop, self.ndim = reach, scale, drop, q.ndim
        self.key_heads = k.shape[-3]
        self.given = [self.by_head(x) for x in (q, k, v)]
        whole, self.bad, squares = zip(*map(_without_nan, self.given))
        self.q, self.k, self.v = whole
        self.longest_value = squares[2].max()
        self.shape = (*self.given[0].shape[:-1], k.shape[-2])
        self.size = math.prod(self.shape)
        full = (*q.shape[:-1], k.shape[-2])
        self.bias, self.mask = (
            None if x is None else self.by_head(np.broadcast_to(x, full)) for x in (bias, mask)
        )
        self.is_steep = self._steep(*squares[:2])

    def by_head(self, x):
        """x (..., H, T, X) as (N, Hk, H/Hk, T, X): a view wherever x has one batch axis."""
        return x.reshape(-1, self.key_heads, x.shape[-3] // self.key_heads, *x.shape[-2:])

    def lay_across(self):
        """Have the keys, scaled, written out as (E, S)."""
        self.k_across = across(self.k, self.scale)

    def _steep(self, q_squared, k_squared):
        """Of which queries a score may be beyond the bound (N, Hk, H/Hk, T, 1); None for none.

        Given the squared lengths of the queries and of the keys.
        """
        if self.bias is not None:
            return np.ones((*self.shape[:-1], 1), bool)
        steepest = math.sqrt(q_squared.max()) * math.sqrt(k_squared.max()) * abs(self.scale)
        if steepest <= BOUND:
            return None
        q, k = np.sqrt(q_squared) * abs(self.scale), np.sqrt(k_squared)
        return ~(q * self._largest(k) <= BOUND)[..., None]  # ∞·0 is no number, and may be anything

    def _largest(self, k):
        """The largest of the norms k that each query may attend: (N, Hk, H/Hk, T) or stretched."""
        mask, reach, queries = self.mask, self.reach, self.shape[-2]
        if mask is not None and mask.strides[-2] == 0:  # the same keys for all queries
            k, mask = np.where(mask[..., 0, :], k, 0), None  # a norm may be infinite
        if mask is None and not reach.is_limited:
            return k.max(axis=-1, keepdims=True)
        if mask is None and reach.is_prefix:
            last = np.arange(queries) + reach.offset
            largest = np.maximum.accumulate(k, axis=-1)[..., np.clip(last, 0, reach.keys - 1)]
            return np.where(last < 0, 0, largest)
        largest = np.zeros(self.shape[:-1], k.dtype)
        for block in self.blocks():
            for_keys = np.broadcast_to(k[block.where][..., None, block.columns], block.shape)
            open_norms = np.where(block.open_pairs(), for_keys, 0)
            largest[block.queries] = open_norms.max(axis=-1, initial=0)
        return largest

    def blocks(self):
        """Blocks of about BLOCK scores: some sequences, some key heads, some queries."""
        count, heads, group, queries, keys = self.shape
        is_small = group * queries * keys <= BLOCK and not self.reach.is_limited
        rows = queries if is_small else min(ROWS, queries)
        for at in range(0, queries, rows):
            these = slice(at, min(at + rows, queries))
            columns = self.reach.columns(these)
            cost = max(group * rows * (columns.stop - columns.start), 1)
            few = max(min(BLOCK // cost, heads), 1)
            many = max(BLOCK // (cost * heads), 1)
            for n in range(0, count, many):
                for h in range(0, heads, few):
                    where = slice(n, min(n + many, count)), slice(h, min(h + few, heads))
                    yield Block(self, where, these, columns)


class Block:
    """The scores of some queries with all the keys that they reach."""

    def __init__(self, scores, where, rows, columns):
        self.scores, self.where, self.rows, self.columns = scores, where, rows, columns
        self.queries = (*where, slice(None), rows)
        self.keys = (*where, slice(None), columns)
        self.q, self.k = scores.q[self.queries], scores.k[self.keys]
        self.shape = (*self.q.shape[:-1], columns.stop - columns.start)
        self.is_first = rows.start == 0  # nothing has been added to the gradients of these keys yet

    def exponentials(self):
        """eˢ, up to a factor for each row and 0 where closed; and which of them dropout keeps."""
        s = self.q @ self.scores.k_across[(*self.where, slice(None), slice(None), self.columns)]
        if self.scores.bias is not None:
            s += self.scores.bias[(*self.queries, self.columns)]
        steep = self.scores.is_steep
        if steep is not None and steep[self.queries].any():
            s_open = np.where(self.open_pairs(), s, -math.inf)
            top = s_open.max(axis=-1, keepdims=True, initial=-math.inf)
            s -= np.where(steep[self.queries] & (top > -math.inf), top, 0)
        np.exp(s, out=s)
        start, allowed, mask = self._limits()
        if mask is not None:
            _close(s, -mask.astype(self.scores.reach.bits))
        if allowed is not None:
            _close(s[..., start:], allowed)
        self._spoil(s)
        return s, self._kept()

    def _limits(self):
        """(first column with closed pairs, bits of those from there on, which the mask opens)."""
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

    def _kept(self):
        """Which of the weights dropout keeps, or None without dropout."""
        if self.scores.drop is None:
            return None
        full = self.scores.shape
        places = (*self.where, slice(0, full[2]), self.rows, self.columns)
        return self.scores.drop.keep_part(self.q, full, places)

    def add_product(self, grad, weights, x):
        """grad += weightsᵀ·x, summed over the query heads that share a key head."""
        to, weights = grad[self.keys], weights.swapaxes(-1, -2)
        if weights.shape[2] > 1:
            to += (weights @ x).sum(axis=2, keepdims=True)
        elif self.is_first:
            np.matmul(weights, x, out=to)
        else:
            to += weights @ x

    def add_to(self, gbias, gs):
        """Add the gradient of these scores to the bias's, summed where the bias was stretched."""
        shape = (1,) * (4 - gbias.ndim) + gbias.shape
        heads = self.scores.shape[1:3] if shape[1] > 1 else (1, 1)
        grouped = gbias.reshape(shape[0], *heads, *shape[2:])
        where = (*self.queries, self.columns)
        stretched = tuple(i for i, size in enumerate(grouped.shape) if size == 1)
        where = tuple(slice(None) if i in stretched else part for i, part in enumerate(where))
        grouped[where] += gs.sum(axis=stretched, keepdims=True)


def across(x, scale):
    """xᵀ·scale, written out: OpenBLAS multiplies by small matrices that lie so twice as fast."""
    turned = np.empty((*x.shape[:-2], x.shape[-1], x.shape[-2]), x.dtype)
    turned[...] = x.swapaxes(-1, -2)  # a copy walks through x in a better order than a product
    turned *= x.dtype.type(scale)
    return turned


def _close(e, open_bits):
    """e where the bits are ones, else 0 whatever e is, in place: 0·NaN would not be 0."""
    bits = e.view(open_bits.dtype)
    bits &= open_bits


def _without_nan(x):
    """(x with 0 for what is not finite, where that was or None for nowhere, its squared rows)."""
    squared = np.vecdot(x, x)
    if math.isfinite(squared.max()):
        return x, None, squared
    bad = ~np.isfinite(x)
    if not bad.any():  # a square is too large
        return x, None, squared
    x = np.where(bad, 0, x)
    return x, bad, np.vecdot(x, x)
