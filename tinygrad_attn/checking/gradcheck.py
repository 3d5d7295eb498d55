"""gradcheck: is the derivative right, and is it well-behaved? The report says."""

import copy
import traceback
import warnings
from dataclasses import replace
from pathlib import Path

from ..backend import dtypes, quiet
from ..core import Tensor
from ..errors import DTypeError, GradcheckError, ShapeError
from ..ops.check import number
from ..trees import map_tensors
from .arguments import subject_of
from .audit import AUDITS, FIRST, HIGHER_ORDER_AUDITS
from .compare import Rules, compare
from .findings import via
from .numeric import Differences
from .probes import PROBES
from .report import Check, Finding, Report
from .sweep import step_sweep

__all__ = ["check_module", "gradcheck"]

_HERE = str(Path(__file__).parents[1])


@quiet
def gradcheck(
    fn,
    inputs,
    *,
    order: int = 1,
    method: str = "auto",
    mode: str = "auto",
    eps: float | None = None,
    rtol: float | None = None,
    atol: float = 1e-11,
    directions: int = 3,
    audits: bool = True,
    allow_kinks: bool = False,
    sweep: bool = False,
    seed: int = 0,
    raise_on_failure: bool = False,
) -> Report:
    """Compare the derivatives of ``fn`` at ``inputs``, up to ``order``, with slopes of its values.

    Args:
        fn: a function of tensors, or a Module, whose parameters are then checked as well. Random
        numbers must
            not be drawn inside.
        inputs: a float64 tensor, a sequence of arguments, or a dict of named ones. Lists, tuples,
        dicts and
            Modules among them are looked into; whatever is no float tensor is passed on as it is.
        order: the highest order of derivative. Order 2 checks the gradient as ``fn`` itself was
        checked. method: "complex", "central" (see ``checking/numeric.py``), or "auto": complex
        where it works. mode: "full" compares whole Jacobians, "random" compares projections,
        "auto" goes by the cost. eps: the largest step of the central differences; by default in
        proportion to each element. rtol, atol: how far numbers may be apart, relative to the
        largest derivative with respect to the
            argument, and at all. By default rtol is 1e-9 for complex steps, 1e-6 for differences.
        directions: how many random directions for each argument, under "random".
        audits: also look at aliasing, in-place writes, dtypes, layouts, determinism and the like.
        allow_kinks: at a kink, accept any slope between that to the left and that to the right.
        sweep: add a table of the error by the size of the step.
        raise_on_failure: raise GradcheckError with the report instead of returning it.

    Returns: a Report, true where nothing was found. ``print`` it to read it.
    Raises: DTypeError for inputs that are not float64, or a function without a float result.

    Example:
        >>> import tinygrad_attn as ta
        >>> x = ta.tensor([0.5, -1.5]).astype(ta.float64)
        >>> bool(ta.gradcheck(lambda x: (x * x).sum(), x, order=2))
        True
        >>> wrong = ta.primitive(lambda x: x * x).derivatives(x=lambda g, x: g * x)
        >>> ta.gradcheck(wrong, x).findings[0].cause
        'off by a factor of 2, too small'
    """
    _require(fn, order, directions, method, mode)
    _require_numbers(eps=eps, rtol=rtol, atol=atol)
    with subject_of(fn, inputs) as subject:
        report = Report(subject.name, order, sweep=step_sweep(subject) if sweep else None)
        if all(_audit(report, subject, {what: audit}) for what, audit in FIRST.items()):
            rules = Rules(rtol, atol, mode, directions, seed, allow_kinks)
            _check_orders(report, subject, order, method, eps, rules)
            if audits:
                _audit(
                    report, subject, AUDITS | (HIGHER_ORDER_AUDITS if order > 1 else {}) | PROBES
                )
    if raise_on_failure and not report:
        raise GradcheckError(str(report))
    return report


def check_module(module, inputs, *, order: int = 2, **options) -> Report:
    """``gradcheck`` of a whole Module, in float64 whatever its own dtype: a copy is checked.

    Example:
        >>> import tinygrad_attn as ta
        >>> bool(ta.check_module(ta.nn.Linear(3, 2), ta.randn(4, 3)))
        True
    """
    twin = copy.deepcopy(module)
    for tensor in [p for _, p in twin.named_parameters()] + [b for _, b in twin.named_buffers()]:
        if dtypes.is_float(tensor.dtype):
            wanted = tensor.requires_grad
            tensor.requires_grad_(False)
            tensor.data = tensor.data.astype(dtypes.float64)
            tensor.requires_grad_(wanted)
    return gradcheck(twin, map_tensors(_in_float64, inputs), order=order, **options)


def _in_float64(tensor):
    return Tensor(
        tensor.data.astype(dtypes.float64) if dtypes.is_float(tensor.dtype) else tensor.data
    )


def _require(fn, order, directions, method, mode):
    """Refuse what is no function, no order, no number of directions, no method, no mode."""
    if not callable(fn):
        raise DTypeError(
            f"gradcheck: fn is a {type(fn).__name__}; it must be a function or a Module"
        )
    for name, value in (("order", order), ("directions", directions)):
        if not isinstance(value, int) or value < 1:
            raise ShapeError(f"gradcheck: {name} is {value!r}; it must be a whole number from 1 up")
    for name, value, known in (
        ("method", method, ("auto", "central", "complex")),
        ("mode", mode, ("auto", "full", "random")),
    ):
        if value not in known:
            raise ShapeError(
                f"gradcheck: {name} is {value!r}; it must be one of {', '.join(known)}"
            )


def _require_numbers(**numbers):
    """Refuse a step of 0 and negative numbers; None leaves the choice to us."""
    for name, value in numbers.items():
        if value is None or number("gradcheck", name, value) > 0:
            continue
        if value != 0 or name == "eps":
            raise ShapeError(f"gradcheck: {name} is {value}; it must be positive")


def _check_orders(report, subject, order, method, eps, rules):
    """Compare order after order, up to the first at which something is wrong."""
    while subject is not None:
        what = f"order {subject.order}"
        differences = Differences(subject, method, eps)
        compared = _safely(
            report, subject, what, lambda s=subject, d=differences: compare(s, d, rules)
        )
        if compared is None:
            return
        findings, check = compared
        report.findings += [_second_thought(finding, subject.order) for finding in findings]
        report.checks.append(check)
        if findings or subject.order == order:
            return
        subject = _safely(report, subject, f"order {subject.order + 1}", subject.gradient)


def _second_thought(finding, order):
    """What a wrong derivative of a derivative means, where nothing simpler explains it."""
    if order == 1 or finding.kind != "wrong derivative":
        return finding
    if finding.cause and not finding.cause.startswith("no gradient arrives"):
        return finding
    cause = (
        f"order {order - 1} is right, but something in the rule is cut off from the graph: "
        "a raw array, a detach, a kernel whose spec says something else"
    )
    return replace(finding, cause=cause)


def _audit(report, subject, audits):
    """Run audits, note them in the report; returns whether all is well."""
    before = len(report.findings)
    for what, audit in audits.items():
        found = _safely(report, subject, what, lambda audit=audit: list(audit(subject)))
        report.findings += found or []
        report.checks.append(Check(what, "failed" if found or found is None else "ok"))
    return len(report.findings) == before


def _safely(report, subject, what, run):
    """``run()``, or None and a Finding where the function or one of its rules raises.

    NumPy's warnings are not shown: the function is taken to places where nobody else takes it.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            return run()
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        theirs = [f for f in frames if not (f.filename.startswith(_HERE) or "numpy" in f.filename)]
        place = f" ({theirs[-1].filename}:{theirs[-1].lineno})" if theirs else ""
        message = f"{what}: {type(error).__name__}: {error}{place}"
        report.findings.append(Finding("error", message, via(subject)))
        return None
