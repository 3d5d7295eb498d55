"""The way back through a primitive: which of its rules run, and what is kept for them.

A Plan is made once for each set of arguments that want a gradient, and shared by all nodes of that
op with that set. It knows what to keep alive after the forward pass, and on the way back hands each
rule what the rule's own parameters name.

What both kinds of op do around their way back stands here too: ``fit`` what comes out to the
argument, refuse arrays that were overwritten, and let watchers look on.
"""

import inspect
from functools import partial
from operator import itemgetter

from ..backend import is_array
from ..errors import GraphError, ShapeError
from .graph import changed_since, is_older_than_last_write, mode
from .op import sum_to

__all__ = ["Plan", "check_unchanged", "fit", "watched"]


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
        if not needs:
            self.keep = lambda arrays, options, y: ()
        elif len(needs) == 1:
            (only,) = self.fetchers
            self.keep = lambda arrays, options, y: (only(arrays, options, y),)
        elif not op.variadic and set(needs) <= set(known):  # one look-up does it
            pick = _picker(needs, known)
            self.keep = lambda arrays, options, y: pick((*arrays, y))

    def keep(self, arrays, options, y):
        """The values that the rules will ask for."""
        return tuple([fetch(arrays, options, y) for fetch in self.fetchers])

    def pull_back(self, node, gradient, wanted, create_graph):
        """[(parent, gradient with respect to that argument)], for each that is wanted."""
        saved = node.saved
        if is_older_than_last_write(node):
            check_unchanged(node, saved)
        if create_graph:
            saved = [lift(value, node) for lift, value in zip(self.lifters, saved)]
        watchers = mode.get().watchers
        values, parts = (gradient, *saved), []
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
                    part = fit(part, node, i, self.op)
                parts.append((parent, part))
        return parts


def _picker(names, known):
    """A function from the values of ``known`` to the tuple of those of ``names``."""
    places = [known.index(name) for name in names]
    if len(places) > 1:
        return itemgetter(*places)
    if places:  # of a single place itemgetter would give no tuple; of a slice it does
        return itemgetter(slice(places[0], places[0] + 1))
    return lambda values: ()


def fit(part, node, i, op):
    """Undo what the forward pass did silently to argument i: sum over broadcast copies, cast back.

    A cast to fewer bits may overflow, so watchers get to see it, as a step of its own.
    """
    parent = node.parents[i]
    if part.shape != parent.shape:
        try:
            part = sum_to(part, parent.shape)
        except ShapeError as error:
            raise GraphError(
                f"{op.name}: the derivative with respect to argument {i} has shape {part.shape}, "
                f"but the argument is {parent.shape}; the rule is wrong"
            ) from error
    if part.dtype != parent.dtype:
        run, watchers = partial(part.astype, parent.dtype), mode.get().watchers
        part = watched(watchers, op, "backward", run, (part,), node)
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
            f"backward: {node.op.name} needs an array of shape {changed.shape} that was "
            "overwritten in place after the op had run"
            f"{where}; write into a copy, or call backward() first"
        )


def watched(watchers, op, phase, run, operands, node=None):
    """Call ``run``, which computes from ``operands``, inside the watchers, newest innermost."""
    for watcher in reversed(watchers):
        run = partial(watcher, op, phase, run, operands, node)
    return run()


def _arrays_in(values):
    """The raw arrays among ``values``, and inside tuples among them."""
    for value in values:
        if isinstance(value, tuple):
            yield from _arrays_in(value)
        elif is_array(value):
            yield value
