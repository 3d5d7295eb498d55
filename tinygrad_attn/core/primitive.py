"""Primitives: an op as a page of mathematics, a forward and one derivative per argument.

    @primitive
    def multiply(a, b):
        return a * b

    multiply.derivatives(a=lambda g, b: g * b,
                         b=lambda g, a: g * a)

A rule is keyed by the argument it differentiates, and *its own parameters name what it needs*:

    g          ∂L/∂y, the gradient of the loss with respect to the result
    y          the result
    b          any argument of the op, as it was given
    b_shape    the shape of that argument, where its values are not needed
    i          in a rule for ``*xs``: which of them to differentiate; it is called once for each

The names are read once, when the op is defined, and a node keeps alive just what the rules that
will run have asked for. Rules get raw arrays; when a gradient is to be differentiated again they
get Tensors, and the very same line records the graph of the derivative. So every order comes from
one formula. A rule returns something new, or what it was given: no array that it keeps.

Two things that array libraries do silently in the forward pass are undone here, once for every op:
broadcasting (by summing over the copies) and mixing of dtypes (by casting back).
"""

import inspect
from functools import partial

from ..backend import array_types, backend_of, dtypes, is_array
from ..errors import TinygradAttnError
from .graph import PLAIN, Node, mode
from .op import FAILURES, Op
from .plan import Plan, watched
from .tensor import Tensor

__all__ = ["Primitive", "primitive"]

_USUAL = (dtypes.float32, dtypes.float64)  # nearly every tensor's: so looked for here first


class Primitive(Op):
    """An op that is differentiated by its own rules. Made by ``@primitive``."""

    is_bare = True

    def __init__(self, function):
        super().__init__(function)
        self.rules = {}
        self._usual = -1 if self.options else self.arity  # how many arguments, on the short way
        self._operands = 0  # how many there are, if all may have a gradient
        self._plans = {}

    def derivatives(self, **rules):
        """Give the derivative with respect to each named argument; returns the op.

        Raises: TypeError for a rule about, or in need of, something that is no argument of the op.
        """
        for argument, rule in rules.items():
            if argument != self.variadic and argument not in self.positional:
                raise TypeError(f"{self.name}.derivatives: {argument!r} is no argument of the op")
            for need in inspect.signature(rule).parameters:
                if need != "g":
                    self._fetcher(need)
        self.rules.update(rules)
        if self.variadic is None:
            self.differentiable = frozenset(map(self.positional.index, self.rules))
            self._operands = self.arity if len(self.differentiable) == self.arity else 0
        self._plans.clear()
        return self

    def __call__(self, *args, **options):
        """The common case of ``Op.__call__``, in short: tensors of one float type, and numbers.

        Nothing happens here that does not happen there. But on small tensors the cost of an op is
        the cost of these lines, which is half of those.
        """
        if options or len(args) != self._usual or mode.get() is not PLAIN:
            return super().__call__(*args, **options)
        if self._operands == 2 and type(args[0]) is type(args[1]) is Tensor:
            a, b = args
            arrays, parents, dtype = (a.data, b.data), (a.node, b.node), a.data.dtype
            wants = (a.node is not None) + 2 * (b.node is not None)
            if dtype is not b.data.dtype:
                return super().__call__(*args)
        elif self._operands == 1 and type(args[0]) is Tensor:
            (a,) = args
            arrays, parents, dtype = (a.data,), (a.node,), a.data.dtype
            wants = int(a.node is not None)
        else:
            arrays, parents, wants, dtype = self._take_usual(args)
        if dtype is None or dtype not in _USUAL:  # to NumPy None is float64
            return super().__call__(*args)
        try:
            y = self.forward(*arrays)
        except TinygradAttnError:  # says what is wrong; from itself it would be a cycle
            raise
        except FAILURES as error:
            raise self._explain(error, arrays) from error
        if type(y) not in array_types:
            y = backend_of(y).asarray(y)
        if not wants or not (y.dtype is dtype or dtypes.is_float(y.dtype)):
            return Tensor(y)
        plan = self._plans.get(wants) or self._plan(wants, len(arrays))
        return Tensor(y, Node(plan, parents, plan.keep(arrays, options, y), y.shape, y.dtype))

    def _take_usual(self, args):
        """What ``_take_apart`` finds, or a dtype of None where that has more to do than this."""
        arrays, parents, wants, dtype = [], [], 0, None
        unusual = arrays, parents, 0, None
        for i, arg in enumerate(args):
            if isinstance(arg, Tensor):
                if i not in self.differentiable:
                    return unusual
                arrays.append(data := arg.data)
                parents.append(node := arg.node)
                if node is not None:
                    wants += 1 << i
                if dtype is not data.dtype:
                    if dtype is not None:
                        return unusual
                    dtype = data.dtype
            elif type(arg) is float or type(arg) is int:
                arrays.append(arg)
                parents.append(None)
            elif (
                i in self.differentiable
                or type(arg) is list
                or (type(arg) is tuple and Tensor in map(type, arg))
            ):
                return unusual
            else:  # an axis, a shape
                arrays.append(arg)
                parents.append(None)
        return arrays, parents, wants, dtype

    def _run(self, arrays, options, wants, watchers, given):
        if not watchers:
            return self.forward(*arrays, **options), None
        run = partial(self.forward, *arrays, **options)
        return watched(watchers, self, "forward", run, given), None

    def _keep(self, arrays, options, wants, y, state):
        plan = self._plan(wants, len(arrays))
        return plan, plan.keep(arrays, options, y)

    def _plan(self, wants, count):
        """The Plan for ``count`` arguments of which those with their bit set in ``wants`` ask."""
        key = wants if self.variadic is None else (wants, count)
        if key not in self._plans:
            self._plans[key] = Plan(self, [wants >> i & 1 for i in range(count)])
        return self._plans[key]

    def _fetcher(self, need):
        """How to get, after the forward pass, the value that a rule calls ``need``.

        Returns two functions: ``fetch(arrays, options, y)`` gets the raw value to keep, and
        ``lift(value, node)`` makes a Tensor of it again, connected to the graph.
        """
        if need == "y":
            return (lambda arrays, options, y: y), Tensor
        if need == "i" and self.variadic:  # the plan fills it in, once for each argument
            return (lambda arrays, options, y: None), _as_it_is
        if need in self.options:
            return (lambda arrays, options, y: options[need]), _as_it_is
        if need == self.variadic:
            return (
                lambda arrays, options, y: tuple(arrays),
                lambda value, node: tuple(map(_lift, value, node.parents)),
            )
        if need in self.positional:
            k = self.positional.index(need)
            return (
                lambda arrays, options, y: arrays[k],
                lambda value, node: _lift(value, node.parents[k]),
            )
        argument = need.removesuffix("_shape")
        if argument != need and argument == self.variadic:
            return (lambda arrays, options, y: tuple(map(_shape, arrays))), _as_it_is
        if argument != need and argument in self.positional:
            k = self.positional.index(argument)
            return (lambda arrays, options, y: _shape(arrays[k])), _as_it_is
        raise TypeError(
            f"{self.name}.derivatives: a rule asks for {need!r}; it may ask for g, y, "
            f"an argument of {self.name}{inspect.signature(self)}, or its _shape"
        )


def _as_it_is(value, node):
    """A value that carries no gradient is the same in a graph."""
    return value


def _lift(value, node):
    """An argument as a Tensor on its node again; a number, or None, as it is."""
    return Tensor(value, node) if is_array(value) else value


def _shape(value):
    """The shape of an array; a number has ()."""
    return getattr(value, "shape", ())


def primitive(function):
    """Turn a function of raw arrays into an op of tensors. See the top of this file.

    Example: a new op, its derivative, and its use.

        >>> import tinygrad_attn as ta
        >>> @ta.primitive
        ... def cube(x):
        ...     return x * x * x
        >>> _ = cube.derivatives(x=lambda g, x: g * 3 * x * x)
        >>> x = ta.tensor(2.0, requires_grad=True)
        >>> ta.grad(cube(x), x)
        tensor(12.)
        >>> bool(ta.gradcheck(cube, ta.randn(3, dtype="float64"), order=2))
        True
    """
    return Primitive(function)
