"""``python -m tinygrad_attn COMMAND``: the tools of the package, from the command line.

Exit code: 0 where all is well, 1 where a check failed, 2 where the command itself could not be
carried out.
"""

import argparse
import sys

from . import doctor
from .checking import command as gradcheck
from .errors import TinygradAttnError

COMMANDS = {  # name -> (what it does, a module with add_arguments(parser) and run(arguments))
    "gradcheck": ("check the derivatives of a function: path.py:name", gradcheck),
    "doctor": ("say what this machine has for CPU and GPU, and what to install", doctor),
}


def main(argv=None):
    """Run one command; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tinygrad_attn", description="Tools of tinygrad_attn."
    )
    chosen = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (what, command) in COMMANDS.items():
        command.add_arguments(chosen.add_parser(name, help=what, description=what))
    arguments = parser.parse_args(argv)
    try:
        return COMMANDS[arguments.command][1].run(arguments)
    except TinygradAttnError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
