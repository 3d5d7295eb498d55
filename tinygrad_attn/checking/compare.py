"""The derivative that the engine computes, beside the one that values alone suggest.

Small functions are compared entry by entry of the whole Jacobian. Large ones by random projection:
with G = Jᵀu for a random u, the slope of ⟨u, f⟩ along a random v has to be ⟨G, v⟩. One wrong
element among a million changes that number, and halving the support of v over and over finds which
it is.
"""

from dataclasses import dataclass

from .diagnosis import Evidence, likely_cause
from .findings import METHODS, Place, quotient, via
from .numeric import Slope, typical_size
from .report import Check, Finding
from .subject import host, random_vector

__all__ = ["Rules", "compare"]

SMALL = 4096  # entries of a Jacobian that is compared whole,
NARROW = 256  # and its rows and columns: each costs at least a trip through the function
SAMPLE = 256  # elements looked at to explain what went wrong in a large one
RTOL = {"complex": 1e-9, "central": 1e-6}


@dataclass(frozen=True)
class Rules:
    """When two numbers count as equal, and what else the user chose."""

    rtol: float | None
    atol: float
    mode: str = "auto"
    directions: int = 3
    seed: int = 0
    allow_kinks: bool = False

    def allowed(self, found, slope, scale, method):
        """How far ``found`` may be from the slope, where numbers are as large as ``scale``."""
        rtol = RTOL[method] if self.rtol is None else self.rtol
        size = host.maximum(host.abs(found), host.abs(slope.value)) + scale
        return self.atol + rtol * size + slope.error

    def accepts_kink(self, found, slope, allowed):
        """Whether ``found`` may stand at a kink: between the slopes to the left and right."""
        low, high = host.minimum(slope.left, slope.right), host.maximum(slope.left, slope.right)
        return self.allow_kinks & (found >= low - allowed) & (found <= high + allowed)


def compare(subject, differences, rules):
    """Returns (findings, the Check that says what was compared)."""
    m, n = subject.outputs.size, subject.inputs.size
    unbounded = ~host.isfinite(subject.value)
    if unbounded.any():
        k = int(unbounded.argmax())
        message = f"{subject.outputs.label(k)} is {subject.value[k]} here, so it has no derivative"
        finding = Finding("not finite", message, via(subject))
        return [finding], Check(f"order {subject.order}", "a value is not finite")
    is_small = m * n <= SMALL and m + n <= NARROW
    if rules.mode == "full" or (rules.mode == "auto" and is_small):
        how, comparison = f"whole Jacobian {m} × {n}", Whole(subject, differences, rules)
    else:
        how = f"{rules.directions} random directions for each argument (n = {n})"
        comparison = Projected(subject, differences, rules)
    findings = [f for i in range(len(subject.arrays)) for f in comparison.findings(i)]
    by = f"{METHODS[differences.method]}, largest difference {comparison.largest:.1e}"
    return findings, Check(f"order {subject.order}", f"{how}, {by}")


class Whole:
    """The comparison of whole Jacobians."""

    def __init__(self, subject, differences, rules):
        self.subject, self.method, self.rules = subject, differences.method, rules
        self.found = subject.jacobian()
        self.slopes = differences.columns(range(subject.inputs.size))
        off = host.where(self.slopes.kinked, 0, host.abs(self.found - self.slopes.value))
        self.largest = float(off.max(initial=0))

    def findings(self, i):
        """Yield what is to be said about argument ``i``."""
        span = self.subject.inputs.spans[i]
        found, slope = self.found[:, span], self.slopes.at((slice(None), span))
        smooth = ~slope.kinked
        scale = _size(host.where(smooth, slope.value, 0))
        allowed = self.rules.allowed(found, slope, scale, self.method)
        off = host.abs(found - slope.value)
        rough = smooth & ~(slope.error <= _tolerable(slope.value))
        beside = host.isnan(found) & slope.kinked.any(axis=0)  # 0 times a kink's infinite slope
        wrong = smooth & ~(off <= allowed) & ~rough & ~beside
        if wrong.any():
            scores = host.where(wrong, host.nan_to_num(off / allowed, nan=host.inf), -1)
            share = f"; {int(wrong.sum())} of {wrong.size} entries are wrong"
            cause = likely_cause(self._evidence(i))
            yield self._worst(scores, span).wrong(self.method, cause, share * (wrong.size > 1))
        kinked = slope.kinked & ~self.rules.accepts_kink(found, slope, allowed)
        if kinked.any():
            yield self._worst(kinked, span).kink()
        if rough.any():
            yield self._worst(rough, span).rough()

    def _worst(self, scores, span):
        """The Place with the highest of the ``scores``, one for each entry of the block."""
        row, column = host.unravel_index(int(scores.argmax()), scores.shape)
        k = span.start + int(column)
        what = quotient(self.subject.outputs.label(row), self.subject.inputs.label(k))
        return Place(self.subject, k, what, self.found[row, k], self.slopes.at((row, k)))

    def _evidence(self, i):
        inputs, outputs = self.subject.inputs, self.subject.outputs
        right = {name: self.slopes.value[:, span] for name, span in zip(inputs.names, inputs.spans)}
        return Evidence(
            found=self.found[:, inputs.spans[i]],
            expected=right.pop(inputs.names[i]),
            x=self.subject.point[inputs.spans[i]],
            y=self.subject.value,
            x_shape=inputs.shapes[i],
            y_shape=outputs.shapes[0] if len(outputs.shapes) == 1 else None,
            others=right,
        )


class Projected:
    """The comparison of G = Jᵀu with slopes of ⟨u, f⟩, for a random u."""

    def __init__(self, subject, differences, rules):
        self.subject, self.differences, self.rules = subject, differences, rules
        self.u = random_vector(subject.outputs.size, rules.seed + 1)
        self.gradient = subject.row(subject.run(create_graph=True), self.u)
        self.largest = 0.0

    def findings(self, i):
        """Yield what is to be said about argument ``i``: the first direction that fails says it."""
        span = self.subject.inputs.spans[i]
        for trial in range(self.rules.directions if span.stop > span.start else 0):
            v = host.zeros(self.subject.inputs.size)
            v[span] = random_vector(span.stop - span.start, (self.rules.seed, i, trial))
            v[span] *= typical_size(self.subject.point[span])
            found, slope = float(self.gradient @ v), self._projected(self.differences.along(v))
            scale = float(host.sqrt(((self.gradient * v) ** 2).sum()))
            allowed = self.rules.allowed(found, slope, scale, self.differences.method)
            if slope.kinked:
                fine = self.rules.accepts_kink(found, slope, allowed)
            else:
                off = abs(found - float(slope.value))
                self.largest = max(self.largest, off)
                fine = off <= allowed and slope.error <= _tolerable(scale)
            if not fine:
                yield self._blame(i, v)
                return

    def _projected(self, slope):
        """The Slope of ⟨u, f⟩ from that of f."""
        u = self.u
        error = host.abs(u) @ slope.error
        return Slope(u @ slope.value, error, slope.kinked.any(), u @ slope.left, u @ slope.right)

    def _blame(self, i, v):
        """The finding about the element that is to blame for a failure along ``v``."""
        k = self._search(self.subject.inputs.spans[i], v)
        slope = self._projected(self.differences.column(k))
        what = quotient("⟨u, f⟩ with random weights u", self.subject.inputs.label(k))
        place = Place(self.subject, k, what, self.gradient[k], slope)
        if slope.kinked:
            return place.kink()
        if not slope.error <= _tolerable(slope.value):
            return place.rough()
        return place.wrong(self.differences.method, likely_cause(self._evidence(i)))

    def _search(self, span, v):
        """The element of ``span`` where most of the difference along ``v`` comes from."""
        start, stop = span.start, span.stop
        while stop - start > 1:
            middle = (start + stop) // 2
            is_left = self._off(v, start, middle) >= self._off(v, middle, stop)
            start, stop = (start, middle) if is_left else (middle, stop)
        return start

    def _off(self, v, start, stop):
        """The difference along that part of ``v``, with its uncertainty; ∞ at a kink."""
        part = host.zeros(len(v))
        part[start:stop] = v[start:stop]
        slope = self._projected(self.differences.along(part))
        off = abs(float(self.gradient @ part - slope.value)) + float(slope.error)
        return host.inf if slope.kinked or host.isnan(off) else off

    def _evidence(self, i):
        """All elements of a small argument, a sample of a large one."""
        span, shape = self.subject.inputs.spans[i], self.subject.inputs.shapes[i]
        ks = range(span.start, span.stop, max(1, (span.stop - span.start) // SAMPLE))
        return Evidence(
            found=self.gradient[None, ks],
            expected=(self.u @ self.differences.columns(ks).value)[None],
            x=self.subject.point[ks],
            x_shape=shape if len(ks) == span.stop - span.start else None,
        )


def _tolerable(value):
    """The uncertainty of a difference beyond which it says nothing about numbers of this size."""
    return 1e-3 * (host.abs(value) + _size(value)) + 1e-9


def _size(a):
    return float(host.abs(a).max(initial=0, where=host.isfinite(a)))
