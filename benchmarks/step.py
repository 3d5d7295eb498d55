"""A training step of a small GPT: forward, backward, AdamW; the same for every contestant.

Each contestant first computes loss and gradients from the same weights and batch, and three steps,
and is refused unless they are PyTorch's. Then they take turns: a process each, which warms up and
times its steps for some seconds, again and again.
"""

from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np

from .check import check
from .contestants import CONTESTANTS, installed
from .contestants.problem import CONFIGS, Problem
from .report import markdown
from .rounds import ratio, run

__all__ = ["measure", "tables"]

PROCESS = "benchmarks.contestants.process"
REFERENCES = ("torch", "torch fused")


def measure(options):
    """{config: {contestant: {figure: [one number a round]}}}."""
    return {config: _measure_one(config, options) for config in options.configs}


def _measure_one(config, options):
    with TemporaryDirectory() as folder:
        path = Path(folder) / "problem.npz"
        Problem.draw(CONFIGS[config]).save(path)
        names = _checked(installed(), path, options.threads)
        results = {name: {} for name in names}
        for _ in range(options.rounds):
            for name in names:
                arguments = ("time", name, path, options.threads, options.seconds)
                for figure, number in run(PROCESS, *arguments, threads=options.threads).items():
                    results[name].setdefault(figure, []).append(number)
    return results


def _checked(names, path, threads):
    """The contestants, once all of them computed what PyTorch, or else the first, computes."""
    found = {}
    for name in names:
        result = path.with_name("result.npz")
        run(PROCESS, "check", name, path, threads, result, threads=threads)
        with np.load(result) as file:
            found[name] = dict(file)
    reference = "torch" if "torch" in found else names[0]
    for name, result in found.items():
        check(name, result, found[reference])
    return names


def tables(results, options):
    """For each size a table of all contestants."""
    return "\n\n".join(_table(config, by_name) for config, by_name in results.items())


def _table(config, results):
    sizes = ", ".join(f"{name} {size}" for name, size in CONFIGS[config]._asdict().items())
    peer = reference(results)
    head = ["", "ms", "fastest", "ratio", "MB", "ratio", "MB grown", "cores"]
    rows = []
    for name, figures in results.items():
        row = [CONTESTANTS[name].title]
        for key in ("median", "minimum", "peak", "grown", "cores"):
            row.append(median(figures[key]))
            if key in ("minimum", "peak"):
                compared = "median" if key == "minimum" else key
                row.append(
                    f"{ratio(figures[compared], results[peer][compared]):.2f}" if peer else ""
                )
        rows.append(row)
    text = f"### {config}: {sizes}\n\n{markdown(head, rows)}\n"
    if peer:
        text += f"\nRatios are to {CONTESTANTS[peer].title}, the faster form."
    if "by hand" in results:
        overhead = ratio(results["ours"]["median"], results["by hand"]["median"])
        text += f" The engine costs {overhead - 1:+.1%} beside its kernels called by hand."
    return text


def reference(results):
    """The faster of PyTorch's forms, or None without PyTorch."""
    there = [name for name in REFERENCES if name in results]
    return min(there, key=lambda name: median(results[name]["median"]), default=None)
