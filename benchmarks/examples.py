"""The examples as a reader runs them: seconds from the command to its result, and the result."""

import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from .report import markdown
from .rounds import Failed, environment

__all__ = ["TITLE", "measure", "tables", "time_to_line"]

TITLE = "The examples, from the command to the result"
FOLDER = Path(__file__).parents[1] / "examples"
EXAMPLES = {  # the command -> what stands in the line that is waited for
    "sort_digits.py --quick": "sorted without a mistake",
    "sort_digits.py": "sorted without a mistake",
    "char_gpt.py --quick": "Validation loss",
}


def measure(options):
    """{command: (seconds, one a round; the line)}."""
    results = {}
    for command, awaited in EXAMPLES.items():
        print(command, file=sys.stderr)
        script, *flags = command.split()
        arguments = [sys.executable, "-u", str(FOLDER / script), *flags]
        runs = [time_to_line(arguments, awaited, options.threads) for _ in range(options.rounds)]
        results[command] = [seconds for seconds, _ in runs], runs[-1][1]
    return results


def tables(results):
    """One row for each command."""
    rows = [[f"`{command}`", median(seconds), line] for command, (seconds, line) in results.items()]
    return markdown(["", "s", "result"], rows, left=(0, 2))


def time_to_line(arguments, awaited, threads):
    """(seconds until a command prints a line with ``awaited`` in it, that line).

    Raises: Failed where it ends without.
    """
    start = time.perf_counter()
    with subprocess.Popen(
        arguments,
        env=environment(threads),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
    ) as process:
        output = []
        for line in process.stdout:
            output.append(line)
            if awaited in line:
                seconds = time.perf_counter() - start
                process.stdout.read()  # let it finish what it has to say
                return seconds, line.strip()
    raise Failed(f"{' '.join(arguments)} never said {awaited!r}:\n{''.join(output)}")
