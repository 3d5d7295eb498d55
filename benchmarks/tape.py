"""The cost of recording an op and walking back over it, in microseconds, on tensors of four
elements.

At that size nothing is left to compute, so this is the cost of the engine itself.
"""

import json
import sys
import timeit

from .report import table
from .rounds import compare

__all__ = ["TITLE", "measure", "tables"]

TITLE = "The tape: an op on four elements"
LENGTH, REPEATS = 1000, 15


def measure(options):
    """{contestant: {figure: [µs an op, one a round]}}."""
    return compare("tape", options)


def tables(results):
    """One row for each op and direction."""
    return table(results, "µs an op")


def ours():
    """{name: (chain, walk)} for the engine of this package."""
    import tinygrad_attn as ta

    x = ta.tensor([0.5, 0.5, 0.5, 0.5], requires_grad=True)
    one = ta.ones(4)
    return _chains(x, ta), lambda y: y.backward(one)


def torch():
    """The same in PyTorch."""
    import torch

    torch.set_num_threads(1)
    x = torch.full((4,), 0.5, requires_grad=True)
    one = torch.ones(4)
    return _chains(x, torch), lambda y: y.backward(one)


def _chains(x, library):
    """Chains of ops, each of which leaves numbers of about the size that it was given."""
    eye = library.eye(4)
    return {
        "add": lambda y: y + x,
        "multiply": lambda y: y * x,
        "tanh": lambda y: library.tanh(y),
        "times a number": lambda y: y * 1.001,
        "reshape": lambda y: y.reshape((2, 2)).reshape((4,)),
        "matmul": lambda y: y @ eye,
    }, x


def main(contestant):
    """Print {figure: µs an op} as JSON."""
    (ops, x), walk = {"ours": ours, "torch": torch}[contestant]()
    figures = {}
    for name, op in ops.items():
        count = LENGTH * (2 if name == "reshape" else 1)

        def chain(op=op):
            y = x
            for _ in range(LENGTH):
                y = op(y)
            return y

        def both(chain=chain):
            walk(chain())

        forward = min(timeit.repeat(chain, number=1, repeat=REPEATS))
        whole = min(timeit.repeat(both, number=1, repeat=REPEATS))
        figures[f"{name}, forward"] = forward / count * 1e6
        figures[f"{name}, forward and back"] = whole / count * 1e6
    print(json.dumps(figures))


if __name__ == "__main__":
    main(sys.argv[1])
