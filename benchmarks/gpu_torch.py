"""PyTorch, in eager mode, as ``benchmarks.gpu`` measures it: the same work as in ``gpu_ours``."""

import torch
from torch import nn
from torch.nn import functional

DEVICE = "cuda"


def synchronize():
    """Wait until all is done."""
    torch.cuda.synchronize()


def copy(rows, width):
    """One array into another."""
    x, y = torch.zeros(rows, width, device=DEVICE), torch.zeros(rows, width, device=DEVICE)
    return lambda: y.copy_(x)


def op(name, rows, width):
    """One op over rows of float32: forward, or, of "gelu, back", the way back alone."""
    kind, _, way = name.partition(", ")
    x, other = (torch.randn(rows, width, device=DEVICE, requires_grad=bool(way)) for _ in range(2))
    weight, bias = (torch.ones(width, device=DEVICE, requires_grad=bool(way)) for _ in range(2))
    ids = torch.randint(0, width, (rows,), device=DEVICE)
    work, wanted = {
        "softmax": (lambda: functional.softmax(x, -1), [x]),
        "layer_norm": (
            lambda: functional.layer_norm(x, (width,), weight, bias),
            [x, weight, bias],
        ),
        "rms_norm": (lambda: functional.rms_norm(x, (width,), weight), [x, weight]),
        "gelu": (lambda: functional.gelu(x), [x]),
        "dropout": (lambda: functional.dropout(x, 0.1), [x]),
        "swiglu": (lambda: functional.silu(x) * other, [x, other]),
        "cross_entropy": (lambda: functional.cross_entropy(x, ids), [x]),
    }[kind]
    if not way:
        return work
    y = work()
    g = torch.ones_like(y)
    return lambda: torch.autograd.grad(y, wanted, g, retain_graph=True)


def step(vocabulary, length, layers, heads, width, batch, tf32=False, is_mixed=False):
    """A whole step of training, the batch sent anew each time, the loss not read."""
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    model = GPT(vocabulary, length, layers, heads, width).to(DEVICE)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    ids = torch.randint(0, vocabulary, (batch, length + 1))

    def work():
        inputs, targets = ids[:, :-1].to(DEVICE), ids[:, 1:].to(DEVICE)
        optimizer.zero_grad()
        with torch.autocast(DEVICE, torch.float16, enabled=is_mixed):
            logits = model(inputs)
            loss = functional.cross_entropy(logits.reshape(-1, vocabulary), targets.reshape(-1))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return work


class GPT(nn.Module):
    """The model of ``models/gpt.py``, layer by layer."""

    def __init__(self, vocabulary, length, layers, heads, width):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
        self.blocks = nn.ModuleList(Block(heads, width) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, ids):
        """Logits (B, T, V) of ids (B, T)."""
        x = self.tokens(ids) + self.positions.weight[: ids.shape[1]]
        for block in self.blocks:
            x = block(x)
        return functional.linear(self.norm(x), self.tokens.weight)


class Block(nn.Module):
    """Attention, then the mlp, each added to what it read."""

    def __init__(self, heads, width):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        """(B, T, D) → (B, T, D)."""
        h = self.norm1(x)
        q, k, v = (
            f(h).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for f in (self.query, self.key, self.value)
        )
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).flatten(-2))
        return x + self.down(functional.gelu(self.up(self.norm2(x)), approximate="tanh"))
