"""Tables in Markdown, and the line that says where and when the figures were taken."""

import os
import platform
from datetime import date
from importlib import metadata
from importlib.util import find_spec
from statistics import median

__all__ = ["figure", "machine", "markdown", "table"]


def figure(number):
    """A number in three or four digits; nothing for one that is not there."""
    if number is None or number != number:
        return ""
    return (
        f"{number:.0f}" if number >= 1000 else f"{number:.3g}" if number >= 1 else f"{number:.2f}"
    )


def markdown(head, rows):
    """A Markdown table, its columns aligned for those who read it as text."""
    rows = [[cell if isinstance(cell, str) else figure(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(head, *rows)]
    rule = ["-" * w if i == 0 else "-" * (w - 1) + ":" for i, w in enumerate(widths)]
    lines = []
    for row in [head, rule, *rows]:
        cells = [c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths))]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def table(results, unit):
    """The median of each figure of {contestant: {figure: numbers}}, and ours divided by theirs."""
    ours, *peers = results
    head = ["", *(f"{name}, {unit}".rstrip(", ") for name in results)]
    head += [f"ours / {peer}" for peer in peers]
    rows = []
    for name, numbers in results[ours].items():
        medians = [median(numbers)]
        medians += [median(results[peer].get(name, [float("nan")])) for peer in peers]
        rows.append(
            [name, *medians, *(f"{medians[0] / m:.2f}" if m == m else "" for m in medians[1:])]
        )
    return markdown(head, rows)


def machine():
    """One line that says where and when the figures were taken."""
    packages = ", ".join(
        f"{p} {metadata.version(p)}" for p in ("numpy", "torch", "jax", "autograd") if find_spec(p)
    )
    return (
        f"{date.today()}, {_processor()}, {os.cpu_count()} cores, {platform.system()}, "
        f"Python {platform.python_version()}, {packages}"
    )


def _processor():
    """The processor's name where the system tells it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [
                line.split(":", 1)[1].strip() for line in file if line.startswith("model name")
            ]
        return names[0]
    except (OSError, IndexError):
        return platform.processor() or platform.machine()
