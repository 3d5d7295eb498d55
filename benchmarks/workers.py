"""Several cores, four ways: worker processes, and threads of three kinds.

    python -m benchmarks.workers [--configs S A] [--workers 2] [--rounds 5]

A training step of a small GPT with AdamW. Each way runs in a process of its own, in turn; all must
come to the same loss, or the run is refused. Printed are the medians over all rounds, and how many
times faster than one core that is.
"""

import argparse
import copy
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from statistics import median

from .report import machine

CONFIGS = {  # vocabulary, context, batch, width, layers, heads; and how many steps to take
    "S": ((96, 32, 32, 64, 2, 4), 150),
    "A": ((96, 64, 32, 128, 4, 4), 40),
}
WARM_UP = 5  # steps that are not counted
LR = 1e-3


# ---- the ways ------------------------------------------------------------------------------------


def one_core(model, optimizer, batch, steps, workers):
    """``train`` as it is: (losses, when each step began)."""
    from tinygrad_attn.train import train

    times = []

    def schedule(step):
        times.append(time.perf_counter())
        return LR

    options = {"batch": batch, "schedule": schedule, "workers": workers}
    return train(model, optimizer, loss, steps, **options), times


def processes(model, optimizer, batch, steps, workers):
    """``train(workers=N)``."""
    return one_core(model, optimizer, batch, steps, workers)


def openblas_threads(model, optimizer, batch, steps, workers):
    """The same while no kernel shares anything: OpenBLAS cuts the products as it likes."""
    from tinygrad_attn.backend.cpu import threads

    threads.MOST = 1
    return one_core(model, optimizer, batch, steps, workers)


def python_threads(model, optimizer, batch, steps, workers):
    """Threads of one process, each with its rows and its own gradients, over the same weights."""
    import tinygrad_attn as ta

    models = [model, *(copy.deepcopy(model) for _ in range(1, workers))]
    groups = list(zip(*(each.parameters() for each in models)))
    losses, times = [], []

    def shard(rank, arrays):
        rows = len(arrays[0])
        mine = slice(rows * rank // workers, rows * (rank + 1) // workers)
        value = loss(models[rank], *(array[mine] for array in arrays))
        value.backward()
        return value.item()

    with ThreadPoolExecutor(workers) as pool:
        for step in range(steps):
            times.append(time.perf_counter())
            arrays = batch(step)
            for first, *others in groups:
                first.grad = None
                for p in others:
                    p.data, p.grad = first.data, None
            values = list(pool.map(shard, range(workers), [arrays] * workers))
            for group in groups:
                total = sum(p.grad.data for p in group) / workers
                group[0].grad = ta.Tensor(total)
            optimizer.step()
            losses.append(sum(values) / workers)
    return losses, times


def loss(model, ids, target):
    """What every way goes down."""
    import tinygrad_attn as ta

    return ta.cross_entropy(model(ta.tensor(ids)), ta.tensor(target))


def draw(sizes, step):
    """The batch of a step: random tokens."""
    from tinygrad_attn.data import generator

    V, T, B, *_ = sizes
    ids = generator(0, step).integers(0, V, (B, T + 1))
    return ids[:, :-1], ids[:, 1:]


WAYS = {  # name -> (function, how many threads OpenBLAS is told to use, or None for its own choice)
    "one core": (one_core, lambda workers: 1),
    "worker processes": (processes, lambda workers: None),
    "threads that share kernels": (one_core, lambda workers: workers),
    "threads that share the batch": (python_threads, lambda workers: 1),
    "OpenBLAS's threads": (openblas_threads, lambda workers: workers),
}


def measure(way, config, workers):
    """Print {"ms": the median step, "loss": the last} as JSON."""
    import tinygrad_attn as ta

    sizes, steps = CONFIGS[config]
    V, T, _, D, L, H = sizes
    ta.manual_seed(0)
    model = ta.models.GPT(ta.models.GPTConfig(V, T, n_layer=L, n_head=H, n_embd=D, dropout=0.0))
    model.train()
    optimizer = ta.optim.AdamW(model.parameters(), lr=LR)
    function, _ = WAYS[way]
    workers = workers if function in (processes, python_threads) else 1
    losses, times = function(model, optimizer, partial(draw, sizes), steps, workers)
    spent = [after - before for before, after in zip(times[WARM_UP:], times[WARM_UP + 1 :])]
    print(json.dumps({"ms": median(spent) * 1e3, "loss": losses[-1]}))


# ---- the rounds ----------------------------------------------------------------------------------


def round_of(way, config, workers):
    """One measurement, in a process of its own."""
    environment = {k: v for k, v in os.environ.items() if k != "OPENBLAS_NUM_THREADS"}
    threads = WAYS[way][1](workers)
    if threads is not None:
        environment["OPENBLAS_NUM_THREADS"] = str(threads)
    command = [sys.executable, "-m", "benchmarks.workers", "--measure", way, config, str(workers)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{way}, {config}, failed:\n{done.stderr}")
    return json.loads(done.stdout)


def compare(config, workers, rounds):
    """{way: the median of its medians in ms}, all ways taking turns."""
    results = {way: [] for way in WAYS}
    for _ in range(rounds):
        for way, found in results.items():
            found.append(round_of(way, config, workers))
    right = results["one core"][0]["loss"]
    for way, found in results.items():
        for each in found:
            if abs(each["loss"] - right) > 1e-3:
                raise SystemExit(
                    f"{way}, {config}: the loss is {each['loss']}, it should be {right}"
                )
    return {way: median(each["ms"] for each in found) for way, found in results.items()}


def main():
    """Run what was asked for and print Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.workers", description=__doc__)
    parser.add_argument("--configs", nargs="+", choices=CONFIGS, default=list(CONFIGS))
    parser.add_argument("--workers", type=int, default=2, help="how many processes, or threads")
    parser.add_argument("--rounds", type=int, default=5, help="how often each way runs")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        way, config, workers = options.measure
        measure(way, config, int(workers))
        return
    print(f"{machine(options.workers, options.rounds)}\n")
    print("| | way | ms a step | times faster |\n|---|---|---|---|")
    for config in options.configs:
        found = compare(config, options.workers, options.rounds)
        for way, ms in found.items():
            ratio = found["one core"] / ms
            print(f"| {config} | {way} | {ms:.4g} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
