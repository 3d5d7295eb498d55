"""Slopes from values alone: how fast a function changes along a direction, without calculus.

**Complex step.** If f is made of analytic operations, f(x + ih) = f(x) + ih·f′(x) − h²·f″(x)/2 −
…, so the imaginary part over h is the derivative. Nothing is subtracted, nothing cancels, h can be
1e-20 and the square of it is nothing: the slope is as exact as f itself. But |x|, a comparison or
a kernel that knows only real numbers breaks the spell, so its first answer has to agree with the
other method's.

**Central differences.** [f(x + h) − f(x − h)] / 2h misses by c₂h² + c₄h⁴ + …. Halve h three times
and each halving lets one term be eliminated (Richardson). The last two columns of that table
differ by about the error that is left; where it is too large, the step is shortened and the better
answer kept.

**Kinks.** At a smooth place the slopes to the left and to the right differ by h·f″, which halves
with h. At a kink they differ by the same amount however small h is, or grow without end; then
there is no derivative to speak of.

Reference: Squire and Trapp, "Using complex variables to estimate derivatives of real functions",
1998; Ridders, "Accurate computation of F′(x) and F′(x)F″(x)", 1982.
"""

import sys
import warnings
from itertools import pairwise
from typing import Any, NamedTuple

from ..errors import DTypeError
from .subject import host, random_vector

__all__ = ["Differences", "Slope", "central_slope", "complex_slope", "typical_size"]

LARGEST_STEP = 2.0**-6  # relative to the size of x: its eighth power is below rounding error
SHORTER = 2.0**-4
ATTEMPTS = 6  # the last of them with steps of 1e-9 and less
HALVINGS = 4
ROUNDING = sys.float_info.epsilon
IMAGINARY_STEP = 1e-20


class Slope(NamedTuple):
    """The change of every output along one direction: each field is a vector of m numbers."""

    value: Any
    """The derivative."""

    error: Any
    """By how much it may be off."""

    kinked: Any
    """Where left and right disagree, so that there is no derivative."""

    left: Any
    """The slope on the side of smaller t."""

    right: Any
    """The slope on the side of larger t."""

    def at(self, key):
        """The same for a part of the outputs."""
        return Slope(*(field[key] for field in self))


class Differences:
    """Slopes of a Subject near its point, by the better method that its function allows."""

    def __init__(self, subject, method="auto", step=None):
        self.subject = subject
        self.step = step
        self.method = (
            "central" if method == "central" or not self._allows_complex(method) else "complex"
        )

    def along(self, direction):
        """The Slope of t ↦ f(x + t·direction) at t = 0."""
        if self.method == "complex":
            value, error = complex_slope(self._curve(direction), self.subject.value)
            return Slope(value, error, host.zeros(value.shape, dtype=bool), value, value)
        return central_slope(self._curve(direction), self.subject.value, self.step or LARGEST_STEP)

    def column(self, k):
        """The Slope with respect to input ``k``: one column of the Jacobian."""
        unit = 1.0 if self.step or self.method == "complex" else typical_size(self.subject.point[k])
        direction = host.zeros(self.subject.inputs.size)
        direction[k] = unit
        value, error, kinked, left, right = self.along(direction)
        return Slope(value / unit, error / unit, kinked, left / unit, right / unit)

    def columns(self, ks):
        """The Slopes with respect to the inputs ``ks`` side by side: each field is (m, len(ks))."""
        columns = [self.column(k) for k in ks]
        if not columns:
            blank = host.zeros((self.subject.outputs.size, 0))
            return Slope(blank, blank, blank.astype(bool), blank, blank)
        return Slope(*(host.stack(field, axis=1) for field in zip(*columns)))

    def _curve(self, direction):
        return lambda t: self.subject.values(self.subject.point + t * direction)

    def _allows_complex(self, method):
        """Whether a complex step can be trusted: it runs, and agrees with central differences."""
        subject = self.subject
        curve = self._curve(random_vector(subject.inputs.size, 0) * typical_size(subject.point))
        try:
            with warnings.catch_warnings(), host.errstate(all="ignore"):
                warnings.simplefilter("error")  # of an imaginary part thrown away
                value, error = complex_slope(curve, subject.value)
        except Exception as refusal:
            if method == "complex":
                raise DTypeError(
                    f"gradcheck: {subject.name} cannot take complex numbers ({refusal}); "
                    'use method="auto"'
                ) from refusal
            return False
        central = central_slope(curve, subject.value, LARGEST_STEP)
        tolerance = 1e-6 * host.abs(central.value).max(initial=0) + central.error + error
        agrees = bool(
            (host.abs(value - central.value) <= tolerance).all() and not central.kinked.any()
        )
        if method == "complex" and not agrees:
            raise DTypeError(
                f"gradcheck: {subject.name} is not analytic where it meets complex numbers "
                '(absolute, or a comparison, does that), or has a kink here; use method="auto"'
            )
        return agrees


def typical_size(x):
    """A length in proportion to |x|, for steps; neither 0 where x is, nor very large."""
    return host.clip(host.abs(x), 0.125, 64.0)


def complex_slope(curve, base, step=IMAGINARY_STEP):
    """(Im f(x + ih·v) / h, its rounding error), with ``curve(t)`` = f(x + t·v), ``base`` = f(x)."""
    y = curve(1j * step)
    if y.dtype.kind != "c":
        raise DTypeError("the result is real, whatever the argument")
    value = y.imag / step
    error = 16 * ROUNDING * (host.abs(value) + host.abs(base))
    lost = ~(
        host.abs(y.real - base) <= 1e-9 * (1 + host.abs(base))
    )  # another branch of the function
    error[lost] = host.inf
    return value, error


def central_slope(curve, base, step):
    """The Slope of ``curve`` at 0 by central differences, beginning with ``step``."""
    best, suspect = None, host.ones(base.shape, dtype=bool)
    with host.errstate(all="ignore"):
        for attempt in range(ATTEMPTS):
            new = _attempt(curve, base, step * SHORTER**attempt)
            suspect &= new.kinked
            best = new if best is None else _better(best, new)
            settled = new.error <= 1e-8 * (host.abs(new.value) + host.abs(new.value).max(initial=0))
            tiny = new.error <= 1e-12
            if ((settled | tiny) & ~suspect).all():
                break
    return best._replace(kinked=suspect)


def _attempt(curve, base, step):
    """The Slope from one table of step, step/2, step/4, step/8."""
    steps = [step / 2**k for k in range(HALVINGS)]
    ups = [curve(h) for h in steps]
    downs = [curve(-h) for h in steps]
    column = [(up - down) / (2 * h) for up, down, h in zip(ups, downs, steps)]
    noise = 4 * ROUNDING * (1 + host.abs(ups[-1]) + host.abs(downs[-1])) / steps[-1]
    steep = host.abs(column[-1]) > 1.3 * host.abs(column[0]) + 16 * noise
    for order in range(1, HALVINGS):
        cruder, factor = column[-1], 4.0**order
        column = [(factor * fine - coarse) / (factor - 1) for coarse, fine in pairwise(column)]
    value, error = column[-1], host.abs(column[-1] - cruder)
    right, left = (ups[-1] - base) / steps[-1], (base - downs[-1]) / steps[-1]
    gaps = [host.abs(up - 2 * base + down) / h for up, down, h in zip(ups, downs, steps)]
    size = host.maximum(host.abs(left), host.abs(right))
    persists = (gaps[-1] > 0.6 * gaps[0]) & (gaps[-1] > 1e-5 * size + 16 * noise)
    error = host.where(host.isfinite(error), error + noise, host.inf)
    return Slope(value, error, persists | steep | ~host.isfinite(gaps[-1]), left, right)


def _better(old, new):
    """For each output the slope with the smaller error; the sides come from the smaller step."""
    value = host.where(new.error < old.error, new.value, old.value)
    return Slope(value, host.fmin(new.error, old.error), new.kinked, new.left, new.right)
