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
one formula.

Two things that array libraries do silently in the forward pass are undone here, once for every op:
broadcasting (by summing over the copies) and mixing of dtypes (by casting back).
"""

import inspect
from functools import partial
from operator import itemgetter

from ..backend import array_types, backend_of, dtypes, is_array
from ..errors import GraphError, ShapeError
from .graph import PLAIN, Node, changed_since, is_older_than_last_write, mode
from .op import FAILURES, Op, sum_to
from .tensor import Tensor

__all__ = ["Primitive", "primitive"]

_USUAL = (dtypes.float32, dtypes.float64)


class Primitive(Op):
    """An op that is differentiated by its own rules. Made by ``@primitive``."""

    is_bare = True

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

    def __call__(self, *args, **options):
        """The common case of ``Op.__call__`` in one piece: tensors of one float type and plain
        numbers.

        Nothing happens here that does not happen there. But on small tensors the cost of an op is
        the cost of these lines, and this is half of it.
        """
        if options or len(args) != self.arity or mode.get() is not PLAIN:
            return super().__call__(*args, **options)
        arrays, parents, wants, bit, dtype = [], [], 0, 1, None
        differentiable = self.differentiable
        for i, arg in enumerate(args):
            if isinstance(arg, Tensor):
                if i not in differentiable:
                    return super().__call__(*args)
                data, node = arg.data, arg.node
                if dtype is not data.dtype:
                    if dtype is not None or data.dtype not in _USUAL:
                        return super().__call__(*args)
                    dtype = data.dtype
                if node is not None:
                    wants |= bit
                arrays.append(data)
                parents.append(node)
            elif type(arg) is float or type(arg) is int:
                arrays.append(arg)
                parents.append(None)
            elif (
                i in differentiable
                or type(arg) is list
                or (type(arg) is tuple and Tensor in map(type, arg))
            ):
                return super().__call__(*args)
            else:  # an axis, a shape
                arrays.append(arg)
                parents.append(None)
            bit += bit
        if dtype is None:
            return super().__call__(*args)
        try:
            y = self.forward(*arrays)
        except FAILURES as error:
            raise self._explain(error, arrays) from error
        if type(y) not in array_types:
            y = backend_of(y).asarray(y)
        if not wants or y.dtype is not dtype:
            return Tensor(y) if not wants else super().__call__(*args)
        plan = self._plans.get(wants) or self._plan(wants, len(arrays))
        return Tensor(y, Node(plan, parents, plan.keep(arrays, options, y), y.shape, dtype))

    def _run(self, arrays, options, wants, watchers):
        if watchers:
            return watched(
                watchers, self, "forward", lambda: self.forward(*arrays, **options), arrays
            ), None
        return self.forward(*arrays, **options), None

    def _keep(self, arrays, options, wants, y, state):
        plan = self._plan(wants, len(arrays))
        return plan, plan.keep(arrays, options, y)

    def _plan(self, wants, count):
        """How to go back when those of ``count`` arguments ask whose bits are set in ``wants``."""
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
        if need in self.options:
            return (lambda arrays, options, y: options[need]), lambda value, node: value
        whole = need.removesuffix("_shape")
        if whole != need and whole == self.variadic:
            return (
                lambda arrays, options, y: tuple(map(_shape, arrays))
            ), lambda value, node: value
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
        needs = []  # the names of the values to keep
        self.steps = []  # (argument, its rule, what picks the rule's arguments, where `i` goes)
        for i, wanted in enumerate(wants):
            rule = op.rules.get(op.variadic or op.positional[i])
            if wanted and rule is not None:
                asked = list(inspect.signature(rule).parameters)
                needs += [need for need in asked if need != "g" and need not in needs]
                which = asked.index("i") if "i" in asked and op.variadic else None
                self.steps.append((i, rule, _picker(asked, ["g", *needs]), which))
        pairs = [op._fetcher(need) for need in needs]
        self.fetchers = [fetch for fetch, _ in pairs]
        self.lifters = [lift for _, lift in pairs]
        known = [*op.positional, "y"]
        if not op.variadic and set(needs) <= set(known):  # arguments and result, as nearly always
            pick = _picker(needs, known)
            self.keep = lambda arrays, options, y: pick((*arrays, y))

    def keep(self, arrays, options, y):
        """The values that the rules will ask for."""
        return tuple([fetch(arrays, options, y) for fetch in self.fetchers])

    def pull_back(self, node, gradient, wanted, create_graph):
        """Yield (parent, gradient with respect to that argument) for each wanted one."""
        saved = node.saved
        if is_older_than_last_write(node):
            check_unchanged(node, saved)
        if create_graph:
            saved = [lift(value, node) for lift, value in zip(self.lifters, saved)]
        watchers = mode.get().watchers
        values = (gradient, *saved)
        for i, rule, pick, which in self.steps:
            parent = node.parents[i]
            if wanted is not None and parent not in wanted:
                continue
            arguments = pick(values)
            if which is not None:
                arguments = (*arguments[:which], i, *arguments[which + 1 :])
            if watchers:
                part = watched(
                    watchers, self.op, "backward", partial(rule, *arguments), arguments, node
                )
            else:
                part = rule(*arguments)
            if part is not None:
                if part.shape != parent.shape or part.dtype is not parent.dtype:
                    part = fit(part, parent, self.op, i)
                yield parent, part


def _picker(names, known):
    """A function from the values of ``known`` to the tuple of those of ``names``."""
    places = [known.index(name) for name in names]
    if len(places) > 1:
        return itemgetter(*places)
    return itemgetter(slice(places[0], places[0] + 1)) if places else lambda values: ()


def fit(part, parent, op, i):
    """Undo what the forward pass did silently: sum over broadcast copies, cast back."""
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
    """Raise GraphError if an array in ``saved`` was overwritten since the node was recorded."""
    changed = changed_since(node.time, _arrays_in(saved))
    if changed is not None:
        where = (
            f" called at {node.site}"
            if node.site
            else "; ta.detect_anomaly() shows where it was called"
        )
        raise GraphError(
            f"backward: {node.op.name} needs an array of shape {changed.shape} that was overwritten "
            f"in place after the op had run{where}; write into a copy, or call backward() first"
        )


def watched(watchers, op, phase, run, operands, node=None):
    """Call ``run``, which computes from ``operands``, inside the watchers, newest innermost."""
    for watcher in reversed(watchers):
        run = _around(watcher, op, phase, run, operands, node)
    return run()


def _around(watcher, op, phase, run, operands, node):
    return lambda: watcher(op, phase, run, operands, node)


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
