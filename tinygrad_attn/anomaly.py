"""detect_anomaly: where the first NaN or infinity of a computation comes from.

A NaN is noticed far from where it was made: every op passes it on, until the loss is NaN and with
it every gradient. Inside ``with ta.detect_anomaly():`` each op, on the way forward and on the way
back, is looked at as soon as it has run. That costs a pass over every array; it is for searching.
"""

import math

from .backend import dtypes, is_array, namespace
from .core import Tensor
from .core.graph import call_site, changed_mode, mode
from .core.scopes import context
from .errors import NonFiniteError

__all__ = ["detect_anomaly"]


@context
def detect_anomaly():
    """Inside this context the first op whose result holds a NaN, or that makes an infinity, raises.

    An infinity that an operand already held is passed on in peace, as a mask of −∞ is; a NaN never
    is, but the message says if it came in with an operand. Graphs recorded inside remember the line
    that called each op, so an error on the way back names the line of the way forward.

    Raises: NonFiniteError with the op, the direction, every operand and the line of the program.

    Example:
        >>> import tinygrad_attn as ta
        >>> with ta.detect_anomaly():
        ...     y = ta.tensor([1.0, 0.0]) / 0
        Traceback (most recent call last):
            ...
        tinygrad_attn.errors.NonFiniteError: divide: ...
    """
    watchers, recorders = (*mode.get().watchers, _look), (*mode.get().recorders, _sign)
    with changed_mode(watchers=watchers, recorders=recorders):
        yield


def _sign(node, operands):
    """Let the node remember the line of the program that called its op."""
    node.site = call_site()


def _look(op, phase, run, operands, node):
    """Run the op; raise NonFiniteError if its result is the first that is not finite."""
    with changed_mode(watchers=()):  # a rule is one step, whatever ops it is written in
        result = run()
    for part in result if isinstance(result, tuple) else (result,):
        found = _trouble(part)
        if found:
            known = {kind for operand in operands for kind in _trouble(operand)}
            if "a NaN" in found or not found <= known:
                raise NonFiniteError(_describe(op, phase, part, found, known, operands, node))
    return result


def _raw(value):
    """The array under a tensor, the plain number under what NumPy returns for 0-d results."""
    return value.data if isinstance(value, Tensor) else dtypes.plain(value)


def _trouble(value):
    """Which of "a NaN" and "an infinity" a number or an array of floats holds."""
    value = _raw(value)
    if isinstance(value, float):
        kinds = {"a NaN": math.isnan(value), "an infinity": math.isinf(value)}
    elif is_array(value) and dtypes.is_float(value.dtype):
        xp = namespace(value)
        if bool(xp.isfinite(value).all()):
            return set()
        kinds = {"a NaN": xp.isnan(value).any(), "an infinity": xp.isinf(value).any()}
    else:
        return set()
    return {kind for kind, is_there in kinds.items() if bool(is_there)}


def _describe(op, phase, part, found, known, operands, node):
    """What happened, where in the result, to which operands, and the line that called the op."""
    kind = "a NaN" if "a NaN" in found else "an infinity"
    what = f"passes on {kind} of an operand" if kind in known else f"makes {kind}"
    site = call_site() if node is None else node.site
    site = f"called at {site}" if site else "to see where, run the forward pass inside too"
    where = _place(part, kind)
    return f"{op.name}: the {phase} pass {what}{where}; {_list(op, phase, operands)}; {site}"


def _place(part, kind):
    """Where the first one is, for an array."""
    part = _raw(part)
    if not (is_array(part) and part.ndim):
        return ""
    xp = namespace(part)
    places = (xp.isnan if kind == "a NaN" else xp.isinf)(part).nonzero()
    return f", at index {tuple(int(axis[0]) for axis in places)} of its result {part.shape}"


def _list(op, phase, operands):
    """Every operand: by name, or, on the way back, as what the rule was given."""
    if phase == "forward":
        return ", ".join(f"{op._name_of(i)} is {_form(x)}" for i, x in enumerate(operands))
    given = [_form(x) for x in map(_raw, operands) if is_array(x) or dtypes.is_scalar(x)]
    return f"its derivative was given {', '.join(given)}"


def _form(x):
    return f"{x.shape} {x.dtype}" if is_array(x) else repr(x)
