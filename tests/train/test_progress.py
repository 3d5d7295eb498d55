"""Progress: a bar on a terminal, plain lines elsewhere."""

import io
import re

import pytest

from tinygrad_attn.train import Progress, progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes when it is told to."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
    return now


def test_without_a_terminal_a_line_now_and_then_and_one_at_the_end(clock):
    stream = io.StringIO()
    with Progress(100, interval=10, stream=stream) as shown:
        for step in range(100):
            clock[0] += 0.3
            shown.update(loss=1 / (step + 1), tokens=64)
    lines = stream.getvalue().splitlines()
    assert lines == [
        "step 34/100  loss 0.0294  213 tokens/s  0:19 left",
        "step 68/100  loss 0.0147  213 tokens/s  0:09 left",
        "step 100/100  loss 0.0100  213 tokens/s  0:00 left",
    ]


def test_a_line_said_stands_among_the_others():
    stream = io.StringIO()
    with Progress(1, stream=stream) as shown:
        shown.say("validation 1.5")
        shown.update(1.0, 1)
    assert stream.getvalue().startswith("validation 1.5\nstep 1/1")


def test_on_a_terminal_a_bar_moves():
    stream = Terminal()
    with Progress(3, stream=stream) as shown:
        for _ in range(3):
            shown.update(0.25, 1000)
        shown.say("validation 1.5")
    text = stream.getvalue()
    assert "\r" in text
    assert re.search(r"100%.*3/3.*loss 0\.2500.*tokens/s", text)
    assert "validation 1.5\n" in text


def test_long_times_are_told_in_minutes():
    assert [progress.clock(s) for s in (0, 7.9, 61, 3600)] == ["0:00", "0:07", "1:01", "60:00"]
