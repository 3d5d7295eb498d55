"""recompute: pay for memory with time. Forget what a function computed; compute it again later.

The graph of a function holds every array that its derivatives will ask for. ``recompute(fn, x)``
runs ``fn``, throws that graph away, and leaves a single node that knows how to run ``fn`` again.
When a gradient arrives there, the function is replayed on the same arguments with the same random
numbers, and the gradient walks back through the new graph, which is dropped in its turn. A chain of
n blocks then holds the n arrays between them and the inside of one, not the inside of all.

**Tensors that the function uses without being given them,** the parameters of a layer above all,
get their gradients too. They are found in the graph of the first run, by their age: a node that was
recorded before the run began is outside, and where the graph meets it, a gradient has to come out.

Reference: Chen et al., "Training Deep Nets with Sublinear Memory Cost", arXiv:1604.06174.
"""

from contextlib import contextmanager
from weakref import ref

from .backend import is_array
from .core import Tensor, is_grad_enabled
from .core.graph import Node, changed_mode, leaf, mode, owner
from .core.plan import check_unchanged
from .core.walk import walk
from .errors import GraphError
from .ops.random import Generator, default_generator, drawing_from
from .trees import entrance, map_tensors, outside, tensors_in

__all__ = ["recompute"]


def recompute(fn, *args, **options):
    """``fn(*args, **options)``, its activations dropped now and computed again on the way back.

    Values and gradients of every order are those of the plain call. ``fn`` takes and returns
    tensors, also inside lists, tuples and dicts. It must compute the same again: its random numbers
    may come from the thread's generator, or from a ``ta.Generator`` among the arguments.

    Raises: GraphError, on the way back, where a tensor that ``fn`` read was overwritten in place
    since, or where its results have other shapes than before.

    Example:
        >>> import tinygrad_attn as ta
        >>> weight = ta.tensor(3.0, requires_grad=True)
        >>> x = ta.tensor(2.0, requires_grad=True)
        >>> y = ta.recompute(lambda x: ta.square(weight * x), x)
        >>> ta.grad(y, (x, weight))
        (tensor(36.), tensor(24.))
    """
    if not is_grad_enabled():
        return fn(*args, **options)
    return _Segment(fn, (*args, *options.values())).run((args, options))


class _Segment:
    """The op behind a recomputed call: it goes back by running the function again."""

    name = "recompute"

    def __init__(self, fn, given):
        self.fn = fn
        self.generators = [default_generator(), *(x for x in given if isinstance(x, Generator))]
        self.states = [generator.get_state() for generator in self.generators]
        self.casting = mode.get().casting  # the second run is outside of any autocast region
        self.read = {}  # id -> weak reference, of each array that an op inside has read

    def run(self, call):
        """The results of the first run, behind one node in the place of all that was recorded."""
        began = leaf((), None).time
        sources = [x.node for x in tensors_in(call)]
        with changed_mode(watchers=(*mode.get().watchers, self._note)):
            result, entrances = self._play(call, sources)
        parents = sources + outside(tensors_in(result), entrances, began)
        if not any(parents):
            return map_tensors(Tensor.detach, result)
        hub = Node(self, parents, (map_tensors(Tensor.detach, call), len(sources)), (), None)
        for recorder in mode.get().recorders:
            recorder(hub, [x.data for x in tensors_in(call)])
        places = iter(range(len(tensors_in(result))))
        return map_tensors(lambda y: _behind(hub, next(places), y), result)

    def _play(self, call, sources):
        """Run the function, the tensors of ``call`` entering each by a node of its own."""
        sources, entrances = iter(sources), []

        def enter(x):
            entered = entrance(Tensor(x.data, next(sources)))
            entrances.append(entered.node)
            return entered

        args, options = map_tensors(enter, call)
        return self.fn(*args, **options), entrances

    def _note(self, op, phase, run, operands, node):
        """A watcher: note, weakly, what is read. What is still alive later came from outside."""
        for array in filter(is_array, operands):
            self.read[id(owner(array))] = ref(owner(array))
        return run()

    def pull_back(self, node, parts, wanted, create_graph):
        """[(parent, gradient)]: run again, and walk back through what that records."""
        call, count = node.saved
        check_unchanged(node, [known() for known in self.read.values() if known() is not None])
        with changed_mode(record=True, casting=self.casting), self._same_random_numbers():
            result, entrances = self._play(call, node.parents)
        ends = entrances + node.parents[count:]
        pairs = [(parent, end) for parent, end in zip(node.parents, ends) if end is not None]
        targets = {end for parent, end in pairs if wanted is None or parent in wanted}
        seeds = _seeds(tensors_in(result), parts)
        found = walk(seeds, targets, {end for _, end in pairs}, create_graph, create_graph)
        return [(parent, found[end]) for parent, end in pairs if end in found]

    @contextmanager
    def _same_random_numbers(self):
        """Inside, the generators draw again what they drew in the first run."""
        present = [generator.get_state() for generator in self.generators]
        try:
            for generator, state in zip(self.generators, self.states):
                generator.set_state(state)
            with drawing_from(self.generators[0]):  # the thread may have another by now
                yield
        finally:
            for generator, state in zip(self.generators, present):
                generator.set_state(state)


class _Result:
    """The op behind one result of a recomputed call: it hands its gradient on to the hub."""

    name = "recompute"

    def __init__(self, place):
        self.place = place

    def pull_back(self, node, gradient, wanted, create_graph):
        """[(hub, {which result: its gradient})]."""
        return [(node.parents[0], _Parts({self.place: gradient}))]


class _Parts(dict):
    """The gradients of several results, by number; what the walk adds up for their hub."""

    def __add__(self, other):
        return _Parts({**self, **other})


def _behind(hub, place, y):
    """A result of the first run, cut off from its graph and put behind the hub."""
    return Tensor(y.data, y.node and Node(_Result(place), [hub], (), y.shape, y.dtype))


def _seeds(results, parts):
    """{node of the second run: the gradient of that result}."""
    seeds = {}
    for place, gradient in parts.items():
        y = results[place] if place < len(results) else None
        if y is None or y.node is None or y.shape != gradient.shape:
            now = "gone" if y is None else y.shape
            raise GraphError(
                f"recompute: result {place} was {gradient.shape} and is {now} the second time; "
                "the function must compute the same again, from its arguments alone"
            )
        seeds[y.node] = seeds[y.node] + gradient if y.node in seeds else gradient
    return seeds
