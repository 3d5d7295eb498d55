"""What this process has used: memory in MB of 10⁶ bytes, now and at most, and processor time."""

import os
import resource
import sys

__all__ = ["helper_peak_mb", "peak_mb", "processor_seconds", "resident_mb"]


def peak_mb():
    """The largest resident size so far.

    Linux counts in ``ru_maxrss`` what the process was before it became Python, a copy of its
    parent; what it is itself stands in /proc.
    """
    kilobytes = _status("VmHWM")
    return _largest(resource.RUSAGE_SELF) if kilobytes is None else kilobytes * 1024 / 1e6


def helper_peak_mb():
    """The largest resident size that any ended child of this process had."""
    return _largest(resource.RUSAGE_CHILDREN)


def processor_seconds():
    """The time that all threads, and all ended children, have computed so far."""
    return sum(os.times()[:4])


def resident_mb():
    """The resident size now, or NaN where the system has no /proc."""
    kilobytes = _status("VmRSS")
    return float("nan") if kilobytes is None else kilobytes * 1024 / 1e6


def _largest(who):
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(who).ru_maxrss * scale / 1e6


def _status(name):
    """One line of /proc/self/status, in kB."""
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            return next(int(line.split()[1]) for line in file if line.startswith(f"{name}:"))
    except (OSError, StopIteration):
        return None
