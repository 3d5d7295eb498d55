"""Scopes: whoever wants to know what larger things ops belong to, a layer or a step, is told here.

A watcher sees every op and not why it runs. So the call of a layer, the step of an optimizer, and
what else takes its share of a training step, are marked ``@scoped``; they are run through the
scopes of the mode, of which there are none unless somebody looks.

Whoever looks does so inside a context, and each context is one look.
"""

from contextlib import ContextDecorator, contextmanager
from functools import partial, wraps

from ..errors import GraphError
from .graph import mode

__all__ = ["context", "scoped"]


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


def context(function):
    """``contextlib.contextmanager`` for users: who enters such a context twice is told so.

    Above a function it is made anew for each call.
    """
    make = contextmanager(function)

    @wraps(function)
    def build(*args, **options):
        return _Context(function.__name__, partial(make, *args, **options))

    return build


class _Context(ContextDecorator):
    """What a function marked ``@context`` returns, to be entered once."""

    def __init__(self, name, make):
        self._name, self._make, self._inner = name, make, None

    def __enter__(self):
        if self._inner is not None:
            raise GraphError(
                f"{self._name}: this context was entered before, and serves once; write "
                f"`with {self._name}(...)` again for the next"
            )
        self._inner = self._make()
        return self._inner.__enter__()

    def __exit__(self, *error):
        return self._inner.__exit__(*error)

    def _recreate_cm(self):  # what ContextDecorator enters at each call
        return _Context(self._name, self._make)
