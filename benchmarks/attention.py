"""Attention at growing lengths: time forward and back in milliseconds, and peak extra memory in MB.

Causal, float32, batch 1. Memory is what the process's peak grows by beyond its inputs, so each
length runs in a process of its own.
"""

import json
import sys
import time
from statistics import median

from .report import markdown
from .resident import peak_mb
from .rounds import collect, installed, run

__all__ = ["TITLE", "figure_name", "measure", "tables"]

TITLE = "Attention, causal, forward and back"
SHAPES = {  # (heads, width) -> lengths
    (4, 32): (256, 512, 1024, 2048, 4096, 8192, 16384),
    (8, 64): (1024, 4096),
}
DENSE_UP_TO = 4096  # beyond, the whole matrix of weights takes gigabytes


def measure(options):
    """{contestant: {figure: [one number a round]}}; figures have the names of ``figure_name``."""

    def measure_one(contestant):
        figures = {}
        for case in _cases(contestant):
            figures |= run("benchmarks.attention", contestant, *case, threads=options.threads)
        return figures

    return collect(installed(), options.rounds, measure_one)


def _cases(contestant):
    for (heads, width), lengths in SHAPES.items():
        for length in lengths:
            yield "tiled", heads, width, length
            if contestant == "ours" and length <= DENSE_UP_TO:
                yield "dense", heads, width, length


def figure_name(path, heads, width, length, unit):
    """The key of one number in the results."""
    return f"{path} {heads}x{width} {length} {unit}"


def tables(results):
    """A table for each head count and width, a row for each length."""
    return "\n\n".join(_table(results, heads, width) for heads, width in SHAPES)


def _table(results, heads, width):
    head = [f"{heads} heads of {width}"]
    columns = [("ours", "tiled"), ("torch", "tiled"), ("ours", "dense")]
    columns = [(name, path) for name, path in columns if name in results]
    has_peer = "torch" in results
    for unit in ("ms", "MB"):
        head += [f"{unit} {'dense' if path == 'dense' else name}" for name, path in columns]
        head += ["ratio"] if has_peer else []
    rows = []
    for length in SHAPES[heads, width]:
        row = [f"T = {length}"]
        for unit in ("ms", "MB"):
            numbers = [
                median(
                    results[name].get(figure_name(path, heads, width, length, unit), [float("nan")])
                )
                for name, path in columns
            ]
            row += [*numbers, f"{numbers[0] / numbers[1]:.2f}"] if has_peer else numbers
        rows.append(row)
    return markdown(head, rows)


def ours(path, heads, width, length):
    """A function that runs forward and backward once."""
    import numpy as np

    import tinygrad_attn as ta

    rng = np.random.default_rng(0)
    q, k, v, g = (
        ta.tensor(rng.standard_normal((1, heads, length, width), dtype="float32")) for _ in range(4)
    )
    for x in (q, k, v):
        x.requires_grad_()

    def step():
        y = ta.scaled_dot_product_attention(q, k, v, causal=True, path=path)
        return ta.grad(y, (q, k, v), g)

    return step


def torch(path, heads, width, length):
    """The same with PyTorch's own scaled_dot_product_attention."""
    import torch

    torch.manual_seed(0)
    q, k, v, g = (torch.randn(1, heads, length, width) for _ in range(4))
    for x in (q, k, v):
        x.requires_grad_()
    attend = torch.nn.functional.scaled_dot_product_attention

    def step():
        return torch.autograd.grad(attend(q, k, v, is_causal=True), (q, k, v), g)

    return step


def main(contestant, path, *sizes):
    """Print the two figures of one length as JSON."""
    make = {"ours": ours, "torch": torch}[contestant]
    heads, width, length = map(int, sizes)
    make(path, heads, width, 64)()  # what the library itself takes on first use is not attention's
    step = make(path, heads, width, length)
    before = peak_mb()
    step()
    grown = peak_mb() - before
    times = []
    for _ in range(5 if length <= 2048 else 2):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    numbers = {"ms": min(times) * 1e3, "MB": grown}
    print(json.dumps({figure_name(path, heads, width, length, u): n for u, n in numbers.items()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
