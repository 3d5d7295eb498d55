"""HIPS autograd: the model in ``autograd.numpy``, AdamW in NumPy."""

import math

import autograd.numpy as anp
import numpy as np
from autograd import value_and_grad

from .problem import ADAMW, LAYER_NORM_EPS


class Run:
    """The weights and AdamW's means."""

    def __init__(self, problem, threads):
        self.weights = {name: w.copy() for name, w in problem.weights.items()}
        self.means = {name: np.zeros_like(w) for name, w in self.weights.items()}
        self.squares = {name: np.zeros_like(w) for name, w in self.weights.items()}
        self.value_and_gradients = value_and_grad(lambda weights: _loss(problem, weights))
        self.steps = 0

    def step(self):
        """Forward, backward and update; returns the loss."""
        loss, gradients = self.gradients()
        self.steps += 1
        lr, (beta1, beta2), eps = ADAMW["lr"], ADAMW["betas"], ADAMW["eps"]
        for name, w in self.weights.items():
            g, m, v = gradients[name], self.means[name], self.squares[name]
            m += (1 - beta1) * (g - m)
            v += (1 - beta2) * (g * g - v)
            w *= 1 - lr * ADAMW["weight_decay"]
            width = np.sqrt(v) / math.sqrt(1 - beta2**self.steps) + eps
            w -= lr / (1 - beta1**self.steps) * m / width
        return loss

    def gradients(self):
        """(the loss, {name: gradient})."""
        loss, gradients = self.value_and_gradients(self.weights)
        return float(loss), gradients


def _loss(problem, weights):
    """The mean cross entropy of the batch."""
    V, T, B, _, L, _ = problem.sizes
    x = weights["tokens.weight"][problem.ids] + weights["positions.weight"][:T]
    for i in range(L):
        x = _block(problem.sizes, weights, f"blocks.{i}", x)
    logits = _norm(weights, "norm", x) @ weights["tokens.weight"].T
    logits = logits.reshape(B * T, V)
    logits = logits - anp.max(logits, axis=1, keepdims=True)
    at_target = logits[np.arange(B * T), problem.target.reshape(-1)]
    return anp.mean(anp.log(anp.sum(anp.exp(logits), axis=1)) - at_target)


def _block(sizes, weights, block, x):
    """x + attention(norm1(x)), then x + mlp(norm2(x))."""
    h = _norm(weights, f"{block}.norm1", x)
    x = x + _attention(sizes, weights, f"{block}.attention", h)
    h = _linear(weights, f"{block}.mlp.up", _norm(weights, f"{block}.norm2", x))
    return x + _linear(weights, f"{block}.mlp.down", _gelu(h))


def _attention(sizes, weights, layer, x):
    """Causal attention with all scores at once."""
    _, T, B, D, _, H = sizes
    q, k, v = (
        anp.swapaxes(_linear(weights, f"{layer}.{name}", x).reshape(B, T, H, D // H), 1, 2)
        for name in ("query", "key", "value")
    )
    future = np.triu(np.full((T, T), -np.inf, np.float32), 1)
    scores = q @ anp.swapaxes(k, 2, 3) * (D // H) ** -0.5 + future
    e = anp.exp(scores - anp.max(scores, axis=3, keepdims=True))
    y = e / anp.sum(e, axis=3, keepdims=True) @ v
    return _linear(weights, f"{layer}.out", anp.swapaxes(y, 1, 2).reshape(B, T, D))


def _linear(weights, name, x):
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def _norm(weights, name, x):
    x = x - anp.mean(x, axis=2, keepdims=True)
    x = x / anp.sqrt(anp.mean(x * x, axis=2, keepdims=True) + LAYER_NORM_EPS)
    return x * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def _gelu(x):
    return 0.5 * x * (1 + anp.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))
