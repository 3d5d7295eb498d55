"""backward and grad: the two questions that a user asks of the tape."""

from collections.abc import Iterable

from ..backend import namespace, on_device_of, quiet
from ..errors import DTypeError, GraphError, ShapeError
from .graph import changed_mode
from .tensor import Tensor, as_gradient, check_gradient
from .walk import walk

__all__ = ["backward", "grad"]


@quiet
def backward(tensor, gradient=None, *, retain_graph=None, create_graph=False):
    """Compute ∂L/∂x for every leaf x behind ``tensor``, the scalar L, and add it to ``x.grad``.

    For a tensor y that is no scalar, ``gradient`` is ∂L/∂y of whatever L is computed from it.
    ``retain_graph`` keeps the graph for a second walk, ``create_graph`` makes the gradients
    differentiable themselves (it then retains the graph, and ``.grad`` holds it: a cycle that only
    ``x.grad = None`` or the garbage collector undoes; ``ta.grad`` has no such cycle).

    Raises: GraphError where nothing requires a gradient, the graph was freed, or a saved array was
    overwritten; ShapeError where y is no scalar and no gradient is given, or their shapes differ.
    """
    seeds = _seeds("backward", [tensor], [gradient], create_graph)
    retain_graph = create_graph if retain_graph is None else retain_graph
    with changed_mode(record=create_graph, casting=None):  # the dtypes are given by now
        arrived = walk(seeds, create_graph=create_graph, retain_graph=retain_graph)
    for node, part in arrived.items():
        new = as_gradient(part)
        node.grad = new if node.grad is None else node.grad + new


@quiet
def grad(
    outputs,
    inputs,
    grad_outputs=None,
    *,
    create_graph=False,
    retain_graph=None,
    allow_unused=False,
):
    """The gradients ∂L/∂x of ``inputs``, where L = Σ ⟨grad_outputs, outputs⟩.

    ``outputs`` and ``inputs`` are a tensor or a sequence of them; inputs may be leaves or computed.
    No ``.grad`` is touched. With ``create_graph=True`` the results can be differentiated again,
    with respect to ``grad_outputs`` too. An input that no output depends on is an error, or None
    with ``allow_unused``.

    Returns: a tensor for a tensor, else a tuple.
    Raises: as ``backward``; GraphError for an unused input.

    Example:
        >>> import tinygrad_attn as ta
        >>> x = ta.tensor(2.0, requires_grad=True)
        >>> dy = ta.grad(x**3, x, create_graph=True)
        >>> ta.grad(dy, x)
        tensor(12.)
    """
    ys = _as_list("outputs", outputs)
    xs = _as_list("inputs", inputs)
    gys = [None] * len(ys) if grad_outputs is None else _as_list("grad_outputs", grad_outputs)
    if len(gys) != len(ys):
        raise ShapeError(f"grad: {len(ys)} outputs but {len(gys)} grad_outputs; give one for each")
    for i, x in enumerate(xs):
        if x.node is None:
            raise GraphError(
                f"grad: input {i} does not require a gradient; call requires_grad_() first"
            )
    seeds = _seeds("grad", ys, gys, create_graph)
    retain_graph = create_graph if retain_graph is None else retain_graph
    with changed_mode(record=create_graph, casting=None):
        targets = {x.node for x in xs}
        arrived = walk(seeds, targets, create_graph=create_graph, retain_graph=retain_graph)
        results = tuple([_own(arrived, x.node, targets) for x in xs])
    for i, result in enumerate(results):
        if result is None and not allow_unused:
            raise GraphError(
                f"grad: no output depends on input {i}; pass allow_unused=True to get None for it"
            )
    return results[0] if isinstance(inputs, Tensor) else results


def _own(arrived, node, left):
    """The gradient that arrived at ``node``; a copy for all but the first who ask, not ``left``."""
    if node not in arrived:
        return None
    gradient = as_gradient(arrived[node])
    if node not in left:
        return gradient.copy()
    left.remove(node)
    return gradient


def _seeds(where, tensors, gradients, create_graph):
    """{node: the gradient to start with}; a tensor named twice gets the sum."""
    seeds = {}
    for y, g in zip(tensors, gradients):
        if y.node is None:
            raise GraphError(
                f"{where}: the output does not require a gradient; it was made under no_grad, or "
                "from no tensor with requires_grad=True"
            )
        if g is None:
            if y.size != 1:
                raise ShapeError(
                    f"{where}: the output has shape {y.shape}, so there is no single gradient; "
                    "reduce it to a scalar, or give the gradient of what is computed from it"
                )
            with on_device_of(y.data):
                g = Tensor(namespace(y.data).ones_like(y.data))
        check_gradient(where, g, y)
        g = g if create_graph else g.data
        seeds[y.node] = seeds[y.node] + g if y.node in seeds else g
    return seeds


def _as_list(name, value):
    """One tensor or a sequence of them as a list; in ``grad_outputs`` None may stand for 1."""
    if not isinstance(value, (Tensor, Iterable)):
        raise DTypeError(f"grad: {name} must be tensors, not {type(value).__name__}")
    tensors = [value] if isinstance(value, Tensor) else list(value)
    for tensor in tensors:
        if tensor is None and name == "grad_outputs":
            continue
        if not isinstance(tensor, Tensor):
            raise DTypeError(f"grad: {name} must be tensors, not {type(tensor).__name__}")
    return tensors
