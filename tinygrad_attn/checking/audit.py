"""Audits: what a right derivative must also be, besides right.

A gradient has the shape, dtype and device of its argument; computing it changes nothing that
anybody else can see, twice gives the same twice, and it does not matter which other gradients are
wanted. Each audit looks at one of these things, and yields a Finding where it fails.
"""

from functools import cached_property

from ..backend import dtypes, namespace
from ..core import Tensor
from .findings import via
from .report import Finding, number
from .subject import cotangents, host, placed, pull, random_vector, to_vector

__all__ = ["AUDITS", "FIRST", "HIGHER_ORDER_AUDITS", "Walk", "alike"]

SPECK = 1e-12  # where a derivative is 0, sums of its terms leave rounding of about this size


class Walk:
    """One trip forward and back: new tensors ``xs``, results ``ys``, gradients of ⟨gs, ys⟩."""

    def __init__(self, subject, arrays=None, wanted=None):
        self.xs, results = subject.run(arrays, wanted=wanted)
        self.ys = list(results.values())
        self.gs = cotangents(self.ys, random_vector(sum(y.size for y in self.ys), 7))

    @cached_property
    def gradients(self):
        """A gradient, or None, for each of the tensors that want one."""
        return self.back()

    def back(self, create_graph=False):
        """Walk back (again)."""
        return pull(self.ys, [x for x in self.xs if x.node is not None], self.gs, create_graph)


def deterministic(subject):
    """The same inputs give the same results, to the last bit, in memory of their own."""
    first, second = (Walk(subject, [array.copy() for array in subject.arrays]) for _ in range(2))
    if not _identical(first.ys, second.ys):
        yield _finding(
            subject,
            "not deterministic",
            "two calls on the same inputs gave different outputs; hand random numbers in as an "
            "argument, or put the module into eval()",
        )
        return
    if not (
        _identical(first.gradients, second.gradients) and _identical(first.gradients, first.back())
    ):
        yield _finding(
            subject, "not deterministic", "the same walk back twice gave different gradients"
        )
    made = [
        [y for y in walk.ys if y.node is not None] + _given(walk.gradients)
        for walk in (first, second)
    ]
    if _share_memory(made[0], made[1]):
        yield _finding(
            subject,
            "reused buffer",
            "a second call writes into the results of the first; make new arrays",
        )


def fits(subject):
    """Each gradient has the shape, dtype and device of its argument; no output is narrowed."""
    walk = Walk(subject)
    for name, y in zip(subject.outputs.names, walk.ys):
        if y.dtype != dtypes.float64:
            yield _finding(subject, "dtype", f"{name} is {y.dtype}, though every input is float64")
    for name, x, gradient in zip(subject.inputs.names, walk.xs, walk.gradients):
        for trait in ("shape", "dtype", "device"):
            have, want = getattr(gradient, trait, None), getattr(x, trait)
            if gradient is not None and have != want:
                message = f"the gradient of {name} has {trait} {have}, but {name} has {want}"
                yield _finding(subject, trait, message, name)


def isolated(subject):
    """No gradient shares memory with an input, an output, another gradient or one handed in."""
    walk = Walk(subject)
    others = {"an input": walk.xs, "an output": walk.ys, "the arriving gradient": walk.gs}
    for i, (name, gradient) in enumerate(zip(subject.inputs.names, walk.gradients)):
        before = {"the gradient of another argument": _given(walk.gradients[:i])}
        for what, tensors in (others | before).items():
            if gradient is not None and _share_memory([gradient], tensors):
                message = f"the gradient of {name} shares memory with {what}"
                yield _finding(subject, "alias", message, name)


def harmless(subject):
    """Neither way, forward or back, writes into inputs, outputs or the arriving gradient."""
    walk = Walk(subject)
    if not alike(_flat(walk.xs), subject.point, 0):
        yield _finding(subject, "in place", "the way forward overwrites an input")
        for array, part in zip(subject.arrays, subject.inputs.parts(subject.point)):
            array[...] = placed(part, array)
        return
    kept = {"an input": walk.xs, "an output": walk.ys, "the arriving gradient": walk.gs}
    before = {what: _flat(tensors) for what, tensors in kept.items()}
    walk.back()
    for what, tensors in kept.items():
        if not alike(_flat(tensors), before[what], 0):
            yield _finding(subject, "in place", f"the way back overwrites {what}")


def independent(subject):
    """Neither a gradient nor the output depends on which other gradients are wanted."""
    walk = Walk(subject)
    for i, name in enumerate(subject.inputs.names):
        if len(subject.arrays) > 1:
            alone = Walk(subject, wanted=(i,)).gradients[0]
            if not _alike_or_none(alone, walk.gradients[i]):
                message = f"the gradient of {name} is another when it is the only one wanted"
                yield _finding(subject, "dependent", message, name)
    if not _identical(Walk(subject, wanted=()).ys, walk.ys, 1e-12):
        yield _finding(subject, "dependent", "the output is another when no gradient is wanted")


def same_with_graph(subject):
    """With create_graph=True the gradient has the same value as without."""
    walk = Walk(subject)
    for name, plain, recorded in zip(
        subject.inputs.names, walk.gradients, walk.back(create_graph=True)
    ):
        if not _alike_or_none(plain, recorded, 1e-8):
            message = f"the gradient of {name} has another value with create_graph=True"
            yield _finding(subject, "create_graph", message, name)


def forward_is_reverse(subject):
    """⟨u, Jv⟩ = ⟨Jᵀu, v⟩, where Jv is the derivative of ⟨Jᵀu, v⟩ by u: no differences needed."""
    walk = Walk(subject)
    us = [u.requires_grad_() for u in walk.gs]
    v = subject.inputs.parts(random_vector(subject.inputs.size, 8))
    back = [
        (b, Tensor(placed(part, b.data)))
        for b, part in zip(walk.back(create_graph=True), v)
        if b is not None
    ]
    if not back:
        return
    gradients, vs = zip(*back)
    forth = pull(gradients, us, vs)
    reverse = _flat(gradients) * _flat(vs)
    forward = _flat([u for u, f in zip(us, forth) if f is not None]) * _flat(_given(forth))
    if not abs(forward.sum() - reverse.sum()) <= 1e-9 * host.abs(reverse).sum() + SPECK:
        yield _finding(
            subject,
            "forward against reverse",
            f"⟨u, Jv⟩ is {number(forward.sum())} but ⟨Jᵀu, v⟩ is {number(reverse.sum())}; "
            "the gradient is not linear in the gradient that arrives, or is cut off from it",
        )


FIRST = {  # without these, nothing else can be told
    "nothing is overwritten": harmless,
    "shape, dtype and device of the gradients": fits,
    "deterministic": deterministic,
}
AUDITS = {
    "no gradient is an alias": isolated,
    "each gradient alone": independent,
}
HIGHER_ORDER_AUDITS = {
    "the same with create_graph": same_with_graph,
    "forward against reverse": forward_is_reverse,
}


def alike(a, b, tolerance=1e-10):
    """Whether two vectors are equal, relative to the largest number in ``b``; NaN equals NaN.

    Numbers below a thousandth are held to that: a gradient of nothing but rounding has no digits.
    """
    if a.shape != b.shape:
        return False
    size = float(host.abs(b).max(initial=1e-3, where=host.isfinite(b)))
    return bool(((a == b) | (host.abs(a - b) <= tolerance * size) | ((a != a) & (b != b))).all())


def _flat(tensors):
    return to_vector([tensor.data for tensor in tensors])


def _given(tensors):
    return [tensor for tensor in tensors if tensor is not None]


def _alike_or_none(a, b, tolerance=1e-10):
    if a is None or b is None:
        return a is b
    return alike(_flat([a]), _flat([b]), tolerance)


def _identical(ones, others, tolerance=0):
    return len(ones) == len(others) and all(
        _alike_or_none(a, b, tolerance) for a, b in zip(ones, others)
    )


def _share_memory(ones, others):
    return any(
        a is b or (a.size and b.size and namespace(a.data).may_share_memory(a.data, b.data))
        for a in ones
        for b in others
    )


def _finding(subject, kind, message, argument=""):
    return Finding(kind, message, via(subject), argument)
