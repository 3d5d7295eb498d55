"""The layers of ``bare``: each knows its weights, its gradients, and the arrays that it needs.

What ``forward`` and ``backward`` return is written again in the next step.
"""

import math

import numpy as np

from .problem import LAYER_NORM_EPS

__all__ = ["BLOCK", "Block", "Norm", "new"]

BLOCK = 65536  # elements that are worked through at a time, so that they stay in the cache
SCORES = 131072  # the same for attention, which holds fewer arrays
QUERIES = 64


def new(*shape):
    """Room for float32 numbers."""
    return np.empty(shape, np.float32)


def blocks(array):
    """The slices of its rows that hold about a block each."""
    step = max(BLOCK // array[0].size, 1)
    return [slice(start, start + step) for start in range(0, len(array), step)]


class Linear:
    """y = activation(x·Wᵀ + b) + residual."""

    def __init__(self, weights, grads, name, rows, is_gelu=False):
        (self.w, self.b), (self.gw, self.gb) = weights.layer(name), grads.layer(name)
        self.y, self.gx = new(rows, len(self.w)), new(rows, self.w.shape[1])
        self.slope = new(rows, len(self.w)) if is_gelu else None
        self.blocks = blocks(self.y)

    def forward(self, x, residual=None):
        """The result, in an array that the next step writes again."""
        self.x = x
        np.matmul(x, self.w.T, out=self.y)
        for part in self.blocks:
            y = self.y[part]
            y += self.b
            if self.slope is not None:
                gelu(y, self.slope[part])
            if residual is not None:
                y += residual[part]
        return self.y

    def backward(self, g):
        """The gradient of x; with a gelu, g is written over."""
        if self.slope is not None:
            for part in self.blocks:
                g[part] *= self.slope[part]
        np.matmul(g.T, self.x, out=self.gw)
        np.matmul(np.ones(len(g), g.dtype), g, out=self.gb)
        return np.matmul(g, self.w, out=self.gx)


def gelu(x, slope):
    """x·Φ(x) in its tanh form, in place, and its slope."""
    a, b = math.sqrt(2 / math.pi), math.sqrt(2 / math.pi) * 0.044715
    square, rise = x * x, new(*x.shape)
    t = square * np.float32(b)
    t += np.float32(a)
    t *= x
    np.tanh(t, out=t)
    square *= np.float32(3 * b)
    square += np.float32(a)
    square *= x  # x·u′ of tanh(u)
    np.multiply(t, t, out=rise)
    np.subtract(1, rise, out=rise)
    rise *= square
    t += 1
    rise += t
    np.multiply(rise, 0.5, out=slope)
    x *= t
    x *= 0.5


class Norm:
    """y = x̂·w + b of each row."""

    def __init__(self, weights, grads, name, rows):
        (self.w, self.b), (self.gw, self.gb) = weights.layer(name), grads.layer(name)
        width = len(self.w)
        self.unit, self.y, self.gx, self.inverse = (new(rows, n) for n in (width, width, width, 1))
        self.mean = np.full((width, 1), 1 / width, np.float32)  # to multiply with
        self.blocks = blocks(self.y)

    def forward(self, x):
        """The result; x̂ is kept."""
        for part in self.blocks:
            unit, inverse, y = self.unit[part], self.inverse[part], self.y[part]
            np.subtract(x[part], x[part] @ self.mean, out=unit)
            inverse[...] = 1 / np.sqrt(np.multiply(unit, unit, out=y) @ self.mean + LAYER_NORM_EPS)
            unit *= inverse
            np.multiply(unit, self.w, out=y)
            y += self.b
        return self.y

    def backward(self, g, more=None):
        """The gradient of x, plus ``more``; x̂ is written over."""
        spread = self.w[:, None] * self.mean
        self.gw[...] = self.gb[...] = 0
        for part in self.blocks:
            unit, gx, ones = self.unit[part], self.gx[part], np.ones(len(g[part]), g.dtype)
            np.multiply(g[part], unit, out=gx)
            self.gw += ones @ gx
            self.gb += ones @ g[part]
            along = gx @ spread
            np.multiply(g[part], self.w, out=gx)
            gx -= g[part] @ spread
            unit *= along
            gx -= unit
            gx *= self.inverse[part]
            if more is not None:
                gx += more[part]
        return self.gx


class Attention:
    """Causal attention of all heads, some sequences and queries at a time; the weights are kept."""

    def __init__(self, sizes):
        self.sizes = _, T, B, D, _, H = sizes
        E, step = D // H, min(QUERIES, T)
        self.scale = 1 / math.sqrt(E)
        self.q, self.k, self.v, self.gy = (new(B, H, T, E) for _ in range(4))
        self.k_across, self.v_across = new(B, H, E, T), new(B, H, E, T)
        self.y, self.gx = new(B * T, D), new(B * T, 3 * D)
        self.open = -np.tril(np.ones((step, step), np.int32))  # −1 has all bits, 0 none
        some = max(SCORES // (H * step * T), 1)
        self.blocks = [  # (sequences, queries, the keys that they reach)
            (slice(n, n + some), slice(t, t + step), slice(0, t + step))
            for n in range(0, B, some)
            for t in reversed(range(0, T, step))
        ]
        self.weights = [
            new(len(range(B)[n]), H, rows.stop - rows.start, columns.stop)
            for n, rows, columns in self.blocks
        ]

    def forward(self, qkv):
        """(B·T, 3·D) → (B·T, D)."""
        _, T, B, _, _, H = self.sizes
        parts = qkv.reshape(B, T, 3, H, -1).transpose(2, 0, 3, 1, 4)
        for place, part in zip((self.q, self.k, self.v), parts):
            place[...] = part
        self.k_across[...] = self.k.swapaxes(-1, -2)
        self.k_across *= self.scale
        self.v_across[...] = self.v.swapaxes(-1, -2)
        y = self.y.reshape(B, T, H, -1).swapaxes(1, 2)
        for (n, rows, columns), e in zip(self.blocks, self.weights):
            np.matmul(self.q[n, :, rows], self.k_across[n, :, :, columns], out=e)
            np.exp(e, out=e)
            e.view(np.int32)[..., rows.start :] &= self.open
            e *= 1 / (e @ np.ones((columns.stop, 1), e.dtype))
            np.matmul(e, self.v[n, :, columns], out=y[n, :, rows])
        return self.y

    def backward(self, g):
        """The gradient of qkv; the weights are written over."""
        _, T, B, _, _, H = self.sizes
        self.gy[...] = g.reshape(B, T, H, -1).swapaxes(1, 2)
        gq, gk, gv = self.gx.reshape(B, T, 3, H, -1).transpose(2, 0, 3, 1, 4)
        for (n, rows, columns), e in zip(self.blocks, self.weights):
            gy, is_first = self.gy[n, :, rows], columns.stop == T
            gs = gy @ self.v_across[n, :, :, columns]
            gs *= e
            add(gv[n, :, columns], e.swapaxes(-1, -2), gy, is_first)
            e *= gs @ np.ones((columns.stop, 1), e.dtype)  # w∘Σ w∘(gy·vᵀ), of the softmax
            gs -= e
            gs *= self.scale
            np.matmul(gs, self.k[n, :, columns], out=gq[n, :, rows])
            add(gk[n, :, columns], gs.swapaxes(-1, -2), self.q[n, :, rows], is_first)
        return self.gx


def add(to, a, b, is_first):
    """to += a·b; if it is the first, what was there before does not count."""
    if is_first:
        np.matmul(a, b, out=to)
    else:
        to += a @ b


class Block:
    """x + attention(norm(x)), and to that x + mlp(norm(x))."""

    def __init__(self, weights, grads, name, sizes):
        rows = sizes.B * sizes.T
        self.norm1, self.norm2 = (Norm(weights, grads, f"{name}.norm{i}", rows) for i in (1, 2))
        self.qkv = Linear(weights, grads, f"{name}.attention.qkv", rows)
        self.attention = Attention(sizes)
        self.out = Linear(weights, grads, f"{name}.attention.out", rows)
        self.up = Linear(weights, grads, f"{name}.mlp.up", rows, is_gelu=True)
        self.down = Linear(weights, grads, f"{name}.mlp.down", rows)

    def forward(self, x):
        """(B·T, D) → the same."""
        h = self.attention.forward(self.qkv.forward(self.norm1.forward(x)))
        x = self.out.forward(h, residual=x)
        return self.down.forward(self.up.forward(self.norm2.forward(x)), residual=x)

    def backward(self, g):
        """The gradient of x."""
        g = self.norm2.backward(self.up.backward(self.down.backward(g)), more=g)
        h = self.qkv.backward(self.attention.backward(self.out.backward(g)))
        return self.norm1.backward(h, more=g)
