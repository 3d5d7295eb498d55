"""The matrix products of a training step alone, in milliseconds: the floor under everybody's step.

NumPy's, which are OpenBLAS's, against those of PyTorch, on the weights and the tokens of each
config: of q, k and v at once, of what comes out of attention, of both layers of the MLP, and of the
head, each forward, back to its input and back to its weight. Operands of a step come from far away
in memory; here too, for every product of a step has operands of its own.
"""

import json
import sys
import time

import numpy as np

from .contestants.problem import CONFIGS
from .report import table
from .rounds import compare

__all__ = ["TITLE", "measure", "tables"]

TITLE = "The matrix products of a training step alone"
REPEATS = 20


def measure(options):
    """{contestant: {config: [ms, one a round]}}."""
    return compare("products", options)


def tables(results):
    """One row for each config."""
    return table(results, "ms a step")


def shapes(sizes):
    """(out, in) of every weight that a step multiplies by."""
    V, _, _, D, L, _ = sizes
    return [(3 * D, D), (D, D), (4 * D, D), (D, 4 * D)] * L + [(V, D)]


def main(contestant):
    """Print {config: ms} as JSON."""
    as_it_is, matmul = np.asarray, np.matmul
    if contestant == "torch":
        import torch

        as_it_is, matmul = torch.from_numpy, torch.matmul
    figures = {}
    for name, sizes in CONFIGS.items():
        draw = np.random.default_rng(0).standard_normal
        tokens = sizes.B * sizes.T
        products = []
        for out, width in shapes(sizes):
            drawn = [
                draw(size, "float32") for size in ((tokens, width), (out, width), (tokens, out))
            ]
            products.append([as_it_is(array) for array in drawn])
        figures[name] = min(_seconds(matmul, products) for _ in range(REPEATS)) * 1e3
    print(json.dumps(figures))


def _seconds(matmul, products):
    start = time.perf_counter()
    for x, weight, _ in products:
        matmul(x, weight.T)
    for x, weight, g in reversed(products):
        matmul(g, weight)
        matmul(g.T, x)
    return time.perf_counter() - start


if __name__ == "__main__":
    main(sys.argv[1])
