"""The step in bare NumPy: what is left when nothing is general, checked or kept safe.

Written for one model, whose large arrays are nearly all made once. Numbers that are not finite,
scores or logits beyond ±88 (of which float32 has no exponential), a T above 64 that is no multiple
of it: nothing here would notice. It uses the same tricks as our kernels
(``docs/10-fast-on-a-cpu.md``), so it shows about what they could reach at most. Its layers are in
``bare_layers``.
"""

import math

import numpy as np

from .bare_layers import BLOCK, Block, Norm, new
from .problem import ADAMW


class Flat:
    """Arrays by name, one after the other in one buffer."""

    def __init__(self, like):
        sizes = [array.size for array in like.values()]
        self.all = np.concatenate([array.ravel() for array in like.values()])
        parts = np.split(self.all, np.cumsum(sizes)[:-1])
        self.by_name = {n: part.reshape(like[n].shape) for n, part in zip(like, parts)}

    def layer(self, name):
        """(weight, bias)."""
        return self.by_name[f"{name}.weight"], self.by_name[f"{name}.bias"]


class Run:
    """The model, the gradients and the moments of AdamW."""

    def __init__(self, problem, threads):
        self.sizes, self.steps = problem.sizes, 0
        self.ids, self.target = problem.ids.ravel(), problem.target.ravel()
        self.weights, self.grads = Flat(joined(problem.weights)), Flat(joined(problem.weights))
        self.moments = [np.zeros_like(self.weights.all) for _ in range(2)]
        V, _, _, D, L, _ = problem.sizes
        rows = len(self.ids)
        both, sizes = (self.weights, self.grads), problem.sizes
        self.blocks = [Block(*both, f"blocks.{i}", sizes) for i in range(L)]
        self.norm, self.x, self.logits = Norm(*both, "norm", rows), new(rows, D), new(rows, V)

    def gradients(self):
        """(the loss, {name: gradient})."""
        return self._loss_and_gradients(), apart(self.grads.by_name)

    def step(self):
        """Forward, backward and update; returns the loss."""
        loss = self._loss_and_gradients()
        self._update()
        return loss

    def _loss_and_gradients(self):
        V, T, B, D, _, _ = self.sizes
        table, rows = self.weights.by_name["tokens.weight"], np.arange(B * T)
        np.take(table, self.ids, axis=0, out=self.x, mode="clip")
        x = self.x
        x.reshape(B, T, D)[...] += self.weights.by_name["positions.weight"]
        for block in self.blocks:
            x = block.forward(x)
        h, e = self.norm.forward(x), self.logits
        np.matmul(h, table.T, out=e)
        chosen = e[rows, self.target]
        np.exp(e, out=e)
        total = e @ np.ones((V, 1), e.dtype)
        loss = float(np.mean(np.log(total[:, 0]) - chosen))
        e *= 1 / (B * T * total)  # which makes it the gradient of the logits, but for the targets
        e[rows, self.target] -= np.float32(1 / (B * T))
        g = self.norm.backward(e @ table)
        for block in reversed(self.blocks):
            g = block.backward(g)
        np.sum(g.reshape(B, T, D), axis=0, out=self.grads.by_name["positions.weight"])
        onehot = np.zeros((B * T, V), np.float32)
        onehot[rows, self.ids] = 1
        np.matmul(e.T, h, out=self.grads.by_name["tokens.weight"])
        self.grads.by_name["tokens.weight"] += onehot.T @ g
        return loss

    def _update(self):
        """AdamW, Loshchilov and Hutter, arXiv:1711.05101; the gradients are written over."""
        self.steps += 1
        lr, (one, two), eps, decay = ADAMW.values()
        first, second = 1 - one**self.steps, math.sqrt(1 - two**self.steps)
        for start in range(0, self.weights.all.size, BLOCK // 2):
            part = slice(start, start + BLOCK // 2)
            w, g, m, v = (x[part] for x in (self.weights.all, self.grads.all, *self.moments))
            m *= one
            m += g * (1 - one)
            g *= g
            g *= 1 - two
            v *= two
            v += g
            np.sqrt(v, out=g)
            g *= 1 / second
            g += eps
            np.divide(m, g, out=g)
            g *= lr / first
            w *= 1 - lr * decay
            w -= g


def joined(weights):
    """The weights, those of query, key and value as one."""
    found = {n: w for n, w in weights.items() if ".key." not in n and ".value." not in n}
    for name in [name for name in found if ".query." in name]:
        parts = [weights[name.replace("query", part)] for part in ("query", "key", "value")]
        found[name.replace("query", "qkv")] = np.concatenate(parts)
        del found[name]
    return found


def apart(joined):
    """The same with the three apart again, as copies."""
    found = {name: array.copy() for name, array in joined.items() if ".qkv." not in name}
    for name in [name for name in joined if ".qkv." in name]:
        for part, array in zip(("query", "key", "value"), np.split(joined[name], 3)):
            found[name.replace("qkv", part)] = array.copy()
    return found
