"""Attention on one GPU beside PyTorch's flash attention: ``python -m benchmarks.gpu_attention``.

Causal, one sequence of 16 heads. Prints the figures as a table: TFLOP/s forward and backward, of
4·T²·E operations a head forward, halved by causality, and 2.5 times as many back (to compute the
weights anew counts as no gain); and what a call holds in memory beyond its inputs. With a FOLDER it
leaves them there as attention.json, for ``benchmarks.gpu`` to put into its report.

Each contestant runs in a process of its own, which writes every figure down at once: one that is
stopped keeps what it has. PyTorch has to use its flash kernels on 16-bit floats.
"""

import json
import subprocess
import sys
from importlib import util
from pathlib import Path
from statistics import median

HEADS = 16
LENGTHS = (1024, 2048, 4096, 8192, 16384)
KINDS = (("float16", 64), ("bfloat16", 64), ("float16", 128), ("TF32", 64), ("float32", 64))
CONTESTANTS = {"ours": "cupy", "torch": "torch"}
SECONDS = {"ours": 42, "torch": 28}  # that a contestant may take


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


def write_figures(contestant, measure=measure):
    """Print {kind: {length: figures}} anew with every size; one that fails says why instead."""
    found = {}
    for kind, width in KINDS:
        for length in LENGTHS:
            try:
                figures = measure(contestant, kind, length, width)
            except Exception as error:
                figures = f"{type(error).__name__}: {error}".partition("\n")[0]
            found.setdefault(f"{kind}, heads of {width}", {})[str(length)] = figures
            print(json.dumps(found), flush=True)


def run(contestant):
    """The figures of a contestant, measured in a process of its own, as far as it came."""
    command = [sys.executable, "-m", "benchmarks.gpu_attention", "--only", contestant]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, timeout=SECONDS[contestant])
        printed = done.stdout
    except subprocess.TimeoutExpired as stopped:
        printed = stopped.stdout or b""
    lines = [line for line in printed.decode().split("\n")[:-1] if line.startswith("{")]
    return json.loads(lines[-1]) if lines else {}


def page(results):
    """A Markdown table: a row for each kind and length, three cells for each contestant."""
    names = list(results)
    columns = [(name, figure) for figure in ("forward", "backward", "MB") for name in names]
    head = ["", "T", *(f"{figure}, {name}" for name, figure in columns)]
    lines = ["TFLOP/s, and MB held between forward and backward", ""]
    lines += ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    kinds = {kind: lengths for found in results.values() for kind, lengths in found.items()}
    for kind, lengths in kinds.items():
        for length in lengths:
            row = [results[name].get(kind, {}).get(length) for name, _ in columns]
            cells = [cell(found, figure) for found, (_, figure) in zip(row, columns)]
            lines.append("| " + " | ".join([kind, length, *cells]) + " |")
    return "\n".join(lines)


def cell(found, figure):
    """One figure of those found; "failed", or nothing where it did not come to that."""
    if found is None:
        return ""
    return f"{found[figure]:.4g}" if isinstance(found, dict) else "failed"


def main(arguments):
    """``--only CONTESTANT``, or all of them, with a FOLDER for the figures if one is given."""
    if arguments[:1] == ["--only"]:
        write_figures(arguments[1])
        return
    results = {name: run(name) for name, package in CONTESTANTS.items() if util.find_spec(package)}
    if arguments:
        text = json.dumps(results, indent=2) + "\n"
        (Path(arguments[0]) / "attention.json").write_text(text, encoding="utf-8")
    print(page(results))


if __name__ == "__main__":
    main(sys.argv[1:])
