"""Fused ops: a fast kernel for the first order, and its plain definition for all the others.

    @fused(spec=softmax_spec)
    def softmax(x, *, axis):        # arguments first, then by keyword what is no array
        ...
        return y, backward          # backward(g) returns (∂L/∂x,)

The *spec* is the same function as a composite of primitives. It is the documentation of the kernel,
the oracle of its tests, and what the engine runs when a gradient is to be differentiated again: it
then replays the spec on the inputs, differentiates that, and forgets the kernel. So nobody ever
writes the derivative of a derivative.

A kernel gets raw arrays. If it has a keyword-only parameter ``needs`` it is told which arguments
want a gradient, all False when nothing is recorded, so that it can spare itself work. ``backward``
returns the gradients in the order of the arguments, constants left out, None for those that want
none; what it has returned it neither keeps nor writes to. Randomness is an input of a kernel, never
drawn inside: a replay must see the same mask.

The kernel here is the *portable* one, in the array language that all backends share. A backend may
own a faster one, in its table ``kernels`` under the op's name; which of them runs is looked up from
the array. It may decline a rare case by returning ``NotImplemented``, which is then the portable
kernel's. Kernels are given 16-bit floats in float32, unless they have a true attribute
``takes_halves``.
"""

from functools import partial

from ..backend import array_types, backend_of, dtypes, is_array, quiet
from .graph import is_older_than_last_write, mode
from .op import Op
from .plan import check_unchanged, fit, watched
from .primitive import primitive
from .tensor import Tensor
from .walk import walk

__all__ = ["Fused", "fused"]


class Fused(Op):
    """An op with a hand-written kernel and a spec. Made by ``@fused(spec=...)``."""

    lets_go = True
    """What a way back has returned it neither keeps nor writes to, so that the walk may write."""

    def __init__(self, kernel, spec, constants, reads_result, gives_pieces):
        super().__init__(kernel)
        self.spec, self.reads_result, self.gives_pieces = spec, reads_result, gives_pieces
        self._is_told = "needs" in self.options  # which arguments want a gradient
        self._places, self._needs = range(len(self.positional)), {}
        self.options.discard("needs")  # the engine gives it, no caller does
        self._order = [i for i, name in enumerate(self.positional) if name not in constants]
        self.differentiable = frozenset(self._order)

    def _run(self, arrays, options, wants, watchers, given):
        if len(array_types) > 1 and len(array_types.keys() & set(map(type, arrays))) > 1:
            self._device(arrays)  # raises: a kernel would not notice
        first = arrays[0] if is_array(arrays[0]) else next(filter(is_array, arrays), None)
        kernel = backend_of(first).kernels.get(self.name, self.forward)
        if self._is_told:
            needs = self._needs.get(wants)
            if needs is None:
                needs = self._needs[wants] = tuple([bool(wants >> i & 1) for i in self._places])
            options = {**options, "needs": needs}
        if watchers:
            run = partial(self._run_kernel, kernel, arrays, options)
            return watched(watchers, self, "forward", run, given)
        return self._run_kernel(kernel, arrays, options)

    @quiet
    def _run_kernel(self, kernel, arrays, options):
        """Run a kernel, or where it declines the portable one; what overflows is a value."""
        is_half = self._is_half(arrays)
        if is_half and not getattr(kernel, "takes_halves", False):
            kernel = partial(_in_float32, kernel)
        done = kernel(*arrays, **options)
        if done is NotImplemented:
            portable = partial(_in_float32, self.forward) if is_half else self.forward
            done = portable(*arrays, **options)
        return done

    def compute(self, *arrays, **options):
        """(y, backward) of raw arrays: for kernels that are composed of others.

        ``needs`` is to be given as any option is, where the kernel has it.
        """
        first = next(filter(is_array, arrays))
        kernel = backend_of(first).kernels.get(self.name, self.forward)
        return self._run_kernel(kernel, arrays, options)

    def _is_half(self, arrays):
        """Whether these are 16-bit floats; the differentiable arguments share a dtype by now."""
        for i in self._order:
            if is_array(arrays[i]):
                return dtypes.is_half(arrays[i].dtype)
        return False

    def _keep(self, arrays, options, wants, y, backward):
        held = (*arrays, y) if self.reads_result else arrays  # a replay may ask for the arrays
        return self, (backward, options, *held)

    def pull_back(self, node, gradient, wanted, create_graph):
        """[(parent, gradient)]: by the kernel, or by the spec to differentiate on."""
        backward, options, *held = node.saved
        if is_older_than_last_write(node):
            check_unchanged(node, held)
        arrays = held[: self.arity]
        if create_graph:
            run = partial(self._replay, node, arrays, options, gradient, wanted)
        else:
            run = partial(backward, gradient)
        watchers = mode.get().watchers
        if watchers:
            parts = watched(watchers, self, "backward", run, (gradient, *node.saved), node)
        else:
            parts = run()
        parts = parts if isinstance(parts, (tuple, list)) else (parts,)  # one may come bare
        found = []
        for i, part in zip(self._order, parts):
            parent = node.parents[i]
            if part is not None and parent is not None and (wanted is None or parent in wanted):
                if part.shape != parent.shape or part.dtype is not parent.dtype:
                    part = fit(part, node, i, self)
                found.append((parent, part))
        return found

    def _replay(self, node, arrays, options, gradient, wanted):
        """The gradients, with a graph, by differentiating the spec on the same inputs.

        The spec runs behind aliases of the inputs, at which the inner walk stops: one input may
        well have been computed from another, and that path is not this op's to follow. As the
        kernel did, it computes with 16-bit floats in float32.
        """
        inputs, ends = list(arrays), {}
        for i, (array, parent) in enumerate(zip(arrays, node.parents)):
            if is_array(array):
                inputs[i] = Tensor(_wide(array), parent)
            if parent is not None and (wanted is None or parent in wanted):
                inputs[i] = _alias(inputs[i])
                ends[i] = inputs[i].node
        y = self.spec(*inputs, **options)
        targets = frozenset(ends.values())
        found = walk({y.node: gradient}, targets, targets, create_graph=True, retain_graph=True)
        return tuple([found.get(ends.get(i)) for i in self._order])


def _in_float32(kernel, *arrays, **options):
    """Run a kernel, on 16-bit floats in float32: they are a format to store in, not to sum in."""
    dtype = next(a.dtype for a in arrays if is_array(a) and dtypes.is_half(a.dtype))
    done = kernel(*map(_wide, arrays), **options)
    if done is NotImplemented:
        return done
    y, backward = done
    return y.astype(dtype), lambda g, *_: backward(_wide(g))  # places for its results are 16 bits


def _wide(value):
    """An array of 16-bit floats in float32; anything else as it is."""
    is_half = is_array(value) and dtypes.is_half(value.dtype)
    return value.astype(dtypes.float32) if is_half else value


@primitive
def _alias(x):
    """The same values behind a node of their own."""
    return x


_alias.derivatives(x=lambda g: g)


def fused(*, spec, constants=(), reads_result=False, gives_pieces=False):
    """Turn a kernel on raw arrays into an op of tensors whose definition is ``spec``.

    Args:
        spec: the same function of the same arguments, composed of other ops.
        constants: the names of arguments that never carry a gradient: targets, masks.
        reads_result: whether a kernel's way back reads y, which may not be overwritten then.
        gives_pieces: whether views among the gradients are pieces of new arrays, none of which
            overlap; who receives one may write to it as to an array of its own.

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
    return lambda kernel: Fused(kernel, spec, constants, reads_result, gives_pieces)
