"""The derivative that the engine computes, beside the one that values alone suggest.

Small functions are compared entry by entry of the whole Jacobian. Large ones by random projection:
with G = Jᵀu for a random u, the slope of ⟨u, f⟩ along a random v has to be ⟨G, v⟩. One wrong
element among a million changes that number, and halving the support of v over and over finds which
it is.
"""

from dataclasses import dataclass

from .diagnosis import Evidence, likely_cause
from .numeric import Slope, typical_size
from .report import Check, Finding, number
from .subject import host, random_vector

__all__ = ["Rules", "compare", "via"]

SMALL = 4096  # entries of a Jacobian that is compared whole
SAMPLE = 256  # elements looked at to explain what went wrong in a large one
METHODS = {"complex": "complex step", "central": "central differences"}


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
        rtol = {"complex": 1e-9, "central": 1e-6}[method] if self.rtol is None else self.rtol
        return (
            self.atol
            + rtol * (host.maximum(host.abs(found), host.abs(slope.value)) + scale)
            + slope.error
        )


def compare(subject, differences, rules):
    """Returns (findings, the Check that says what was compared)."""
    m, n = subject.outputs.size, subject.inputs.size
    what, method = f"order {subject.order}", METHODS[differences.method]
    unbounded = ~host.isfinite(subject.value)
    if unbounded.any():
        k = int(unbounded.argmax())
        message = f"{subject.outputs.label(k)} is {subject.value[k]} here, so it has no derivative"
        return [Finding("not finite", message, via(subject))], Check(what, "a value is not finite")
    if rules.mode == "full" or (rules.mode == "auto" and m * n <= SMALL):
        findings, off = _compare_all(subject, differences, rules)
        return findings, Check(
            what, f"whole Jacobian {m} × {n}, {method}, largest difference {off:.1e}"
        )
    findings, off = _compare_projected(subject, differences, rules)
    each = f"{rules.directions} random directions for each argument"
    return findings, Check(what, f"{each} (n = {n}), {method}, largest difference {off:.1e}")


# ---- the whole Jacobian --------------------------------------------------------------------------


def _compare_all(subject, differences, rules):
    found = subject.jacobian()
    slopes = differences.columns(range(subject.inputs.size))
    findings = []
    for i, span in enumerate(subject.inputs.spans):
        block = Slope(*(field[:, span] for field in slopes))
        others = {
            name: slopes.value[:, other]
            for name, other in zip(subject.inputs.names, subject.inputs.spans)
            if other is not span
        }
        findings += _judge(subject, i, found[:, span], block, others, differences.method, rules)
    off = host.where(slopes.kinked, 0, host.abs(found - slopes.value))
    return findings, float(off.max(initial=0))


def _judge(subject, i, found, slope, others, method, rules):
    """The findings about one argument, of whose derivative ``found`` is the (m, size) block."""
    allowed = rules.allowed(found, slope, _size(host.where(slope.kinked, 0, slope.value)), method)
    off = host.abs(found - slope.value)
    rough = ~slope.kinked & ~(slope.error <= _tolerable(slope.value))
    beside = host.isnan(found) & slope.kinked.any(axis=0)  # 0 times the infinite slope of a kink
    wrong = ~(off <= allowed) & ~slope.kinked & ~rough & ~beside
    kinked = slope.kinked & ~(rules.allow_kinks & _lies_between(found, slope, allowed))
    start = subject.inputs.spans[i].start

    def said(kind, scores, text, **more):
        row, column = host.unravel_index(int(scores.argmax()), scores.shape)
        there = Slope(*(field[row, column] for field in slope))
        what = _quotient(subject.outputs.label(row), subject.inputs.label(start + column))
        return _finding(
            subject, start + column, kind, what, text, found[row, column], there, **more
        )

    if wrong.any():
        share = f"; {int(wrong.sum())} of {wrong.size} entries are wrong" if wrong.size > 1 else ""
        cause = likely_cause(_evidence(subject, i, found, slope.value, others))
        scores = host.where(wrong, host.nan_to_num(off / allowed, nan=host.inf), -1)
        yield said(
            "wrong derivative", scores, _TEXTS["wrong"].format(METHODS[method]) + share, cause=cause
        )
    if kinked.any():
        yield said("kink", kinked, _TEXTS["kink"])
    if rough.any():
        yield said("cannot tell", rough, _TEXTS["rough"])


def _evidence(subject, i, found, expected, others):
    single = len(subject.outputs.shapes) == 1
    shapes = subject.inputs.shapes[i], subject.outputs.shapes[0] if single else None
    return Evidence(
        found, expected, subject.point[subject.inputs.spans[i]], subject.value, *shapes, others
    )


# ---- projections ---------------------------------------------------------------------------------


def _compare_projected(subject, differences, rules):
    u = random_vector(subject.outputs.size, rules.seed + 1)
    gradient = subject.row(subject.run(create_graph=True), u)
    findings, largest = [], 0.0
    for i, span in enumerate(subject.inputs.spans):
        for trial in range(rules.directions if span.stop > span.start else 0):
            v = host.zeros(subject.inputs.size)
            v[span] = random_vector(span.stop - span.start, (rules.seed, i, trial))
            v[span] *= typical_size(subject.point[span])
            found, slope = float(gradient @ v), _projected(differences.along(v), u)
            scale = float(host.sqrt(((gradient * v) ** 2).sum()))
            allowed, off = (
                rules.allowed(found, slope, scale, differences.method),
                abs(found - slope.value),
            )
            if slope.kinked and rules.allow_kinks and _lies_between(found, slope, allowed):
                continue
            largest = max(largest, off)
            if slope.kinked or not off <= allowed or slope.error > _tolerable(scale):
                findings.append(_locate(subject, differences, i, u, gradient, v))
                break
    return findings, float(largest)


def _projected(slope, u):
    """The Slope of ⟨u, f⟩ from that of f."""
    return Slope(
        u @ slope.value,
        host.abs(u) @ slope.error,
        slope.kinked.any(),
        u @ slope.left,
        u @ slope.right,
    )


def _locate(subject, differences, i, u, gradient, v):
    """The finding about the element of argument ``i`` that is to blame, found by halving."""

    def blame(start, stop):
        part = host.zeros(len(v))
        part[start:stop] = v[start:stop]
        slope = differences.along(part)
        off = abs(float(gradient @ part - u @ slope.value)) + float(host.abs(u) @ slope.error)
        return host.inf if slope.kinked.any() or off != off else off

    span = subject.inputs.spans[i]
    start, stop = span.start, span.stop
    while stop - start > 1:
        middle = (start + stop) // 2
        start, stop = (
            (start, middle) if blame(start, middle) >= blame(middle, stop) else (middle, stop)
        )
    there, method = _projected(differences.column(start), u), METHODS[differences.method]
    what = _quotient("⟨u, f⟩ for random weights u", subject.inputs.label(start))
    if there.kinked:
        return _finding(subject, start, "kink", what, _TEXTS["kink"], gradient[start], there)
    if there.error > _tolerable(there.value):
        return _finding(
            subject, start, "cannot tell", what, _TEXTS["rough"], gradient[start], there
        )
    ks = range(span.start, span.stop, max(1, (span.stop - span.start) // SAMPLE))
    expected = u @ differences.columns(ks).value
    shape = subject.inputs.shapes[i] if len(ks) == span.stop - span.start else None
    cause = likely_cause(
        Evidence(gradient[None, ks], expected[None], subject.point[ks], None, shape)
    )
    text = _TEXTS["wrong"].format(method)
    return _finding(
        subject, start, "wrong derivative", what, text, gradient[start], there, cause=cause
    )


# ---- words ---------------------------------------------------------------------------------------

_TEXTS = {
    "wrong": "{{what}} is {{found}} by the graph, {{value}} by {}",
    "kink": "{what} does not exist: the slope is {left} to the left and {right} to the right; "
    "the graph says {found}. Move the input off the kink",
    "rough": "{what}: the differences do not settle ({value} ± {error}); "
    "the function is too rough or too noisy",
}


def _finding(subject, k, kind, what, text, found, slope, cause=""):
    digits = 6 if number(found) != number(slope.value) else 15
    numbers = {
        name: number(value, digits) if host.isfinite(value) else "not finite"
        for name, value in slope._asdict().items()
    }
    argument, index = subject.inputs.find(k)
    return Finding(
        kind=kind,
        message=text.format(what=what, found=number(found, digits), **numbers),
        op=via(subject),
        argument=subject.inputs.names[argument],
        index=index,
        gradient=float(found),
        expected=float(slope.value),
        cause=cause,
    )


def via(subject):
    """The op that made the outputs, and those before it: "log (after sum, exp)"."""
    last, *before = subject.ops or [""]
    return f"{last} (after {', '.join(before[:8])}{' …' * (len(before) > 8)})" if before else last


def _quotient(y, x):
    return f"∂({y})/∂{x}" if "∂" in y or " " in y.split("[")[0] else f"∂{y}/∂{x}"


def _tolerable(value):
    """The uncertainty of a difference beyond which it says nothing about a number of this size."""
    return 1e-3 * (host.abs(value) + _size(value)) + 1e-9


def _lies_between(found, slope, allowed):
    """Whether a gradient at a kink is one of the slopes between left and right: a subgradient."""
    low, high = host.minimum(slope.left, slope.right), host.maximum(slope.left, slope.right)
    return (found >= low - allowed) & (found <= high + allowed)


def _size(a):
    return float(host.abs(a).max(initial=0, where=host.isfinite(a)))
