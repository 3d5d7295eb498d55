"""JAX: pure functions, one ``jit`` around the whole step, its buffers given back to it."""

from functools import partial

import jax
from jax import numpy as jnp

from .problem import ADAMW, LAYER_NORM_EPS


class Run:
    """The weights, AdamW's means, and the compiled step over them."""

    def __init__(self, problem, threads):
        self.weights = {name: jnp.array(w) for name, w in problem.weights.items()}
        self.means = {name: jnp.zeros_like(w) for name, w in self.weights.items()}
        self.squares = {name: jnp.zeros_like(w) for name, w in self.weights.items()}
        self.batch = jnp.array(problem.ids, jnp.int32), jnp.array(problem.target, jnp.int32)
        self.loss = partial(_loss, problem.sizes)
        self.update = jax.jit(partial(_update, self.loss), donate_argnums=(0, 1, 2))
        self.steps = 0

    def step(self):
        """Forward, backward and update; returns the loss."""
        self.steps += 1
        loss, *state = self.update(self.weights, self.means, self.squares, self.steps, *self.batch)
        self.weights, self.means, self.squares = jax.block_until_ready(state)
        return float(loss)

    def gradients(self):
        """(the loss, {name: gradient})."""
        loss, found = jax.jit(jax.value_and_grad(self.loss))(self.weights, *self.batch)
        return float(loss), found


def _update(loss, weights, means, squares, t, ids, target):
    """One step of AdamW: the loss, and the new weights, means and means of squares."""
    value, gradients = jax.value_and_grad(loss)(weights, ids, target)
    lr, (beta1, beta2), eps = ADAMW["lr"], ADAMW["betas"], ADAMW["eps"]
    means = jax.tree.map(lambda m, g: beta1 * m + (1 - beta1) * g, means, gradients)
    squares = jax.tree.map(lambda v, g: beta2 * v + (1 - beta2) * g * g, squares, gradients)

    def moved(w, m, v):
        step = m / (1 - beta1**t) / (jnp.sqrt(v / (1 - beta2**t)) + eps)
        return w * (1 - lr * ADAMW["weight_decay"]) - lr * step

    return value, jax.tree.map(moved, weights, means, squares), means, squares


def _loss(sizes, weights, ids, target):
    """The mean cross entropy of the batch."""
    x = weights["tokens.weight"][ids] + weights["positions.weight"][: sizes.T]
    for i in range(sizes.L):
        x = _block(sizes, weights, f"blocks.{i}", x)
    logits = _norm(weights, "norm", x) @ weights["tokens.weight"].T
    at_target = jnp.take_along_axis(logits, target[..., None], axis=2)[..., 0]
    return (jax.nn.logsumexp(logits, axis=2) - at_target).mean()


def _block(sizes, weights, block, x):
    """x + attention(norm1(x)), then x + mlp(norm2(x))."""
    _, T, B, D, _, H = sizes
    h = _norm(weights, f"{block}.norm1", x)
    layers = [f"{block}.attention.{name}" for name in ("query", "key", "value")]
    w = jnp.concatenate([weights[f"{layer}.weight"] for layer in layers])
    b = jnp.concatenate([weights[f"{layer}.bias"] for layer in layers])
    q, k, v = jnp.moveaxis((h @ w.T + b).reshape(B, T, 3, H, D // H), 2, 0)
    y = jax.nn.dot_product_attention(q, k, v, is_causal=True).reshape(B, T, D)
    x = x + _linear(weights, f"{block}.attention.out", y)
    h = _linear(weights, f"{block}.mlp.up", _norm(weights, f"{block}.norm2", x))
    return x + _linear(weights, f"{block}.mlp.down", jax.nn.gelu(h, approximate=True))


def _linear(weights, name, x):
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def _norm(weights, name, x):
    x = jax.nn.standardize(x, axis=-1, epsilon=LAYER_NORM_EPS)
    return x * weights[f"{name}.weight"] + weights[f"{name}.bias"]
