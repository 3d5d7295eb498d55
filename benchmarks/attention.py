"""Attention at growing lengths: time forward and back in milliseconds, and peak extra memory in MB.

Causal, float32, batch 1. Memory is what the process's peak grows by beyond its inputs, so each
length runs in a process of its own.
"""

import json
import math
import sys
import time
from statistics import median

from .report import markdown
from .resident import peak_mb
from .rounds import collect, installed, ratio, run

__all__ = ["TITLE", "cases", "figure_name", "measure", "tables"]

TITLE = "Attention, causal, forward and back"
SHAPES = {  # (heads, width) -> lengths
    (4, 32): (256, 512, 1024, 2048, 4096, 8192, 16384),
    (8, 64): (1024, 4096),
}
SPEC_UP_TO = 4096  # beyond, the whole matrix of weights takes gigabytes


def measure(options):
    """{contestant: {figure: [one number a round]}}; figures have the names of ``figure_name``."""
    results = {name: {} for name in installed()}
    for case in cases("ours"):
        names = [name for name in results if case in cases(name)]
        print(*case, file=sys.stderr)

        def measure_one(name, case=case):
            return run("benchmarks.attention", name, *case, threads=options.threads)

        for name, figures in collect(names, options.rounds, measure_one).items():
            results[name] |= figures
    return results


def cases(contestant):
    """(path, heads, width, length) of everything that a contestant is asked for."""
    found = []
    for (heads, width), lengths in SHAPES.items():
        for length in lengths:
            found.append(("tiled", heads, width, length))
            if contestant == "ours" and length <= SPEC_UP_TO:
                found.append(("spec", heads, width, length))
    return found


def figure_name(path, heads, width, length, unit):
    """The key of one number in the results."""
    return f"{path} {heads}x{width} {length} {unit}"


def tables(results):
    """A table for each head count and width, a row for each length."""
    return "\n\n".join(_table(results, heads, width) for heads, width in SHAPES)


def _table(results, heads, width):
    columns = [("ours", "tiled"), ("torch", "tiled"), ("ours", "spec")]
    columns = [(name, path) for name, path in columns if name in results]
    head, rows = [f"{heads} heads of {width}"], []
    for unit in ("ms", "MB"):
        head += [f"{unit} {'spec' if path == 'spec' else name}" for name, path in columns]
        head += ["ratio"] if "torch" in results else []
    for length in SHAPES[heads, width]:
        row = [f"T = {length}"]
        for unit in ("ms", "MB"):
            found = [
                results[name].get(figure_name(path, heads, width, length, unit), [math.nan])
                for name, path in columns
            ]
            row += map(median, found)
            row += [f"{ratio(*found[:2]):.2f}"] if "torch" in results else []
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
