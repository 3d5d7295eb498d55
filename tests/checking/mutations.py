"""Planted faults: wrong derivatives of every kind that people write, and which gradcheck finds.

Each takes a right op of ``rightops`` and breaks one rule, or its forward. ``python -m
tests.checking.mutations`` prints how many are caught, and each one that gets away.
"""

from collections import Counter

from tests.checking import wrong_conduct, wrong_rules
from tests.checking.rightops import RIGHT
from tinygrad_attn.checking import gradcheck

__all__ = ["FAULTS", "accused", "escaped"]

FAULTS = [*wrong_rules.FAULTS, *wrong_conduct.FAULTS]


def escaped():
    """The faults that gradcheck lets pass."""
    return [fault for fault in FAULTS if fault.report()]


def accused():
    """The names of right ops that gradcheck does not let pass."""
    return [
        name
        for name, right in RIGHT.items()
        if not gradcheck(right.call(), right.tensors(), order=2)
    ]


def main():
    """Print the figures, by kind of fault, and every fault that was not caught."""
    missed, wrong = escaped(), accused()
    planted = Counter(fault.kind for fault in FAULTS)
    at_large = Counter(fault.kind for fault in missed)
    for kind, count in planted.items():
        print(f"{kind:<24}{count - at_large[kind]:4d} of {count:3d}")
    caught = len(FAULTS) - len(missed)
    print(f"{'caught':<24}{caught:4d} of {len(FAULTS):3d}, {caught / len(FAULTS):.1%}")
    for fault in missed:
        print(f"not caught: {fault}")
    print(f"{'right ops that pass':<24}{len(RIGHT) - len(wrong):4d} of {len(RIGHT):3d}")
    for name in wrong:
        print(f"accused: {name}")


if __name__ == "__main__":
    main()
