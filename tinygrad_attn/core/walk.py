"""The walk back along the tape: in which order, whom to tell, and when to stop.

A consumer is younger than what it consumed, so newest first is an order in which a node's gradient
is whole by the time its turn comes. What an op makes of a gradient the op knows; here gradients are
only handed on and added up.
"""

from operator import attrgetter, methodcaller

from ..errors import GraphError
from .graph import FREED

__all__ = ["walk"]

_copy = methodcaller("copy")


def walk(seeds, targets=None, stop=frozenset(), create_graph=False, retain_graph=False):
    """The chain rule: carry the gradients in ``seeds`` back, newest node first.

    When a node's turn comes, everybody who used its result has contributed, and its gradient is
    whole. It is handed to the op, which says what of it goes on to each parent.

    Args:
        seeds: {node: gradient of the quantity to differentiate with respect to the node's result}.
        targets: the nodes whose gradients are wanted; None means every leaf.
        stop: nodes at which to end, whatever is behind them: the inputs of a replayed op.
        create_graph: gradients are Tensors and the walk itself is recorded, so that it can be
            differentiated again; otherwise they are raw arrays.
        retain_graph: keep saved arrays for another walk.

    Returns: {target: gradient}; a target that nothing reached is absent. No gradient in it shares
    memory with another, with a seed, or with anything saved.
    Raises: GraphError where a node was freed by an earlier walk, or a saved array was overwritten.
    """
    order = _oldest_first(seeds, stop)
    wanted = None if targets is None else _leading_to(targets, order)
    gradients, results = dict(seeds), {}
    ours = set()  # the nodes whose gradient is in a buffer that nobody else holds
    while order:
        node = order.pop()
        if wanted is not None and node not in wanted:
            continue
        gradient = gradients.pop(node, None)
        if gradient is not None:
            if node.hooks and node not in stop:  # at a stop the gradient is only this walk's part
                ours.discard(node)  # a hook may keep the gradient that it is shown
                for hook in node.hooks:
                    gradient = hook(node, gradient)
            is_target = node.op is None if targets is None else node in targets
            if is_target:
                results[node] = gradient if node in ours else _copy(gradient)
        if node.op is None or node in stop or not (wanted is None or _goes_on(node, wanted)):
            continue  # nothing behind it is asked for
        if gradient is not None:
            _pull_back(node, gradient, wanted, gradients, ours, create_graph)
        if not retain_graph:
            node.release()
    return results


def _oldest_first(roots, stop):
    """Every node behind ``roots``, sorted by time: popping from the end meets consumers first."""
    seen = set(roots)
    stack = list(roots)
    while stack:
        node = stack.pop()
        if node.saved is FREED:
            raise GraphError(
                f"backward: the graph behind {node!r} was freed by an earlier walk; "
                "pass retain_graph=True to the first one to walk it twice"
            )
        if node not in stop:
            for parent in node.parents:
                if parent is not None and parent not in seen:
                    seen.add(parent)
                    stack.append(parent)
    return sorted(seen, key=attrgetter("time"))


def _leading_to(targets, order):
    """The nodes from which a target can be reached, targets included; no other is walked."""
    wanted = set(targets)
    for node in order:  # a node comes after its parents, so one pass is enough
        if _goes_on(node, wanted):
            wanted.add(node)
    return wanted


def _goes_on(node, wanted):
    """Whether something behind ``node`` is wanted."""
    return not wanted.isdisjoint(node.parents)


def _pull_back(node, gradient, wanted, gradients, ours, create_graph):
    """Add what ``node`` passes back to the gradients of its parents, in place where that is safe.

    ``ours`` gains each parent whose sum was made here, and each leaf whose first part is new.
    """
    parts = node.op.pull_back(node, gradient, wanted, create_graph)
    lets_go = not create_graph and getattr(node.op, "lets_go", False)
    for parent, part in parts:
        held = gradients.get(parent)
        if held is None:
            gradients[parent] = part
            if parent.op is None and not create_graph and _is_new(part, node, gradient, parts):
                ours.add(parent)
            continue
        if parent in ours and not create_graph:
            held += part
            total = held  # a 0-d NumPy result is a scalar, which += replaces
        elif lets_go and _is_new(part, node, gradient, parts):
            part += held
            total = part
        else:
            total = held + part
        gradients[parent] = total
        ours.add(parent)


def _is_new(part, node, gradient, parts):
    """Whether no other gradient and nothing saved shares this array's memory.

    A derivative may hand out the array that it was given (an addition does), a view, something
    saved, or one array twice; pieces of a new array are new too, if the op vouches for them.
    """
    if part.base is not None and not getattr(node.op, "gives_pieces", False):
        return False
    if part is gradient or id(part) in map(id, node.saved):
        return False
    known = [other for _, other in parts if other is part or other.base is part]
    return len(known) == 1
