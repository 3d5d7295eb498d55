"""We without our engine: the kernels that ``models.GPT`` runs, in its order, called by hand.

No tape, no tensors, no checks, and sums in place, for here it is plain whose array is whose. What
the step of ``ours`` takes beyond this is what the engine costs.
"""

import math

from tinygrad_attn import optim, tensor
from tinygrad_attn.backend import get_backend, quiet
from tinygrad_attn.core import Tensor
from tinygrad_attn.ops.attention import DENSE_LIMIT
from tinygrad_attn.ops.fused.attention_packed import _packed_attention
from tinygrad_attn.ops.fused.cross_entropy import _surprise
from tinygrad_attn.ops.fused.embedding import _embedding
from tinygrad_attn.ops.fused.linear import _linear
from tinygrad_attn.ops.fused.linear_packed import _packed_linear
from tinygrad_attn.ops.fused.norm import _layer_norm

from .problem import ADAMW, LAYER_NORM_EPS

backend = get_backend("cpu")
xp = backend.xp


def kernel(op):
    """The kernel that the engine would pick for ``op``."""
    return backend.kernels.get(op.name, op.forward)


def run(op, *arrays, **options):
    """(y, backward) of that kernel; every array that can have a gradient wants one."""
    if op._is_told:
        pairs = enumerate(arrays)
        options["needs"] = tuple([i in op.differentiable and x is not None for i, x in pairs])
    return kernel(op)(*arrays, **options)


class Run:
    """The weights, as raw arrays, and the optimizer over them."""

    def __init__(self, problem, threads):
        self.sizes, self.ids, self.target = problem.sizes, problem.ids, problem.target
        self.parameters = {
            name: tensor(w, requires_grad=True) for name, w in problem.weights.items()
        }
        self.weights = {name: p.data for name, p in self.parameters.items()}
        self.optimizer = optim.AdamW(self.parameters.values(), **ADAMW)

    def step(self):
        """Forward, backward and update; returns the loss."""
        loss, gradients = self.gradients()
        for name, p in self.parameters.items():
            p.grad = Tensor(gradients[name])
        self.optimizer.step()
        return loss

    @quiet
    def gradients(self):
        """(the loss, {name: gradient})."""
        self.found = {}
        V, T, B, _, L, _ = self.sizes
        x, back_tokens = run(_embedding, self.ids, self.weights["tokens.weight"])
        x += self.weights["positions.weight"][:T]
        back = []
        for i in range(L):
            x, back_attention = self._attention(f"blocks.{i}", x)
            x, back_mlp = self._mlp(f"blocks.{i}", x)
            back += [back_attention, back_mlp]
        x, back_norm = self._norm("norm", x)
        logits, back_head = run(_linear, x, self.weights["tokens.weight"], None, None)
        loss, back_loss = self._loss(logits.reshape(B * T, V))

        gx, head, *_ = back_head(back_loss().reshape(B, T, V))
        gx = back_norm(gx)
        for go_back in reversed(back):
            gx = go_back(gx)
        self.found["positions.weight"] = gx.sum(axis=0)
        head += back_tokens(gx)[0]
        self.found["tokens.weight"] = head
        return loss, self.found

    def _linear(self, name, x, residual=None, activation=None):
        w, b = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        y, back = run(_linear, x, w, b, residual, activation=activation)

        def backward(g):  # the residual's gradient is g itself; whoever passed it adds it
            gx, self.found[f"{name}.weight"], self.found[f"{name}.bias"], _ = back(g)
            return gx

        return y, backward

    def _norm(self, name, x):
        w, b = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        y, back = run(_layer_norm, x, w, b, eps=LAYER_NORM_EPS, axes=(2,))

        def backward(g):
            gx, self.found[f"{name}.weight"], self.found[f"{name}.bias"] = back(g)
            return gx

        return y, backward

    def _attention(self, block, x):
        """x + attention(norm1(x))."""
        _, T, _, D, _, H = self.sizes
        h, back_norm = self._norm(f"{block}.norm1", x)
        names = [f"{block}.attention.{part}" for part in ("query", "key", "value")]
        parts = [f"{name}.{kind}" for kind in ("weight", "bias") for name in names]
        qkv, back_qkv = run(_packed_linear, h, *[self.weights[part] for part in parts])
        sizes = {"heads": H, "kv_heads": H, "path": "dense" if T * T <= DENSE_LIMIT else "tiled"}
        rules = {"causal": True, "window": None, "scale": 1 / math.sqrt(D // H), "softcap": None}
        y, back_y = run(_packed_attention, qkv, *[None] * 5, **sizes, **rules, drop=None)
        y, back_out = self._linear(f"{block}.attention.out", y, residual=x)

        def backward(g):
            gh, *found = back_qkv(back_y(back_out(g))[0])
            self.found.update(zip(parts, found))
            gx = back_norm(gh)
            gx += g
            return gx

        return y, backward

    def _mlp(self, block, x):
        """x + mlp(norm2(x))."""
        h, back_norm = self._norm(f"{block}.norm2", x)
        h, back_up = self._linear(f"{block}.mlp.up", h, activation="gelu_tanh")
        y, back_down = self._linear(f"{block}.mlp.down", h, residual=x)

        def backward(g):
            gx = back_norm(back_up(back_down(g)))
            gx += g
            return gx

        return y, backward

    def _loss(self, logits):
        """The mean surprise, and the way back from it to the logits."""
        options = {"smoothing": 0.0, "ignore_index": -100, "reduction": "mean"}
        loss, back = run(_surprise, logits, self.target.reshape(-1), None, **options)
        return float(loss), lambda: back(xp.ones((), logits.dtype))[0]
