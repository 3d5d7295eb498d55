"""The allocator's settings: taken where there is glibc, left alone where the user says so."""

import os
import subprocess
import sys

import pytest

from tinygrad_attn.backend.cpu.memory import keep_freed_memory


def is_glibc():
    try:
        return bool(os.confstr("CS_GNU_LIBC_VERSION"))
    except (AttributeError, OSError, ValueError):
        return False


def test_the_settings_are_taken_where_there_is_glibc():
    assert keep_freed_memory() == is_glibc()


def test_the_environment_variable_leaves_the_allocator_alone(monkeypatch):
    monkeypatch.setenv("TINYGRAD_ATTN_MALLOC", "0")
    assert not keep_freed_memory()


@pytest.mark.skipif(not is_glibc(), reason="page faults are counted on Linux with glibc")
def test_a_freed_array_is_used_again_without_page_faults():
    program = """
import resource
import tinygrad_attn as ta
x = ta.zeros(1_000_000)
for _ in range(3):
    (x * 2.0).numpy()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    (x * 2.0).numpy()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    faults = {
        setting: int(
            subprocess.run(
                [sys.executable, "-c", program],
                env={**os.environ, "TINYGRAD_ATTN_MALLOC": setting},
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
        for setting in ("0", "1")
    }
    assert faults["1"] < 100 or faults["1"] < faults["0"] / 2
