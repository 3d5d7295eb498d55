"""From a user's function and inputs, whatever their structure, to a Subject, and back unharmed."""

import inspect
from contextlib import contextmanager

from ..backend import dtypes
from ..core import Tensor
from ..errors import DTypeError
from ..trees import is_module, map_tensors
from .subject import Subject

__all__ = ["subject_of"]


@contextmanager
def subject_of(fn, inputs):
    """Yield the Subject of ``fn`` at ``inputs``. Inside the context, modules hold other numbers.

    ``inputs`` is a tensor, a sequence of arguments or a dict of named ones. What is checked are
    its float tensors, also inside lists, tuples and dicts, and the parameters of modules, ``fn``
    among them. All else is passed on as it is.

    Raises: DTypeError for a float tensor that is not float64, for a function without a float
    result, and where there is nothing to differentiate.
    """
    named, args, options = _called_with(fn, inputs)
    tensors = {}  # id -> (name, tensor); one that appears twice is one variable
    for name, tree in [("", fn), *named] if is_module(fn) else named:
        for path, tensor in _leaves(tree, name):
            tensors.setdefault(id(tensor), (path, tensor))
    _require_float64(tensors.values())
    parameters = [
        p for tree in (fn, args, options) for module in _modules(tree) for p in _parameters(module)
    ]
    held = [(p, p.data, p.node) for _, p in parameters]

    def apply(substitutes, create_graph):
        table = dict(zip(tensors, substitutes))
        for _, parameter in parameters:
            twin = table[id(parameter)]
            parameter.data, parameter.node = twin.data, twin.node
        given = map_tensors(lambda x: table.get(id(x), x), (args, options))
        return _outputs(fn(*given[0], **given[1]))

    try:
        names = [name for name, _ in tensors.values()]
        yield Subject(_name_of(fn), apply, names, [x.data.copy() for _, x in tensors.values()])
    finally:
        for parameter, data, node in held:
            parameter.data, parameter.node = data, node


def _called_with(fn, inputs):
    """([(name, argument)], positional arguments, named ones)."""
    if isinstance(inputs, dict):
        return list(inputs.items()), (), dict(inputs)
    args = tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)
    return list(zip(_argument_names(fn, len(args)), args)), args, {}


def _argument_names(fn, count):
    """The names of the first parameters of ``fn``, as far as it tells them."""
    target = fn.forward if is_module(fn) and hasattr(fn, "forward") else fn
    try:
        parameters = inspect.signature(target).parameters.values()
    except (TypeError, ValueError):
        parameters = ()
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    rest = next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), "argument ")
    more = range(count - len(names))
    return [
        *names,
        *(f"{rest}[{i}]" if rest[-1] != " " else f"{rest}{len(names) + i}" for i in more),
    ][:count]


def _parts(tree):
    """[(how to write it, part)] of a list, tuple or dict; None for anything else."""
    if isinstance(tree, (list, tuple)):
        return [(f"[{i}]", part) for i, part in enumerate(tree)]
    if isinstance(tree, dict):
        return [(f"[{key!r}]", part) for key, part in tree.items()]
    return None


def _leaves(tree, name):
    """Yield (name, tensor) for every float tensor in ``tree``, parameters included."""
    if isinstance(tree, Tensor):
        if dtypes.is_float(tree.dtype):
            yield name, tree
    elif is_module(tree):
        for path, parameter in _parameters(tree):
            yield f"{name}.{path}" if name else path, parameter
    else:
        for place, part in _parts(tree) or ():
            yield from _leaves(part, name + place)


def _parameters(module):
    return [(path, p) for path, p in module.named_parameters() if p.requires_grad]


def _modules(tree):
    """Yield every module in ``tree``."""
    if is_module(tree):
        yield tree
    else:
        for _, part in _parts(tree) or ():
            yield from _modules(part)


def _outputs(result):
    """{name: tensor} of the float tensors in what a function returned: "y", "y[0]", "y['loss']"."""
    found = dict(_leaves(result, "y"))
    if not found:
        raise DTypeError(
            f"gradcheck: the function returned {_described(result)}, which holds no float tensor; "
            "there is nothing to differentiate"
        )
    return found


def _described(result):
    return f"a tensor of {result.dtype}" if isinstance(result, Tensor) else type(result).__name__


def _require_float64(named):
    """Refuse inputs in which a difference of two values would be noise."""
    for name, tensor in named:
        if tensor.dtype != dtypes.float64:
            raise DTypeError(
                f"gradcheck: {name} is {tensor.dtype}, shape {tensor.shape}; differences of such "
                "numbers are mostly rounding error, so check in float64: astype(ta.float64), or "
                "check_module for a Module"
            )
    if not named:
        raise DTypeError(
            "gradcheck: there is no float tensor among the inputs, so nothing to differentiate; "
            "give one of float64"
        )


def _name_of(fn):
    name = getattr(fn, "name", None) or getattr(fn, "__name__", None)
    return (name if isinstance(name, str) else type(fn).__name__).strip("<>")
