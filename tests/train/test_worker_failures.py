"""Workers that raise, die or are interrupted: the run ends, says why, and leaves nothing behind."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import tinygrad_attn as ta
from tinygrad_attn.errors import WorkerError
from tinygrad_attn.optim import SGD
from tinygrad_attn.train import train

METHODS = [m for m in ("fork", "spawn") if m in multiprocessing.get_all_start_methods()]
HOWEVER_STARTED = pytest.mark.parametrize(("method", "workers"), list(zip(METHODS, [3, 2])))
POSIX = pytest.mark.skipif(not hasattr(os, "killpg"), reason="process groups are POSIX's")


def in_worker():
    return multiprocessing.parent_process() is not None


def ones(step):
    return np.full((4, 2), step, np.float32)


def square(model, x):
    return (model(ta.tensor(x)) ** 2).mean()


def raises(model, x):
    if in_worker() and x[0, 0] == 2:
        raise LookupError("a table is missing")
    return square(model, x)


def dies(how, model, x):
    if in_worker() and x[0, 0] == 2:
        how()
    return square(model, x)


def starts_workers(model, x):
    if in_worker():
        run(square, METHODS[0], 2)
    return square(model, x)


def leave():
    os._exit(7)


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def run(loss, method, workers):
    model = ta.nn.Linear(2, 1)
    optimizer = SGD(model.parameters(), lr=0.01)
    train(model, optimizer, loss, 5, batch=ones, workers=workers, start_method=method)


def after(loss, method, workers):
    """What a run ends with; afterwards nobody is there, and another run can begin."""
    with pytest.raises(WorkerError) as failure:
        run(loss, method, workers)
    assert not multiprocessing.active_children()
    run(square, METHODS[0], 2)
    return str(failure.value)


@HOWEVER_STARTED
def test_a_worker_that_raises_ends_the_run_with_its_traceback(method, workers):
    message = after(raises, method, workers)
    assert f"of {workers} raised\n\nTraceback (most recent call last):" in message
    assert "in raises\n    raise LookupError(" in message
    assert message.endswith("LookupError: a table is missing\n")


def test_a_worker_may_start_no_workers():
    assert "this process is itself a worker" in after(starts_workers, METHODS[0], 2)


@pytest.mark.parametrize(
    "how, ended",
    [
        (leave, "with exit code 7"),
        pytest.param(kill, "by SIGKILL", marks=POSIX),
        (partial(sys.exit, 0), "with exit code 0"),
    ],
    ids=["exit", "kill", "sys.exit"],
)
def test_a_worker_that_dies_ends_the_run(how, ended):
    message = after(partial(dies, how), METHODS[0], 3)
    assert "train: rank " in message
    assert f"of 3 ended {ended}, before its work was done" in message


# ---- from outside --------------------------------------------------------------------------------

PROGRAM = r"""
import os, sys, time
import numpy as np
import tinygrad_attn as ta
from tinygrad_attn.optim import SGD
from tinygrad_attn.train import train

def loss(model, x):
    if x[0, 0] == 3:
        os.write(1, b"%d\n" % os.getpid())
    time.sleep(0.01)
    return (model(ta.tensor(x)) ** 2).mean()

def batch(step):
    return np.full((4, 2), step, np.float32)

if __name__ == "__main__":
    model = ta.nn.Linear(2, 1)
    optimizer = SGD(model.parameters(), lr=0.0)
    method, workers = sys.argv[1], int(sys.argv[2])
    train(model, optimizer, loss, 10**6, batch=batch, workers=workers, start_method=method)
"""


@pytest.fixture
def program(tmp_path):
    """Starts a run that never ends, in a group of its own; gives it and the ids of its ranks."""
    path, started = tmp_path / "program.py", []
    path.write_text(PROGRAM, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(Path(ta.__file__).parents[1])}

    def start(method, workers):
        run = subprocess.Popen(
            [sys.executable, "-W", "error", path, method, str(workers)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            start_new_session=True,
        )
        started.append(run)
        return run, [int(run.stdout.readline()) for _ in range(workers)]

    yield start
    for run in started:
        with run:  # closes its pipes and waits
            if run.poll() is None:
                os.killpg(run.pid, signal.SIGKILL)


def wait_until_gone(ids):
    """Wait for processes to end, which are not our children: they have a minute."""
    deadline = time.monotonic() + 60
    while left := [i for i in ids if is_alive(i)]:
        assert time.monotonic() < deadline, f"still there: {left}"
        time.sleep(0.01)


def is_alive(process):
    """Whether it runs; one that only waits to be buried does not."""
    try:
        status = Path(f"/proc/{process}/stat").read_text(encoding="utf-8")
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] not in "ZX"


needs_proc = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks into /proc")


@POSIX
@needs_proc
@HOWEVER_STARTED
def test_ctrl_c_ends_all_with_one_traceback(program, method, workers):
    run, ranks = program(method, workers)
    os.killpg(run.pid, signal.SIGINT)
    _, errors = run.communicate(timeout=120)
    wait_until_gone(ranks)
    assert run.returncode == -signal.SIGINT
    assert errors.count("Traceback") == 1
    assert errors.endswith("KeyboardInterrupt\n")
    assert "leaked" not in errors


@POSIX
@needs_proc
@HOWEVER_STARTED
def test_workers_do_not_outlive_rank_0(program, method, workers):
    run, ranks = program(method, workers)
    run.kill()
    _, errors = run.communicate(timeout=120)
    wait_until_gone(ranks)
    assert [line for line in errors.splitlines() if "more workers than cores" not in line] == []
    assert not [name for name in os.listdir("/dev/shm") if f"-{run.pid}-" in name]


@POSIX
@needs_proc
def test_a_worker_killed_from_outside_ends_the_run(program):
    run, ranks = program(METHODS[0], 3)
    os.kill(next(rank for rank in ranks if rank != run.pid), signal.SIGKILL)
    _, errors = run.communicate(timeout=120)
    wait_until_gone(ranks)
    assert run.returncode == 1
    assert "ended by SIGKILL, before its work was done" in errors
