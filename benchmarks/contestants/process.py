"""One contestant in a process of its own: ``python -m benchmarks.contestants.process``.

check NAME PROBLEM THREADS RESULT    its loss, gradients and the losses of three steps, to a file
time  NAME PROBLEM THREADS SECONDS   the time of its steps and its memory, as JSON
"""

import json
import sys
import time
from statistics import median

import numpy as np

from ..resident import peak_mb
from . import CONTESTANTS
from .problem import Problem

__all__ = ["check", "measure"]

WARM_UP, FEWEST, MOST = 3, 5, 1000


def check(name, path, threads, result):
    """Write the loss, the gradients, and the losses of three steps from the same weights."""
    contestant = CONTESTANTS[name]
    loss, gradients = contestant.build(Problem.load(path), threads).gradients()
    run = contestant.build(Problem.load(path), threads)
    np.savez(result, loss=loss, losses=[run.step() for _ in range(3)], **gradients)


def measure(name, path, threads, seconds):
    """Time steps for some seconds after a warm-up: {figure: number}.

    ``cores`` is processor time by time on the clock: it shows how many threads really worked, and
    whether something else took the machine away.
    """
    CONTESTANTS[name].load()
    imported = peak_mb()
    run = CONTESTANTS[name].build(Problem.load(path), threads)
    for _ in range(WARM_UP):
        run.step()
    times, busy = [], time.process_time()
    while len(times) < FEWEST or (sum(times) < seconds and len(times) < MOST):
        start = time.perf_counter()
        run.step()
        times.append(time.perf_counter() - start)
    cores = (time.process_time() - busy) / sum(times)
    memory = {"peak": peak_mb(), "grown": peak_mb() - imported}
    return {"ms": median(times) * 1e3, "fastest": min(times) * 1e3, "cores": cores, **memory}


if __name__ == "__main__":
    what, name, path, threads, last = sys.argv[1:]
    if what == "check":
        check(name, path, int(threads), last)
    else:
        print(json.dumps(measure(name, path, int(threads), float(last))))
