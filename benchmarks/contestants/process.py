"""One contestant in a process of its own: ``python -m benchmarks.contestants.process``.

check NAME PROBLEM THREADS RESULT    its loss, gradients and the losses of three steps, to a file
time  NAME PROBLEM THREADS SECONDS   for each line that it reads, the time of its steps and its
                                     memory, as JSON
"""

import json
import sys
import time
from statistics import median

import numpy as np

from ..resident import helper_peak_mb, peak_mb, processor_seconds
from . import CONTESTANTS
from .problem import Problem

__all__ = ["answer", "check", "take_steps", "turns"]

WARM_UP, MOST = 2, 1000
PAUSE = 0.3  # seconds, in which the threads of whoever had the turn before stop spinning


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


def turns(name, path, threads, seconds):
    """Warm up, then for each turn that is asked for time steps for some seconds: {figure: number}.

    A turn begins with a step that does not count: the caches are full of what others left there.
    ``cores`` is processor time by time on the clock: it shows how many threads really worked, and
    whether something else took the machine away. The memory of a process's own helpers counts too.
    """
    CONTESTANTS[name].load()
    imported = peak_mb()
    run = CONTESTANTS[name].build(Problem.load(path), threads)
    _, times = take_steps(run, WARM_UP)
    fewest = 5 if hasattr(run, "train") else 1  # where processes start, the first are slow
    count = min(MOST, max(fewest, int(seconds / min(times))))
    while True:
        take_steps(run, 1)
        start, busy = time.perf_counter(), processor_seconds()
        _, times = take_steps(run, count)
        cores = (processor_seconds() - busy) / (time.perf_counter() - start)
        peak = peak_mb() + (getattr(run, "processes", 1) - 1) * helper_peak_mb()
        memory = {"peak": peak, "grown": peak - imported}
        yield {"ms": median(times) * 1e3, "fastest": min(times) * 1e3, "cores": cores, **memory}


def answer(turns):
    """Take a turn for each line of the standard input, and print its figures."""
    for _ in sys.stdin:
        time.sleep(PAUSE)
        print(json.dumps(next(turns)), flush=True)


if __name__ == "__main__":
    what, name, path, threads, last = sys.argv[1:]
    if what == "check":
        check(name, path, int(threads), last)
    else:
        answer(turns(name, path, int(threads), float(last)))
