"""When the memory of a GPU is full: one error of ours, wherever in a step it happens."""

import re

import numpy as np
import pytest

import tinygrad_attn as ta
from tests.standin import fake_cupy
from tinygrad_attn.backend.cuda.memory import _message, _readable
from tinygrad_attn.errors import DeviceError, OutOfMemoryError
from tinygrad_attn.optim import AdamW


@pytest.fixture
def room(monkeypatch):
    """``room(n)`` leaves n bytes free on the stand-in."""
    return lambda n: monkeypatch.setattr(fake_cupy, "MEMORY", fake_cupy._held() + n)


def gpu(*shape):
    return ta.ones(*shape, device="standin", requires_grad=True)


def test_it_says_what_was_asked_what_is_free_and_what_to_try(room):
    x = gpu(16, 16)
    room(1000)
    with pytest.raises(OutOfMemoryError) as error:
        x @ x
    total = _readable(fake_cupy.MEMORY)
    assert str(error.value) == (
        f'"standin:0": out of memory: asked for 1.0 KiB, but 1,000 bytes of {total} are free; try '
        "a smaller batch or shorter sequences, ta.recompute around some layers, 16-bit floats, or "
        "see with nvidia-smi who else uses it"
    )
    assert isinstance(error.value, (DeviceError, MemoryError)) and error.value.__cause__


def backward():
    x = gpu(16, 16)
    y = (x * x).sum()
    return y.backward


def step():
    x = gpu(16, 16)
    optimizer = AdamW([x])
    (x * x).sum().backward()
    return optimizer.step


def sending():
    return lambda: ta.tensor(np.ones((16, 16), "float32"), device="standin")


def kernel():
    x = gpu(16, 16)
    return lambda: ta.softmax(x, axis=-1)


@pytest.mark.parametrize("prepare", [backward, step, sending, kernel])
def test_it_is_ours_wherever_it_happens(prepare, room):
    run = prepare()
    room(100)
    with pytest.raises(OutOfMemoryError, match=re.escape('"standin:0": out of memory: asked for')):
        run()


def test_after_that_all_goes_on(room):
    x = gpu(16, 16)
    room(100)
    with pytest.raises(OutOfMemoryError):
        x + 1
    room(10_000)
    assert (x + 1).sum().item() == 512


def test_sizes_are_written_as_people_say_them():
    sizes = [0, 1023, 1536, 3 * 2**20, 5 * 2**40]
    shown = ["0 bytes", "1,023 bytes", "1.5 KiB", "3.0 MiB", "5,120.0 GiB"]
    assert [_readable(size) for size in sizes] == shown
    assert "asked for 12.0 GiB, but 3.0 GiB of 80.0 GiB" in _message(
        "cuda:0", 12 * 2**30, 3 * 2**30, 80 * 2**30
    )
