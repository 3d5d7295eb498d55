"""One contestant in a process of its own: ``python -m benchmarks.contestants.process``.

check NAME PROBLEM THREADS RESULT    its loss, gradients and the losses of three steps, to a file
time  NAME PROBLEM THREADS SECONDS   the time of its steps and its memory, as JSON
"""

import json
import sys
import time
from statistics import median

import numpy as np

from ..resident import helper_peak_mb, peak_mb, processor_seconds
from . import CONTESTANTS
from .problem import Problem

__all__ = ["check", "measure", "take_steps"]

WARM_UP, FEWEST, MOST = 3, 5, 1000


def check(name, path, threads, result):
    """Write the loss, the gradients, and the losses of three steps from the same weights."""
    contestant = CONTESTANTS[name]
    loss, gradients = contestant.build(Problem.load(path), threads).gradients()
    losses, _ = take_steps(contestant.build(Problem.load(path), threads), 3)
    np.savez(result, loss=loss, losses=losses, **gradients)


def take_steps(run, count):
    """(the losses, the seconds) of some steps; who has a loop of its own runs that."""
    if hasattr(run, "train"):
        return run.train(count)
    losses, seconds = [], []
    for _ in range(count):
        start = time.perf_counter()
        losses.append(run.step())
        seconds.append(time.perf_counter() - start)
    return losses, seconds


def measure(name, path, threads, seconds):
    """Time steps for some seconds after a warm-up: {figure: number}.

    ``cores`` is processor time by time on the clock: it shows how many threads really worked, and
    whether something else took the machine away. The memory of a process's own helpers counts too.
    """
    CONTESTANTS[name].load()
    imported = peak_mb()
    run = CONTESTANTS[name].build(Problem.load(path), threads)
    _, times = take_steps(run, WARM_UP)
    count = min(MOST, max(FEWEST, int(seconds / min(times))))
    start, busy = time.perf_counter(), processor_seconds()
    _, times = take_steps(run, count)
    cores = (processor_seconds() - busy) / (time.perf_counter() - start)
    peak = peak_mb() + (getattr(run, "processes", 1) - 1) * helper_peak_mb()
    memory = {"peak": peak, "grown": peak - imported}
    return {"ms": median(times) * 1e3, "fastest": min(times) * 1e3, "cores": cores, **memory}


if __name__ == "__main__":
    what, name, path, threads, last = sys.argv[1:]
    if what == "check":
        check(name, path, int(threads), last)
    else:
        print(json.dumps(measure(name, path, int(threads), float(last))))
