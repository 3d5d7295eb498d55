"""What the examples share: their flags, and how they end when something is wrong."""

import argparse
import math
import os
import sys

# These models' matrices are too small to share between cores: one thread is as fast on an idle
# machine and much faster on a busy one. NumPy reads this when it is loaded.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import tinygrad_attn as ta
from tinygrad_attn.backend import get_backend
from tinygrad_attn.errors import DataError
from tinygrad_attn.viz import check_picture

__all__ = ["Flags", "at_least", "run"]


class Flags(argparse.ArgumentParser):
    """The flags of every example, with this example's defaults; it may add its own.

    One that ``learns`` nothing takes those of training too, so that all examples can be started
    alike, but does not list them: they change nothing.
    """

    def __init__(
        self,
        description: str,
        *,
        steps: int,
        batch_size: int,
        lr: float,
        quick: dict,
        learns: bool = True,
    ):
        super().__init__(description=description)
        self.quick = quick  # other defaults, under --quick

        def add(flag, about, **options):
            self.add_argument(flag, help=about if learns else argparse.SUPPRESS, **options)

        self.add_argument("--device", default="cpu", help='"cpu", "cuda" or "cuda:1" (cpu)')
        add("--seed", "the same seed, the same run", type=at_least(0), default=0)
        add("--steps", f"steps of training ({steps:,})", type=at_least(0), default=steps)
        add(
            "--batch-size",
            f"sequences in each step ({batch_size})",
            type=at_least(1),
            default=batch_size,
        )
        add("--lr", f"the highest learning rate ({lr:g})", type=positive, default=lr)
        workers = "processes that share each batch (1); no more than there are cores"
        add("--workers", workers, type=at_least(1), default=1)
        self.add_argument("--plot", metavar="FILE", help="save a picture here: .png, .pdf or .svg")
        add("--quick", "a small run of seconds, to see it work", action="store_true")

    def read(self, command_line: list[str]) -> argparse.Namespace:
        """The values of the flags, checked as far as all examples can; sets the seed."""
        args = self.parse_args(command_line)
        if args.quick:
            self.set_defaults(**self.quick)
            args = self.parse_args(command_line)
        get_backend(args.device)
        if args.plot is not None:
            check_picture(args.plot)
        ta.manual_seed(args.seed)
        return args

    def error(self, message):
        """Report what is wrong with a flag as the package reports everything: in one line."""
        raise DataError(f"{self.prog}: {message}; --help lists the flags")


def run(main) -> None:
    """Call ``main`` with the command line; a mistake ends it with its message and exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(
            errors="replace"
        )  # a character that the terminal lacks is no reason to stop
    try:
        main(sys.argv[1:])
    except ta.TinygradAttnError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:  # whoever read the output has gone, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        print("\nStopped by Ctrl-C.", file=sys.stderr)
        sys.exit(130)


def at_least(lowest):
    """A type of flag: a whole number from ``lowest`` on."""

    def whole_number(text):
        try:
            number = int(text)
        except ValueError:
            number = lowest - 1
        if number < lowest:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {lowest}")
        return number

    return whole_number


def positive(text):
    """A type of flag: a positive, finite number."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return number
