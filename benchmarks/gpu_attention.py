"""Attention on one GPU beside PyTorch's flash attention: ``python -m benchmarks.gpu_attention``.

Causal, one sequence of 16 heads. Prints the figures as JSON, and as a table: TFLOP/s forward and
backward, of 4·T²·E operations a head forward, halved by causality, and 2.5 times as many back (to
compute the weights anew counts as no gain); and what a call holds in memory beyond its inputs.
Each contestant runs in a process of its own. PyTorch has to use its flash kernels on 16-bit floats.
"""

import json
import subprocess
import sys
from importlib import util
from statistics import median

HEADS = 16
LENGTHS = (1024, 2048, 4096, 8192, 16384)
KINDS = (("float16", 64), ("bfloat16", 64), ("float16", 128), ("TF32", 64), ("float32", 64))
CONTESTANTS = {"ours": "cupy", "torch": "torch"}


def ours(kind, length, width):
    """(forward, backward, a CUDA event, bytes in use) of our attention."""
    import cupy

    import tinygrad_attn as ta
    from tinygrad_attn.backend.precision import set_matmul_precision

    set_matmul_precision("high" if kind == "TF32" else "highest")
    dtype = "float32" if kind == "TF32" else kind
    q, k, v, g = (
        ta.randn(1, HEADS, length, width).to("cuda").astype(dtype).detach() for _ in range(4)
    )
    inputs = [x.requires_grad_() for x in (q, k, v)]

    def forward():
        return ta.scaled_dot_product_attention(*inputs, causal=True)

    def backward(y):
        return ta.grad(y, inputs, g, retain_graph=True)

    pool = cupy.get_default_memory_pool()
    return forward, backward, cupy.cuda.Event, cupy.cuda.get_elapsed_time, pool.used_bytes


def torch(kind, length, width):
    """The same of PyTorch's."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel

    torch.set_float32_matmul_precision("high" if kind == "TF32" else "highest")
    dtype = getattr(torch, "float32" if kind == "TF32" else kind)
    is_half = dtype.itemsize == 2
    allowed = [SDPBackend.FLASH_ATTENTION] if is_half else [SDPBackend.EFFICIENT_ATTENTION]
    q, k, v, g = (
        torch.randn(1, HEADS, length, width, device="cuda", dtype=dtype) for _ in range(4)
    )
    inputs = [x.requires_grad_() for x in (q, k, v)]

    def forward():
        with sdpa_kernel(allowed):
            return torch.nn.functional.scaled_dot_product_attention(*inputs, is_causal=True)

    def backward(y):
        return torch.autograd.grad(y, inputs, g, retain_graph=True)

    def event():
        return torch.cuda.Event(enable_timing=True)

    def elapsed(start, end):
        return start.elapsed_time(end)

    return forward, backward, event, elapsed, torch.cuda.memory_allocated


def measure(contestant, kind, length, width):
    """{figure: number} of one size: TFLOP/s of each direction, and MB held between the two."""
    make = {"ours": ours, "torch": torch}[contestant]
    forward, backward, event, elapsed, used = make(kind, length, width)

    def milliseconds(work):
        for _ in range(3):
            work()
        times = []
        for _ in range(10):
            start, end = event(), event()
            start.record()
            work()
            end.record()
            end.synchronize()
            times.append(elapsed(start, end))
        return median(times)

    work = 4 * HEADS * length**2 * width / 2 / 1e9  # GFLOP, so that per ms it is TFLOP/s
    figures = {"forward": work / milliseconds(forward)}
    before = used()
    y = forward()
    figures["MB"] = (used() - before) / 1e6
    figures["backward"] = 2.5 * work / milliseconds(lambda: backward(y))
    return figures


def figures_of(contestant):
    """{kind: {length: figures}}, where one that fails says why instead."""
    found = {}
    for kind, width in KINDS:
        for length in LENGTHS:
            try:
                figures = measure(contestant, kind, length, width)
            except Exception as error:
                figures = f"{type(error).__name__}: {error}".partition("\n")[0]
            found.setdefault(f"{kind}, heads of {width}", {})[length] = figures
    return found


def run(contestant):
    """The figures of a contestant, measured in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.gpu_attention", contestant]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return {}
    return json.loads(done.stdout.splitlines()[-1])


def table(results):
    """A Markdown table: a row for each kind and length, three cells for each contestant."""
    names = list(results)
    columns = [(name, figure) for figure in ("forward", "backward", "MB") for name in names]
    head = ["", "T", *(f"{figure}, {name}" for name, figure in columns)]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for kind, lengths in next(iter(results.values())).items():
        for length in lengths:
            row = [results[name].get(kind, {}).get(length, {}) for name, _ in columns]
            cells = [
                f"{found[figure]:.4g}" if isinstance(found, dict) and figure in found else "failed"
                for found, (_, figure) in zip(row, columns)
            ]
            lines.append("| " + " | ".join([kind, str(length), *cells]) + " |")
    return "\n".join(lines)


def main():
    """Print what was measured: JSON, then Markdown."""
    results = {name: run(name) for name, package in CONTESTANTS.items() if util.find_spec(package)}
    print(json.dumps(results))
    print(f"\nTFLOP/s, and MB held between forward and backward\n\n{table(results)}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(figures_of(sys.argv[1])))
    else:
        main()
