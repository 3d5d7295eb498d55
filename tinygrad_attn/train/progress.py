"""Progress for people: a live bar on a terminal, a plain line now and then anywhere else."""

import shutil
import sys
import time

from tqdm import tqdm

__all__ = ["Progress"]


class Progress:
    """Shows how far a run of ``steps`` has come, how fast it is, and when it will end; on stderr.

    On a terminal this is a bar that moves; in a log file, where every movement would be one more
    line, it is a plain line every ``interval`` seconds. Used as a context manager.
    """

    def __init__(self, steps: int, *, interval: float = 10.0, stream=None):
        self.steps, self.interval = steps, interval
        self._stream = sys.stderr if stream is None else stream
        self._bar = None
        self._done = self._tokens = 0

    def __enter__(self):
        self._start = self._last = time.perf_counter()
        if self._stream.isatty():
            self._bar = tqdm(
                total=self.steps,
                file=self._stream,
                ncols=shutil.get_terminal_size().columns,  # 80 where the terminal does not say
                bar_format="{percentage:3.0f}% {bar} {n}/{total}{postfix}  {remaining} left",
            )
        return self

    def __exit__(self, *failure):
        if self._bar is not None:
            self._bar.close()

    def update(self, loss: float, tokens: int):
        """One step is done, in which the model read ``tokens`` tokens."""
        self._done += 1
        self._tokens += tokens
        now = time.perf_counter()
        if self._bar is not None:
            self._bar.set_postfix_str(self._figures(loss, now), refresh=False)
            self._bar.update()
        elif now - self._last >= self.interval or self._done == self.steps:
            self._last = now
            left = (now - self._start) / self._done * (self.steps - self._done)
            self.say(
                f"step {self._done}/{self.steps}  {self._figures(loss, now)}  {clock(left)} left"
            )

    def say(self, line: str):
        """Print a line, above the bar where there is one."""
        if self._bar is not None:
            self._bar.write(line, file=self._stream)
        else:
            print(line, file=self._stream, flush=True)

    def _figures(self, loss, now):
        rate = self._tokens / max(now - self._start, 1e-9)
        return f"loss {loss:.4f}  {rate:,.0f} tokens/s"


def clock(seconds: float) -> str:
    """A duration as minutes and seconds: 0:07, 12:30."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
