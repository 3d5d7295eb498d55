"""Fused ops: a fast kernel for the first order, and its plain definition for all the others.

    @fused(spec=softmax_spec)
    def softmax(x, axis):
        ...
        return y, backward          # backward(g) returns (∂L/∂x,)

The *spec* is the same function as a composite of primitives. It is the documentation of the kernel,
the oracle of its tests, and what the engine runs when a gradient is to be differentiated again: it
then replays the spec on the inputs, differentiates that, and forgets the kernel. So nobody ever
writes the derivative of a derivative.

A kernel gets raw arrays. If it has a keyword-only parameter ``needs`` it is told which arguments
want a gradient, all False when nothing is recorded, so that it can spare itself work. ``backward``
returns the gradients in the order of the arguments, constants left out, None for those that want
none, and never touches them again. Randomness is an input of a kernel, never drawn inside: a replay
must see the same mask.

A backend may own a faster kernel under the same name. Which one runs is looked up from the array.
Such a kernel may decline a call by returning NotImplemented. Kernels are given 16-bit floats in
float32, unless the kernel has an attribute ``takes_halves`` that is true.
"""

from functools import partial

from ..backend import backend_of, dtypes, is_array, quiet
from .graph import is_older_than_last_write, mode, walk
from .op import Op
from .plan import check_unchanged, fit, watched
from .primitive import primitive
from .tensor import Tensor

__all__ = ["Fused", "fused"]


class Fused(Op):
    """An op with a hand-written kernel and a spec. Made by ``@fused(spec=...)``."""

    def __init__(self, kernel, spec, constants):
        super().__init__(kernel)
        self.spec = spec
        self._is_told = "needs" in self.options  # which arguments want a gradient
        self.options.discard("needs")  # the engine gives it, no caller does
        self.differentiable = frozenset(
            i for i, name in enumerate(self.positional) if name not in constants
        )

    def _run(self, arrays, options, wants, watchers):
        first = next(filter(is_array, arrays), None)
        own = backend_of(first).kernels.get(self.name)
        if self._is_told:
            needs = tuple([bool(wants >> i & 1) for i in range(len(arrays))])
            options = {**options, "needs": needs}
        if watchers:
            run = partial(_compute, own, self.forward, arrays, options)
            return watched(watchers, self, "forward", run, arrays)
        return _compute(own, self.forward, arrays, options)

    def _keep(self, arrays, options, wants, y, backward):
        return self, (backward, options, *arrays)  # the arrays too: a replay may be asked for

    def pull_back(self, node, gradient, wanted, create_graph):
        """Yield (parent, gradient): by the kernel, or by the spec to differentiate on."""
        backward, options, *arrays = node.saved
        if is_older_than_last_write(node):
            check_unchanged(node, arrays)
        if create_graph:
            parts = self._replay(node, arrays, options, gradient, wanted)
        else:
            parts = self._run_backward(node, backward, gradient)
        for i, part in parts:
            parent = node.parents[i]
            if part is not None and parent is not None and (wanted is None or parent in wanted):
                yield parent, fit(part, parent, self, i)

    def _run_backward(self, node, backward, gradient):
        """(argument, gradient) pairs by the kernel's own way back."""
        watchers = mode.get().watchers
        if watchers:
            run, operands = partial(backward, gradient), (gradient, *node.saved)
            parts = watched(watchers, self, "backward", run, operands, node)
        else:
            parts = backward(gradient)
        parts = parts if isinstance(parts, (tuple, list)) else (parts,)  # one may come bare
        return zip(sorted(self.differentiable), parts)

    def _replay(self, node, arrays, options, gradient, wanted):
        """(argument, gradient with a graph) pairs, by differentiating the spec on the same inputs.

        The spec runs behind aliases of the inputs, at which the inner walk stops: one input may
        well have been computed from another, and that path is not this op's to follow.
        """
        inputs, ends = list(arrays), {}
        for i, (array, parent) in enumerate(zip(arrays, node.parents)):
            if is_array(array):
                inputs[i] = Tensor(array, parent)
            if parent is not None and (wanted is None or parent in wanted):
                inputs[i] = _alias(inputs[i])
                ends[i] = inputs[i].node
        y = self.spec(*inputs, **options)
        targets = frozenset(ends.values())
        found = walk({y.node: gradient}, targets, targets, create_graph=True, retain_graph=True)
        return [(i, found.get(end)) for i, end in ends.items()]


def _compute(own, portable, arrays, options):
    """Run the backend's own kernel, or where it has none, or declines, the portable one."""
    if own is not None:
        is_any_width = getattr(own, "takes_halves", False)
        done = own(*arrays, **options) if is_any_width else _in_float32(own, arrays, options)
        if done is not NotImplemented:
            return done
    return _in_float32(portable, arrays, options)


@quiet
def _in_float32(kernel, arrays, options):
    """Run a kernel, on 16-bit floats in float32: they are a format to store in, not to sum in."""
    halves = [is_array(a) and dtypes.is_half(a.dtype) for a in arrays]
    if True not in halves:
        return kernel(*arrays, **options)
    dtype, wide = arrays[halves.index(True)].dtype, dtypes.float32
    arrays = [a.astype(wide) if is_half else a for a, is_half in zip(arrays, halves)]
    y, backward = kernel(*arrays, **options)
    return y.astype(dtype), lambda g: backward(g.astype(wide))


@primitive
def _alias(x):
    """The same values behind a node of their own."""
    return x


_alias.derivatives(x=lambda g: g)


def fused(*, spec, constants=()):
    """Turn a kernel on raw arrays into an op of tensors whose definition is ``spec``.

    Args:
        spec: the same function of the same arguments, composed of other ops.
        constants: the names of arguments that never carry a gradient: targets, masks.

    Example: a square whose derivative is computed on the way forward.

        >>> import tinygrad_attn as ta
        >>> @ta.fused(spec=lambda x: x * x)
        ... def fast_square(x):
        ...     slope = x + x
        ...     return x * x, lambda g: (g * slope,)
        >>> x = ta.tensor(3.0, requires_grad=True)
        >>> dy = ta.grad(fast_square(x), x, create_graph=True)   # the spec's derivative
        >>> ta.grad(dy, x)
        tensor(2.)
    """
    return lambda kernel: Fused(kernel, spec, constants)
