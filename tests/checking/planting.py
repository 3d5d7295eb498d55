"""How a fault is planted: a right op with one rule exchanged, or another forward."""

from dataclasses import dataclass

from tests.checking.rightops import RIGHT, Right
from tinygrad_attn.backend import namespace
from tinygrad_attn.checking import gradcheck
from tinygrad_attn.core import Primitive, Tensor, fused

__all__ = ["Fault", "cut_off", "is_graph", "plant", "plant_kernel", "xp", "zeros"]


@dataclass(frozen=True)
class Fault:
    """A wrong op, and the right one that it was."""

    name: str
    kind: str
    what: str
    op: object
    right: Right

    def __str__(self):
        return f"{self.name}: {self.kind}: {self.what}"

    def report(self):
        """What gradcheck says about it."""
        return gradcheck(self.right.call(self.op), self.right.tensors(), order=2)


def plant(name, kind, what, forward=None, **rules):
    """The op ``name`` with other rules, or another forward."""
    right = RIGHT[name]
    op = Primitive(forward or right.op.forward)
    return Fault(name, kind, what, op.derivatives(**{**right.op.rules, **rules}), right)


def cut_off(x):
    """The values of x, without its history: what a rule must not use."""
    return x.detach() if isinstance(x, Tensor) else x


def is_graph(g):
    return isinstance(g, Tensor)


def plant_kernel(what, kernel, spec, inputs, kind="kernel"):
    """A fused op that is wrong."""
    return Fault("fused", kind, what, fused(spec=spec)(kernel), Right(None, inputs))


def zeros(g):
    return namespace(g).zeros_like(g)


def xp(g):
    return namespace(g)
