"""Memory of training: the peak of a process, what a graph keeps for the way back, what is lost.

``saved`` are the distinct arrays that the graph of one loss keeps alive, without the parameters.
``lost`` is by how much the process grows with each of 300 steps; it should be nothing. It does not
depend on the sizes, so the large ones, of a second a step, are spared that.
"""

import gc
import json
import math
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FunctionType, ModuleType

import numpy as np

from .contestants import CONTESTANTS, installed
from .contestants.problem import CONFIGS, Problem
from .report import markdown
from .resident import peak_mb, resident_mb
from .rounds import run

__all__ = ["TITLE", "arrays_behind", "measure", "tables"]

TITLE = "Memory of a training step"
WARM_UP = 20
STEPS = {"S": 300, "A": 300}


def measure(options):
    """{config: {contestant: {figure: number}}}; sizes repeat, so no rounds."""
    results = {}
    names = [name for name in installed(options.threads) if name in SAVED]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "problem.npz"
        for config in options.configs:
            Problem.draw(CONFIGS[config]).save(path)
            results[config] = {}
            for name in names:
                print(f"{config}: {name}", file=sys.stderr)
                arguments = (name, path, options.threads, STEPS.get(config, 0))
                found = run("benchmarks.memory", *arguments, threads=options.threads)
                results[config][name] = found
    return results


def tables(results):
    """A row for each config and contestant."""
    head = ["", "", "peak, MB", "ratio", "saved, MB", "ratio", "lost, B a step"]
    rows = []
    for config, by_name in results.items():
        for name, figures in by_name.items():
            row = [config, CONTESTANTS[name].title]
            for key in ("peak", "saved"):
                row += [
                    figures[key],
                    figures[key] / by_name["torch"][key] if "torch" in by_name else "",
                ]
            rows.append([*row, figures["lost"]])
    return markdown(head, rows, left=(0, 1))


def arrays_behind(root, without=()):
    """{id: array} of all arrays that own memory and are kept alive by ``root``."""
    seen, stack, found = set(), [root], {}
    known = {id(_owner(array)) for array in without}
    while stack:
        thing = stack.pop()
        if id(thing) in seen or isinstance(thing, (type, ModuleType)):
            continue
        seen.add(id(thing))
        if isinstance(thing, np.ndarray):
            owner = _owner(thing)
            if id(owner) not in known:
                found[id(owner)] = owner
        elif isinstance(thing, FunctionType):  # its globals are not its own
            stack.extend([*(thing.__closure__ or ()), *(thing.__defaults__ or ())])
        else:
            stack.extend(gc.get_referents(thing))
    return found


def _owner(array):
    """The array whose memory ``array`` looks at."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def _saved_by_us(run):
    loss = run.loss()
    parameters = [p.data for p in run.model.parameters()]
    return sum(array.nbytes for array in arrays_behind(loss, parameters).values())


def _saved_by_torch(run):
    import torch

    parameters = {p.untyped_storage().data_ptr() for p in run.plain.parameters()}
    found = {}

    def pack(x):
        storage = x.untyped_storage()
        if storage.data_ptr() not in parameters:
            found[storage.data_ptr()] = storage.nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        run.loss()
    return sum(found.values())


SAVED = {"ours": _saved_by_us, "torch": _saved_by_torch}


def main(name, path, threads, steps):
    """Print {figure: number} of one contestant as JSON."""
    run = CONTESTANTS[name].build(Problem.load(path), int(threads))
    for _ in range(WARM_UP):
        run.step()
    before = resident_mb()
    for _ in range(int(steps)):
        run.step()
    lost = (resident_mb() - before) * 1e6 / int(steps) if int(steps) else math.nan
    print(json.dumps({"peak": peak_mb(), "lost": lost, "saved": SAVED[name](run) / 1e6}))


if __name__ == "__main__":
    main(*sys.argv[1:])
