"""This package, as ``benchmarks.gpu`` measures it: each function prepares, and returns the work."""

import tinygrad_attn as ta
from tinygrad_attn.backend import get_backend
from tinygrad_attn.models import GPT, GPTConfig
from tinygrad_attn.optim import AdamW, clip_grad_norm_

DEVICE = "cuda"


def synchronize():
    """Wait until all is done."""
    get_backend(DEVICE).synchronize()


def copy(rows, width):
    """One array into another."""
    x, y = ta.zeros(rows, width, device=DEVICE).data, ta.zeros(rows, width, device=DEVICE).data

    def work():
        y[...] = x

    return work


def op(name, rows, width):
    """One fused op over rows of float32, forward."""
    x = ta.randn(rows, width, device=DEVICE)
    ones, ids = ta.ones(width, device=DEVICE), ta.randint(0, width, (rows,), device=DEVICE)
    return {
        "softmax": lambda: ta.softmax(x, axis=-1),
        "layer_norm": lambda: ta.layer_norm(x, ones, ones),
        "gelu": lambda: ta.gelu(x),
        "cross_entropy": lambda: ta.cross_entropy(x, ids),
    }[name]


def step(vocabulary, length, layers, heads, width, batch, tf32=False):
    """A whole step of training, the batch sent anew each time, the loss not read."""
    ta.set_matmul_precision("high" if tf32 else "highest")
    model = GPT(GPTConfig(vocabulary, length, n_layer=layers, n_head=heads, n_embd=width))
    model = model.to(DEVICE)
    optimizer = AdamW(model.parameters(), lr=1e-3)
    ids = ta.randint(0, vocabulary, (batch, length + 1)).numpy()

    def work():
        inputs, targets = (ta.tensor(x, device=DEVICE) for x in (ids[:, :-1], ids[:, 1:]))
        optimizer.zero_grad()
        ta.cross_entropy(model(inputs), targets).backward()
        clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return work


def attention(length, heads, width, back):
    """Causal attention in float16. Raises: NotImplementedError without a fused kernel for it.

    The portable tiles would take minutes at this length.
    """
    if not any("attention" in name for name in get_backend(DEVICE).kernels):
        raise NotImplementedError("there is no fused kernel of attention yet")
    q, k, v = (
        ta.randn(1, heads, length, width, device=DEVICE).astype("float16").requires_grad_(back)
        for _ in range(3)
    )
    seed = ta.ones(1, heads, length, width, device=DEVICE).astype("float16")

    def work():
        y = ta.scaled_dot_product_attention(q, k, v, causal=True)
        if back:
            ta.grad(y, [q, k, v], seed)

    return work
