"""PyTorch in eager mode, written as nanoGPT and its kin write it: one product for q, k and v."""

import torch
from torch import nn
from torch.nn import functional as F

from .problem import ADAMW, LAYER_NORM_EPS

QKV = ("query", "key", "value")


class Block(nn.Module):
    """x + attention(norm1(x)), then x + mlp(norm2(x))."""

    def __init__(self, D, H):
        super().__init__()
        self.H = H
        self.norm1, self.norm2 = (nn.LayerNorm(D, eps=LAYER_NORM_EPS) for _ in range(2))
        self.qkv, self.out = nn.Linear(D, 3 * D), nn.Linear(D, D)
        self.up, self.down = nn.Linear(D, 4 * D), nn.Linear(4 * D, D)

    def forward(self, x):
        """(B, T, D) → (B, T, D)."""
        B, T, D = x.shape
        q, k, v = (
            part.view(B, T, self.H, D // self.H).transpose(1, 2)
            for part in self.qkv(self.norm1(x)).split(D, dim=2)
        )
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(B, T, D))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


class GPT(nn.Module):
    """The model of the problem; the head is the table of tokens."""

    def __init__(self, V, T, D, L, H):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(V, D), nn.Embedding(T, D)
        self.blocks = nn.ModuleList([Block(D, H) for _ in range(L)])
        self.norm = nn.LayerNorm(D, eps=LAYER_NORM_EPS)

    def forward(self, ids):
        """(B, T) → (B, T, V)."""
        x = self.tokens(ids) + self.positions.weight[: ids.shape[1]]
        for block in self.blocks:
            x = block(x)
        return F.linear(self.norm(x), self.tokens.weight)


class Run:
    """The model and its optimizer."""

    def __init__(self, problem, threads, fused=False, compiled=False):
        torch.set_num_threads(threads)
        V, T, _, D, L, H = problem.sizes
        self.plain = GPT(V, T, D, L, H)
        self.plain.load_state_dict(_to_torch(problem.weights))
        self.model = torch.compile(self.plain) if compiled else self.plain
        self.optimizer = torch.optim.AdamW(self.plain.parameters(), **ADAMW, fused=fused or None)
        self.ids, self.target = torch.tensor(problem.ids), torch.tensor(problem.target)

    def loss(self):
        """The mean cross entropy of the batch."""
        return F.cross_entropy(self.model(self.ids).flatten(0, 1), self.target.flatten())

    def step(self):
        """Forward, backward and update; returns the loss."""
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss()
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def gradients(self):
        """(the loss, {name: gradient})."""
        loss = self.loss()
        loss.backward()
        found = {name: p.grad.numpy() for name, p in self.plain.named_parameters()}
        return loss.item(), _from_torch(found)


def _to_torch(weights):
    """The weights by PyTorch's names: query, key and value under one another, in ``qkv``."""
    state = {}
    for name, weight in weights.items():
        weight = torch.from_numpy(weight)
        name = name.replace("mlp.", "").replace("attention.out", "out")
        for part in QKV:
            name = name.replace(f"attention.{part}", "qkv")
        state[name] = torch.cat([state[name], weight]) if name in state else weight
    return state


def _from_torch(found):
    """Gradients by the names of the problem: the way back of ``_to_torch``."""
    gradients = {}
    for name, g in found.items():
        block, dot, layer = name.rpartition("qkv")
        if dot:
            for part, third in zip(QKV, g.reshape(3, -1, *g.shape[1:])):
                gradients[f"{block}attention.{part}{layer}"] = third
        else:
            name = name.replace("up.", "mlp.up.").replace("down.", "mlp.down.")
            gradients[name.replace(".out.", ".attention.out.")] = g
    return gradients
