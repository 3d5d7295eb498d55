"""Transforms: from a function to its derivatives, where ``ta.grad`` goes from tensors to theirs.

    value_and_grad(fn)(*args)    y and ∂y/∂(an argument)         one walk back
    vjp(fn, inputs, v)           y and Jᵀv                        one walk back
    jvp(fn, inputs, v)           y and J·v                        two walks back
    hvp(fn, inputs, v)           y and H·v, of a scalar function  two walks back
    jacobian(fn, inputs)         J                                a walk for each element of y
    hessian(fn, inputs)          H                                a walk for each element of inputs

``inputs`` is the one argument of ``fn``, or a tuple of its arguments. An argument is a tensor, a
list, tuple or dict of arguments, or a Module, which stands for the dict of its parameters that
require a gradient. A derivative comes in the form of the inputs, zeros for what has no influence.

Each input enters the function behind a node of its own, so a derivative by an argument is by that
alone, whatever else the tensor is used for; all that is older than the call is constant. Transforms
nest to any depth: where something that is being recorded outside had a part in the result, the
result is recorded too. ``create_graph=True`` asks for that, ``create_graph=False`` forbids it.

**Why J·v by two walks back.** Forward mode needs a second rule for each op. But  u ↦ Jᵀu, which the
walk back computes, is linear in u, and its own transpose is J. So we walk back with a variable u,
record that, and walk back once more from  ⟨Jᵀu, v⟩  to u:  ∂⟨Jᵀu, v⟩/∂u = J·v. This costs about one
walk more than forward mode would, and every op, fused and users' own included, has it for nothing.
Reference: Townsend, "A new trick for calculating Jacobian vector products", 2017.
"""

from .backend import dtypes, namespace, quiet
from .core import Tensor, enable_grad, is_grad_enabled, no_grad
from .core.graph import leaf
from .core.tensor import as_gradient, check_gradient
from .core.walk import walk
from .errors import DTypeError, ShapeError
from .ops import stack, zeros_like
from .ops.check import whole_number
from .trees import entrance, map_tensors, matching_tensors, outside, tensors_in

__all__ = ["hessian", "hvp", "jacobian", "jvp", "value_and_grad", "vjp"]


def value_and_grad(fn, argnums=0, *, has_aux=False, create_graph=None):
    """A function of the same arguments that returns (fn's value, its gradient).

    Args:
        argnums: which argument to differentiate, or a tuple of them, for a tuple of gradients.
        has_aux: ``fn`` returns (value, anything else); the result is ((value, else), gradient).
    Raises: ShapeError where the value is no scalar; DTypeError where an input holds no floats.

    Example: the gradient for the parameters of a module, by name.

        >>> import tinygrad_attn as ta
        >>> loss = lambda model, x: (model(x) ** 2).sum()
        >>> model = ta.nn.Linear(3, 1)
        >>> value, gradient = ta.value_and_grad(loss)(model, ta.ones(4, 3))
        >>> {name: g.shape for name, g in gradient.items()}
        {'weight': (1, 3), 'bias': (1,)}
    """
    several = isinstance(argnums, (tuple, list))
    chosen = argnums if several else (argnums,)
    chosen = [whole_number("value_and_grad", "argnums", i) for i in chosen]

    def differentiated(*args, **options):
        missing = [i for i in chosen if not -len(args) <= i < len(args)]
        if missing:
            raise ShapeError(
                f"value_and_grad: there is no argument {missing[0]}; {len(args)} were given, and "
                "argnums must be among them"
            )
        places = [i % len(args) for i in chosen]

        def restricted(*inputs):
            given = dict(zip(places, inputs))
            return fn(*[given.get(i, arg) for i, arg in enumerate(args)], **options)

        inputs = tuple(args[i] for i in places)
        run = _Run("value_and_grad", restricted, inputs, create_graph, has_aux)
        gradients = run.pull_back(run.outputs, run.one())
        value, gradients = run.value(), run.in_form_of_inputs(gradients)
        return value, (gradients if several else gradients[0])

    return differentiated


def vjp(fn, inputs, v, *, create_graph=None):
    """(fn's value, Jᵀv): the gradient of ⟨v, fn(inputs)⟩, with v in the form of the value.

    Raises: ShapeError, DTypeError where v does not fit the value.
    """
    run = _Run("vjp", fn, inputs, create_graph)
    gradients = run.pull_back(run.outputs, run.held_to(run.result, v))
    return run.value(), run.in_form_of_inputs(gradients)


def jvp(fn, inputs, v, *, create_graph=None):
    """(fn's value, J·v): how fast the value changes as the inputs move along v, in their form.

    Raises: ShapeError, DTypeError where v does not fit the inputs.

    Example: the slope of x² at 3, times 10.

        >>> import tinygrad_attn as ta
        >>> ta.jvp(ta.square, ta.tensor(3.0), ta.tensor(10.0))
        (tensor(9.), tensor(60.))
    """
    run = _Run("jvp", fn, inputs, create_graph)
    v = run.held_to(run.in_form_of_inputs(run.variables), v)
    u = [Tensor(zeros_like(y).data, leaf(y.shape, y.dtype)) for y in run.outputs]
    gradients = run.pull_back(run.outputs, u, create_graph=True)
    slopes = iter(run.pull_back(gradients, v, towards=u))
    return run.value(), map_tensors(lambda y: next(slopes), run.result)


def hvp(fn, inputs, v, *, create_graph=None):
    """(fn's value, H·v): the second derivatives of a scalar function times v, without the matrix H.

    Raises: ShapeError where the value is no scalar, or v does not fit the inputs; DTypeError.
    """
    run = _Run("hvp", fn, inputs, create_graph)
    v = run.held_to(run.in_form_of_inputs(run.variables), v)
    gradients = run.pull_back(run.outputs, run.one(), create_graph=True)
    return run.value(), run.in_form_of_inputs(run.pull_back(gradients, v))


def jacobian(fn, inputs, *, create_graph=None):
    """J = ∂fn/∂inputs: for each tensor y of the value and each input x a tensor, y.shape + x.shape.

    In the form of the value, and at the place of each y in the form of the inputs.

    Example:
        >>> import tinygrad_attn as ta
        >>> ta.jacobian(ta.square, ta.tensor([1.0, 2.0]))
        tensor([[2., 0.],
                [0., 4.]])
    """
    return _jacobian("jacobian", fn, inputs, create_graph)


def hessian(fn, inputs, *, create_graph=None):
    """H = ∂²fn/∂inputs²  of a scalar function: in the form of the inputs, twice.

    For two arguments a and b it is ((∂²/∂a∂a, ∂²/∂a∂b), (∂²/∂b∂a, ∂²/∂b∂b)).
    Raises: ShapeError where the value is no scalar.
    """

    def gradient(*arguments):
        run = _Run("hessian", fn, arguments, create_graph=True)
        gradients = run.in_form_of_inputs(run.pull_back(run.outputs, run.one()))
        return gradients if type(inputs) is tuple else gradients[0]

    return _jacobian("hessian", gradient, inputs, create_graph)


def _jacobian(where, fn, inputs, create_graph):
    run = _Run(where, fn, inputs, create_graph)
    return map_tensors(lambda y: run.in_form_of_inputs(_blocks(run, y)), run.result)


def _blocks(run, y):
    """∂y/∂x for each variable x: one walk back from each element of y."""
    rows = []
    for i in range(y.size):
        one_hot = namespace(y.data).zeros_like(y.data, order="C")
        one_hot.reshape(-1)[i] = 1
        rows.append(run.pull_back([y], [Tensor(one_hot)], again=True))
    columns = zip(*rows) if rows else ([] for _ in run.variables)
    return [_block(column, y, x) for column, x in zip(columns, run.variables)]


def _block(gradients, y, x):
    """The gradients of the elements of y with respect to x, as one tensor."""
    whole = stack(gradients) if gradients else zeros_like(x).reshape(1, *x.shape)[:0]
    return whole.reshape(*y.shape, *x.shape)


# ---- one run of the function, and the ways back through it ------------------------------------


class _Run:
    """A function, run and recorded at a point, each input behind a variable of its own."""

    def __init__(self, where, fn, inputs, create_graph, has_aux=False):
        self.where, self.inputs, self.has_aux = where, inputs, has_aux
        self.variables = []
        self.ends = []  # the nodes behind which it is no longer this function
        is_recorded = is_grad_enabled()  # by somebody outside
        began = leaf((), None).time
        with enable_grad():
            result = fn(*map(self._enter, inputs if type(inputs) is tuple else (inputs,)))
        self.result, self.aux = result if has_aux else (result, None)
        self.outputs = tensors_in(self.result)
        if not self.outputs:
            raise DTypeError(
                f"{where}: the function returned no tensor, but {type(result).__name__}; it must "
                "compute one from its inputs"
            )
        others = outside(self.outputs, {x.node for x in self.variables}, began)
        self.ends += others
        is_open = others or any(x.node and not x.is_leaf for x in tensors_in(inputs))
        self.create_graph = bool(is_recorded and is_open) if create_graph is None else create_graph

    def _enter(self, argument):
        """The argument, its tensors behind variables."""
        known = len(self.variables)
        entered = map_tensors(self._enter_tensor, argument, self._enter_module)
        if len(self.variables) == known:
            raise DTypeError(
                f"{self.where}: an input is a {type(argument).__name__} with no tensor in it, "
                "nothing to differentiate by; write ta.tensor(...)"
            )
        return entered

    def _enter_tensor(self, x):
        if not dtypes.is_float(x.dtype):
            raise DTypeError(
                f"{self.where}: an input is {x.dtype}, and only floats have derivatives; use "
                "astype(ta.float32), or give it to the function as a constant"
            )
        variable = entrance(x if x.node else Tensor(x.data, leaf(x.shape, x.dtype)))
        self.variables.append(variable)
        self.ends.append(variable.node)
        return variable

    def _enter_module(self, module):
        """A module enters as it is: its parameters are leaves, variables already."""
        self.variables.extend(_trained(module).values())
        return module

    def one(self):
        """[1], the gradient of the value with respect to itself; the value must be a scalar."""
        if len(self.outputs) != 1 or self.outputs[0].size != 1:
            shapes = ", ".join(str(y.shape) for y in self.outputs)
            raise ShapeError(
                f"{self.where}: the function must return one scalar; it returned {shapes}"
            )
        return [Tensor(namespace(y.data).ones_like(y.data)) for y in self.outputs]

    def held_to(self, form, v):
        """The tensors of ``v``, which must have the form of ``form``, and tensors like its own."""
        pairs = list(matching_tensors(self.where, form, v))
        for tensor, part in pairs:
            check_gradient(self.where, part, tensor)
        return [part for _, part in pairs]

    @quiet
    def pull_back(self, outputs, weights, towards=None, create_graph=None, again=False):
        """The gradients of Σ ⟨weights, outputs⟩ with respect to the variables, zeros included.

        ``again``: this is not the last time.
        """
        towards = self.variables if towards is None else towards
        create_graph = self.create_graph if create_graph is None else create_graph
        seeds = {}
        with enable_grad() if create_graph else no_grad():
            for y, weight in zip(outputs, weights):
                if y.node is not None:
                    weight = weight if create_graph else weight.data
                    seeds[y.node] = seeds[y.node] + weight if y.node in seeds else weight
            targets = {x.node for x in towards}
            found = walk(seeds, targets, set(self.ends), create_graph, create_graph or again)
        return [as_gradient(found[x.node]) if x.node in found else zeros_like(x) for x in towards]

    def value(self):
        """What the function returned, cut off from the graph inside unless that is asked for."""
        result = (self.result, self.aux) if self.has_aux else self.result
        return result if self.create_graph else map_tensors(Tensor.detach, result)

    def in_form_of_inputs(self, tensors):
        """The inputs again, with ``tensors`` in the place of the variables."""
        rest = iter(tensors)
        return map_tensors(
            lambda x: next(rest),
            self.inputs,
            lambda module: {name: next(rest) for name in _trained(module)},
        )


def _trained(module):
    """The parameters of a module that require a gradient, by name."""
    return {name: p for name, p in module.named_parameters() if p.requires_grad}
