"""Learning rates as plain functions of the step.

Each function here returns a schedule, and a schedule is any function of the number of steps already
taken: 0 gives the rate of the first. To use one, ask it before every step:

    schedule = optim.cosine(3e-4, steps=2000, warmup=100)
    for step in range(2000):
        optimizer.lr = schedule(step)
        ...

There is no state, so to resume is to go on counting, and to combine schedules is to write a
function of your own, or to put ``linear_warmup`` before any of them.
"""

import math
from collections.abc import Callable

from ..errors import DTypeError, ShapeError
from .optimizer import check_numbers

__all__ = ["Schedule", "constant", "cosine", "inverse_sqrt", "linear", "linear_warmup"]

Schedule = Callable[[int], float]


def constant(lr: float) -> Schedule:
    """The same rate always."""
    check_numbers("constant", lr=lr)
    return lambda step: lr


def linear_warmup(steps: int, then: Schedule) -> Schedule:
    """A straight ramp up to the first rate of ``then``, whose own step 0 comes after the ramp.

    The ramp starts at 1/``steps`` of the way up, not at 0: no step is wasted.

    Example:
        >>> from tinygrad_attn import optim
        >>> schedule = optim.linear_warmup(4, optim.constant(1.0))
        >>> [schedule(step) for step in range(6)]
        [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    """
    check_numbers("linear_warmup", steps=steps)
    if not callable(then):
        raise DTypeError(
            f"linear_warmup: then is {then!r}; it must be a schedule, as constant(lr) is"
        )
    return lambda step: then(0) * (step + 1) / steps if step < steps else then(step - steps)


def linear(lr: float, steps: int, warmup: int = 0, floor: float = 0.0) -> Schedule:
    """A ramp up over ``warmup`` steps, then straight down to ``floor`` at step ``steps``."""
    return _decay("linear", lambda part: 1 - part, lr, steps, warmup, floor)


def cosine(lr: float, steps: int, warmup: int = 0, floor: float = 0.0) -> Schedule:
    """A ramp up over ``warmup`` steps, then half a cosine down to ``floor`` at step ``steps``.

    Reference: Loshchilov, Hutter, "SGDR", arXiv:1608.03983, without the restarts.

    Example:
        >>> from tinygrad_attn import optim
        >>> schedule = optim.cosine(1.0, steps=6, warmup=2, floor=0.5)
        >>> [round(schedule(step), 3) for step in range(8)]
        [0.5, 1.0, 1.0, 0.927, 0.75, 0.573, 0.5, 0.5]
    """
    return _decay(
        "cosine", lambda part: 0.5 * (1 + math.cos(math.pi * part)), lr, steps, warmup, floor
    )


def inverse_sqrt(lr: float, warmup: int) -> Schedule:
    """A ramp up over ``warmup`` steps, then down as 1/√step: the schedule of the first Transformer.

    Reference: Vaswani et al., "Attention Is All You Need", arXiv:1706.03762, section 5.3.
    """
    check_numbers("inverse_sqrt", lr=lr, warmup=warmup)
    if not warmup >= 1:
        raise ShapeError(f"inverse_sqrt: warmup is {warmup}; it must be at least 1")
    return lambda step: lr * min((step + 1) / warmup, math.sqrt(warmup / (step + 1)))


def _decay(where, shape, lr, steps, warmup, floor):
    """From ``lr`` to ``floor`` as ``shape``, a function of the part done, goes from 1 to 0."""
    check_numbers(where, lr=lr, steps=steps, warmup=warmup, floor=floor)
    if not warmup < steps:
        raise ShapeError(
            f"{where}: warmup is {warmup}, steps is {steps}; warmup must be less than steps"
        )
    length = steps - warmup

    def fall(step):
        return floor + (lr - floor) * shape(min(step / length, 1))

    return linear_warmup(warmup, fall) if warmup else fall
