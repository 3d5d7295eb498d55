"""The one command: ``python -m benchmarks [--only NAME] [--rounds N] [--threads N]``."""

import argparse

from .rounds import compare, installed, machine, table

BENCHMARKS = {
    "tape": ("The tape: µs an op on four elements", "µs"),
    "attention": ("Attention, causal, 4 heads of 32, forward and back", ""),
    "generation": ("The next token with a cache: GPT of 4 layers of 128", "ms"),
}


def main():
    """Run what was asked for and print Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", choices=BENCHMARKS, help="one of the benchmarks instead of all")
    parser.add_argument("--rounds", type=int, default=3, help="how often each contestant runs")
    parser.add_argument("--threads", type=int, default=1, help="threads that each may use")
    options = parser.parse_args()
    print(f"{machine()}; {options.threads} thread(s), median of {options.rounds} rounds in turn\n")
    if installed() == ["ours"]:
        print(
            "PyTorch is not installed; there is nothing to compare with: pip install '.[bench]'\n"
        )
    for name in [options.only] if options.only else BENCHMARKS:
        title, unit = BENCHMARKS[name]
        results = compare(name, options.rounds, options.threads)
        print(f"## {title}\n\n{table(results, unit)}\n", flush=True)


if __name__ == "__main__":
    main()
