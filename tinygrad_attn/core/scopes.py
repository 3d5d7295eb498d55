"""Scopes: whoever wants to know what larger things ops belong to, a layer or a step, is told here.

A watcher sees every op and not why it runs. So the call of a layer, the step of an optimizer, and
what else takes its share of a training step, are marked ``@scoped``; they are run through the
scopes of the mode, of which there are none unless somebody looks.
"""

from functools import partial, wraps

from .graph import mode

__all__ = ["scoped"]


def scoped(function):
    """Run ``function`` inside the scopes, newest innermost.

    A scope is called as ``scope(function, who, run)``, where ``who`` is the first argument, of a
    method the layer or the optimizer itself, and returns what ``run()`` does.
    """

    @wraps(function)
    def call(*args, **options):
        scopes = mode.get().scopes
        if not scopes:
            return function(*args, **options)
        run = partial(function, *args, **options)
        for scope in reversed(scopes):
            run = partial(scope, function, args[0] if args else None, run)
        return run()

    return call
