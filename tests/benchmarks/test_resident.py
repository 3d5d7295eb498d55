"""The memory of this process, as the system tells it."""

import sys

import numpy as np
import pytest

from benchmarks import resident


def test_the_peak_remembers_what_was_freed():
    block = np.ones(16_000_000)  # 128 MB, touched
    at_most = resident.peak_mb()
    assert at_most > block.nbytes / 1e6
    del block
    assert resident.peak_mb() > 0.99 * at_most  # the system counts pages in batches


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the size of now")
def test_the_size_of_now_is_at_most_the_peak():
    assert 0 < resident.resident_mb() <= resident.peak_mb()


def test_without_proc_there_is_still_a_peak(monkeypatch):
    monkeypatch.setattr(resident, "_status", lambda name: None)
    assert resident.peak_mb() > 1
    assert resident.helper_peak_mb() >= 0
    assert np.isnan(resident.resident_mb())
