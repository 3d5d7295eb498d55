"""What is checked, seen as one function of n numbers with m numbers as its value.

A user's function takes tensors, lists of them, a Module with its parameters, and gives back as
varied a thing. A derivative is a plain matter, an m × n matrix, once both sides are laid out as
one long vector. ``Subject`` does that, and knows its own gradient as another Subject: so order n
is order 1, n times over.

The vectors live on the host whatever the device is: to compare numbers is no work for a GPU.
"""

import math
from itertools import pairwise

from ..backend import backend_of, get_backend, namespace
from ..core import Tensor, grad
from ..core.graph import leaf

__all__ = [
    "Layout",
    "Subject",
    "cotangents",
    "host",
    "leaf_tensor",
    "placed",
    "pull",
    "random_vector",
    "to_vector",
]

host = get_backend("cpu").xp


class Layout:
    """Where in one long vector the elements of several named arrays stand."""

    def __init__(self, names, shapes):
        self.names = list(names)
        self.shapes = [tuple(shape) for shape in shapes]
        ends = [0]
        for shape in self.shapes:
            ends.append(ends[-1] + math.prod(shape))
        self.size = ends[-1]
        self.spans = [slice(start, end) for start, end in pairwise(ends)]

    def parts(self, vector):
        """The vector cut into views of the arrays' shapes."""
        return [vector[span].reshape(shape) for span, shape in zip(self.spans, self.shapes)]

    def find(self, k):
        """Of element ``k`` of the vector: (which array, the index in it)."""
        i = next(i for i, span in enumerate(self.spans) if k < span.stop)
        index = host.unravel_index(k - self.spans[i].start, self.shapes[i])
        return i, tuple(int(place) for place in index)

    def label(self, k):
        """Element ``k`` as one would write it: "x[0, 2]"."""
        i, index = self.find(k)
        return self.names[i] + (f"[{', '.join(map(str, index))}]" if index else "")


class Subject:
    """A function at a point: ``apply(tensors, create_graph)`` gives {name: tensor}.

    ``create_graph`` asks that results which are gradients themselves can be differentiated.
    """

    def __init__(self, name, apply, names, arrays, order=1, ops=None):
        self.name = name
        self.apply = apply
        self.arrays = arrays
        self.order = order
        self.inputs = Layout(names, [array.shape for array in arrays])
        self.point = to_vector(arrays)
        _, ys = self.run([array.copy() for array in arrays])
        self.outputs = Layout(ys, [y.shape for y in ys.values()])
        self.value = to_vector([y.data for y in ys.values()])
        self.ops = _ops_behind(ys.values()) if ops is None else ops

    def run(self, arrays=None, create_graph=False, wanted=None):
        """Apply the function to new tensors; returns (the tensors, {name: result}).

        ``wanted`` names the inputs, by number, of which a gradient is wanted; None means all.
        """
        arrays = self.arrays if arrays is None else arrays
        wanted = range(len(arrays)) if wanted is None else wanted
        xs = [leaf_tensor(a) if i in wanted else Tensor(a) for i, a in enumerate(arrays)]
        return xs, self.apply(xs, create_graph)

    def values(self, x):
        """The value at the point ``x``, a vector of n numbers, real or complex."""
        parts = zip(self.inputs.parts(x), self.arrays)
        _, ys = self.run([placed(part, like) for part, like in parts])
        return to_vector([y.data for y in ys.values()])

    def jacobian(self):
        """The m × n matrix of derivatives as the engine computes it, one walk back for each row."""
        run = self.run(create_graph=True)
        rows = [self.row(run, u) for u in host.eye(self.outputs.size)]
        return host.stack(rows) if rows else host.zeros((0, self.inputs.size))

    def row(self, run, u):
        """uᵀ·J for a vector ``u``, after ``run``: zero where no gradient arrives."""
        xs, ys = run
        parts = pull(ys.values(), xs, cotangents(ys.values(), u))
        return to_vector([_zeros(x) if part is None else part.data for part, x in zip(parts, xs)])

    def gradient(self):
        """The function (x, g) ↦ Jᵀg, whose derivatives are those of the next order.

        It is a function of g too: gradients flow to the gradient that is handed in.
        """
        n = len(self.arrays)

        def apply(tensors, create_graph):
            xs, gs = tensors[:n], tensors[n:]
            xs = [x if x.node is not None else leaf_tensor(x.data) for x in xs]
            parts = pull(self.apply(xs, True).values(), xs, gs, create_graph)
            parts = [Tensor(_zeros(x)) if part is None else part for part, x in zip(parts, xs)]
            return {f"∂{name}": part for name, part in zip(self.inputs.names, parts)}

        ys = self.run()[1].values()
        weights = cotangents(ys, random_vector(self.outputs.size, self.order))
        names = [_cotangent_name(name) for name in self.outputs.names]
        arrays = [*self.arrays, *(weight.data for weight in weights)]
        names = [*self.inputs.names, *names]
        return Subject(self.name, apply, names, arrays, self.order + 1, self.ops)


def pull(ys, xs, gs, create_graph=False):
    """Jᵀg for each of ``xs``, None where nothing arrives; the graph can be walked again."""
    pairs = [(y, g) for y, g in zip(ys, gs) if y.node is not None]
    if not pairs:
        return [None] * len(xs)
    ys, gs = zip(*pairs)
    return grad(ys, xs, gs, create_graph=create_graph, retain_graph=True, allow_unused=True)


def cotangents(ys, u):
    """The vector ``u`` as a gradient to hand in for each of ``ys``: its shape, dtype, device."""
    parts = Layout([], [y.shape for y in ys]).parts(u)
    return [Tensor(placed(part, y.data).astype(y.dtype)) for part, y in zip(parts, ys)]


def leaf_tensor(array):
    """A tensor around ``array`` at which gradients end; the array may be complex."""
    return Tensor(array, leaf(array.shape, array.dtype))


def random_vector(size, seed):
    """Numbers of either sign, ½ to 1 in magnitude: none so small that its share goes unnoticed."""
    draw = host.random.default_rng(seed)
    return draw.uniform(0.5, 1, size) * draw.choice([-1.0, 1.0], size)


def to_vector(arrays):
    """The elements of all arrays, one after the other, on the host."""
    flat = [backend_of(array).to_host(array).reshape(-1) for array in arrays]
    return host.concatenate(flat) if flat else host.zeros(0)


def placed(part, like):
    """The host array ``part`` in memory of its own, on the device of ``like``."""
    backend = backend_of(like)
    return backend.from_host(part, backend.device_of(like))


def _zeros(tensor):
    return namespace(tensor.data).zeros_like(tensor.data)


def _cotangent_name(name):
    """The gradient that belongs to an output: of "y[0]" it is "g[0]", of "∂x" it is "g(∂x)"."""
    return "g" + name[1:] if name.startswith("y") else f"g({name})"


def _ops_behind(tensors):
    """The names of the ops that made ``tensors``, the last ones first, none twice."""
    names, stack, seen = {}, [y.node for y in tensors], set()
    while stack:
        node = stack.pop(0)
        if node is not None and node not in seen:
            seen.add(node)
            if node.op is not None:
                names[node.op.name] = None
            stack.extend(node.parents)
    return list(names)
