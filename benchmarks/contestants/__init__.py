"""Who takes part in the step benchmark.

A contestant is a file here with a class ``Run(problem, threads)``: ``gradients()`` gives the loss
and {name: gradient}, ``step()`` trains one step and returns the loss (or ``train(steps)`` trains
some, and returns the losses and the seconds of each). It is listed below, and left out where its
package, or what else it needs, is not there.
"""

import inspect
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec

from tinygrad_attn import train

__all__ = ["CONTESTANTS", "Contestant", "installed"]


@dataclass(frozen=True)
class Contestant:
    """Its title in the tables, its file, its package, and when else it can take part."""

    title: str
    file: str
    package: str
    options: dict = field(default_factory=dict)
    takes_part: Callable[[int], bool] = lambda threads: True

    def load(self):
        """The module, imported, and with it the contestant's library."""
        return import_module(f"benchmarks.contestants.{self.file}")

    def build(self, problem, threads):
        """The contestant with the weights and the batch of the problem."""
        return self.load().Run(problem, threads, **self.options)


def _shares(threads):
    return threads == 2 and "workers" in inspect.signature(train.train).parameters


def _has_compiler(threads):
    compilers = [os.environ.get("CXX"), "g++", "clang++", "c++", "cl"]
    return any(shutil.which(name) for name in compilers if name)


CONTESTANTS = {
    "ours": Contestant("ours", "ours", "tinygrad_attn"),
    "ours, shared": Contestant("ours, 2 workers", "ours_shared", "tinygrad_attn", {}, _shares),
    "by hand": Contestant("kernels by hand", "by_hand", "tinygrad_attn"),
    "bare": Contestant("bare NumPy", "bare", "numpy", {}, lambda threads: threads == 1),
    "torch": Contestant("PyTorch", "pytorch", "torch"),
    "torch fused": Contestant("PyTorch, fused AdamW", "pytorch", "torch", {"fused": True}),
    "torch compiled": Contestant(
        "torch.compile", "pytorch", "torch", {"compiled": True}, _has_compiler
    ),
    "jax": Contestant("JAX jit", "jax_jit", "jax"),
    "hips": Contestant("HIPS autograd", "hips_autograd", "autograd"),
}


def installed(threads):
    """The names of the contestants that can take part here, with so many threads."""
    return [n for n, c in CONTESTANTS.items() if find_spec(c.package) and c.takes_part(threads)]
