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

The names are read once, when the op is defined, and a node keeps alive just what the rules that will run
have asked for. Rules get raw arrays; when a gradient is to be differentiated again they get Tensors, and
the very same line records the graph of the derivative. So every order comes from one formula.

Two things that array libraries do silently in the forward pass are undone here, once for every op:
broadcasting (by summing over the copies) and mixing of dtypes (by casting back).
"""

import inspect

from ..backend import backend_of, is_array
from ..errors import GraphError, ShapeError
from .graph import changed_since, mode
from .op import Op, sum_to
from .tensor import Tensor

__all__ = ["Primitive", "primitive"]


class Primitive(Op):
    """An op that is differentiated by its own rules. Made by ``@primitive``."""

    def __init__(self, function):
        super().__init__(function)
        self.rules = {}
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
        self._plans.clear()
        return self

    def _compute(self, arrays, options, wants, watchers):
        if watchers:
            y = watched(watchers, self, "forward", lambda: self.forward(*arrays, **options))
        elif options:
            y = self.forward(*arrays, **options)
        else:
            y = self.forward(*arrays)
        return (y if is_array(y) else backend_of(y).asarray(y)), None

    def _keep(self, arrays, options, wants, y, state):
        key = wants if self.variadic is None else (wants, len(arrays))
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans[key] = Plan(self, [wants >> i & 1 for i in range(len(arrays))])
        return plan, plan.keep(arrays, options, y)

    def _fetcher(self, need):
        """How to get, after the forward pass, the value that a rule calls ``need``.

        Returns two functions: ``fetch(arrays, options, y)`` gets the raw value to keep, and
        ``lift(value, node)`` makes a Tensor of it again, connected to the graph.
        """
        if need == "y":
            return (lambda arrays, options, y: y), lambda value, node: Tensor(value, node)
        if need == "i" and self.variadic:
            return (lambda arrays, options, y: None), lambda value, node: None
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
        if need in self.defaults:
            return (lambda arrays, options, y: options[need]), lambda value, node: value
        whole = need.removesuffix("_shape")
        if whole != need and whole == self.variadic:
            return (lambda arrays, options, y: tuple(map(_shape, arrays))), lambda value, node: value
        if whole != need and whole in self.positional:
            k = self.positional.index(whole)
            return (lambda arrays, options, y: _shape(arrays[k])), lambda value, node: value
        raise TypeError(
            f"{self.name}.derivatives: a rule asks for {need!r}; it may ask for g, y, "
            f"an argument of {self.name}{inspect.signature(self)}, or its _shape"
        )


class Plan:
    """How to go back through one op when just these of its arguments want a gradient."""

    def __init__(self, op, wants):
        self.op, self.name = op, op.name
        needs = {}  # what to keep -> its place among the saved values
        self.steps = []  # (which argument, its rule, the places of what the rule asks for; -1 is g)
        for i, wanted in enumerate(wants):
            rule = op.rules.get(op.variadic or op.positional[i])
            if wanted and rule is not None:
                asked = list(inspect.signature(rule).parameters)
                places = [-1 if need == "g" else needs.setdefault(need, len(needs)) for need in asked]
                self.steps.append((i, rule, places, asked.index("i") if "i" in asked and op.variadic else None))
        pairs = [op._fetcher(need) for need in needs]
        self._fetchers = [fetch for fetch, _ in pairs]
        self.lifters = [lift for _, lift in pairs]

    def keep(self, arrays, options, y):
        """The values that the rules will ask for."""
        return [fetch(arrays, options, y) for fetch in self._fetchers] if self._fetchers else ()

    def pull_back(self, node, gradient, wanted, create_graph):
        """Yield (parent, gradient of the loss with respect to that argument) for each wanted one."""
        saved = node.saved
        check_unchanged(node, saved)
        if create_graph:
            saved = [lift(value, node) for lift, value in zip(self.lifters, saved)]
        watchers = mode.get().watchers
        for i, rule, places, which in self.steps:
            parent = node.parents[i]
            if wanted is not None and parent not in wanted:
                continue
            values = [gradient if place < 0 else saved[place] for place in places]
            if which is not None:
                values[which] = i
            if watchers:
                part = watched(watchers, self.op, "backward", lambda: rule(*values), node)
            else:
                part = rule(*values)
            if part is not None:
                yield parent, fit(part, parent, self.op, i)


def fit(part, parent, op, i):
    """Undo what the forward pass did silently: sum over broadcast copies, cast back to the dtype."""
    if part.shape != parent.shape:
        try:
            part = sum_to(part, parent.shape)
        except ShapeError as error:
            raise GraphError(
                f"{op.name}: the derivative with respect to argument {i} has shape {part.shape}, "
                f"but the argument is {parent.shape}; the rule is wrong"
            ) from error
    if part.dtype != parent.dtype:
        part = part.astype(parent.dtype)
    return part


def check_unchanged(node, saved):
    """Raise GraphError if an array among ``saved`` was written in place since the node was recorded."""
    changed = changed_since(node.time, _arrays_in(saved))
    if changed is not None:
        where = f" called at {node.site}" if node.site else "; ta.detect_anomaly() shows where it was called"
        raise GraphError(
            f"backward: {node.op.name} needs an array of shape {changed.shape} that was overwritten in place "
            f"after the op had run{where}; write into a copy, or call backward() first"
        )


def watched(watchers, op, phase, run, node=None):
    """Run ``run`` inside the watchers, the newest one innermost."""
    for watcher in reversed(watchers):
        run = _around(watcher, op, phase, run, node)
    return run()


def _around(watcher, op, phase, run, node):
    return lambda: watcher(op, phase, run, node)


def _arrays_in(values):
    """The raw arrays among ``values``, and inside tuples among them."""
    for value in values:
        if isinstance(value, tuple):
            yield from _arrays_in(value)
        elif is_array(value):
            yield value


def _lift(value, node):
    return Tensor(value, node) if is_array(value) else value


def _shape(value):
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
