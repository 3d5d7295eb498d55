"""The one command: ``python -m benchmarks [--only NAME] [--threads N] [--configs S,A]``."""

import argparse

from . import step
from .contestants.problem import CONFIGS
from .report import machine, table
from .rounds import compare

SMALLER = {
    "tape": ("The tape: µs an op on four elements", "µs"),
    "attention": ("Attention, causal, 4 heads of 32, forward and back", ""),
    "generation": ("The next token with a cache: GPT of 4 layers of 128", "ms"),
}


def main():
    """Run what was asked for and print Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", choices=["step", *SMALLER], help="one benchmark instead of all")
    parser.add_argument("--rounds", type=int, default=3, help="how often each contestant runs")
    parser.add_argument("--threads", type=int, default=1, help="threads that each may use")
    parser.add_argument("--seconds", type=float, default=3, help="of timed steps in a process")
    parser.add_argument("--configs", type=_configs, default=list(CONFIGS), help="such as S,A")
    options = parser.parse_args()
    print(f"{machine()}; {options.threads} thread(s), median of {options.rounds} rounds in turn\n")
    if options.only in (None, "step"):
        print(f"## A training step\n\n{step.tables(step.measure(options), options)}\n", flush=True)
    for name, (title, unit) in SMALLER.items():
        if options.only in (None, name):
            results = compare(name, options.rounds, options.threads)
            print(f"## {title}\n\n{table(results, unit)}\n", flush=True)


def _configs(text):
    names = text.split(",")
    unknown = [name for name in names if name not in CONFIGS]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {','.join(CONFIGS)}")
    return names


if __name__ == "__main__":
    main()
