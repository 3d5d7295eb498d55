"""Trees: what functions of tensors take and return; and where such a function begins and ends.

A tree is a tensor, or a list, tuple, named tuple or dict of trees. Everything else in it, numbers,
None, strings, is carried along untouched.

Whoever differentiates a function, and not just a result, has to tell its inside from what was there
before. Its arguments enter behind nodes of their own, and everything else that it uses from outside
is older than the call.
"""

from .core import Tensor, primitive
from .errors import ShapeError

__all__ = [
    "entrance",
    "is_module",
    "map_tensors",
    "matching_tensors",
    "outside",
    "tensors_in",
]


def map_tensors(function, tree, of_module=lambda module: module):
    """The same tree with ``function(x)`` for each tensor x, and ``of_module(m)`` for each module m.

    Example:
        >>> import tinygrad_attn as ta
        >>> map_tensors(lambda x: x.shape, {"a": [ta.ones(2), ta.ones(3)], "b": "text"})
        {'a': [(2,), (3,)], 'b': 'text'}
    """
    if isinstance(tree, Tensor):
        return function(tree)
    if isinstance(tree, dict):
        return {key: map_tensors(function, value, of_module) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        parts = [map_tensors(function, part, of_module) for part in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)
    return of_module(tree) if is_module(tree) else tree


def tensors_in(tree):
    """The tensors of a tree, in the order in which ``map_tensors`` meets them."""
    found = []
    map_tensors(found.append, tree)
    return found


def matching_tensors(where, form, tree):
    """Yield (tensor of ``form``, what ``tree`` has in its place); dicts are matched by key.

    Raises: ShapeError where the tree has another form.
    """
    if isinstance(form, Tensor):
        yield form, tree
        return
    if not isinstance(form, (dict, list, tuple)):
        return
    is_dict = isinstance(form, dict)
    if isinstance(tree, dict) != is_dict or not isinstance(tree, (dict, list, tuple)):
        raise ShapeError(
            f"{where}: v has a {type(tree).__name__} in the place of a {type(form).__name__}; "
            "give the same form"
        )
    keys = list(form) if is_dict else range(len(form))
    if set(keys) != set(tree if is_dict else range(len(tree))):
        raise ShapeError(
            f"{where}: v has {_contents(tree)} in the place of {_contents(form)}; "
            "give the same form"
        )
    for key in keys:
        yield from matching_tensors(where, form[key], tree[key])


def _contents(tree):
    return f"the keys {list(tree)}" if isinstance(tree, dict) else f"{len(tree)} entries"


def is_module(value):
    """Whether ``value`` holds parameters by name, as an ``nn.Module`` does."""
    return hasattr(value, "named_parameters") and not isinstance(value, type)


@primitive
def entrance(x):
    """The same values behind a node of their own: where a function's argument comes in."""
    return x


entrance.derivatives(x=lambda g: g)


def outside(results, entrances, began):
    """The nodes from before ``began`` that the results depend on, other than by the entrances."""
    found, seen = [], {None, *entrances}
    left = [y.node for y in results]
    while left:
        node = left.pop()
        if node not in seen:
            seen.add(node)
            if node.time < began:
                found.append(node)
            else:
                left.extend(node.parents)
    return found
