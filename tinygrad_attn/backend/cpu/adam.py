"""Adam's step on the CPU: many parameters as one long vector, in blocks.

The running means m of all parameters lie end to end in one array, the v in another. A block of them
meets the gradients that belong to it, gathered from as many parameters as it takes, so that a
hundred small biases cost hardly more calls than one large matrix, and what is worked out in between
stays in the cache.

The corrections of the means are numbers, so they are taken out of the array. With r = √(1 − β₂ᵗ)

    lr·m̂ / (√v̂ + eps)  =  lr·r/(1 − β₁ᵗ) · m / (√v + eps·r)
"""

import math

import numpy as np

from .threads import share

__all__ = ["adam"]

BLOCK = 32768  # five arrays go by at once


def adam(ps, gs, m, v, *, step, lr, beta1, beta2, eps, decay, is_decoupled):
    """One step of Adam in place; ``m`` and ``v`` hold the means of all ``ps``, end to end."""
    r = math.sqrt(1 - beta2**step)
    length, eps = lr / (1 - beta1**step) * r, eps * r

    def advance(block):
        start, pieces = block
        g = _gather([piece for _, piece in pieces], m.dtype)
        w, part = np.empty_like(g), slice(start, start + g.size)
        if decay and not is_decoupled:
            np.multiply(_gather([piece for piece, _ in pieces], m.dtype), decay, out=w)
            g = w + g
        m_part, v_part = m[part], v[part]
        np.multiply(g, 1 - beta1, out=w)
        m_part *= beta1
        m_part += w
        np.multiply(g, g, out=w)
        w *= 1 - beta2
        v_part *= beta2
        v_part += w
        np.sqrt(v_part, out=w)
        w += eps
        np.divide(m_part, w, out=w)
        w *= length
        for p, _ in pieces:
            if decay and is_decoupled:
                p *= 1 - lr * decay
            p -= w[: p.size]
            w = w[p.size :]

    flat_ps = [p.reshape(-1) for p in ps]
    share(advance, list(_blocks(flat_ps, gs)))
    for p, flat in zip(ps, flat_ps):
        if not p.flags.c_contiguous:  # then flat is a copy of it
            p[...] = flat.reshape(p.shape)


def _gather(pieces, dtype):
    """The pieces end to end: a single one as it is, several in a new array."""
    if len(pieces) == 1 and pieces[0].dtype == dtype:
        return pieces[0]
    return np.concatenate(pieces, dtype=dtype)


def _blocks(ps, gs):
    """(where it starts, [(piece of a parameter, piece of its gradient)]) for each block."""
    start = size = 0
    pieces = []
    for p, g in zip(ps, gs):
        flat_g = g.reshape(-1)
        for at in range(0, p.size, BLOCK):
            p_piece, g_piece = p[at : at + BLOCK], flat_g[at : at + BLOCK]
            if size + p_piece.size > BLOCK:
                yield start, pieces
                start, size, pieces = start + size, 0, []
            pieces.append((p_piece, g_piece))
            size += p_piece.size
    if pieces:
        yield start, pieces
