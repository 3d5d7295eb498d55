"""``python -m docs.make_profile_table``: print the profile in docs/06-profiling.md anew.

Run it after an op or a kernel has changed what it saves; ``tests/test_profile.py`` will ask for it.
The program is the chapter's own first block; of many profiles of its step the fastest is shown.
"""

import contextlib
import io
import re
from pathlib import Path

import tinygrad_attn as ta

PAGE = Path(__file__).with_name("06-profiling.md")
RUNS = 5000


def fastest(step, runs):
    """The shortest of ``runs`` profiles of a step: the one that was disturbed least."""
    best = None
    for _ in range(runs):
        with ta.profile() as p:
            step()
        if best is None or p.seconds < best.seconds:
            best = p
    return best


def main(runs=RUNS):
    """Put a new profile in the place of the old one."""
    text = PAGE.read_text(encoding="utf-8")
    names = {}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(re.search(r"^```python\n(.*?)^```", text, re.M | re.S)[1], names)
    table = f"```text\n{fastest(names['step'], runs)}\n```\n"
    new = re.sub(r"^```text\n.*?^```\n", lambda _: table, text, count=1, flags=re.M | re.S)
    PAGE.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
