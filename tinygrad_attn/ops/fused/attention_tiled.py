"""The tiled path of attention: a tile of scores at a time, so that memory grows with T, not T².

For a block of queries the keys come by in tiles. Each row keeps three things: its largest score so
far, the sum of exponentials, and the weighted sum of values, both relative to that score. When a
later tile holds a larger one, what was summed is scaled down by the ratio: the *online softmax*. In
the end a row is remembered by one number, ln Σ exp of its scores, from which the way back computes
every weight again.

Positions tell beforehand which keys a block can reach. Tiles beyond are never touched, and tiles
that lie wholly inside need no mask.

Reference: Milakov, Gimelshein, "Online normalizer calculation for softmax", arXiv:1805.02867; Dao
et al., "FlashAttention", arXiv:2205.14135.
"""

import math
from itertools import product

from ...backend import namespace
from ...core import fused, sum_to
from .attention import attention_spec, cap, count_positions, match, may_attend, mix, without_closed
from .attention_dense import CONSTANTS

__all__ = ["tiled_attention"]

ROWS, COLUMNS = 128, 1024  # of a tile: 512 KB of float32 scores, which a core's own cache can hold


@fused(spec=attention_spec, constants=CONSTANTS, reads_result=True)
def tiled_attention(
    q,
    k,
    v,
    bias=None,
    sinks=None,
    mask=None,
    q_positions=None,
    k_positions=None,
    *,
    causal,
    window,
    scale,
    softcap,
    drop,
    needs,
):
    """Attention without the matrix of weights; the way back recomputes them tile by tile.

    With ℓ = ln Σ exp S for each row:  P = exp(S − ℓ),  dS = P∘(g·Vᵀ − δ), and dQ, dK, dV as on the
    dense path. There δ is Σ dP∘P over the keys; here it is the same number as Σ g∘y over the width.
    """
    xp = namespace(q)
    inputs = _Inputs(
        q, k, bias, mask, q_positions, k_positions, causal, window, scale, softcap, drop
    )
    y = xp.zeros((*q.shape[:-1], v.shape[-1]), dtype=q.dtype)
    log_total = xp.zeros(q.shape[:-1], dtype=q.dtype)
    for block in inputs.blocks():
        rows = len(block.q)
        top = xp.full((rows, 1), -math.inf, dtype=q.dtype)
        total = xp.zeros((rows, 1), dtype=q.dtype)
        mixed = xp.zeros((rows, v.shape[-1]), dtype=q.dtype)
        if sinks is not None:  # as if a first tile had held one score, with no value behind it
            top[:, 0] = block.for_each_row(sinks)
            total += xp.exp(top - xp.where(top == -math.inf, 0, top))
        values = v[block.key_head]
        for tile in block.tiles():
            s, _ = tile.scores()
            new_top = xp.maximum(top, xp.max(s, axis=1, keepdims=True))
            shift = xp.where(new_top == -math.inf, 0, new_top)
            s -= shift
            xp.exp(s, out=s)
            ratio = xp.exp(top - shift)
            total *= ratio
            total += s @ xp.ones((s.shape[1], 1), dtype=s.dtype)  # sums faster than sum
            if drop is not None:
                s *= tile.kept()
            mixed *= ratio
            mixed += _mix(s, values[tile.columns], tile.allowed)
            top = new_top
        empty = total == 0
        mixed /= xp.where(empty, 1, total)
        block.put(y, mixed)
        block.put(log_total, xp.where(empty, 0, top + xp.log(xp.where(empty, 1, total)))[:, 0])

    def backward(g, into=None):
        delta = xp.sum(g * y, axis=-1)
        return _backward(inputs, q, k, v, bias, sinks, g, delta, log_total, drop, needs)

    return y, backward


def _backward(inputs, q, k, v, bias, sinks, g, delta, log_total, drop, needs):
    """The gradients of q, k, v, bias and sinks."""
    xp = namespace(q)
    gq, gk, gv, gbias = (
        xp.zeros_like(x) if x is not None and need else None
        for x, need in zip((q, k, v, bias), needs)
    )
    for block in inputs.blocks():
        keys, values = k[block.key_head], v[block.key_head]
        g_rows, delta_rows, log_rows = map(block.take, (g, delta[..., None], log_total[..., None]))
        gq_rows = xp.zeros_like(block.q) if needs[0] else None
        for tile in block.tiles():
            p, cap_slope = tile.scores()
            xp.exp(xp.subtract(p, log_rows, out=p), out=p)
            if tile.allowed is not None and not bool(xp.isfinite(log_rows).all()):
                p = xp.where(tile.allowed, p, 0)  # a row of NaN has closed pairs too
            keep = None if drop is None else tile.kept()
            if needs[2]:
                gv[block.key_head][tile.columns] += (p if keep is None else p * keep).T @ g_rows
            gs = g_rows @ values[tile.columns].T
            if keep is not None:
                gs *= keep
            gs -= delta_rows
            if tile.allowed is not None:
                gs = xp.where(tile.allowed, gs, 0)
            gs *= p
            if gbias is not None:
                tile.add_to(gbias, gs)
            if cap_slope is not None:
                gs *= cap_slope
            if needs[0]:
                gq_rows += _mix(gs, keys[tile.columns], tile.allowed)
            if needs[1]:
                gk[block.key_head][tile.columns] += gs.T @ tile.queries()  # they carry the scale
        if needs[0]:
            gq_rows *= inputs.scale
            block.put(gq, gq_rows)
    gsinks = None
    if needs[4]:
        taken = xp.exp(sinks[:, None] - log_total) * delta
        gsinks = -xp.sum(taken, axis=tuple(i for i in range(taken.ndim) if i != taken.ndim - 2))
    return gq, gk, gv, gbias, gsinks


def _mix(weights, values, allowed):
    """weights · values for one head, closed pairs left out."""
    if allowed is None:
        return weights @ values
    return mix(weights[None], values[None], allowed)[0]


class _Inputs:
    """What is computed with what: all that blocks and tiles read, and nothing they change."""

    def __init__(
        self, q, k, bias, mask, q_positions, k_positions, causal, window, scale, softcap, drop
    ):
        self.q, self.k, self.drop = q, k, drop
        self.causal, self.window = causal, window
        self.scale, self.softcap = scale, softcap
        self.batch, self.heads, self.queries = q.shape[:-3], q.shape[-3], q.shape[-2]
        self.key_heads, self.keys = k.shape[-3], k.shape[-2]
        self.group = self.heads // self.key_heads  # query heads to a key head
        self.full = (*q.shape[:-1], self.keys)
        xp = namespace(q)
        self.bias = None if bias is None else xp.broadcast_to(bias, self.full)
        self.mask = None if mask is None else xp.broadcast_to(mask, self.full)
        q_positions, k_positions = count_positions(q, k, q_positions, k_positions)
        self.q_positions = self._for_each_sequence(q_positions, self.queries)
        self.k_positions = self._for_each_sequence(k_positions, self.keys)

    def _for_each_sequence(self, positions, length):
        return namespace(positions).broadcast_to(positions, (*self.batch, length))

    def blocks(self):
        """Blocks of queries, those of all heads that share a key head together."""
        step = max(ROWS // self.group, 1)
        for sequence in product(*map(range, self.batch)):
            for key_head in range(self.key_heads):
                for start in range(0, self.queries, step):
                    yield _Block(
                        self, sequence, key_head, slice(start, min(start + step, self.queries))
                    )


class _Block:
    """Some queries of one sequence, in the heads of one key head, stacked as rows of a matrix."""

    def __init__(self, inputs, sequence, key_head, rows):
        self.inputs, self.sequence, self.rows = inputs, sequence, rows
        self.key_head = (*sequence, key_head)
        self.heads = slice(key_head * inputs.group, (key_head + 1) * inputs.group)
        self.q = self.take(inputs.q) * inputs.scale

    def take(self, x):
        """The rows of x (..., H, T, anything) that belong to this block, stacked."""
        part = x[self.sequence][self.heads, self.rows]
        return part.reshape(part.shape[0] * part.shape[1], *part.shape[2:])

    def put(self, x, rows):
        """Write stacked rows back to where ``take`` finds them."""
        target = x[self.sequence]
        target[self.heads, self.rows] = rows.reshape(target[self.heads, self.rows].shape)

    def for_each_row(self, per_head):
        """One number a head to one a row."""
        return namespace(per_head).repeat(per_head[self.heads], self.rows.stop - self.rows.start)

    def tiles(self):
        """The tiles of keys that these queries can reach."""
        for columns, inside in self._reach():
            for start in range(columns.start, columns.stop, COLUMNS):
                yield _Tile(self, slice(start, min(start + COLUMNS, columns.stop)), inside)

    def _reach(self):
        """Pairs (columns, whether positions let every query here attend all of them).

        Positions ascend. So the keys that some query reaches are one stretch, low..high, and those
        that all of them reach another inside it, full_low..full_high.
        """
        inputs = self.inputs
        if not inputs.causal and inputs.window is None:
            return [(slice(0, inputs.keys), True)]
        at = inputs.q_positions[self.sequence][self.rows]
        keys = inputs.k_positions[self.sequence]
        first, last, window = int(at.min()), int(at.max()), inputs.window
        low = full_low = 0
        if window is not None:  # a key is near enough once its position is above q − window
            low, full_low = _count(keys, first - window), _count(keys, last - window)
        if inputs.causal:
            full_high, high = _count(keys, first), _count(keys, last)
        else:
            full_high, high = _count(keys, first + window - 1), _count(keys, last + window - 1)
        if full_low >= full_high:
            return [(slice(low, high), False)]
        parts = [(low, full_low, False), (full_low, full_high, True), (full_high, high, False)]
        return [(slice(start, stop), inside) for start, stop, inside in parts if start < stop]


class _Tile:
    """The scores of a block of queries with a tile of keys."""

    def __init__(self, block, columns, inside):
        self.block, self.columns = block, columns
        self.allowed = self._allowed(inside)

    def _allowed(self, inside):
        """The boolean (rows, columns) of open pairs, or None where all are."""
        inputs, block = self.block.inputs, self.block
        mask = None if inputs.mask is None else self._cut(inputs.mask)
        if inside:
            return mask
        at = inputs.q_positions[block.sequence][block.rows]
        keys = inputs.k_positions[block.sequence][self.columns]
        open_pairs = may_attend(None, at, keys, causal=inputs.causal, window=inputs.window)
        open_pairs = namespace(at).tile(open_pairs, (inputs.group, 1))
        return open_pairs if mask is None else open_pairs & mask

    def _cut(self, x):
        """This tile of x (..., H, T, S), its heads stacked."""
        part = x[self.block.sequence][self.block.heads, self.block.rows, self.columns]
        return part.reshape(-1, part.shape[-1])

    def queries(self):
        """The rows of scaled queries; what those that see nothing of this tile hold is kept out."""
        return without_closed(self.block.q, self.allowed)

    def scores(self):
        """The scores after scale, soft cap, bias and mask; and the cap's slope, or None."""
        inputs, xp = self.block.inputs, namespace(self.block.q)
        keys = inputs.k[self.block.key_head][self.columns]
        if self.allowed is None:
            s = self.block.q @ keys.T
        else:
            s = match(self.queries()[None], keys[None], self.allowed)[0]
        cap_slope = None if inputs.softcap is None else cap(s, inputs.softcap)
        if inputs.bias is not None:
            s += self._cut(inputs.bias)
        if self.allowed is not None:
            s = xp.where(self.allowed, s, -math.inf)
        return s, cap_slope

    def kept(self):
        """What dropout multiplies this tile with: 0, or the factor that makes up for it."""
        inputs, block = self.block.inputs, self.block
        places = (*block.sequence, block.heads, block.rows, self.columns)
        keep = inputs.drop.keep_part(block.q, inputs.full, places)
        return keep.reshape(-1, keep.shape[-1]) * block.q.dtype.type(inputs.drop.upscale)

    def add_to(self, gbias, gs):
        """Add the gradient of this tile's scores to the bias, summed where it was broadcast."""
        block = self.block
        part = gs.reshape(block.inputs.group, -1, gs.shape[-1])
        full = (*block.sequence, block.heads, block.rows, self.columns)
        lacking = len(full) - gbias.ndim
        where = tuple(
            at if gbias.shape[i] != 1 else (0 if isinstance(at, int) else slice(0, 1))
            for i, at in enumerate(full[lacking:])
        )
        target = gbias[(*where, ...)]  # a view, even of a bias that is one number
        target += sum_to(part, target.shape)


def _count(sorted_values, limit):
    """How many of the ascending ``sorted_values`` are at most ``limit``."""
    return int((sorted_values <= limit).sum())
