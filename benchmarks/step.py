"""A training step of a small GPT: forward, backward, AdamW; the same for every contestant.

Each contestant first computes loss and gradients from the same weights and batch, and three steps,
and is refused unless they are PyTorch's. Then they take turns: a process each, which has warmed up,
times its steps for some seconds while the others wait, again and again.
"""

import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np

from .check import check
from .contestants import CONTESTANTS, installed
from .contestants.problem import CONFIGS, Problem
from .report import markdown
from .rounds import Failed, collect, ratio, run, started

__all__ = ["TITLE", "checked", "measure", "peer_of", "tables"]

TITLE = "A training step"
PROCESS = "benchmarks.contestants.process"
OURS = ("ours", "ours, shared")
PYTORCH = ("torch", "torch fused")
BUSY = 0.95  # of a core; with less at one thread, something else was running


def measure(options):
    """{config: {contestant: {figure: [one number a round]}}}."""
    return {config: _measure_one(config, options) for config in options.configs}


def _measure_one(config, options):
    with TemporaryDirectory() as folder:
        path = Path(folder) / "problem.npz"
        Problem.draw(CONFIGS[config]).save(path)
        print(f"{config}: comparing gradients", file=sys.stderr)
        start = partial(run, threads=options.threads, folder=folder)
        names = checked(installed(options.threads), path, options.threads, start)
        rest = (path, options.threads, options.seconds)
        with ExitStack() as stack:
            ready = partial(started, threads=options.threads, folder=folder)
            ask = {name: stack.enter_context(ready(PROCESS, "time", name, *rest)) for name in names}
            return collect(names, options.rounds, lambda name: ask[name]())


def checked(names, path, threads, start):
    """The contestants that compute what PyTorch, or else the first of them, computes.

    A peer that does not run here at all is left out, and the user told.
    Raises: Refused for one that runs and computes something else; Failed where we do not run.
    """
    found, result = {}, path.with_name("result.npz")
    for name in names:
        try:
            start(PROCESS, "check", name, path, threads, result)
        except Failed as error:
            if CONTESTANTS[name].package == "tinygrad_attn":
                raise
            print(f"{name} is left out: {error}", file=sys.stderr)
            continue
        with np.load(result) as file:
            found[name] = dict(file)
    expected = found.get("torch", next(iter(found.values())))
    for name, arrays in found.items():
        check(name, arrays, expected)
    return list(found)


def peer_of(results):
    """The faster of PyTorch's forms, or None without PyTorch."""
    there = [name for name in PYTORCH if name in results]
    return min(there, key=lambda name: median(results[name]["ms"]), default=None)


def tables(results):
    """All sizes at a glance, then for each a table of all contestants."""
    parts = [_table(config, by_name) for config, by_name in results.items()]
    if all(peer_of(by_name) for by_name in results.values()):
        parts.insert(0, _overview(results))
    return "\n\n".join(parts)


def _overview(results):
    """Our time divided by that of each other, and our memory by PyTorch's."""
    names = [n for n in CONTESTANTS if n not in (*OURS, *PYTORCH, "bare")]  # no room for all
    names = [n for n in names if any(n in by_name for by_name in results.values())]
    head = ["ours /", "PyTorch", *(CONTESTANTS[n].title for n in names), "PyTorch, MB"]
    rows = []
    for config, by_name in results.items():
        peer = peer_of(by_name)
        for name in [name for name in OURS if name in by_name]:
            ours = by_name[name]
            title = CONTESTANTS[name].title.replace("ours", config)
            times = [
                ratio(ours["ms"], by_name[n]["ms"]) if n in by_name else None
                for n in [peer, *names]
            ]
            rows.append([title, *times, ratio(ours["peak"], by_name[peer]["peak"])])
    note = "Our time divided by theirs, and last the peak memory of the whole process by PyTorch's."
    return f"{markdown(head, rows)}\n\n{note}"


def _table(config, results):
    peer = peer_of(results)
    head = ["", "ms", "fastest", "ratio", "MB", "ratio", "MB grown", "cores"]
    rows = []
    for name, figures in results.items():
        times, memory = ("", "")
        if peer:
            times = _shown(ratio(figures["ms"], results[peer]["ms"]))
            memory = _shown(ratio(figures["peak"], results[peer]["peak"]))
        numbers = {key: median(figures[key]) for key in ("ms", "fastest", "peak", "grown", "cores")}
        row = [CONTESTANTS[name].title, numbers["ms"], numbers["fastest"], times]
        rows.append([*row, numbers["peak"], memory, numbers["grown"], _shown(numbers["cores"])])
    sizes = ", ".join(f"{name} {size}" for name, size in CONFIGS[config]._asdict().items())
    parts = [f"### {config}: {sizes}", markdown(head, rows), *_notes(results, peer)]
    return "\n\n".join(parts)


def _notes(results, peer):
    """What a reader of the table has to know."""
    if peer:
        yield f"Ratios are to {CONTESTANTS[peer].title}, the faster of the two."
    if "by hand" in results:
        overhead = ratio(results["ours"]["ms"], results["by hand"]["ms"]) - 1
        yield f"The engine adds {overhead:+.1%} to the time of its kernels called by hand."
    if min(median(figures["cores"]) for figures in results.values()) < BUSY:
        yield "**The machine was busy with something else: these times are not to be trusted.**"


def _shown(number):
    return f"{number:.2f}"
