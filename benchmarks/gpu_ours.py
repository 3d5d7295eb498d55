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
    """One fused op over rows of float32: forward, or, of "gelu, back", the way back alone."""
    kind, _, way = name.partition(", ")
    x, other = (waves(rows, width).requires_grad_(bool(way)) for _ in range(2))
    weight, bias = (ta.ones(width, device=DEVICE).requires_grad_(bool(way)) for _ in range(2))
    ids = ta.randint(0, width, (rows,), device=DEVICE)
    work, wanted = {
        "softmax": (lambda: ta.softmax(x, axis=-1), [x]),
        "layer_norm": (lambda: ta.layer_norm(x, weight, bias), [x, weight, bias]),
        "rms_norm": (lambda: ta.rms_norm(x, weight), [x, weight]),
        "gelu": (lambda: ta.gelu(x), [x]),
        "dropout": (lambda: ta.dropout(x, 0.1), [x]),
        "swiglu": (lambda: ta.swiglu(x, other), [x, other]),
        "cross_entropy": (lambda: ta.cross_entropy(x, ids), [x]),
    }[kind]
    return back(work(), wanted) if way else work


def waves(rows, width):
    """Numbers in −3..3, made on the device: to draw half a gigabyte on the host takes too long."""
    return (3 * ta.sin(ta.arange(0.0, rows * width, device=DEVICE))).reshape(rows, width).detach()


def back(y, wanted):
    """The way back from y, again and again."""
    g = ta.ones_like(y)
    return lambda: ta.grad(y, wanted, g, retain_graph=True)


def step(vocabulary, length, layers, heads, width, batch, tf32=False, is_mixed=False):
    """A whole step of training, the batch sent anew each time, the loss not read.

    Mixed with float16 a loss wants a factor (``GradScaler``), which is left out on both sides.
    """
    ta.set_matmul_precision("high" if tf32 else "highest")
    model = GPT(GPTConfig(vocabulary, length, n_layer=layers, n_head=heads, n_embd=width))
    model = model.to(DEVICE)
    optimizer = AdamW(model.parameters(), lr=1e-3)
    ids = ta.randint(0, vocabulary, (batch, length + 1)).numpy()

    def work():
        inputs, targets = (ta.tensor(x, device=DEVICE) for x in (ids[:, :-1], ids[:, 1:]))
        optimizer.zero_grad()
        with ta.autocast("float16", enabled=is_mixed):
            loss = ta.cross_entropy(model(inputs), targets)
        loss.backward()
        clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return work
