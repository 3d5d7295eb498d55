"""The table of all ops, ``ops.md``, made from the code and from what the tests call.

    python -m docs.make_ops_table

What an op is, its docstring says. How far it is tested is measured: every row of the tables
``tests/ops/cases_*.py`` is run once, and the ops that it calls are noted.
"""

import importlib
import inspect
import sys
from collections import defaultdict
from pathlib import Path

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import tinygrad_attn as ta
from tests.ops.made import MADE, MADE_ON_THE_HOST
from tests.ops.test_every_op import CASES, draw_arrays, tensors
from tinygrad_attn.core import Op
from tinygrad_attn.ops.index import getitem, setitem
from tinygrad_attn.trees import tensors_in

PAGE = Path(__file__).with_name("ops.md")
PACKAGE = Path(ta.__file__).parent
READING_ORDER = """
    elementwise functions choice rounding pairs compare activations fused.gelu
    reduce extremes cumulative shape join padding diagonals index select order fused.embedding
    linalg einsum fused.linear sequence fused.softmax fused.norm fused.dropout
    fused.linear_packed attention rope alibi losses fused.cross_entropy create random
""".split()
NO_OPS = {"Generator", "default_generator", "manual_seed"}  # where random numbers come from

HEAD = """\
# The ops

Made by `python -m docs.make_ops_table` from the code and its tests, and held to both by
`tests/test_ops_table.py`.

In the formulas g is ∂L/∂y, the gradient that arrives, and y the result.

- **orders**: the derivatives that `gradcheck` compares with differences, on shapes that Hypothesis
  draws; none where there is nothing to differentiate, or nothing for differences to see, as in `to`
- **NumPy**: whether the values are compared with NumPy's as well
- **stand-in**: the tests' stand-in for CuPy, which refuses what CuPy refuses; the same values and
  derivatives as on the **cpu**
- **cuda**: on a GPU no op has been seen yet
"""


class Evidence:
    """What is known about one op."""

    def __init__(self):
        self.order, self.has_reference, self.backends = 0, False, {"cpu"}


def ops():
    """{op: its names}, the public ones and the two that are written with brackets."""
    found = defaultdict(list, {getitem: ["x[index]"], setitem: ["x[index] = values"]})
    for name in ta.ops.__all__:
        if name not in NO_OPS:
            found[getattr(ta, name)].append(name)
    return found


def calls(run):
    """{op: whether a result required a gradient} for the ops that ``run()`` calls from outside."""
    known, seen = {op.__code__: op for op in ops() if not isinstance(op, Op)}, {}
    entries = {kind.__call__.__code__ for kind in (Op, *Op.__subclasses__())}

    def note(frame, event, result):
        caller = Path(frame.f_back.f_code.co_filename)
        if event != "return" or (PACKAGE in caller.parents and caller.name != "methods.py"):
            return
        op = known.get(frame.f_code)
        if frame.f_code in entries:
            op = frame.f_locals["self"]
        if op is not None:  # a write changes its first argument, and returns nothing
            changed = tensors_in(frame.f_locals.get("x") if result is None else result)
            seen[op] = seen.get(op, False) or any(y.requires_grad for y in changed)

    sys.setprofile(note)
    try:
        run()
    finally:
        sys.setprofile(None)
    return seen


def evidence():
    """{op: Evidence}, by running every case once."""
    found = defaultdict(Evidence)

    @settings(max_examples=1, phases=[Phase.generate], deadline=None, database=None)
    @given(data=st.data())
    def run_cases(data):
        for case in CASES:
            xs = tensors(draw_arrays(case, data))
            for x in xs if case.order else ():
                x.requires_grad_()
            for op, is_smooth in calls(lambda case=case, xs=xs: case.fn(*xs)).items():
                known = found[op]
                known.order = max(known.order, case.order * is_smooth)
                known.has_reference |= case.reference is not None
                known.backends.add("stand-in")

    run_cases()
    for table, backends in ((MADE, {"cpu", "stand-in"}), (MADE_ON_THE_HOST, {"cpu"})):
        for make in table.values():
            for op in calls(lambda make=make: make("cpu")):
                found[op].backends |= backends
    return found


def summary(op):
    """The first paragraph of a docstring, where the formula is and mostly the derivative."""
    text = " ".join(inspect.getdoc(op).split("\n\n")[0].split())
    return text.replace("``", "`").replace("|", "\\|")


def row(op, names, known):
    """One line of the table."""
    orders = " ".join(str(order + 1) for order in range(known.order)) or "none"
    ticks = [
        "✓" if is_so else ""
        for is_so in (
            known.has_reference,
            *(name in known.backends for name in ("cpu", "stand-in")),
        )
    ]
    title = ", ".join(f"`{name}`" for name in names)
    return f"| {title} | {summary(op)} | {orders} | {' | '.join(ticks)} | not yet seen |"


def page():
    """The whole page."""
    known, by_module = evidence(), defaultdict(list)
    for op, names in ops().items():
        by_module[op.__module__.split(".ops.")[1]].append((op, names))
    lines = [HEAD]
    for module in [*READING_ORDER, *sorted(set(by_module) - set(READING_ORDER))]:
        source = f"tinygrad_attn/ops/{module.replace('.', '/')}.py"
        about = inspect.getdoc(importlib.import_module(f"tinygrad_attn.ops.{module}"))
        title = " ".join(about.split("\n\n")[0].split()).rstrip(".")
        lines += [
            f"## {title}",
            "",
            f"[`{source}`](../{source})",
            "",
            "| op | what it is | orders | NumPy | cpu | stand-in | cuda |",
            "|---|---|---|---|---|---|---|",
            *(row(op, names, known[op]) for op, names in by_module[module]),
            "",
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8", newline="\n")
