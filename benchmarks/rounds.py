"""Runs the contestants in turn, each in a process of its own, and tables the ratios."""

import json
import os
import platform
import subprocess
import sys
from datetime import date
from importlib import metadata, util
from statistics import median

PEERS = {"ours": "tinygrad_attn", "torch": "torch"}


def installed():
    """The contestants whose package this Python has, we first."""
    return [name for name, package in PEERS.items() if util.find_spec(package)]


def run(module, contestant, threads):
    """One round: {figure: number} as printed, in JSON, by ``python -m benchmarks.<module>
    <contestant>``."""
    variables = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    environment = {**os.environ, **dict.fromkeys(variables, str(threads))}
    command = [sys.executable, "-m", f"benchmarks.{module}", contestant]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"benchmarks.{module} {contestant} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def compare(module, rounds, threads):
    """{contestant: {figure: [one number a round]}}, the contestants taking turns."""
    results = {name: {} for name in installed()}
    for _ in range(rounds):
        for name in results:
            for figure, number in run(module, name, threads).items():
                results[name].setdefault(figure, []).append(number)
    return results


def table(results, unit):
    """A Markdown table: the median of each figure, and ours divided by theirs."""
    names = list(results)
    peers = names[1:]
    head = ["", *(f"{name}, {unit}" for name in names), *(f"ours / {peer}" for peer in peers)]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for figure, ours in results[names[0]].items():
        row = [median(ours), *(median(results[p].get(figure, [float("nan")])) for p in peers)]
        ratios = [row[0] / other for other in row[1:]]
        cells = [figure, *(f"{n:.4g}" if n == n else "" for n in row)]
        lines.append(
            "| " + " | ".join([*cells, *(f"{r:.2f}" if r == r else "" for r in ratios)]) + " |"
        )
    return "\n".join(lines)


def machine():
    """One line that says where and when the figures were taken."""
    packages = ", ".join(
        f"{p} {metadata.version(p)}" for p in ("numpy", "torch") if util.find_spec(p)
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
