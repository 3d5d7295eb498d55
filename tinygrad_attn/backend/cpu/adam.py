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

__all__ = ["adam"]

BLOCK = 32768  # five arrays go by at once


def adam(ps, gs, m, v, *, step, lr, beta1, beta2, eps, decay, is_decoupled):
    """One step of Adam in place; ``m`` and ``v`` hold the means of all ``ps``, end to end."""
    r = math.sqrt(1 - beta2**step)
    length, eps = lr / (1 - beta1**step) * r, eps * r
    gathered, work = np.empty((2, min(BLOCK, m.size)), m.dtype)
    for start, pieces in _blocks(ps, gs):
        g = _gather([piece for _, piece in pieces], gathered)
        w, part = work[: g.size], slice(start, start + g.size)
        if decay and not is_decoupled:
            g = g + decay * _gather([piece for piece, _ in pieces], w)
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


def _gather(pieces, out):
    """The pieces end to end: a single one as it is, several in ``out``."""
    if len(pieces) == 1 and pieces[0].dtype == out.dtype:
        return pieces[0]
    size = sum(piece.size for piece in pieces)
    return np.concatenate(pieces, out=out[:size])


def _blocks(ps, gs):
    """(where it starts, [(piece of a parameter, piece of its gradient)]) for each block."""
    start = size = 0
    pieces = []
    for p, g in zip(ps, gs):
        flat_p, flat_g = p.reshape(-1), g.reshape(-1)
        for at in range(0, p.size, BLOCK):
            p_piece, g_piece = flat_p[at : at + BLOCK], flat_g[at : at + BLOCK]
            if size + p_piece.size > BLOCK:
                yield start, pieces
                start, size, pieces = start + size, 0, []
            pieces.append((p_piece, g_piece))
            size += p_piece.size
        if not p.flags.c_contiguous:  # then this was a copy of it
            yield start, pieces
            start, size, pieces = start + size, 0, []
            p[...] = flat_p.reshape(p.shape)
    if pieces:
        yield start, pieces
