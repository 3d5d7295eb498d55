"""The command: a line for each finding, and below them what there is to do."""

import sys
import textwrap

from . import gpu, host

__all__ = ["add_arguments", "run"]

WIDTH, SUBJECT = 80, 9
MARKS = {True: "ok", None: "-", False: "!!"}


def add_arguments(parser):
    """Declare what the command takes."""
    parser.add_argument(
        "--gpu", action="store_true", help="only say whether a GPU works; exit code 1 where not"
    )


def run(arguments):
    """Print the report; returns 0 where the CPU works, or with --gpu where a GPU does, else 1."""
    on_gpu = gpu.examine()
    if arguments.gpu:
        return _answer(on_gpu)
    on_host = [host.python(), host.numpy(), host.blas(), host.cpu()]
    works = on_host[-1].is_well
    print(report([*on_host, *on_gpu, host.mpi()]))
    gpu_works = "a GPU works too" if _obstacle(on_gpu) is None else "no GPU does"
    print(f"\nThe CPU {'works' if works else 'does not work'}; {gpu_works}.")
    return 0 if works else 1


def _answer(findings):
    """One line: the GPU that works, or the first thing that keeps it from working."""
    wrong = _obstacle(findings)
    if wrong is None:
        name = next(f for f in findings if f.subject.startswith("cuda:"))
        print(f"{name.subject} works: {name.text}")
        return 0
    text = f"no GPU works here: {wrong.subject}: {wrong.text}"
    print(text + (f"; {wrong.advice}" if wrong.advice else ""), file=sys.stderr)
    return 1


def _obstacle(findings):
    """The first finding that keeps a GPU from working, or None. NCCL would be for several."""
    needed = [finding for finding in findings if finding.subject != "NCCL"]
    return next((finding for finding in needed if not finding.is_well), None)


def report(findings):
    """The page, at most 80 columns wide."""
    lines = []
    for finding in findings:
        first = f"{MARKS[finding.is_well]:>3}  {finding.subject:<{SUBJECT}}"
        rest = " " * len(first)
        lines += textwrap.wrap(finding.text, WIDTH, initial_indent=first, subsequent_indent=rest)
    todo = [finding.advice for finding in findings if finding.advice]
    if todo:
        lines += ["", "What to do:"]
        for advice in todo:
            lines += textwrap.wrap(advice, WIDTH, initial_indent="  * ", subsequent_indent="    ")
    return "\n".join(lines)
