"""Checking: is what a program computes really what it should be? Products of their own.

Read ``gradcheck`` first: what is asked for, and in which order it is looked at. Then ``subject``
(a function as one matrix), ``numeric`` (slopes from values alone), ``compare`` and ``diagnosis``,
``audit`` and ``probes``.
"""

from .gradcheck import check_module, gradcheck
from .leaks import LeakReport, check_causality, check_padding
from .report import Check, Finding, Report

__all__ = [
    "Check",
    "Finding",
    "LeakReport",
    "Report",
    "check_causality",
    "check_module",
    "check_padding",
    "gradcheck",
]
