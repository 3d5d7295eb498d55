"""Processes of their own, in turn, each with the same number of threads."""

import json
import os
import subprocess
import sys
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from statistics import median
from tempfile import TemporaryFile

__all__ = [
    "PEERS",
    "Failed",
    "collect",
    "compare",
    "environment",
    "installed",
    "ratio",
    "run",
    "started",
]

PEERS = {"ours": "tinygrad_attn", "torch": "torch"}


class Failed(Exception):
    """A contestant's process ended with an error; its last words are in the message."""


def environment(threads, folder=None):
    """The environment of a contestant that may use so many threads; what it keeps is in a folder.

    XLA, under JAX, computes with as many threads as the machine has cores, or as ``NPROC`` says it
    has; its flag for single-threaded products no longer changes that.
    """
    names = "OMP OPENBLAS MKL VECLIB_MAXIMUM".split()
    variables = dict.fromkeys([f"{name}_NUM_THREADS" for name in names], str(threads))
    variables |= {"NPROC": str(threads), "JAX_PLATFORMS": "cpu"}
    if folder is not None:
        variables["TORCHINDUCTOR_CACHE_DIR"] = str(folder)
    return {**os.environ, **variables}


def _command(module, arguments):
    return [sys.executable, "-m", module, *map(str, arguments)]


def run(module, *arguments, threads, folder=None):
    """Run ``python -m module arguments``; returns what its last line says in JSON, if anything.

    Raises: Failed where it ends with an error.
    """
    command = _command(module, arguments)
    done = subprocess.run(
        command, env=environment(threads, folder), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Failed(f"{' '.join(command[2:])} failed:\n{done.stderr.strip()}")
    return json.loads(done.stdout.splitlines()[-1]) if done.stdout.strip() else None


@contextmanager
def started(module, *arguments, threads, folder=None):
    """A function that asks ``python -m module arguments`` for its next answer, a line of JSON.

    The process stays, and waits until it is asked again, or nobody can ask any more.
    Asked, it raises: Failed where it has ended.
    """
    command = _command(module, arguments)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    variables = environment(threads, folder)
    with (
        TemporaryFile("w+") as errors,
        subprocess.Popen(command, env=variables, stderr=errors, **pipes) as process,
    ):

        def ask():
            with suppress(BrokenPipeError):
                print(file=process.stdin, flush=True)
            for line in process.stdout:
                if line.startswith("{"):
                    return json.loads(line)
            errors.seek(0)
            raise Failed(f"{' '.join(command[2:])} failed:\n{errors.read().strip()}")

        yield ask


def installed():
    """The contestants of the smaller benchmarks whose package this Python has, we first."""
    return [name for name, package in PEERS.items() if find_spec(package)]


def collect(names, rounds, measure):
    """{contestant: {figure: [one number a round]}}: ``measure(name)`` of each, taking turns."""
    results = {name: {} for name in names}
    for i in range(rounds):
        for name in names:
            print(f"round {i + 1} of {rounds}: {name}", file=sys.stderr)
            for figure, number in measure(name).items():
                results[name].setdefault(figure, []).append(number)
    return results


def compare(module, options):
    """The results of ``python -m benchmarks.<module> <contestant>`` for each that is installed."""
    return collect(
        installed(),
        options.rounds,
        lambda name: run(f"benchmarks.{module}", name, threads=options.threads),
    )


def ratio(ours, theirs):
    """The median over the rounds of ours / theirs, each pair from the same round.

    A machine that slows down between two rounds slows both of a pair.
    """
    return median(a / b for a, b in zip(ours, theirs))
