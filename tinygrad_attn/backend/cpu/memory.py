"""Keep the memory that a training step frees, for the next step to use again.

glibc gives large blocks back to the system when they are freed, and asks for them anew: every page
of a fresh array is then a page fault, which in a step of a small Transformer costs a third of the
time. Three settings of its allocator change that, for the whole process. The environment variable
TINYGRAD_ATTN_MALLOC=0 leaves the allocator alone; on other systems there is nothing to do.

Reference: mallopt(3), and "Malloc Tunable Parameters" in the GNU C Library's manual.
"""

import ctypes
import os

__all__ = ["keep_freed_memory"]

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # the parameters' numbers in <malloc.h>


def keep_freed_memory():
    """Set glibc's allocator up; returns whether it took the settings."""
    if os.environ.get("TINYGRAD_ATTN_MALLOC") == "0":
        return False
    try:
        os.confstr("CS_GNU_LIBC_VERSION")  # known to glibc alone
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, ValueError):
        return False
    settings = {
        _MMAP_THRESHOLD: 2**25,  # only arrays beyond 32 MB, the most it takes, are mapped alone
        _TRIM_THRESHOLD: 2**31 - 1,  # the heap is not cut back when its end becomes free
        _TOP_PAD: 2**24,  # it grows by 16 MB more than was asked for
    }
    return all(mallopt(parameter, value) == 1 for parameter, value in settings.items())
