"""What a profile notes while a program runs: who worked when, inside what, and for which module.

All that is noted is a list of *spans*, one for each run of an op in one direction, for each call of
a module and each step of an optimizer. Nothing is added up until somebody asks.

**Nested spans.** Under ``create_graph`` the derivative of one op runs other ops. A span knows the
one that it is inside of, so the time of the inner one is taken out of the *self* time of the outer:
self times add up to what was spent, and nothing is counted twice.

**Modules.** A span remembers the modules that were running when it began, its *home*. On the way
back none of them runs any more; so what a node saved carries the home of its op along.
"""

from threading import get_ident, get_native_id
from time import perf_counter_ns
from weakref import WeakValueDictionary

from ..backend import backend_of, get_backend, is_array
from ..core import Tensor
from ..core.graph import changed_mode, mode
from ..core.scopes import context
from ..trees import is_module
from .saved import Ledger
from .table import add_up, module_table, op_table, page
from .trace import write_trace

__all__ = ["Profile", "profile"]


@context
def profile(*, synchronize=False):
    """Time every op that runs inside, forward and back, and count what is saved for the way back.

    A profile is of the thread that opened it. To note an op costs ten or twenty microseconds, which
    count as between the ops and not in them, and some hundred bytes: profile a few steps, not a
    whole training. Outside the context nothing is measured and nothing is paid.

    Args:
        synchronize: wait for the device before and after each op. A GPU is only handed its work and
            does it later, so without this the time of an op is what handing it over took, and the
            work shows up wherever the program next waits. With it the times are those of the work,
            and the whole takes longer, as nothing overlaps any more.

    Raises: GraphError where one context is entered twice: each is one profile.
    Returns: the Profile: ``print(p)``, ``p.ops``, ``p.modules``, ``p.save_trace(path)``.

    Example:
        >>> import tinygrad_attn as ta
        >>> layer = ta.nn.Linear(3, 2)
        >>> with ta.profile() as p:
        ...     for _ in range(5):
        ...         layer(ta.ones(4, 3)).sum().backward()
        >>> p.ops["linear"].calls, p.ops["linear"].saved    # x and nothing else, 48 bytes each time
        (5, 240)
    """
    p = Profile(synchronize)
    now = mode.get()
    watchers, recorders = (*now.watchers, p._watch), (*now.recorders, p._record)
    try:
        with changed_mode(watchers=watchers, recorders=recorders, scopes=(*now.scopes, p._enter)):
            yield p
    finally:
        p._close()


class Span:
    """One thing that took time, from ``start`` to ``end`` in nanoseconds.

    Its ``kind`` is "forward" or "backward", of an op; "step", of an optimizer; or "module".
    """

    __slots__ = ("kind", "name", "home", "outer", "inside", "shapes", "start", "end")

    def __init__(self, kind, name, home, outer, shapes):
        self.kind, self.name = kind, name
        self.home = home  # the paths of the modules that it belongs to, outermost first
        self.outer = outer  # the span in which it began, or None
        of_module = outer is not None and outer.kind == "module"
        self.inside = outer.inside if of_module else outer  # the same, modules left out
        self.shapes = shapes
        self.start = self.end = perf_counter_ns()


class Profile:
    """What ``ta.profile()`` has measured. Times are in seconds, sizes in bytes."""

    def __init__(self, synchronize):
        self.spans = []
        """Every Span, in the order of their beginnings."""
        self.saved = Ledger()
        """Bytes saved for the way back: ``saved.peak``, ``saved.alive``, ``saved.total``."""
        self._running = []  # the spans that have not ended
        self._modules, self._paths = WeakValueDictionary(), {}  # id -> module; id -> its path
        self.homes = {}  # path -> the home of the module that is there
        self._device = (get_backend("cpu"), "cpu") if synchronize else None  # to wait for
        self._owner = get_ident()  # None once it is closed
        self.thread = get_native_id()  # as other tools know it
        self.start, self.end = perf_counter_ns(), None

    # ---- what was measured -----------------------------------------------------------------------

    @property
    def seconds(self):
        """From the opening of the context to its end."""
        return ((self.end or perf_counter_ns()) - self.start) / 1e9

    @property
    def ops(self):
        """{name of an op, or of a step: its Row}, in the order of their first runs."""
        return add_up(self, by_module=False)

    @property
    def modules(self):
        """{path of a module: its Row}, in the order of their first calls.

        A path is the module's name inside the model that was called, as in ``named_modules()``, and
        of the model itself its class. What ran outside of all modules is at "".
        """
        return add_up(self, by_module=True)

    def op_table(self, sort="self", limit=None):
        """A line for each op, largest first by the column ``sort``; from ``limit`` on in one line.

        Raises: DTypeError for a column that is not there.
        """
        return op_table(self, sort, limit)

    def module_table(self, sort=None, depth=None):
        """A line for each module, in the order of their calls or, largest first, by a column.

        With ``depth`` only those so many levels inside the model, as in ``summary()``: what is
        deeper counts as its own time of the one that it is in.
        Raises: DTypeError for a column that is not there.
        """
        return module_table(self, sort, depth)

    def save_trace(self, path):
        """Write a trace to look at along time, in https://ui.perfetto.dev or chrome://tracing.

        The format is the Trace Event Format's JSON: every module and op is a complete event, with
        its ops inside a module, and beneath runs the curve of the bytes saved. On the way back the
        modules whose gradients are computed are drawn around the ops.

        Raises: DataError where the file cannot be written.
        """
        write_trace(self, path)

    def __repr__(self):
        return page(self)

    # ---- while it happens ------------------------------------------------------------------------

    def _watch(self, op, phase, run, operands, node):
        """A watcher: time an op."""
        if self._owner != get_ident():
            return run()
        operands = [x.data if isinstance(x, Tensor) else x for x in operands]
        arrays = [x for x in operands if is_array(x)]
        home = None if node is None else self.saved.home_of(node)
        home = self._home if home is None else home
        if self._device and arrays:
            backend = backend_of(arrays[0])
            self._device = backend, backend.device_of(arrays[0])
        return self._time(phase, op.name, home, run, [tuple(x.shape) for x in arrays])

    def _enter(self, function, who, run):
        """A scope: time the call of a module, or a step."""
        if self._owner != get_ident():
            return run()
        if is_module(who):
            path = self._path(who)
            home = self._home or self.homes.get(path, ())[:-1]
            self.homes.setdefault(path, (*home, path))
            return self._time("module", path, (*home, path), run)
        return self._time("step", _step_name(function, who), self._home, run)

    def _record(self, node, operands):
        """A recorder: count what the new node keeps."""
        if self._owner == get_ident():
            self.saved.enter(node, operands, self._home)

    def _time(self, kind, name, home, run, shapes=()):
        outer = self._running[-1] if self._running else None
        self._synchronize()
        span = Span(kind, name, home, outer, shapes)
        self.spans.append(span)
        self._running.append(span)
        try:
            return run()
        finally:
            self._running.pop()
            self._synchronize()
            span.end = perf_counter_ns()

    def _synchronize(self):
        """If asked to, wait for the device of the latest op."""
        if self._device:
            backend, name = self._device
            with backend.on(name):
                backend.synchronize()

    @property
    def _home(self):
        """The modules for which the program is working now."""
        return self._running[-1].home if self._running else ()

    def _path(self, module):
        """The path of a module: its name inside the first model that was called with it inside.

        Of two modules with the same name, in two models, the second is followed by "#2".
        """
        if self._modules.get(id(module)) is not module:
            taken = {self._paths[known] for known in list(self._modules)}
            for path, inner in module.named_modules():
                if self._modules.get(id(inner)) is not inner:
                    path = _unlike(path or type(module).__name__, taken)
                    self._modules[id(inner)], self._paths[id(inner)] = inner, path
                    taken.add(path)
        return self._paths[id(module)]

    def _close(self):
        """Stop: a generator, or another task, may still run in this mode."""
        self.end, self._owner = perf_counter_ns(), None
        self.saved.is_open = False


def _step_name(function, who):
    """ "AdamW.step" for a method, by the class of its object; "clip_grad_norm_" for a function."""
    name = function.__name__
    return f"{type(who).__name__}.{name}" if hasattr(who, name) else name


def _unlike(path, taken):
    """The path, numbered if it is taken."""
    names = (path if n == 1 else f"{path}#{n}" for n in range(1, len(taken) + 2))
    return next(name for name in names if name not in taken)
