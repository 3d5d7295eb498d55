"""Attention at growing lengths: time forward and back in milliseconds, and peak extra memory in MB.

H = 4 heads of width 32, causal, float32. Memory is what the process's peak grows by beyond its
inputs, so each length runs in a process of its own.
"""

import json
import resource
import subprocess
import sys
import time

LENGTHS = (256, 512, 1024, 2048, 4096, 8192, 16384)
PATHS = {"ours": ("tiled", "dense"), "torch": ("tiled",)}
DENSE_UP_TO = 4096


def ours(length, path):
    """A function that runs forward and backward once."""
    import numpy as np

    import tinygrad_attn as ta

    rng = np.random.default_rng(0)
    q, k, v, g = (
        ta.tensor(rng.standard_normal((1, 4, length, 32), dtype="float32")) for _ in range(4)
    )
    for x in (q, k, v):
        x.requires_grad_()

    def step():
        y = ta.scaled_dot_product_attention(q, k, v, causal=True, path=path)
        return ta.grad(y, (q, k, v), g)

    return step


def torch(length, path):
    """The same with PyTorch's own scaled_dot_product_attention."""
    import torch

    torch.manual_seed(0)
    q, k, v, g = (torch.randn(1, 4, length, 32) for _ in range(4))
    for x in (q, k, v):
        x.requires_grad_()
    attend = torch.nn.functional.scaled_dot_product_attention

    def step():
        return torch.autograd.grad(attend(q, k, v, is_causal=True), (q, k, v), g)

    return step


def peak_mb():
    """The largest resident size so far, in MB."""
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 1e6


def measure(contestant, path, length):
    """Print [ms, MB] of one length as JSON."""
    make = {"ours": ours, "torch": torch}[contestant]
    make(64, path)()  # what the library itself takes on first use is not attention's
    step = make(length, path)
    before = peak_mb()
    step()
    grown = peak_mb() - before
    times = []
    for _ in range(5 if length <= 2048 else 2):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    print(json.dumps([min(times) * 1e3, grown]))


def main(contestant):
    """Print {figure: number} as JSON."""
    figures = {}
    for path in PATHS[contestant]:
        for length in LENGTHS if path == "tiled" else [n for n in LENGTHS if n <= DENSE_UP_TO]:
            name = f"T = {length}" + (", dense" if path == "dense" else "")
            command = [sys.executable, "-m", "benchmarks.attention", contestant, path, str(length)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            figures[f"{name}, ms"], figures[f"{name}, MB"] = json.loads(done.stdout)
    print(json.dumps(figures))


if __name__ == "__main__":
    if len(sys.argv) > 2:
        measure(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    else:
        main(sys.argv[1])
