"""What a comparison found, in words."""

from dataclasses import dataclass
from typing import Any

from .numeric import Slope
from .report import Finding, number
from .subject import host

__all__ = ["METHODS", "Place", "quotient", "via"]

METHODS = {"complex": "complex step", "central": "central differences"}


@dataclass(frozen=True)
class Place:
    """One entry of a derivative: by which input, what the graph says, and what the values say."""

    subject: Any
    k: int
    """The input's place in the long vector."""

    what: str
    """The entry as one would write it: "∂y[0]/∂x[2]"."""

    found: float
    slope: Slope
    """Of scalars, here."""

    def wrong(self, method, cause, share=""):
        """The two disagree."""
        exact = 15 if number(self.found) == number(self.slope.value) else 6
        found, right = number(self.found, exact), number(self.slope.value, exact)
        message = f"{self.what} is {found} by the graph, {right} by {METHODS[method]}{share}"
        return self._finding("wrong derivative", message, cause)

    def kink(self):
        """There is nothing to agree with."""
        left, right = (_side(slope) for slope in (self.slope.left, self.slope.right))
        return self._finding(
            "kink",
            f"{self.what} does not exist: the slope is {left} to the left and {right} to the "
            f"right; the graph says {number(self.found)}. Move the input off the kink",
        )

    def rough(self):
        """The values do not say anything."""
        known = f"{number(self.slope.value)} ± {number(self.slope.error)}"
        return self._finding(
            "cannot tell",
            f"{self.what}: the differences do not settle ({known}); "
            "the function is too rough or too noisy",
        )

    def _finding(self, kind, message, cause=""):
        argument, index = self.subject.inputs.find(self.k)
        return Finding(
            kind=kind,
            message=message,
            op=via(self.subject),
            argument=self.subject.inputs.names[argument],
            index=index,
            gradient=float(self.found),
            expected=float(self.slope.value),
            cause=cause,
        )


def via(subject):
    """The op that made the outputs, and those before it: "log (after sum, exp)"."""
    last, *before = subject.ops or [""]
    some = ", ".join(before[:8]) + " …" * (len(before) > 8)
    return f"{last} (after {some})" if before else last


def quotient(y, x):
    """The derivative of y by x: "∂y[0]/∂x[2]"."""
    return f"∂{y}/∂{x}" if y.startswith("y") else f"∂({y})/∂{x}"


def _side(slope):
    return number(slope) if host.isfinite(slope) else "not finite"
