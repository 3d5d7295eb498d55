"""The fused ops one by one, forward and back, in milliseconds: what a slow step is made of.

The sizes are those of config C: 2,048 tokens of width 256, heads of 32, an MLP of 1,024.
"""

import json
import sys
import timeit

import numpy as np

from .report import table
from .rounds import compare

__all__ = ["TITLE", "measure", "tables"]

TITLE = "The fused ops, forward and back, on 2,048 tokens"
TOKENS, WIDTH, WIDE, CLASSES = 2048, 256, 1024, 512
REPEATS = 30


def measure(options):
    """{contestant: {op: [ms, one a round]}}."""
    return compare("layers", options)


def tables(results):
    """One row for each op."""
    return table(results, "ms")


def ours():
    """({op: function of the arrays}, how to make a tensor, how to go back)."""
    import tinygrad_attn as ta

    ops = {
        "softmax": lambda x: ta.softmax(x),
        "layer_norm": lambda x, w, b: ta.layer_norm(x, w, b),
        "rms_norm": lambda x, w: ta.rms_norm(x, w),
        "gelu": lambda x: ta.gelu(x),
        "gelu, tanh": lambda x: ta.gelu(x, approximate="tanh"),
        "linear": lambda x, w, b: ta.linear(x, w, b),
        "embedding": lambda w, ids: ta.embedding(ids, w),
        "dropout": lambda x: ta.dropout(x, 0.1),
        "cross_entropy": lambda x, target: ta.cross_entropy(x, target),
    }

    def tensor(array):
        return ta.tensor(array, requires_grad=array.dtype == np.float32)

    return ops, tensor, lambda y, xs, g: ta.grad(y, xs, g)


def torch():
    """The same in PyTorch."""
    import torch
    from torch.nn import functional as F

    ops = {
        "softmax": lambda x: F.softmax(x, -1),
        "layer_norm": lambda x, w, b: F.layer_norm(x, w.shape, w, b),
        "rms_norm": lambda x, w: F.rms_norm(x, w.shape, w, 1e-6),
        "gelu": lambda x: F.gelu(x),
        "gelu, tanh": lambda x: F.gelu(x, approximate="tanh"),
        "linear": lambda x, w, b: F.linear(x, w, b),
        "embedding": lambda w, ids: F.embedding(ids, w),
        "dropout": lambda x: F.dropout(x, 0.1),
        "cross_entropy": lambda x, target: F.cross_entropy(x, target),
    }

    def tensor(array):
        return torch.tensor(array, requires_grad=array.dtype == np.float32)

    return ops, tensor, lambda y, xs, g: torch.autograd.grad(y, xs, g)


def _arguments():
    """{op: the arrays that it is given}; floats first."""
    rng = np.random.default_rng(0)

    def normal(*shape):
        return rng.standard_normal(shape, dtype="float32")

    tokens, row = normal(TOKENS, WIDTH), normal(WIDTH)
    ids = rng.integers(0, CLASSES, TOKENS)
    return {
        "softmax": (normal(16, 8, 128, 128),),
        "layer_norm": (tokens, row, row),
        "rms_norm": (tokens, row),
        "gelu": (normal(TOKENS, WIDE),),
        "gelu, tanh": (normal(TOKENS, WIDE),),
        "linear": (tokens, normal(WIDE, WIDTH), normal(WIDE)),
        "embedding": (normal(CLASSES, WIDTH), ids),
        "dropout": (tokens,),
        "cross_entropy": (normal(TOKENS, CLASSES), ids),
    }


def main(contestant):
    """Print {op: ms} as JSON."""
    ops, tensor, back = {"ours": ours, "torch": torch}[contestant]()
    figures = {}
    for name, arrays in _arguments().items():
        arguments = [tensor(a) for a in arrays]
        wanted = [x for x in arguments if x.requires_grad]
        y = ops[name](*arguments)
        g = tensor(np.ones(tuple(y.shape), "float32")).detach()

        def both(name=name, arguments=arguments, wanted=wanted, g=g):
            back(ops[name](*arguments), wanted, g)

        figures[name] = min(timeit.repeat(both, number=1, repeat=REPEATS)) * 1e3
    print(json.dumps(figures))


if __name__ == "__main__":
    main(sys.argv[1])
