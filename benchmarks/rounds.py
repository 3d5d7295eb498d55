"""Processes of their own, in turn, each with the same number of threads."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from statistics import median

__all__ = ["PEERS", "compare", "environment", "installed", "ratio", "run"]

PEERS = {"ours": "tinygrad_attn", "torch": "torch"}


def environment(threads):
    """The environment of a contestant that may use so many threads.

    XLA, under JAX, has no option of its own for it: it starts as many threads as the machine has
    cores, or as ``NPROC`` says it has.
    """
    names = "OMP OPENBLAS MKL VECLIB_MAXIMUM NUMEXPR".split()
    variables = dict.fromkeys([f"{name}_NUM_THREADS" for name in names], str(threads))
    xla = f"--xla_cpu_multi_thread_eigen={str(threads > 1).lower()}"
    processors = dict.fromkeys(("NPROC", "PJRT_NPROC"), str(threads))
    return {**os.environ, **variables, **processors, "XLA_FLAGS": xla, "JAX_PLATFORMS": "cpu"}


def run(module, *arguments, threads):
    """Run ``python -m module arguments``; returns what its last line says in JSON, if anything."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(
        command, env=environment(threads), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command[1:])} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1]) if done.stdout.strip() else None


def installed():
    """The contestants of the smaller benchmarks whose package this Python has, we first."""
    return [name for name, package in PEERS.items() if find_spec(package)]


def compare(module, rounds, threads):
    """{contestant: {figure: [one number a round]}}, the contestants taking turns."""
    results = {name: {} for name in installed()}
    for _ in range(rounds):
        for name in results:
            for figure, number in run(f"benchmarks.{module}", name, threads=threads).items():
                results[name].setdefault(figure, []).append(number)
    return results


def ratio(ours, theirs):
    """The median over the rounds of ours / theirs, each pair from the same round.

    A machine that slows down between two rounds slows both of a pair.
    """
    return median(a / b for a, b in zip(ours, theirs))
