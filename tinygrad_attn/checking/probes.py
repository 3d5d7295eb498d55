"""Probes: the same function on inputs that the user did not think of.

Each asks for something that has to hold whatever the function is: the layout of an array in memory
means nothing; a tensor used twice gets the sum of both gradients; an argument that is stretched
gets the sum over its copies; an empty input has an empty gradient; float32 stays float32. Where a
function does not take such an input the probe has nothing to say.
"""

from itertools import combinations

from ..backend import dtypes, is_array, namespace
from ..core import Tensor
from ..core.graph import changed_mode
from .audit import Walk, alike
from .findings import via
from .report import Finding
from .subject import pull, to_vector

__all__ = ["PROBES"]


# ---- the layout in memory ------------------------------------------------------------------------


def layouts(subject):
    """Arrays with gaps, turned, backwards or stretched in memory: all the same to a function."""
    for name, lay_out in LAYOUTS.items():
        laid_out = [lay_out(array) for array in subject.arrays]
        plain = _attempt(subject, [array.copy() for array in laid_out])
        if plain is None:
            continue
        walk = Walk(subject, laid_out)
        walk.gs = [Tensor(lay_out(g.data)) for g in walk.gs]
        plain.gs = [g.copy() for g in walk.gs]
        for what, found, right in (
            ("output", walk.ys, plain.ys),
            ("gradient", walk.gradients, plain.gradients),
        ):
            if not alike(_flat(found), _flat(right)):
                yield _finding(
                    subject, "layout", f"the {what} is another where the inputs are {name}"
                )


def _gapped(array):
    return array.repeat(2, axis=-1)[..., ::2] if array.ndim else array


def _turned(array):
    return array.swapaxes(0, -1).copy().swapaxes(0, -1) if array.ndim > 1 else array


def _backwards(array):
    return array[::-1].copy()[::-1] if array.ndim else array


def _stretched(array):
    return (
        namespace(array).broadcast_to(array[:1], array.shape)
        if array.ndim and array.size
        else array
    )


LAYOUTS = {
    "not contiguous": _gapped,
    "transposed in memory": _turned,
    "backwards in memory": _backwards,
    "broadcast views": _stretched,
}


# ---- other shapes, and the same tensor twice -----------------------------------------------------


def repeated(subject):
    """One tensor in two places gets the sum of the gradients of both."""
    names, shapes = subject.inputs.names, subject.inputs.shapes
    for i, j in combinations(range(len(shapes)), 2):
        arrays = list(subject.arrays)
        arrays[j] = arrays[i].copy()
        apart = _attempt(subject, arrays) if shapes[i] == shapes[j] else None
        if apart is None:
            continue
        xs = list(apart.xs)
        xs[j] = xs[i]
        (together,) = pull(subject.apply(xs, False).values(), [xs[i]], apart.gs)
        parts = [apart.gradients[k] for k in (i, j) if apart.gradients[k] is not None]
        if parts and not alike(_flat([together]), sum(_flat([part]) for part in parts)):
            both = f"{names[i]} and {names[j]}"
            message = f"where {both} are one tensor, its gradient is not the sum of theirs"
            yield _finding(subject, "repeated input", message, names[i])


def stretched(subject):
    """An argument of size 1 along an axis that is stretched gets the sum over its copies."""
    for i, shape in enumerate(subject.inputs.shapes):
        for axis in range(len(shape)):
            if shape[axis] < 2 or len(subject.arrays) < 2:
                continue
            arrays, name = list(subject.arrays), subject.inputs.names[i]
            arrays[i] = arrays[i][(slice(None),) * axis + (slice(0, 1),)].copy()
            short = _attempt(subject, arrays, back=True)
            arrays[i] = namespace(arrays[i]).broadcast_to(arrays[i], shape).copy()
            whole = _attempt(subject, arrays)
            if short is None or whole is None or not alike(_flat(short.ys), _flat(whole.ys)):
                continue  # this function does not stretch the argument along this axis
            if short.gradients[i] is None or whole.gradients[i] is None:
                continue
            found, copies = _flat([short.gradients[i]]), whole.gradients[i].data
            if not alike(found, to_vector([copies.sum(axis=axis, keepdims=True)])):
                where = f"where {name} is stretched along axis {axis}"
                message = f"{where}, its gradient is not the sum over the copies"
                yield _finding(subject, "broadcast", message, name, _lost_sum(found, copies, axis))


def _lost_sum(found, copies, axis):
    """The likely cause where the gradients of copies were not added up."""
    if alike(found, to_vector([copies.mean(axis=axis)])):
        return "the copies are averaged instead of summed"
    if any(
        alike(found, to_vector([copies.take(k, axis=axis)])) for k in (0, copies.shape[axis] - 1)
    ):
        return "missing the broadcast sum: only one copy is counted"
    return ""


def empty(subject):
    """Where a function takes inputs without elements, it can be walked back too."""
    emptied = [array[:0] if array.ndim else array for array in subject.arrays]
    for k in range(-1, len(emptied)):
        arrays = [e if k in (-1, i) else a for i, (a, e) in enumerate(zip(subject.arrays, emptied))]
        walk = _attempt(subject, arrays)
        for name, x, gradient in zip(subject.inputs.names, walk.xs, walk.gradients) if walk else ():
            if gradient is not None and gradient.shape != x.shape:
                message = f"{name} is {x.shape} but its gradient is {gradient.shape}"
                yield _finding(subject, "empty input", message, name)


# ---- another dtype -------------------------------------------------------------------------------


def narrow(subject):
    """An op that gets float32 makes float32, forward and back; ``astype`` may do as it says."""
    widened = {}

    def watch(op, phase, run, operands, node):
        result = run()
        made = _dtypes(result if isinstance(result, (tuple, list)) else [result])
        if (
            dtypes.float64 in made
            and dtypes.float64 not in _dtypes(operands)
            and op.name != "astype"
        ):
            widened[op.name, phase] = True
        return result

    with changed_mode(watchers=(watch,)):
        walk = _attempt(subject, [array.astype(dtypes.float32) for array in subject.arrays])
        if walk is not None:
            walk.back()
    for op, phase in widened:
        yield _finding(
            subject, "dtype widened", f"{op} makes float64 out of float32 on the way {phase}"
        )


def _dtypes(values):
    return {value.dtype for value in values if is_array(value)}


PROBES = {
    "layouts in memory": layouts,
    "one tensor in two places": repeated,
    "stretched arguments": stretched,
    "inputs without elements": empty,
    "float32 stays float32": narrow,
}


def _attempt(subject, arrays, back=False):
    """A Walk with other inputs, or None where the function does not take them."""
    try:
        walk = Walk(subject, arrays)
        return walk if not back or walk.gradients else None
    except Exception:  # whatever a user's function raises: it was never asked to take these
        return None


def _flat(tensors):
    return to_vector([tensor.data for tensor in tensors if tensor is not None])


def _finding(subject, kind, message, argument="", cause=""):
    return Finding(kind, message, via(subject), argument, cause=cause)
