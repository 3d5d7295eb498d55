"""What all tests share: how many examples Hypothesis draws, and the devices to run on."""

import os

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # tests side by side must not fight for cores

from tests import standin
from tinygrad_attn import backend
from tinygrad_attn.core import Op, Primitive, walk
from tinygrad_attn.errors import DeviceError

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


GPU = pytest.param("cuda", marks=pytest.mark.gpu)
"""The device of tests that ``pytest -m gpu`` runs, and no other run."""


def devices():
    """The CPU, the stand-in for a GPU, and, in a run of ``pytest -m gpu``, a real one."""
    return ["cpu", standin.backend.name, GPU]


@pytest.fixture(scope="session", params=devices())
def device(request):
    """Each device in turn: what takes this fixture runs once on every one."""
    return request.param


def pytest_runtest_setup(item):
    """Skip what needs a GPU where there is none, and say what is missing."""
    if item.get_closest_marker("gpu"):
        try:
            backend.get_backend("cuda")
        except DeviceError as error:
            pytest.skip(str(error))


@pytest.fixture(autouse=True)
def one_device(monkeypatch):
    """Let no test that names a second GPU change the engine for those after it."""
    monkeypatch.setattr(backend, "_in_use", {})
    for place, name in ((Op, "__call__"), (Primitive, "__call__"), (walk, "_pull_back")):
        monkeypatch.setattr(place, name, getattr(place, name))
    monkeypatch.setattr(walk, "_copy", walk._copy)
