"""One contestant in a process of its own: ``python -m benchmarks.contestants.process``.

check NAME PROBLEM THREADS RESULT    its loss, gradients and the losses of three steps, to a file
time  NAME PROBLEM THREADS SECONDS   the time of its steps and its memory, as JSON
"""

import json
import resource
import sys
import time

import numpy as np

from . import CONTESTANTS
from .problem import Problem

WARM_UP, FEWEST, MOST = 5, 10, 1000


def peak_mb():
    """The largest resident size of this process so far, in MB.

    Linux counts in ``ru_maxrss`` what the process was before it became Python, its parent's size;
    its own it tells in /proc.
    """
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            peaks = [line.split() for line in file if line.startswith("VmHWM:")]
        return int(peaks[0][1]) * 1024 / 1e6
    except (OSError, IndexError):
        scale = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 1e6


def check(name, path, threads, result):
    """Write the loss, the gradients, and the losses of three steps from the same weights."""
    problem = Problem.load(path)
    loss, gradients = CONTESTANTS[name].build(problem, threads).gradients()
    run = CONTESTANTS[name].build(problem, threads)
    np.savez(result, loss=loss, losses=[run.step() for _ in range(3)], **gradients)


def measure(name, path, threads, seconds):
    """Time steps for some seconds after a warm-up: {figure: number}."""
    CONTESTANTS[name].load()
    imported = peak_mb()
    run = CONTESTANTS[name].build(Problem.load(path), threads)
    for _ in range(WARM_UP):
        run.step()
    times, start, busy = [], time.perf_counter(), time.process_time()
    while len(times) < FEWEST or (sum(times) < seconds and len(times) < MOST):
        before = time.perf_counter()
        run.step()
        times.append(time.perf_counter() - before)
    cores = (time.process_time() - busy) / (time.perf_counter() - start)
    return {
        "median": float(np.median(times)) * 1e3,
        "minimum": min(times) * 1e3,
        "cores": cores,
        "peak": peak_mb(),
        "grown": peak_mb() - imported,
    }


if __name__ == "__main__":
    what, name, path, threads, last = sys.argv[1:]
    if what == "check":
        check(name, path, int(threads), last)
    else:
        print(json.dumps(measure(name, path, int(threads), float(last))))
