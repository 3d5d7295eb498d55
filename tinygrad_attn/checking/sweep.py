"""The step-size sweep: the V of every difference quotient, and the complex step's flat line."""

import warnings
from dataclasses import dataclass

from .numeric import Differences, typical_size
from .subject import host, random_vector

__all__ = ["StepSweep", "step_sweep"]

STEPS = [10.0**-k for k in range(1, 17)]
WIDTH = 34  # columns of the picture, two for each power of ten


@dataclass(frozen=True)
class StepSweep:
    """The relative error of a directional derivative by the size of the step; ``print`` it.

    A large step errs by curvature, a small one by rounding: f(x + h) and f(x − h) share all their
    digits. Between is the best step, h³ ~ 1e-16 for central differences, and even there a third of
    the digits is lost. A complex step subtracts nothing, so its error only falls.
    """

    rows: list[tuple[float, float, float, float | None]]
    """(step, error of the one-sided, of the central difference, of the complex step or None)."""

    def __str__(self):
        lines = [
            "  step    one-sided  central    complex    error of the central difference: 1e-16 to 1"
        ]
        for step, one_sided, central, imaginary in self.rows:
            last = "-" if imaginary is None else f"{imaginary:.1e}"
            filled = int(2 * (16 + host.log10(host.clip(central, 1e-16, 10.0))))
            lines.append(
                f"  {step:.0e}   {one_sided:.1e}    {central:.1e}    {last:<9}  {'█' * filled}"
            )
        return "\n".join(lines)


def step_sweep(subject):
    """The StepSweep of a Subject along a random direction, held against the best estimate."""
    direction = random_vector(subject.inputs.size, 0) * typical_size(subject.point)
    direction /= max(1.0, float(host.abs(direction).max(initial=0)))
    u = random_vector(subject.outputs.size, 1)
    right = float(u @ Differences(subject).along(direction).value)
    size = abs(right) or 1.0

    def f(t):
        return u @ subject.values(subject.point + t * direction)

    base, rows = u @ subject.value, []
    with host.errstate(all="ignore"):
        for h in STEPS:
            up, down = f(h), f(-h)
            estimates = (up - base) / h, (up - down) / (2 * h)
            errors = [abs(float(estimate) - right) / size for estimate in estimates]
            rows.append((h, *errors, _complex_error(f, h, right, size)))
    return StepSweep(rows)


def _complex_error(f, step, right, size):
    """The error of a complex step, None where the function takes no complex numbers."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            y = f(1j * step)
    except Exception:  # whatever a function of real numbers says to complex ones
        return None
    return abs(float(y.imag) / step - right) / size if y.dtype.kind == "c" else None
