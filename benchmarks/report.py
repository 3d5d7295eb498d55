"""Tables in Markdown, the line that says where they come from, and the page that holds them."""

import math
import os
import platform
import textwrap
from datetime import date
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import numpy as np

from tinygrad_attn.backend.cpu.blas import blas_kernels

from .rounds import ratio

__all__ = ["figure", "machine", "markdown", "put_in_page", "table"]

PACKAGES = ("torch", "jax", "autograd")


def figure(number):
    """A number in about three digits; nothing for one that is not there."""
    if number is None or number != number:
        return ""
    return f"{number:.0f}" if abs(number) >= 100 else f"{number:.{1 if abs(number) >= 10 else 2}f}"


def markdown(head, rows, left=(0,)):
    """A Markdown table that can be read as text too; the columns ``left`` hold words."""
    rows = [[cell if isinstance(cell, str) else figure(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(head, *rows)]
    rule = ["-" * w if i in left else "-" * (w - 1) + ":" for i, w in enumerate(widths)]
    lines = []
    for row in [head, rule, *rows]:
        pairs = enumerate(zip(row, widths))
        cells = [cell.ljust(w) if i in left else cell.rjust(w) for i, (cell, w) in pairs]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def table(results, unit):
    """The medians of {contestant: {figure: numbers}}, and those of ours / theirs in each round."""
    ours, *peers = results
    head = [unit, *results, *(f"{ours} / {peer}" for peer in peers)]
    rows = []
    for name, numbers in results[ours].items():
        others = [results[peer].get(name, [math.nan]) for peer in peers]
        ratios = [ratio(numbers, theirs) for theirs in others]
        rows.append([name, *map(median, [numbers, *others]), *ratios])
    return markdown(head, rows)


def machine(threads, rounds):
    """When, where and how the figures were taken, in a few lines."""
    versions = [f"{name} {metadata.version(name)}" for name in PACKAGES if find_spec(name)]
    facts = [
        date.today().isoformat(),
        f"{_processor()}, {os.cpu_count()} cores",
        f"{platform.system()} with a load of {os.getloadavg()[0]:.1f} at the start",
        f"Python {platform.python_version()}",
        f"NumPy {np.__version__} on {_blas()}",
        *versions,
    ]
    each = f"{threads} thread{'s' if threads > 1 else ''} each"
    turns = f"median of {rounds} round{'s' if rounds > 1 else ''} in turn"
    return textwrap.fill(f"{'; '.join(facts)}. {each.capitalize()}, {turns}.", 100)


def _blas():
    """The library under NumPy's products, its version, and for which processor its kernels are.

    OpenBLAS picks them by the processor, or takes those that a variable names.
    """
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    words = [blas["name"], blas.get("version", "")]
    if kernels := blas_kernels():
        said = os.environ.get("OPENBLAS_CORETYPE")
        words.append(f"({kernels}; OPENBLAS_CORETYPE is {said})" if said else f"({kernels})")
    return " ".join(filter(None, words))


def _processor():
    """The processor's name where the system tells it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":", 1)[1].strip() for line in file if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def put_in_page(path, command, text):
    """Write ``text`` between the marks of ``command`` in a Markdown page, or at its end."""
    page = Path(path)
    old = page.read_text("utf-8") if page.exists() else "# Benchmarks\n"
    start, end = f"<!-- {command} -->", "<!-- end -->"
    before, found, rest = old.partition(start)
    after = rest.partition(end)[2] if found else "\n"
    before = before if found else f"{before.rstrip()}\n\n"
    page.write_text(f"{before}{start}\n\n{text.strip()}\n\n{end}{after}", "utf-8")
