"""The one command: ``python -m benchmarks``; ``--help`` lists its options."""

import argparse
import math
import sys
from pathlib import Path

from . import attention, examples, generation, layers, memory, products, step, tape
from .check import Refused
from .contestants.problem import CONFIGS
from .report import machine, put_in_page
from .rounds import Failed

BENCHMARKS = {
    "step": step,
    "products": products,
    "memory": memory,
    "tape": tape,
    "layers": layers,
    "attention": attention,
    "generation": generation,
    "examples": examples,
}
PICTURES = ("step", "attention")


def main(command_line=None):
    """Run what was asked for and print Markdown, or put it into the page."""
    options = read_options(command_line)
    if options.save:  # now, and not when all is measured
        prepare(options.save)
    for name in [options.only] if options.only else BENCHMARKS:
        where = machine(options.threads, options.rounds)
        try:
            results = BENCHMARKS[name].measure(options)
        except (Failed, Refused) as error:
            sys.exit(str(error))
        text = f"{where}\n\n{BENCHMARKS[name].tables(results)}"
        print(f"## {BENCHMARKS[name].TITLE}\n\n{text}\n", flush=True)
        if options.save:
            save(options.save, name, options.threads, results, text)


def read_options(command_line):
    """The options, as ``--help`` shows them."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Speed and memory beside the peers."
    )
    parser.add_argument("--only", choices=BENCHMARKS, help="one benchmark instead of all")
    parser.add_argument(
        "--configs",
        type=_configs,
        default=list(CONFIGS),
        help="sizes of the model, such as S,A (all)",
    )
    parser.add_argument(
        "--threads", type=_count, default=1, help="threads that each contestant may use (1)"
    )
    parser.add_argument(
        "--rounds", type=_count, default=3, help="how often each takes its turn (3)"
    )
    parser.add_argument(
        "--seconds", type=_seconds, default=3, help="seconds of timed steps in a turn (3)"
    )
    parser.add_argument(
        "--save", metavar="DIR", type=Path, help="also write tables and pictures into DIR"
    )
    return parser.parse_args(command_line)


def _configs(text):
    names = text.split(",")
    unknown = [name for name in names if name not in CONFIGS]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {','.join(CONFIGS)}")
    return names


def _count(text):
    if not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 1")
    return int(text)


def _seconds(text):
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return seconds


def prepare(folder):
    """Make sure that the page can be written, or leave with one line."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / "benchmarks.md", "a", encoding="utf-8"):
            pass
    except OSError as error:
        sys.exit(f'cannot write into "{folder}": {error.strerror or error}')


def save(folder, name, threads, results, text):
    """The table into ``folder/benchmarks.md``, where its command stands, and the picture beside."""
    if name in PICTURES:
        from tinygrad_attn.viz import save_picture

        from . import pictures

        path = folder / f"benchmarks-{name}-{threads}.svg"
        save_picture(getattr(pictures, f"draw_{name}")(results), path)
        text += f"\n\n![{BENCHMARKS[name].TITLE}]({path.name})"
    command = f"python -m benchmarks --only {name} --threads {threads}"
    put_in_page(folder / "benchmarks.md", command, text)


if __name__ == "__main__":
    main()
