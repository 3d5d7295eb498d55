"""Who takes part in the step benchmark.

A contestant is a module here with a class ``Run(problem, threads)`` that has ``gradients()`` and
``step()``. It is listed in ``CONTESTANTS`` and left out where its package is not installed.
"""

from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec

__all__ = ["CONTESTANTS", "Contestant", "installed"]


@dataclass(frozen=True)
class Contestant:
    """A title for the table, the module to run, and what must be installed for it."""

    title: str
    module: str
    package: str
    options: dict = field(default_factory=dict)

    def load(self):
        """The module, imported."""
        return import_module(f"{__name__}.{self.module}")

    def build(self, problem, threads):
        """The contestant with the weights and the batch of the problem."""
        return self.load().Run(problem, threads, **self.options)


CONTESTANTS = {
    "ours": Contestant("ours", "ours", "tinygrad_attn"),
    "by hand": Contestant("our kernels by hand", "by_hand", "tinygrad_attn"),
    "torch": Contestant("PyTorch eager", "pytorch", "torch"),
    "torch fused": Contestant("PyTorch eager, fused AdamW", "pytorch", "torch", {"fused": True}),
}


def installed():
    """The names of the contestants that can run here."""
    return [name for name, c in CONTESTANTS.items() if find_spec(c.package)]
