"""What all tests share: how many examples Hypothesis draws, and the devices to run on."""

import importlib.util
import os

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # tests side by side must not fight for cores

from tests import standin

SLOW_MACHINES = [HealthCheck.too_slow]  # a busy machine is no mistake of the test
settings.register_profile(
    "default",
    max_examples=12,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=SLOW_MACHINES,
)
settings.register_profile(
    "thorough", max_examples=1000, deadline=None, suppress_health_check=SLOW_MACHINES
)
settings.load_profile("default")  # --hypothesis-profile=thorough comes later, and wins


def devices():
    """The CPU, the stand-in for a GPU, and "cuda" where CuPy is installed and finds one."""
    found = ["cpu", standin.backend.name]
    if importlib.util.find_spec("cupy") is None:
        return found
    import cupy

    return [*found, "cuda"] if cupy.is_available() else found


@pytest.fixture(scope="session", params=devices())
def device(request):
    """Each device of this machine in turn: what takes this fixture runs once on every one."""
    return request.param
