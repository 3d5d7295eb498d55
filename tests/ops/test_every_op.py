"""Every row of every table ``cases_*.py``: values as NumPy's, derivatives right, dtypes kept.

``gradcheck`` does the larger part: besides the derivatives it looks at layouts in memory, the same
tensor in two places, stretched and empty arguments, aliases, in-place writes and dtypes.
"""

import importlib
import inspect
import pkgutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import tinygrad_attn as ta
import tinygrad_attn.ops
from tinygrad_attn.checking import gradcheck
from tinygrad_attn.core import Op, Tensor
from tinygrad_attn.core.graph import changed_mode
from tinygrad_attn.trees import tensors_in

TABLES = sorted(Path(__file__).parent.glob("cases_*.py"))
CASES = [
    case for path in TABLES for case in importlib.import_module(f"tests.ops.{path.stem}").CASES
]
SMOOTH = [case for case in CASES if case.order]
KNOWN = [case for case in CASES if case.reference]


def draw_arrays(case, data):
    """Arrays for a case, in shapes that Hypothesis chooses, with values where the op is smooth."""
    shapes = data.draw(case.draw_shapes(), label="shapes")
    rng = np.random.default_rng(data.draw(st.integers(0, 999), label="seed"))
    return [np.asarray(rng.uniform(*domain, shape)) for domain, shape in zip(case.domains, shapes)]


def tensors(arrays, dtype=np.float64, device="cpu"):
    return [Tensor(np.array(array, dtype)).to(device) for array in arrays]


@pytest.mark.parametrize("case", KNOWN, ids=str)
@given(data=st.data())
@np.errstate(all="ignore")
def test_the_values_are_those_of_numpy(case, data):
    arrays = draw_arrays(case, data)
    check_values(case.fn(*tensors(arrays)), case.reference(*arrays), 1e-10)
    if case.integer:
        whole = [array.round().astype(np.int64) for array in arrays]
        check_values(case.fn(*tensors(whole, np.int64)), case.reference(*whole), 1e-5)


@pytest.mark.parametrize("case", SMOOTH, ids=str)
@given(data=st.data())
def test_the_derivatives_are_those_of_differences(case, data):
    xs = tensors(draw_arrays(case, data))
    report = gradcheck(case.fn, xs, order=case.order, mode="random", directions=2)
    assert report, report


@pytest.mark.parametrize("case", CASES, ids=str)
@settings(max_examples=max(4, settings().max_examples // 4))
@given(data=st.data())
def test_float32_gives_float32_and_nearly_the_same_numbers(case, data):
    arrays = [array.astype(np.float32) for array in draw_arrays(case, data)]
    outputs, gradients = forward_and_back(case, tensors(arrays, np.float32))
    exact_outputs, exact_gradients = forward_and_back(case, tensors(arrays))
    for y, exact in zip(outputs + gradients, exact_outputs + exact_gradients):
        assert y.dtype == (np.float32 if exact.dtype == np.float64 else exact.dtype)
        check_values(y, exact.numpy(), 1e-3)


def forward_and_back(case, xs):
    """(the outputs, the gradients of their sum) of a case."""
    for x in xs if case.order else ():
        x.requires_grad_()
    outputs = tensors_in(case.fn(*xs))
    ends = [y for y in outputs if y.requires_grad]
    ones = [ta.ones_like(y) for y in ends]
    gradients = ta.grad(ends, xs, ones, allow_unused=True) if ends else ()
    return outputs, [g for g in gradients if g is not None]


def check_values(result, expected, tolerance):
    """Hold the tensors in a result against arrays; ``tolerance`` is relative to the largest."""
    results = tensors_in(result)
    arrays = (
        [expected] if len(results) == 1 and not isinstance(expected, (tuple, list)) else expected
    )
    assert len(results) == len(arrays)
    for y, array in zip(results, arrays):
        array = np.asarray(array)
        assert y.shape == array.shape
        size = np.abs(array[np.isfinite(array)]).max(initial=1e-3) if array.size else 0
        np.testing.assert_allclose(y.numpy(), array, tolerance, tolerance * float(size))


@settings(max_examples=1, phases=[Phase.generate])
@given(data=st.data())
def test_every_derivative_in_the_package_is_in_a_table(data):
    """Each op that has a rule, or a spec, goes back in some row."""
    walked = set()

    def watch(op, phase, run, operands, node):
        if phase == "backward":
            walked.add(op)
        return run()

    for case in SMOOTH:
        with changed_mode(watchers=(watch,)):
            forward_and_back(case, tensors(draw_arrays(case, data)))
    missing = {op.name for op in ops_of(tinygrad_attn.ops) if op.differentiable} - {
        o.name for o in walked
    }
    assert not missing


def ops_of(package):
    """The ops defined in the modules of a package."""
    found = set()
    for info in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        module = importlib.import_module(info.name)
        found |= {op for _, op in inspect.getmembers(module, lambda member: isinstance(member, Op))}
    return found
