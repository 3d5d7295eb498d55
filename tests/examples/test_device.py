"""``--device cuda`` where there is no GPU: one line that says what is missing, of every example."""

import subprocess
import sys

import pytest

from tinygrad_attn.backend import get_backend
from tinygrad_attn.errors import DeviceError

from .conftest import EXAMPLES

NAMES = sorted(path.name for path in EXAMPLES.glob("*.py") if not path.name.startswith("_"))


@pytest.mark.parametrize("name", NAMES)
def test_without_a_gpu_an_example_says_what_is_missing(name):
    try:
        get_backend("cuda")
    except DeviceError as error:
        missing = str(error)
    else:
        pytest.skip("there is a GPU here")
    command = [sys.executable, EXAMPLES / name, "--device", "cuda"]
    run = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.splitlines() == [missing]
    assert missing.startswith('to("cuda"): ') and 'or stay on "cpu"' in missing
