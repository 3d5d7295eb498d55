"""Planted faults are found, and right ops are not accused."""

from pathlib import Path

import pytest

from tests.checking.mutations import FAULTS, escaped
from tests.checking.rightops import RIGHT
from tests.checking.wrong_conduct import OUT_OF_SIGHT
from tinygrad_attn.checking import gradcheck

NAMED = [  # (name, kind, what, a piece of the cause that the report names)
    ("exp", "sign", "negated", "the sign is wrong"),
    ("square", "factor", "2 forgotten", "off by a factor of 2"),
    ("exp", "factor", "y forgotten", "a factor is missing: the output itself"),
    ("product", "factor", "1/x forgotten", "a factor too much: the argument itself"),
    ("mean", "factor", "1/n forgotten", "multiplied by 4, the size of axis 1"),
    ("matmul", "transpose", "a by b", "transposed: multiplied by a matrix"),
    ("matmul", "transpose", "result for a", "the axes of the gradient stand in the order (1, 0)"),
    (
        "matmul",
        "transpose",
        "g for b",
        "the axes of the arriving gradient stand in the order (1, 0)",
    ),
    ("flip", "wrong axis", "not flipped", "reversed: the gradient runs backwards along axis 1"),
    ("relu", "one side", "leaks below 0", "wrong exactly where the argument is negative"),
    ("maximum", "one side", "a and b swapped", "this is the gradient of xs[1]"),
    ("multiply", "dropped term", "None for b", "no gradient arrives"),
    ("tanh", "dropped term", "1", "a constant term is too much or too little"),
    ("broadcast", "missing broadcast sum", "first copy", "only the copy at [0, :, 0]"),
    ("add", "only on broadcast", "averaged", "averaged instead of summed"),
    ("add", "only on broadcast", "first copy", "only one copy is counted"),
    ("exp", "second order", "y cut off", "cut off from the graph"),
    ("square", "dtype", "narrowed by the rule", "something computes in float32"),
]
BY_NAME = {(fault.name, fault.kind, fault.what): fault for fault in FAULTS}


def test_at_least_98_percent_of_at_least_100_faults_are_caught():
    missed = escaped()
    assert len(FAULTS) >= 100 and len(BY_NAME) == len(FAULTS)
    assert len(missed) <= 0.02 * len(FAULTS), list(map(str, missed))
    assert missed == OUT_OF_SIGHT
    figure = f"{len(FAULTS) - len(missed)} of {len(FAULTS)} ({1 - len(missed) / len(FAULTS):.1%})"
    assert figure in (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_op_passes(name):
    report = gradcheck(RIGHT[name].call(), RIGHT[name].tensors(), order=2)
    assert report, report


@pytest.mark.parametrize("row", NAMED, ids=": ".join)
def test_the_likely_cause_is_named(row):
    *key, cause = row
    assert cause in BY_NAME[tuple(key)].report().findings[0].cause
